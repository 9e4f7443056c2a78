"""A vendor's WebSocket: JSON messages and audio, one writer, every failure as a ProviderError.

The connection itself is agentd.websocket's. What is sent goes through a bounded queue, so that nobody who feeds audio
ever waits for the vendor.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable, WebSocketError
from agentd.websocket import WebSocket

OUTBOX = 512
"""Messages that may wait to be sent: ten seconds of audio in frames of 20 ms."""
RESERVED = 64
"""Places of the outbox that audio leaves free for control messages."""
SEND_DEADLINE = 5.0
"""Seconds that a message may take to leave; then the connection is given up, for a frame may have been cut."""
SHOWN = 200
"""Characters of a peer's message that an error repeats."""


@attrs.define(eq=False)
class VendorSocket:
    """An open connection to `vendor` (its name, for messages). Made by `open_vendor_socket`."""

    vendor: str
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
            self._send.send_nowait(json.dumps(message, ensure_ascii=False, separators=(",", ":")))
        except trio.WouldBlock:
            raise ProviderUnavailable(f"{self.vendor}: takes no messages: {OUTBOX} wait to be sent") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the connection is gone, which `messages` tells

    def send_audio(self, audio: bytes | Mapping[str, Any]) -> None:
        """Send audio, as bytes or in a JSON message; never waits and never raises: what the vendor does not take in
        time is dropped and counted."""
        if self._send.statistics().current_buffer_used >= OUTBOX - RESERVED:
            self.dropped_audio += 1
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
            raise ProviderUnavailable(f"{self.vendor}: {self._failure or error}") from error

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
) -> AsyncIterator[VendorSocket]:
    """A connection to `url` (which holds no secret: those go into `headers`), closed on leaving the block.

    Raises:
        ProviderUnavailable: nobody answered within `connect_deadline` seconds, or the server is in trouble.
        ProviderRejected: the server refused us: HTTP 4xx but 408, 425 and 429.
    """
    socket = WebSocket(url, headers, connect_deadline=connect_deadline, max_message=max_message)
    send, receive = trio.open_memory_channel[str | bytes](OUTBOX)
    failure: WebSocketError | None = None
    connection = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - passes it on
        with connection:
            await socket.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(run)
        except WebSocketError as error:
            failure = error  # raised in here, it would come in a group
        else:
            vendor_socket = VendorSocket(vendor, socket, send)
            nursery.start_soon(vendor_socket.write, receive, connection)
            try:
                yield vendor_socket
            finally:
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise _refusal(vendor, failure) from failure


def _refusal(vendor: str, error: WebSocketError) -> ProviderUnavailable | ProviderRejected:
    if error.status in (401, 403):
        return ProviderRejected(f"{vendor} refuses our credentials (HTTP {error.status}): is the key right?")
    if 400 <= error.status < 500 and error.status not in (408, 425, 429):
        return ProviderRejected(f"{vendor} refuses our request: {error}")
    return ProviderUnavailable(f"{vendor}: {error}")


def parse_object(vendor: str, message: str) -> Mapping[str, Any]:
    """A vendor's text message as the JSON object that it must be. Raises ProviderProtocolError."""
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProviderProtocolError(f"{vendor}: expected JSON, got {message[:SHOWN]!r}") from error
    if not isinstance(parsed, dict):
        raise ProviderProtocolError(f"{vendor}: expected a JSON object, got {message[:SHOWN]!r}")
    return parsed
