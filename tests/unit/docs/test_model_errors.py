"""What the troubleshooting page quotes of a language model's failures is what agentd says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECTION = "## The language model says nothing, not all, or something else\n"
SOURCE = "".join(
    path.read_text("utf-8")
    for room in ("openai", "pipeline")
    for path in sorted((ROOT / "providers" / "agentd_providers" / room).rglob("*.py"))
) + (ROOT / "agentd" / "calls" / "voice.py").read_text("utf-8")


def test_every_line_that_the_page_quotes_is_one_that_agentd_writes() -> None:
    page = (ROOT / "docs" / "troubleshoot.md").read_text("utf-8")
    table = page.split(SECTION)[1].split("\n## ")[0]
    quoted = [
        quote
        for row in re.findall(r"^\| (.*?) \|", table, re.M)
        for quote in re.findall("`([^`]+)`", row)
        if not quote.startswith(("HTTP", "</"))
    ]
    assert len(quoted) > 15
    source = " ".join(re.sub(r'"\s*\n\s*f?"', "", SOURCE).split()).replace("{SERVER}", "the language model's server")
    for quote in quoted:
        said = quote.partition(": HTTP")[0]
        assert said in source, quote
