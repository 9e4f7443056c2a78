"""The OpenAI Realtime agent: a session a call, each a WebSocket of its own.

How a session begins: https://platform.openai.com/docs/guides/realtime-websocket and
https://platform.openai.com/docs/api-reference/realtime-server-events/session. The server says session.created, we say
session.update, and only after its session.updated does the caller's audio follow.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import AgentSession, Audio, CallInfo, Playout, Readiness, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import G711_RATE, RealtimeAudio
from agentd_providers.openai.realtime.events import VENDOR, SessionCreated, SessionUpdated, VendorError, shown
from agentd_providers.openai.realtime.messages import LanguageHint
from agentd_providers.openai.realtime.reader import EventReader
from agentd_providers.openai.realtime.session import RealtimeSession
from agentd_providers.openai.realtime.settings import RealtimeAudioFormat, RealtimeSettings
from agentd_providers.openai.speak import OpenAiVoice, open_openai_speak
from agentd_providers.openai.speech_settings import OpenAiSpeakSettings, SpeechFormat
from agentd_providers.pipeline.stages import fill_in, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.access import VendorAccess, find_key
from agentd_providers.vendor.socket import VendorSocket, open_vendor_socket
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.openai")

WIDEBAND = 16000
LINE_RATE = 8000
"""Hz of what `synthesise` gives: every line can play it."""
LARGEST_MESSAGE = 512 * 1024
"""Bytes: eight seconds of pcm16 in base64. A larger one would take long to parse, and everybody's calls would wait."""
BAD_KEY = "invalid_api_key"
PASSING = frozenset({"rate_limit_exceeded", "insufficient_quota", "server_error"})
"""Errors at the beginning that are no fault of our configuration."""


@attrs.define(eq=False)
class RealtimeAgent:
    """See agentd.agent.Agent. `voice` speaks announcements; None where the settings have none."""

    name: str
    config: AgentConfig
    settings: RealtimeSettings
    voice: OpenAiVoice | None
    shared: SharedServices = attrs.field(repr=False)
    _key: str = attrs.field(repr=False)
    _access: VendorAccess = attrs.field(factory=VendorAccess, init=False)
    _hint: LanguageHint | None = attrs.field(default=None, init=False)
    """How this server takes the language of a transcription, as the last session learnt; None: nothing is known."""

    @property
    def readiness(self) -> Readiness:
        return self._access.readiness

    @property
    def rates(self) -> Sequence[int]:
        return (G711_RATE, WIDEBAND) if self.settings.audio is RealtimeAudioFormat.PCM16 else (G711_RATE,)

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AgentSession]:
        """See agentd.agent.Agent.open."""
        settings = self.settings
        headers = [("Authorization", f"Bearer {self._key}")] if self._key else []
        prompt = fill_in(self.config.prompt, call)
        opening = trio.CancelScope(deadline=trio.current_time() + settings.connect_deadline)
        try:
            async with open_vendor_socket(
                VENDOR,
                settings.session_url,
                headers,
                connect_deadline=settings.connect_deadline,
                max_message=LARGEST_MESSAGE,
            ) as socket:
                expires_at = 0.0
                with opening:
                    expires_at = await self._introduce(socket, prompt, tools)
                if opening.cancelled_caught:
                    raise ProviderUnavailable(f"{VENDOR}: no session was ready within {settings.connect_deadline:g} s")
                for message in messages.history_items(history):
                    socket.send(message)
                self._access.granted()
                async with self._converse(socket, call, history, playout, prompt, expires_at) as session:
                    yield session
        except ProviderRejected as error:
            self._access.refused(str(error))
            raise

    async def synthesise(self, text: str) -> Sequence[Audio]:
        """See agentd.agent.Agent.synthesise."""
        if self.voice is None:
            raise ProviderRejected(f"{self.name} has no voice for exact words: `speaker` names an agent that has")
        return (Audio(0, 0, await speak_whole(self.voice, text, LINE_RATE), LINE_RATE),)

    @asynccontextmanager
    async def _converse(
        self,
        socket: VendorSocket,
        call: CallInfo,
        history: History,
        playout: Playout,
        prompt: str,
        expires_at: float,
    ) -> AsyncIterator[RealtimeSession]:
        audio = RealtimeAudio(self.settings.audio, call.rate)
        voice = VendorVoice(playout, audio.rate, lambda _event: None)
        session = RealtimeSession(
            self.settings,
            history,
            socket,
            audio,
            voice,
            prompt,
            self.shared.observe_audio_delay,
            self.shared.on_unknown,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            nursery.start_soon(voice.run)
            nursery.start_soon(session.ask_for_renewal, expires_at)
            try:
                yield session
            finally:
                session.close()
                nursery.cancel_scope.cancel()

    async def _introduce(self, socket: VendorSocket, prompt: str, tools: Sequence[ToolDeclaration]) -> float:
        """Have our settings accepted; gives when the session will end, by the server's word (0: it told nothing).

        Raises ProviderRejected, or ProviderUnavailable. The caller sets the deadline.
        """
        expires_at, reader = 0.0, EventReader(self.shared.on_unknown, opening=True)
        hint = self._hint
        while True:
            try:
                message = await socket.receive()
            except ProviderUnavailable as error:
                if BAD_KEY in str(error):  # the WebSocket's close may be all that tells it
                    raise ProviderRejected(f"{VENDOR} refuses our credentials: is the key right?") from error
                raise
            match reader.read(message):
                case SessionCreated(expires_at):
                    socket.send(messages.session_update(self.settings, prompt, self.config.language, tools, hint))
                case SessionUpdated():
                    self._hint = hint
                    return expires_at
                case VendorError() as refusal:
                    if hint is LanguageHint.NONE or not messages.refuses_language(refusal.param, refusal.message):
                        raise _refusal(refusal)
                    log.info("the transcription goes without a language", agent=self.name, error=shown(refusal.message))
                    hint = LanguageHint.NONE
                    socket.send(messages.session_update(self.settings, prompt, self.config.language, tools, hint))


def _refusal(error: VendorError) -> ProviderError:
    if error.code == BAD_KEY or error.kind == "authentication_error":
        return ProviderRejected(f"{VENDOR} refuses our credentials: is the key right?")
    what = f"{error.code or error.kind}: {shown(error.message)}"
    if PASSING & {error.code, error.kind}:
        return ProviderUnavailable(f"{VENDOR}: {what}")
    return ProviderRejected(f"{VENDOR} refuses our settings: {what}")


@asynccontextmanager
async def open_realtime_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[RealtimeAgent]:
    """The agent; nothing is asked of OpenAI before the first call. Raises ConfigError where the key is missing."""
    settings = config.settings
    assert isinstance(settings, RealtimeSettings)
    key = find_key(settings.api_key_name, VENDOR)
    async with AsyncExitStack() as opened:
        voice = None
        if settings.announcements.model:
            speak = OpenAiSpeakSettings(
                api_key_name=settings.api_key_name,
                base_url=settings.announcements.base_url or settings.api_url,
                model=settings.announcements.model,
                voice=settings.announcements.voice or settings.voice,
                response_format=SpeechFormat.PCM,
                timeout=settings.announcements.timeout,
            )
            voice = await opened.enter_async_context(open_openai_speak(speak, config.language, shared))
        yield RealtimeAgent(name, config, settings, voice, shared, key)
