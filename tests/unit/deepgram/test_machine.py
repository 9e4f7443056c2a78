"""What a session with the Deepgram Voice Agent does about what comes in, as playbooks and in any order."""

from typing import TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.history import History, ToolUse
from agentd.session_events import SessionEvent
from agentd_providers.deepgram.voice_agent.agent_speech import ATTENTION, Attention
from agentd_providers.deepgram.voice_agent.caller_turns import CALLER, Caller
from agentd_providers.deepgram.voice_agent.events import (
    AgentAudio,
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentThinking,
    AssistantText,
    Event,
    FunctionCall,
    FunctionCallCancelled,
    FunctionCallRequest,
    InjectionRefused,
    UserStartedSpeaking,
    UserText,
    VendorError,
    VendorWarning,
)
from agentd_providers.deepgram.voice_agent.machine import DeepgramMachine
from agentd_providers.deepgram.voice_agent.messages import KEEP_ALIVE, function_call_response, inject_user_message
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs

C = TypeVar("C", bound=do.Command)
E = TypeVar("E", bound=SessionEvent)
SETTINGS = DeepgramAgentSettings()
PCM = bytes(320)
AUDIO = AgentAudio(PCM)
STARTED = AgentStartedSpeaking(None, None)


def function(call: str) -> FunctionCall:
    return FunctionCall(call, "look_up", "{}", client_side=True)


@attrs.define(eq=False)
class Playbook:
    """One session's machine. `on` takes one step after the other; all commands since the beginning stay in `done`."""

    now: float = 100.0
    history: History = attrs.field(factory=History)
    machine: DeepgramMachine = attrs.field(init=False)
    done: list[do.Command] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = DeepgramMachine(SETTINGS, self.history, lambda text: text.replace("secret", "***"), self.now)

    def on(self, *events: inputs.Input | Event) -> list[do.Command]:
        commands = [command for event in events for command in self.machine.step(event, self.now)]
        for command in commands:
            match command:
                case do.RecordCaller(text, place):
                    self.history.caller_said(text, place)
                case do.RecordTool(use):
                    self.history.tool_used(use)
        self.done += commands
        return commands

    def wait(self, seconds: float) -> list[do.Command]:
        self.now += seconds
        return self.on(inputs.CallerAudio(PCM, self.now), inputs.Tick())

    def question(self, text: str = "What time is it?") -> list[do.Command]:
        return self.on(UserStartedSpeaking(), inputs.Interrupt(), UserText(text))

    def told(self, kind: type[E]) -> list[E]:
        return [command.event for command in self.of(do.Tell) if isinstance(command.event, kind)]

    def of(self, kind: type[C]) -> list[C]:
        return [command for command in self.done if isinstance(command, kind)]


# --- a turn and its answer


def test_the_answer_is_held_until_the_call_lets_it_go() -> None:
    play = Playbook()
    play.question()
    assert play.done[-3:] == [
        do.Hold(),
        do.Tell(tells.CallerSpeechEnded(100.0, 100.0)),
        do.Tell(tells.StageTiming("endpoint", 0.0)),
    ]
    assert play.on(AssistantText("It is noon."), AUDIO) == [do.Begin(text="It is noon."), do.Speak(PCM)]
    assert play.on(inputs.Interrupt()) == [], "what is held is the answer to the turn that interrupts"
    assert play.on(inputs.Answer()) == [do.Release()]
    assert play.on(AgentAudioDone()) == [do.Finish()]


def test_what_still_comes_of_an_answer_that_was_interrupted_is_dropped_until_the_next_turn_is_confirmed() -> None:
    play = Playbook()
    play.question()
    play.on(AssistantText("It is noon."), AUDIO, inputs.Answer())
    assert do.Cut() in play.on(UserStartedSpeaking(), inputs.Interrupt())
    late = play.on(AUDIO, AssistantText("And sunny."), AUDIO, AgentAudioDone())
    assert all(isinstance(command, do.Note) for command in late)
    play.on(UserText("And the weather?"))
    assert play.on(AUDIO, AssistantText("Sunny.")) == [do.Begin(), do.Speak(PCM), do.Words("Sunny.")]


def test_an_answer_that_starts_over_a_cough_counts_once_that_is_dismissed() -> None:
    play = Playbook()
    play.history.caller_said("Hello?")
    play.on(UserStartedSpeaking(), inputs.Interrupt(), STARTED, AUDIO)
    assert not play.of(do.Begin)
    play.history.agent_heard(1, "Yes.", "Yes.")
    play.wait(10)
    assert play.told(tells.CallerSpeechDismissed)
    assert play.on(AUDIO) == [do.Begin(), do.Speak(PCM)]


