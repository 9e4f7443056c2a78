"""An agent's session made of a Transcriber, a Responder and a Speaker; agentd takes the turns.

Audio goes: `feed` -> voice activity -> endpointer -> transcriber; at the end of the caller's turn its words go to
the responder, whose reply is cut into clauses while it is still being written, each spoken as soon as it is
complete. One task answers turns, in order; an interruption cancels the answer it is at.
"""

import string
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import (
    AgentText,
    Audio,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerText,
    CallInfo,
    Capabilities,
    Degraded,
    Ended,
    History,
    NothingToSay,
    Playout,
    SayOutcome,
    SegmentEnd,
    SegmentStart,
    SessionEvent,
    Speaker,
    StageTiming,
    UtteranceEnd,
    UtteranceEnded,
    UtteranceStarted,
)
from agentd.audio.endpoint import Boundary, Endpointer
from agentd.errors import ProviderError
from providers.clauses import ClauseCutter
from providers.stages import (
    Message,
    PipelineSettings,
    Responder,
    Role,
    Transcriber,
    Transcript,
    Voice,
    VoiceDetector,
    fill_in,
)

log = structlog.get_logger("providers.pipeline")

EVENT_QUEUE = 256
TURN_QUEUE = 8
"""Turns of the caller that may wait for their answer; more means that nobody is answering."""
DIGITS_TOGETHER = 1.2
"""Seconds that may lie between two digits of one entry."""
FAILURES_IN_A_ROW = 2
"""Answers that may fail before the session gives up: one may be an accident."""


@attrs.frozen
class _Turn:
    """A caller's turn that waits for its answer. `number` counts the turns that were begun."""

    transcript: Transcript
    number: int
    ended_at: float


@attrs.frozen
class _Say:
    """Words that wait to be spoken."""

    text: str
    spoken: trio.Event


