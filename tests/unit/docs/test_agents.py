"""docs/agents.md says what is so: each of its files is one that agentd takes, and nothing built in is left out."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from agentd_providers.registry import BUILT_IN
from agentd_providers.stage_registry import KINDS, stage_names
from tests.installed import config_schema, parse_config

PAGE = (Path(__file__).parents[3] / "docs" / "agents.md").read_text("utf-8")
SECTIONS = {
    heading: body
    for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    if "```toml" in body
}
STAGES = {name for kind in KINDS for name in stage_names(kind)}
FILES = {heading: re.findall(r"^```toml\n(.*?)^```", body, re.M | re.S) for heading, body in SECTIONS.items()}


@pytest.mark.parametrize("heading", FILES)
def test_each_need_has_one_file_that_the_check_finds_good(heading: str) -> None:
    (file,) = FILES[heading]
    assert parse_config(tomllib.loads(file), {}).default_agent


@pytest.mark.parametrize("heading", FILES)
def test_the_tables_of_a_file_are_those_of_its_agents_providers(heading: str) -> None:
    config = parse_config(tomllib.loads(FILES[heading][0]), {})
    for name, raw in tomllib.loads(FILES[heading][0])["agents"].items():
        assert not (set(raw) & set(BUILT_IN)) - {config.agents[name].provider}


def test_every_built_in_provider_has_a_file() -> None:
    configs = [parse_config(tomllib.loads(files[0]), {}) for files in FILES.values()]
    assert {agent.provider for config in configs for agent in config.agents.values()} == set(BUILT_IN)


def test_every_kind_of_stage_is_named() -> None:
    for name in STAGES:
        assert f"`{name}`" in PAGE


def test_an_agent_that_depends_on_a_network_names_a_fall_back() -> None:
    for files in FILES.values():
        config = parse_config(tomllib.loads(files[0]), {})
        for agent in config.agents.values():
            assert agent.fallback or agent.provider == "local"


def test_the_extensions_name_agents_that_there_are() -> None:
    (dialplan,) = [block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.M | re.S) if not kind]
    named = re.findall(r"Gosub\(agentd-call,\$\{EXTEN\},1\((\w+),(?:external|fork)\)\)", dialplan)
    assert len(named) == dialplan.count("Gosub(")
    assert set(named) <= set(tomllib.loads(FILES["Several agents"][0])["agents"])


def settings_named(schema: dict[str, object]) -> set[str]:
    """Every name of a table or a setting."""
    properties = schema.get("properties")
    entries = dict(properties) if isinstance(properties, dict) else {}
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        entries[""] = more
    return {*entries, *(name for entry in entries.values() for name in settings_named(entry))}


def test_every_setting_that_the_page_names_exists() -> None:
    known = settings_named(config_schema())
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S)
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)(?: = [^`]*)?`", prose)
    assert "vendor_answers" in {part for name in named for part in name.split(".")}
    others = {*STAGES, *BUILT_IN, "agent.toml"} | {name for name in named if name.startswith("agentd_")}
    for name in set(named) - others:
        assert set(name.split(".")) <= known, name


def test_what_an_agent_may_set_is_told_apart_by_who_serves() -> None:
    """Every setting of an agent is either that of the agent that was called or of the one that serves."""
    from agentd.config.settings import AgentConfig

    (row,) = re.findall(r"^\| (`greeting`, .*?) \|$", PAGE, re.M)
    told = row + "`provider` `settings` `greeting_interruptible` `failure_announcement` `shutdown_announcement`"
    for field in attrs.fields(AgentConfig):
        assert f"`{field.name}`" in told or f".{field.name}]`" in told, field.name


def test_links_lead_somewhere() -> None:
    docs = Path(__file__).parents[3] / "docs"
    for page, anchor in re.findall(r"\]\(([a-z-]*\.?m?d?)(?:#([a-z-]+))?\)", PAGE):
        text = (docs / page).read_text("utf-8") if page else PAGE
        headings = {
            re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.M)
        }
        assert not anchor or anchor in headings, (page, anchor)
