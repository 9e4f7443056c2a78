"""Which Python the tests are run on, beside the one that is installed."""

from pathlib import Path

import pytest

from tests.lab import other_python
from tests.lab.debian import cache
from tests.lab.other_python import NEWEST, VERSIONS, Interpreter, debian, debian_program, find, interpreter_at

OURS = (3, 11, 7)


@pytest.fixture
def host(tmp_path: Path) -> dict[str, str]:
    """The environment of a host without any Python."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def install(path: Path, version: str) -> Path:
    """A program that says that it is this Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_a_python_is_found_on_path_below_pyenv_and_where_debian_s_was_unpacked(host: dict[str, str]) -> None:
    home = Path(host["HOME"])
    on_path = install(home / "bin/python3.12", "3.12.1")
    pyenv = install(home / ".pyenv/versions/3.13.0/bin/python3.13", "3.13.0")
    unpacked = install(debian_program(cache(host) / debian("3.14").place, "3.14"), "3.14.8")
    assert find("3.12", host, OURS) == Interpreter((3, 12, 1), on_path)
    assert find("3.13", host, OURS) == Interpreter((3, 13, 0), pyenv)
    assert find("3.14", host, OURS) == Interpreter((3, 14, 8), unpacked)
    assert find(NEWEST, host, OURS) == Interpreter((3, 14, 8), unpacked)


def test_of_one_version_the_newest_is_taken_by_number_and_not_by_letter(host: dict[str, str]) -> None:
    for patch in ("3.13.9", "3.13.10", "3.13.2"):
        install(Path(host["HOME"]) / f".pyenv/versions/{patch}/bin/python3.13", patch)
    found = find("3.13", host, OURS)
    assert found is not None
    assert found.name == "3.13.10"


def test_the_newest_must_be_newer_than_ours(host: dict[str, str]) -> None:
    assert find(NEWEST, host, OURS) is None
    install(Path(host["HOME"]) / "bin/python3.11", "3.11.9")
    assert find(NEWEST, host, OURS) is None, "a newer 3.11 is no newer Python"
    install(Path(host["HOME"]) / "bin/python3.12", "3.12.1")
    assert find(NEWEST, host, (3, 12, 0)) is None
    assert find(NEWEST, host, OURS) is not None


def test_a_path_is_taken_as_it_is(host: dict[str, str], tmp_path: Path) -> None:
    program = install(tmp_path / "own/python", "3.13.5")
    assert find(str(program), host, OURS) == Interpreter((3, 13, 5), program)
    assert find(str(tmp_path / "nothing"), host, OURS) is None


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho pyenv: no such version\n", "#!/nowhere\n"])
def test_what_is_called_python_and_does_not_run_is_none(tmp_path: Path, text: str) -> None:
    program = install(tmp_path / "python3.13", "")
    program.write_text(text)
    assert interpreter_at(program) is None


def test_without_a_newer_python_nothing_fails_and_without_the_wanted_one_it_does(
    host: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in host.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert other_python.test(NEWEST, []) == 0
    assert capsys.readouterr().out.startswith("skipped: there is no Python newer than 3.")
    assert other_python.test("3.99", []) == 1
    assert "there is no Python 3.99 here" in capsys.readouterr().out


def test_the_versions_are_those_that_pyproject_toml_takes() -> None:
    (line,) = (
        line
        for line in (other_python.ROOT / "pyproject.toml").read_text("utf-8").splitlines()
        if line.startswith("requires-python")
    )
    lowest, beyond = VERSIONS[0], f"3.{int(VERSIONS[-1].partition('.')[2]) + 1}"
    assert line == f'requires-python = ">={lowest},<{beyond}"'
