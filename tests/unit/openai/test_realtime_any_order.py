"""Whatever the server tells and the call asks, in whatever order: a Realtime session keeps its rules."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentd import session_events as tells
from agentd_providers.openai.realtime.events import (
    AudioDelta,
    Event,
    FunctionCall,
    ItemDone,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    TranscriptDelta,
    TranscriptionFailed,
    VendorError,
)
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from tests.unit.openai.realtime_playbook import AGENTD, SERVER, Playbook

RESPONSES, ITEMS = ["r1", "r2", "r3"], ["i1", "i2"]
CODES = ["conversation_already_has_active_response", "response_cancel_not_active", "session_expired", "other", ""]
responses, items, utterances = st.sampled_from(RESPONSES), st.sampled_from(ITEMS), st.integers(-1, 6)
functions = st.lists(st.builds(FunctionCall, st.sampled_from(["c1", "c2"]), st.just("tool"), st.just("{}")), max_size=2)
statuses = st.sampled_from(["completed", "completed", "cancelled", "failed", "incomplete", "queued"])


class AnyOrder(RuleBasedStateMachine):
    """A server and a call that do as they please."""

    @initialize(vendor_answers=st.booleans())
    def opened(self, vendor_answers: bool) -> None:
        self.play = Playbook(SERVER if vendor_answers else AGENTD)
        self.pending = ""
        """The answer that was asked for and that the server has said nothing to."""
        self.speaks = False
        self.utterance = 0
        self.unwanted: set[str] = set()
        """Responses that had begun when the call interrupted."""
        self.requested: list[str] = []
        self.answered: list[str] = []

    def step(self, event: inputs.Input | Event) -> list[do.Command]:
        commands = self.play.on(event)
        for command in commands:
            match command:
                case do.Send(message):
                    self.check(message)
                case do.Begin(utterance):
                    assert not self.utterance, "one utterance at a time"
                    self.utterance = utterance
                case do.Speak():
                    assert self.utterance, "nothing is spoken that was not begun"
                case do.Finish():
                    assert self.utterance, "each utterance ends once"
                    self.utterance = 0
                case do.Cut():
                    self.utterance = 0
                case do.Tell(tells.ToolRequested(_, _, call)):
                    self.requested.append(call)
                case do.Tell(tells.CallerSpeechStarted()):
                    self.speaks = True
                case do.Tell(tells.CallerSpeechDismissed()):
                    self.speaks = False
        return commands

    def check(self, message: Any) -> None:
        match message["type"]:
            case "response.create" if "conversation" not in message["response"]:
                assert not self.speaks, "nobody is talked over"
                assert not self.pending, "one answer is asked for at a time"
                self.pending = message["event_id"]
            case "conversation.item.truncate":
                assert message["audio_end_ms"] > 0
            case "conversation.item.create" if message["item"]["type"] == "function_call_output":
                self.answered.append(message["item"]["call_id"])

    def tag(self, ours: str) -> str:
        asked = [message["event_id"] for message in self.play.sent("response.create")]
        return {"none": "", "ours": asked[-1] if asked else "", "old": asked[0] if asked else "", "say": "say-9"}[ours]

    # --- the server

    @rule(response=responses, ours=st.sampled_from(["ours", "none", "old", "say"]))
    def created(self, response: str, ours: str) -> None:
        self.pending = ""
        self.unwanted.discard(response)
        self.step(ResponseCreated(response, self.tag(ours)))

    @rule(response=responses, item=items, seconds=st.sampled_from([0.01, 0.5]))
    def audio(self, response: str, item: str, seconds: float) -> None:
        commands = self.step(AudioDelta(response, item, bytes(2 * round(24000 * seconds))))
        if response in self.unwanted:
            assert not commands, "nothing is spoken after an interruption"

    @rule(response=responses, item=items)
    def words(self, response: str, item: str) -> None:
        self.step(TranscriptDelta(response, item, "word "))

    @rule(response=responses, item=items)
    def item_done(self, response: str, item: str) -> None:
        self.step(ItemDone(response, item))

    @rule(response=responses, status=statuses, calls=functions)
    def done(self, response: str, status: str, calls: list[FunctionCall]) -> None:
        self.pending = ""
        self.step(ResponseDone(response, status, "why", "words", tuple(calls)))

    @rule(code=st.sampled_from(CODES), ours=st.sampled_from(["ours", "none", "old"]))
    def error(self, code: str, ours: str) -> None:
        self.pending = ""
        self.step(VendorError("invalid_request_error", code, "words", cause=self.tag(ours)))

    @rule()
    def caller_begins(self) -> None:
        self.step(SpeechStarted("i", 0))

    @rule(milliseconds=st.sampled_from([0, 300, 1e9]))
    def caller_ends(self, milliseconds: float) -> None:
        self.speaks = False
        self.step(SpeechStopped("i", milliseconds))

    @rule(event=st.sampled_from([Transcribed("i", "word"), TranscriptionFailed("i", ""), SessionUpdated()]))
    def tells(self, event: Event) -> None:
        self.step(event)

    # --- the call

    @rule(event=st.sampled_from([inputs.Answer(), inputs.Withhold(), inputs.Resume(), inputs.Probe()]))
    def asks(self, event: inputs.Input) -> None:
        self.step(event)

    @rule()
    def interrupts(self) -> None:
        commands = self.step(inputs.Interrupt())
        assert not self.utterance, "nothing goes on"
        assert not any(isinstance(command, do.Begin | do.Speak) for command in commands)
        self.unwanted.update(RESPONSES)

    @rule(text=st.sampled_from(["Hello?", ""]))
    def writes(self, text: str) -> None:
        self.step(inputs.CallerWrote(text))

    @rule(number=st.integers(1, 2), over=st.booleans())
    def says(self, number: int, over: bool) -> None:
        self.step(inputs.SayOver(number) if over else inputs.Say(number, "Good morning."))

    @rule(utterance=utterances)
    def starts_to_hear(self, utterance: int) -> None:
        self.step(inputs.Started(utterance))

    @rule(utterance=utterances, completed=st.booleans(), milliseconds=st.sampled_from([0, 5, 10_000]))
    def heard(self, utterance: int, completed: bool, milliseconds: int) -> None:
        self.step(inputs.Heard(utterance, milliseconds, completed))

    @rule(call=st.sampled_from(["c1", "c2", "c3"]))
    def tool_result(self, call: str) -> None:
        self.step(inputs.ToolResult(call, "42"))

    @rule(seconds=st.sampled_from([0.25, 1, 4, 61]))
    def time_passes(self, seconds: float) -> None:
        self.play.now += seconds
        self.step(inputs.Tick())

    @rule(pcm=st.sampled_from([bytes(320), bytes.fromhex("0040") * 160]), sent=st.sampled_from([0, 0.02]))
    def line(self, pcm: bytes, sent: float) -> None:
        self.step(inputs.CallerAudio(pcm, self.play.now, sent))

    # --- what holds

    @invariant()
    def every_tool_is_answered_at_most_once(self) -> None:
        for call in set(self.answered):
            assert self.answered.count(call) <= self.requested.count(call)

    @invariant()
    def what_is_over_is_over(self) -> None:
        if self.play.machine.over:
            assert all(isinstance(command, do.RecordTool | do.Decide) for command in self.step(inputs.Answer()))


AnyOrder.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyOrder = AnyOrder.TestCase
