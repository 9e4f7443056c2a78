"""What is logged by commands that are no service: lines on standard error, for standard output has their result.

structlog's own default writes tracebacks by `rich` wherever that is installed, with every variable of every frame. It
imports structlog and no room of ours: `agentd hand-back` has to work where a part of this version does not.
"""

import sys

import structlog

from agentd.service.tracebacks import plain_traceback


def exceptions() -> structlog.typing.Processor:
    """Renders errors as plain, bounded text, for any kind of line."""
    return structlog.processors.ExceptionRenderer(lambda exc_info: plain_traceback(exc_info[1]))


def console() -> structlog.typing.Processor:
    """Renders readable lines; errors are text by then."""
    plain = structlog.dev.plain_traceback  # it keeps structlog from looking for rich
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)


def log_to_stderr() -> None:
    """Configure structlog for the process; a service configures it anew (agentd.service.logs)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            exceptions(),
            console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=lambda *_name: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
