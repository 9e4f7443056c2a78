"""What root installs has a hash that it has to have, and so has whatever builds it."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.lab.packages import ROOT

SCRIPT = (ROOT / "systemd/install-host").read_text("utf-8")
LOCKS = ("requirements.lock", "requirements-build.lock")


def _pinned(lock: Path) -> set[str]:
    return set(re.findall(r"^([\w.-]+)==", lock.read_text("utf-8"), re.MULTILINE))


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_a_lock_file_has_one_version_and_its_hashes(lock: str) -> None:
    packages = re.split(r"\n(?=\S)", (ROOT / lock).read_text("utf-8").strip())
    assert len(packages) > 5
    for package in packages:
        assert re.match(r"[\w.-]+==\S+ ", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


def test_what_builds_agentd_is_in_the_lock_file_for_it_and_setuptools_for_what_comes_as_source() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert _names(needed) | {"setuptools"} <= _pinned(ROOT / "requirements-build.lock")


def test_pip_fetches_nothing_without_a_hash_and_no_tools_of_a_build_by_itself() -> None:
    lines = [line for line in SCRIPT.splitlines() if "pip" in line.split("#")[0].split()[:1]]
    assert len(lines) == 3
    for line in lines:
        assert "--require-hashes" in line or "--no-index" in line
        assert "--no-build-isolation" in line or "--only-binary :all:" in line
    assert SCRIPT.count("-m pip") == 1, "every use of pip is one of these"
    assert [lock for lock in LOCKS if f'"$source/{lock}"' in SCRIPT] == [*LOCKS]
