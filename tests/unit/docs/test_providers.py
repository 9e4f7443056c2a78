"""docs/providers.md says what is so: its example is the example's own file, and its tables leave nothing out."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from agentd import session_events
from agentd.agent import Agent, AgentSession, Capabilities
from agentd_providers import registry
from agentd_providers.pipeline import stages
from tests.installed import parse_config

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "providers.md").read_text("utf-8")
PARROT = ROOT / "tests" / "parrot"
CODE = (PARROT / "agentd_parrot" / "__init__.py").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def members(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def test_the_example_is_the_packages_own_file() -> None:
    assert blocks("python")[0] == CODE


def test_the_example_is_as_short_as_the_page_says() -> None:
    assert "less than 100 lines" in PAGE
    assert len([line for line in CODE.splitlines() if line.strip()]) < 100


def test_the_entry_point_is_the_packages_own() -> None:
    shown = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    package = tomllib.loads((PARROT / "pyproject.toml").read_text("utf-8"))["project"]
    assert shown == package["entry-points"]
    assert list(shown) == [registry.ENTRY_POINT_GROUP]
    assert package["license"] == "Apache-2.0"


def test_the_configuration_that_is_shown_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.parrot.agentd_parrot import PROVIDER, Settings

    monkeypatch.setitem(registry.BUILT_IN, "parrot", PROVIDER)  # type: ignore[arg-type]
    polly = parse_config(tomllib.loads(blocks("toml")[1]), {}).agents["polly"]
    assert polly.settings == Settings(quiet_ms=500)


@pytest.mark.parametrize("name", members(AgentSession))
def test_everything_that_a_session_has_is_explained(name: str) -> None:
    assert f"`{name}" in PAGE or name in ("capabilities", "events")


@pytest.mark.parametrize("name", members(Agent))
def test_everything_that_an_agent_has_is_explained(name: str) -> None:
    assert f"`Agent.{name}" in PAGE


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Capabilities)])
def test_every_capability_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("event", session_events.SessionEvent.__args__)
def test_every_event_is_explained(event: type) -> None:
    assert f"`{event.__name__}`" in PAGE


@pytest.mark.parametrize("stage", [each for each in vars(stages).values() if getattr(each, "_is_protocol", False)])
def test_every_stage_is_explained(stage: type) -> None:
    if stage.__module__ == stages.__name__:
        assert f"`{stage.__name__}`" in PAGE
        for name in members(stage):
            assert f"`{name}" in PAGE, name


def test_what_a_provider_tells_is_explained() -> None:
    names = ", ".join(field.name for field in attrs.fields(registry.Provider))
    assert f"`Provider({names})`" in PAGE
