"""What every run of these tests has."""

from typing import Any

import pytest
import structlog

pytest_plugins = ["agentd.testing.plugin", "tests.left_behind"]
collect_ignore = ["parrot"]
"""A package of its own, whose tests are run where it is installed: tests/shell/third_party."""


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """structlog's own choice, where rich is installed, shows each frame with all of its variables: seconds for one."""
    processors: list[Any] = structlog.get_config()["processors"]
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors[:-1], console])
