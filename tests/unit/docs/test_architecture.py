"""docs/architecture.md is a map of what there is: every module and test that it names exists."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd_providers.registry import BUILT_IN

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FILES = [
    str(path.relative_to(ROOT))
    for part in ("agentd", "providers", "tests")
    for path in sorted((ROOT / part).rglob("*.py"))
]


def test_every_module_and_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"(?<![\w/.])([\w/]+\.py)\b", PAGE))
    assert len(named) > 80
    assert [name for name in sorted(named) if not any(f"/{file}".endswith(f"/{name}") for file in FILES)] == []


def test_every_provider_is_on_the_map() -> None:
    for name in BUILT_IN:
        assert f"`{name}`" in PAGE


STAIRS = re.split(r"^\*\*The stair of", PAGE, flags=re.M)[1:]
HOUSES = (ROOT / "agentd", ROOT / "providers" / "agentd_providers")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]


def rows(stair: str) -> Iterator[tuple[list[str], set[str]]]:
    """The rooms of each row of a stair's table, and the modules that it names."""
    for row in re.findall(r"^\| (`.*) \|$", stair.split("\n\n**")[0], re.M):
        rooms, *_, modules = row.split(" | ")
        yield re.findall(r"`([\w/]+)`", rooms), set(re.findall(r"`(\w+)`", modules))


@pytest.mark.parametrize(("house", "stair"), list(zip(HOUSES, STAIRS, strict=True)), ids=["agentd", "providers"])
def test_every_module_is_on_the_map_in_its_room(house: Path, stair: str) -> None:
    told = dict[str, set[str]]()
    for rooms, modules in rows(stair):
        for room in rooms:
            if (house / room).is_dir():
                told[room] = modules
            else:
                told.setdefault(".", set()).add(room)
    found = dict[str, set[str]]()
    for path in house.rglob("*.py"):
        if path.stem == "__main__" or not path.stem.startswith("_"):
            found.setdefault(str(path.parent.relative_to(house)), set()).add(path.stem)
    assert told == found


@pytest.mark.parametrize(("stair", "name"), list(zip(STAIRS, ("agentd", "the providers"), strict=True)))
def test_the_map_has_the_order_of_the_contract(stair: str, name: str) -> None:
    (contract,) = (each for each in CONTRACTS if each["name"] == f"The stair of {name}")
    step = {room: number for number, layer in enumerate(contract["layers"]) for room in re.findall(r"\w+", layer)}
    told = [room for rooms, _ in rows(stair) for room in rooms if "/" not in room]
    assert sorted(told) == sorted(step)
    assert [step[room] for room in told] == sorted(step[room] for room in told)


def test_the_words_are_in_order_and_each_is_told_once() -> None:
    words = re.findall(r"^\| ([a-z -]+) \|", PAGE[PAGE.index("\n## Words") :], re.M)[1:]
    assert words == sorted(set(words))
    assert 20 <= len(words) <= 31


@pytest.mark.parametrize(
    ("name", "side", "but"),
    [
        (
            "Only who assembles knows the providers",
            "source_modules",
            {"__main__", "cli", "doctor", "service", "testing"},
        ),
        ("What runs on a host knows no tests", "source_modules", {"testing"}),
    ],
)
def test_a_contract_that_lists_rooms_has_all_of_them(name: str, side: str, but: set[str]) -> None:
    """import-linter has no word for "all but": a new room would be held by none of these."""
    (contract,) = (each for each in CONTRACTS if each["name"].startswith(name))
    rooms = {
        path.stem for path in (ROOT / "agentd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    listed = {module.removeprefix("agentd.") for module in contract[side] if module != "agentd_providers"}
    assert listed == rooms - but - {"__init__"}
