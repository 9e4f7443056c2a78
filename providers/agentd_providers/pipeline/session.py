"""An agent's session made of a Transcriber, a Responder and a Voice; agentd takes the turns.

The session's ear hears the caller and takes the turns (pipeline.ear). At every pause of the caller the words so far are
transcribed and an answer to them is begun (see pipeline.answer): the reply is cut into clauses while it is still being
written, and the first one is spoken into the draft. If the caller goes on, the draft is thrown away; if the turn is
over, it is committed, and heard as soon as the call lets it go. One nursery holds all of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import CallInfo, Capabilities, SayOutcome, ToolDeclaration
from agentd.errors import CallRejected, ProviderError, first_of
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.event_queue import EventQueue
from agentd_providers.pipeline.answer import Answer, Gate
from agentd_providers.pipeline.digit_entry import DigitEntry
from agentd_providers.pipeline.ear import Ear
from agentd_providers.pipeline.replies import Replies
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import (
    PipelineSettings,
    Responder,
    SentenceJudge,
    SoundJudge,
    Transcriber,
    TurnJudge,
    VoiceDetector,
)
from agentd_providers.pipeline.tool_requests import ToolRequests
from agentd_providers.turns.settings import SentenceCue
from agentd_providers.turns.taker import DOUBTED, WORDLESS, Signal

FAILURES_IN_A_ROW = 2
"""Answers that may fail before the session gives up: one may be an accident."""
FALLING_SILENT = deadlines.FALLING_SILENT.seconds
CUT_SHORT = "(The line was interrupted. Please answer my last words again.)"
"""The caller's words, as the model is told them, where another session broke off in its answer."""


