"""The AudioSocket listener: who may connect, and which call a connection belongs to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network, IPv6Network
from uuid import UUID, uuid4

import attrs
import structlog
import trio

from agentd.accepting import KeptPort, crowding
from agentd.allow_list import address_of, is_allowed
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.wire import SocketWire
from agentd.errors import MediaProtocolError, MediaTimeout
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.audiosocket")

PARKED_LIMIT = 16
"""Connections that may wait at a time for a call to name their UUID."""
UNNAMED_LIMIT = 128
"""Connections that may be there at a time without having said which call they are of. Asterisk says so at once."""
BACKLOG = 128


_TRIAL = 0xA9E47D0C


def trial_uuid() -> UUID:
    """A UUID that no call ever has: `agentd doctor` has Asterisk connect with one, to see that it can."""
    return UUID(int=_TRIAL << 96 | uuid4().int & (1 << 96) - 1)


def is_trial(uuid: UUID) -> bool:
    """Whether a UUID is of `trial_uuid`'s making: it is refused also where strangers are calls."""
    return uuid.int >> 96 == _TRIAL


@attrs.define(eq=False)
class Expectation:
    """One call waits for one connection."""

    uuid: UUID
    line: LineFormat
    _send: trio.MemorySendChannel[AudioSocketConnection]
    _receive: trio.MemoryReceiveChannel[AudioSocketConnection]

    async def connection(self, deadline: float) -> AudioSocketConnection:
        """The connection that carries this UUID. Raises MediaTimeout if none comes in `deadline` seconds."""
        with trio.move_on_after(deadline):
            return await self._receive.receive()
        raise MediaTimeout(
            f"no AudioSocket connection with UUID {self.uuid} came within {deadline:g} s: "
            "does Asterisk reach agentd's listener (agentd doctor tells), and does the dialplan pass on the UUID?"
        )


@attrs.define(eq=False)
class Admission:
    """Which UUIDs are expected. Nothing else gets in.

    Asterisk may connect before agentd has read the VarSet event that names the UUID (seen in 3 of 107 calls).
    While a call waits for such a name (`expecting_unnamed`), unknown connections are parked for a moment
    instead of being refused.
    """

    _expected: dict[UUID, Expectation] = attrs.field(factory=dict, init=False)
    _parked: dict[UUID, tuple[AudioSocketConnection, trio.Event]] = attrs.field(factory=dict, init=False)
    _unnamed: int = attrs.field(default=0, init=False)

    @contextmanager
    def expect(self, uuid: UUID, line: LineFormat = LineFormat()) -> Iterator[Expectation]:  # noqa: B008 - frozen
        """Expect a connection for as long as the block runs; one that nobody took is given back. `line`: what it will
        carry."""
        send, receive = trio.open_memory_channel[AudioSocketConnection](1)
        expectation = self._expected[uuid] = Expectation(uuid, line, send, receive)
        if uuid in self._parked:
            connection, claimed = self._parked.pop(uuid)
            claimed.set()
            self.offer(uuid, connection)
        try:
            yield expectation
        finally:
            self._expected.pop(uuid, None)
            with suppress(trio.WouldBlock):
                receive.receive_nowait().release()
            send.close()
            receive.close()

    @contextmanager
    def expecting_unnamed(self) -> Iterator[None]:
        """While the block runs, connections with unknown UUIDs are parked until a call names them."""
        self._unnamed += 1
        try:
            yield
        finally:
            self._unnamed -= 1

    def offer(self, uuid: UUID, connection: AudioSocketConnection) -> bool:
        """Give a connection to the call that expects it; false if none does. A UUID admits one connection."""
        if (expectation := self._expected.pop(uuid, None)) is None:
            return False
        connection.line = expectation.line
        expectation._send.send_nowait(connection)
        return True

    async def park(self, uuid: UUID, connection: AudioSocketConnection, patience: float) -> bool:
        """Wait until a call names this UUID; false if none does within `patience` seconds."""
        if not self._unnamed or uuid in self._parked or len(self._parked) >= PARKED_LIMIT:
            return False
        claimed = trio.Event()
        self._parked[uuid] = (connection, claimed)
        try:
            with trio.move_on_after(patience):
                await claimed.wait()
            return claimed.is_set()
        finally:
            self._parked.pop(uuid, None)


