"""The commented sample, the JSON Schema and the defaults are the same thing told three times."""

import re
import tomllib
from itertools import pairwise
from typing import Any

import attrs
import jsonschema
import pytest

from agentd.cli import _parser
from agentd.config.schema import settings_of
from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.tools.registry import BUILT_IN
from agentd_providers.local.settings import LocalSettings
from agentd_providers.registry import BUILT_IN as PROVIDERS
from agentd_providers.registry import provider_names
from tests.installed import config_schema, parse_config, sample_toml

SAMPLE = tomllib.loads(sample_toml())
OTHERS = sorted(set(PROVIDERS) - {AgentConfig().provider})
"""Built-in providers that the sample has behind comment signs."""


def taken_over(*tables: str) -> dict[str, Any]:
    """The sample with the lines of these tables, and of those below them, freed of their comment signs."""
    lines, wanted = [], False
    for line in sample_toml().splitlines():
        if heading := re.match(r"#?\[([\w.]+)\]$", line):
            wanted = f"{heading[1]}.".startswith(tuple(f"{table}." for table in tables))
        lines.append(re.sub(r"^#(?! )", "", line) if wanted else line)
    return tomllib.loads("\n".join(lines))


def validator() -> jsonschema.Draft202012Validator:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_sample_is_the_defaults_with_one_agent() -> None:
    assert parse_config(SAMPLE, {}) == Config(agents={"default": AgentConfig(settings=LocalSettings())})


def missing(cls: type, table: dict[str, Any], path: str, skip: tuple[str, ...] = ()) -> list[str]:
    found = []
    for setting in settings_of(cls):
        if setting.name in skip:
            continue
        where = f"{path}.{setting.name}"
        if setting.name not in table:
            found.append(where)
        elif attrs.has(setting.type):
            found += missing(setting.type, table[setting.name], where)
    return found


def test_every_setting_is_in_the_sample() -> None:
    agent = SAMPLE["agents"]["default"]
    assert missing(Config, SAMPLE, "", skip=("agents", "tools")) == []
    assert missing(AgentConfig, agent, "agents.default", skip=("settings",)) == []
    assert missing(LocalSettings, agent["local"], "agents.default.local") == []


def test_every_tool_is_in_the_sample_behind_comment_signs() -> None:
    tools = taken_over("tools")["tools"]
    assert set(tools) == set(BUILT_IN)
    for name, kind in BUILT_IN.items():
        assert missing(ToolConfig, tools[name], f"tools.{name}", skip=("settings",)) == []
        assert missing(kind.settings, tools[name].get(name, {}), f"tools.{name}.{name}") == []


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_of_another_provider_is_in_the_sample_behind_comment_signs(name: str) -> None:
    assert f"example_{name}" not in SAMPLE["agents"]
    agent = taken_over(f"agents.example_{name}")["agents"][f"example_{name}"]
    assert missing(PROVIDERS[name].settings, agent[name], f"agents.example_{name}.{name}") == []


@pytest.mark.parametrize("names", [*([name] for name in OTHERS), OTHERS])
def test_the_lines_of_a_provider_taken_over_are_an_agent_with_its_defaults(names: list[str]) -> None:
    raw = taken_over(*(f"agents.example_{name}" for name in names))
    validator().validate(raw)
    agents = parse_config(raw, {}).agents
    assert set(agents) == {"default", *(f"example_{name}" for name in names)}
    for name in names:
        settings = PROVIDERS[name].settings()
        assert agents[f"example_{name}"] == AgentConfig(provider=name, fallback=["default"], settings=settings)


def test_a_provider_s_table_may_be_taken_over_alone() -> None:
    raw = {"agents": {"a": {"provider": "pipeline", "pipeline": {}}}}
    sample = taken_over("agents.example_pipeline.pipeline.speak_openai")["agents"]["example_pipeline"]
    raw["agents"]["a"]["pipeline"] = sample["pipeline"]
    assert parse_config(raw, {}).agents["a"] == AgentConfig("pipeline", settings=PROVIDERS["pipeline"].settings())


def undocumented(cls: type, skip: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{cls.__name__}.{setting.name}"
        for setting in settings_of(cls)
        if setting.name not in skip and not setting.doc and not attrs.has(setting.type)
    ] + [name for setting in settings_of(cls) if attrs.has(setting.type) for name in undocumented(setting.type)]


def test_every_setting_says_what_it_is_for() -> None:
    assert undocumented(Config, skip=("agents", "tools")) == []
    assert undocumented(AgentConfig, skip=("settings",)) == []
    assert [name for provider in PROVIDERS.values() for name in undocumented(provider.settings)] == []
    assert undocumented(ToolConfig, skip=("settings",)) == []
    assert [name for kind in BUILT_IN.values() for name in undocumented(kind.settings)] == []


def test_every_setting_stands_below_its_description() -> None:
    lines = sample_toml().splitlines()
    choices = [*(f'#provider = "{name}"' for name in OTHERS), '#fallback = ["default"]']
    for before, line in pairwise(lines):
        if re.match(r"#?\w+ = ", line) and line not in choices:
            assert before.startswith("# "), line


def test_the_commands_that_the_sample_names_exist() -> None:
    (subparsers,) = [action for action in _parser()._actions if isinstance(action.choices, dict)]
    named = set(re.findall(r"`agentd ([\w-]+)", sample_toml()))
    assert named
    assert named <= set(subparsers.choices or ())


def test_no_secret_has_a_place_in_the_file() -> None:
    settings = re.findall(r"^#?(\w+) = ", sample_toml(), flags=re.MULTILINE)
    assert {"request_timeout", "keyterms", "secret_headers"} <= set(settings)
    settings.remove("secret_headers")  # the names of secrets
    assert not [name for name in settings if re.search(r"password|secret|token$|key$", name)]


# --- the JSON Schema


def test_the_json_schema_accepts_the_sample() -> None:
    validator().validate(SAMPLE)


def test_the_json_schema_accepts_the_shortest_configuration() -> None:
    validator().validate({"agents": {"reception": {}}})


@pytest.mark.parametrize(
    "raw",
    [
        {"asterik": {}},
        {"audiosocket": {"prot": 1}},
        {"audiosocket": {"port": "8090"}},
        {"audiosocket": {"allow": "10.0.0.0/8"}},
        {"calls": {"default_media": "pigeon"}},
        {"logging": {"transcripts": 1}},
        {"agents": {"a": {"greting": "Hi"}}},
        {"agents": {"a": {"local": {"sst": {}}}}},
        {"agents": {"a": {"local": {"stt": {"engine": "vsok"}}}}},
        {"agents": 5},
        {"tools": {"a": {"knid": "hang_up"}}},
        {"tools": {"a": {"transfer": {"destinations": {"sales": 200}}}}},
        {"tools": {"a": {"http_request": {"method": "PATCH"}}}},
    ],
)
def test_the_json_schema_rejects_typos_and_wrong_types(raw: dict[str, Any]) -> None:
    assert not validator().is_valid(raw)


def test_the_json_schema_s_defaults_are_those_of_the_sample() -> None:
    def check(schema: dict[str, Any], table: dict[str, Any]) -> None:
        for name, entry in schema["properties"].items():
            if "properties" in entry:
                check(entry, table[name])
            elif "default" in entry:
                assert table[name] == entry["default"], name

    schema = config_schema()
    agent = schema["properties"].pop("agents")["additionalProperties"]
    for provider in set(provider_names()) - {AgentConfig().provider}:  # the sample has the default one's settings
        del agent["properties"][provider]
    check(schema, SAMPLE)
    check(agent, SAMPLE["agents"]["default"])
