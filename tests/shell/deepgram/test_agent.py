"""The Deepgram Voice Agent against a fake that keeps strictly to the published protocol."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import numpy as np
import pytest
import structlog
import trio

from agentd import session_events as tells
from agentd.agent import AgentSession, Audio, CallInfo, Capabilities, SayOutcome, SegmentStart, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable
from agentd.history import History, Speaker, ToolUse
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.deepgram.voice_agent import caller_turns
from agentd_providers.deepgram.voice_agent import session as session_module
from agentd_providers.deepgram.voice_agent.agent import DeepgramAgent, open_deepgram_agent
from agentd_providers.deepgram.voice_agent.settings import (
    AgentListenSettings,
    AgentSpeakSettings,
    DeepgramAgentSettings,
    SpeakProvider,
    credentials,
)
from agentd_providers.model_list import ModelList, UsedModel
from agentd_providers.shared import SharedServices
from tests.lab.vendors.deepgram_agent import KEY, PATH, Call, DeepgramAgentFake, Turn, conversation_text
from tests.lab.vendors.deepgram_speech import DeepgramSpeak
from tests.lab.vendors.http_peer import HttpPeer, open_http_peer
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.scripted_words import tone

pytestmark = pytest.mark.loopback

E = TypeVar("E")
PATIENCE = 5.0
FRAME = 0.02
STAGES = 4
"""StageTimings of a turn, the last of which comes when its answer is complete."""
QUESTION, ANSWER = "What time is it?", "It is noon."
TOOL = ToolDeclaration("look_up", "Looks things up.", {"type": "object", "properties": {"what": {"type": "string"}}})


@attrs.define(eq=False)
class FollowedSession:
    """A call as it uses its session, without a telephone."""

    fake: DeepgramAgentFake
    peer: WebSocketPeer
    session: AgentSession
    history: History
    playout: PlayoutBuffer
    rate: int
    unknown: list[str]
    obedient: bool = True
    """It answers the session's events as agentd.calls.call does."""
    events: list[SessionEvent] = attrs.field(factory=list)
    ended: bool = False
    heard: dict[int, list[str]] = attrs.field(factory=dict)
    sound: dict[int, bytearray] = attrs.field(factory=dict)
    finished: list[int] = attrs.field(factory=list)

    async def follow(self) -> None:
        async for event in self.session.events:
            self.events.append(event)
            if self.obedient and isinstance(event, tells.CallerTakesTurn):
                self.session.interrupt()
                self.playout.interrupt()
            if self.obedient and isinstance(event, tells.CallerSpeechEnded):
                self.session.answer()
        self.ended = True

    async def listen(self) -> None:
        while True:
            stream = await self.playout.next_utterance()
            texts = self.heard.setdefault(stream.utterance, [])
            sound = self.sound.setdefault(stream.utterance, bytearray())
            while (chunk := await stream.next()) is not None:
                if isinstance(chunk, SegmentStart):
                    texts.append(chunk.text)
                elif isinstance(chunk, Audio):
                    sound += chunk.pcm
            self.finished.append(stream.utterance)

    def feed(self, seconds: float, loud: bool) -> None:
        samples = np.arange(int(FRAME * self.rate))
        frame = (8000 * np.sin(samples / 5)).astype("<i2").tobytes() if loud else bytes(len(samples) * 2)
        for _ in range(round(seconds / FRAME)):
            self.session.feed(frame, trio.current_time())

    def speak(self, seconds: float = 0.5) -> None:
        """The caller says something, and is silent after it."""
        self.feed(seconds, loud=True)
        self.feed(0.5, loud=False)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], Any]) -> None:
        try:
            await until(condition)
        except trio.TooSlowError:
            raise AssertionError(f"it did not come about; events: {self.events}, errors: {self.fake.errors}") from None

    async def event(self, kind: type[E], count: int = 1) -> E:
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]


def config(peer: WebSocketPeer, settings: dict[str, Any], **agent: Any) -> AgentConfig:
    own = DeepgramAgentSettings(url=peer.url + PATH, **settings)
    return AgentConfig(provider="deepgram", settings=own, **{"prompt": "Serve {caller_number}.", **agent})


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)


@asynccontextmanager
async def agent_of(
    fake: DeepgramAgentFake, fault: Fault = Fault.NONE, **settings: Any
) -> AsyncIterator[tuple[DeepgramAgent, WebSocketPeer, list[str]]]:
    unknown: list[str] = []
    async with open_peer(fake.serve, fake.peer(), admit=fake.admit) as peer, trio.open_nursery() as nursery:
        peer.strike(fault)
        shared = SharedServices(nursery, on_unknown=unknown.append)
        async with open_deepgram_agent("a", config(peer, settings), shared) as agent:
            yield agent, peer, unknown
        nursery.cancel_scope.cancel()
    gc.collect()


