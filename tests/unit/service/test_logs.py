"""Logs: one call's story in the journal, readable lines on a terminal, JSON on request."""

import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from agentd.config.settings import LogFormat, Logging, LogLevel
from agentd.service.logs import (
    LIBRARY_LOGGERS,
    JournalRenderer,
    choose_format,
    count_lost_lines,
    journal_fields,
    set_up_logging,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Whatever a test sets up is taken down; nothing of it reaches another test."""
    configured, before = structlog.is_configured(), structlog.get_config()
    last_resort = logging.lastResort
    libraries = [(library, library.handlers, library.level, library.propagate) for library in loggers()]
    structlog.contextvars.clear_contextvars()
    yield
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, JournalRenderer):
            processor._transport.socket.close()
    structlog.reset_defaults()
    if configured:
        structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    logging.lastResort = last_resort
    for library, handlers, level, propagate in libraries:
        library.handlers, library.propagate = handlers, propagate
        library.setLevel(level)


def loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in LIBRARY_LOGGERS]


class Journal:
    """A stand-in for journald: a datagram socket that speaks its native protocol."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(5)

    def set_up(self, level: LogLevel = LogLevel.INFO) -> structlog.typing.FilteringBoundLogger:
        set_up_logging(Logging(format=LogFormat.JOURNAL, level=level), journal_socket=self.path)
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("agentd.test")
        return logger

    def line(self) -> dict[str, str]:
        """The next entry's fields (systemd's JOURNAL_NATIVE_PROTOCOL document)."""
        data, descriptors, _flags, _peer = socket.recv_fds(self.socket, 1 << 20, 1)
        for descriptor in descriptors:  # an entry that is too long for a datagram comes as a sealed file
            with os.fdopen(descriptor, "rb") as entry:
                entry.seek(0)
                data = entry.read()
        fields = {}
        while data:
            head, _, data = data.partition(b"\n")
            name, equals, value = head.partition(b"=")
            if not equals:
                (length,) = struct.unpack_from("<Q", data)
                value, data = data[8 : 8 + length], data[8 + length + 1 :]
            assert name.decode() not in fields
            fields[name.decode()] = value.decode()
        return fields

    @property
    def empty(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.socket.close()


# --- the fields


def test_a_line_of_a_call_becomes_fields_of_the_journal() -> None:
    assert journal_fields(
        {
            "event": "utterance heard",
            "level": "info",
            "logger": "agentd.call",
            "timestamp": "2026-11-23T16:05:12",
            "call_id": "1763913912.7",
            "channel": "PJSIP/caller-00000003",
            "agent": "sales",
            "state": "Speaking",
            "heard_ms": 1200,
            "completed": True,
        }
    ) == {
        "PRIORITY": 6,
        "SYSLOG_IDENTIFIER": "agentd",
        "LOGGER": "agentd.call",
        "CALL_ID": "1763913912.7",
        "CHANNEL": "PJSIP/caller-00000003",
        "AGENT": "sales",
        "STATE": "Speaking",
        "AGENTD_HEARD_MS": "1200",
        "AGENTD_COMPLETED": "True",
        "MESSAGE": "utterance heard heard_ms=1200 completed=True",
    }


@pytest.mark.parametrize(
    "level, priority", [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2), ("odd", 6)]
)
def test_levels_become_syslog_s_priorities(level: str, priority: int) -> None:
    assert journal_fields({"event": "x", "level": level})["PRIORITY"] == priority


def test_a_traceback_is_a_field_and_part_of_the_message() -> None:
    fields = journal_fields({"event": "broke", "exception": "Traceback:\nValueError"})
    assert fields["EXCEPTION"] == "Traceback:\nValueError"
    assert fields["MESSAGE"] == "broke\nTraceback:\nValueError"


def test_the_line_itself_is_not_changed() -> None:
    event = {"event": "x", "level": "info", "call_id": "1", "rate": 8000}
    journal_fields(event)
    assert event == {"event": "x", "level": "info", "call_id": "1", "rate": 8000}


keys = st.from_regex(r"[a-z][a-z0-9_.\-]{0,20}", fullmatch=True)


@unhurried
@given(st.dictionaries(keys, st.text() | st.integers() | st.none() | st.binary() | st.lists(st.floats()), max_size=6))
def test_any_line_has_fields_that_the_journal_takes(event: dict[str, object]) -> None:
    fields = journal_fields(event)
    for name, value in fields.items():
        assert name[0].isalpha()
        assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
        str(value).encode()  # raises for what UTF-8 cannot write


def test_a_name_that_utf_8_cannot_write_is_written_all_the_same() -> None:
    assert journal_fields({"event": "x", "channel": "PJSIP/\udcff"})["CHANNEL"] == "PJSIP/\\udcff"


# --- the journal


def test_one_call_s_lines_carry_its_fields_to_the_journal(journal: Journal) -> None:
    log = journal.set_up()
    with structlog.contextvars.bound_contextvars(call_id="17.1", channel="PJSIP/a-1", agent="sales", state="Idle"):
        log.info("call", extension="700")
        log.warning("media leg lost")
    log.info("serving")

    first, second, third = journal.line(), journal.line(), journal.line()
    assert first == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "agentd",
        "LOGGER": "agentd.test",
        "CALL_ID": "17.1",
        "CHANNEL": "PJSIP/a-1",
        "AGENT": "sales",
        "STATE": "Idle",
        "MESSAGE": "call extension=700",
        "AGENTD_EXTENSION": "700",
    }
    assert (second["PRIORITY"], second["MESSAGE"], second["CALL_ID"]) == ("4", "media leg lost", "17.1")
    assert not {"CALL_ID", "CHANNEL", "AGENT", "STATE"} & set(third)


