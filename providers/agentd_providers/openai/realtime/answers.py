"""Asking for a Realtime session's answers, and what becomes of those that were asked for. Pure.

How responses go: https://platform.openai.com/docs/guides/realtime-conversations. An answer is asked for when none is in
progress; which one is due is in the tables of asking, what is heard of a response in speech. An answer is to the turn
that was the caller's last when it was asked for or, by the server itself, begun: it answers no later one.

Words that `say` asks for are a response beside the conversation (`"conversation": "none"`), which the caller's voice
does not stop at the source.
"""

import math
from collections.abc import Callable

import attrs

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.history import History
from agentd.session_events import Cut
from agentd_providers.openai.realtime import messages, tool_calls
from agentd_providers.openai.realtime.asking import Asking, Happening, Next, Request, Turn
from agentd_providers.openai.realtime.caller import Caller
from agentd_providers.openai.realtime.events import VENDOR, ResponseCreated, ResponseDone, VendorError, shown
from agentd_providers.openai.realtime.speech import Response, Speech, Stage
from agentd_providers.openai.realtime.tool_calls import ToolCalls
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs

MOST_RESPONSES = 8
"""How many may be in progress at a time."""
FAILURES_IN_A_ROW = 2
"""Answers that may fail before the session gives up: one may be an accident."""
EXPECTING = 3.0
"""Seconds within which the server begins the answer that it makes by itself."""
GO_ON = (
    "\n\nThe call was interrupted by a fault while you were speaking. Go on from where you stopped, without a greeting."
)
ALREADY_ACTIVE = "conversation_already_has_active_response"
SAY, ANSWER = "say", "answer"
"""The beginning of the tags of responses that were asked for."""


@attrs.define(eq=False)
class _Words:
    """Words that `say` asked for and that are not on their way yet. `number`: see inputs.Say."""

    number: int
    text: str
    tag: str
    response: Response | None = None


