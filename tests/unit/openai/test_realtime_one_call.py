"""A Realtime session between a server that keeps the published order and a call: whatever is late, every turn is
answered once, and all comes to rest."""

import itertools
from collections import deque
from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agentd import session_events as tells
from agentd.conversation import commands as wishes
from agentd.conversation import events as happens
from agentd.conversation.machine import Conversation
from agentd_providers.openai.realtime.asking import Next, Request, Turn
from agentd_providers.openai.realtime.events import (
    AudioDelta,
    Event,
    FunctionCall,
    ItemDone,
    ResponseCreated,
    ResponseDone,
    SpeechStarted,
    SpeechStopped,
    VendorError,
)
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from tests.unit.openai.realtime_playbook import AGENTD, SERVER, Playbook

PIECE = bytes(2 * 2400)
ITEM = "item of "
"""Before the name of a response, the name of its item."""


@attrs.define
class Response:
    """One that the server is making. `knows`: how many turns of the caller's it knew when it began."""

    id: str
    tag: str
    knows: int
    aside: bool = False
    speaks: bool = False


@attrs.define
class Server:
    """Answers the conversation once at a time, speaks words beside it at any time, and tells all in order."""

    vendor_answers: bool
    told: deque[Event] = attrs.field(factory=deque)
    said: int = 0
    """Turns of the caller's that it knows."""
    responses: dict[str, Response] = attrs.field(factory=dict)
    knew: dict[str, int] = attrs.field(factory=dict)
    collisions: int = 0
    """Answers that it was asked for while it was at work on one: they may be to the same."""
    _names: Any = attrs.field(factory=lambda: (f"resp_{number}" for number in itertools.count(1)))

    @property
    def answer(self) -> Response | None:
        return next((response for response in self.responses.values() if not response.aside), None)

    def begin(self, tag: str, *, aside: bool = False) -> None:
        response = Response(next(self._names), tag, self.said, aside)
        self.responses[response.id], self.knew[response.id] = response, self.said
        self.told.append(ResponseCreated(response.id, tag))

    def end(self, response: Response, status: str, *calls: str) -> None:
        del self.responses[response.id]
        if response.speaks:
            self.told.append(ItemDone(response.id, ITEM + response.id))
        functions = tuple(FunctionCall(call, "tool", "{}") for call in calls)
        self.told.append(ResponseDone(response.id, status, "why", "", functions))

    def speak(self, response: Response) -> None:
        response.speaks = True
        self.told.append(AudioDelta(response.id, ITEM + response.id, PIECE))

    def take(self, message: Any) -> None:
        match message["type"]:
            case "response.create" if "conversation" in message["response"]:
                self.begin(message["event_id"], aside=True)
            case "response.create" if self.answer is not None:
                self.collisions += 1
                code = "conversation_already_has_active_response"
                self.told.append(VendorError("invalid_request_error", code, "no", cause=message["event_id"]))
            case "response.create":
                self.begin(message["event_id"])
            case "response.cancel" if message["response_id"] in self.responses:
                self.end(self.responses[message["response_id"]], "cancelled")
            case "response.cancel":
                self.told.append(VendorError("invalid_request_error", "response_cancel_not_active", "no"))
            case "conversation.item.create" if message["item"].get("role") == "user":
                self.said += 1

    def caller_speaks(self) -> None:
        self.told.append(SpeechStarted("i", 0))
        if self.vendor_answers and self.answer is not None:
            self.end(self.answer, "cancelled")

    def caller_stops(self, *, forgets: bool) -> None:
        self.told.append(SpeechStopped("i", 0))
        self.said += 1
        if self.vendor_answers and self.answer is None and not forgets:
            self.begin("")


@attrs.define
class Utterance:
    """One in the playout. `item`: which response's it is."""

    number: int
    aside: bool
    item: str = ""
    complete: bool = False


