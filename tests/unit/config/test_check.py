"""`agentd check`, `agentd sample` and `agentd schema` as an operator runs them."""

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from agentd.cli import ARI_PASSWORD, main


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEALTH_HOST", "HEALTH_PORT", "CREDENTIALS_DIRECTORY", ARI_PASSWORD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("faulthandler.enable", lambda: None)  # pytest has its own, on a stderr that outlives a test


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.toml"
    path.write_text("[agents.sales]\n[agents.night]\n[calls]\ndefault_agent = 'night'\n")
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.toml"
    path.write_text("[agents.sales]\ngreting = 'Hi'\n[audiosocket]\nport = '8090'\n")
    return str(path)


def test_a_good_configuration_exits_0_and_names_its_agents(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", good]) == 0
    out, err = capsys.readouterr()
    assert f"{good}: good; agents: night, sales; default agent: night" in out
    assert f"note: {ARI_PASSWORD} is not set here" in out
    assert err == ""


def test_a_setting_under_its_former_name_is_taken_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.toml"
    path.write_text("[agents.sales.failover]\nbridge = 'Wait, please.'\n")
    assert main(["check", "--config", str(path)]) == 0
    note = "agents.sales.failover.bridge: is called hold_message now; the old name is taken for one release"
    assert f"note: {note}\n" in capsys.readouterr().out


def test_a_password_that_is_there_is_not_missed_and_not_shown(
    good: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ARI_PASSWORD, "hunter2")
    assert main(["check", "--config", good]) == 0
    out, err = capsys.readouterr()
    assert "note:" not in out
    assert "hunter2" not in out + err


def test_a_secret_that_a_tool_will_need_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        "[agents.shop]\ntools = ['order']\n[tools.order]\nkind = 'http_request'\n[tools.order.http_request]\n"
        "url = 'https://shop.example/order'\nsecret_headers = { Authorization = 'SHOP_KEY' }\n"
    )
    monkeypatch.delenv("SHOP_KEY", raising=False)
    assert main(["check", "--config", str(path)]) == 0
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "order" in line]
    assert note.startswith("note: the tool 'order' will fail: ")
    assert "SHOP_KEY" in note
    monkeypatch.setenv("SHOP_KEY", "hunter2")
    assert main(["check", "--config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "order" not in out
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("agent", "noted"),
    [
        ("", True),
        ("[agents.a.local.llm]\nbase_url = 'http://127.0.0.1:11434/v1'\nmodel = 'qwen3'", False),
        ("[agents.a.local.llm]\nstyle = 'chat'", False),
        ("provider = 'pipeline'\n[agents.a.pipeline]\nthink = 'embedded'", True),
        ("provider = 'pipeline'\n[agents.a.pipeline.think_openai]\napi_key_name = 'KEY'", False),
        ("provider = 'openai_realtime'", False),
    ],
)
def test_tools_that_the_agent_s_model_cannot_use_are_noted(
    agent: str, noted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tools.toml"
    path.write_text(f"[agents.a]\ntools = ['hang_up']\n{agent}\n")
    assert main(["check", "--config", str(path)]) == 0
    assert ("note: the language model of agents.a uses no tools" in capsys.readouterr().out) is noted


def test_whoever_has_read_enough_of_a_long_answer_may_leave() -> None:
    done = subprocess.run(
        f"{sys.executable} -m agentd schema | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_a_bad_configuration_exits_2_and_tells_everything_on_stderr(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", bad]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{bad}: 2 problems",
        "  agents.sales.greting: unknown; did you mean 'greeting'?",
        '  audiosocket.port: must be a whole number, not "8090"',
    ]


def test_a_missing_configuration_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml: cannot be read" in capsys.readouterr().err


def test_the_environment_is_checked_too(
    good: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_PORT", "high")
    assert main(["check", "--config", good]) == 2
    assert "environment HEALTH_PORT" in capsys.readouterr().err


def test_an_unreadable_credential_exits_2(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ari-password").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert main(["check", "--config", good]) == 2
    assert "ari-password cannot be read" in capsys.readouterr().err


def test_the_configuration_may_be_named_before_the_command(good: str, bad: str) -> None:
    assert main(["--config", good, "check"]) == 0
    assert main(["--config", bad, "check"]) == 2
    assert main(["--config", bad, "check", "--config", good]) == 0


def test_the_daemon_refuses_a_bad_configuration_before_it_asks_for_the_password(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", bad]) == 2
    err = capsys.readouterr().err
    assert "greting" in err
    assert "password" not in err


def test_the_daemon_refuses_to_start_without_the_password(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", good]) == 2
    err = capsys.readouterr().err
    assert ARI_PASSWORD in err
    assert "ari-password" in err


@pytest.mark.parametrize("argv", [["check", "--confg", "x"], ["chekc"], ["models"], ["check", "x.toml"]])
def test_arguments_that_are_not_understood_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert "usage: agentd" in capsys.readouterr().err


def test_the_printed_sample_is_a_good_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample"]) == 0
    path = tmp_path / "agent.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["check", "--config", str(path)]) == 0


def test_the_printed_schema_accepts_the_printed_sample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample"]) == 0
    sample = tomllib.loads(capsys.readouterr().out)
    assert main(["schema"]) == 0
    jsonschema.validate(sample, json.loads(capsys.readouterr().out))


def test_a_file_whose_name_is_no_text_is_told_of_all_the_same(
    tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "good\udcff.toml"  # the byte FF, which no UTF-8 has (PEP 383)
    path.write_text(Path(good).read_text())
    printed = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding="utf-8"))
    assert main(["check", "--config", str(path)]) == 0
    assert rb"good\udcff.toml: good" in printed.getvalue()
