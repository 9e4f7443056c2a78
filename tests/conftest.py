"""What every run of these tests has."""

import random
from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from agentd.testing.clock import run_on_loopback

pytest_plugins = ["agentd.testing.plugin", "tests.left_behind"]
# The same examples each time, and no clock that judges them: what failed once fails again, and no host is too busy.
settings.register_profile("agentd", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `--hypothesis-profile any`: other examples each time, to find what nobody has thought of.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("agentd")
collect_ignore = ["parrot"]
"""A package of its own, whose tests are run where it is installed: tests/shell/third_party."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, default=0, help="another order of modules, and of tests in them, by number")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that are marked so run on virtual time; any order of the tests will do."""
    if seed := config.getoption("--shuffle"):
        order = random.Random(seed)
        modules = {item.path: order.random() for item in items}
        order.shuffle(items)
        items.sort(key=lambda item: modules[item.path])
    for item in items:
        real = item.get_closest_marker("real_time") or item.get_closest_marker("engines")
        virtual = item.get_closest_marker("loopback") and not real
        if virtual and isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.trio(run=run_on_loopback), append=False)  # before pytest-trio's own


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """structlog's own choice, where rich is installed, shows each frame with all of its variables: seconds for one."""
    processors: list[Any] = structlog.get_config()["processors"]
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors[:-1], console])


@pytest.fixture(autouse=True)
def logging_as_it_was(plain_tracebacks: None) -> Iterator[None]:
    """A command that is run in a test configures structlog for its process: the next test is another one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
