"""What a child process is told by its environment, and what never."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.secrets import find_secret
from agentd.environment import ALLOWED, ALLOWED_BEGINNINGS, INHERITED, PROXIES, for_child, withheld_from_children

ROOT = Path(__file__).parents[2]
SECRETS = {
    "AGENTD_ARI_PASSWORD": "hush",
    "OPENAI_API_KEY": "sk-1",
    "CRM": "Bearer hush",
    "CREDENTIALS_DIRECTORY": "/run/credentials/agentd.service",
    "HTTPS_PROXY": "http://user:hush@proxy:3128",
    "PYTHON_KEYRING_TOKEN": "hush",
    "AWS_SECRET_ACCESS_KEY": "hush",
    "HF_TOKEN": "hush",
}
NEEDED = {
    "PATH": "/usr/bin",
    "HOME": "/var/lib/agentd",
    "LC_ALL": "C.UTF-8",
    "AGENTD_MODELS_DIR": "/models",
    "OMP_NUM_THREADS": "2",
    "PYTHONPATH": "/src",
    "TMPDIR": "/tmp",
}


def test_a_child_gets_what_it_needs_and_no_secret() -> None:
    assert for_child({**SECRETS, **NEEDED}) == NEEDED


def test_a_child_that_needs_more_is_given_that_by_name() -> None:
    assert for_child({**SECRETS, **NEEDED}, PROXIES) == {**NEEDED, "HTTPS_PROXY": SECRETS["HTTPS_PROXY"]}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_in_no_list_is_not_handed_on(environ: dict[str, str]) -> None:
    for name in for_child(environ):
        assert name in ALLOWED or name.startswith(ALLOWED_BEGINNINGS)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, **NEEDED}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")


@pytest.mark.usefixtures("secrets")
def test_a_daemon_finds_its_secrets_though_nothing_that_it_starts_inherits_them() -> None:
    before = dict(os.environ)
    with withheld_from_children():
        assert os.environ.keys() & SECRETS.keys() == {"HTTPS_PROXY"}, "HTTP clients look for it in this process"
        assert os.environ.items() >= NEEDED.items()
        assert before == {**INHERITED}
        password = find_secret("AGENTD_ARI_PASSWORD")
        assert password is not None
        assert password.reveal() == "hush"
    assert dict(os.environ) == before


STARTERS = {"open_process", "run_process", "Popen", "run", "check_output", "check_call", "call"}


def _starts(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS:
            whose = ast.unparse(node.func.value)
            if whose in ("subprocess", "trio.lowlevel") or node.func.attr == "run_process":
                yield node


def test_whatever_starts_a_process_says_which_environment_it_gets() -> None:
    starts = [
        (path, call)
        for package in (ROOT / "agentd", ROOT / "providers")
        for path in package.rglob("*.py")
        for call in _starts(ast.parse(path.read_text("utf-8")))
    ]
    assert len(starts) >= 6
    silent = [f"{path}:{call.lineno}" for path, call in starts if not any(key.arg == "env" for key in call.keywords)]
    assert not silent
