"""The events that a call reacts to, in order: bounded, and never full for the news that matters."""

from collections import deque

import attrs
import structlog
import trio

from agentd import budgets
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.call")

INBOX = budgets.INBOX.most
"""Events that may wait, and as many again of the call's own."""


@attrs.define(eq=False)
class Inbox:
    """One call's. Sessions `send`, and wait while it is full; the call itself does `post`, which never waits."""

    metrics: Metrics
    _send: trio.MemorySendChannel[object] = attrs.field(init=False, repr=False)
    _receive: trio.MemoryReceiveChannel[object] = attrs.field(init=False, repr=False)
    _overflow: deque[object] = attrs.field(factory=deque, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(INBOX)

    async def send(self, event: object) -> None:
        """Append an event of a session."""
        await self._send.send(event)

    def post(self, event: object) -> None:
        """Append an event of the call's own. A session may have filled the inbox; the news that the caller hung up
        gets through all the same."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            if len(self._overflow) < INBOX:
                self._overflow.append(event)
            else:
                self.metrics.call_budget_exceeded.labels(budget=budgets.INBOX.name).inc()
                log.error("an event found the call's inbox full and was dropped", event_type=type(event).__name__)

    async def receive(self) -> object:
        """The next event; for one reader. Cancelling it loses nothing."""
        if self._overflow:
            await trio.lowlevel.checkpoint_if_cancelled()
            return self._overflow.popleft()
        event = await self._receive.receive()
        self.metrics.queue_depth.labels(queue="inbox").observe(self.waiting)
        return event

    @property
    def waiting(self) -> int:
        """Events of sessions that wait."""
        return self._receive.statistics().current_buffer_used
