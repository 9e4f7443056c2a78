"""A plug-in for pytest: each test is blamed for what it leaves to the collector, and no other."""

import gc
import sys
from collections.abc import Generator

import pytest


def pytest_collection_finish() -> None:
    """What the imports have made is looked at no more: a collection then costs next to nothing."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Collect what a test leaves to the collector before the next one begins: an open socket, a generator that was not
    ended, a task's error that nobody read. Such a warning is an error of the test that brought it about."""
    yield
    if isinstance(item, pytest.Function):
        item.funcargs.clear()
    left: list[str] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda found: left.append(f"{found.object!r}: {found.exc_value!r}")
    try:
        gc.collect()
    finally:
        sys.unraisablehook = before
    gc.freeze()  # what is alive now belongs to the session
    if left:
        pytest.fail("left to the collector: " + "; ".join(left), pytrace=False)
