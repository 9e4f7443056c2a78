"""The lines by which Asterisk takes in agentd's files: which ones they are, and what becomes of them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from agentd.service.includes import includes, insisting, with_tryinclude

NAMES = ("extensions_agentd.conf", "ari_agentd.conf")
INSTALL = Path(__file__).parents[3] / "docs/install.md"

# What main/config.c (process_text_line) takes for a directive: white space before it, any case, and three ways of
# writing the name; a comment ends the line.
INSISTING = [
    "#include extensions_agentd.conf",
    "  #include\textensions_agentd.conf",
    "#INCLUDE extensions_agentd.conf",
    '#include "extensions_agentd.conf"',
    "#include <extensions_agentd.conf>",
    '#include "/etc/asterisk/extensions_agentd.conf" ; the agents',
    "#include ./extensions_agentd.conf\r",
]


@pytest.mark.parametrize("line", INSISTING)
def test_a_line_that_insists_on_a_file_is_found_and_no_longer_does(line: str) -> None:
    text = f"[general]\n{line}\nexten => 1,1,NoOp\n"
    assert includes(text, NAMES[0])
    assert not includes(text, NAMES[1])
    assert insisting(text, NAMES) == [line.strip()]
    changed = with_tryinclude(text, NAMES)
    assert changed == text.replace("#include", "#tryinclude").replace("#INCLUDE", "#tryinclude")
    assert includes(changed, NAMES[0])
    assert insisting(changed, NAMES) == []


@pytest.mark.parametrize(
    "line",
    [
        "; #include extensions_agentd.conf",
        "#include my_extensions_agentd.conf",
        "#include extensions_agentd.conf.d/more.conf",
        "#include extensions_other.conf",
        "#exec /usr/bin/extensions_agentd.conf",
        "include => agentd",
    ],
)
def test_another_line_is_left_as_it_is(line: str) -> None:
    text = f"{line}\n"
    assert not includes(text, NAMES[0])
    assert insisting(text, NAMES) == []
    assert with_tryinclude(text, NAMES) == text


def _uninstall(asterisk: Path, path: str = os.environ["PATH"]) -> None:
    """What docs/install.md says about Asterisk's files, word by word, for another directory than /etc/asterisk."""
    section = INSTALL.read_text("utf-8").partition("\n## Uninstall\n")[2]
    commands = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert commands is not None
    lines = [line for line in commands[1].splitlines() if not line.startswith(("systemctl", "asterisk "))]
    assert len(lines) == 3
    script = "\n".join(lines).replace("/etc/asterisk", str(asterisk))
    subprocess.run(["sh", "-c", script], check=False, timeout=60, env={"PATH": path})


@pytest.fixture
def asterisk(tmp_path: Path) -> Path:
    for name in (*NAMES, "pjsip_agentd_sample.conf", "extensions_my_agents.conf"):
        (tmp_path / name).write_text("; a file\n")
    (tmp_path / "extensions.conf").write_text("[a]\n" + "\n".join(INSISTING) + "\n#include extensions_my_agents.conf\n")
    (tmp_path / "ari.conf").write_text("[general]\nenabled = yes\n#tryinclude ari_agentd.conf\n")
    return tmp_path


def test_the_documented_removal_takes_the_lines_out_before_the_files(asterisk: Path) -> None:
    _uninstall(asterisk)
    left = {path.name: path.read_text() for path in asterisk.iterdir()}
    assert left == {
        "extensions.conf": "[a]\n#include extensions_my_agents.conf\n",
        "ari.conf": "[general]\nenabled = yes\n",
        "extensions_my_agents.conf": "; a file\n",
    }


def test_a_file_that_is_still_named_is_not_deleted(asterisk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    programs = tmp_path_factory.mktemp("programs")
    (programs / "sed").write_text("#!/bin/sh\nexit 4\n")  # as where the file system can only be read
    (programs / "sed").chmod(0o755)
    _uninstall(asterisk, f"{programs}:{os.environ['PATH']}")
    assert {path.name for path in asterisk.iterdir()} >= {*NAMES, "pjsip_agentd_sample.conf"}