@attrs.define(eq=False)
class PipelineSession:
    """See agentd.agent.AgentSession. Made by `open_pipeline`."""

    call: CallInfo
    history: History
    output: SpeechOutput
    settings: PipelineSettings
    detector: VoiceDetector
    transcriber: Transcriber
    judge: TurnJudge | None
    responder: Responder
    observe_delay: Callable[[float], None]
    tools: Sequence[ToolDeclaration] = ()
    sounds: SoundJudge | None = None
    sentences: Sequence[SentenceJudge] = ()
    _requests: ToolRequests = attrs.field(init=False)
    _ear: Ear = attrs.field(init=False)
    _replies: Replies = attrs.field(init=False)
    _nursery: trio.Nursery = attrs.field(init=False, repr=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _draft: Answer | None = attrs.field(default=None, init=False)
    _committed: Answer | None = attrs.field(default=None, init=False)
    _let_go: set[Answer] = attrs.field(factory=set, init=False)
    """Answers that may be heard and are not yet complete."""
    _asides: set[trio.CancelScope] = attrs.field(factory=set, init=False)
    _audible: int = attrs.field(default=0, init=False)
    _silent: trio.Event = attrs.field(factory=trio.Event, init=False)
    _digits: DigitEntry = attrs.field(init=False)
    _failures: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._ear = Ear(
            self.call.rate,
            self.settings,
            self.detector,
            self.transcriber,
            self.judge,
            self._obey,
            self._events.put,
            by_sentence=lambda: self._sentence_judge() is not None,
            by_answer=True,
            agent_said=lambda: self.history.agent_said,
            sounds=self.sounds,
        )
        self._requests = ToolRequests(self.history, self._events.put)
        self._replies = Replies(
            self.call,
            self.history,
            self.output,
            self.settings,
            self.responder,
            self.tools,
            self._requests,
            self._events.put,
        )
        self._digits = DigitEntry(lambda digits: self.feed_text(f"(pressed {' '.join(digits)})"))
        self.output.emit = self._events.put

    def run_in(self, nursery: trio.Nursery) -> None:
        """Do all work in this nursery from now on."""
        self._nursery = nursery
        nursery.start_soon(self._digits.collect)

    def close(self) -> None:
        """Free what the engines keep of a turn in progress; whatever is fed from now on is of no interest."""
        self._events.close()
        self._drop_draft()
        self._ear.close()

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(takes_turns=False, truncates=True, speaks_verbatim=True, takes_text=True, takes_digits=True)

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events.events

    def feed(self, pcm: bytes, at: float) -> None:
        """Take caller audio."""
        self.observe_delay(trio.current_time() - at)
        if not self._events.ended:
            asked = bool(self._audible) and self.output.questions.asked(at)
            self._ear.hear(pcm, at, agent_audible=bool(self._audible), asked=asked)

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller."""
        if self._events.ended:
            return
        now = trio.current_time()
        answer = Answer(0, now, text)
        self._commit(answer, now)
        self._start(answer, self._compose)

    def feed_digits(self, digits: str) -> None:
        """Take DTMF digits: those that follow each other quickly are one turn that names them."""
        self._digits.press(digits)

    async def say(self, text: str) -> SayOutcome:
        """Speak words, after the utterance that is being spoken now; fillers only before the answer."""
        if self._events.ended:
            return SayOutcome.REFUSED
        outcome, answers = SayOutcome.REFUSED, self.output.answers
        answered = self._committed is not None and self._committed.utterance > 0
        with trio.CancelScope() as scope:
            self._asides.add(scope)
            try:
                async with self.output.speak(text) as sound:
                    if text in self.settings.fillers and (answered or self.output.answers > answers):
                        outcome = SayOutcome.REPLACED
                    elif sound.first:
                        async with self.output.utterance(aside=True) as utterance:
                            outcome = SayOutcome.SPOKEN
                            await utterance.put(sound)
            except* ProviderError as group:
                outcome = SayOutcome.REFUSED
                self._count_failure(tells.Degraded(str(first_of(group))))
            finally:
                self._asides.discard(scope)
        return outcome

    def answer(self) -> None:
        """Let the committed answer be heard."""
        if self._committed is not None:
            self._let_go.add(self._committed)
            self._committed.gate.open()

    def withhold(self) -> None:
        """Keep back what has not reached the playout."""
        if self._committed is not None:
            self._committed.gate.close()

    def interrupt(self) -> None:
        """Stop what was let go; a draft for the turn that interrupts stays. Transcribed words stay said."""
        for scope in self._asides:
            scope.cancel()
        for answer in self._let_go:
            answer.give_up()
        if self._committed is not None and (self._committed in self._let_go or self._committed.gate.is_open):
            self._committed = None
        self._let_go.clear()

    def started(self, utterance: int) -> None:
        """The caller hears the agent: what the caller says now may be an interruption, or a "mhm"."""
        self._audible, self._silent = utterance, trio.Event()
        self.output.questions.started(utterance, trio.current_time())

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """The history has the utterance now, as it was heard."""
        self.output.heard(utterance)
        self._audible = 0
        self._silent.set()

    def resume(self) -> None:
        """Answer what the history leaves open; it may be heard at once."""
        if self._events.ended:
            return
        if not (self.history.owed or self.history.agent_spoke_last):
            self._events.put(tells.NothingToSay("the history leaves nothing open"))
            return
        closing = "" if self.history.owed else CUT_SHORT
        answer = Answer(0, trio.current_time(), "", closing=closing, committed=True)
        self._committed = answer
        self.answer()
        self._events.put(tells.Thinking())
        self._start(answer, self._compose)

    def probe(self) -> None:
        """Never asked (see Capabilities): each stage is on the clock whenever something is wanted of it."""

    def tool_result(self, call: str, result: str) -> None:
        """The history has it; who still waits for it goes on."""
        self._requests.result(call, result)

    # --- the caller's turns

    def _obey(self, signal: Signal, at: float) -> None:
        """Do what turn taking has decided, and tell the call."""
        match signal:
            case Signal.STARTED:
                self._events.put(tells.CallerSpeechStarted(at))
            case Signal.CONFIRMED:
                self.output.questions.paused(at)
                self._events.put(tells.CallerSpeechConfirmed(at))
            case Signal.DOUBTED:
                self.output.questions.went_on(at)
                self._events.put(tells.CallerSpeechDoubted(at))
            case Signal.TAKEN:
                self._events.put(tells.CallerTakesTurn(at))
            case Signal.PAUSED:
                self._events.put(tells.CallerPaused(at))
                self._begin_draft(at)
            case Signal.LOOK:
                if self._draft is not None:
                    self._nursery.start_soon(self._ear.judge_sound, self._draft.pause)
            case Signal.RESUMED:
                self._drop_draft()
                self._events.put(tells.CallerSpeechResumed(at))
            case Signal.ENDED:
                self._end_turn(at)
            case Signal.DISMISSED:
                self.output.questions.went_on(at)
                self._dismiss()

    def _begin_draft(self, at: float) -> None:
        self._drop_draft()
        pause = self._ear.pause
        draft = Answer(
            pause,
            at - self._ear.silence,
            transcript=self._ear.transcript,
            speech=self._ear.speech,
            gate=Gate(lambda: self._ear.know_answer(pause)),
        )
        draft.mark("pause")
        self._draft = draft
        self._start(draft, self._transcribe_and_compose)

    def _drop_draft(self) -> None:
        if self._draft is not None:
            self._draft.scope.cancel()
            self._draft = None

    def _end_turn(self, at: float) -> None:
        transcript = self._ear.hand_over()
        answer, self._draft = self._draft, None
        if answer is None:  # cut off at the longest that a turn may be, in mid-speech
            answer = Answer(self._ear.pause, at, transcript=transcript, speech=self._ear.speech)
            self._start(answer, self._transcribe_and_compose)
        self._commit(answer, at)

    def _dismiss(self) -> None:
        if self._draft is not None and self._ear.dismissal in (WORDLESS, DOUBTED):  # else it was none in any case
            self._tell_dropped(self._draft)
        self._drop_draft()
        self._events.put(tells.CallerSpeechDismissed(self._ear.dismissal))
        if self.history.owed and self._committed is None:
            self.feed_text("")  # for this sound an answer was thrown away, which is still owed

    def _commit(self, answer: Answer, at: float) -> None:
        """The turn is over: what was a draft is its answer, in place of one that nothing was heard of."""
        if self._committed is not None and not self._committed.utterance:
            self._committed.give_up()
        self._committed = answer
        answer.committed = True
        answer.mark("endpoint")
        if answer.text is not None:
            self._caller_said(answer)
        self._events.put(tells.CallerSpeechEnded(at, answer.last_speech_at))
        if answer.failure:
            answer.close_transcript()
            self._answer_failed(answer)
        elif answer.text is not None:
            self._events.put(tells.Thinking())

    def _caller_said(self, answer: Answer) -> None:
        """The words of a turn that is over are known."""
        self._tell_dropped(answer)
        if answer.text:
            self._events.put(tells.CallerText(answer.text))
            self.history.caller_said(answer.text)
        answer.close_transcript()

    def _tell_dropped(self, answer: Answer) -> None:
        measured = answer.speech.figures if answer.speech is not None else {}
        for cause in answer.dropped:
            self._events.put(tells.CallerWordsDropped(cause, measured))

    # --- answers

    def _start(self, answer: Answer, work: Callable[[Answer], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._attempt, answer, work)

    async def _attempt(self, answer: Answer, work: Callable[[Answer], Awaitable[None]]) -> None:
        """One answer; a provider's failure in it is told, and ends the session if it goes on failing."""
        with answer.scope:
            try:
                await work(answer)
            except* ProviderError as group:  # a group where it was raised within a stage that has a nursery
                answer.failure = first_of(group)
                if answer.committed:
                    self._answer_failed(answer)
                elif answer.text is None:
                    self._ear.know_no_words(answer.pause)
                else:
                    self._ear.know_answer(answer.pause)
            finally:
                self._let_go.discard(answer)
                if answer.committed:
                    answer.close_transcript()

    def _answer_failed(self, answer: Answer) -> None:
        """A turn is left without its answer. (A draft that failed and was thrown away is no failure.)"""
        assert answer.failure is not None
        reason, of_this_call = str(answer.failure), isinstance(answer.failure, CallRejected)
        failed = tells.AnswerFailed(reason, of_this_call) if answer is self._committed else tells.Degraded(reason)
        self._count_failure(failed, of_this_call=of_this_call)

    def _count_failure(self, failure: tells.AnswerFailed | tells.Degraded, *, of_this_call: bool = False) -> None:
        self._failures += 1
        self._events.put(failure)
        if self._failures >= FAILURES_IN_A_ROW:
            self._events.end(failure.reason, of_this_call=of_this_call)

    async def _transcribe_and_compose(self, answer: Answer) -> None:
        assert answer.transcript is not None
        heard = await answer.transcript.words()
        said = answer.take_words(heard, self.settings.turns.sure_ms, self._replies.says_goodbye)
        answer.mark("transcript")
        if answer.committed:
            self._caller_said(answer)
            if answer.given_up:
                return
            self._events.put(tells.Thinking())
        else:
            self._events.put(tells.CallerText(answer.text or "", final=False))
            self._ear.know_words(answer.pause, said, doubted=bool(answer.judgement.doubt))
            await trio.lowlevel.checkpoint()  # it may have been dismissed
            if answer.text and (judge := self._sentence_judge()) is not None:
                ask = partial(judge.sentence_end, self._replies.messages(answer))
                if judge is not self.responder:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._ear.judge_sentence, answer.pause, ask)
                        await self._compose(answer)
                    return
                await self._ear.judge_sentence(answer.pause, ask)
        await self._compose(answer)

    def _sentence_judge(self) -> SentenceJudge | None:
        """Who is to be asked whether a sentence ends: the model that writes the replies, before each, else another."""
        judges = () if self.settings.sentence_cue is SentenceCue.NONE else (self.responder, *self.sentences)
        return next((judge for judge in judges if judge.tells_sentence_ends), None)

    async def _compose(self, answer: Answer) -> None:
        """Answer the words of a turn, or of what may be one."""
        if not answer.text and not (answer.committed and (self.history.owed or answer.closing)):
            await answer.gate.passed()  # a draft of nothing is committed where the turn has become too long
            if not self.history.owed:
                self._events.put(tells.NothingToSay("no words were recognised"))
                return
        if answer.text and answer.judgement.may_hang_up and self._replies.says_goodbye(answer.text):
            await self._replies.farewell(answer)
            self._events.end()
            return
        if self._audible:
            with trio.move_on_after(FALLING_SILENT):  # the history is told then what was heard
                await self._silent.wait()
        if await self._replies.reply(answer):
            self._failures = 0


@asynccontextmanager
async def open_pipeline(session: PipelineSession) -> AsyncIterator[PipelineSession]:
    """Run a session's tasks for as long as the block is entered."""
    async with trio.open_nursery() as nursery:
        session.run_in(nursery)
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
            session.close()
