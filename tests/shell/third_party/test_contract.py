"""The example's own tests: it runs the contracts by one fixture each, installed beside agentd's wheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.testing.agent_contract import AgentContract
from agentd.testing.voice_contract import VoiceContract
from tests.lab.packages import PARROT, install

ROOT = Path(__file__).parents[3]
TESTS = [
    (case, name)
    for case, contract in [("TestParrot", AgentContract), ("TestWhistle", VoiceContract)]
    for name in dir(contract)
    if name.startswith("test_")
]
VENDOR = "has a vendor that fails (Can.FAILS)"
KEY = "needs a key (Can.NEEDS_KEY)"
PIECES = "gives what its vendor says piece by piece (Can.STREAMS)"
PASSED_OVER = {
    ("TestParrot", "test_it_uses_a_tool_and_says_what_came_of_it"): "says what the test wants (Able.SCRIPTED)",
    ("TestParrot", "test_a_tool_that_fails_is_told_to_the_model_and_the_call_goes_on"): (
        "says what the test wants (Able.SCRIPTED)"
    ),
    ("TestParrot", "test_it_hangs_up_once_its_farewell_has_been_heard_to_its_end"): (
        "says what the test wants (Able.SCRIPTED)"
    ),
    ("TestParrot", "test_digits_are_answered"): "takes digits (Able.TAKES_DIGITS)",
    ("TestParrot", "test_text_is_answered_as_if_the_caller_had_said_it"): "takes text (Able.TAKES_TEXT)",
    ("TestParrot", "test_another_agent_goes_on_with_the_conversation_when_its_vendor_fails"): (
        "has a vendor that fails (Able.FAILS)"
    ),
    ("TestParrot", "test_a_failure_is_announced_where_nobody_takes_over"): "has a vendor that fails (Able.FAILS)",
    ("TestParrot", "test_a_session_that_cannot_be_opened_is_a_provider_error_in_time"): (
        "opens each session as a connection, which may be refused (Able.IS_REFUSED)"
    ),
    ("TestParrot", "test_a_session_that_is_closed_at_once_is_not_open"): (
        "waits for a word of its vendor's before a session is open (Able.IS_WELCOMED)"
    ),
    ("TestWhistle", "test_a_slow_vendor_is_waited_for"): VENDOR,
    ("TestWhistle", "test_the_key_is_in_a_header_and_nowhere_else"): KEY,
    ("TestWhistle", "test_without_a_key_that_can_be_one_there_is_no_engine"): KEY,
    ("TestWhistle", "test_it_is_ready_until_its_key_is_refused_and_again_once_it_is_taken"): KEY,
    ("TestWhistle", "test_each_fault_is_an_error_in_time_and_the_next_call_is_served"): VENDOR,
    ("TestWhistle", "test_nobody_at_its_vendor_s_address_is_an_error"): VENDOR,
    ("TestWhistle", "test_a_piece_is_handed_on_as_soon_as_it_comes_and_holds_whole_samples"): PIECES,
    ("TestWhistle", "test_a_listener_that_takes_its_time_is_not_the_vendor_s_fault"): PIECES,
    ("TestWhistle", "test_a_vendor_that_fails_in_a_clause_has_what_came_before_heard"): VENDOR,
}
"""What the parrot cannot do, and why."""
NAMES = {"TestParrot": "parrot", "TestWhistle": "speak_parrot"}


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


@pytest.mark.parametrize(("case", "name"), TESTS)
def test_each_test_of_the_contracts_is_run_or_passed_over(case: str, name: str, report: str) -> None:
    outcomes = set(re.findall(rf"::{case}::{name}(?:\[[^]]+\])? ([A-Z]+)", report))
    assert outcomes == {"SKIPPED" if (case, name) in PASSED_OVER else "PASSED"}


@pytest.mark.parametrize(("test", "why"), PASSED_OVER.items())
def test_the_report_names_each_test_that_was_passed_over_and_why(test: tuple[str, str], why: str, report: str) -> None:
    section = report.partition("passed over by the contracts of agentd.testing")[2]
    lines = [line for line in section.splitlines() if f"::{'::'.join(test)}" in line]
    assert lines
    assert all(line.endswith(f": {NAMES[test[0]]} is none that {why}") for line in lines)


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
