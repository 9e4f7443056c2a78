"""An agent that is put together of stages: what it opens for a call, what it tells, and what it does about failures."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from agentd.agent import Agent, CallInfo, Readiness, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ConfigError, ProviderError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd.session_events import AnswerFailed, UtteranceEnded
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings, DeepgramSpeakSettings
from agentd_providers.local.engines import TurnCues
from agentd_providers.local.voice_activity import WINDOW_MS
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.speech_settings import OpenAiListenSettings, OpenAiSpeakSettings
from agentd_providers.pipeline.agent import (
    LEARNING_DELAY,
    PipelineAgent,
    Stages,
    open_agent,
    pipeline_settings,
)
from agentd_providers.pipeline.rehearse import QUESTION, TRIES, rehearse
from agentd_providers.pipeline.session import PipelineSession
from agentd_providers.pipeline_settings import PipelineAgentSettings
from agentd_providers.pipeline_stages import open_pipeline_agent
from agentd_providers.shared import SharedServices
from agentd_providers.turns.settings import TurnSettings
from tests.shell.pipeline_fakes import BROKEN, CLOCK, FakeDetector, FakeResponder, FakeTranscriber, FakeVoice

CONFIG = AgentConfig(greeting="Hello there.")


@attrs.define(eq=False)
class FakeEngine:
    """An engine of any stage: gives `stage` to each call. Has a task for each, as engines on other machines do."""

    stage: Any
    readiness: Readiness = attrs.field(factory=lambda: Readiness(True))
    failures: list[Exception] = attrs.field(factory=list)
    opened: int = 0
    open_now: int = 0

    @asynccontextmanager
    async def open(self, *_rate: int) -> AsyncIterator[Any]:
        self.opened += 1
        await trio.sleep(0.1)
        if self.failures:
            raise self.failures.pop(0)
        self.open_now += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield self.stage
                nursery.cancel_scope.cancel()
        finally:
            self.open_now -= 1


@attrs.frozen
class FakeVoiceActivity:
    def detector(self, _rate: int) -> FakeDetector:
        return FakeDetector()


@attrs.define(eq=False)
class FakeStages:
    listen: FakeEngine = attrs.field(factory=lambda: FakeEngine(FakeTranscriber()))
    think: FakeEngine = attrs.field(factory=lambda: FakeEngine(FakeResponder()))
    speak: FakeEngine = attrs.field(factory=lambda: FakeEngine(FakeVoice()))
    prepare: list[Callable[[], Any]] = attrs.field(factory=list)
    distant: bool = True
    takes_tools: bool = True

    @property
    def engines(self) -> list[FakeEngine]:
        return [self.listen, self.think, self.speak]

    @asynccontextmanager
    async def agent(self, config: AgentConfig = CONFIG) -> AsyncIterator[PipelineAgent]:
        cues = TurnCues(FakeVoiceActivity(), None)  # type: ignore[arg-type]
        stages = Stages(self.listen, self.think, self.speak, cues, self.prepare, self.distant, self.takes_tools)
        settings = pipeline_settings(config, TurnSettings(), ["goodbye"], "Bye bye.", WINDOW_MS)
        async with trio.open_nursery() as nursery:
            async with open_agent("test", config, settings, stages, SharedServices(nursery)) as agent:
                yield agent
            nursery.cancel_scope.cancel()
        assert not any(engine.open_now for engine in self.engines), "nothing is left open"


@asynccontextmanager
async def a_call(agent: Agent, *tools: ToolDeclaration) -> AsyncIterator[tuple[PipelineSession, PlayoutBuffer]]:
    playout = PlayoutBuffer()
    async with agent.open(CallInfo("1.1"), History(), playout, tools) as session:
        assert isinstance(session, PipelineSession)
        yield session, playout


async def answered(session: PipelineSession) -> None:
    session.feed_text("hello")
    session.answer()
    with trio.fail_after(60):
        async for event in session.events:
            if isinstance(event, UtteranceEnded):
                return


# --- a call


async def test_each_call_has_its_own_of_every_stage_and_leaves_nothing(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        async with a_call(agent) as (first, _), a_call(agent) as (second, _):
            assert [engine.open_now for engine in stages.engines] == [2, 2, 2]
            await answered(first)
            await answered(second)
        assert [engine.open_now for engine in stages.engines] == [0, 0, 0]


@pytest.mark.parametrize("name", ["listen", "think", "speak"])
@pytest.mark.parametrize("error", [ProviderUnavailable, ProviderRejected])
async def test_a_stage_that_does_not_open_is_the_call_s_provider_error_and_nothing_of_the_others_is_left(
    name: str, error: type[ProviderError], autojump_clock: MockClock
) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        getattr(stages, name).failures = [error("it is down")]
        with pytest.raises(error, match="it is down"):
            async with a_call(agent):
                raise AssertionError("there is no session")
        assert not any(engine.open_now for engine in stages.engines)
        async with a_call(agent) as (session, _):
            await answered(session)


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.35])
async def test_a_call_that_ends_while_its_stages_open_leaves_nothing(moment: float, autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        with trio.move_on_after(moment):
            async with a_call(agent):
                await trio.sleep_forever()
        assert not any(engine.open_now for engine in stages.engines)


@pytest.mark.parametrize("takes_tools", [True, False])
async def test_tools_are_for_models_that_take_them(takes_tools: bool, autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False, takes_tools=takes_tools)
    with capture_logs() as logs:
        async with stages.agent(attrs.evolve(CONFIG, tools=["clock"])) as agent, a_call(agent, CLOCK) as (session, _):
            await answered(session)
    assert stages.think.stage.offered == ([["clock"]] if takes_tools else [[]])
    warned = [entry for entry in logs if entry["log_level"] == "warning"]
    assert len(warned) == (not takes_tools), "told once, when the agent is opened"


# --- a rehearsal


async def test_a_rehearsal_tells_what_each_stage_takes_and_leaves_nothing(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    stages.listen.stage = FakeTranscriber(seconds=0.3)
    stages.think.stage = responder = FakeResponder(seconds=0.2)
    stages.speak.stage = FakeVoice(seconds=0.1)
    config = attrs.evolve(CONFIG, prompt="You keep a shop.")
    async with stages.agent(config) as agent:
        began = trio.current_time()
        rehearsal = await rehearse(agent)
    assert attrs.astuple(rehearsal) == pytest.approx((0.3, 0.2, 0.1))
    assert rehearsal.total == pytest.approx(0.6)
    assert [message.text for message in responder.asked[0]] == ["You keep a shop.", f"0 {QUESTION}"]
    assert len({asked[1].text for asked in responder.asked}) == 1 + TRIES, "none is in a model's cache"
    assert all(transcript.closed for transcript in stages.listen.stage.begun)
    heard = sum(len(frame) for frame in stages.listen.stage.begun[0].heard) / 16000
    assert trio.current_time() - began == pytest.approx(0.3 + 0.1 + (1 + TRIES) * (heard + 0.6)), "by the clock"


async def test_a_slow_first_try_does_not_count_in_a_rehearsal(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    voice = stages.speak.stage = FakeVoice(seconds=0.1)
    stages.listen.stage = transcriber = FakeTranscriber(seconds=5.0)

    async def warm_up() -> None:
        while len(transcriber.begun) < 2:
            await trio.sleep(0.1)
        transcriber.seconds = 0.3

    async with stages.agent() as agent, trio.open_nursery() as nursery:
        nursery.start_soon(warm_up)
        assert (await rehearse(agent)).transcript == pytest.approx(0.3)
    assert voice.speaking == 0


@pytest.mark.parametrize("name", ["listen", "think", "speak"])
async def test_a_rehearsal_fails_as_its_stages_do(name: str, autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        getattr(stages, name).failures = [ProviderUnavailable("it is down")]
        with pytest.raises(ProviderUnavailable, match="it is down"):
            await rehearse(agent)


async def test_a_model_that_writes_nothing_is_no_rehearsal(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    stages.think.stage = FakeResponder(replies={f"0 {QUESTION}": []})
    async with stages.agent() as agent:
        with pytest.raises(ProviderUnavailable, match="written nothing"):
            await rehearse(agent)


# --- readiness


async def test_an_agent_is_as_ready_as_its_stages_and_names_the_first_that_is_not(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        assert agent.readiness == Readiness(True)
        stages.speak.readiness = Readiness(False, "no connection")
        assert agent.readiness == Readiness(False, "speak: no connection")
        stages.listen.readiness = Readiness(False, "no answer")
        assert agent.readiness == Readiness(False, "listen: no answer")


async def test_an_engine_that_cannot_be_loaded_keeps_the_agent_from_opening(autojump_clock: MockClock) -> None:
    async def load() -> None:
        await trio.sleep(0.1)
        raise BROKEN

    with pytest.RaisesGroup(pytest.RaisesExc(ProviderUnavailable, match="died"), flatten_subgroups=True):
        async with FakeStages(prepare=[load]).agent():
            raise AssertionError("it is not to be had")


# --- the fixed phrases


async def test_a_voice_of_this_host_has_spoken_the_fixed_phrases_before_the_first_call(
    autojump_clock: MockClock,
) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        assert {"Hello there.", "Bye bye.", CONFIG.liveness.filler} <= set(stages.speak.stage.spoken)
        async with a_call(agent) as (session, playout):
            began = trio.current_time()
            await session.say("Hello there.")
            assert trio.current_time() == began
            assert playout.buffered == pytest.approx(0.2)


async def test_a_voice_elsewhere_that_is_down_does_not_keep_the_agent_from_opening(autojump_clock: MockClock) -> None:
    stages = FakeStages()
    stages.speak.failures = [BROKEN]
    async with stages.agent() as agent:
        assert not stages.speak.opened, "the agent does not wait for it"
        await trio.sleep(1)
        assert not stages.speak.stage.spoken
        await trio.sleep(LEARNING_DELAY + 5)
        assert "Hello there." in stages.speak.stage.spoken
        async with a_call(agent) as (session, _):
            began = trio.current_time()
            await session.say("Hello there.")
            assert trio.current_time() == began


async def test_a_voice_that_refuses_us_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    stages = FakeStages()
    stages.speak.failures = [ProviderRejected("wrong key")]
    async with stages.agent():
        await trio.sleep(3600)
        assert stages.speak.opened == 1


async def test_announcements_are_spoken_without_a_call(autojump_clock: MockClock) -> None:
    stages = FakeStages(distant=False)
    async with stages.agent() as agent:
        (audio,) = await agent.synthesise("I am sorry.")
        assert audio.rate == 8000
        assert audio.seconds == pytest.approx(0.3)
        stages.speak.stage.failures = [BROKEN]
        with pytest.raises(ProviderUnavailable):
            await agent.synthesise("I am sorry again.")


# --- the provider


@asynccontextmanager
async def opened(settings: PipelineAgentSettings) -> AsyncIterator[PipelineAgent]:
    async with trio.open_nursery() as nursery:
        config = attrs.evolve(CONFIG, settings=settings)
        async with open_pipeline_agent("test", config, SharedServices(nursery)) as agent:
            yield agent
        nursery.cancel_scope.cancel()


ELSEWHERE = PipelineAgentSettings(
    listen="wyoming",
    think="openai",
    speak="wyoming",
    turn=TurnSettings(smart_turn=False),
    tables={"think_openai": ChatSettings(api_key_name="", base_url="http://127.0.0.1:1/v1")},
)


async def test_an_agent_whose_stages_are_all_elsewhere_opens_though_none_is_there() -> None:
    with trio.fail_after(20):
        async with opened(ELSEWHERE) as agent:
            while agent.readiness.ready:
                await trio.sleep(0.01)
            assert agent.readiness.detail.startswith("listen: ")
            async with a_call(agent) as (session, _):
                session.feed_text("hello")
                async for event in session.events:
                    if isinstance(event, AnswerFailed):
                        break


async def test_a_key_that_is_missing_is_told_by_name() -> None:
    settings = attrs.evolve(ELSEWHERE, tables={"think_openai": ChatSettings(api_key_name="NOT_SET_ANYWHERE")})
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="NOT_SET_ANYWHERE"), flatten_subgroups=True):
        async with opened(settings):
            raise AssertionError("there is no key")


@pytest.mark.parametrize("choice", ["deepgram", "openai"])
async def test_stages_of_vendors_open_with_their_keys(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")
    nowhere = {"api_key_name": "A_KEY", "base_url": "http://127.0.0.1:1"}
    settings = attrs.evolve(
        ELSEWHERE,
        listen=choice,
        speak=choice,
        tables={
            **ELSEWHERE.tables,
            "listen_deepgram": DeepgramListenSettings(**nowhere),
            "listen_openai": OpenAiListenSettings(**nowhere),
            "speak_deepgram": DeepgramSpeakSettings(**nowhere),
            "speak_openai": OpenAiSpeakSettings(**nowhere),
        },
    )
    with trio.fail_after(20):
        async with opened(settings) as agent:
            assert agent.readiness.ready, "nothing has failed yet"
            with pytest.raises(ProviderUnavailable):
                await agent.synthesise("I am sorry.")
