"""pytest fixtures of the lab: `pytest_plugins = ["tests.lab.fixtures"]` in a test module or conftest."""

import os
import sys

import pytest
import trio

from .asterisk import LabUnavailable, Prefix, find_or_unpack


@pytest.fixture(scope="session")
def pbx_prefix(pytestconfig: pytest.Config) -> Prefix:
    """An Asterisk to test with, fetched once if need be.

    Without one the test is skipped with the reason; where the environment has `CI`, that is a failure.
    """
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def progress(line: str) -> None:
        # A download of a minute should not look like a hang.
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", file=sys.stderr)

    try:
        return trio.run(find_or_unpack, progress)
    except LabUnavailable as error:
        reason = f"END-TO-END TEST NOT RUN, there is no Asterisk: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