@pytest.mark.parametrize("begun", [False, True])
def test_an_answer_that_a_cough_took_away_is_asked_for_again_unless_one_has_begun_since(begun: bool) -> None:
    play = Playbook()
    play.question()
    play.on(UserStartedSpeaking(), inputs.Interrupt())
    if begun:  # behind words that it was asked to speak, which it may do at any time
        play.on(STARTED, inputs.Say(1, "Hello?"), AssistantText("Hello?"), AUDIO, AgentAudioDone(), AUDIO)
        assert play.of(do.Begin) == [do.Begin(aside=True, text="Hello?"), do.Begin()]
    play.wait(10)
    again = do.Send(inject_user_message("What time is it?"))
    assert (again in play.done) is not begun


def test_an_answer_that_does_not_come_is_told_once_and_not_while_a_tool_works() -> None:
    play = Playbook()
    play.question()
    play.on(inputs.Answer(), FunctionCallRequest((function("c1"),)))
    assert not play.wait(SETTINGS.answer_within + 1)
    assert play.on(inputs.ToolResult("c1", "noon")) == [
        do.RecordTool(ToolUse("look_up", "{}", "noon")),
        do.Send(function_call_response("c1", "look_up", "noon")),
    ]
    play.wait(SETTINGS.answer_within + 1)
    play.wait(SETTINGS.answer_within + 1)
    assert len(play.told(tells.AnswerFailed)) == 1


# --- words to say


def test_words_that_were_given_up_are_not_heard_when_they_come_yet() -> None:
    play = Playbook()
    play.on(inputs.Say(1, "Hello there. How are you?"))
    assert play.on(inputs.SayOver(1)) == [do.Decide(1, SayOutcome.REFUSED)]
    assert not play.on(AssistantText("Hello there."), AUDIO, AssistantText("How are you?"), AUDIO, AgentAudioDone())
    play.question()
    assert play.on(AUDIO) == [do.Begin(), do.Speak(PCM)]


def test_words_are_decided_once_whatever_comes() -> None:
    play = Playbook()
    play.on(inputs.Say(1, "Hello."))
    assert play.on(AUDIO) == [do.Begin(aside=True, text="Hello."), do.Decide(1, SayOutcome.SPOKEN), do.Speak(PCM)]
    assert not play.on(AssistantText("Hello."), InjectionRefused(""), inputs.SayOver(1))
    assert play.on(inputs.Interrupt()) == [do.Cut()]


# --- tools


def test_a_tool_is_asked_for_after_what_is_held_was_told() -> None:
    play = Playbook()
    play.question()
    play.on(AssistantText("One moment."), FunctionCallRequest((function("c1"),)))
    assert not play.told(tells.ToolRequested)
    assert play.on(inputs.Answer()) == [do.Release(), do.Tell(tells.ToolRequested("look_up", "{}", "c1"))]


def test_a_tool_that_is_taken_back_is_recorded_and_not_told() -> None:
    play = Playbook()
    play.question()
    play.on(inputs.Answer(), FunctionCallRequest((function("c1"),)), FunctionCallCancelled(("c1",)))
    assert play.on(inputs.ToolResult("c1", "noon")) == [do.RecordTool(ToolUse("look_up", "{}", "noon"))]


# --- its life


def test_a_silent_line_is_kept_alive_and_renewal_is_told_once() -> None:
    play = Playbook()
    play.now += SETTINGS.keep_alive
    assert play.on(inputs.Tick(), inputs.Tick()) == [do.Send(KEEP_ALIVE)]
    play.on(VendorWarning("MAXIMUM_SESSION_LENGTH_APPROACHING", ""))
    assert play.on(inputs.Tick(), inputs.Tick()) == [do.Tell(tells.RenewalDue(SETTINGS.renew_before))]


def test_an_error_ends_the_session_without_a_secret_and_nothing_but_a_tool_s_result_counts_afterwards() -> None:
    play = Playbook()
    play.question()
    play.on(inputs.Answer(), FunctionCallRequest((function("c1"),)), inputs.Say(1, "Hello."))
    assert play.on(VendorError("ODD", "a secret")) == [
        do.Decide(1, SayOutcome.REFUSED),
        do.End("Deepgram reports an error: ODD a ***"),
    ]
    assert not play.on(AUDIO, inputs.Interrupt(), inputs.CallerWrote("four"), inputs.Closed())
    assert play.on(inputs.Say(2, "Hello?")) == [do.Decide(2, SayOutcome.REFUSED)]
    assert play.on(inputs.ToolResult("c1", "noon")) == [do.RecordTool(ToolUse("look_up", "{}", "noon"))]


# --- the tables