@asynccontextmanager
async def call(
    *turns: Turn,
    rate: int = 8000,
    history: History | None = None,
    faults: dict[str, Any] | None = None,
    strict: bool = True,
    obedient: bool = True,
    tools: tuple[ToolDeclaration, ...] = (),
    **settings: Any,
) -> AsyncIterator[FollowedSession]:
    fake = DeepgramAgentFake(turns or (Turn(QUESTION, (ANSWER,)),), **(faults or {}))
    history = history or History()
    async with agent_of(fake, **settings) as (agent, peer, unknown):
        playout = PlayoutBuffer()
        async with agent.open(CallInfo("c1", caller_number="555", rate=rate), history, playout, tools) as session:
            async with trio.open_nursery() as nursery:
                talk = FollowedSession(fake, peer, session, history, playout, rate, unknown, obedient)
                nursery.start_soon(talk.follow)
                nursery.start_soon(talk.listen)
                yield talk
                nursery.cancel_scope.cancel()
    if strict:
        assert fake.errors == []


async def refused(fake: DeepgramAgentFake, fault: Fault = Fault.NONE, **settings: Any) -> tuple[ProviderError, Any]:
    """How opening a session fails, and what is known of the agent afterwards."""
    async with agent_of(fake, fault, **settings) as (agent, _peer, _unknown):
        with trio.fail_after(PATIENCE), pytest.raises(ProviderError) as caught:
            async with agent.open(CallInfo("c1"), History(), PlayoutBuffer()):
                raise AssertionError("it opened")
        assert KEY not in repr(caught.value) + repr(agent)
        return caught.value, agent.readiness


# --- opening


@pytest.mark.parametrize("rate", [8000, 16000])
async def test_settings_are_applied_before_any_audio_and_have_the_rate_of_the_line(rate: int) -> None:
    async with call(rate=rate, faults={"settings_seconds": 0.1}) as talk:
        settings = talk.fake.session.settings
        assert settings["audio"] == {
            "input": {"encoding": "linear16", "sample_rate": rate},
            "output": {"encoding": "linear16", "sample_rate": rate, "container": "none"},
        }
        assert settings["agent"]["think"]["prompt"] == "Serve 555."
        talk.feed(0.1, loud=False)
        await talk.until(lambda: len(talk.fake.session.audio) == rate // 10 * 2)


async def test_the_tools_are_declared_as_functions_without_an_endpoint() -> None:
    async with call(tools=(TOOL,)) as talk:
        (function,) = talk.fake.session.settings["agent"]["think"]["functions"]
        assert function == {"name": "look_up", "description": "Looks things up.", "parameters": dict(TOOL.parameters)}


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.UNAVAILABLE, Fault.CLOSE, Fault.CUT])
async def test_a_server_in_trouble_is_unavailable(fault: Fault) -> None:
    error, readiness = await refused(DeepgramAgentFake(), fault)
    assert isinstance(error, ProviderUnavailable)
    assert readiness.ready


async def test_a_refused_key_is_rejected_and_the_agent_is_not_ready_for_a_while() -> None:
    error, readiness = await refused(DeepgramAgentFake(key="another"))
    assert isinstance(error, ProviderRejected)
    assert not readiness.ready
    assert "credentials" in readiness.detail


async def test_without_its_key_the_agent_is_not_ready_and_says_which_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY")
    error, readiness = await refused(DeepgramAgentFake())
    assert isinstance(error, ProviderRejected)
    assert not readiness.ready
    assert "DEEPGRAM_API_KEY" in readiness.detail


@pytest.mark.parametrize(
    "fake",
    [DeepgramAgentFake(says_welcome=False), DeepgramAgentFake(settings_seconds=30)],
    ids=["no Welcome", "no SettingsApplied"],
)
async def test_a_server_that_is_not_ready_in_time_is_given_up(fake: DeepgramAgentFake) -> None:
    error, _ = await refused(fake, connect_deadline=0.2)
    assert isinstance(error, ProviderUnavailable)
    assert "within" in str(error)


async def test_a_mute_server_is_given_up_in_time() -> None:
    error, _ = await refused(DeepgramAgentFake(), Fault.MUTE, connect_deadline=0.2)
    assert isinstance(error, ProviderUnavailable)


async def test_a_slow_server_is_waited_for() -> None:
    fake = DeepgramAgentFake()
    async with agent_of(fake, Fault.SLOW) as (agent, _peer, _unknown):
        async with agent.open(CallInfo("c1"), History(), PlayoutBuffer()):
            assert fake.session.settings


@pytest.mark.parametrize(
    ("code", "kind"), [("INVALID_SETTINGS", ProviderRejected), ("INTERNAL_SERVER_ERROR", ProviderUnavailable)]
)
async def test_an_error_before_the_settings_are_applied_tells_whose_fault_it_is(code: str, kind: type) -> None:
    error, _ = await refused(DeepgramAgentFake(settings_error=code))
    assert type(error) is kind
    assert code in str(error)


# --- turns


