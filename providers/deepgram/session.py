"""One call's conversation with the Deepgram Voice Agent: its messages as events, its audio into the playout.

Order of messages: https://developers.deepgram.com/docs/voice-agent-message-flow. Which of the agent's words and audio
count is decided in providers.deepgram.agent_speech, which function calls do in providers.deepgram.function_calls.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
import trio

from agentd.agent import Capabilities, Playout, SayOutcome
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd.session_events import (
    Alive,
    AnswerFailed,
    CallerSpeechDismissed,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerTakesTurn,
    CallerText,
    Degraded,
    Ended,
    RenewalDue,
    SessionEvent,
    StageTiming,
    Thinking,
)
from providers.caller_sound import CallerSound
from providers.deepgram.agent_speech import AgentSpeech
from providers.deepgram.function_calls import FunctionCalls
from providers.deepgram.messages import (
    GO_ON,
    KEEP_ALIVE,
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentThinking,
    AssistantText,
    FunctionCallCancelled,
    FunctionCallRequest,
    InjectionRefused,
    LatencyReport,
    ServerMessage,
    SettingsApplied,
    Unknown,
    UserStartedSpeaking,
    UserText,
    VendorError,
    VendorWarning,
    Welcome,
    function_call_response,
    inject_agent_message,
    inject_user_message,
    parse,
    resumption,
)
from providers.deepgram.settings import DeepgramAgentSettings
from providers.vendor_socket import VendorSocket
from providers.vendor_voice import VendorVoice

log = structlog.get_logger("providers.deepgram")

EVENT_QUEUE = 256
SAY_DEADLINE = 5.0
"""Seconds until words that Deepgram was asked to speak have begun, or been refused."""
FLUX_PAUSE = 5.0
"""Seconds of silence after which a flux model ends a turn at the latest, unless told otherwise."""
NOVA_PAUSE = 2.0
"""The same of other models: an estimate, Deepgram documents none."""
PROBE_DEADLINE = 2.0
RECOGNITION = 2.0
"""Seconds on top of that for the words to be recognised."""
LONGEST_TURN = 60.0
"""Seconds after which a turn without words was none, however loud it still is."""
TICK = 0.25
"""Seconds between looks at what has become due."""
MOST_INJECTED = 16
MOST_UNKNOWN = 32
OUR_FAULT = frozenset(
    {
        "UNPARSABLE_CLIENT_MESSAGE",
        "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS",
        "SETTINGS_ALREADY_APPLIED",
        "INVALID_SETTINGS",
        "USER_AUDIO_FORMAT",
        "AGENT_ID_NOT_SUPPORTED",
        "INVALID_AGENT_ID",
    }
)
"""Errors that trying again does not mend (https://developers.deepgram.com/docs/voice-agent-errors-warnings)."""
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
    _events_send: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False, repr=False)
    _events: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False, repr=False)
    _ended: bool = attrs.field(default=False, init=False)
    _sound: CallerSound = attrs.field(factory=CallerSound, init=False)
    _audio_at: float = attrs.field(factory=trio.current_time, init=False)
    _renew_at: float = attrs.field(init=False)
    _turn_since: float | None = attrs.field(default=None, init=False)
    """When the caller began the turn that is not confirmed yet."""
    _answer_due_since: float | None = attrs.field(default=None, init=False)
    _lost: bool = attrs.field(default=False, init=False)
    """An answer was awaited when the caller made the sound that is not confirmed yet, which took it away."""
    _begun_since: bool = attrs.field(default=False, init=False)
    """An answer has begun since that sound."""
    _speech: AgentSpeech = attrs.field(init=False)
    _saying: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _functions: FunctionCalls = attrs.field(init=False)
    _injected: deque[str] = attrs.field(factory=lambda: deque(maxlen=MOST_INJECTED), init=False)
    _unknown: set[str] = attrs.field(factory=set, init=False)
    """Types of messages that the log has been told of."""
    _probed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _timed: set[str] = attrs.field(factory=set, init=False)
    """Stages of this answer that were told."""

    def __attrs_post_init__(self) -> None:
        self._events_send, self._events = trio.open_memory_channel[SessionEvent](EVENT_QUEUE)
        self._voice = VendorVoice(self.playout, self.rate, self._emit)
        self._speech = AgentSpeech(self._voice, self._answered, self._count_unknown)
        self._functions = FunctionCalls(self.history, self._emit)
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
            message = self._parse(await self.socket.receive())
            if isinstance(message, kind):
                return
            if isinstance(message, VendorError):
                raise self._failure(message)

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
        self._ended = True

    async def _read(self) -> None:
        while not self._ended:
            try:
                message = await self.socket.receive()
            except ProviderUnavailable as error:
                self._end(self.conceal(str(error)))
                return
            if isinstance(message, bytes):
                self._speech.audio(message)
            else:
                self._obey(self._parse(message))

    def _parse(self, message: str | bytes) -> ServerMessage | None:
        """A message that we know; None for what we do not, or cannot read, which is counted."""
        if isinstance(message, bytes):
            self._count_unknown()
            return None
        try:
            parsed = parse(self.conceal(message))  # before an error shows a part of it
        except ProviderProtocolError as error:
            kind, why = "unreadable", str(error)
        else:
            if not isinstance(parsed, Unknown):
                return parsed
            kind, why = parsed.type, "the type is not known"
        self._count_unknown()
        if kind not in self._unknown and len(self._unknown) < MOST_UNKNOWN:
            self._unknown.add(kind)
            log.warning(
                "a message of Deepgram's is passed over", message_type=self.conceal(kind), reason=self.conceal(why)
            )
        return None

    def _count_unknown(self) -> None:
        self.on_unknown("deepgram")

    async def _keep_time(self) -> None:
        """Look at what has become due, until cancelled."""
        renewal_told, lost = False, 0
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            if not lost and (lost := self.socket.dropped_audio + self.socket.dropped_messages):
                self._emit(Degraded("Deepgram does not take the audio in time, or sends faster than it can be read"))
            if now - self._audio_at >= self.settings.keep_alive:
                self._audio_at = now
                self._send(KEEP_ALIVE)
            if now >= self._renew_at and not renewal_told:
                renewal_told = True
                self._emit(RenewalDue(self.settings.renew_before))
            if self._turn_since is not None and self._turn_is_none(self._turn_since, now):
                self._dismiss()
            if self._answer_is_late(now):
                self._answer_due_since = None
                self._emit(AnswerFailed(f"Deepgram gave no answer within {self.settings.answer_within:g} s"))

    async def _answer_probes(self) -> None:
        """Ping whenever a sign of life is asked for, until cancelled. One ping at a time."""
        while True:
            await self._probed.wait()
            self._probed = trio.Event()
            if await self.socket.ping(PROBE_DEADLINE):
                self._emit(Alive())

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            takes_turns=True,
            truncates=False,
            speaks_verbatim=True,
            takes_text=True,
            longest_pause=self._longest_pause,
            answers_probes=True,
        )

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events

    def feed(self, pcm: bytes, at: float) -> None:
        """Send caller audio on, whatever it holds: Deepgram counts silence by it, and ends a session without any."""
        if self._ended or not pcm:
            return
        self.observe_delay(trio.current_time() - at)
        self._sound.hear(pcm, at)
        self._audio_at = trio.current_time()
        self.socket.send_audio(pcm)

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller's."""
        if self._ended or not text:
            return
        now = trio.current_time()
        self._functions.dismiss()
        self._inject(text)
        self._caller_said(text, now, now)

    def feed_digits(self, digits: str) -> None:
        """Digits are not taken (see capabilities)."""

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, after those that were asked for before.

        Deepgram refuses while the caller or the agent is in the middle of a turn. Cancelling stops waiting only.
        """
        async with self._saying:
            if self._ended or not text:
                return SayOutcome.REFUSED
            request = self._speech.ask(text)
            self._send(inject_agent_message(text))
            with trio.move_on_after(SAY_DEADLINE):
                await request.decided.wait()
            if request.outcome is None:
                self._speech.give_up(request)
                self._emit(Degraded(f"Deepgram did not speak what it was asked to within {SAY_DEADLINE:g} s"))
                return SayOutcome.REFUSED
            return request.outcome

    def answer(self) -> None:
        """Let the answer to the turn that is over into the playout."""
        self._voice.release()
        if self._turn_since is None:
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
        if not self._ended and (text := resumption(self.history)):
            self._inject(text)

    def tool_result(self, call: str, result: str) -> None:
        """Record what a tool gave, and tell Deepgram, unless that has taken the request back."""
        if name := self._functions.result(call, result):
            self._send(function_call_response(call, name, result))
            if not self._speech.deaf:
                self._speech.expect(held=False)
                self._answer_due_since = trio.current_time()

    # --- the caller's turns

    @property
    def _longest_pause(self) -> float:
        listen = self.settings.listen
        if listen.is_flux:
            return listen.eot_timeout_ms / 1000 or FLUX_PAUSE
        return NOVA_PAUSE

    def _caller_speaks(self) -> None:
        now = trio.current_time()
        self._lost = self._lost or self._answer_due_since is not None or self._functions.open
        self._begun_since = False
        self._turn_since = now
        self._answer_due_since = None
        self._injected.clear()
        self._speech.hush()
        self._functions.dismiss()
        self._emit(CallerSpeechStarted(self._sound.onset(now)))
        self._emit(CallerTakesTurn(now))

    def _turn_is_none(self, since: float, now: float) -> bool:
        quiet_since = max(since, self._sound.loud_until)
        return now - quiet_since > self._longest_pause + RECOGNITION or now - since > LONGEST_TURN

    def _dismiss(self) -> None:
        self._turn_since = None
        self._speech.listen()
        self._functions.dismiss()
        self._emit(CallerSpeechDismissed("Deepgram recognised no words"))
        if (self._lost or self.history.owed) and not self._begun_since:
            # For this sound an answer was thrown away, which is still owed. One that waits for a tool comes by itself.
            if not self._functions.open:
                self._inject(resumption(self.history) or GO_ON)
            now = trio.current_time()
            self._answer_comes(now, now)
        self._lost = False

    def _user_text(self, text: str) -> None:
        if text in self._injected:
            self._injected.remove(text)  # what we gave it ourselves
            return
        if not text:
            return
        now = trio.current_time()
        self._caller_said(text, now, self._sound.last(now, self._longest_pause + RECOGNITION))
        self._functions.confirm()

    def _caller_said(self, text: str, now: float, last_speech_at: float) -> None:
        """The caller's turn is over."""
        self._turn_since, self._lost = None, False
        self.history.caller_said(text)
        self._emit(CallerText(text))
        self._answer_comes(now, last_speech_at)
        self._time("endpoint", now - last_speech_at)

    def _answer_comes(self, now: float, last_speech_at: float) -> None:
        """The agent is to speak next, as soon as the call lets it."""
        self._answer_due_since = now
        self._speech.expect(held=True)
        self._timed.clear()
        self._emit(CallerSpeechEnded(now, last_speech_at))

    def _inject(self, text: str) -> None:
        self._injected.append(text.strip())
        self._speech.expect(held=False)
        self._send(inject_user_message(text))

    # --- what Deepgram says

    def _obey(self, message: ServerMessage | None) -> None:
        match message:
            case UserStartedSpeaking():
                self._caller_speaks()
            case UserText(text):
                self._user_text(text)
            case AssistantText(text):
                self._speech.words(text)
            case AgentThinking():
                self._emit(Thinking())
            case AgentStartedSpeaking(first_token, first_audio):
                self._speech.starts()
                self._time("first_token", first_token)
                self._time("first_audio", first_audio)
            case LatencyReport(transcript, first_token, first_audio):
                self._time("transcript", transcript)
                self._time("first_token", first_token)
                self._time("first_audio", first_audio)
            case AgentAudioDone():
                self._speech.done()
            case FunctionCallRequest(functions):
                for function in functions:
                    # What was said before it is to be told before it.
                    confirmed = self._turn_since is None and not self._voice.untold
                    self._functions.request(function, confirmed=confirmed)
            case FunctionCallCancelled(calls):
                self._functions.cancel(calls)
            case InjectionRefused():
                self._speech.refused()
            case VendorWarning():
                self._warn(message)
            case VendorError():
                self._end(str(self._failure(message)))

    def _answered(self) -> None:
        self._answer_due_since, self._lost, self._begun_since = None, False, True

    def _answer_is_late(self, now: float) -> bool:
        since = self._answer_due_since
        return since is not None and now - since > self.settings.answer_within and not self._functions.open

    # --- troubles

    def _warn(self, warning: VendorWarning) -> None:
        if warning.code in INJECTION_WARNINGS:
            self._speech.refused()
        elif warning.code == LIMIT_APPROACHES:
            self._renew_at = min(self._renew_at, trio.current_time())
        else:
            self._emit(Degraded(f"Deepgram warns: {self._described(warning)}"))

    def _failure(self, error: VendorError) -> ProviderError:
        kind = ProviderRejected if error.code in OUR_FAULT else ProviderUnavailable
        return kind(f"Deepgram reports an error: {self._described(error)}")

    def _described(self, trouble: VendorWarning | VendorError) -> str:
        return self.conceal(f"{trouble.code} {trouble.description}".strip())[:200]

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._ended:
            return
        try:
            self.socket.send(message)
        except ProviderUnavailable as error:
            self._end(str(error))

    # --- events

    def _time(self, stage: str, seconds: float | None) -> None:
        """Tell how long a stage of this answer took, once."""
        if seconds is not None and stage not in self._timed:
            self._timed.add(stage)
            self._emit(StageTiming(stage, seconds))

    def _emit(self, event: SessionEvent) -> None:
        if self._ended:
            return
        try:
            self._events_send.send_nowait(event)
        except trio.WouldBlock:
            log.error("a session event found its queue full and was dropped", event_type=type(event).__name__)

    def _end(self, failure: str) -> None:
        """Tell that the session is over. An utterance that is open stays so: it is not complete."""
        if self._ended:
            return
        self._emit(Ended(failure))
        self._ended = True
        self._events_send.close()
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
