"""Which fields a call's log lines tell, whichever of its tasks writes them."""

from contextvars import Context, copy_context

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars

from agentd.calls.fields import begin_call_fields, merge_call_fields, set_call_fields


def line(context: Context, **values: str) -> dict[str, object]:
    """What a task with this context would log."""
    with structlog.testing.capture_logs(processors=[merge_contextvars, merge_call_fields]) as lines:
        context.run(structlog.get_logger().info, "x", **values)
    return {key: value for key, value in lines[0].items() if key not in ("event", "log_level")}


def test_what_changes_in_one_task_is_told_by_all_of_the_call() -> None:
    call = copy_context()
    call.run(begin_call_fields, call_id="17.1", agent="first")
    voice, keeper = call.copy(), call.copy()
    keeper.run(set_call_fields, agent="second", state="Speaking")
    for task in (call, voice, keeper):
        assert line(task) == {"call_id": "17.1", "agent": "second", "state": "Speaking"}


def test_a_task_about_another_agent_and_a_line_that_names_one_have_their_own_word() -> None:
    call = copy_context()
    call.run(begin_call_fields, call_id="17.1", agent="second")
    session = call.copy()
    session.run(bind_contextvars, agent="first")
    assert line(session) == {"call_id": "17.1", "agent": "first"}
    assert line(call, agent="third") == {"call_id": "17.1", "agent": "third"}


def test_calls_know_nothing_of_each_other_nor_of_what_was_before() -> None:
    daemon = copy_context()
    daemon.run(bind_contextvars, state="Speaking")
    one, other = daemon.copy(), daemon.copy()
    one.run(begin_call_fields, call_id="1")
    other.run(begin_call_fields, call_id="2")
    one.run(set_call_fields, agent="sales")
    assert line(one) == {"call_id": "1", "agent": "sales"}
    assert line(other) == {"call_id": "2"}
    assert line(daemon) == {"state": "Speaking"}


def test_outside_of_a_call_they_are_the_task_s_and_its_children_s() -> None:
    task = copy_context()
    stranger = task.copy()
    task.run(set_call_fields, agent="sales")
    assert line(task.copy()) == {"agent": "sales"}
    assert line(stranger) == {}
