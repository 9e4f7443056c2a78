"""What the embedded language model's process asks of llama.cpp, with a fake of its package."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FAKE = """
import json, os

SPINS = os.environ.get("GOMP_SPINCOUNT")  # libgomp reads it when it is loaded


class Part:
    def __init__(self):
        self.__dict__["asked"] = {}

    def __setattr__(self, name, value):
        self.asked[name] = value

    def __getattr__(self, name):
        return self.asked.setdefault(name, Part())


CommonParams = Part


class Server:
    def __init__(self, params):
        told = json.loads(json.dumps(params.asked, default=lambda part: part.asked))
        self.listening_address = json.dumps({**told, "spins": SPINS})
"""
REQUEST = {"model": "/models/tiny.gguf", "socket": "/run/llm.sock", "key": "k", "threads": 1, "threads_batch": 2}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "xllamacpp.py").write_text(FAKE, "utf-8")
    return tmp_path


def asked_for(package: Path, **wanted: Any) -> dict[str, Any]:
    """What the process asks of llama.cpp, and with how many spins it was loaded."""
    environ = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environ.pop("GOMP_SPINCOUNT", None)
    environ |= wanted.pop("environ", {})
    ended = subprocess.run(
        [sys.executable, "-m", "agentd_providers.local.llm_process"],
        input=json.dumps({**REQUEST, "context": 512, "slots": 5, **wanted}) + "\n",
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=True,
    )
    told: dict[str, Any] = json.loads(json.loads(ended.stdout)["url"])
    return told


def test_a_thread_that_waits_for_another_gives_its_core_away_soon(package: Path) -> None:
    assert asked_for(package)["spins"] == "1000"


def test_who_runs_it_may_say_how_long_threads_spin(package: Path) -> None:
    assert asked_for(package, environ={"GOMP_SPINCOUNT": "7"})["spins"] == "7"


def test_all_slots_share_one_store_that_holds_a_whole_context_of_each(package: Path) -> None:
    asked = asked_for(package)
    assert asked["kv_unified"]
    assert asked["n_parallel"] == 5
    assert asked["n_ctx"] == 5 * 512


@pytest.mark.parametrize(("slots", "tokens"), [(1, 5), (5, 5), (8, 8)])
def test_a_batch_is_short_but_has_a_token_of_every_slot(package: Path, slots: int, tokens: int) -> None:
    asked = asked_for(package, slots=slots)
    assert asked["n_batch"] == asked["n_ubatch"] == tokens
