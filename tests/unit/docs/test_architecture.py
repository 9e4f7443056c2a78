"""docs/architecture.md is a map of what there is: every module and test that it names exists."""

import re
from pathlib import Path

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


def test_every_module_of_the_call_and_of_fail_over_is_on_the_map() -> None:
    """Those that a call imports: what is needed to follow one through the code."""
    imported = set[str]()
    for name in ("calls/call.py", "serving/keeper.py"):
        imported |= set(re.findall(r"^from agentd\.([\w.]+) import", (ROOT / "agentd" / name).read_text(), re.M))
    trifles = {"agent", "dialplan", "errors", "metrics", "media.dtmf", "media.leg", "calls.figures"}
    trifles |= {"conversation.events", "conversation.commands"}
    imported = {name for name in imported if (ROOT / "agentd" / f"{name.replace('.', '/')}.py").exists()}
    assert [name for name in sorted(imported - trifles) if f"{name.rpartition('.')[2]}.py" not in PAGE] == []
