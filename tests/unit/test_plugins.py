"""What installed packages add is found by name; one that is broken is told by its name and stops nobody else."""

from importlib.metadata import EntryPoint

import attrs
import pytest

from agentd import plugins
from agentd.errors import ConfigError
from agentd.plugins import Registry


@attrs.frozen
class Bird:
    name: str


HERE = f"{Bird.__module__}"
BIRDS = Registry("bird", "agentd.birds", Bird, {"owl": Bird("owl"), "crow": Bird("crow")})


def points(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Have entry points whose modules give these values, or raise them."""

    class Point(EntryPoint):
        def load(self) -> object:
            value = values[self.name]
            if isinstance(value, BaseException):
                raise value
            return value

    found = {name: Point(name, f"aviary:{name.upper()}", "agentd.birds") for name in values}
    monkeypatch.setattr(plugins, "installed", lambda group: found if group == "agentd.birds" else {})


def test_what_is_built_in_and_what_is_installed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, parrot=Bird("parrot"))
    assert BIRDS.names() == ("crow", "owl", "parrot")
    assert [BIRDS.find(name) for name in BIRDS.names()] == [Bird("crow"), Bird("owl"), Bird("parrot")]


def test_a_package_does_not_replace_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, owl=Bird("an impostor"))
    assert BIRDS.names() == ("crow", "owl")
    assert BIRDS.find("owl") == Bird("owl")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("parot", "there is no bird 'parot'; did you mean 'parrot'?"),
        ("penguin", "there is no bird 'penguin'; there are: crow, owl, parrot"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_or_with_all(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points(monkeypatch, parrot=Bird("parrot"))
    with pytest.raises(ConfigError) as refused:
        BIRDS.find(name)
    assert str(refused.value) == told


def test_an_entry_point_that_is_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, parrot="a parrot")
    with pytest.raises(ConfigError) as refused:
        BIRDS.find("parrot")
    assert str(refused.value) == f"the entry point aviary:PARROT of the bird 'parrot' is no {HERE}.Bird"


@pytest.mark.parametrize("error", [ImportError("no seeds"), SyntaxError("beak"), KeyError("wing"), SystemExit(1)])
def test_whatever_a_broken_package_raises_is_told_by_its_name(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    points(monkeypatch, parrot=error)
    with pytest.raises(ConfigError) as refused:
        BIRDS.find("parrot")
    assert str(refused.value) == (
        f"the entry point aviary:PARROT of the bird 'parrot' cannot be loaded: {type(error).__name__}: {error}"
    )
    assert BIRDS.find("owl") == Bird("owl")
