"""The facts that a stage's author tells its contract: how the engine is opened, what its vendor's fake does, what it
can do."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from agentd.config.schema import Problem, build
from agentd.config.settings import AgentConfig
from agentd.errors import ConfigError
from agentd.testing.faults import Fault
from agentd.testing.party import Party
from agentd_providers.shared import SharedServices
from agentd_providers.stage_registry import STAGES


class Can(StrEnum):
    """A stage's abilities: each is the rest of a sentence that begins with "it"."""

    NEEDS_KEY = "needs a key"
    """Those of `Party.keys`. `StageParty.seen` tells where its vendor saw them."""
    FAILS = "has a vendor that fails"
    """By `StageParty.faults`; also Fault.SLOW, which is no error."""
    STREAMS = "gives what its vendor says piece by piece"
    """The vendor's fake takes its time: about 0.3 s from the first piece of an answer to the last."""
    USES_TOOLS = "asks for tools"
    TELLS_SENTENCE_ENDS = "tells where sentences end"


@attrs.frozen
class Seen:
    """A request as a vendor saw it: its headers, and all the rest of it (path, query, body)."""

    headers: Mapping[str, str]
    rest: str


class StageParty(Party):
    """One stage of a pipeline with what stands in for its vendor. See its kinds below."""

    stage: str
    """Its name in the registry of stages: that of the entry point, and of its table."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """The table [agents.NAME.pipeline.STAGE]; `open` may set it."""
    language: str = "en-US"
    abilities: Collection[Can] = ()
    deadline: float = 0.5
    """Seconds that its settings give the vendor, for a connection and for an answer."""
    faults: Collection[Fault] = ()
    """Those that come out as an error. Its protocol or the stage itself may know how to live with others."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its name in the report."""
        return self.stage

    def open_engine(self, shared: SharedServices) -> AbstractAsyncContextManager[Any]:
        """The engine, as an agent opens it: by its row, with the settings. Raises as the row's `open` does, and
        ConfigError where the settings are wrong."""
        row, problems = STAGES.find(self.stage), list[Problem]()
        settings: object = build(row.settings, self.settings, self.stage, problems)
        if problems:
            raise ConfigError("\n".join(str(problem) for problem in problems))
        engine: AbstractAsyncContextManager[Any] = row.open(settings, AgentConfig(language=self.language), shared)
        return engine

    def seen(self) -> Sequence[Seen]:
        """Can.NEEDS_KEY: the requests that the vendor saw."""
        raise NotImplementedError(f"the abilities of {self.name} want a seen()")


class TranscriberParty(StageParty):
    """A stage that listens."""

    rate: int = 8000
    """Hz of the caller's sound in most tests."""

    def speech(self, words: str, rate: int) -> bytes:
        """A caller's voice (slin at `rate` Hz) that is going to be understood as these words: tell the fake."""
        raise NotImplementedError(f"{self.name} has no speech()")


class ResponderParty(StageParty):
    """A stage that thinks."""

    def expect(self, said: str, pieces: Sequence[str], calls: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        """To a prompt that ends with what the caller `said` the model answers these words, and, Can.USES_TOOLS, by
        calls of tools (names and arguments)."""
        raise NotImplementedError(f"{self.name} has no expect()")


class VoiceParty(StageParty):
    """A stage that speaks."""

    def seconds(self, text: str) -> float:
        """How long its voice speaks a text: to within a tenth."""
        raise NotImplementedError(f"{self.name} has no seconds()")
