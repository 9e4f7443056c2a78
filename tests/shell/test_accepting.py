"""The accept loop: neither a shortage of descriptors nor a handler's error ends it."""

import errno
import socket

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.accepting import GONE, PAUSE, SHORTAGE, SILENCE, accept_connections


@attrs.define
class Listener:
    """A listener that says what a test wants accept(2) to say; then nobody connects."""

    says: list[object]
    closed: bool = False

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        if not self.says:
            await trio.sleep_forever()
        match self.says.pop(0):
            case int(number):
                raise OSError(number, f"errno {number}")
            case stream:
                return stream  # type: ignore[return-value]

    async def __aenter__(self) -> "Listener":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True


def connection() -> trio.SocketStream:
    ours, theirs = socket.socketpair()
    theirs.close()
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours))


async def accept(listener: Listener, handler: object, seconds: float) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            await accept_connections("test", [listener], handler, nursery)  # type: ignore[arg-type,list-item]
    assert listener.closed


@pytest.mark.parametrize("number", sorted(SHORTAGE), ids=errno.errorcode.get)
async def test_a_shortage_of_descriptors_is_told_once_and_waited_out(number: int, autojump_clock: MockClock) -> None:
    served: list[float] = []

    async def handle(stream: trio.SocketStream) -> None:
        served.append(trio.current_time())

    with structlog.testing.capture_logs() as logs:
        await accept(Listener([number] * 20 + [connection()]), handle, 10.0)
    assert served == pytest.approx([20 * PAUSE])
    assert [line["event"] for line in logs] == ["no connection can be accepted now; it is tried again"]


async def test_a_shortage_that_lasts_is_told_again_after_a_while(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        await accept(Listener([errno.EMFILE] * 10_000), None, SILENCE + 1)
    assert len(logs) == 2


@pytest.mark.parametrize("number", sorted(GONE), ids=errno.errorcode.get)
async def test_a_connection_that_broke_before_it_was_accepted_is_passed_over(
    number: int, autojump_clock: MockClock
) -> None:
    served: list[float] = []

    async def handle(stream: trio.SocketStream) -> None:
        served.append(trio.current_time())

    await accept(Listener([number, number, connection()]), handle, 1.0)
    assert served == [0.0]


async def test_a_listener_that_is_broken_itself_is_an_error() -> None:
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        await accept(Listener([errno.EBADF]), None, 1.0)


async def test_what_a_handler_raises_ends_its_own_connection(autojump_clock: MockClock) -> None:
    streams = [connection(), connection()]
    served: list[trio.SocketStream] = []

    async def handle(stream: trio.SocketStream) -> None:
        if stream is streams[0]:
            raise RuntimeError("of ours")
        await trio.sleep(1)
        served.append(stream)

    with structlog.testing.capture_logs() as logs:
        await accept(Listener([*streams]), handle, 2.0)
    assert served == streams[1:]
    assert [line["event"] for line in logs] == ["a connection is ended by an error of ours"]
    assert all(stream.socket.fileno() == -1 for stream in streams), "closed in either case"
