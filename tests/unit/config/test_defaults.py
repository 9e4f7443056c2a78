"""Defaults live in the configuration: what is made of it repeats none, so that the two cannot come apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from agentd.config import settings
from agentd_providers.turns.settings import TurnSettings

ROOT = Path(__file__).parents[3]
SETTINGS = [kind for kind in vars(settings).values() if attrs.has(kind) and kind.__module__ == settings.__name__]
NAMES = {field.name for kind in (*SETTINGS, TurnSettings) for field in attrs.fields(kind)}
ROOMS = [ROOT / "agentd" / room for room in ("ari", "audiosocket", "calls", "conversation", "media", "playback")]
ROOMS += [ROOT / "agentd" / room for room in ("service", "serving", "tools")]
ROOMS += [ROOT / "providers" / "agentd_providers" / "turns"]
ALLOWED = ("init=False", "factory=dict")
"""An object's own state, and what it has none of."""


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef) and any("attrs" in ast.unparse(each) for each in node.decorator_list):
            yield node


def _repeated(path: Path) -> Iterator[str]:
    """The fields that are named as a setting and have a default, though whoever makes the object gives them."""
    for kind in _classes(path):
        for field in kind.body:
            match field:
                case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as default) if name in NAMES:
                    if not any(allowed in ast.unparse(default) for allowed in ALLOWED):
                        yield f"{kind.name}.{name}"


def _holds_settings(path: Path) -> bool:
    """Whether the module describes settings of its own, as a kind of tools does: there their defaults belong."""
    return "Annotated[" in path.read_text("utf-8")


MODULES = [path for room in ROOMS for path in sorted(room.rglob("*.py")) if not _holds_settings(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_repeats_no_default_of_the_configuration(path: Path) -> None:
    assert list(_repeated(path)) == []
