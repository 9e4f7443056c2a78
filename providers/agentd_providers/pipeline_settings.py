"""The settings of an agent that is put together of stages: who listens, who thinks, who speaks. Imports no engine."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import attrs

from agentd.config.catalogue import settings_class
from agentd.config.schema import Tables, text
from agentd.errors import ConfigError
from agentd_providers.credentials import Credential
from agentd_providers.local.needs import cues_needs
from agentd_providers.local.settings import LocalSettings
from agentd_providers.model_list import ModelList
from agentd_providers.needs import ModelServer, Need
from agentd_providers.pipeline.rows import Chosen
from agentd_providers.stage_registry import KINDS, LISTEN, SPEAK, STAGES, THINK, stage_names, stage_tables
from agentd_providers.text_normalisation.lexicon import is_ipa, lexicon_entries
from agentd_providers.turns.settings import TurnSettings

_LOCAL = LocalSettings()


def _changed(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those that say more than their defaults: a table without a change is as good as none."""
    return {name: table for name, table in tables.items() if table != type(table)()}


@attrs.frozen
class PipelineAgentSettings:
    """A pipeline: speech to text, a language model and text to speech, each chosen freely."""

    listen: Annotated[
        str,
        text(
            "Speech to text: local, deepgram, openai (any such server) or wyoming; its table is listen_NAME.",
            choices=partial(stage_names, LISTEN),
        ),
    ] = "local"
    think: Annotated[
        str,
        text(
            "The language model: embedded (no tools), or openai (any such server); its table is think_NAME.",
            choices=partial(stage_names, THINK),
        ),
    ] = "openai"
    speak: Annotated[
        str,
        text(
            "Text to speech: local, deepgram, openai (any such server) or wyoming; its table is speak_NAME.",
            choices=partial(stage_names, SPEAK),
        ),
    ] = "local"
    end_phrases: Annotated[
        list[str], text("What a caller says to end the call; the agent says farewell and leaves.")
    ] = attrs.field(factory=lambda: list(_LOCAL.end_phrases))
    farewell: Annotated[str, text("What the agent says then; empty: it leaves without a word.")] = _LOCAL.farewell
    lexicon: Annotated[
        dict[str, str],
        text(
            'What is said for words that the voice says wrongly: { Siobhan = "shivawn" }; a local voice takes IPA too:'
            ' { "Łódź" = "/wutɕ/" }.',
            lexicon_entries,
        ),
    ] = attrs.field(factory=dict)
    turn: TurnSettings = attrs.field(factory=TurnSettings)
    tables: Annotated[Mapping[str, Any], Tables(stage_tables)] = attrs.field(factory=dict, eq=_changed)
    """The settings of stages, chosen or not, by the names of their tables; a stage that has none has its defaults."""

    def chosen(self, kind: str) -> Chosen[Any]:
        """The row and the settings of a stage (listen, think or speak). Raises ConfigError where an installed package
        is broken."""
        table = self.table(kind)
        settings = settings_class(STAGES, table)
        if isinstance(settings, ConfigError):
            raise settings
        return Chosen(table, STAGES.find(table), self.tables.get(table) or settings())

    def table(self, kind: str) -> str:
        """The name of the table of who does a stage."""
        return f"{kind}_{getattr(self, kind)}"

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why); asked by the configuration's check."""
        for kind in KINDS:
            try:
                settings = self.chosen(kind).settings
            except ConfigError as error:
                yield kind, str(error)
                continue
            if impossible := getattr(settings, "impossible", None):
                for setting, why in impossible(language):
                    yield f"{self.table(kind)}.{setting}", why
            if kind == SPEAK and not self.chosen(kind).stage.takes_ipa:
                for written in (written for written, said in self.lexicon.items() if is_ipa(said)):
                    yield "lexicon", f"{self.table(kind)} takes no IPA: write {written!r} as it is to be read"
        for setting, why in self.turn.contradictions():
            yield f"turn.{setting}", why

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names in the chosen stages that will end, as (setting, why)."""
        for kind in KINDS:
            try:
                settings = self.chosen(kind).settings
            except ConfigError:  # told by `impossible`
                continue
            if ending := getattr(settings, "ending", None):
                for setting, why in ending(today):
                    yield f"{self.table(kind)}.{setting}", why

    @property
    def takes_tools(self) -> bool:
        """Whether the model can use tools."""
        think = self.chosen(THINK)
        return bool(think.stage.takes_tools(think.settings))


def pipeline_credentials(settings: PipelineAgentSettings) -> Sequence[Credential]:
    """The credentials of the chosen stages."""
    found: list[Credential] = []
    for kind in KINDS:
        table, chosen = settings.table(kind), settings.chosen(kind)
        needed = chosen.stage.credentials(chosen.settings)
        found += (
            attrs.evolve(credential, what=f"{credential.what} for {table}", lists=_below(table, credential.lists))
            for credential in needed
        )
    return tuple(found)


def _below(table: str, lists: Sequence[ModelList]) -> tuple[ModelList, ...]:
    """The same lists, with the settings named from the agent's table on."""
    return tuple(
        attrs.evolve(each, used=tuple(attrs.evolve(one, setting=f"{table}.{one.setting}") for one in each.used))
        for each in lists
    )


def pipeline_needs(settings: PipelineAgentSettings) -> Sequence[Need]:
    """The needs of the chosen stages, and of the cues for turns, on this host."""
    found = [*cues_needs(settings.turn)]
    for kind in KINDS:
        chosen, table = settings.chosen(kind), f"pipeline.{settings.table(kind)}"
        needs: Sequence[Need] = chosen.stage.needs(chosen.settings)
        found += (attrs.evolve(need, table=table) if isinstance(need, ModelServer) else need for need in needs)
    return tuple(found)
