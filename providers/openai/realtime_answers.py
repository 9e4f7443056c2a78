"""The agent's side of a Realtime session: asking for answers, and what is heard of those that come.

How responses and function calls go: https://platform.openai.com/docs/guides/realtime-conversations. Only one response
at a time answers the conversation, so an answer is asked for when none is in progress. Words that `say` asks for are a
response beside the conversation (`"conversation": "none"`), which the caller's voice does not stop at the source.

The server makes audio faster than it is heard. What a caller who interrupts has not heard is therefore taken out of its
conversation again (conversation.item.truncate and .delete).
"""

import math
from collections import deque
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd.agent import SayOutcome
from agentd.history import History, ToolUse
from agentd.session_events import (
    AgentText,
    AnswerFailed,
    Degraded,
    NothingToSay,
    SessionEvent,
    StageTiming,
    Thinking,
    ToolRequested,
)
from providers.openai import realtime_messages as messages
from providers.openai.realtime_audio import RealtimeAudio
from providers.openai.realtime_events import (
    LONGEST_TEXT,
    MOST_CALLS,
    VENDOR,
    AudioDelta,
    FunctionCall,
    ItemDone,
    ResponseCreated,
    ResponseDone,
    TranscriptDelta,
    VendorError,
    shown,
)
from providers.vendor_voice import VendorVoice

log = structlog.get_logger("providers.openai")

MOST_RESPONSES, MOST_UTTERANCES = 8, 64
"""How many of these may be open at a time."""
MOST_HELD = 4096
"""Messages of responses that may be held back."""
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

Spoken = AudioDelta | TranscriptDelta | ItemDone | ResponseDone


@attrs.define(eq=False)
class _Aside:
    """Words that `say` asked for."""

    text: str
    begun: bool = False
    decided: trio.Event = attrs.field(factory=trio.Event)

    def decide(self, *, begun: bool) -> None:
        self.begun = self.begun or begun
        self.decided.set()


@attrs.define(eq=False)
class _Response:
    """A response in progress. `aside`: the words it is for; None for an answer."""

    id: str
    aside: _Aside | None
    wanted: bool = True
    """What comes of it is to be heard."""
    audible: bool = False
    early: str = ""
    """Words of the next item, whose audio has not come yet."""
    over: bool = False
    instead_of: str = ""
    """The tag of an answer that was asked for, where this one has none: not every server gives it back."""


