"""Which stages a pipeline can be made of: those of agentd and those of installed packages, in the same form."""

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint
from typing import Annotated, Any

import attrs
import jsonschema
import pytest

from agentd import plugins
from agentd.config.schema import positive, text
from agentd.errors import ConfigError
from agentd_providers.credentials import Credential
from agentd_providers.needs import ModelServer, Modules, Need
from agentd_providers.pipeline.rows import ListenStage, SpeakStage, ThinkStage
from agentd_providers.pipeline.stages import SpeechToText
from agentd_providers.pipeline_settings import PipelineAgentSettings, pipeline_credentials
from agentd_providers.registry import find_provider
from agentd_providers.stage_registry import BUILT_IN, ENTRY_POINT_GROUP, KINDS, STAGES, stage_names, stage_tables
from tests.installed import config_schema, parse_config, sample_toml


@attrs.frozen
class AcmeSettings:
    """Speech to text by Acme."""

    key_name: str = "ACME_KEY"
    sharpness: Annotated[int, text("How sharp its ears are.", positive)] = 3

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        if language.startswith("de"):
            yield "sharpness", "is never enough for German"


def _never_opened(*_: object) -> AbstractAsyncContextManager[SpeechToText]:
    raise AssertionError("a check opens no engine")


def _acme_credentials(settings: AcmeSettings) -> Sequence[Credential]:
    return (Credential(settings.key_name, "Acme's key", "https://acme.example/me"),)


def _acme_needs(settings: AcmeSettings) -> Sequence[Need]:
    server = ModelServer("http://acme/v1", "ears", settings.key_name, "")
    return (Modules(("acme_ears",), "pip install acme-ears"), server)


ACME = ListenStage(AcmeSettings, _never_opened, credentials=_acme_credentials, needs=_acme_needs)
DULL = ThinkStage(AcmeSettings, _never_opened, takes_tools=lambda _settings: False)  # type: ignore[arg-type]


def install(monkeypatch: pytest.MonkeyPatch, **rows: Any) -> None:
    """Have packages bring stages, by the names of their entry points."""

    class Point(EntryPoint):
        def load(self) -> Any:
            return rows[self.name]

    points = {name: Point(name, f"acme:{name}", ENTRY_POINT_GROUP) for name in rows}
    monkeypatch.setattr(plugins, "installed", lambda group: points if group == ENTRY_POINT_GROUP else {})


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, listen_acme=ACME, think_acme=DULL)


def parse(toml: str, language: str = "en-US") -> PipelineAgentSettings:
    raw = tomllib.loads(f"[agents.a]\nprovider = 'pipeline'\nlanguage = {language!r}\n[agents.a.pipeline]\n{toml}")
    settings = parse_config(raw, {}).agents["a"].settings
    assert isinstance(settings, PipelineAgentSettings)
    return settings


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_built_in_does_what_its_name_says_and_opens_nothing_unasked(name: str) -> None:
    kind = name.partition("_")[0]
    assert isinstance(STAGES.find(name), KINDS[kind])
    assert name.removeprefix(f"{kind}_") in stage_names(kind)
    assert stage_tables()[name] is BUILT_IN[name].settings


