"""The Deepgram Voice Agent as an agent: one WebSocket a call, and text to speech over HTTP for announcements.

https://developers.deepgram.com/docs/voice-agent, /docs/text-to-speech, /docs/authenticating
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import trio

from agentd.agent import AgentSession, Audio, CallInfo, Playout, Readiness, ToolDeclaration
from agentd.config.secrets import Secret, need_secret
from agentd.config.settings import AgentConfig
from agentd.errors import ConfigError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd_providers.deepgram.speak import open_deepgram_speak
from agentd_providers.deepgram.speech_settings import DeepgramSpeakSettings
from agentd_providers.deepgram.voice_agent.events import VENDOR
from agentd_providers.deepgram.voice_agent.messages import Keys, settings_message
from agentd_providers.deepgram.voice_agent.session import DeepgramSession, open_session
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings, SpeakProvider, credentials
from agentd_providers.pipeline.stages import Voice, fill_in, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.access import VendorAccess
from agentd_providers.vendor.socket import VendorSocket, open_vendor_socket

RATES = (16000, 8000)
ANNOUNCEMENT_RATE = 16000


@attrs.frozen
class _Secrets:
    """The credentials that the settings name, as far as they are there; `missing` tells the others."""

    deepgram: Secret | None
    think: Secret | None
    speak: Secret | None
    missing: str

    @property
    def keys(self) -> Keys:
        return Keys(self.think.reveal() if self.think else "", self.speak.reveal() if self.speak else "")

    def conceal(self, text: str) -> str:
        """The text without any of them."""
        for secret in (self.deepgram, self.think, self.speak):
            if secret is not None:
                text = text.replace(secret.reveal(), "***")
        return text


@attrs.define(eq=False)
class DeepgramAgent:
    """See agentd.agent.Agent. Made by `open_deepgram_agent`."""

    config: AgentConfig
    settings: DeepgramAgentSettings
    shared: SharedServices = attrs.field(repr=False)
    _secrets: _Secrets = attrs.field(repr=False)
    _voice: Voice | None = attrs.field(repr=False)
    """For announcements; None where there is no key."""
    _access: VendorAccess = attrs.field(factory=VendorAccess, init=False)

    @property
    def rates(self) -> Sequence[int]:
        return RATES

    @property
    def readiness(self) -> Readiness:
        if self._secrets.missing:
            return Readiness(False, self._secrets.missing)
        return self._access.readiness

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AgentSession]:
        """See agentd.agent.Agent.open. It takes `connect_deadline` seconds at most."""
        deadline = trio.current_time() + self.settings.connect_deadline
        try:
            headers = (("Authorization", f"Token {self._key()}"),)
            async with open_vendor_socket(
                VENDOR,
                self.settings.url,
                headers,
                connect_deadline=self.settings.connect_deadline,
                conceal=self._secrets.conceal,
            ) as socket:
                session = self._session(call, history, playout, socket)
                await self._begin(session, call, history, tools, deadline)
                self._access.granted()
                async with open_session(session):
                    yield session
        except ProviderRejected as error:
            self._access.refused(str(error))
            raise

    def _session(self, call: CallInfo, history: History, playout: Playout, socket: VendorSocket) -> DeepgramSession:
        return DeepgramSession(
            self.settings,
            history,
            playout,
            call.rate,
            socket,
            self.shared.on_unknown,
            self.shared.observe_audio_delay,
            self._secrets.conceal,
        )

    async def _begin(
        self,
        session: DeepgramSession,
        call: CallInfo,
        history: History,
        tools: Sequence[ToolDeclaration],
        deadline: float,
    ) -> None:
        message = settings_message(
            self.settings,
            call.rate,
            language=self.config.language,
            prompt=fill_in(self.config.prompt, call),
            history=history,
            tools=tools,
            keys=self._secrets.keys,
        )
        with trio.move_on_at(deadline):
            await session.begin(message)
            return
        raise ProviderUnavailable(f"{VENDOR}: was not ready within {self.settings.connect_deadline:g} s")

    def _key(self) -> str:
        if self._secrets.missing or self._secrets.deepgram is None:
            raise ProviderRejected(self._secrets.missing)
        return self._secrets.deepgram.reveal()

    async def synthesise(self, text: str) -> Sequence[Audio]:
        """See agentd.agent.Agent.synthesise: in Deepgram's voice, where the agent has one of Deepgram's."""
        if self.settings.speak.provider is not SpeakProvider.DEEPGRAM:
            raise ProviderRejected(f"{VENDOR} speaks announcements only in a voice of its own (speak.provider)")
        if self._voice is None:
            raise ProviderRejected(self._secrets.missing)
        pcm = await speak_whole(self._voice, text, ANNOUNCEMENT_RATE)
        return (Audio(0, 0, pcm, ANNOUNCEMENT_RATE),)


@asynccontextmanager
async def open_deepgram_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[DeepgramAgent]:
    """The agent, which is ready once its keys are there. Nothing is asked of Deepgram before a call comes."""
    settings = config.settings
    assert isinstance(settings, DeepgramAgentSettings)
    secrets = _find_secrets(settings)
    async with AsyncExitStack() as stack:
        voice: Voice | None = None
        if secrets.deepgram is not None:
            speak = DeepgramSpeakSettings(
                settings.api_key_name, settings.speech_api, settings.speak.model, settings.speech_timeout
            )
            engine = await stack.enter_async_context(open_deepgram_speak(speak, config.language, shared))
            voice = await stack.enter_async_context(engine.open())
        yield DeepgramAgent(config, settings, shared, secrets, voice)


def _find_secrets(settings: DeepgramAgentSettings) -> _Secrets:
    missing: list[str] = []
    found: dict[str, Secret | None] = {"": None}
    for credential in credentials(settings):
        try:
            found[credential.secret] = need_secret(credential.secret, credential.what)
        except ConfigError as error:
            found[credential.secret] = None
            missing.append(str(error))
    find = partial(found.get)
    return _Secrets(
        find(settings.api_key_name),
        find(settings.think.api_key_name),
        find(settings.speak.api_key_name),
        "; ".join(missing),
    )
