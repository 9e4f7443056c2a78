"""A vendor's WebSocket: JSON messages and audio, one writer, every failure as a ProviderError.

The connection itself is agentd.websocket's. Messages go out through a bounded queue, so that nobody who feeds audio
ever waits for the vendor.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from agentd import budgets, deadlines
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable, WebSocketError, ungrouped
from agentd.parsing import mended
from agentd.telltales import concealed
from agentd.websocket import WebSocket
from agentd_providers.vendor.json_object import SHOWN

OUTBOX = budgets.VENDOR_OUTBOX.most
"""Messages that may wait to be sent."""
RESERVED = 64
"""Places of the outbox that audio leaves free for control messages."""
SEND_DEADLINE = deadlines.SOCKET_SEND.seconds


@attrs.define(eq=False)
class VendorSocket:
    """An open connection to `vendor` (its name, for messages). Made by `open_vendor_socket`."""

    vendor: str
    conceal: Callable[[str], str] = attrs.field(repr=False)
    """Takes secrets out of a text."""
    dropped_audio: int = attrs.field(default=0, init=False)
    """Pieces of audio that were not sent because the vendor took none."""
    _socket: WebSocket
    _send: trio.MemorySendChannel[str | bytes] = attrs.field(repr=False)
    _failure: str = attrs.field(default="", init=False)
    """Why nothing could be sent any more."""

    @property
    def dropped_messages(self) -> int:
        """Messages of the vendor's that were dropped because nobody took them in time."""
        return self._socket.dropped

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a JSON message, in order with all else; never waits. Raises ProviderUnavailable when the vendor has not
        taken anything for so long that the queue is full."""
        try:
            self._send.send_nowait(mended(json.dumps(message, ensure_ascii=False, separators=(",", ":"))))
        except trio.WouldBlock:
            budgets.count_exceeded(budgets.VENDOR_OUTBOX)
            raise ProviderUnavailable(f"{self.vendor}: takes no messages: {OUTBOX} wait to be sent") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the connection is gone, which `messages` tells

    def send_audio(self, audio: bytes | Mapping[str, Any]) -> None:
        """Send audio, as bytes or in a JSON message; never waits and never raises: what the vendor does not take in
        time is dropped and counted."""
        if self._send.statistics().current_buffer_used >= OUTBOX - RESERVED:
            self.dropped_audio += 1
            budgets.count_exceeded(budgets.VENDOR_OUTBOX)
            return
        message = audio if isinstance(audio, bytes) else json.dumps(audio, separators=(",", ":"))
        try:
            self._send.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.dropped_audio += 1

    async def receive(self) -> str | bytes:
        """The vendor's next message: text, or bytes of audio. Raises ProviderUnavailable once the connection is gone.

        Cancelling it loses nothing.
        """
        try:
            return await self._socket.receive()
        except WebSocketError as error:
            why = _shown(self._failure or str(error), self._socket.url, self.conceal)
            raise ProviderUnavailable(f"{self.vendor}: {why}") from None  # a traceback would show it as it came

    async def ping(self, deadline: float) -> bool:
        """Whether the vendor's server answers a ping within `deadline` seconds."""
        with trio.move_on_after(deadline):
            try:
                await self._socket.ping()
            except WebSocketError:
                return False  # why, `receive` tells
            return True
        return False

    async def write(self, receive: trio.MemoryReceiveChannel[str | bytes], connection: trio.CancelScope) -> None:
        """Send what waits, until the connection is gone; `receive` tells why. A connection that does not take a message
        is ended: it may be deaf only, and never tell."""
        async with receive:
            async for message in receive:
                try:
                    await self._socket.send(message, SEND_DEADLINE)
                except WebSocketError as error:
                    self._failure = str(error)
                    connection.cancel()
                    return


@asynccontextmanager
async def open_vendor_socket(
    vendor: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    *,
    connect_deadline: float,
    max_message: int = 1 << 20,
    conceal: Callable[[str], str] | None = None,
) -> AsyncIterator[VendorSocket]:
    """A connection to `url` (which holds no secret: those go into `headers`), closed on leaving the block.

    A vendor's reason for a failure may repeat what we sent: `conceal` takes secrets out of it, by default the values of
    `headers` and the last word of each.

    Raises:
        ProviderUnavailable: nobody answered within `connect_deadline` seconds, or the server is in trouble.
        ProviderRejected: the server refused us: HTTP 4xx but 408, 425 and 429.
    """
    socket = WebSocket(
        url,
        headers,
        connect_deadline=connect_deadline,
        max_message=max_message,
        queue=budgets.VENDOR_INBOX.most,
        on_dropped=partial(budgets.count_exceeded, budgets.VENDOR_INBOX),
    )
    send, receive = trio.open_memory_channel[str | bytes](OUTBOX)
    conceal = conceal or partial(concealed, secrets=[value for _name, value in headers])
    connection = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - passes it on
        with connection:
            await socket.run(task_status=task_status)

    with ungrouped(ProviderError):
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(run)
            except WebSocketError as error:
                shown = WebSocketError(_shown(str(error), url, conceal), error.status)
                raise _refusal(vendor, shown) from shown
            vendor_socket = VendorSocket(vendor, conceal, socket, send)
            nursery.start_soon(vendor_socket.write, receive, connection)
            yield vendor_socket
            nursery.cancel_scope.cancel()


def _refusal(vendor: str, error: WebSocketError) -> ProviderUnavailable | ProviderRejected:
    if error.status in (401, 403):
        return ProviderRejected(f"{vendor} refuses our credentials (HTTP {error.status}): is the key right?")
    if 400 <= error.status < 500 and error.status not in (408, 425, 429):
        return ProviderRejected(f"{vendor} refuses our request: {error}")
    return ProviderUnavailable(f"{vendor}: {error}")


def _shown(why: str, url: str, conceal: Callable[[str], str]) -> str:
    """Why a connection failed, which begins with its URL; the rest may be a vendor's own words."""
    return conceal(why)[: len(url) + SHOWN]