@pytest.mark.usefixtures("acme")
def test_a_foreign_stage_is_chosen_by_its_name_and_has_a_table_of_its_own() -> None:
    settings = parse("listen = 'acme'\n[agents.a.pipeline.listen_acme]\nsharpness = 5")
    chosen = settings.chosen("listen")
    assert chosen.stage is ACME
    assert chosen.settings == AcmeSettings(sharpness=5)
    assert parse("listen = 'acme'").chosen("listen").settings == AcmeSettings()
    assert parse("speak = 'deepgram'").chosen("speak").stage is BUILT_IN["speak_deepgram"]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (
            "listen = 'acmee'",
            'pipeline.listen: must be one of local, deepgram, openai, wyoming, acme, not "acmee"; '
            "did you mean 'acme'?",
        ),
        ("speak = 'acme'", 'pipeline.speak: must be one of local, deepgram, openai, wyoming, not "acme"'),
        ("[agents.a.pipeline.listen_acmee]", "pipeline.listen_acmee: unknown; did you mean 'listen_acme'?"),
        (
            "[agents.a.pipeline.listen_acme]\nsharpnes = 2",
            "pipeline.listen_acme.sharpnes: unknown; did you mean 'sharpness'?",
        ),
        (
            "[agents.a.pipeline.listen_acme]\nsharpness = 0",
            "pipeline.listen_acme.sharpness: must be greater than 0, not 0",
        ),
        ("listen_acme = 1", "pipeline.listen_acme: must be a table: [agents.a.pipeline.listen_acme], not 1"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_name(toml: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(toml)
    assert f"agents.a.{told}" in str(error.value)


@pytest.mark.usefixtures("acme")
def test_what_is_impossible_with_it_counts_where_it_is_chosen() -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.listen_acme\.sharpness: is never enough for German"):
        parse("listen = 'acme'", "de-DE")
    parse("listen = 'openai'\n[agents.a.pipeline.listen_acme]\nsharpness = 9", "de-DE")


@pytest.mark.usefixtures("acme")
def test_what_it_needs_to_be_let_in_and_whether_it_takes_tools_are_asked_of_it() -> None:
    settings = parse("listen = 'acme'\nthink = 'acme'\nspeak = 'wyoming'")
    assert pipeline_credentials(settings)[0] == Credential(
        "ACME_KEY", "Acme's key for listen_acme", "https://acme.example/me"
    )
    assert not find_provider("pipeline").takes_tools(settings)
    assert find_provider("pipeline").takes_tools(parse("think = 'openai'"))
    assert not find_provider("pipeline").takes_tools(parse("think = 'embedded'"))


@pytest.mark.usefixtures("acme")
def test_what_it_needs_on_its_host_is_asked_of_it_by_the_doctor() -> None:
    settings = parse("listen = 'acme'\nspeak = 'wyoming'\n[agents.a.pipeline.turn]\nsmart_turn = false")
    needs = find_provider("pipeline").needs(settings)
    assert Modules(("acme_ears",), "pip install acme-ears") in needs
    assert ModelServer("http://acme/v1", "ears", "ACME_KEY", "pipeline.listen_acme") in needs
    assert not [need for need in find_provider("pipeline").needs(parse("listen = 'openai'")) if "acme" in str(need)]


@pytest.mark.usefixtures("acme")
def test_the_schema_and_the_sample_show_it() -> None:
    schema = config_schema()
    pipeline = schema["properties"]["agents"]["additionalProperties"]["properties"]["pipeline"]["properties"]
    assert pipeline["listen"]["enum"] == ["local", "deepgram", "openai", "wyoming", "acme"]
    assert pipeline["listen_acme"]["properties"]["sharpness"]["description"] == "How sharp its ears are."
    jsonschema.Draft202012Validator.check_schema(schema)
    sample = sample_toml()
    assert "# --- Speech to text by Acme.\n" in sample
    tables = "\n".join(line.removeprefix("#") for line in sample.splitlines() if not line.startswith("# "))
    assert tomllib.loads(tables)["agents"]["example_pipeline"]["pipeline"]["listen_acme"]["sharpness"] == 3


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        (
            "listen_acme",
            DULL,
            "is no agentd_providers.pipeline.rows.ListenStage, but a ThinkStage",
        ),
        ("listen_acme", print, "of the stage 'listen_acme' is no agentd_providers.pipeline.rows.Stage"),
        ("acme", ACME, "the stage 'acme' must be called listen_NAME, think_NAME or speak_NAME"),
        ("listen_acme", SpeakStage, "of the stage 'listen_acme' is no agentd_providers.pipeline.rows.Stage"),
    ],
)
def test_what_is_not_what_it_says_is_told_by_name_and_the_others_go_on(
    name: str, row: object, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, **{name: row, "listen_good": ACME})
    assert told in str(stage_tables()[name])
    parse("listen = 'good'")
    with pytest.raises(ConfigError, match=rf"agents\.a\.pipeline\.{name}: "):
        parse(f"listen = 'good'\n[agents.a.pipeline.{name}]")


def test_what_is_built_in_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, listen_local=ACME)
    assert STAGES.find("listen_local") is BUILT_IN["listen_local"]