def test_lines_of_several_lines_arrive_whole(journal: Journal) -> None:
    log = journal.set_up()
    try:
        raise ValueError("first\nsecond = third")
    except ValueError:
        log.exception("the call failed", text="a\nPRIORITY=0\nb")
    line = journal.line()
    assert line["PRIORITY"] == "3"
    assert line["AGENTD_TEXT"] == "a\nPRIORITY=0\nb"
    assert line["EXCEPTION"].startswith("Traceback")
    assert line["EXCEPTION"].endswith("ValueError: first\nsecond = third")
    assert line["MESSAGE"].startswith("the call failed text=a\nPRIORITY=0\nb\nTraceback")


def test_a_caller_s_name_cannot_forge_a_field(journal: Journal) -> None:
    journal.set_up().info("call", caller="Ada\nCALL_ID=forged\nMESSAGE=all is well")
    line = journal.line()
    assert "CALL_ID" not in line
    assert line["MESSAGE"].startswith("call caller=Ada")


def test_a_line_too_long_for_a_datagram_arrives_whole(journal: Journal) -> None:
    journal.set_up().info("long", text="x" * 1_000_000)
    assert journal.line()["AGENTD_TEXT"] == "x" * 1_000_000


@pytest.mark.parametrize("level", LogLevel)
def test_what_is_below_the_level_is_not_logged(journal: Journal, level: LogLevel) -> None:
    log = journal.set_up(level)
    for name in LogLevel:
        log.log({"debug": 10, "info": 20, "warning": 30, "error": 40}[name], name)
    expected = list(LogLevel)[list(LogLevel).index(level) :]
    assert [journal.line()["MESSAGE"] for _ in expected] == expected
    assert journal.empty


