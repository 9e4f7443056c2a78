"""What keeps a version from being tagged."""

from pathlib import Path

import pytest

from tests.lab.release import changes_of, obstacles, run, tag

CHANGES = """# Changes

## [Unreleased]

### Added
- Something.

## [0.2.0] - 2026-12-01

### Fixed
- A hang-up.

## [0.1.0] - 2026-11-01

## [0.0.1]

- Never dated.

[Unreleased]: somewhere
"""


def test_a_clean_tree_with_a_new_version_and_its_changes_may_be_tagged() -> None:
    assert obstacles("0.2.0", "", "v0.1.0\n", CHANGES) == []
    assert changes_of("0.2.0", CHANGES) == "### Fixed\n- A hang-up."


@pytest.mark.parametrize(
    ("version", "status", "tags", "obstacle"),
    [
        ("0.2.0", " M agentd/cli.py\n", "", "the tree has changes that are not committed:\n M agentd/cli.py"),
        ("0.2.0", "", "v0.1.0\nv0.2.0\n", "there is a tag v0.2.0"),
        ("0.3.0", "", "", "no section '## [0.3.0] - YEAR-MONTH-DAY'"),
        ("0.1.0", "", "", "no section '## [0.1.0] - YEAR-MONTH-DAY' with anything in it"),
        ("0.0.1", "", "", "no section '## [0.0.1] - YEAR-MONTH-DAY'"),
        ("Unreleased", "", "", "no section '## [Unreleased] - YEAR-MONTH-DAY'"),
    ],
    ids=["a dirty tree", "a tagged version", "no section", "an empty one", "one without a date", "not yet released"],
)
def test_each_of_these_is_refused(version: str, status: str, tags: str, obstacle: str) -> None:
    (found,) = obstacles(version, status, tags, CHANGES)
    assert obstacle in found


def test_all_that_stands_in_the_way_is_told_at_once() -> None:
    assert len(obstacles("0.4.0", "?? new.py\n", "v0.4.0\n", CHANGES)) == 3


def test_the_tag_holds_the_changes_of_its_version(tmp_path: Path) -> None:
    run("git", "init", "--quiet", cwd=tmp_path)
    for name, value in (("user.name", "Me"), ("user.email", "me@example.org"), ("commit.gpgSign", "false")):
        run("git", "config", name, value, cwd=tmp_path)
    run("git", "commit", "--quiet", "--allow-empty", "-m", "Something", cwd=tmp_path)
    tag(tmp_path, "0.2.0", CHANGES)
    told = run("git", "for-each-ref", "--format=%(refname) %(objecttype)%0a%(contents)", "refs/tags", cwd=tmp_path)
    assert told.strip() == "refs/tags/v0.2.0 tag\nasterisk-agentd 0.2.0\n\n### Fixed\n- A hang-up."
