"""docs/tools.md says what is so: its configuration is accepted, and its example of a package works as printed."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from agentd import plugins
from agentd.agent import CallInfo
from agentd.cli import ARI_PASSWORD, main
from agentd.errors import ConfigError
from agentd.tools import registry
from agentd.tools.contract import ToolOutcome
from agentd.tools.registry import BUILT_IN, Toolbox
from agentd.tools.runner import CallContext, Ended
from tests.installed import config_schema, parse_config, sample_toml

PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text("utf-8")
CONFIGURATION, ENTRY_POINT = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)
(PACKAGE,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's package, installed."""
    (tmp_path / "agentd_hours.py").write_text(PACKAGE)
    metadata = tmp_path / "agentd_hours-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: agentd-hours\nVersion: 1.0\n")
    ((group, points),) = tomllib.loads(ENTRY_POINT)["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.installed.cache_clear()
    yield
    plugins.installed.cache_clear()
    sys.modules.pop("agentd_hours", None)


def test_the_configuration_is_accepted() -> None:
    config = parse_config(tomllib.loads(CONFIGURATION), {})
    assert set(config.tools) == set(config.agents["default"].tools)


def test_every_kind_has_its_section() -> None:
    for kind in BUILT_IN:
        assert f"\n## {kind}\n" in PAGE


def test_every_setting_of_a_request_is_described() -> None:
    for name in config_schema()["properties"]["tools"]["additionalProperties"]["properties"]["http_request"][
        "properties"
    ]:
        assert f"| `{name}` |" in PAGE


def test_every_outcome_is_described() -> None:
    for ended in Ended:
        assert f"`{ended}`" in PAGE


class NoLine:
    """A line that the opening hours have nothing to do with."""

    async def send_dtmf(self, digits: str) -> None:
        raise AssertionError

    async def dialplan_has(self, context: str, extension: str) -> bool:
        raise AssertionError


@pytest.mark.usefixtures("package")
def test_the_package_brings_a_kind_that_needs_no_table() -> None:
    config = parse_config({"agents": {"a": {"tools": ["opening_hours"]}}}, {})
    offered = Toolbox.of(config).of_agent(config.agents["a"], ari=False)["opening_hours"]
    arguments = offered.arguments.parse('{"at": "2026-11-30T19:00"}')
    outcome = trio.run(offered.tool.run, arguments, CallContext(CallInfo("1"), NoLine()))
    assert outcome == ToolOutcome("closed")


@pytest.mark.usefixtures("package")
def test_the_package_s_settings_are_checked_and_in_the_schema() -> None:
    tables = {"hours": {"kind": "opening_hours", "opening_hours": {"opens": 20}}}
    with pytest.raises(ConfigError, match=r"tools\.hours\.opening_hours\.closes: must be later than opens"):
        parse_config({"agents": {"a": {}}, "tools": tables}, {})
    with pytest.raises(ConfigError, match=r"tools\.hours\.opening_hours\.opens: must be an hour from 0 to 24, not 25"):
        parse_config({"agents": {"a": {}}, "tools": {"hours": {**tables["hours"], "opening_hours": {"opens": 25}}}}, {})
    assert "opening_hours" in config_schema()["properties"]["tools"]["additionalProperties"]["properties"]
    assert "opening_hours" not in sample_toml()


@pytest.mark.usefixtures("package")
def test_an_entry_point_that_is_no_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import agentd_hours  # type: ignore[import-not-found]

    monkeypatch.setattr(agentd_hours, "KIND", "no kind")
    with pytest.raises(ConfigError, match="agentd_hours:KIND"):
        registry.find_kind("opening_hours")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "parameters", "complaint"),
    [("other", {"type": "object"}, "is declared as 'other'"), ("opening_hours", {"type": "array"}, "must be the JSON")],
)
def test_a_tool_that_no_model_could_use_is_told(
    name: str,
    parameters: dict[str, str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import agentd_hours

    declaration = agentd_hours.ToolDeclaration(name, "x", parameters)
    monkeypatch.setattr(
        agentd_hours,
        "KIND",
        agentd_hours.ToolKind(agentd_hours.Settings, lambda *_: agentd_hours.OpeningHours(declaration, None)),
    )
    config = parse_config({"agents": {"a": {"tools": ["opening_hours"]}}}, {})
    with pytest.raises(ConfigError, match=complaint):
        Toolbox.of(config)
    (tmp_path / "agent.toml").write_text('[agents.a]\ntools = ["opening_hours"]\n')
    assert main(["check", "--config", str(tmp_path / "agent.toml")]) == 2
    assert complaint in capsys.readouterr().err
    monkeypatch.setenv(ARI_PASSWORD, "hunter2")
    monkeypatch.setattr("agentd.service.logs.set_up_logging", lambda _settings: None)
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    assert main(["--config", str(tmp_path / "agent.toml")]) == 2, "with which systemd does not start it again"
    assert complaint in capsys.readouterr().err
