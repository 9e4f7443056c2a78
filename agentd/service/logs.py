"""Logs: structlog in front; native journal fields under systemd, readable lines on a terminal, JSON on request.

Every line of a call carries its call id, channel, agent and state (agentd.calls.fields). In the journal these are the
fields CALL_ID, CHANNEL, AGENT and STATE, so that `journalctl -u agentd CALL_ID=...` tells one call's story. Every other
key becomes AGENTD_<KEY>.

Logging neither waits nor raises: what the journal does not take goes to standard error, and that is not waited for
either (agentd.service.log_sink).
"""

import atexit
import logging
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import structlog
from logging_journald import JournaldTransport, check_journal_stream
from prometheus_client import Counter

from agentd.calls.fields import merge_call_fields
from agentd.calls.log_lines import within_budget
from agentd.config.settings import LogFormat, Logging
from agentd.service.command_logs import console, exceptions
from agentd.service.log_sink import LogSink, opened

CALL_FIELDS = ("call_id", "channel", "agent", "state")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
SYSLOG_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
LIBRARY_LOGGERS = ("trio_websocket", "wsproto", "httpx", "openai")

log = structlog.get_logger("agentd.logs")

Event = MutableMapping[str, Any]


class JournalRenderer:
    """Sends each line to the journal with fields of its own; to stderr where the journal does not take it, so
    that a journal which is being restarted fails nobody's call."""

    def __init__(self, transport: JournaldTransport, sink: LogSink) -> None:
        self._transport = transport
        self._sink = sink

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        fields = journal_fields(event)
        try:
            self._transport.send(fields.items())
        except OSError as error:
            self._sink.write(f"{fields['MESSAGE']} (not in the journal: {error})")
        else:
            self._sink.catch_up()
        raise structlog.DropEvent


def journal_fields(event: Mapping[str, Any]) -> dict[str, str | int]:
    """The journal's fields of one log line (systemd.journal-fields(7)). Pure."""
    rest = dict(event)
    level = str(rest.pop("level", "info"))
    fields: dict[str, str | int] = {
        "PRIORITY": SYSLOG_PRIORITY.get(level, 6),
        "SYSLOG_IDENTIFIER": "agentd",
        "LOGGER": str(rest.pop("logger", "")),
    }
    rest.pop("timestamp", None)
    message = str(rest.pop("event", ""))
    for name in CALL_FIELDS:
        if rest.get(name):
            fields[name.upper()] = str(rest.pop(name))
    exception = rest.pop("exception", None)
    shown = " ".join(f"{key}={_plain(value)}" for key, value in rest.items())
    for key, value in rest.items():
        fields[f"AGENTD_{''.join(c if c.isalnum() else '_' for c in key).upper()}"] = _plain(value)
    fields["MESSAGE"] = f"{message} {shown}".strip()
    if exception:
        fields["EXCEPTION"] = str(exception)
        fields["MESSAGE"] = f"{fields['MESSAGE']}\n{exception}"
    # Names of files and of callers may hold lone surrogates, which UTF-8 does not write.
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _plain(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def choose_format(wanted: LogFormat) -> LogFormat:
    """The form that `auto` stands for here."""
    if wanted is not LogFormat.AUTO:
        return wanted
    if check_journal_stream():
        return LogFormat.JOURNAL
    return LogFormat.CONSOLE if sys.stderr.isatty() else LogFormat.JSON


_sinks: list[LogSink] = []
"""That of this process, once logging is set up."""


def set_up_logging(settings: Logging, journal_socket: Path | None = None) -> None:
    """Configure structlog and the libraries' loggers for the process."""
    chosen = choose_format(settings.format)
    sink = LogSink(opened(sys.stderr), _tell_of_loss)
    if not _sinks:
        atexit.register(lambda: _sinks[-1].finish())
    _sinks[:] = [sink]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        within_budget,
        merge_call_fields,
        _add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False),
        exceptions(),
    ]
    renderers: list[Any]
    if chosen is LogFormat.JOURNAL:
        # Unconnected: journald may be restarted under us, and each send finds the socket anew.
        transport = JournaldTransport(journal_socket, connected=False)
        transport.socket.setblocking(False)  # a journald that is stuck must not stop the loop
        renderers = [JournalRenderer(transport, sink)]
    elif chosen is LogFormat.JSON:
        renderers = [structlog.processors.JSONRenderer(default=str)]
    else:
        renderers = [console()]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level.value]),
        logger_factory=lambda name="": _NamedLogger(sink, name),
        cache_logger_on_first_use=False,
    )
    for name in LIBRARY_LOGGERS:
        library = logging.getLogger(name)
        library.handlers = [_IntoStructlog()]
        library.setLevel(logging.WARNING)
        library.propagate = False
    logging.lastResort = _IntoStructlog(logging.WARNING)  # any other library's


def count_lost_lines(counter: Counter) -> None:
    """Have log lines that are lost counted there, from the beginning on."""
    for sink in _sinks:
        sink.count_in(counter)


def _tell_of_loss(lines: int) -> None:
    log.warning("log lines were lost: nobody took them", lines=lines)


class _IntoStructlog(logging.Handler):
    """Libraries' log lines, made by the standard module, go the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, _text(record), exc_info=record.exc_info or None)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # a library that has miscounted its values
        return f"{record.msg} {record.args}"


class _NamedLogger:
    """A logger that knows the name it was asked for by. Meets what structlog's bound loggers call."""

    def __init__(self, sink: LogSink, name: str) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = sink.write


def _add_logger_name(logger: Any, _method: str, event: Event) -> Event:
    event["logger"] = getattr(logger, "name", "")
    return event
