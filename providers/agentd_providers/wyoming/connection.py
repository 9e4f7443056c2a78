"""One Wyoming connection, from either side: events over TCP, every wait with a deadline, failures as ProviderError.

Wyoming has no request numbers, so a connection does one thing at a time; and no event for giving something up, so
whoever wants no answer any more closes the connection.
"""

import math
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from agentd.errors import ProviderError, ProviderProtocolError, ProviderUnavailable, first_of
from agentd_providers.wyoming.protocol import Decoder, Event, encode, failure_of
from agentd_providers.wyoming.settings import split_uri

CHUNK = 64 * 1024
MAX_DATA = 64 * 1024
"""Bytes of an event's data. JSON is parsed in one go, in which nobody else on the loop is served."""
MAX_INFO_DATA = 256 * 1024
"""Of an `info`, which is asked for seldom: wyoming-piper's list of voices takes 86 kB."""
MAX_PAYLOAD = 8 << 20
"""Bytes of audio in an event: some servers send a whole result in one, and a minute at 44.1 kHz takes 5 MiB."""
MOST_SKIPPED = 1000
"""Events that nobody asked for, one after the other, before a peer counts as one that does not answer."""


@attrs.define(eq=False)
class WyomingConnection:
    """An open connection to `peer` (its name, for messages). One task may send, and one receive, at a time.

    Cancelling either may cut an event in two, as may a deadline that is missed: close the connection then.
    """

    peer: str
    stream: trio.SocketStream
    gone: bool = attrs.field(default=False, init=False)
    """It was found to be closed by the peer, or broken."""
    decoder: Decoder = attrs.field(factory=lambda: Decoder(MAX_DATA, MAX_PAYLOAD), repr=False)

    @property
    def at_rest(self) -> bool:
        """Whether nothing has come that nobody has received, not even the end: it is fit for another request."""
        if not self.decoder.between_events:
            return False
        arrivals = select.poll()
        arrivals.register(self.stream.socket.fileno(), select.POLLIN)
        return not arrivals.poll(0)

    async def send(self, event: Event, deadline: float) -> None:
        """Send an event. Raises ProviderUnavailable when the connection is gone, or the peer does not take it within
        `deadline` seconds."""
        try:
            with trio.fail_after(deadline):
                await self.stream.send_all(encode(event))
        except trio.TooSlowError:
            raise ProviderUnavailable(f"{self.peer}: took nothing for {deadline:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self.gone = True
            raise ProviderUnavailable(f"{self.peer}: the connection is gone: {_reason(error)}") from error

    async def receive(self, deadline: float, until: float = math.inf) -> Event | None:
        """The peer's next event; None once it has closed the connection between two.

        It must be there within `deadline` seconds, and by the monotonic second `until`.

        Raises:
            ProviderUnavailable: the connection broke, or nothing came for `deadline` seconds.
            ProviderProtocolError: what came is no Wyoming, or ended within an event.
        """
        try:
            with trio.fail_at(min(until, trio.current_time() + deadline)):
                while (event := self._next_event()) is None:
                    data = await self.stream.receive_some(CHUNK)
                    if not data:
                        self.gone = True
                        if self.decoder.between_events:
                            return None
                        raise ProviderProtocolError(f"{self.peer}: the connection ended within an event")
                    self.decoder.feed(data)
                else:
                    await trio.lowlevel.checkpoint()
        except trio.TooSlowError:
            raise ProviderUnavailable(f"{self.peer}: silent for {deadline:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self.gone = True
            raise ProviderUnavailable(f"{self.peer}: the connection is gone: {_reason(error)}") from error
        return event

    async def expect(self, *types: str, deadline: float, until: float = math.inf) -> Event:
        """The next event of these types, within `deadline` seconds and by the monotonic second `until`; what else comes
        is passed over.

        Raises what `receive` does, what the peer's `error` event means, and ProviderUnavailable when the connection
        ends before.
        """
        until = min(until, trio.current_time() + deadline)
        for _ in range(MOST_SKIPPED):
            event = await self.receive(deadline, until)
            if event is None:
                raise ProviderUnavailable(f"{self.peer}: closed the connection instead of answering")
            if event.type in types:
                return event
            if event.type == "error":
                with self.blaming():
                    raise failure_of(event)
        raise ProviderProtocolError(f"{self.peer}: {MOST_SKIPPED} events and none of {', '.join(types)}")

    def close(self) -> None:
        """Close at once."""
        self.stream.socket.close()

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Name the peer in what is raised about its events."""
        try:
            yield
        except ProviderError as error:
            raise type(error)(f"{self.peer}: {error}") from None

    def _next_event(self) -> Event | None:
        with self.blaming():
            return self.decoder.next_event()


async def connect(uri: str, deadline: float, max_data: int = MAX_DATA) -> WyomingConnection:
    """Connect to a server (tcp://host:port), whose events may have `max_data` bytes of data. Raises
    ProviderUnavailable. Cancelling leaves nothing."""
    host, port = split_uri(uri)
    try:
        with trio.fail_after(deadline):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        raise ProviderUnavailable(f"{uri}: no connection within {deadline:g} s") from None
    except OSError as error:
        raise ProviderUnavailable(f"{uri}: cannot connect: {_reason(error)}") from error
    return WyomingConnection(uri, stream, Decoder(max_data, MAX_PAYLOAD))


@asynccontextmanager
async def open_connection(uri: str, deadline: float, max_data: int = MAX_DATA) -> AsyncIterator[WyomingConnection]:
    """The same, closed on leaving the block."""
    connection = await connect(uri, deadline, max_data)
    try:
        yield connection
    finally:
        connection.close()


def _reason(error: BaseException) -> BaseException:
    """The system's own error, where Trio wraps it."""
    cause = error.__cause__ or error
    return first_of(cause) if isinstance(cause, BaseExceptionGroup) else cause
