"""The example's own tests: it runs the contract of every agent by one fixture, installed beside agentd's wheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.testing.agent_contract import AgentContract
from tests.lab.packages import PARROT, install

ROOT = Path(__file__).parents[3]
CONTRACT = [name for name in vars(AgentContract) if name.startswith("test_")]
PASSED_OVER = {
    "test_it_uses_a_tool_and_says_what_came_of_it": "says what the test wants (Able.SCRIPTED)",
    "test_a_tool_that_fails_is_told_to_the_model_and_the_call_goes_on": "says what the test wants (Able.SCRIPTED)",
    "test_it_hangs_up_once_its_farewell_has_been_heard_to_its_end": "says what the test wants (Able.SCRIPTED)",
    "test_digits_are_answered": "takes digits (Able.TAKES_DIGITS)",
    "test_text_is_answered_as_if_the_caller_had_said_it": "takes text (Able.TAKES_TEXT)",
    "test_another_agent_goes_on_with_the_conversation_when_its_vendor_fails": "has a vendor that fails (Able.FAILS)",
    "test_a_failure_is_announced_where_nobody_takes_over": "has a vendor that fails (Able.FAILS)",
    "test_a_session_that_cannot_be_opened_is_a_provider_error_in_time": (
        "opens each session as a connection, which may be refused (Able.IS_REFUSED)"
    ),
    "test_a_session_that_is_closed_at_once_is_not_open": (
        "waits for a word of its vendor's before a session is open (Able.IS_WELCOMED)"
    ),
}
"""What the parrot cannot do, and why."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the example's tests. Nothing of this tree is on its path: both packages are installed."""
    work = tmp_path_factory.mktemp("third party")
    site = install(PARROT, install(ROOT, work / "site"))
    tree = shutil.copytree(PARROT, work / "parrot", ignore=shutil.ignore_patterns("agentd_parrot", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--color=no"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", CONTRACT)
def test_each_test_of_the_contract_is_run_or_passed_over(name: str, report: str) -> None:
    outcomes = set(re.findall(rf"::{name}(?:\[[\w.-]+\])? ([A-Z]+)", report))
    assert outcomes == {"SKIPPED" if name in PASSED_OVER else "PASSED"}


@pytest.mark.parametrize(("name", "why"), PASSED_OVER.items())
def test_the_report_names_each_test_that_was_passed_over_and_why(name: str, why: str, report: str) -> None:
    section = report.partition("passed over by the contracts of agentd.testing")[2]
    lines = [line for line in section.splitlines() if f"::{name}" in line]
    assert lines
    assert all(line.endswith(f": parrot is none that {why}") for line in lines)


def test_what_a_run_loads_that_tests_nothing_of_agentd_s(tmp_path: Path) -> None:
    """The plug-in is asked for by name: nothing of agentd is imported by anybody else's tests."""
    site = install(ROOT, tmp_path / "site")
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_other():\n    assert not [name for name in sys.modules if name.startswith('agentd')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_other.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