async def test_the_caller_is_heard_and_answered() -> None:
    async with call(Turn(QUESTION, (ANSWER, "And the sun shines."), seconds=0.5)) as talk:
        talk.speak()
        await talk.event(tells.UtteranceEnded)
        kinds = [type(event) for event in talk.events if not isinstance(event, tells.StageTiming)]
        assert kinds == [
            tells.CallerSpeechStarted,
            tells.CallerTakesTurn,
            tells.CallerText,
            tells.CallerSpeechEnded,
            tells.Thinking,
            tells.UtteranceStarted,
            tells.AgentText,
            tells.AgentText,
            tells.UtteranceEnded,
        ]
        assert talk.of(tells.CallerText) == [tells.CallerText(QUESTION)]
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1)]
        await talk.until(lambda: talk.finished == [1])
        assert talk.heard == {1: [ANSWER, "And the sun shines."]}
        assert len(talk.sound[1]) == 2 * 8000
        assert [(turn.speaker, turn.text) for turn in talk.history.turns] == [(Speaker.CALLER, QUESTION)]
        assert talk.unknown == []


async def test_the_end_of_the_caller_s_speech_is_when_the_last_sound_came() -> None:
    async with call() as talk:
        before = trio.current_time()
        talk.feed(0.5, loud=True)
        spoken = trio.current_time()
        await trio.sleep(0.05)
        talk.feed(0.5, loud=False)
        ended = await talk.event(tells.CallerSpeechEnded)
        started = await talk.event(tells.CallerSpeechStarted)
        assert before <= started.at <= ended.last_speech_at <= spoken
        assert ended.at >= spoken + 0.05


async def test_latencies_become_stages_once_an_answer() -> None:
    async with call() as talk:
        for turn in (1, 2):
            talk.speak()
            await talk.event(tells.UtteranceEnded, turn)
            await talk.until(lambda turn=turn: len(talk.of(tells.StageTiming)) == STAGES * turn)
        told = [(event.stage, event.seconds) for event in talk.of(tells.StageTiming) if event.stage != "endpoint"]
        assert told == [("first_token", 0.3), ("first_audio", 0.2), ("transcript", 0.12)] * 2


async def test_audio_may_be_cut_in_mid_sample() -> None:
    async with call(faults={"odd_pieces": True}) as talk:
        talk.speak()
        await talk.until(lambda: talk.finished == [1])
        assert bytes(talk.sound[1]) == talk.fake.session._tone(1.0)


@pytest.mark.parametrize("says_started", [True, False])
async def test_an_answer_whose_words_come_after_its_audio_is_heard(says_started: bool) -> None:
    async with call(faults={"tells_words": False, "says_started": says_started}) as talk:
        talk.speak()
        await talk.until(lambda: talk.finished == [1])
        assert len(talk.sound[1]) == 16000
        assert talk.of(tells.AgentText) == [tells.AgentText(1, ANSWER)]


async def test_nothing_of_an_answer_is_heard_before_the_call_lets_it_go() -> None:
    async with call(obedient=False) as talk:
        talk.speak()
        await talk.event(tells.StageTiming, STAGES)
        assert talk.playout.empty
        assert talk.of(tells.UtteranceStarted) == []
        talk.session.interrupt()  # of what came before it
        talk.playout.interrupt()
        talk.session.answer()
        await talk.until(lambda: talk.finished == [1])
        assert len(talk.sound[1]) == 16000


async def test_an_interruption_drops_the_answer_and_all_that_still_comes_of_it() -> None:
    turns = (Turn(QUESTION, (ANSWER,), seconds=60.0), Turn("No, wait.", ("Yes?",)))
    async with call(*turns, faults={"paced": True, "stale_seconds": 0.5}) as talk:
        talk.speak()
        await talk.until(lambda: talk.sound.get(1))
        talk.feed(0.3, loud=True)
        await talk.event(tells.CallerTakesTurn, 2)
        await talk.until(lambda: talk.finished == [1])
        assert not talk.ended
        talk.feed(0.5, loud=False)
        await talk.until(lambda: talk.finished == [1, 2])
        assert talk.heard == {1: [ANSWER], 2: ["Yes?"]}
        assert len(talk.sound[2]) == 16000
        assert talk.history.turns[-1].text == f"{QUESTION} No, wait."


async def test_an_answer_that_was_held_when_the_caller_went_on_is_never_heard() -> None:
    async with call(Turn("What", ("Pardon?",)), Turn("time is it?", (ANSWER,)), obedient=False) as talk:
        talk.speak()
        await talk.event(tells.StageTiming, STAGES)
        talk.speak()
        await talk.event(tells.StageTiming, 2 * STAGES)
        talk.session.answer()
        await talk.until(lambda: talk.finished == [2])
        assert talk.heard == {2: [ANSWER]}


async def test_an_interruption_by_the_call_drops_what_is_being_said() -> None:
    async with call(Turn(QUESTION, (ANSWER, "More."), seconds=0.4), faults={"paced": True}) as talk:
        talk.speak()
        await talk.until(lambda: talk.sound.get(1))
        talk.session.interrupt()
        talk.playout.interrupt()
        await talk.until(lambda: talk.fake.session.spoken[-1].text == "More." and talk.fake.session.spoken[-1].complete)
        talk.speak()
        await talk.until(lambda: 2 in talk.finished)
        assert [event.text for event in talk.of(tells.AgentText)] == [ANSWER, ANSWER, "More."]


async def test_a_sound_without_words_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_turns, "NOVA_PAUSE", 0.1)
    monkeypatch.setattr(caller_turns, "RECOGNITION", 0.1)
    async with call() as talk:
        talk.speak(0.14)
        await talk.event(tells.CallerSpeechDismissed)
        assert talk.history.turns == []


