"""docs/providers.md says what is so: its example is the example's own file, and its tables leave nothing out."""

import ast
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import attrs
import pytest

from agentd import plugins, session_events
from agentd.agent import Agent, AgentSession, Capabilities
from agentd_providers import registry, stage_registry
from agentd_providers.pipeline import rows, stages
from agentd_providers.pipeline_settings import PipelineAgentSettings
from tests.installed import parse_config
from tests.parrot.agentd_parrot.agent import Settings
from tests.parrot.agentd_parrot.stage import WhistleSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "providers.md").read_text("utf-8")
PARROT = ROOT / "tests" / "parrot"
MODULES = [path for path in sorted((PARROT / "agentd_parrot").glob("*.py")) if path.name != "__init__.py"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def members(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_the_example_is_the_packages_own_files(module: Path) -> None:
    assert module.read_text("utf-8") in blocks("python")


def test_the_entry_points_are_the_packages_own() -> None:
    shown = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    package = tomllib.loads((PARROT / "pyproject.toml").read_text("utf-8"))["project"]
    assert shown == package["entry-points"]
    assert list(shown) == [registry.ENTRY_POINT_GROUP, stage_registry.ENTRY_POINT_GROUP]
    assert package["license"] == "Apache-2.0"


# --- what a package may import


def imported(code: str) -> set[str]:
    """The modules of agentd that code imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if find_module(name) else node.module for name in below}
    return {name for name in found if name.partition(".")[0] in ("agentd", "agentd_providers")}


def find_module(name: str) -> bool:
    """Whether a module of agentd has this name."""
    path = Path(*name.split("."))
    candidates = (ROOT / path, ROOT / "providers" / path)
    return any(each.with_suffix(".py").is_file() or (each / "__init__.py").is_file() for each in candidates)


def public() -> set[str]:
    """The modules that the page lists."""
    (table,) = re.findall(r"^## What a package may import\n(.*?)^## ", PAGE, re.M | re.S)
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_every_module_that_is_listed_exists() -> None:
    assert len(public()) > 20
    assert [name for name in sorted(public()) if not find_module(name)] == []


TESTS = sorted((PARROT / "tests").glob("*.py"))


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=lambda module: module.name)
def test_the_example_imports_what_is_listed_and_nothing_else(module: Path) -> None:
    assert imported(module.read_text("utf-8")) - public() == set()


def test_the_page_s_own_code_and_words_name_nothing_else() -> None:
    assert {name for block in blocks("python") for name in imported(block)} <= public()
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S)
    named = set(re.findall(r"`(agentd(?:_providers)?(?:\.[a-z_0-9]+)+)", prose)) - {
        registry.ENTRY_POINT_GROUP,
        stage_registry.ENTRY_POINT_GROUP,
    }
    modules = {name if find_module(name) else name.rpartition(".")[0] for name in named}
    assert modules - public() == set()


def test_the_tools_page_imports_what_is_listed() -> None:
    page = (ROOT / "docs" / "tools.md").read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
        assert imported(block) <= public()


# --- the configuration


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's package, as if it were installed."""
    groups = tomllib.loads((PARROT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    points = {
        group: {name: EntryPoint(name, f"tests.parrot.{value}", group) for name, value in names.items()}
        for group, names in groups.items()
    }
    monkeypatch.setattr(plugins, "installed", lambda group: points.get(group, {}))


@pytest.mark.usefixtures("parrot")
def test_the_configuration_that_is_shown_is_accepted() -> None:
    polly = parse_config(tomllib.loads(blocks("toml")[1]), {}).agents["polly"]
    assert polly.settings == Settings(quiet_ms=500)
    whistler = parse_config(tomllib.loads(blocks("toml")[2]), {}).agents["whistler"]
    assert isinstance(whistler.settings, PipelineAgentSettings)
    assert whistler.settings.chosen("speak").settings == WhistleSettings(pitch_hz=900)


@pytest.mark.usefixtures("parrot")
def test_the_configuration_of_the_package_s_readme_is_accepted() -> None:
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", (PARROT / "README.md").read_text("utf-8"), re.M | re.S)
    assert set(parse_config(tomllib.loads(shown), {}).agents) == {"polly", "whistler"}


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


@pytest.mark.parametrize("row", [rows.ListenStage, rows.ThinkStage, rows.SpeakStage])
def test_what_a_stage_tells_is_explained(row: type) -> None:
    first, second, *others = [field.name for field in attrs.fields(row)]
    assert f"`{row.__name__}({first}, {second})`" in PAGE
    assert [name for name in others if f"`{name}=" not in PAGE] == []
