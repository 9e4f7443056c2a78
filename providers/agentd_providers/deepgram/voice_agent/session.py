"""One call's conversation with the Deepgram Voice Agent: its messages as events, its audio into the playout.

Order of messages: https://developers.deepgram.com/docs/voice-agent-message-flow. What the caller's turns are and which
answers are due is decided in deepgram.voice_agent.caller_turns, which of the agent's words and audio count in
deepgram.voice_agent.agent_speech, which function calls do in deepgram.voice_agent.function_calls.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
import trio

from agentd import session_events as tells
from agentd.agent import Capabilities, Playout, SayOutcome
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.deepgram.voice_agent.agent_speech import AgentSpeech
from agentd_providers.deepgram.voice_agent.caller_turns import CallerTurns
from agentd_providers.deepgram.voice_agent.events import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentThinking,
    AssistantText,
    Event,
    FunctionCallCancelled,
    FunctionCallRequest,
    InjectionRefused,
    LatencyReport,
    SettingsApplied,
    UserStartedSpeaking,
    UserText,
    VendorError,
    VendorWarning,
    Welcome,
)
from agentd_providers.deepgram.voice_agent.function_calls import FunctionCalls
from agentd_providers.deepgram.voice_agent.messages import KEEP_ALIVE, function_call_response, inject_agent_message
from agentd_providers.deepgram.voice_agent.reader import EventReader
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.event_queue import EventQueue
from agentd_providers.vendor.socket import VendorSocket
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.deepgram")

SAY_DEADLINE = 5.0
"""Seconds until words that Deepgram was asked to speak have begun, or been refused."""
PROBE_DEADLINE = 2.0
TICK = 0.25
"""Seconds between looks at what has become due."""
LIMIT_APPROACHES = "MAXIMUM_SESSION_LENGTH_APPROACHING"
INJECTION_WARNINGS = frozenset({"INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"})


@attrs.define(eq=False)
class DeepgramSession:
    """See agentd.agent.AgentSession. Made by `open_session`.

    `conceal` takes secrets out of what Deepgram says. `heard(utterance)` and `started` have nothing to tell Deepgram,
    which takes the caller to have heard all that it sent.
    """

    settings: DeepgramAgentSettings
    history: History
    playout: Playout
    rate: int
    socket: VendorSocket
    on_unknown: Callable[[str], None]
    observe_delay: Callable[[float], None]
    conceal: Callable[[str], str]
    _voice: VendorVoice = attrs.field(init=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _reader: EventReader = attrs.field(init=False)
    _audio_at: float = attrs.field(factory=trio.current_time, init=False)
    _renew_at: float = attrs.field(init=False)
    _speech: AgentSpeech = attrs.field(init=False)
    _saying: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _functions: FunctionCalls = attrs.field(init=False)
    _turns: CallerTurns = attrs.field(init=False)
    _probed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._voice = VendorVoice(self.playout, self.rate, self._events.put)
        self._reader = EventReader(self.on_unknown, self.conceal)
        self._speech = AgentSpeech(self._voice, self._answered, self._reader.count)
        self._functions = FunctionCalls(self.history, self._events.put)
        self._turns = CallerTurns(
            self.settings, self.history, self._speech, self._functions, send=self._send, emit=self._events.put
        )
        self._renew_at = trio.current_time() + self.settings.session_limit - self.settings.renew_before

    # --- its life

    async def begin(self, settings_message: Mapping[str, Any]) -> None:
        """Wait for Welcome, send Settings, wait until they are applied. The caller sets the deadline.

        Raises ProviderUnavailable, or ProviderRejected where the settings are at fault.
        """
        await self._await(Welcome)
        self.socket.send(settings_message)
        await self._await(SettingsApplied)

    async def _await(self, kind: type) -> None:
        while True:
            message = self._reader.read(await self.socket.receive())
            if isinstance(message, kind):
                return
            if isinstance(message, VendorError):
                raise self._reader.failure(message)

    async def run(self) -> None:
        """Carry the conversation, until cancelled: all of the session's tasks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._voice.run)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._answer_probes)
            await self._read()
            await trio.sleep_forever()  # what has come of the voice is still brought to the playout

    def close(self) -> None:
        """Whatever is fed from now on is of no interest."""
        self._events.close()

    async def _read(self) -> None:
        while not self._events.ended:
            try:
                message = await self.socket.receive()
            except ProviderUnavailable as error:
                self._end(self.conceal(str(error)))
                return
            if isinstance(message, bytes):
                self._speech.audio(message)
            else:
                self._obey(self._reader.read(message))

    async def _keep_time(self) -> None:
        """Look at what has become due, until cancelled."""
        renewal_told, lost = False, 0
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            if not lost and (lost := self.socket.dropped_audio + self.socket.dropped_messages):
                self._events.put(tells.Degraded("Deepgram takes audio too slowly, or sends faster than it can be read"))
            if now - self._audio_at >= self.settings.keep_alive:
                self._audio_at = now
                self._send(KEEP_ALIVE)
            if now >= self._renew_at and not renewal_told:
                renewal_told = True
                self._events.put(tells.RenewalDue(self.settings.renew_before))
            self._turns.keep_time(now)

    async def _answer_probes(self) -> None:
        """Ping whenever a sign of life is asked for, until cancelled. One ping at a time."""
        while True:
            await self._probed.wait()
            self._probed = trio.Event()
            if await self.socket.ping(PROBE_DEADLINE):
                self._events.put(tells.Alive())

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            takes_turns=True,
            truncates=False,
            speaks_verbatim=True,
            takes_text=True,
            longest_pause=self._turns.longest_pause,
            answers_probes=True,
        )

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events.events

    def feed(self, pcm: bytes, at: float) -> None:
        """Send caller audio on, whatever it holds: Deepgram counts silence by it, and ends a session without any."""
        if self._events.ended or not pcm:
            return
        self.observe_delay(trio.current_time() - at)
        self._turns.sound.hear(pcm, at)
        self._audio_at = trio.current_time()
        self.socket.send_audio(pcm)

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller's."""
        if not self._events.ended and text:
            self._turns.wrote(text)

    def feed_digits(self, digits: str) -> None:
        """Digits are not taken (see capabilities)."""

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, after those that were asked for before.

        Deepgram refuses while the caller or the agent is in the middle of a turn. Cancelling stops waiting only.
        """
        async with self._saying:
            if self._events.ended or not text:
                return SayOutcome.REFUSED
            request = self._speech.ask(text)
            self._send(inject_agent_message(text))
            with trio.move_on_after(SAY_DEADLINE):
                await request.decided.wait()
            if request.outcome is None:
                self._speech.give_up(request)
                self._events.put(
                    tells.Degraded(f"Deepgram did not speak what it was asked to within {SAY_DEADLINE:g} s")
                )
                return SayOutcome.REFUSED
            return request.outcome

    def answer(self) -> None:
        """Let the answer to the turn that is over into the playout."""
        self._voice.release()
        if not self._turns.open:
            self._functions.confirm()

    def withhold(self) -> None:
        """Nothing to do: a caller who makes a sound takes the turn at once, and that drops the answer."""

    def interrupt(self) -> None:
        """Drop what Deepgram says, and goes on saying; the answer to the turn that interrupts stays."""
        if not self._voice.held:
            self._speech.hush()
            self._speech.forget_request()

    def started(self, utterance: int) -> None:
        """Nothing to tell Deepgram."""

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Nothing to tell Deepgram."""

    def probe(self) -> None:
        """Ping: Deepgram has no message that is answered at once."""
        self._probed.set()

    def resume(self) -> None:
        """Give Deepgram the words again that its history was given without, or ask it to go on."""
        if not self._events.ended:
            self._turns.resume()

    def tool_result(self, call: str, result: str) -> None:
        """Record what a tool gave, and tell Deepgram, unless that has taken the request back."""
        if name := self._functions.result(call, result):
            self._send(function_call_response(call, name, result))
            self._turns.tool_answered()

    # --- what Deepgram says

    def _obey(self, message: Event | None) -> None:
        match message:
            case UserStartedSpeaking():
                self._turns.begins()
            case UserText(text):
                self._turns.words(text)
            case AssistantText(text):
                self._speech.words(text)
            case AgentThinking():
                self._events.put(tells.Thinking())
            case AgentStartedSpeaking(first_token, first_audio):
                self._speech.starts()
                self._turns.time("first_token", first_token)
                self._turns.time("first_audio", first_audio)
            case LatencyReport(transcript, first_token, first_audio):
                self._turns.time("transcript", transcript)
                self._turns.time("first_token", first_token)
                self._turns.time("first_audio", first_audio)
            case AgentAudioDone():
                self._speech.done()
            case FunctionCallRequest(functions):
                for function in functions:
                    # What was said before it is to be told before it.
                    confirmed = not self._turns.open and not self._voice.untold
                    self._functions.request(function, confirmed=confirmed)
            case FunctionCallCancelled(calls):
                self._functions.cancel(calls)
            case InjectionRefused():
                self._speech.refused()
            case VendorWarning():
                self._warn(message)
            case VendorError():
                self._end(str(self._reader.failure(message)))

    def _answered(self) -> None:
        self._turns.answered()

    # --- troubles

    def _warn(self, warning: VendorWarning) -> None:
        if warning.code in INJECTION_WARNINGS:
            self._speech.refused()
        elif warning.code == LIMIT_APPROACHES:
            self._renew_at = min(self._renew_at, trio.current_time())
        else:
            self._events.put(tells.Degraded(f"Deepgram warns: {self._reader.shown(warning)}"))

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._events.ended:
            return
        try:
            self.socket.send(message)
        except ProviderUnavailable as error:
            self._end(str(error))

    def _end(self, failure: str) -> None:
        """Tell that the session is over. An utterance that is open stays so: it is not complete."""
        self._events.end(failure)
        self._speech.forget_request()


@asynccontextmanager
async def open_session(session: DeepgramSession) -> AsyncIterator[DeepgramSession]:
    """Run a session that has begun, for as long as the block is entered."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
            session.close()