def test_every_state_is_entered_and_left() -> None:
    assert set(CALLER.values()) == {state for state, _ in CALLER} == set(Caller)
    assert set(ATTENTION.values()) == {state for state, _ in ATTENTION} == set(Attention)


# --- any order

WORDS = ["Hello.", "It is noon.", "Good morning. How are you?", "Good morning.", "How are you?", ""]
words, calls = st.sampled_from(WORDS), st.sampled_from(["c1", "c2"])
deepgram = (
    st.sampled_from([UserStartedSpeaking(), STARTED, AgentThinking(), AgentAudioDone(), AUDIO, InjectionRefused("")])
    | st.builds(UserText, words)
    | st.builds(AssistantText, words)
    | st.builds(FunctionCallRequest, st.lists(st.builds(function, calls), max_size=2).map(tuple))
    | st.builds(FunctionCallCancelled, st.lists(calls, max_size=2).map(tuple))
    | st.builds(VendorWarning, st.sampled_from(["INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "ODD"]), st.just("words"))
)


class AnyOrder(RuleBasedStateMachine):
    """Deepgram and a call that do as they please."""

    @initialize()
    def opened(self) -> None:
        self.play = Playbook()
        self.utterance = False
        self.numbered = 0
        self.undecided: set[int] = set()
        self.asked: list[str] = []
        self.given: list[str] = []
        self.speaking = False

    def step(self, event: inputs.Input | Event) -> list[do.Command]:
        commands = self.play.on(event)
        for command in commands:
            match command:
                case do.Begin():
                    self.utterance = True
                case do.Words() | do.Speak():
                    assert self.utterance, "nothing is spoken that was not begun"
                case do.Finish():
                    assert self.utterance, "each utterance ends once"
                    self.utterance = False
                case do.Cut() | do.Hold():
                    self.utterance = False
                case do.Decide(number):
                    self.undecided.remove(number)
                case do.Tell(tells.ToolRequested(_, _, call)):
                    self.asked.append(call)
                case do.Send({"type": "FunctionCallResponse", "id": str(call)}):
                    self.given.append(call)
                case do.Tell(tells.CallerSpeechStarted()):
                    self.speaking = True
                case do.Tell(tells.CallerSpeechEnded() | tells.CallerSpeechDismissed()):
                    self.speaking = False
        return commands

    @rule(event=deepgram)
    def deepgram_tells(self, event: Event) -> None:
        self.step(event)

    @rule(event=st.sampled_from([inputs.Answer(), inputs.Withhold(), inputs.Resume(), inputs.CallerWrote("four")]))
    def call_asks(self, event: inputs.Input) -> None:
        self.step(event)

    @rule()
    def call_interrupts(self) -> None:
        commands = self.step(inputs.Interrupt())
        assert not any(isinstance(command, do.Begin | do.Words | do.Speak) for command in commands)
        if do.Cut() in commands:
            assert all(isinstance(command, do.Note) for command in self.step(AUDIO)), "nothing is spoken afterwards"

    @rule(text=words)
    def call_says(self, text: str) -> None:
        if self.undecided:
            return  # one after the other: the session has a lock
        self.numbered += 1
        self.undecided.add(self.numbered)
        self.step(inputs.Say(self.numbered, text))

    @rule()
    def words_are_given_up(self) -> None:
        self.step(inputs.SayOver(self.numbered))
        assert not self.undecided, "whoever waits is told"

    @rule(call=calls)
    def tool_gives(self, call: str) -> None:
        self.step(inputs.ToolResult(call, "42"))

    @rule(seconds=st.sampled_from([0.25, 3, 70]))
    def time_passes(self, seconds: float) -> None:
        self.play.now += seconds
        self.step(inputs.Tick())
        assert seconds < 70 or not self.speaking, "a turn that nobody confirms is none after a minute"

    @invariant()
    def every_tool_is_answered_at_most_once(self) -> None:
        for call in set(self.given):
            assert self.given.count(call) <= self.asked.count(call)

    @rule()
    def a_question_in_peace_is_answered_or_has_failed(self) -> None:
        failed = len(self.play.told(tells.AnswerFailed))
        self.step(UserStartedSpeaking())
        self.step(inputs.Interrupt())
        self.step(UserText("What time is it, then?"))
        self.step(inputs.Answer())
        for call in ("c1", "c2"):
            self.step(inputs.ToolResult(call, "42"))
        self.play.now += SETTINGS.answer_within + 1
        self.step(inputs.Tick())
        assert len(self.play.told(tells.AnswerFailed)) == failed + 1
        assert self.step(AUDIO)[:1] == [do.Begin()], "it may still come"


AnyOrder.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyOrder = AnyOrder.TestCase
