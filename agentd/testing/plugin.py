"""The pytest plug-in: tells, at the end of a run, which tests of a contract were passed over, and why.

`pytest_plugins = ["agentd.testing.plugin"]` in the topmost conftest.py turns it on. It is no `pytest11` entry point: a
run that tests nothing of agentd's would load it all the same, and pytest would rewrite every assert of the package that
brings one.
"""

import pytest

PASSED_OVER = "agentd: passed over"
"""The name of the property of a test that holds why it was passed over."""


def pass_over(request: pytest.FixtureRequest, reason: str) -> None:
    """Skip the test that asks for a fixture, and have the report say why. Raises pytest's own Skipped."""
    request.node.user_properties.append((PASSED_OVER, reason))
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Name each test that was passed over."""
    reasons = [
        (report.nodeid, value)
        for report in terminalreporter.getreports("skipped")
        for name, value in report.user_properties
        if name == PASSED_OVER
    ]
    if reasons:
        terminalreporter.section("passed over by the contracts of agentd.testing")
        for test, reason in reasons:
            terminalreporter.line(f"{test}: {reason}")
