"""The processes that agentd starts, real ones: what /proc tells of their environment."""

import sys
from pathlib import Path

import pytest
import trio

from agentd.environment import is_for_children, withheld_from_children
from agentd.errors import ProviderUnavailable
from agentd_providers.local.llm_server import LlmServerSettings, open_llm_server
from agentd_providers.local.worker import open_worker
from tests.shell.engine_work import process_facts

SECRETS = ("AGENTD_ARI_PASSWORD", "DEEPGRAM_API_KEY", "CRM_AUTHORIZATION", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET")


def names_of(pid: int) -> set[str]:
    """The names in a process's environment as it was started (proc(5), environ)."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {variable.split(b"=", 1)[0].decode() for variable in variables if variable}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hush")


async def test_an_engines_process_inherits_no_secret() -> None:
    with withheld_from_children(), trio.fail_after(60):
        async with open_worker("tts", lambda _name: None) as worker:
            pid, _niceness, _ignores = await worker.run(process_facts)
            names = names_of(pid) - {"PWD"}  # a Python that a shell script starts has it from there
    assert "PATH" in names
    assert [name for name in names if not is_for_children(name) and not name.upper().endswith("_PROXY")] == []


async def test_the_language_models_process_inherits_no_secret_even_from_a_process_that_withholds_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for the program tells its own environment; it comes up as no server does."""
    told = tmp_path / "names"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nread -r request\ntr '\\0' '\\n' < /proc/$$/environ > {told}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    settings = LlmServerSettings("/models/tiny.gguf", threads=1, threads_batch=1, context=512, slots=1)
    with pytest.raises(ProviderUnavailable), trio.fail_after(60):
        async with open_llm_server(settings, lambda _name: None):
            pass
    names = {line.partition("=")[0] for line in told.read_text().splitlines()}
    assert "PATH" in names
    assert [name for name in names if not is_for_children(name)] == []
