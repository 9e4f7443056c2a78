"""Finds the deadlines that are not in the table: `python -m tests.lab.deadline_lint`, a part of `just lint`.

A deadline is what a scope of Trio's is given (`fail_after`, `move_on_at`, `CancelScope(deadline=...)`, an assignment to
`.deadline`), or what a library takes as its `timeout`. What it is computed from must be a row of agentd.deadlines, a
constant that is made of one, or a place in PASSED. What the table has and the code does not is found as well.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from agentd.deadlines import PASSED, TABLE, Clock, Deadline, Row

ROOT = Path(__file__).parents[2]
HOUSES = {"agentd": ROOT / "agentd", "agentd_providers": ROOT / "providers" / "agentd_providers"}
NOT_OURS = ("agentd.testing", "agentd.deadlines")
"""The tests' telephone, whose patience is that of a test; and the table itself."""
SCOPES = ("fail_after", "move_on_after", "fail_at", "move_on_at")
LIBRARIES = ("Timeout", "AsyncClient", "Client", "AsyncOpenAI", "open_worker_context", "run", "wait", "communicate")
TAKEN = ("deadline", "relative_deadline", "seconds", "timeout", "connect", "grace_period")
ARITHMETIC = ("min", "max", "float", "trio.current_time", "httpx.Timeout")
CONSTANTS = ("math.inf", "None")


@attrs.frozen
class Found:
    """A deadline in the code: the line, the call or assignment, and what it is computed from."""

    module: str
    line: int
    what: str
    sources: tuple[str, ...]


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of agentd and its providers, by name."""
    for house, folder in HOUSES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((house, *(part for part in parts if part != "__init__")))
            if not name.startswith(NOT_OURS):
                yield name, ast.parse(path.read_text("utf-8"))


def found(module: str, tree: ast.Module) -> Iterator[Found]:
    """The deadlines of one module."""
    for node in ast.walk(tree):
        for given in _given(node):
            yield Found(module, given.lineno, ast.unparse(node).split("\n")[0][:100], tuple(_sources(given)))


def _given(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            if name in SCOPES:
                yield from node.args[:1]
            if name == "Timeout":
                yield from node.args
            if name in (*SCOPES, *LIBRARIES, "CancelScope"):
                yield from (each.value for each in node.keywords if each.arg in TAKEN)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                pairs = [(target, value)]
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs = list(zip(target.elts, value.elts, strict=True))
                yield from (right for left, right in pairs if _is_deadline(left))


def _is_deadline(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and target.attr in ("deadline", "relative_deadline")


def _sources(node: ast.expr) -> Iterator[str]:
    """What an expression is computed from: names and attributes as they are written, calls and numbers too."""
    match node:
        case ast.Name() | ast.Attribute():
            yield ast.unparse(node)
        case ast.Constant(value=0) | ast.Constant(value=None):
            pass
        case ast.Call(func=func) if ast.unparse(func) in ARITHMETIC:
            for each in (*node.args, *(keyword.value for keyword in node.keywords)):
                yield from _sources(each)
        case ast.Call(func=ast.Attribute(value=row, attr="of")):
            yield ast.unparse(row)
        case ast.BinOp(left=left, right=right):
            yield from _sources(left)
            yield from _sources(right)
        case _:
            yield ast.unparse(node)


def constants(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """By module, the names of constants that are rows' seconds: its own, and those that it imports."""
    known: dict[str, set[str]] = {}
    for module, tree in trees.items():
        known[module] = {name for name, value in _assigned(tree) if _is_made_of_rows(value)}
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module in known:
                theirs = known[node.module]
                known[module] |= {each.asname or each.name for each in node.names if each.name in theirs}
    return known


def _is_made_of_rows(value: ast.expr) -> bool:
    sources = list(_sources(value))
    return bool(sources) and all(row_of(source) is not None for source in sources)


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                yield name, value


def row_of(source: str) -> Row | None:
    """The row that `deadlines.NAME.seconds` and the like name."""
    match source.split("."):
        case ["deadlines", name, *rest] if rest in ([], ["seconds"], ["most"]):
            return TABLE.get(name)
    return None


def strays(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """What the code has and the table has not, and the other way round: a line each."""
    known, used = constants(trees), set[str]()
    for module, tree in trees.items():
        for each in found(module, tree):
            for source in each.sources:
                place = f"{module}: {source}"
                if place in PASSED:
                    used.add(place)
                elif row_of(source) is None and source not in known[module] and source not in CONSTANTS:
                    yield f"{module}:{each.line}: {each.what}: {source} is no row of agentd.deadlines, nor made of one"
    yield from (f"agentd.deadlines.PASSED: there is no {place!r} any more" for place in PASSED if place not in used)
    yield from (f"agentd.deadlines.{name}: nothing uses it" for name in _unused(trees))


def _unused(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Rows that nothing refers to. Settings and units are not asked about: the configuration reads them, or systemd."""
    code = {
        node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "deadlines"
    }
    passed = {row for rows in PASSED.values() for row in rows}
    yield from (
        name
        for name, row in TABLE.items()
        if isinstance(row, Deadline | Clock) and name not in code and row not in passed
    )


def main() -> int:
    """Print what is wrong; the exit status tells whether anything is."""
    lines = list(strays(dict(modules())))
    print("\n".join(lines) or "Every deadline is in the table.")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
