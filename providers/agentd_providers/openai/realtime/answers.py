"""Asking for a Realtime session's answers: who makes the next one, and what becomes of those that were asked for. Pure.

How responses and function calls go: https://platform.openai.com/docs/guides/realtime-conversations. Only one response
at a time answers the conversation, so an answer is asked for when none is in progress. Words that `say` asks for are a
response beside the conversation (`"conversation": "none"`), which the caller's voice does not stop at the source. What
is heard of a response is in speech.
"""

import math
from collections.abc import Callable

import attrs

from agentd.agent import SayOutcome
from agentd.history import History, ToolUse
from agentd.session_events import AnswerFailed, Degraded, NothingToSay, Thinking, ToolRequested
from agentd_providers.openai.realtime import commands as do
from agentd_providers.openai.realtime import inputs, messages
from agentd_providers.openai.realtime.caller import Caller
from agentd_providers.openai.realtime.events import (
    MOST_CALLS,
    VENDOR,
    FunctionCall,
    ResponseCreated,
    ResponseDone,
    VendorError,
    shown,
)
from agentd_providers.openai.realtime.speech import Response, Speech, Stage

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
"""What the tags of responses that were asked for begin with."""


@attrs.define(eq=False)
class _Call:
    """A tool that is at work; `together` are all that the same response asked for."""

    function: FunctionCall
    together: frozenset[str]
    abandoned: bool = False
    """The caller has interrupted since: the model is not asked to speak because of it."""


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
    _numbered: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _unanswered: bool = attrs.field(default=False, init=False)
    """The caller's turn is over, and nothing of an answer has been heard."""
    _words: _Words | None = attrs.field(default=None, init=False)
    _calls: dict[str, _Call] = attrs.field(factory=dict, init=False)
    # asking for more
    _owed: bool = attrs.field(default=False, init=False)
    """An answer is to be asked for at the next `answer`: nobody else makes it."""
    _expected_until: float = attrs.field(default=-math.inf, init=False)
    """Until then the server may be about to answer by itself."""
    _wanted: str | None = attrs.field(default=None, init=False)
    """The instructions of an answer to be asked for as soon as that is possible; empty: the session's."""
    _asked: str = attrs.field(default="", init=False)
    """The tag of an answer that was asked for and has not begun."""
    _void: bool = attrs.field(default=False, init=False)
    """What was asked for is not wanted any more."""
    # what the turn that the caller is speaking has stopped
    _gave_way: bool = attrs.field(default=False, init=False)
    _halted: list[_Call] = attrs.field(factory=list, init=False)

    # --- what the call asks for

    def say(self, asked: inputs.Say) -> None:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress."""
        if self.speech.responses or self._asked or self._words or self._expecting:
            self.command(do.Decide(asked.number, SayOutcome.REFUSED))
            return
        self._words = _Words(asked.number, asked.text, self._tag(SAY))
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

    def ask(self, instructions: str = "") -> None:
        """Ask for an answer to the conversation as it is, as soon as nothing else is in progress."""
        self._wanted = instructions
        self._ask_now()

    def resume(self, prompt: str) -> None:
        """Answer what another session left open, or go on with what it broke off."""
        if self.history.owed:
            self._unanswered = True
            self.ask()
        elif self.history.agent_spoke_last:
            self.ask(prompt + GO_ON)

    def answer(self) -> None:
        """The caller's turn is over by the call's word."""
        owed, self._owed = self._owed, False
        if owed and self._void:
            self._void = False  # what was asked for and interrupted is the answer that is due
        elif owed:
            self.ask()
        self.speech.let_go()

    def interrupt(self) -> None:
        """Stop what is in progress. What the caller has not begun to hear, the server forgets."""
        asked = self._wanted is not None or bool(self._asked)
        self._wanted, self._void, self._gave_way = None, bool(self._asked), True
        lost = self.speech.stop() or asked
        self.refuse_words()
        self._halted += [call for call in self._calls.values() if not call.abandoned]
        for call in self._halted:
            call.abandoned = True
        self._owed = self._owed or (lost and self._unanswered)

    def started(self, utterance: int) -> None:
        """The caller begins to hear an utterance."""
        if self.speech.started(utterance):
            self._unanswered = False

    def tool_result(self, call: str, result: str) -> None:
        """A tool has given its result. The model goes on once it has those of all the tools that it asked for
        together."""
        if (known := self._calls.pop(call, None)) is None:
            self.command(do.Warn("a result of a tool that nobody waits for", {"call": call}))
            return
        self.command(do.RecordTool(ToolUse(known.function.name, known.function.arguments, result)))
        self.command(do.Send(messages.result_item(call, result)))
        if not known.abandoned and not known.together & self._calls.keys():
            self.ask()

    # --- the caller's turns

    def caller_begins(self) -> None:
        """The caller speaks. A server that answers by itself has stopped its answer, of which more may still come."""
        self._expected_until, self._gave_way = -math.inf, False
        self._halted.clear()
        if self.vendor_answers:
            self._void = bool(self._asked)
            self.speech.answers_stopped()

    def caller_dismissed(self) -> None:
        """What was taken for a turn of the caller's was none: the answer that it has stopped, if any, is made after
        all. Who still waits for the call's `answer` goes on waiting."""
        for call in self._halted:
            call.abandoned = False
            self._unanswered = self._unanswered or call.function.call not in self._calls  # its result was passed over
        if not self._unanswered or not (self.vendor_answers or self._gave_way):
            self._ask_now()
            return
        self._owed, self._void = False, False
        self._ask_if_nothing_comes()

    def caller_ends(self) -> None:
        """The caller's turn is over by the server's word."""
        if self.vendor_answers:  # its answer is to everything so far
            self._expected_until = self.now + EXPECTING
            self._owed, self._wanted = False, None
        else:
            self._owed = True
        self._turn_over()

    def caller_wrote(self) -> None:
        """The caller's turn came as text, which nobody answers by itself."""
        self._turn_over()
        if self.vendor_answers:
            self.ask()
        else:
            self._owed = True

    def _turn_over(self) -> None:
        self._unanswered, self.speech.turn_ended_at = True, self.now

    def keep_time(self) -> None:
        """Look at what has become due: the server's own answer, where that does not come, is asked for."""
        if -math.inf < self._expected_until <= self.now:
            self._expected_until = -math.inf
            self._ask_if_nothing_comes()

    def _ask_if_nothing_comes(self) -> None:
        """Ask for the answer that the caller waits for, unless it is asked for or on its way; a tool may be at work on
        it."""
        working = any(not call.abandoned for call in self._calls.values())
        if self._unanswered and not (self._asked or working or self.speech.answer_comes):
            self.ask()
        else:
            self._ask_now()

    # --- what comes

    def on_created(self, event: ResponseCreated) -> None:
        """A response begins."""
        responses, words = self.speech.responses, self._words
        if event.response in responses:
            return
        if len(responses) >= MOST_RESPONSES:
            self.command(do.End(f"{VENDOR}: more than {MOST_RESPONSES} responses at once"))
            return
        response = responses[event.response] = Response(event.response)
        if event.tag.startswith(SAY):
            if words is not None and words.tag == event.tag and words.response is None:
                response.words, words.response = words.text, response
            else:
                response.words = ""
                self.speech.give_up(response)
            return
        if self._asked and event.tag == self._asked:
            unwanted, self._asked, self._void = self._void, "", False
        else:
            unwanted = self._void and not self._expecting
            response.instead_of = "" if self._expecting else self._asked
        self._expected_until = -math.inf
        if unwanted:
            self.speech.give_up(response)
        else:
            self.command(do.Tell(Thinking()))

    def on_error(self, error: VendorError) -> bool:
        """Take an error that is about an answer, or about words to be said; false where it is about neither."""
        failure = f"{VENDOR}: {error.code or error.kind}: {shown(error.message)}"
        about_words = self._words is not None and error.cause == self._words.tag
        if error.code == ALREADY_ACTIVE and not about_words:
            self.command(do.Note("an answer has to wait", {"error": failure}))
            if self._asked and not self._void:
                self._wanted = ""  # the one in progress may not know of a tool's result
            self._asked, self._void = "", False
        elif about_words:
            self.refuse_words()
            self._count_failure(failure)
        elif self._asked and error.cause == self._asked:
            self._asked, self._void, self._unanswered = "", False, False
            self._count_failure(failure)
            self.command(do.Tell(AnswerFailed(failure)))
        else:
            return False
        return True

    def settle(self) -> None:
        """Take note of what a step has brought about: of words that are on their way, of responses that have ended."""
        ended = self.speech.ended
        while ended:
            response, event = ended.popleft()
            self._on_done(response, event)
        words = self._words
        if words is not None and words.response is not None and words.response.stage is Stage.AUDIBLE:
            self._decide_words(SayOutcome.REPLACED)

    def _on_done(self, response: Response, event: ResponseDone) -> None:
        """Nothing more of a response will come."""
        if self._words is not None and self._words.response is response:
            self._decide_words(SayOutcome.REPLACED if response.stage is Stage.AUDIBLE else SayOutcome.REFUSED)
        if response.wanted:
            self._conclude(response, event)
        if self._asked and response.instead_of == self._asked:
            self._asked, self._void = "", False
        self.speech.look_again()
        self._ask_now()

    def _conclude(self, response: Response, event: ResponseDone) -> None:
        working = event.status == "completed" and bool(event.calls)
        failure = ""
        match event.status:
            case "completed":
                self._failures = 0
                for call in event.calls:
                    self._calls[call.call] = _Call(call, frozenset(one.call for one in event.calls))
                    self.command(do.Tell(ToolRequested(call.name, call.arguments, call.call)))
                if len(self._calls) > 4 * MOST_CALLS:
                    self.command(do.End(f"{VENDOR}: {len(self._calls)} tools at work at once"))
            case "failed":
                failure = f"{VENDOR}: an answer failed: {event.reason}: {shown(event.message)}"
                self._count_failure(failure)
            case "incomplete":
                self.command(do.Tell(Degraded(f"{VENDOR}: an answer is incomplete: {event.reason}")))
        if response.is_answer and not (response.stage is Stage.AUDIBLE or working or self.caller.speaks):
            self._unanswered = False
            nothing = NothingToSay(f"the response was {event.status}, wordless")
            self.command(do.Tell(AnswerFailed(failure) if failure else nothing))

    def _count_failure(self, failure: str) -> None:
        self._failures += 1
        self.command(do.Tell(Degraded(failure)))
        if self._failures >= FAILURES_IN_A_ROW:
            self.command(do.End(failure))

    @property
    def _expecting(self) -> bool:
        return self.now < self._expected_until

    def _ask_now(self) -> None:
        busy = self._asked or self.caller.speaks or self.speech.answering or self._expecting
        if self._wanted is None or busy:
            return
        self._asked, instructions, self._wanted = self._tag(ANSWER), self._wanted, None
        self.command(do.Send(messages.response_create(self._asked, instructions)))

    def _tag(self, purpose: str) -> str:
        self._numbered += 1
        return f"{purpose}-{self._numbered}"
