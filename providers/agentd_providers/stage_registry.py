"""Which stages a pipeline can be made of: name -> row. A stage's name is that of its table, such as `listen_local`.
Imports no engine.

A third-party package joins through the entry point group `agentd.stages`: the entry point's name is the stage's
(listen_NAME, think_NAME or speak_NAME), its value a ListenStage, ThinkStage or SpeakStage.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.config.catalogue import Choices
from agentd.errors import ConfigError
from agentd.plugins import Registry
from agentd_providers.deepgram import stages as deepgram
from agentd_providers.local import stages as local
from agentd_providers.openai import stages as openai
from agentd_providers.pipeline.rows import ListenStage, SpeakStage, Stage, ThinkStage
from agentd_providers.wyoming import stages as wyoming

ENTRY_POINT_GROUP = "agentd.stages"
LISTEN, THINK, SPEAK = "listen", "think", "speak"
KINDS: Mapping[str, type[Stage[Any]]] = {LISTEN: ListenStage, THINK: ThinkStage, SPEAK: SpeakStage}
"""The kinds of stages, by the setting that chooses one."""

BUILT_IN: Mapping[str, Stage[Any]] = {
    "listen_local": local.LISTEN,
    "listen_deepgram": deepgram.LISTEN,
    "listen_openai": openai.LISTEN,
    "listen_wyoming": wyoming.LISTEN,
    "think_embedded": local.EMBEDDED,
    "think_openai": openai.THINK,
    "speak_local": local.SPEAK,
    "speak_deepgram": deepgram.SPEAK,
    "speak_openai": openai.SPEAK,
    "speak_wyoming": wyoming.SPEAK,
}


@attrs.frozen
class StageRegistry(Registry[Stage[Any]]):
    """See agentd.plugins.Registry."""

    def find(self, name: str) -> Stage[Any]:
        """The stage of this name. Raises ConfigError as Registry.find does, and for one that does not do what its name
        says."""
        found = super().find(name)
        kind = KINDS.get(name.partition("_")[0])
        if kind is None or "_" not in name:
            raise ConfigError(f"the stage {name!r} must be called listen_NAME, think_NAME or speak_NAME")
        if not isinstance(found, kind):
            raise ConfigError(
                f"the stage {name!r} is no {kind.__module__}.{kind.__name__}, but a {type(found).__name__}"
            )
        return found


STAGES = StageRegistry("stage", ENTRY_POINT_GROUP, Stage, BUILT_IN)


def stage_names(kind: str) -> list[str]:
    """The names that may be chosen for `kind` (listen, think or speak), built-in ones first; those included whose
    package turns out to be broken."""
    tables = dict.fromkeys((*BUILT_IN, *STAGES.names()))
    return [table.removeprefix(f"{kind}_") for table in tables if table.startswith(f"{kind}_")]


def stage_tables() -> Mapping[str, type | ConfigError]:
    """The tables of all stages, what is built in first: the settings class of each, or why it cannot be used."""
    known = Choices.of(STAGES).known
    return {name: known[name] for name in dict.fromkeys((*BUILT_IN, *known))}