@attrs.define(eq=False)
class Answers:
    """One session's. `vendor_answers`: the server begins and stops its answers by itself. `command` takes what is to be
    done. `now` is the time of the step that is being taken."""

    history: History
    speech: Speech
    caller: Caller
    vendor_answers: bool
    command: Callable[[do.Command], None]
    now: float = 0.0
    asking: Asking = attrs.field(init=False)
    tools: ToolCalls = attrs.field(init=False)
    _turn: int = attrs.field(default=0, init=False)
    """The number of the caller's last turn."""
    _asked_turn: int = attrs.field(default=0, init=False)
    """That of the one that the request is due to."""
    _expected_until: float = attrs.field(default=-math.inf, init=False)
    """When the server's own answer is given up waiting for."""
    _instructions: str = attrs.field(default="", init=False)
    """Those of the answer that is wanted; empty: the session's."""
    _tag: str = attrs.field(default="", init=False)
    """That of the request."""
    _numbered: int = attrs.field(default=0, init=False)
    _words: _Words | None = attrs.field(default=None, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.asking = Asking(self.vendor_answers)
        self.tools = ToolCalls(self.command)

    # --- what the call asks for

    def say(self, asked: inputs.Say) -> None:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress."""
        if self.speech.responses or self._words or self.asking.in_flight or self.asking.expecting:
            self.command(do.Decide(asked.number, SayOutcome.REFUSED))
            return
        self._words = _Words(asked.number, asked.text, self._new_tag(SAY))
        self.command(do.Send(messages.say_create(asked.text, self._words.tag)))

    def say_over(self, number: int) -> None:
        """Nobody waits for these words any more."""
        if self._words is not None and self._words.number == number:
            if self._words.response is not None:
                self.speech.give_up(self._words.response)
            self.refuse_words()

    def refuse_words(self) -> None:
        """The words that were asked for are not on their way."""
        self._decide_words(SayOutcome.REFUSED)

    def _decide_words(self, outcome: SayOutcome) -> None:
        if self._words is not None:
            self.command(do.Decide(self._words.number, outcome))
            self._words = None

    def resume(self, prompt: str) -> None:
        """Answer what another session left open, or go on with what it broke off."""
        if self.history.owed:
            self._turn_opens(Happening.LEFT_OPEN)
            self._call_for_answer()
        elif self.history.agent_spoke_last:
            self._call_for_answer(prompt + GO_ON)

    def answer(self) -> None:
        """The agent may speak by the call's word."""
        self.asking.happens(Happening.LET_GO)
        self.speech.let_go()

    def interrupt(self) -> None:
        """Stop what is in progress. The server forgets the words that the caller has not begun to hear."""
        asked = self.asking.asked
        self.asking.happens(Happening.INTERRUPTED)
        lost = self.speech.stop() or asked
        self.refuse_words()
        by_turn = self.caller.speaks
        self.tools.happens(tool_calls.Happening.STOPPED_BY_TURN if by_turn else tool_calls.Happening.STOPPED)
        if lost and self.asking.turn is Turn.OPEN:
            self.asking.happens(Happening.LOST)

    def started(self, utterance: int) -> None:
        """The caller begins to hear an utterance."""
        if self.speech.started(utterance) == self._turn:
            self.asking.happens(Happening.HEARD)

    def tool_result(self, call: str, result: str) -> None:
        """A tool has given its result."""
        if self.tools.result(call, result):
            self._call_for_answer()

    def _call_for_answer(self, instructions: str = "") -> None:
        self._instructions = instructions
        self.asking.happens(Happening.CALLED_FOR)

    # --- the caller's turns

    def caller_begins(self) -> None:
        """The caller speaks. A server that answers by itself has stopped its answer, of which more may still come."""
        self.asking.happens(Happening.CALLER_BEGINS)
        if self.vendor_answers:
            self.speech.answers_stopped()

    def caller_ends(self) -> None:
        """The caller's turn is over by the server's word."""
        self.speech.turn_ended_at = self.now
        self._turn_opens(Happening.TURN_OVER)
        self._expected_until = self.now + EXPECTING
        self.tools.happens(tool_calls.Happening.TURN_CONFIRMED)

    def caller_wrote(self) -> None:
        """The caller's turn came as text."""
        self.speech.turn_ended_at = self.now
        self._turn_opens(Happening.CALLER_WROTE)

    def _turn_opens(self, how: Happening) -> None:
        """There is something to be answered, of which the answers so far know nothing."""
        self._turn += 1
        self._instructions = ""
        self.asking.happens(how)

    def caller_dismissed(self, *, gave_way: bool) -> None:
        """The turn was none of the caller's: the answer that it has stopped is made after all. It has
        stopped none where the call did not give way: what waits for its `answer` goes on waiting."""
        self.asking.happens(Happening.DISMISSED)
        if self.tools.dismissed():
            self._turn_opens(Happening.LEFT_OPEN)
        if self.vendor_answers or gave_way:
            self._recover()

    def keep_time(self) -> None:
        """Look at what has become due: the server's own answer, where that does not come, is asked for."""
        if self.asking.expecting and self.now >= self._expected_until:
            self.asking.happens(Happening.LAPSED)
            self._recover()

    def _recover(self) -> None:
        """Ask for the answer that the caller waits for, unless it is asked for or on its way; a tool may be at work on
        it."""
        if self.asking.turn is Turn.ANSWERED:
            return
        self.asking.happens(Happening.RECOVERS)
        asked = self.asking.request is Request.ASKED and self._asked_turn == self._turn
        if not (asked or self.tools.awaited or self.speech.answer_comes(self._turn)):
            self._call_for_answer()

    # --- what comes

    def on_created(self, event: ResponseCreated) -> None:
        """A response begins."""
        responses = self.speech.responses
        if event.response in responses:
            return
        if len(responses) >= MOST_RESPONSES:
            self.command(do.End(f"{VENDOR}: more than {MOST_RESPONSES} responses at once"))
            return
        response = responses[event.response] = Response(event.response)
        if event.tag.startswith(SAY):
            self._words_begin(response, event.tag)
        elif self._answer_begins(response, event.tag):
            if response.turn == self._turn:
                self.asking.happens(Happening.ANSWER_BEGUN)
            self.command(do.Tell(tells.Thinking()))
        else:
            self.speech.give_up(response)

    def _words_begin(self, response: Response, tag: str) -> None:
        words = self._words
        if words is not None and words.tag == tag and words.response is None:
            response.words, words.response = words.text, response
        else:
            response.words = ""
            self.speech.give_up(response)

    def _answer_begins(self, response: Response, tag: str) -> bool:
        """Whether an answer that begins is wanted. One that is not ours is the server's own while that is expected;
        else it may be ours, from a server that does not give the tag back."""
        in_flight, wanted = self.asking.in_flight, self.asking.request not in (Request.VOID, Request.STALE)
        if in_flight and tag == self._tag:
            self.asking.happens(Happening.OURS_BEGUN)
        elif in_flight and not self.asking.expecting:
            response.instead_of = self._tag
        else:
            response.turn = self._turn
            return True
        response.turn = self._asked_turn
        return wanted

    def on_error(self, error: VendorError) -> bool:
        """Take an error that is about an answer, or about words to be said; false where it is about neither."""
        failure = f"{VENDOR}: {error.code or error.kind}: {shown(error.message)}"
        about_words = self._words is not None and error.cause == self._words.tag
        if error.code == ALREADY_ACTIVE and not about_words:
            self.command(do.Note("an answer has to wait", {"error": failure}))
            if self.asking.in_flight:
                self.asking.happens(Happening.COLLIDED)
        elif about_words:
            self.refuse_words()
            self.command(do.Tell(tells.Degraded(failure)))
            self._count_failure(failure)
        elif self.asking.in_flight and error.cause == self._tag:
            self.asking.happens(Happening.FAILED)
            if self._asked_turn == self._turn:
                self.asking.happens(Happening.GIVEN_UP)
            self._count_failure(failure)
            self.command(do.Tell(tells.AnswerFailed(failure)))
        else:
            return False
        return True

    # --- what follows from a step

    def settle(self) -> None:
        """Take note of responses that have ended and of words that are on their way; ask for the answer that is wanted,
        if nothing is in the way."""
        while self.speech.ended:
            self._on_ended(*self.speech.ended.popleft())
            self.speech.look_again()
        words = self._words
        if words is not None and words.response is not None and words.response.stage is Stage.AUDIBLE:
            self._decide_words(SayOutcome.REPLACED)
        may_ask = self.asking.request is Request.NONE and not (self.caller.speaks or self.speech.answering)
        if self.asking.next is Next.WANTED and may_ask:
            self._tag, self._asked_turn = self._new_tag(ANSWER), self._turn
            self.command(do.Send(messages.response_create(self._tag, self._instructions)))
            self.asking.happens(Happening.SENT)
            self._instructions = ""

    def _on_ended(self, response: Response, event: ResponseDone) -> None:
        """Nothing more of a response will come."""
        if self._words is not None and self._words.response is response:
            self._decide_words(SayOutcome.REPLACED if response.stage is Stage.AUDIBLE else SayOutcome.REFUSED)
        if response.wanted:
            self._conclude(response, event)
        self.asking.happens(Happening.ENDED)
        if response.instead_of and response.instead_of == self._tag:
            self.asking.happens(Happening.ENDED_INSTEAD)

    def _conclude(self, response: Response, event: ResponseDone) -> None:
        calls = tuple(response.calls) if event.calls is None else event.calls
        working = event.status == "completed" and bool(calls)
        failure = incomplete = ""
        filtered = event.status == "incomplete" and event.reason == "content_filter"
        match event.status:
            case "completed":
                self._failures = 0
                self.tools.request(calls)
            case "failed":
                failure = f"{VENDOR}: an answer failed: {event.reason}: {shown(event.message)}"
                self._count_failure(failure)
            case "incomplete":
                self.command(do.Tell(tells.ReplyCut(Cut.FILTER if filtered else Cut.LENGTH)))
                incomplete = f"{VENDOR}: an answer is incomplete: {event.reason}"
        if response.is_answer and not (response.stage is Stage.AUDIBLE or working or self.caller.speaks):
            if response.turn == self._turn:
                self.asking.happens(Happening.GIVEN_UP)
            nothing = tells.NothingToSay(f"the response was {event.status}, wordless")
            failed = failure or incomplete
            self.command(do.Tell(tells.AnswerFailed(failed, of_this_call=filtered) if failed else nothing))
        elif failure or incomplete:
            self.command(do.Tell(tells.Degraded(failure or incomplete)))

    def _count_failure(self, failure: str) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self.command(do.End(failure))

    def _new_tag(self, purpose: str) -> str:
        self._numbered += 1
        return f"{purpose}-{self._numbered}"
