"""Every page links to what is there, headings too; the pages for contributors say what they have to."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    *sorted(path for path in ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tests").rglob("*.md")),
]
DECISIONS = sorted(path for path in (ROOT / "docs/decisions").glob("*.md") if path.name != "README.md")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)\)", (ROOT / "README.md").read_text("utf-8")))
    pages = {name(page) for page in PAGES if page.parent in (ROOT, ROOT / "docs")} | {"docs/decisions/README.md"}
    assert pages - {"README.md"} == linked


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_what_and_what_follows_and_names_only_what_there_is(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Measured"]
    assert f"]({page.name})" in (page.parent / "README.md").read_text("utf-8")
    for file in re.findall(r"`((?:agentd|agentd_providers|tests|docs)/[\w/.-]+)`", text):
        assert (ROOT / file).exists() or (ROOT / "providers" / file).exists(), file


def test_there_is_a_page_for_each_decision_that_people_question() -> None:
    assert len(DECISIONS) >= 6


def test_the_changes_are_kept_by_version_with_the_next_one_on_top() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.+)$", changes, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    for path in (ROOT / "agentd").rglob("*.py"):
        assert not re.search(r"__version__ = [\"']\d", path.read_text("utf-8").replace("0+unknown", "")), path


def test_every_recipe_that_the_pages_name_exists() -> None:
    recipes = set(
        re.findall(r"^([a-z][a-z-]*)(?: [^:\n]*)?:(?!=)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE)
    )
    for page in PAGES:
        named = set(re.findall(r"(?:`|^|&& )just ([a-z][a-z-]*)", page.read_text("utf-8"), re.MULTILINE))
        assert named - {"bench-"} <= recipes, page


def test_a_restart_is_told_with_the_check_before_it() -> None:
    # A restart ends calls first and reads the file afterwards: one that is refused leaves nobody to answer.
    told = [page for page in PAGES if page.name != "CHANGELOG.md"]
    bare = re.compile(r"^.*(?<!&& )systemctl restart agentd(?!-).*$", re.MULTILINE)
    for path in [*told, *sorted((ROOT / "agentd").rglob("*.py"))]:
        text = path.read_text("utf-8")
        assert bare.findall(text) == [], path
        for before in re.findall(r"(\S+(?: --config \S+)?) && systemctl restart agentd(?!-)", text):
            assert before.split()[0] == "check", path
