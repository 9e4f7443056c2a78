"""Asking for a Realtime session's answers: who makes the next one, and what becomes of those that were asked for.

How responses and function calls go: https://platform.openai.com/docs/guides/realtime-conversations. Only one response
at a time answers the conversation, so an answer is asked for when none is in progress. Words that `say` asks for are a
response beside the conversation (`"conversation": "none"`), which the caller's voice does not stop at the source. What
is heard of a response is in realtime_speech.
"""

import math
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd.agent import SayOutcome
from agentd.history import History, ToolUse
from agentd.session_events import AnswerFailed, Degraded, NothingToSay, SessionEvent, Thinking, ToolRequested
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import (
    MOST_CALLS,
    VENDOR,
    FunctionCall,
    ResponseCreated,
    ResponseDone,
    VendorError,
    shown,
)
from agentd_providers.openai.realtime.speech import Aside, RealtimeSpeech, Response, Spoken
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.openai")

MOST_RESPONSES = 8
"""How many may be in progress at a time."""
FAILURES_IN_A_ROW = 2
"""Answers that may fail before the session gives up: one may be an accident."""
SAY_DEADLINE = 5.0
"""Seconds until words that were asked for must be on their way."""
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
class RealtimeAnswers:
    """One session's answers. `vendor_answers`: the server begins and stops them by itself. `fail(reason)` ends the
    session. Only `say` waits."""

    history: History
    voice: VendorVoice
    audio: RealtimeAudio
    vendor_answers: bool
    send: Callable[[messages.Message], None]
    emit: Callable[[SessionEvent], None]
    fail: Callable[[str], None]
    caller_speaks: bool = attrs.field(default=False, init=False)
    _numbered: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _unanswered: bool = attrs.field(default=False, init=False)
    """The caller's turn is over, and nothing of an answer has been heard."""
    _asides: dict[str, Aside] = attrs.field(factory=dict, init=False)
    _calls: dict[str, _Call] = attrs.field(factory=dict, init=False)
    _speech: RealtimeSpeech = attrs.field(init=False, repr=False)
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

    def __attrs_post_init__(self) -> None:
        self._speech = RealtimeSpeech(
            self.history, self.voice, self.audio, self.send, self.emit, self.fail, done=self._on_done
        )

    # --- what the call asks for

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress."""
        if self._speech.responses or self._asked or self._asides or self._expecting:
            return SayOutcome.REFUSED
        tag, aside = self._tag(SAY), Aside(text)
        self._asides[tag] = aside
        self.send(messages.say_create(text, tag))
        try:
            with trio.move_on_after(SAY_DEADLINE):
                await aside.decided.wait()
        finally:
            del self._asides[tag]
            for response in self._speech.responses.values():
                if response.aside is aside and not aside.begun:
                    self._speech.give_up(response)
        return SayOutcome.REPLACED if aside.begun else SayOutcome.REFUSED

    def ask(self, instructions: str = "") -> None:
        """Ask for an answer to the conversation as it is, as soon as nothing else is in progress."""
        self._wanted = instructions
        self._ask_now()

    def resume(self, prompt: str) -> None:
        """See agentd.agent.AgentSession.resume."""
        if self.history.owed:
            self._unanswered = True
            self.ask()
        elif self.history.agent_spoke_last:
            self.ask(prompt + GO_ON)

    def answer(self) -> None:
        """See agentd.agent.AgentSession.answer."""
        owed, self._owed = self._owed, False
        if owed and self._void:
            self._void = False  # what was asked for and interrupted is the answer that is due
        elif owed:
            self.ask()
        self._speech.let_go()

    def withhold(self) -> None:
        """See agentd.agent.AgentSession.withhold."""
        self._speech.withhold()

    def interrupt(self) -> None:
        """Stop what is in progress. What the caller has not begun to hear, the server forgets."""
        asked = self._wanted is not None or bool(self._asked)
        self._wanted, self._void, self._gave_way = None, bool(self._asked), True
        lost = self._speech.stop() or asked
        for aside in self._asides.values():
            aside.decide(begun=False)
        self._halted += [call for call in self._calls.values() if not call.abandoned]
        for call in self._halted:
            call.abandoned = True
        self._owed = self._owed or (lost and self._unanswered)

    def started(self, utterance: int) -> None:
        """See agentd.agent.AgentSession.started."""
        if self._speech.started(utterance):
            self._unanswered = False

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """See agentd.agent.AgentSession.heard."""
        self._speech.heard(utterance, milliseconds, completed)

    def tool_result(self, call: str, result: str) -> None:
        """See agentd.agent.AgentSession.tool_result. The model goes on once it has the results of all the tools that it
        asked for together."""
        if (known := self._calls.pop(call, None)) is None:
            log.warning("a result of a tool that nobody waits for", call=call)
            return
        self.history.tool_used(ToolUse(known.function.name, known.function.arguments, result))
        self.send(messages.result_item(call, result))
        if not known.abandoned and not known.together & self._calls.keys():
            self.ask()

    def close(self) -> None:
        """The session is over: nobody waits for words any more."""
        for aside in self._asides.values():
            aside.decide(begun=False)

    # --- the caller's turns

    def caller_begins(self) -> None:
        """The caller speaks. A server that answers by itself has stopped its answer, of which more may still come."""
        self.caller_speaks, self._expected_until = True, -math.inf
        self._gave_way = False
        self._halted.clear()
        if self.vendor_answers:
            self._void = bool(self._asked)
            self._speech.answers_stopped()

    def caller_dismissed(self) -> None:
        """What was taken for a turn of the caller's was none: the answer that it has stopped, if any, is made after
        all. Who still waits for the call's `answer` goes on waiting."""
        self.caller_speaks = False
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
        self.caller_speaks = False
        if self.vendor_answers:  # its answer is to everything so far
            self._expected_until = trio.current_time() + EXPECTING
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
        self._unanswered, self._speech.turn_ended_at = True, trio.current_time()

    def keep_time(self) -> None:
        """Look at what has become due: the server's own answer, where that does not come, is asked for."""
        if -math.inf < self._expected_until <= trio.current_time():
            self._expected_until = -math.inf
            self._ask_if_nothing_comes()

    def _ask_if_nothing_comes(self) -> None:
        """Ask for the answer that the caller waits for, unless it is asked for or on its way; a tool may be at work on
        it."""
        working = any(not call.abandoned for call in self._calls.values())
        if self._unanswered and not (self._asked or working or self._speech.answer_comes):
            self.ask()
        else:
            self._ask_now()

    # --- what comes

    def on_created(self, event: ResponseCreated) -> None:
        """A response begins."""
        responses = self._speech.responses
        if event.response in responses:
            return
        if len(responses) >= MOST_RESPONSES:
            self.fail(f"{VENDOR}: more than {MOST_RESPONSES} responses at once")
            return
        aside = self._asides.get(event.tag)
        response = responses[event.response] = Response(event.response, aside)
        if event.tag.startswith(SAY):
            if aside is None or aside.decided.is_set():
                response.aside = response.aside or Aside("")
                self._speech.give_up(response)
            return
        if self._asked and event.tag == self._asked:
            unwanted, self._asked, self._void = self._void, "", False
        else:
            unwanted = self._void and not self._expecting
            response.instead_of = "" if self._expecting else self._asked
        self._expected_until = -math.inf
        if unwanted:
            self._speech.give_up(response)
        else:
            self.emit(Thinking())

    def on_response(self, event: Spoken) -> None:
        """Something of a response."""
        self._speech.take(event)

    def on_error(self, error: VendorError) -> bool:
        """Take an error that is about an answer, or about words to be said; false where it is about neither."""
        failure = f"{VENDOR}: {error.code or error.kind}: {shown(error.message)}"
        if error.code == ALREADY_ACTIVE and error.cause not in self._asides:
            log.debug("an answer has to wait", error=failure)
            if self._asked and not self._void:
                self._wanted = ""  # the one in progress may not know of a tool's result
            self._asked, self._void = "", False
        elif aside := self._asides.get(error.cause):
            aside.decide(begun=False)
            self._count_failure(failure)
        elif self._asked and error.cause == self._asked:
            self._asked, self._void, self._unanswered = "", False, False
            self._count_failure(failure)
            self.emit(AnswerFailed(failure))
        else:
            return False
        return True

    def _on_done(self, response: Response, event: ResponseDone) -> None:
        """Nothing more of a response will come."""
        if response.wanted:
            self._conclude(response, event)
        if self._asked and response.instead_of == self._asked:
            self._asked, self._void = "", False
        self._speech.look_again()
        self._ask_now()

    def _conclude(self, response: Response, event: ResponseDone) -> None:
        working = event.status == "completed" and bool(event.calls)
        failure = ""
        match event.status:
            case "completed":
                self._failures = 0
                for call in event.calls:
                    self._calls[call.call] = _Call(call, frozenset(one.call for one in event.calls))
                    self.emit(ToolRequested(call.name, call.arguments, call.call))
                if len(self._calls) > 4 * MOST_CALLS:
                    self.fail(f"{VENDOR}: {len(self._calls)} tools at work at once")
            case "failed":
                failure = f"{VENDOR}: an answer failed: {event.reason}: {shown(event.message)}"
                self._count_failure(failure)
            case "incomplete":
                self.emit(Degraded(f"{VENDOR}: an answer is incomplete: {event.reason}"))
        if response.aside is None and not (response.audible or working or self.caller_speaks):
            self._unanswered = False
            self.emit(AnswerFailed(failure) if failure else NothingToSay(f"the response was {event.status}, wordless"))

    def _count_failure(self, failure: str) -> None:
        self._failures += 1
        self.emit(Degraded(failure))
        if self._failures >= FAILURES_IN_A_ROW:
            self.fail(failure)

    @property
    def _expecting(self) -> bool:
        return trio.current_time() < self._expected_until

    def _ask_now(self) -> None:
        busy = self._asked or self.caller_speaks or self._speech.answering or self._expecting
        if self._wanted is None or busy:
            return
        self._asked, instructions, self._wanted = self._tag(ANSWER), self._wanted, None
        self.send(messages.response_create(self._asked, instructions))

    def _tag(self, purpose: str) -> str:
        self._numbered += 1
        return f"{purpose}-{self._numbered}"
