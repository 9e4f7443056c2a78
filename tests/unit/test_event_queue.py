"""A session's events: bounded, with a place for the last one."""

import structlog
import trio

from agentd import session_events as tells
from agentd.budgets import SESSION_EVENTS
from agentd_providers.event_queue import EVENT_QUEUE, EventQueue
from tests.unit.budgets_counted import counting


async def told(queue: EventQueue) -> list[object]:
    with trio.fail_after(1):
        return [event async for event in queue.events]


async def test_what_is_put_comes_in_order_and_the_end_is_the_last_of_it() -> None:
    queue = EventQueue()
    queue.put(tells.Thinking())
    queue.put(tells.Degraded("slow"))
    queue.end("gone")
    assert await told(queue) == [tells.Thinking(), tells.Degraded("slow"), tells.Ended("gone")]


async def test_after_the_end_nothing_is_taken_not_even_another_end() -> None:
    queue = EventQueue()
    queue.end()
    queue.put(tells.Thinking())
    queue.end("again")
    queue.close()
    assert queue.ended
    assert await told(queue) == [tells.Ended("")]


async def test_a_queue_that_nobody_reads_has_a_place_for_the_end_and_tells_once_what_was_lost() -> None:
    queue = EventQueue()
    with counting() as counted:
        for _ in range(EVENT_QUEUE + 10):
            queue.put(tells.Thinking())
    assert counted == {SESSION_EVENTS: 11}
    with structlog.testing.capture_logs() as logs:
        queue.end("gone")
        queue.close()
    assert [log["count"] for log in logs] == [11]
    assert (await told(queue))[-1] == tells.Ended("gone")


async def test_a_session_that_is_closed_tells_nothing_more() -> None:
    queue = EventQueue()
    queue.put(tells.Thinking())
    queue.close()
    queue.put(tells.Thinking())
    assert await told(queue) == [tells.Thinking()]
