"""One call's session with OpenAI Realtime: the server hears, thinks and speaks.

How turns go: https://platform.openai.com/docs/guides/realtime-vad; what the events are is in realtime_events, what is
made of answers in realtime_answers. One task reads, one keeps the time of turns, one brings audio into the playout, one
knows when the session has to be renewed. Whatever is asked of the session is a message put into the socket's queue:
nothing of the contract but `say` ever waits.
"""

import time
from collections.abc import AsyncIterator, Callable

import attrs
import structlog
import trio

from agentd.agent import Capabilities, SayOutcome
from agentd.errors import ProviderUnavailable
from agentd.history import History, Place
from agentd.session_events import (
    Alive,
    CallerSpeechDismissed,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerTakesTurn,
    CallerText,
    Degraded,
    RenewalDue,
    SessionEvent,
    StageTiming,
)
from agentd_providers.event_queue import EventQueue
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.answers import RealtimeAnswers
from agentd_providers.openai.realtime.audio import RealtimeAudio, SentAudio
from agentd_providers.openai.realtime.events import (
    VENDOR,
    AudioDelta,
    Event,
    ItemDone,
    RateLimits,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    TranscriptDelta,
    TranscriptionFailed,
    VendorError,
    shown,
)
from agentd_providers.openai.realtime.reader import MOST_UNREADABLE, EventReader
from agentd_providers.openai.realtime.settings import Detection, RealtimeSettings
from agentd_providers.vendor.caller_sound import CallerSound
from agentd_providers.vendor.socket import VendorSocket
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.openai")

MOST_TURNS = 32
"""Turns of the caller whose words may be waited for at a time."""
RENEWAL_LEAD = 120.0
"""Seconds before the server's limit at which the session wants to be renewed; of a short session, a quarter."""
SCARCE = 0.05
"""Share of a rate limit below which it is nearly used up."""
ANSWERING = 1.0
"""Seconds that the server may take, beyond the silence that ends a turn, until something of its answer comes."""
LATE_STOP = 3.0
"""Seconds that the server may take, beyond the same silence, until it tells that a turn is over."""
LONGEST_TURN = 60.0
"""Seconds after which a turn of which the server does not tell the end was none, however loud it still is."""
TICK = 0.25
"""Seconds between looks at what has become due."""
HARMLESS = frozenset({
    "response_cancel_not_active", "input_audio_buffer_commit_empty", "unsupported_content_type",
    "item_truncate_invalid_item_id", "item_delete_invalid_item_id",
})  # fmt: skip
"""Errors about something that came too late."""
TOO_LATE = frozenset({messages.TRUNCATE, messages.DELETE, messages.CANCEL})
FATAL = frozenset({"session_expired", "invalid_api_key", "beta_api_shape_disabled", "insufficient_quota"})
"""Errors that end a session."""