def test_a_journal_that_is_being_restarted_fails_nobody_and_finds_its_lines_again(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    log = journal.set_up()
    journal.path.unlink()
    log.warning("media leg lost", tries_left=3)
    assert "media leg lost tries_left=3 (not in the journal: " in capsys.readouterr().err

    journal.socket.close()
    restarted = Journal(journal.path.parent)
    log.info("back")
    assert restarted.line()["MESSAGE"] == "back"
    restarted.socket.close()


def test_what_libraries_log_goes_the_same_way_from_warnings_on(journal: Journal) -> None:
    journal.set_up()
    logging.getLogger("httpx").info("HTTP Request: GET http://127.0.0.1:8088/ari/channels")
    logging.getLogger("trio_websocket").warning("%d connections", 5)
    line = journal.line()
    assert (line["MESSAGE"], line["LOGGER"], line["PRIORITY"]) == ("5 connections", "trio_websocket", "4")
    assert journal.empty


def test_a_library_s_traceback_is_kept(journal: Journal) -> None:
    journal.set_up()
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("openai").exception("request failed")
    line = journal.line()
    assert line["PRIORITY"] == "3"
    assert "ValueError: inside" in line["EXCEPTION"]


def test_setting_up_twice_logs_once(journal: Journal) -> None:
    journal.set_up()
    first = structlog.get_config()["processors"][-1]
    journal.set_up()
    first._transport.socket.close()
    logging.getLogger("httpx").warning("once")
    assert journal.line()["MESSAGE"] == "once"
    assert journal.empty


def test_a_journal_that_takes_nothing_and_a_stuck_standard_error_hold_nobody_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd both are journald: while it is stuck, its socket is full, and so is the stream behind stderr."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as stderr, os.fdopen(reading, "rb") as reader:
        monkeypatch.setattr("sys.stderr", stderr)
        log = journal.set_up()
        registry = CollectorRegistry()
        count_lost_lines(Counter("lost", "Lines.", registry=registry))
        for number in range(3000):
            log.info("nobody takes this", number=number, text="x" * 1000)  # the test ends: nothing waits
        lost = registry.get_sample_value("lost_total")
        assert lost
        while not journal.empty:
            journal.line()
        messages: list[str] = []
        while not any("log lines were lost" in message for message in messages):
            reader.read()
            log.info("well again")
            while not journal.empty:
                messages.append(journal.line()["MESSAGE"])
        assert messages[-1] == f"log lines were lost: nobody took them lines={round(lost)}"


# --- JSON and the terminal


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Logging(format=LogFormat.JSON))
    log = structlog.get_logger("agentd.test")
    with structlog.contextvars.bound_contextvars(call_id="17.1"):
        log.info("state", before="idle", after="speaking\nnow", path=Path("/x"))
    log.debug("not told")
    try:
        raise ValueError("inside")
    except ValueError:
        log.exception("broke")
    out, err = capsys.readouterr()
    first, second = (json.loads(line) for line in err.splitlines())
    assert out == ""
    assert first.pop("timestamp")
    assert first == {
        "event": "state",
        "level": "info",
        "logger": "agentd.test",
        "call_id": "17.1",
        "before": "idle",
        "after": "speaking\nnow",
        "path": "/x",
    }
    assert second["level"] == "error"
    assert "ValueError: inside" in second["exception"]


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_an_error_is_a_plain_traceback_without_variables(
    form: LogFormat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exception was 26 MB and 86 s of CPU where rich is installed, and it held what the caller had said."""
    set_up_logging(Logging(format=form))
    spoken = "my name is Quincy"
    try:
        raise ValueError(len(spoken))
    except ValueError:
        structlog.get_logger("agentd.test").exception("broke")
    err = capsys.readouterr().err
    assert "ValueError: 17" in err
    assert "Quincy" not in err.replace('"my name is Quincy"', "")
    assert "locals" not in err
    assert len(err) < 2000


def test_any_other_library_s_warnings_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own last resort writes to standard error and waits for its reader."""
    set_up_logging(Logging(format=LogFormat.JSON))
    record = logging.LogRecord("some.library", logging.WARNING, __file__, 1, "%d connections", (5,), None)
    assert logging.lastResort is not None
    logging.lastResort.handle(record)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"]) == ("5 connections", "some.library")


def test_a_library_that_has_miscounted_its_values_ends_nobody_s_call(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Logging(format=LogFormat.JSON))
    logging.getLogger("httpx").warning("%d of %d connections", 5)
    assert "%d of %d connections" in capsys.readouterr().err


def test_a_terminal_gets_readable_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Logging(format=LogFormat.CONSOLE, level=LogLevel.WARNING))
    log = structlog.get_logger("agentd.test")
    log.info("not told")
    log.warning("media leg lost", tries_left=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "media leg lost" in err
    assert "tries_left=3" in err
    assert "\x1b" not in err, "no colours where there is no terminal"


TALKATIVE = """
import structlog
from agentd.config.settings import LogFormat, Logging
from agentd.service.logs import set_up_logging

set_up_logging(Logging(format=LogFormat.JSON))
log = structlog.get_logger("agentd.test")
for number in range(5000):
    log.info("a line", number=number, text="x" * 1000)
print("served to the end", flush=True)
"""


def test_a_process_whose_log_nobody_reads_serves_to_its_end_and_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TALKATIVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == "served to the end\n"
        assert process.wait() == 0
        lines = process.stderr.read().splitlines()
    assert [json.loads(line)["number"] for line in lines[:-1]] == list(range(len(lines) - 1))


def test_the_last_lines_of_a_process_that_fails_are_out() -> None:
    """Also where somebody reads them late: what waits is written at the end."""
    failing = TALKATIVE.replace("range(5000)", "range(500)").replace("print(", "raise SystemExit(3)  # ")
    with subprocess.Popen([sys.executable, "-c", failing], stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate()
    assert process.returncode == 3
    assert [json.loads(line)["number"] for line in err.splitlines()] == list(range(500))


# --- what auto means


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_the_console_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert choose_format(LogFormat.AUTO) is LogFormat.CONSOLE
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert choose_format(LogFormat.AUTO) is LogFormat.JSON


def test_auto_is_the_journal_only_where_stderr_itself_is_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        status = os.fstat(stderr.fileno())
        monkeypatch.setattr("sys.stderr", stderr)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert choose_format(LogFormat.AUTO) is LogFormat.JOURNAL
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert choose_format(LogFormat.AUTO) is LogFormat.JSON


@pytest.mark.parametrize("wanted", [LogFormat.CONSOLE, LogFormat.JOURNAL, LogFormat.JSON])
def test_a_format_that_is_asked_for_is_not_second_guessed(wanted: LogFormat) -> None:
    assert choose_format(wanted) is wanted
