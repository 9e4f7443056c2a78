"""A module that calls itself pure is held to it: the lint's contract lists it, or the room that it is in."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
[PURE] = [contract for contract in CONTRACTS if contract["name"] == "Pure places do no I/O"]


def _modules() -> dict[str, Path]:
    named = {}
    for package in (ROOT / "agentd", ROOT / "providers" / "agentd_providers"):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            named[".".join(parts).removesuffix(".__init__")] = path
    return named


MODULES = _modules()
SAY_SO = sorted(
    name
    for name, path in MODULES.items()
    if re.search(r"\bpure\b", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "", re.IGNORECASE)
)


def test_many_modules_are_pure() -> None:
    assert len(SAY_SO) > 30


@pytest.mark.parametrize("module", SAY_SO)
def test_a_module_that_says_that_it_is_pure_is_held_to_it(module: str) -> None:
    assert any(f"{module}.".startswith(f"{place}.") for place in PURE["source_modules"])


def test_a_pure_place_has_no_exceptions() -> None:
    assert PURE["ignore_imports"] == []


@pytest.mark.parametrize("module", ["trio", "asyncio", "threading", "socket", "subprocess", "time", "random"])
def test_a_pure_place_runs_without_a_loop_and_reads_no_clock(module: str) -> None:
    assert module in PURE["forbidden_modules"]
