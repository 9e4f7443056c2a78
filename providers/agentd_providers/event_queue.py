"""A session's events on their way to the call: bounded, and with a place for the last one, whatever came before it."""

from collections.abc import AsyncIterator

import attrs
import structlog
import trio

from agentd import budgets
from agentd.session_events import Ended, SessionEvent

log = structlog.get_logger("agentd_providers")

EVENT_QUEUE = budgets.SESSION_EVENTS.most
"""Events that may wait, the last one included."""


@attrs.define(eq=False)
class EventQueue:
    """One session's. No method waits; after `end` or `close` nothing is taken any more."""

    ended: bool = attrs.field(default=False, init=False)
    _lost: int = attrs.field(default=0, init=False)
    _send: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False, repr=False)
    _receive: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[SessionEvent](EVENT_QUEUE)

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        """The events that were put, in order. See agentd.agent.AgentSession.events."""
        return self._receive

    def put(self, event: SessionEvent) -> None:
        """Tell an event. One that finds the queue full is dropped, and counted in the log when the session ends."""
        if self.ended:
            return
        if self._send.statistics().current_buffer_used >= EVENT_QUEUE - 1:
            self._lost += 1
            budgets.count_exceeded(budgets.SESSION_EVENTS)
        else:
            self._send.send_nowait(event)

    def end(self, failure: str = "", *, of_this_call: bool = False) -> None:
        """Tell that the session is over (see Ended); only once."""
        if not self.ended:
            self._send.send_nowait(Ended(failure, of_this_call))
            self.close()

    def close(self) -> None:
        """Events from now on are dropped: nobody reads them."""
        if not self.ended:
            self.ended = True
            self._send.close()
            if self._lost:
                log.error("session events found their queue full and were dropped", count=self._lost)
