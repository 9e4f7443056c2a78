"""Who writes a plug-in gets the contract's types from the installed package (PEP 561)."""

import os
import subprocess
import sys
from pathlib import Path

PLUG_IN = '''"""A plug-in's code."""

from agentd.agent import CallInfo, Capabilities
from agentd.audio.level import rms_dbfs
from agentd_providers.registry import Provider

CAPABILITIES = Capabilities(takes_turns=False)


def greet(call: CallInfo) -> str:
    return f"Hello {call.caller_name}"


def loud(pcm: bytes) -> bool:
    return rms_dbfs(pcm) > -45.0


def named(provider: Provider) -> bool:
    return provider.takes_tools(None)
'''
MISTAKES = {
    "Capabilities(takes_turns=False)": "Capabilities(takes_turns='no')",
    'f"Hello {call.caller_name}"': "call.rate",
    "rms_dbfs(pcm)": "rms_dbfs(0.5)",
    "provider.takes_tools(None)": "provider.takes_tols(None)",
}
"""What is right in the plug-in, and what somebody might have written there."""


def check(python: Path, directory: Path, code: str) -> tuple[int, list[str]]:
    """mypy's status and complaints about a plug-in, for an environment, away from the source tree."""
    (directory / "plug_in.py").write_text(code)
    options = ("--strict", "--config-file", "", "--python-executable", str(python))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "plug_in.py"],
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")},
        cwd=directory, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, [line for line in done.stdout.splitlines() if " error: " in line]


def test_the_package_that_is_looked_at_is_the_installed_one(python: Path, tmp_path: Path) -> None:
    code = "import agentd, agentd_providers; print(agentd.__file__, agentd_providers.__file__, sep='\\n')"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    for path in map(Path, done.stdout.splitlines()):
        assert path.is_relative_to(python.parents[1])
        assert (path.parent / "py.typed").is_file()


def test_a_plug_in_that_keeps_the_contract_passes_and_each_mistake_is_refused(python: Path, tmp_path: Path) -> None:
    assert check(python, tmp_path, PLUG_IN) == (0, [])
    wrong = PLUG_IN
    for right, mistake in MISTAKES.items():
        assert wrong.count(right) == 1
        wrong = wrong.replace(right, mistake)
    status, errors = check(python, tmp_path, wrong)
    lines = {
        number for number, line in enumerate(wrong.splitlines(), 1) if any(bad in line for bad in MISTAKES.values())
    }
    assert status == 1
    assert {int(error.split(":")[1]) for error in errors} == lines
