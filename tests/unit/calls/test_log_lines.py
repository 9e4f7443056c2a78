"""A call logs so many lines; what is over that is counted, and its end is told all the same."""

from contextvars import copy_context

import structlog
from structlog.contextvars import merge_contextvars

from agentd.budgets import LOG_LINES
from agentd.calls.log_lines import CallLines, begin_call_lines, within_budget

log = structlog.get_logger()


def test_a_peer_that_makes_a_call_log_without_end_costs_so_many_lines() -> None:
    exceeded: list[None] = []
    call = copy_context()
    lines: CallLines = call.run(begin_call_lines, lambda: exceeded.append(None))
    task = call.copy()
    with structlog.testing.capture_logs(processors=[merge_contextvars, within_budget]) as logged:
        for _ in range(LOG_LINES.most):
            task.run(log.warning, "not understood")
            call.run(log.warning, "not understood either")
        log.info("of another call")
        assert len(logged) == LOG_LINES.most + 1
        assert len(exceeded) == LOG_LINES.most
        told = [line for line in logged if "log_budget" in line]
        assert told == [logged[LOG_LINES.most - 1]], "the last line says that it is"
        assert lines.end() == LOG_LINES.most
        call.run(log.error, "the call failed")
        call.run(log.info, "call ended")
    assert [line["event"] for line in logged[-2:]] == ["the call failed", "call ended"]


def test_a_call_that_logs_little_has_nothing_left_out() -> None:
    call = copy_context()
    lines: CallLines = call.run(begin_call_lines, lambda: None)
    with structlog.testing.capture_logs(processors=[within_budget]) as logged:
        for _ in range(100):
            call.run(log.info, "state")
    assert lines.end() == 0
    assert [line for line in logged if "log_budget" in line] == []
