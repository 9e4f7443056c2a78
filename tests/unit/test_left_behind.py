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


@pytest.mark.parametrize("leak", GUILTY.values(), ids=GUILTY)
def test_a_test_is_blamed_for_what_it_leaves_to_the_collector_and_no_other(tmp_path: Path, leak: str) -> None:
    (tmp_path / "test_it.py").write_text(f"""
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
    kept.append(lambda: {leak})
    kept[0]()
def test_guilty_of_what_a_fixture_holds(kept):
    kept += [kept, socket.socket()]
def test_after(kept): pass
""")
    command = [sys.executable, "-m", "pytest", "-p", "tests.left_behind", "-W", "error", "-c", "/dev/null", "."]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    told = [line.split() for line in ran.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    blamed = [words[1].partition("::")[2] for words in told]
    assert sorted(blamed) == ["test_guilty", "test_guilty_of_what_a_fixture_holds"], ran.stdout
    assert "left to the collector" in ran.stdout
