"""A test is blamed for what it leaves to the collector, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUILTY = {
    "a socket": "[socket.socket()]",
    "a socket that refers to itself": "(cycle := [socket.socket()]).append(cycle)",
    "a file": "[open(__file__)]",
    "a child": "subprocess.Popen(['sleep', '0'])",
    "a generator that cannot be ended": "[stubborn()].append(next(stubborn()))",
}


MODULE = """
import socket, subprocess, pytest

def stubborn():
    try:
        yield
    finally:
        raise ValueError("not now")

@pytest.fixture
def kept():
    return []

def test_before(kept): pass
def test_guilty(kept):
    kept.append(lambda: LEAK)
    kept[0]()
def test_guilty_of_what_a_fixture_holds(kept):
    kept += [kept, socket.socket()]
def test_after(kept): pass
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one run tells of a module for each leak. It loads no other plug-in: to import those costs more."""
    place = tmp_path_factory.mktemp("leaks")
    for number, leak in enumerate(GUILTY.values()):
        (place / f"test_{number}.py").write_text(MODULE.replace("LEAK", leak))
    command = [sys.executable, "-m", "pytest", "-p", "tests.left_behind", "-W", "error", "-c", "/dev/null", "."]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("number", range(len(GUILTY)), ids=GUILTY)
def test_a_test_is_blamed_for_what_it_leaves_to_the_collector_and_no_other(told: str, number: int) -> None:
    lines = [line.split() for line in told.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    places = [words[1].partition("::") for words in lines]
    blamed = [test for module, _, test in places if module == f"test_{number}.py"]
    assert sorted(blamed) == ["test_guilty", "test_guilty_of_what_a_fixture_holds"], told
    assert "left to the collector" in told