@attrs.define(eq=False)
class RealtimeSession:
    """See agentd.agent.AgentSession. `instructions` is the prompt; `on_unknown` counts messages that nobody
    knows, by vendor, `observe_delay` is told how late caller audio is."""

    settings: RealtimeSettings
    history: History
    socket: VendorSocket
    audio: RealtimeAudio
    voice: VendorVoice
    instructions: str
    observe_delay: Callable[[float], None]
    on_unknown: Callable[[str], None]
    _answers: RealtimeAnswers = attrs.field(init=False, repr=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _sent: SentAudio = attrs.field(factory=SentAudio, init=False)
    _sound: CallerSound = attrs.field(factory=CallerSound, init=False)
    _reader: EventReader = attrs.field(init=False)
    _turn_since: float | None = attrs.field(default=None, init=False)
    """When the caller began the turn that is not over."""
    _turns: dict[str, Place] = attrs.field(factory=dict, init=False)
    """Turns of the caller whose words are not known yet, by their item."""

    def __attrs_post_init__(self) -> None:
        self.voice.emit = self._events.put
        self._reader = EventReader(self.on_unknown)
        self._answers = RealtimeAnswers(
            self.history,
            self.voice,
            self.audio,
            self.settings.turn.vendor_answers,
            send=self._send,
            emit=self._events.put,
            fail=self._end,
        )

    # --- its tasks

    async def run(self) -> None:
        """Read what the server tells, and keep the time, until the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while not self._events.ended:
                try:
                    message = await self.socket.receive()
                except ProviderUnavailable as error:
                    self._end(str(error))
                else:
                    self._read(message)
            nursery.cancel_scope.cancel()

    async def _keep_time(self) -> None:
        """Look at what has become due, until cancelled."""
        lost = 0
        while True:
            await trio.sleep(TICK)
            if not lost and (lost := self.socket.dropped_messages):
                self._events.put(Degraded(f"{VENDOR} sends faster than it can be read: some of it is lost"))
            if self._turn_since is not None and self._turn_is_none(self._turn_since):
                self._turn_since = None
                self._events.put(CallerSpeechDismissed(f"{VENDOR} did not tell that the turn is over"))
                self._answers.caller_dismissed()
            self._answers.keep_time()

    def _turn_is_none(self, since: float) -> bool:
        now = trio.current_time()
        quiet_since = max(since, self._sound.loud_until)
        return now - quiet_since > self.settings.turn.longest_pause + LATE_STOP or now - since > LONGEST_TURN

    async def ask_for_renewal(self, expires_at: float) -> None:
        """Tell when the session has to be renewed. `expires_at`: the server's word for it in seconds since 1970, or 0;
        a clock that is wrong can only bring it forward."""
        limit = self.settings.session_minutes * 60
        left = expires_at - time.time()
        if RENEWAL_LEAD / 2 < left < limit:
            limit = left
        lead = min(RENEWAL_LEAD, limit / 4)
        await trio.sleep(limit - lead)
        self._events.put(RenewalDue(lead))

    def close(self) -> None:
        """Whatever is asked from now on is of no interest."""
        self._events.close()
        self._answers.close()

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        turn = self.settings.turn
        return Capabilities(
            takes_turns=turn.vendor_answers,
            truncates=True,
            takes_text=True,
            longest_pause=turn.longest_pause + ANSWERING,
            answers_probes=True,
        )

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events.events

    def feed(self, pcm: bytes, at: float) -> None:
        """See agentd.agent.AgentSession.feed."""
        self.observe_delay(trio.current_time() - at)
        if self._events.ended:
            return
        self._sound.hear(pcm, at)
        if not (audio := self.audio.encode(pcm)):
            return
        dropped = self.socket.dropped_audio
        self.socket.send_audio(messages.audio_append(audio))
        if self.socket.dropped_audio == dropped:
            self._sent.note(self.audio.seconds(audio), at)
        elif not dropped:
            self._events.put(Degraded(f"{VENDOR} takes the caller's audio too slowly: some of it is lost"))

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller."""
        if self._events.ended:
            return
        now = trio.current_time()
        self.history.caller_said(text)
        self._send(messages.caller_item(text))
        self._events.put(CallerText(text))
        self._events.put(CallerSpeechEnded(now, now))
        self._answers.caller_wrote()

    def feed_digits(self, digits: str) -> None:
        """Digits are nothing to the server: see `capabilities`."""

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress."""
        return SayOutcome.REFUSED if self._events.ended else await self._answers.say(text)

    def answer(self) -> None:
        """See agentd.agent.AgentSession.answer."""
        self._answers.answer()

    def withhold(self) -> None:
        """See agentd.agent.AgentSession.withhold."""
        self._answers.withhold()

    def interrupt(self) -> None:
        """See agentd.agent.AgentSession.interrupt."""
        self._answers.interrupt()

    def started(self, utterance: int) -> None:
        """See agentd.agent.AgentSession.started."""
        self._answers.started(utterance)

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """See agentd.agent.AgentSession.heard."""
        self._answers.heard(utterance, milliseconds, completed)

    def resume(self) -> None:
        """See agentd.agent.AgentSession.resume."""
        self._answers.resume(self.instructions)

    def probe(self) -> None:
        """See agentd.agent.AgentSession.probe."""
        self._send(messages.probe())

    def tool_result(self, call: str, result: str) -> None:
        """See agentd.agent.AgentSession.tool_result."""
        self._answers.tool_result(call, result)

    # --- what the server tells

    def _read(self, message: str | bytes) -> None:
        if (event := self._reader.read(message)) is not None:
            self._take(event)
        elif self._reader.hopeless:
            self._end(f"{VENDOR}: {MOST_UNREADABLE} messages in a row could not be read")

    def _take(self, event: Event) -> None:
        match event:
            case AudioDelta() | TranscriptDelta() | ItemDone() | ResponseDone():
                self._answers.on_response(event)
            case ResponseCreated():
                self._answers.on_created(event)
            case SpeechStarted():
                self._turn_since = trio.current_time()
                self._answers.caller_begins()
                self._events.put(CallerSpeechStarted(trio.current_time()))
                self._events.put(CallerTakesTurn(trio.current_time()))
            case SpeechStopped(item, audio_end_ms):
                self._on_speech_stopped(item, audio_end_ms / 1000)
            case Transcribed(item, text):
                place = self._turns.pop(item, None)
                if words := text.strip():
                    self.history.caller_said(words, place)
                    self._events.put(CallerText(words))
            case TranscriptionFailed(item, message):
                self._turns.pop(item, None)
                what = f"{VENDOR} could not transcribe what the caller said: {shown(message)}"
                self._degrade("transcription", what)
            case VendorError():
                self._on_error(event)
            case RateLimits():
                self._on_rate_limits(event)
            case SessionUpdated():
                self._events.put(Alive())

    def _on_speech_stopped(self, item: str, audio_end: float) -> None:
        now, turn = trio.current_time(), self.settings.turn
        self._turn_since = None
        self._turns[item] = self.history.place
        if len(self._turns) > MOST_TURNS:
            del self._turns[next(iter(self._turns))]
        if turn.detection is Detection.SERVER_VAD:
            audio_end -= turn.silence_ms / 1000  # the silence that ended the turn counts with it
        known = self._sent.time_of(audio_end)
        last_speech_at = now if known is None else min(known, now)
        self._answers.caller_ends()
        self._events.put(CallerSpeechEnded(now, last_speech_at))
        self._events.put(StageTiming("pause", now - last_speech_at))
        self._events.put(StageTiming("endpoint", now - last_speech_at))

    def _on_error(self, error: VendorError) -> None:
        what = f"{VENDOR}: {error.code or error.kind}: {shown(error.message)}"
        if error.code in FATAL:
            self._end(what)
        elif self._answers.on_error(error):
            pass  # it is told there
        elif error.cause in TOO_LATE or error.code in HARMLESS or error.param == "audio_end_ms":
            log.debug("something came too late", error=what)
        else:
            self._degrade(error.code or error.kind, what)

    def _on_rate_limits(self, event: RateLimits) -> None:
        for limit in event.limits:
            if limit.remaining < SCARCE * limit.limit and self._reader.first(f"limit: {limit.name}"):
                log.warning(
                    "a rate limit is nearly used up",
                    name=limit.name,
                    limit=limit.limit,
                    remaining=limit.remaining,
                    reset_s=limit.reset_seconds,
                )

    # --- messages and events

    def _send(self, message: messages.Message) -> None:
        if self._events.ended:
            return
        try:
            self.socket.send(message)
        except ProviderUnavailable as error:
            self._end(str(error))

    def _degrade(self, kind: str, reason: str) -> None:
        """Tell what went wrong: the first time of its kind, so that the log does not fill with it."""
        if self._reader.first(kind):
            self._events.put(Degraded(reason))
        else:
            log.debug("the same trouble again", reason=reason)

    def _end(self, failure: str) -> None:
        """Tell that the session is over, and why."""
        self._events.end(failure)
        self.close()
