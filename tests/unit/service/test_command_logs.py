"""What commands log: plain lines on standard error, whatever is installed beside agentd."""

import argparse

import pytest
import structlog

from agentd import cli

COMMANDS = {
    "serve": (),
    "check": ("check",),
    "doctor": ("doctor", "--json"),
    "models_list": ("models", "list"),
    "models_fetch": ("models", "fetch", "embedded"),
    "sample": ("sample",),
    "schema": ("schema",),
    "init": ("init", "--dry-run"),
    "hand_back": ("hand-back",),
    "restart": ("restart",),
    "speech_server": ("speech-server",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_is_a_plain_traceback_without_variables_also_where_rich_is_installed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was 26 MB and 86 s of CPU, once, and holds what callers have said."""
    pytest.importorskip("rich")

    def run(_arguments: argparse.Namespace) -> int:
        spoken = "my name is Quincy"
        try:
            raise ValueError(len(spoken))
        except ValueError:
            structlog.get_logger("agentd.doctor").exception("broke")
        print("[]")
        return 0

    monkeypatch.setattr(cli, command, run)
    assert cli.main(list(COMMANDS[command])) == 0
    out, err = capsys.readouterr()
    assert out == "[]\n", "the result stands alone"
    assert "broke" in err
    assert "ValueError: 17" in err
    assert "locals" not in err
    assert "Quincy" not in err.replace('"my name is Quincy"', "")
    assert "│" not in err
    assert len(err) < 2000


def test_those_are_all_commands() -> None:
    parser = cli._parser()
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    assert {*choices} == {argv[0] for argv in COMMANDS.values() if argv}