@pytest.fixture
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is soon known that a sound had no words."""
    monkeypatch.setattr(caller_turns, "NOVA_PAUSE", 0.1)
    monkeypatch.setattr(caller_turns, "RECOGNITION", 0.2)


@pytest.mark.usefixtures("_brief")
async def test_a_cough_while_the_answer_is_prepared_does_not_lose_the_answer() -> None:
    async with call(Turn(QUESTION, ("Never.",)), Turn(says=(ANSWER,)), faults={"think_seconds": 0.5}) as talk:
        talk.speak()
        await talk.event(tells.CallerSpeechEnded)
        talk.speak(0.14)
        await talk.event(tells.CallerSpeechDismissed)
        await talk.event(tells.CallerSpeechEnded, 2)
        await talk.until(lambda: 1 in talk.finished)
        assert talk.heard == {1: [ANSWER]}
        assert [message["content"] for message in talk.fake.session.messages("InjectUserMessage")] == [QUESTION]
        assert [turn.text for turn in talk.history.turns] == [QUESTION]
        assert len(talk.of(tells.CallerText)) == 1, "the echo is not said again"


@pytest.mark.usefixtures("_brief")
async def test_a_cough_that_takes_away_an_answer_which_was_begun_but_not_heard_does_not_lose_it() -> None:
    async with call(Turn(QUESTION, ("Never.",)), Turn(says=(ANSWER,)), obedient=False) as talk:
        talk.speak()
        await talk.event(tells.StageTiming, STAGES)
        talk.speak(0.14)
        await talk.event(tells.CallerSpeechEnded, 2)
        await talk.event(tells.StageTiming, STAGES + 3)  # it has no end of a turn
        talk.session.answer()
        await talk.until(lambda: talk.finished == [2])
        assert talk.heard == {2: [ANSWER]}


@pytest.mark.usefixtures("_brief")
async def test_an_answer_that_is_still_owed_after_a_cough_may_fail_to_come() -> None:
    async with call(faults={"think_seconds": 100.0}, answer_within=0.6) as talk:
        talk.speak()
        await talk.event(tells.CallerSpeechEnded)
        talk.speak(0.14)
        await talk.event(tells.CallerSpeechEnded, 2)
        await talk.event(tells.AnswerFailed)


@pytest.mark.usefixtures("_brief")
@pytest.mark.parametrize("told", [True, False])
async def test_a_tool_that_gives_its_result_during_a_cough_is_still_answered(told: bool) -> None:
    turns = (Turn(QUESTION, calls=(Call("look_up"),)), Turn(says=(ANSWER,)))
    async with call(*turns, tools=(TOOL,), faults={"cancels_calls": told}) as talk:
        talk.speak()
        asked = await talk.event(tells.ToolRequested)
        talk.speak(0.14)
        await talk.event(tells.CallerTakesTurn, 2)
        talk.history.agent_heard(7, "One moment.", "One moment.")  # a filler, which is no answer
        talk.session.tool_result(asked.call, "noon")
        await talk.until(lambda: talk.finished == [1])
        assert talk.heard == {1: [ANSWER]}
        assert len(talk.fake.session.messages("InjectUserMessage")) == 1


@pytest.mark.usefixtures("_brief")
async def test_a_cough_where_nothing_is_owed_asks_for_nothing() -> None:
    async with call() as talk:
        talk.speak()
        await talk.until(lambda: talk.finished == [1])
        talk.history.agent_heard(1, ANSWER, ANSWER)
        talk.speak(0.14)
        await talk.event(tells.CallerSpeechDismissed)
        assert len(talk.of(tells.CallerSpeechEnded)) == 1
        assert talk.fake.session.messages("InjectUserMessage") == []


async def test_an_answer_that_does_not_come_has_failed() -> None:
    async with call(faults={"think_seconds": 100.0}, answer_within=0.2) as talk:
        talk.speak()
        assert "no answer within 0.2 s" in (await talk.event(tells.AnswerFailed)).reason


async def test_text_is_a_turn_of_the_caller_and_its_echo_is_none() -> None:
    async with call() as talk:
        talk.session.feed_text("I pressed one.")
        await talk.until(lambda: talk.finished == [1])
        assert talk.of(tells.CallerText) == [tells.CallerText("I pressed one.")]
        assert talk.history.turns[0].text == "I pressed one."
        assert talk.fake.session.messages("InjectUserMessage") == [
            {"type": "InjectUserMessage", "content": "I pressed one."}
        ]
        talk.speak()
        assert (await talk.event(tells.CallerText, 2)).text == QUESTION


# --- words that the call wants spoken


async def test_words_to_say_are_an_aside_and_no_answer() -> None:
    async with call() as talk:
        assert await talk.session.say("Hello,  how can I help?") is SayOutcome.SPOKEN
        await talk.until(lambda: talk.finished == [1])
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=True)]
        assert talk.heard == {1: ["Hello, how can I help?"]}
        talk.speak()
        await talk.event(tells.UtteranceEnded, 2)
        assert talk.of(tells.UtteranceStarted)[1] == tells.UtteranceStarted(2)


@pytest.mark.parametrize("says_started", [True, False])
async def test_words_to_say_may_come_without_being_repeated(says_started: bool) -> None:
    async with call(faults={"tells_words": False, "says_started": says_started}) as talk:
        assert await talk.session.say("Hello there.") is SayOutcome.SPOKEN
        await talk.until(lambda: talk.finished == [1])
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=True)]
        assert talk.of(tells.AgentText) == [tells.AgentText(1, "Hello there.")]


async def test_words_to_say_may_be_repeated_sentence_by_sentence() -> None:
    async with call(faults={"splits_injected": True}) as talk:
        assert await talk.session.say("Hello there. How can I help?") is SayOutcome.SPOKEN
        await talk.until(lambda: talk.finished == [1])
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=True)]
        assert talk.heard == {1: ["Hello there.", "How can I help?"]}


@pytest.mark.parametrize("by_warning", [False, True])
async def test_words_are_refused_while_the_agent_or_the_caller_speaks(by_warning: bool) -> None:
    async with call(Turn(seconds=60.0), faults={"paced": True, "refuses_by_warning": by_warning}) as talk:
        talk.speak()
        await talk.until(lambda: talk.sound.get(1))
        assert await talk.session.say("One moment.") is SayOutcome.REFUSED
        talk.feed(0.3, loud=True)
        await talk.event(tells.CallerTakesTurn, 2)
        assert await talk.session.say("One moment.") is SayOutcome.REFUSED


async def test_words_that_are_not_spoken_in_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SAY_DEADLINE", 0.1)
    async with call() as talk:
        talk.peer.strike(Fault.MUTE)
        assert await talk.session.say("Hello.") is SayOutcome.REFUSED
        assert "did not speak" in (await talk.event(tells.Degraded)).reason


@pytest.mark.parametrize("words_first", [True, False])
async def test_words_that_come_after_they_were_given_up_are_not_heard(
    words_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "SAY_DEADLINE", 0.1)
    async with call() as talk:
        talk.peer.strike(Fault.MUTE)
        assert await talk.session.say("Hello there. How can I help?") is SayOutcome.REFUSED
        await talk.until(lambda: talk.fake.session.spoken and talk.fake.session.spoken[-1].complete)
        talk.peer.strike(Fault.NONE)
        for sentence in ("Hello there.", "How can I help?"):
            words = conversation_text("assistant", sentence)
            for message in (words, bytes(8000)) if words_first else (bytes(8000), words):
                await talk.fake.session.send(message)
        await talk.fake.session.send({"type": "AgentAudioDone"})
        talk.speak()
        await talk.until(lambda: talk.finished == [1])
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1)]
        assert [event.text for event in talk.of(tells.AgentText)] == [ANSWER]
        assert len(talk.sound[1]) == 16000


async def test_words_that_were_given_up_may_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SAY_DEADLINE", 0.1)
    async with call() as talk:
        talk.peer.strike(Fault.MUTE)
        assert await talk.session.say("Are you there?") is SayOutcome.REFUSED
        monkeypatch.setattr(session_module, "SAY_DEADLINE", PATIENCE)
        talk.peer.strike(Fault.NONE)
        assert await talk.session.say("Are you there?") is SayOutcome.SPOKEN
        await talk.until(lambda: talk.heard.get(1) == ["Are you there?"])
        assert talk.of(tells.UtteranceStarted)[0] == tells.UtteranceStarted(1, aside=True)


async def test_an_aside_that_is_interrupted_is_not_heard_of_again() -> None:
    async with call(Turn(QUESTION, (ANSWER,)), faults={"paced": True}) as talk:
        assert await talk.session.say("Hello there.") is SayOutcome.SPOKEN
        await talk.until(lambda: talk.sound.get(1))
        talk.speak()
        await talk.until(lambda: talk.finished == [1, 2])
        assert len(talk.sound[1]) < 16000
        assert talk.of(tells.UtteranceStarted)[1:] == [tells.UtteranceStarted(2)]


# --- tools


async def test_a_tool_is_asked_for_and_what_it_gives_is_told_and_recorded() -> None:
    turn = Turn(QUESTION, ("Found.",), calls=(Call("look_up", '{"what": "time"}'), Call("look_up")))
    async with call(turn, tools=(TOOL,)) as talk:
        talk.speak()
        await talk.event(tells.ToolRequested, 2)
        first, second = talk.of(tells.ToolRequested)
        assert (first.name, first.arguments) == ("look_up", '{"what": "time"}')
        talk.session.tool_result(second.call, "two")
        talk.session.tool_result(first.call, "one")
        await talk.event(tells.UtteranceEnded)
        assert talk.fake.session.responses == {first.call: "one", second.call: "two"}
        assert [turn.tool for turn in talk.history.turns[1:]] == [
            ToolUse("look_up", "{}", "two"),
            ToolUse("look_up", '{"what": "time"}', "one"),
        ]


async def test_a_tool_that_is_called_before_the_turn_is_confirmed_waits_for_that() -> None:
    turn = Turn(QUESTION, ("Found.",), calls=(Call("look_up", early=True),))
    async with call(turn, tools=(TOOL,), faults={"confirm_seconds": 0.1}) as talk:
        talk.speak()
        asked = await talk.event(tells.ToolRequested)
        kinds = [type(event) for event in talk.events]
        assert kinds.index(tells.CallerSpeechEnded) < kinds.index(tells.ToolRequested)
        talk.session.tool_result(asked.call, "one")
        await talk.event(tells.UtteranceEnded)


@pytest.mark.parametrize("told", [True, False])
async def test_a_tool_of_a_turn_that_goes_on_is_never_asked_for(told: bool) -> None:
    first = Turn("Look up", calls=(Call("look_up", early=True),))
    fault = {"confirm_seconds": 100.0, "cancels_calls": told}
    async with call(first, Turn("nothing.", (ANSWER,)), tools=(TOOL,), faults=fault) as talk:
        talk.speak()
        await talk.until(lambda: talk.fake.session._open_calls)
        talk.speak()
        await talk.event(tells.UtteranceEnded)
        assert talk.of(tells.ToolRequested) == []


async def test_a_tool_that_is_taken_back_is_recorded_and_not_told() -> None:
    turns = (Turn(QUESTION, calls=(Call("look_up"),)), Turn("Never mind.", ("Fine.",)))
    async with call(*turns, tools=(TOOL,)) as talk:
        talk.speak()
        asked = await talk.event(tells.ToolRequested)
        talk.speak()
        await talk.event(tells.UtteranceEnded)
        talk.session.tool_result(asked.call, "done")
        talk.session.tool_result("nobody's", "x")
        assert [turn.tool for turn in talk.history.turns if turn.tool] == [ToolUse("look_up", "{}", "done")]
        talk.speak()
        await talk.event(tells.UtteranceEnded, 2)
        assert talk.fake.session.messages("FunctionCallResponse") == []


async def test_a_tool_is_asked_for_after_what_was_said_before_it_also_when_that_is_held() -> None:
    async with call(obedient=False, tools=(TOOL,)) as talk:
        talk.speak()
        await talk.event(tells.StageTiming, STAGES)
        request = {"id": "fc_1", "name": "look_up", "arguments": "{}", "client_side": True}
        await talk.fake.session.send({"type": "FunctionCallRequest", "functions": [request]})
        await talk.fake.session.send({"type": "Warning", "description": "", "code": "SLOW_THINK_REQUEST"})
        await talk.event(tells.Degraded)
        assert talk.of(tells.ToolRequested) == []
        talk.session.answer()
        await talk.event(tells.ToolRequested)
        kinds = [type(event) for event in talk.events]
        assert kinds.index(tells.UtteranceEnded) < kinds.index(tells.ToolRequested)


# --- history and renewal


def history_of(*turns: tuple[str, str]) -> History:
    history = History()
    for number, (who, text) in enumerate(turns, 1):
        if who == "caller":
            history.caller_said(text)
        elif who == "tool":
            history.tool_used(ToolUse("look_up", "{}", text))
        else:
            history.agent_heard(number, text, text)
    return history


async def test_a_session_goes_on_where_another_stopped_and_answers_what_is_owed() -> None:
    history = history_of(
        ("caller", "Hi."), ("agent", "Hello."), ("tool", "sun"), ("agent", "Yes."), ("caller", QUESTION)
    )
    async with call(history=history) as talk:
        talk.session.resume()
        await talk.until(lambda: talk.finished == [1])
        messages = talk.fake.session.settings["agent"]["context"]["messages"]
        assert [message.get("content", "tool") for message in messages] == ["Hi.", "Hello.", "tool", "Yes."]
        assert talk.fake.session.messages("InjectUserMessage") == [{"type": "InjectUserMessage", "content": QUESTION}]
        assert history.turns[-1].text == QUESTION  # the echo is not said again
        assert talk.of(tells.CallerText) == []


async def test_a_session_is_asked_to_go_on_where_another_broke_off() -> None:
    history = history_of(("caller", QUESTION), ("agent", "It is"))
    async with call(history=history) as talk:
        talk.session.resume()
        await talk.until(lambda: talk.finished == [1])
        (message,) = talk.fake.session.messages("InjectUserMessage")
        assert "go on" in message["content"]
        assert len(history.turns) == 2


async def test_renewal_is_due_before_the_session_s_limit() -> None:
    async with call(session_limit=1000.0, renew_before=999.9) as talk:
        assert (await talk.event(tells.RenewalDue)).seconds == 999.9


async def test_deepgram_s_own_warning_of_the_limit_makes_renewal_due() -> None:
    async with call() as talk:
        await talk.fake.session.send(
            {"type": "Warning", "description": "soon", "code": "MAXIMUM_SESSION_LENGTH_APPROACHING"}
        )
        assert (await talk.event(tells.RenewalDue)).seconds == 300.0


async def test_a_session_without_audio_is_kept_alive() -> None:
    async with call(keep_alive=0.1, faults={"idle_seconds": 1.5}) as talk:
        await talk.until(lambda: len(talk.fake.session.messages("KeepAlive")) >= 7)


async def test_a_session_with_audio_sends_no_keep_alive() -> None:
    async with call(keep_alive=1.0) as talk:
        for _ in range(70):
            talk.feed(FRAME, loud=False)
            await trio.sleep(FRAME)
        assert talk.fake.session.messages("KeepAlive") == []


# --- troubles


async def test_a_warning_degrades() -> None:
    async with call() as talk:
        await talk.fake.session.send({"type": "Warning", "description": f"slow {KEY}", "code": "SLOW_THINK_REQUEST"})
        reason = (await talk.event(tells.Degraded)).reason
        assert "SLOW_THINK_REQUEST slow" in reason
        assert KEY not in reason


async def test_an_error_ends_the_session_with_its_reason_and_the_events_end() -> None:
    async with call() as talk:
        await talk.fake.session.send({"type": "Error", "description": "no voice", "code": "FAILED_TO_SPEAK"})
        assert "FAILED_TO_SPEAK no voice" in (await talk.event(tells.Ended)).failure
        await talk.until(lambda: talk.ended)


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.CUT, Fault.OVERSIZED])
async def test_a_connection_that_goes_in_mid_utterance_ends_the_session_with_a_failure(fault: Fault) -> None:
    async with call(Turn(seconds=60.0), faults={"paced": True}) as talk:
        talk.speak()
        await talk.until(lambda: talk.sound.get(1))
        talk.peer.strike(fault)
        failure = (await talk.event(tells.Ended)).failure
        assert failure.startswith("Deepgram: ")
        if fault is Fault.OVERSIZED:
            assert "Exceeded maximum message size" in failure
        await talk.until(lambda: talk.ended)
        assert talk.of(tells.UtteranceEnded) == [], "it is not complete, and another agent may have to go on with it"
        talk.feed(1.0, loud=True)
        talk.session.tool_result("x", "y")
        assert await talk.session.say("Hello?") is SayOutcome.REFUSED


async def test_a_probe_is_answered_by_a_server_that_is_there_and_by_no_other() -> None:
    async with call() as talk:
        talk.session.probe()
        await talk.event(tells.Alive)
        talk.peer.strike(Fault.MUTE)
        talk.session.probe()
        await trio.sleep(0.3)
        assert len(talk.of(tells.Alive)) == 1


async def test_garbage_is_counted_and_survived() -> None:
    async with call() as talk:
        talk.peer.strike(Fault.GARBAGE)
        await talk.until(lambda: talk.unknown == ["deepgram"] * 3)
        talk.speak()
        await talk.until(lambda: talk.finished == [1])
        assert talk.heard == {1: [ANSWER]}


async def test_a_known_message_that_is_malformed_is_counted_and_survived() -> None:
    async with call() as talk:
        await talk.fake.session.send({"type": "ConversationText", "role": "user", "content": 7})
        await talk.until(lambda: talk.unknown == ["deepgram"])
        talk.speak()
        await talk.event(tells.UtteranceEnded)


async def test_what_is_told_of_utterances_that_are_not_the_session_s_own_does_no_harm() -> None:
    async with call() as talk:
        talk.speak()
        await talk.event(tells.UtteranceStarted)
        for utterance in (0, 7, 10**9):
            talk.session.started(utterance)
            talk.session.heard(utterance, 1234, completed=False)
        await talk.until(lambda: talk.finished == [1])
        assert talk.heard == {1: [ANSWER]}
        assert len(talk.sound[1]) == 16000


@pytest.mark.parametrize(
    "message",
    ["%s", '{"type": "%s"}', '{"type": "ConversationText", "content": "", "role": "\\u0064%s"}'],
    ids=["no JSON", "unknown", "escaped"],
)
async def test_a_message_that_is_passed_over_shows_no_secret(message: str) -> None:
    key = KEY[1:] if "u0064" in message else KEY
    assert KEY[0] == "d"
    async with call() as talk:
        with structlog.testing.capture_logs() as logs:
            await talk.fake.session.send(message % key)
            await talk.fake.session.send("x" * 190 + KEY)  # an error shows the beginning
            await talk.until(lambda: talk.unknown == ["deepgram"] * 2)
        assert any(log["event"] == "a message of Deepgram's is passed over" for log in logs)
        assert KEY[:8] not in repr(logs)


async def test_a_mute_server_does_not_block_the_caller_s_audio() -> None:
    async with call() as talk:
        talk.peer.strike(Fault.MUTE)
        talk.feed(30.0, loud=True)  # at once: more than may wait to be sent
        await talk.until(lambda: len(talk.fake.session.audio) > 8000)
        assert "takes audio too slowly" in (await talk.event(tells.Degraded)).reason


@pytest.mark.parametrize("steps", [*range(1, 120, 7), 150, 200, 250, 300, 400, 500])
async def test_a_hang_up_at_any_await_leaves_nothing_behind(steps: int) -> None:
    fake = DeepgramAgentFake((Turn(QUESTION, (ANSWER,), calls=(Call("look_up"),)),))
    async with agent_of(fake) as (agent, peer, _unknown):
        before = set(_all_tasks())
        with trio.CancelScope() as scope:
            counter = _CancelAfter(steps, scope)
            trio.lowlevel.add_instrument(counter)
            try:
                async with agent.open(CallInfo("c1"), History(), PlayoutBuffer(), (TOOL,)) as session:
                    talk = FollowedSession(fake, peer, session, History(), PlayoutBuffer(), 8000, [])
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(talk.follow)
                        nursery.start_soon(session.say, "Hello.")
                        talk.speak()
                        asked = await talk.event(tells.ToolRequested)
                        session.tool_result(asked.call, "found")
                        await talk.event(tells.UtteranceEnded)
                        scope.cancel()
            finally:
                trio.lowlevel.remove_instrument(counter)
        ours = [task for task in _all_tasks() if task not in before and "serve_listeners" not in task.name]
        assert [task.name for task in ours if "_run_handler" not in task.name and "peer" not in task.name] == []
        await until(lambda: not peer.open and set(_all_tasks()) == before)  # the server's own


class _CancelAfter(trio.abc.Instrument):
    """Cancels a scope after its tasks have run so many steps."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self.left, self.scope = steps, scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