@attrs.define(eq=False)
class PipelineSession:
    """See agentd.agent.AgentSession. Made by `open_pipeline`."""

    call: CallInfo
    history: History
    playout: Playout
    settings: PipelineSettings
    detector: VoiceDetector
    transcriber: Transcriber
    responder: Responder
    voice: Voice
    observe_delay: Callable[[float], None]
    _endpointer: Endpointer = attrs.field(init=False)
    _pre_roll: deque[bytes] = attrs.field(init=False)
    _transcript: Transcript | None = attrs.field(default=None, init=False)
    _answering: trio.CancelScope | None = attrs.field(default=None, init=False)
    _begun: int = attrs.field(default=0, init=False)
    _utterances: int = attrs.field(default=0, init=False)
    _unheard: dict[int, str] = attrs.field(factory=dict, init=False)
    _digits: str = attrs.field(default="", init=False)
    _digit_pressed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._endpointer = Endpointer(
            settings.start_ms, settings.stop_ms, settings.max_seconds * 1000, settings.threshold
        )
        self._pre_roll = deque()
        self._events_send, self._events = trio.open_memory_channel[SessionEvent](EVENT_QUEUE)
        self._work_send, self._work = trio.open_memory_channel[_Turn | _Say](TURN_QUEUE)

    _events_send: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False, repr=False)
    _events: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False, repr=False)
    _work_send: trio.MemorySendChannel[_Turn | _Say] = attrs.field(init=False, repr=False)
    _work: trio.MemoryReceiveChannel[_Turn | _Say] = attrs.field(init=False, repr=False)

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(takes_turns=False, truncates=True, speaks_verbatim=True, takes_text=True, takes_digits=True)

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events

    def feed(self, pcm: bytes, at: float) -> None:
        """Take caller audio: judge it, and keep it if it belongs to a turn."""
        self.observe_delay(trio.current_time() - at)
        probabilities = self.detector.feed(pcm, keep_open=self._endpointer.in_turn)
        if self._transcript is not None:
            self._transcript.feed(pcm)
        else:
            self._keep_pre_roll(pcm)
        for probability in probabilities:
            match self._endpointer.feed(probability, self.settings.window_ms):
                case Boundary.STARTED:
                    self._begin_turn(at)
                case Boundary.ENDED:
                    self._end_turn(at)
                case Boundary.NONE:
                    pass

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller."""
        now = trio.current_time()
        self._begun += 1
        self._hand_over(_Turn(_Written(text), self._begun, now), now)

    def feed_digits(self, digits: str) -> None:
        """Take DTMF digits: those that follow each other quickly are one turn that names them."""
        self._digits += digits
        self._digit_pressed.set()

    async def say(self, text: str) -> SayOutcome:
        """Speak words, after what is being answered now."""
        spoken = trio.Event()
        await self._work_send.send(_Say(text, spoken))
        await spoken.wait()
        return SayOutcome.SPOKEN

    def interrupt(self) -> None:
        """Stop the answer in preparation. What was transcribed stays said."""
        if self._answering is not None:
            self._answering.cancel()

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """The history has the utterance now, as it was heard."""
        self._unheard.pop(utterance, None)

    # --- turns

    def _keep_pre_roll(self, pcm: bytes) -> None:
        """Keep what came before an onset is recognised: a first syllable is never lost."""
        self._pre_roll.append(pcm)
        longest = (self.settings.pre_roll_ms + self.settings.start_ms) / 1000 * self.call.rate * 2
        while sum(map(len, self._pre_roll)) > longest + len(pcm):
            self._pre_roll.popleft()

    def _begin_turn(self, at: float) -> None:
        self._begun += 1
        self._transcript = self.transcriber.begin()
        for pcm in self._pre_roll:
            self._transcript.feed(pcm)
        self._pre_roll.clear()
        self._emit(CallerSpeechStarted(at))

    def _end_turn(self, at: float) -> None:
        assert self._transcript is not None
        transcript, self._transcript = self._transcript, None
        self._hand_over(_Turn(transcript, self._begun, at), at - self.settings.stop_ms / 1000)

    def _hand_over(self, turn: _Turn, last_speech_at: float) -> None:
        try:
            self._work_send.send_nowait(turn)
        except trio.WouldBlock:
            self._begun -= 1  # the one before it is the newest again, and gets its answer
            self._emit(Degraded(f"a turn was dropped: {TURN_QUEUE} wait for their answers already"))
        self._emit(CallerSpeechEnded(turn.ended_at, last_speech_at))

    def _emit(self, event: SessionEvent) -> None:
        if self._ended:
            return
        try:
            self._events_send.send_nowait(event)
        except trio.WouldBlock:
            log.error("a session event found its queue full and was dropped", event_type=type(event).__name__)

    def _end(self, failure: str = "") -> None:
        """Tell that the session is over; it answers nothing more."""
        self._emit(Ended(failure))
        self._ended = True
        self._events_send.close()

    async def collect_digits(self) -> None:
        """Make turns of the digits that were pressed, until cancelled."""
        while True:
            await self._digit_pressed.wait()
            while self._digit_pressed.is_set():
                self._digit_pressed = trio.Event()
                with trio.move_on_after(DIGITS_TOGETHER):
                    await self._digit_pressed.wait()
            digits, self._digits = self._digits, ""
            self.feed_text(f"(pressed {' '.join(digits)})")

    # --- answers

    async def run(self) -> None:
        """Answer turns until cancelled; once the session has ended itself, they are only taken."""
        async for work in self._work:
            match work:
                case _Say(_, spoken) if self._ended:
                    spoken.set()
                case _Turn() if self._ended:
                    pass
                case _Say(text, spoken):
                    with trio.CancelScope() as self._answering:
                        await self._attempt(self._speak_alone, text)
                    spoken.set()
                case _Turn():
                    await self._attempt(self._answer, work)
            self._answering = None

    async def _attempt(self, do: Callable[..., object], *args: object) -> None:
        """One answer; a provider's failure in it is told, and ends the session if it goes on failing."""
        try:
            await do(*args)  # type: ignore[misc]
        except ProviderError as error:
            self._failures += 1
            self._emit(Degraded(str(error)))
            if self._failures >= FAILURES_IN_A_ROW:
                self._end(str(error))
            else:
                self._emit(NothingToSay("the answer failed"))
        else:
            self._failures = 0

    async def _answer(self, turn: _Turn) -> None:
        began = trio.current_time()
        text = (await turn.transcript.finish()).strip()
        self._emit(StageTiming("transcript", trio.current_time() - began))
        if text:
            self._emit(CallerText(text))
            self.history.caller_said(text)
        if turn.number != self._begun:
            return  # the caller went on: the next turn's answer covers this one
        if text and self._ends_the_call(text):
            await self._leave()
            return
        if not self.history.turns or self.history.turns[-1].speaker is not Speaker.CALLER:
            self._emit(NothingToSay("no words were recognised"))
            return
        with trio.CancelScope() as self._answering:
            await self._respond()

    async def _respond(self) -> None:
        """Answer what the caller said: the reply's clauses go into the playout while the rest is still written."""
        utterance, generation = self._next_utterance(), self.playout.generation
        failure: ProviderError | None = None
        try:
            await self._stream(utterance, generation)
        except ProviderError as error:
            failure = error
        spoken = utterance in self._unheard
        if spoken:  # after a failure too: the playback must not wait for the rest
            await self._end_utterance(utterance, generation)
        if failure is not None:
            raise failure
        if not spoken:
            self._emit(NothingToSay("the language model gave no words"))

    async def _stream(self, utterance: int, generation: int) -> None:
        began = trio.current_time()
        cutter = ClauseCutter()
        timed: set[str] = set()

        def stage(name: str) -> None:
            if name not in timed:
                timed.add(name)
                self._emit(StageTiming(name, trio.current_time() - began))

        async with self.responder.respond(self.messages()) as deltas:
            async for delta in deltas:
                stage("first_token")
                for clause in cutter.feed(delta):
                    await self._speak(utterance, clause, generation)
                    stage("first_audio")
        for clause in cutter.flush():
            await self._speak(utterance, clause, generation)
            stage("first_audio")

    async def _leave(self) -> None:
        try:
            if self.settings.farewell:
                await self._speak_alone(self.settings.farewell)
        except ProviderError as error:
            self._emit(Degraded(str(error)))  # who has said goodbye is let go all the same
        self._end()

    async def _speak_alone(self, text: str) -> None:
        utterance, generation = self._next_utterance(), self.playout.generation
        await self._speak(utterance, text, generation)
        await self._end_utterance(utterance, generation)

    def _next_utterance(self) -> int:
        self._utterances += 1
        return self._utterances

    async def _speak(self, utterance: int, clause: str, generation: int) -> None:
        pcm = await self.voice.synthesise(clause, self.call.rate)
        if utterance not in self._unheard:
            self._unheard[utterance] = ""
            self._emit(UtteranceStarted(utterance))
        self._unheard[utterance] = f"{self._unheard[utterance]} {clause}".strip()
        self._emit(AgentText(utterance, clause))
        await self.playout.put(SegmentStart(generation, utterance, clause))
        await self.playout.put(Audio(generation, utterance, pcm, self.call.rate))
        await self.playout.put(SegmentEnd(generation, utterance))

    async def _end_utterance(self, utterance: int, generation: int) -> None:
        await self.playout.put(UtteranceEnd(generation, utterance))
        self._emit(UtteranceEnded(utterance))

    def _ends_the_call(self, text: str) -> bool:
        plain = f" {' '.join(text.lower().translate(_NO_PUNCTUATION).split())} "
        return any(f" {phrase.lower()} " in plain for phrase in self.settings.end_phrases)

    def messages(self) -> list[Message]:
        """The prompt: system, then the history; what is being heard right now counts as said so far."""
        messages = [Message(Role.SYSTEM, fill_in(self.settings.prompt, self.call))]
        for turn in self.history.turns:
            if turn.speaker is Speaker.CALLER:
                messages.append(Message(Role.USER, turn.text))
            elif text := turn.text or self._unheard.get(turn.utterance, ""):
                messages.append(Message(Role.ASSISTANT, text))
        return messages


@attrs.frozen
class _Written:
    """A turn that came as text."""

    text: str

    def feed(self, pcm: bytes) -> None:
        raise NotImplementedError("a written turn has no audio")

    async def finish(self) -> str:
        await trio.lowlevel.checkpoint()
        return self.text


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@asynccontextmanager
async def open_pipeline(session: PipelineSession) -> AsyncIterator[PipelineSession]:
    """Run a session's task for as long as the block is entered."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        nursery.start_soon(session.collect_digits)
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
