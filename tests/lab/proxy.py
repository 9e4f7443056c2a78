"""A TCP proxy on loopback whose cable can be pulled."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

CHUNK = 65536
FIRST_BYTES_DEADLINE = 5.0


@attrs.define(eq=False)
class Proxy:
    """Forwards connections to `target` ("host", port), until told otherwise.

    `only`: pulling affects only connections whose first bytes contain this (b"" all of them). `tap` is told what comes
    back from the target, before it is forwarded; `rewrite` gives what is forwarded in its place.
    """

    target: tuple[str, int]
    only: bytes = b""
    tap: Callable[[bytes], None] | None = None
    rewrite: Callable[[bytes], bytes] = bytes
    port: int = attrs.field(default=0, init=False)
    pulled: bool = attrs.field(default=False, init=False)
    _open: set[trio.CancelScope] = attrs.field(factory=set, init=False)

    def pull(self) -> None:
        """Cut the affected connections, and every new one, until `plug`."""
        self.pulled = True
        self.cut()

    def plug(self) -> None:
        """Let connections through again."""
        self.pulled = False

    def cut(self) -> None:
        """Cut the affected connections once; new ones get through."""
        for scope in tuple(self._open):
            scope.cancel()

    async def serve(self, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, near: trio.SocketStream) -> None:
        try:
            with trio.fail_after(FIRST_BYTES_DEADLINE):
                first = bytes(await near.receive_some(CHUNK))
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return
        affected = self.only in first
        if not (affected and self.pulled):
            await self._forward(near, first, affected)

    async def _forward(self, near: trio.SocketStream, first: bytes, affected: bool) -> None:
        with trio.CancelScope() as scope:
            if affected:
                self._open.add(scope)
            try:
                far = await trio.open_tcp_stream(*self.target)
                async with far, trio.open_nursery() as nursery:
                    await far.send_all(first)
                    nursery.start_soon(_pump, near, far, nursery.cancel_scope, None, bytes)
                    nursery.start_soon(_pump, far, near, nursery.cancel_scope, self.tap, self.rewrite)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self._open.discard(scope)


async def _pump(
    source: trio.SocketStream,
    sink: trio.SocketStream,
    scope: trio.CancelScope,
    tap: Callable[[bytes], None] | None,
    rewrite: Callable[[bytes], bytes],
) -> None:
    while data := await source.receive_some(CHUNK):
        if tap is not None:
            tap(bytes(data))
        await sink.send_all(rewrite(data))
    scope.cancel()


@asynccontextmanager
async def open_proxy(target: tuple[str, int], port: int = 0, only: bytes = b"") -> AsyncIterator[Proxy]:
    """A proxy for as long as the block is entered."""
    proxy = Proxy(target, only)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve, port)
        yield proxy
        nursery.cancel_scope.cancel()
