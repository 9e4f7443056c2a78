"""The dialplans that we give away: what a caller chooses reaches no application as it came.

Asterisk's README-SERIOUSLY.bestpractices.md, "Filtering data": a pattern that ends in . or ! takes any characters, and
an application would take a comma or a parenthesis among them for its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = [*sorted((ROOT / "asterisk_conf").glob("*.conf")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
STEP = re.compile(r"^[;\s]*(?:exten\s*=>\s*(?P<extension>[^,]+),[^,]+,|same\s*=>\s*[^,]+,)(?P<application>.*)$", re.M)
FILTERED = re.compile(r"\$\{FILTER\([^,${}]+,\$\{(?:EXTEN|CALLERID\(\w+\))(?::\d+)*\}\)\}")
# A presentation is one of Asterisk's own words, whatever the caller sends (main/callerid.c, `pres_types`).
OF_THE_CALLER = re.compile(
    r"\$\{(?:CALLERID(?!\((?:num-|name-)?pres\))|CONNECTEDLINE|CALLERPRES|SIP_HEADER|PJSIP_HEADER|DNID)\b"
)


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The extension and the application of each step, in examples among comments too."""
    extension = ""
    for step in STEP.finditer(text):
        extension = step["extension"] or extension
        yield extension, step["application"]


def unfiltered(text: str) -> list[str]:
    """The applications that get what a caller chose as it came."""
    found = []
    for extension, application in steps(text):
        rest = FILTERED.sub("", application)
        wild = extension.startswith("_") and extension.endswith((".", "!"))
        if (wild and "${EXTEN" in rest) or OF_THE_CALLER.search(rest):
            found.append(application)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_a_wildcard_takes_or_a_caller_says_reaches_no_application_unfiltered(path: Path) -> None:
    assert unfiltered(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "exten => _X.,1,Gosub(agentd-call,${EXTEN},1(a,external))",
        ";   exten => _[0-9a-f]!,1,Answer()\n same => n,Set(X=${EXTEN:0:8})",
        "exten => 7000,1,Set(X=${CALLERID(name)})",
        "exten => _X.,1,Dial(PJSIP/${FILTER(0-9,${EXTEN})}-${EXTEN})",
    ],
)
def test_an_example_that_filters_nothing_would_be_found(text: str) -> None:
    assert len(unfiltered(text)) == 1


def test_the_examples_are_read() -> None:
    read = [step for path in FILES for step in steps(path.read_text("utf-8"))]
    assert len(read) > 40
    assert any(FILTERED.search(application) for _, application in read)