@attrs.define(eq=False)
class _Utterance:
    """An utterance of which the call has not yet told how much was heard. `item` is the server's; empty for an aside,
    which is none of the conversation's."""

    item: str
    seconds: float = 0.0
    """Audio of it that has come."""
    started: bool = False
    cut: bool = False
    """The server may have made more of it than we took."""


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
    _turn_ended_at: float = attrs.field(default=math.nan, init=False)
    _unanswered: bool = attrs.field(default=False, init=False)
    """The caller's turn is over, and nothing of an answer has been heard."""
    # what is in progress
    _responses: dict[str, _Response] = attrs.field(factory=dict, init=False)
    _open: tuple[_Response, str] | None = attrs.field(default=None, init=False)
    """Whose audio the voice's open utterance is: a response's item."""
    _utterances: dict[int, _Utterance] = attrs.field(factory=dict, init=False)
    _asides: dict[str, _Aside] = attrs.field(factory=dict, init=False)
    _calls: dict[str, _Call] = attrs.field(factory=dict, init=False)
    _withheld: bool = attrs.field(default=False, init=False)
    _held: deque[tuple[_Response, Spoken]] = attrs.field(factory=deque, init=False)
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

    # --- what the call asks for

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress."""
        if self._responses or self._asked or self._asides or self._expecting:
            return SayOutcome.REFUSED
        tag, aside = self._tag(SAY), _Aside(text)
        self._asides[tag] = aside
        self.send(messages.say_create(text, tag))
        try:
            with trio.move_on_after(SAY_DEADLINE):
                await aside.decided.wait()
        finally:
            del self._asides[tag]
            for response in self._responses.values():
                if response.aside is aside and not aside.begun:
                    self._give_up(response)
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
        elif self.history.broken_off:
            self.ask(prompt + GO_ON)

    def answer(self) -> None:
        """See agentd.agent.AgentSession.answer."""
        self._withheld = False
        owed, self._owed = self._owed, False
        if owed and self._void:
            self._void = False  # what was asked for and interrupted is the answer that is due
        elif owed:
            self.ask()
        self._release()

    def withhold(self) -> None:
        """See agentd.agent.AgentSession.withhold."""
        self._withheld = True

    def interrupt(self) -> None:
        """Stop what is in progress. What the caller has not begun to hear, the server forgets."""
        lost = self._wanted is not None or bool(self._asked)
        self._withheld, self._wanted, self._void = False, None, bool(self._asked)
        for response in self._responses.values():
            lost = lost or (response.wanted and response.aside is None)
            self._give_up(response)
        self._release()
        self.voice.cut()
        for number, utterance in list(self._utterances.items()):
            if not utterance.started:
                del self._utterances[number]
                if utterance.item:
                    lost = True
                    self.send(messages.item_delete(utterance.item))
        for aside in self._asides.values():
            aside.decide(begun=False)
        for call in self._calls.values():
            call.abandoned = True
        self._owed = self._owed or (lost and self._unanswered)

    def started(self, utterance: int) -> None:
        """See agentd.agent.AgentSession.started."""
        if known := self._utterances.get(utterance):
            known.started = True
            if known.item:
                self._unanswered = False

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Make the server's record true: cut its item to what was heard. Of an utterance that is none of its
        conversation, tell it the words."""
        known = self._utterances.pop(utterance, None)
        if known is None or not known.item:
            words = (turn.text for turn in reversed(self.history.turns) if turn.utterance == utterance)
            if text := next(words, ""):
                self.send(messages.agent_item(text))
        elif not completed or known.cut:
            kept = min(milliseconds, math.floor(known.seconds * 1000 + 0.001))  # whole milliseconds
            self.send(messages.item_truncate(known.item, kept) if kept > 0 else messages.item_delete(known.item))

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
        if not self.vendor_answers:
            return
        self._void = bool(self._asked)
        if self._open is not None and self._open[0].aside is None and (known := self._known()):
            known.cut = True
        for response in self._responses.values():
            if response.aside is None:
                self._forget(response)

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
        self._unanswered, self._turn_ended_at = True, trio.current_time()

    # --- what comes

    def on_created(self, event: ResponseCreated) -> None:
        """A response begins."""
        if len(self._responses) >= MOST_RESPONSES:
            self.fail(f"{VENDOR}: more than {MOST_RESPONSES} responses at once")
            return
        aside = self._asides.get(event.tag)
        response = self._responses[event.response] = _Response(event.response, aside)
        if event.tag.startswith(SAY):
            if aside is None or aside.decided.is_set():
                response.aside = response.aside or _Aside("")
                self._give_up(response)
            return
        if self._asked and event.tag == self._asked:
            unwanted, self._asked, self._void = self._void, "", False
        else:
            unwanted = self._void and not self._expecting
            response.instead_of = "" if self._expecting else self._asked
        self._expected_until = -math.inf
        if unwanted:
            self._give_up(response)
        else:
            self.emit(Thinking())

    def on_response(self, event: Spoken) -> None:
        """Something of a response: to be heard now, held back, or not wanted."""
        if response := self._responses.get(event.response):
            response.over = response.over or isinstance(event, ResponseDone)
            self._consider(response, event)

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

    def _consider(self, response: _Response, event: Spoken) -> None:
        if not response.wanted:
            if isinstance(event, ResponseDone):
                self._over(response)
        elif not self._must_wait(response):
            self._hear(response, event)
        elif len(self._held) < MOST_HELD:
            self._held.append((response, event))
        else:
            self.fail(f"{VENDOR}: more than {MOST_HELD} messages of an answer that has to wait")

    def _must_wait(self, response: _Response) -> bool:
        """Whether another response is speaking, or the answer is withheld."""
        if self._open is not None and self._open[0] is not response:
            return True
        withheld = self._withheld and response.aside is None and not response.audible
        return withheld or any(held is response for held, _ in self._held)

    def _release(self) -> None:
        """Look again at what was held back."""
        held, self._held = self._held, deque()
        for response, event in held:
            self._consider(response, event)

    def _hear(self, response: _Response, event: Spoken) -> None:
        match event:
            case AudioDelta(_, item, audio):
                if self._open != (response, item):
                    self._begin(response, item)
                if known := self._known():
                    known.seconds += self.audio.seconds(audio)
                self.voice.audio(self.audio.decode(audio))
            case TranscriptDelta(_, item, text) if self._open == (response, item):
                self._tell_words(response, text)
            case TranscriptDelta(_, _, text):
                response.early = (response.early + text)[:LONGEST_TEXT]
            case ItemDone(_, item):
                response.early = ""
                if self._open == (response, item):
                    self._close()
            case ResponseDone():
                self._on_done(response, event)

    def _begin(self, response: _Response, item: str) -> None:
        if response.aside is not None:
            number = self.voice.begin(aside=True, text=response.aside.text)
            response.aside.decide(begun=True)
        else:
            if not math.isnan(self._turn_ended_at):
                self.emit(StageTiming("first_audio", trio.current_time() - self._turn_ended_at))
                self._turn_ended_at = math.nan
            number = self.voice.begin()
            self._tell_words(response, response.early)
        self._open, response.audible, response.early = (response, item), True, ""
        self._utterances[number] = _Utterance(item if response.aside is None else "")
        if len(self._utterances) > MOST_UTTERANCES:
            del self._utterances[next(iter(self._utterances))]

    def _tell_words(self, response: _Response, text: str) -> None:
        """Words of the open utterance, in pieces as they come: they run ahead of the audio, and are no segments of it.
        Those of an aside were told when it began."""
        if response.aside is None and text:
            self.emit(AgentText(self.voice.utterance, text))

    def _on_done(self, response: _Response, event: ResponseDone) -> None:
        if self._open is not None and self._open[0] is response:
            self._close()
        if response.aside is not None:
            response.aside.decide(begun=False)
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
        self._over(response)

    def _over(self, response: _Response) -> None:
        self._responses.pop(response.id, None)
        if self._asked and response.instead_of == self._asked:
            self._asked, self._void = "", False
        self._release()
        self._ask_now()

    def _count_failure(self, failure: str) -> None:
        self._failures += 1
        self.emit(Degraded(failure))
        if self._failures >= FAILURES_IN_A_ROW:
            self.fail(failure)

    # --- what is in progress

    @property
    def _expecting(self) -> bool:
        return trio.current_time() < self._expected_until

    def _ask_now(self) -> None:
        answering = any(response.aside is None for response in self._responses.values())
        if self._wanted is None or self._asked or self.caller_speaks or answering or self._expecting:
            return
        self._asked, instructions, self._wanted = self._tag(ANSWER), self._wanted, None
        self.send(messages.response_create(self._asked, instructions))

    def _tag(self, purpose: str) -> str:
        self._numbered += 1
        return f"{purpose}-{self._numbered}"

    def _known(self) -> _Utterance | None:
        return self._utterances.get(self.voice.utterance)

    def _close(self) -> None:
        self._open = None
        self.voice.end()

    def _give_up(self, response: _Response) -> None:
        """Stop a response at the source, unless the server has stopped it."""
        if response.wanted and not response.over:
            self.send(messages.response_cancel(response.id))
        self._forget(response)

    def _forget(self, response: _Response) -> None:
        """Nothing more of a response is to be heard."""
        response.wanted = False
        if self._open is not None and self._open[0] is response:
            self._close()
