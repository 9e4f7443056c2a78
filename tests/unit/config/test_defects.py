"""What installed packages bring is asked for data only, and may raise anything: it is named, nothing else suffers."""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest

from agentd.cli import check
from agentd.config.catalogue import Catalogue, Choices
from agentd.config.file import parse_config
from agentd.config.settings import Config, ToolConfig
from agentd.errors import ConfigError
from agentd.plugins import blaming
from agentd.service.catalogue import installed_catalogue
from agentd.tools import registry as tools
from agentd.tools.contract import ToolKind
from agentd.tools.registry import Toolbox, missing_secrets
from agentd_providers.registry import Provider


@attrs.frozen
class Contrary:
    """A settings class that cannot even say what is wrong."""

    def impossible(self, *_given: str) -> Iterator[tuple[str, str]]:
        yield "volume", "too loud"
        raise ZeroDivisionError("a defect")


def with_packages(**sorts: Choices) -> Catalogue:
    return attrs.evolve(installed_catalogue(), **sorts)


def test_a_provider_s_settings_that_raise_are_a_refused_configuration() -> None:
    catalogue = with_packages(providers=Choices("provider", {"parrot": Contrary}))
    with pytest.raises(ConfigError, match="the provider 'parrot' has a defect: ZeroDivisionError: a defect"):
        parse_config({"agents": {"polly": {"provider": "parrot"}}}, {}, catalogue)


def test_a_tool_s_settings_that_raise_are_a_refused_configuration() -> None:
    catalogue = with_packages(tools=Choices("kind of tools", {"whistle": Contrary}))
    raw = {"agents": {"sales": {"tools": ["tune"]}}, "tools": {"tune": {"kind": "whistle"}}}
    with pytest.raises(ConfigError, match="the kind of tools 'whistle' has a defect: ZeroDivisionError: a defect"):
        parse_config(raw, {}, catalogue)


def test_a_package_s_kind_that_nobody_uses_may_be_broken() -> None:
    catalogue = with_packages(tools=Choices("kind of tools", {"whistle": Contrary}))
    assert parse_config({"agents": {"sales": {}}}, {}, catalogue).agents


def raises(*_given: Any) -> Any:
    raise KeyError("a defect")


@pytest.mark.parametrize("member", ["make", "secrets"])
def test_a_kind_of_tools_that_raises_is_a_refused_configuration(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = attrs.evolve(tools.BUILT_IN["hang_up"], **{member: raises})
    assert isinstance(kind, ToolKind)
    monkeypatch.setattr(tools, "find_kind", lambda name: kind)
    config = Config(tools={"bye": ToolConfig("farewell")})
    ask: Any = Toolbox.of if member == "make" else lambda config: [*missing_secrets(config)]
    with pytest.raises(ConfigError, match="the kind of tools 'farewell' has a defect: KeyError"):
        ask(config)


def test_a_provider_that_cannot_say_whether_it_takes_tools_is_named_by_check(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @attrs.frozen
    class Plain:
        pass

    class Point:
        value = "agentd_parrot:PROVIDER"

        @staticmethod
        def load() -> Provider:
            return Provider(Plain, raises, takes_tools=raises)

    groups: dict[str, dict[str, object]] = {"agentd.providers": {"parrot": Point()}}
    monkeypatch.setattr("agentd.plugins.installed", lambda group: groups.get(group, {}))
    file = tmp_path / "agent.toml"
    file.write_text("[agents.polly]\nprovider = 'parrot'\ntools = ['hang_up']\n")
    arguments = type("Arguments", (), {"config": file})
    with pytest.raises(ConfigError, match="the provider 'parrot' has a defect: KeyError"):
        check(arguments)  # type: ignore[arg-type]


def test_a_package_that_calls_for_the_end_is_named_too() -> None:
    with pytest.raises(ConfigError, match=r"^the parrot has a defect: SystemExit: 3$"), blaming("the parrot"):
        raise SystemExit(3)


def test_its_own_complaint_is_passed_on() -> None:
    def complain() -> Sequence[str]:
        raise ConfigError("no feathers")

    with pytest.raises(ConfigError, match=r"^no feathers$"), blaming("the parrot"):
        complain()
