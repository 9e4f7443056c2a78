"""docs/architecture.md is a map of what there is: every module and test that it names exists."""

import re
from pathlib import Path

from providers.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
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
    imported = re.findall(r"^from agentd\.(\w+) import", (ROOT / "agentd" / "call.py").read_text(), re.M)
    imported += re.findall(r"^from agentd\.(\w+) import", (ROOT / "agentd" / "session_keeper.py").read_text(), re.M)
    trifles = {"agent", "call_events", "commands", "dialplan", "dtmf", "errors", "figures", "leg", "metrics"}
    assert [name for name in sorted(set(imported) - trifles) if f"{name}.py" not in PAGE] == []