def _all_tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    found, nurseries = [], list(root.child_nurseries) if root is not None else []
    while nurseries:
        for task in nurseries.pop().child_tasks:
            found.append(task)
            nurseries += task.child_nurseries
    return found


# --- what the agent is beside its sessions


@pytest.mark.parametrize(
    ("listen", "longest_pause"),
    [
        (AgentListenSettings(), caller_turns.NOVA_PAUSE),
        (AgentListenSettings("flux-general-en"), caller_turns.FLUX_PAUSE),
        (AgentListenSettings("flux-general-en", eot_timeout_ms=3000), 3.0),
    ],
)
async def test_a_session_says_how_long_it_may_wait_for_the_caller(
    listen: AgentListenSettings, longest_pause: float
) -> None:
    async with call(listen=listen) as talk:
        assert talk.session.capabilities == Capabilities(
            takes_turns=True, speaks_verbatim=True, takes_text=True, longest_pause=longest_pause, answers_probes=True
        )


def test_the_credentials_are_named_and_the_key_can_be_tried_out() -> None:
    found = credentials(DeepgramAgentSettings())
    check = "https://api.deepgram.com/v1/auth/token"
    used = (
        UsedModel("listen.model", "nova-3", "speech to text"),
        UsedModel("speak.model", "aura-2-thalia-en", "speech"),
    )
    lists = (ModelList("https://api.deepgram.com/v1/models", used),)
    assert found == [Credential("DEEPGRAM_API_KEY", "Deepgram's API key", check, Scheme.TOKEN, lists=lists)]
    own = DeepgramAgentSettings(url="ws://10.0.0.1/v1/agent/converse")
    assert (credentials(own)[0].check_url, credentials(own)[0].lists) == ("", ())