class OneCall(RuleBasedStateMachine):
    """A caller, who speaks, coughs and types; and tools."""

    @initialize(vendor_answers=st.booleans())
    def opened(self, vendor_answers: bool) -> None:
        self.play = Playbook(SERVER if vendor_answers else AGENTD)
        self.server = Server(vendor_answers)
        self.conversation = Conversation()
        self.conversation.step(happens.Connected())
        self.to_server: deque[Any] = deque()
        self.to_call: deque[object] = deque()
        self.speaking = False
        self.playout: deque[Utterance] = deque()
        self.playing: Utterance | None = None
        self.tools: list[str] = []
        self.names = itertools.count(1)
        self.heard: list[int] = []
        """How many turns the answers knew that the caller has heard something of."""
        self.late = False
        """The session had to take something for forgotten that was only late."""
        self.unanswerable = 0
        """Turns up to which the call was told that there is no answer."""

    def step(self, event: inputs.Input | Event) -> None:
        for command in self.play.on(event):
            match command:
                case do.Send(message):
                    self.to_server.append(message)
                case do.Begin(number, aside):
                    # Not the response that the event is of: the utterance may have waited for that one's end.
                    item = self.play.machine.speech._utterances[number].item
                    self.playout.append(Utterance(number, aside, item.removeprefix(ITEM)))
                case do.Finish() | do.Cut():
                    for utterance in [*self.playout, *filter(None, [self.playing])]:
                        utterance.complete = True
                case do.Tell(tells.ToolRequested(_, _, call)):
                    self.tools.append(call)
                case do.Tell(told):
                    if isinstance(told, tells.NothingToSay | tells.AnswerFailed) and isinstance(event, ResponseDone):
                        self.unanswerable = max(self.unanswerable, self.server.knew[event.response])
                    self.to_call.append(told)
                case do.End(failure):
                    raise AssertionError(failure)

    # --- the caller

    @precondition(lambda self: not self.speaking)
    @rule()
    def caller_speaks(self) -> None:
        self.speaking = True
        self.server.caller_speaks()

    @precondition(lambda self: self.speaking)
    @rule(forgets=st.booleans())
    def caller_stops(self, forgets: bool) -> None:
        self.speaking = False
        self.nothing_is_late()  # a turn by voice lasts longer than messages are on their way
        self.server.caller_stops(forgets=forgets)

    @precondition(lambda self: self.speaking)
    @rule()
    def caller_only_coughed(self) -> None:
        self.speaking = False

    @rule()
    def caller_types(self) -> None:
        while any(isinstance(event, SpeechStarted | SpeechStopped) for event in self.server.told):
            self.session_listens()  # nobody speaks and types in one instant
        self.step(inputs.CallerWrote("four"))

    # --- the ways there and back

    @precondition(lambda self: self.server.told)
    @rule()
    def session_listens(self) -> None:
        event = self.server.told.popleft()
        while isinstance(event, SpeechStarted | SpeechStopped) and self.to_call:  # which is quicker than the caller
            self.call_listens()
        self.step(event)

    @precondition(lambda self: self.to_server)
    @rule()
    def server_listens(self) -> None:
        self.server.take(self.to_server.popleft())

    @precondition(lambda self: self.to_call)
    @rule()
    def call_listens(self) -> None:
        for wish in self.conversation.step(self.to_call.popleft()).commands:
            match wish:
                case wishes.Answer():
                    self.step(inputs.Answer())
                case wishes.Withhold():
                    self.step(inputs.Withhold())
                case wishes.Interrupt():
                    self.step(inputs.Interrupt())
                    self.playout.clear()
                    if self.playing is not None:
                        self.step(inputs.Heard(self.playing.number, 50, False))
                        self.to_call.append(happens.PlaybackFinished(self.playing.number, idle=True))
                        self.playing = None

    @rule()
    def nothing_is_late(self) -> None:
        while self.server.told or self.to_server or self.to_call:
            for way, listen in (
                (self.server.told, self.session_listens),
                (self.to_server, self.server_listens),
                (self.to_call, self.call_listens),
            ):
                if way:
                    listen()

    # --- the server at work

    @precondition(lambda self: self.server.responses)
    @rule(last=st.booleans())
    def server_speaks(self, last: bool) -> None:
        responses = list(self.server.responses.values())
        self.server.speak(responses[-1 if last else 0])

    @precondition(lambda self: self.server.responses)
    @rule(last=st.booleans(), tools=st.integers(0, 2))
    def server_ends(self, last: bool, tools: int) -> None:
        response = list(self.server.responses.values())[-1 if last else 0]
        calls = [] if response.aside else [f"call_{next(self.names)}" for _ in range(tools)]
        self.server.end(response, "completed", *calls)

    # --- the call at work

    @rule()
    def call_says(self) -> None:
        self.step(inputs.Say(next(self.names), "Good morning."))

    @precondition(lambda self: self.tools)
    @rule()
    def tool_gives(self) -> None:
        self.step(inputs.ToolResult(self.tools.pop(0), "42"))

    @precondition(lambda self: self.playout and self.playing is None)
    @rule()
    def playback_starts(self) -> None:
        self.playing = utterance = self.playout.popleft()
        self.step(inputs.Started(utterance.number))
        if not utterance.aside:
            self.heard.append(self.server.knew.get(utterance.item, -1))
        self.to_call.append((happens.AsideStarted if utterance.aside else happens.PlaybackStarted)(utterance.number))

    @precondition(lambda self: self.playing is not None and self.playing.complete)
    @rule()
    def playback_ends(self) -> None:
        assert self.playing is not None
        number, self.playing = self.playing.number, None
        self.step(inputs.Heard(number, 100, True))
        self.to_call.append(happens.PlaybackFinished(number, idle=not self.playout))

    @precondition(lambda self: not self.to_call)  # which the call takes at once
    @rule(seconds=st.sampled_from([0.25, 1, 4]))
    def time_passes(self, seconds: float) -> None:
        self.late = self.late or bool(self.server.told or self.to_server)
        self.play.now += seconds
        self.step(inputs.Tick())

    # --- what holds

    @rule()
    def all_comes_to_rest(self) -> None:
        if self.speaking:
            self.caller_stops(forgets=False)
        for _ in range(40):
            self.nothing_is_late()
            for response in list(self.server.responses.values()):
                self.server.speak(response)
                self.server.end(response, "completed")
            self.nothing_is_late()
            if self.tools:
                self.tool_gives()
            elif self.playing is not None:
                self.playback_ends()
            elif self.playout:
                self.playback_starts()
            else:
                self.time_passes(1)
        machine = self.play.machine
        assert not machine.speech.responses
        assert not machine.speech.ended
        asking = machine.answers.asking
        assert (asking.turn, asking.next) == (Turn.ANSWERED, Next.NOBODY)
        assert asking.request in (Request.NONE, Request.REFUSED)
        assert max([self.unanswerable, *self.heard]) == self.server.said, "the caller waits for ever"
        if not (self.server.collisions or self.late or self.play.told(tells.ToolRequested)):
            assert len(set(self.heard)) == len(self.heard), "a turn is answered twice"

    def teardown(self) -> None:
        if hasattr(self, "play"):
            self.all_comes_to_rest()


OneCall.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestOneCall = OneCall.TestCase