@attrs.define(eq=False)
class AudioSocketListener:
    """Accepts AudioSocket connections on `host`:`port` and hands each to the call that expects it. Times in seconds.

    `max_connections` counts those that have said their UUID; of the others, `UNNAMED_LIMIT` may be there, each for
    `uuid_timeout`.
    """

    host: str
    port: int
    admission: Admission
    metrics: Metrics
    max_connections: int
    allow: tuple[IPv4Network | IPv6Network, ...]
    uuid_timeout: float
    bind_grace: float
    on_stranger: Callable[[UUID, AudioSocketConnection], bool] = lambda _uuid, _connection: False
    """Asked about a connection that no call expects: true if it is a call by itself, whoever takes it releases it."""
    connections: trio.Nursery | None = None
    """Where connections live; None: in the listener's own nursery, so that they end with it."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    _port: KeptPort = attrs.field(init=False)
    """Its number is kept: Asterisk has been told of it."""
    _open: int = attrs.field(default=0, init=False)
    _unnamed: dict[trio.CancelScope, str] = attrs.field(factory=dict, init=False)
    """The address of each connection whose UUID has not come; oldest first."""

    def __attrs_post_init__(self) -> None:
        self._port = KeptPort("AudioSocket", "audiosocket", self.host, self.port, BACKLOG)

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._port.listening

    async def run(  # noqa: ASYNC128 - passes task_status on
        self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; `started` gives the port that was bound. May be run again after it has failed.

        Raises AddressUnusable when the address cannot be bound. Asterisk's connections that it cannot accept for want
        of descriptors or memory wait (agentd.accepting).
        """
        await self._port.serve(self._handle, self.connections, self._failed, task_status=task_status)

    def _failed(self) -> None:
        """A connection's handler has raised."""
        self.metrics.audiosocket_refused.labels(reason="failed").inc()

    async def _handle(self, stream: trio.SocketStream) -> None:
        """One connection from its first byte to its close (its port closes the stream afterwards)."""
        peer = address_of(stream)
        if not is_allowed(peer, self.allow):
            self._refuse("not_allowed", peer)
            return
        self.metrics.audiosocket_connections.inc()
        try:
            connection = AudioSocketConnection(SocketWire(stream), peer, self.metrics, clock=self.clock)
            if (uuid := await self._named(connection)) is not None:
                await self._serve(uuid, connection)
        finally:
            self.metrics.audiosocket_connections.dec()

    async def _named(self, connection: AudioSocketConnection) -> UUID | None:
        """The UUID that a connection begins with; None where it is refused."""
        peer = connection.peer
        if len(self._unnamed) >= UNNAMED_LIMIT:
            oldest = [*self._unnamed][crowding([*self._unnamed.values()])]
            del self._unnamed[oldest]
            oldest.cancel(reason="another connection takes its place")
        scope = trio.CancelScope()
        self._unnamed[scope] = peer
        try:
            with scope, trio.fail_after(self.uuid_timeout):
                return (await connection.handshake()).uuid
            self._refuse("crowded_out", peer, "no UUID frame yet, and too many others without one")
        except trio.TooSlowError:
            self._refuse("no_uuid", peer, f"no UUID frame within {self.uuid_timeout:g} s")
        except (MediaProtocolError, trio.BrokenResourceError) as error:
            self._refuse("bad_handshake", peer, str(error))
        finally:
            self._unnamed.pop(scope, None)
        return None

    async def _serve(self, uuid: UUID, connection: AudioSocketConnection) -> None:
        peer = connection.peer
        if self._open >= self.max_connections:
            self._refuse("too_many", peer, f"{self._open} connections are open already")
            return
        self._open += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.carry_silence)
                # An Expectation that appears while we are parked gets the connection from `expect` itself.
                expected = self.admission.offer(uuid, connection)
                known = expected or await self.admission.park(uuid, connection, self.bind_grace)
                if known or (not is_trial(uuid) and self.on_stranger(uuid, connection)):
                    await connection.released.wait()
                else:
                    self._refuse("unexpected_uuid", peer, f"no call expects UUID {uuid}")
                nursery.cancel_scope.cancel()
        finally:
            self._open -= 1

    def _refuse(self, reason: str, peer: str, detail: str = "") -> None:
        self.metrics.audiosocket_refused.labels(reason=reason).inc()
        log.warning("AudioSocket connection refused", reason=reason, peer=peer, detail=detail)
