"""A stage of a package in a pipeline: it answers a caller, and what it breaks is its agent's alone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from agentd import plugins
from agentd.agent import Audio, CallInfo, Readiness, SegmentStart
from agentd.config.settings import AgentConfig
from agentd.errors import AgentdError, ConfigError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd_providers.pipeline.agent import PipelineAgent
from agentd_providers.pipeline.rows import ListenStage, SpeakStage, Stage, ThinkStage
from agentd_providers.pipeline_settings import PipelineAgentSettings
from agentd_providers.pipeline_stages import open_pipeline_agent
from agentd_providers.shared import SharedServices
from agentd_providers.stage_registry import ENTRY_POINT_GROUP
from agentd_providers.turns.settings import TurnSettings
from tests.parrot.agentd_parrot import stage as parrot
from tests.parrot.agentd_parrot.sound import whistle
from tests.shell.pipeline_fakes import FakeResponder, FakeTranscriber, FakeVoice

RATE = 8000


@attrs.frozen
class NoSettings:
    """Nothing to set."""


@attrs.frozen
class Engine:
    """Gives every call the same."""

    stage: Any
    readiness: Readiness = attrs.field(factory=lambda: Readiness(True))

    @asynccontextmanager
    async def open(self, *_rate: int) -> AsyncIterator[Any]:
        yield self.stage


def row(kind: type[Stage[Any]], stage: Any) -> Stage[Any]:
    @asynccontextmanager
    async def open_engine(
        _settings: NoSettings, _config: AgentConfig, _shared: SharedServices
    ) -> AsyncIterator[Engine]:
        yield Engine(stage)

    return kind(NoSettings, open_engine)


LISTEN = row(ListenStage, FakeTranscriber())
THINK = row(ThinkStage, FakeResponder({"What is the time?": ["Seven ", "o'clock."]}))
SPEAK = row(SpeakStage, FakeVoice())


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def have(**rows: Any) -> None:
        """Have a package bring these stages, and the parrot its own."""

        class Point(EntryPoint):
            def load(self) -> Any:
                return rows[self.name]

        points: Mapping[str, EntryPoint] = {name: Point(name, f"a:{name}", ENTRY_POINT_GROUP) for name in rows}
        own = EntryPoint("speak_parrot", f"{parrot.__name__}:SPEAK", ENTRY_POINT_GROUP)
        monkeypatch.setattr(plugins, "installed", lambda group: {**points, own.name: own})

    return have


@asynccontextmanager
async def opened(speak: str = "parrot", **tables: Any) -> AsyncIterator[PipelineAgent]:
    turn = TurnSettings(smart_turn=False)
    settings = PipelineAgentSettings("fake", "fake", speak, turn=turn, tables=tables)
    async with trio.open_nursery() as nursery:
        config = AgentConfig("pipeline", settings=settings)
        async with open_pipeline_agent("whistler", config, SharedServices(nursery)) as agent:
            yield agent
        nursery.cancel_scope.cancel()


async def test_an_agent_with_a_voice_of_a_package_answers_its_caller(install: Any) -> None:
    install(listen_fake=LISTEN, think_fake=THINK)
    history, playout = History(), PlayoutBuffer()
    with trio.fail_after(20):
        async with opened(speak_parrot=parrot.WhistleSettings(pitch_hz=900)) as agent:
            assert agent.readiness.ready
            async with agent.open(CallInfo("1.1", rate=RATE), history, playout) as session:
                session.feed_text("What is the time?")
                session.answer()
                utterance = await playout.next_utterance()
                chunks = []
                while (chunk := await utterance.next()) is not None:
                    chunks.append(chunk)
    assert " ".join(chunk.text for chunk in chunks if isinstance(chunk, SegmentStart)) == "Seven o'clock."
    sound = b"".join(chunk.pcm for chunk in chunks if isinstance(chunk, Audio))
    assert sound == whistle("Seven o'clock.", RATE, 900)
    assert [turn.text for turn in history.turns] == ["What is the time?"], (
        "what is heard of the answer, the call writes"
    )


async def test_announcements_and_fixed_phrases_are_spoken_by_it(install: Any) -> None:
    install(listen_fake=LISTEN, think_fake=THINK)
    async with opened() as agent:
        (audio,) = await agent.synthesise("I am sorry.")
        assert audio.pcm == whistle("I am sorry.", RATE)


def _raise(error: Exception) -> Any:
    raise error


@asynccontextmanager
async def _raising(_settings: object, _config: AgentConfig, _shared: object) -> AsyncIterator[Engine]:
    raise ModuleNotFoundError("no module named acme")
    yield


@asynccontextmanager
async def _raising_in_a_nursery(_settings: object, _config: AgentConfig, _shared: object) -> AsyncIterator[Engine]:
    async with trio.open_nursery():
        raise ModuleNotFoundError("no module named acme")
        yield


async def _not_prepared(_engine: object, _config: AgentConfig) -> None:
    raise ZeroDivisionError("the model is empty")


BROKEN: Mapping[str, tuple[Stage[Any], str]] = {
    "its import": (SpeakStage(NoSettings, lambda *_: _raise(ImportError("no acme"))), "ImportError: no acme"),
    "its opener": (SpeakStage(NoSettings, _raising), "ModuleNotFoundError: no module named acme"),
    "a group": (SpeakStage(NoSettings, _raising_in_a_nursery), "ExceptionGroup"),
    "no context manager": (SpeakStage(NoSettings, lambda *_: object()), "TypeError"),  # type: ignore[arg-type, return-value]
    "its preparation": (attrs.evolve(SPEAK, prepare=_not_prepared), "ZeroDivisionError: the model is empty"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_stage_that_breaks_is_its_agent_s_failure_by_name(broken: str, install: Any) -> None:
    stage, told = BROKEN[broken]
    install(listen_fake=LISTEN, think_fake=THINK, speak_acme=stage)
    with capture_logs() as logs, pytest.RaisesGroup(ProviderRejected, flatten_subgroups=True) as group:
        async with opened("acme"):
            raise AssertionError("it is not to be had")
    (error,) = group.value.exceptions
    assert str(error).startswith(f"the stage speak_acme failed: {told}")
    assert [entry["stage"] for entry in logs if entry["log_level"] == "error"] == ["speak_acme"], "with its traceback"


@pytest.mark.parametrize("error", [ProviderUnavailable("it is down"), ConfigError("ACME_KEY is not set")])
async def test_what_a_stage_says_itself_goes_on_as_it_is(error: AgentdError, install: Any) -> None:
    install(listen_fake=LISTEN, think_fake=THINK, speak_acme=SpeakStage(NoSettings, lambda *_: _raise(error)))
    with pytest.RaisesGroup(pytest.RaisesExc(type(error), match=str(error)), flatten_subgroups=True):
        async with opened("acme"):
            raise AssertionError("it is not to be had")