async def test_the_agent_is_ready_and_takes_both_rates() -> None:
    async with agent_of(DeepgramAgentFake()) as (agent, peer, _unknown):
        assert agent.readiness.ready
        assert set(agent.rates) == {8000, 16000}
        assert peer.connections == 0


# --- announcements


@asynccontextmanager
async def announcing(service: DeepgramSpeak, **settings: Any) -> AsyncIterator[tuple[DeepgramAgent, HttpPeer]]:
    async with open_http_peer(service.answer) as http:
        async with agent_of(DeepgramAgentFake(), speech_url=http.url, **settings) as (agent, _peer, _unknown):
            yield agent, http


async def test_an_announcement_is_spoken_in_the_agent_s_voice_without_a_call() -> None:
    text = "I am sorry, something went wrong."
    async with announcing(DeepgramSpeak(key=KEY), speak=AgentSpeakSettings(model="aura-2-orion-en")) as (agent, http):
        with trio.fail_after(PATIENCE):
            (audio,) = await agent.synthesise(text)
        assert audio.pcm == tone(text, audio.rate)
        assert dict(http.requests[0].query)["model"] == "aura-2-orion-en"


async def test_a_voice_that_is_not_deepgram_s_makes_no_announcement() -> None:
    speak = AgentSpeakSettings(SpeakProvider.OPEN_AI, "tts-1", "alloy", "https://tts.example/v1")
    async with announcing(DeepgramSpeak(key=KEY), speak=speak) as (agent, _http):
        with pytest.raises(ProviderRejected, match=r"speak\.provider"):
            await agent.synthesise("Hello.")


async def test_an_announcement_with_a_refused_key_is_rejected() -> None:
    async with announcing(DeepgramSpeak(key="another")) as (agent, _http):
        with trio.fail_after(PATIENCE), pytest.raises(ProviderRejected):
            await agent.synthesise("Hello.")


async def test_an_announcement_that_does_not_come_is_given_up_in_time() -> None:
    async with announcing(DeepgramSpeak(key=KEY), speech_timeout=0.2) as (agent, http):
        http.strike(Fault.MUTE)
        with trio.fail_after(PATIENCE), pytest.raises(ProviderUnavailable):
            await agent.synthesise("Hello.")


async def test_without_a_key_nothing_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY")
    async with announcing(DeepgramSpeak(key=KEY)) as (agent, _http):
        with pytest.raises(ProviderRejected, match="DEEPGRAM_API_KEY"):
            await agent.synthesise("Hello.")
