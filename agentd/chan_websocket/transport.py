"""chan_websocket as a transport, in its two directions of connecting: who opens a leg's WebSocket, and how it is known.

* agentd connects to Asterisk's HTTP server, at `/media/ID`: the ID is Asterisk's secret of this one channel, which the
  answer to the request has (MEDIA_WEBSOCKET_CONNECTION_ID). The default: the server is there already, for ARI, and no
  file of Asterisk's has to be written.
* Asterisk connects to agentd, by a connection of websocket_client.conf. The leg's id is in the query of what it asks
  for, and it names a user and a password.

Source: Asterisk 22 channels/chan_websocket.c; res/ari/resource_channels.c, external_media_websocket.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.asterisk_releases import WEBSOCKET, has
from agentd.audio.formats import AudioFormat, Encoding
from agentd.chan_websocket.connection import ChanWebSocketConnection
from agentd.config.settings import Config
from agentd.errors import Failure, MediaProtocolError, MediaTimeout, WebSocketError, contained, ungrouped
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.media.transport import ExternalMedia
from agentd.media.wideband import NARROW, WIDE
from agentd.metrics import Metrics
from agentd.websocket import WebSocket

log = structlog.get_logger("agentd.chan_websocket")

NAME = "websocket"
BIND_DEADLINE = deadlines.MEDIA_SOCKET_BIND.seconds
OPENING_DEADLINE = deadlines.MEDIA_SOCKET.seconds
ID_VARIABLE = "MEDIA_WEBSOCKET_CONNECTION_ID"
SUBPROTOCOL = "media"
LEG_QUERY = "leg"
"""What names the leg in the query, where Asterisk connects."""
LONGEST_MESSAGE = 1 << 16
"""Bytes. Asterisk itself takes none that is longer."""
WAITING = 256
"""Messages that wait for the call: five seconds of audio."""
JSON = "f(json)"


def external_media(client: str, leg: UUID, line: LineFormat) -> ExternalMedia:
    """A channel of chan_websocket's: one that waits for us, or one that connects by the named `client`."""
    audio_format = str(AudioFormat(Encoding.SLIN, line.rate))
    if not client:
        return ExternalMedia(
            "none", "websocket", "INCOMING", audio_format, connection_type="server", transport_data=JSON
        )
    named = f"{JSON}v({LEG_QUERY}={leg.hex})"
    return ExternalMedia("none", "websocket", client, audio_format, connection_type="client", transport_data=named)


def media_url(asterisk: str, connection_id: str) -> str:
    """Where a channel's WebSocket is, on the HTTP server that ARI is on; empty where the id is none.

    >>> media_url("http://127.0.0.1:8088", "5bb4c4a9-e9a0-4c1b-8a3f-0c9d1b7a2e11")
    'ws://127.0.0.1:8088/media/5bb4c4a9-e9a0-4c1b-8a3f-0c9d1b7a2e11'
    """
    try:
        channel = UUID(connection_id)
    except ValueError:
        return ""
    parts = urlsplit(asterisk)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/media/{channel}"


@attrs.define(eq=False)
class ExpectedMedia:
    """A leg that is waited for. Meets agentd.media.transport.ExpectedLeg."""

    request: ExternalMedia
    line: LineFormat
    metrics: Metrics
    on_named: Callable[["ExpectedMedia", str], None] = lambda _leg, _id: None
    """Told once the id under which Asterisk's channel waits for us."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    begun: bool = attrs.field(default=False, init=False)
    """A WebSocket is there, or is being opened: there is no second one."""
    _over: bool = attrs.field(default=False, init=False)
    """Nobody waits for it any more."""
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failure: str = attrs.field(default="", init=False)
    _connection: ChanWebSocketConnection | None = attrs.field(default=None, init=False)
    _taken: bool = attrs.field(default=False, init=False)

    def told(self, variables: Mapping[str, str]) -> None:
        """Take note of the channel's id. It counts once: nobody sends a call's audio elsewhere afterwards."""
        if not self.begun and ID_VARIABLE in variables and self.request.connection_type == "server":
            self.begun = True
            self.on_named(self, variables[ID_VARIABLE])

    async def connection(self, deadline: float) -> ChanWebSocketConnection:
        """See agentd.media.transport.ExpectedLeg.connection."""
        with trio.move_on_after(deadline):
            await self._came.wait()
            if self._connection is not None:
                self._taken = True
                return self._connection
        raise MediaTimeout(self._failure or f"no media WebSocket came about within {deadline:g} s")

    async def carry(self, socket: WebSocket, peer: str) -> None:
        """See an open WebSocket through until its connection is released, or the leg is given up: hand it on once
        Asterisk has said what it carries. Whoever runs the WebSocket closes it then."""
        connection = ChanWebSocketConnection(socket, peer, self.line, self.metrics, self.clock)
        try:
            with trio.fail_after(OPENING_DEADLINE):
                await connection.begin()
        except trio.TooSlowError:
            self.failed(f"{peer} has opened a media WebSocket, and sent no MEDIA_START")
        except (MediaProtocolError, WebSocketError) as error:
            self.failed(f"{peer}: {error}")
        else:
            if not self._over:
                self._connection = connection
                self._came.set()
                await connection.released.wait()

    def failed(self, why: str) -> None:
        """There will be no connection."""
        self._failure = why
        self._came.set()

    def give_up(self) -> None:
        """The leg is not waited for any more: what was not taken is closed."""
        self._over = True
        if self._connection is not None and not self._taken:
            self._connection.release()


async def run_socket(socket: WebSocket, admitted: Callable[[], ExpectedMedia], peer: str, metrics: Metrics) -> None:
    """Open a leg's WebSocket, and close it when the leg is over. `admitted()` is the leg, once it is open.

    Raises WebSocketError where it cannot be opened. Cancelling it closes the WebSocket.
    """
    with ungrouped(WebSocketError):
        async with trio.open_nursery() as nursery:
            await nursery.start(socket.run)
            with metrics.chan_websocket_connections.track_inprogress():
                await admitted().carry(socket, peer)
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class ChanWebSocket:
    """`config()` gives the configuration of now; by whom and where connections are opened was settled at the start. In
    `connections` live the WebSockets that agentd opens. Meets agentd.media.transport.Transport."""

    config: Callable[[], Config]
    metrics: Metrics
    connections: trio.Nursery
    asterisk: str
    """The URL of Asterisk's HTTP server."""
    client: str = ""
    """The connection by which Asterisk connects to us; empty: we connect."""
    ours: str = ""
    """Where we listen then."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    """That of all lines; without one a clock of its own."""
    expected: dict[UUID, ExpectedMedia] = attrs.field(factory=dict, init=False)
    """The legs that Asterisk may connect for."""
    name: str = attrs.field(default=NAME, init=False)

    @property
    def bind_timeout(self) -> float:
        return BIND_DEADLINE

    @property
    def way(self) -> str:
        if self.client:
            return f"Asterisk connects to {self.ours}, by [{self.client}] of websocket_client.conf"
        return f"agentd connects to {self.asterisk}, /media"

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        """See agentd.media.transport.Transport.carries."""
        if asterisk is not None and not has(asterisk, WEBSOCKET):
            return False
        return rate == NARROW or (rate == WIDE and self.config().websocket.wideband)

    @contextmanager
    def expect(self, leg: UUID, line: LineFormat) -> Iterator[ExpectedMedia]:
        """See agentd.media.transport.Transport.expect."""
        expected = ExpectedMedia(external_media(self.client, leg, line), line, self.metrics, self._connect, self.clock)
        if self.client:
            self.expected[leg] = expected
        try:
            yield expected
        finally:
            self.expected.pop(leg, None)
            expected.give_up()

    def _connect(self, leg: ExpectedMedia, connection_id: str) -> None:
        """Connect to the channel that waits for us. Beside the call: its channel is in its application only then."""
        if not (url := media_url(self.asterisk, connection_id)):
            leg.failed(f"Asterisk's answer names no WebSocket: {ID_VARIABLE} is {connection_id!r:.60}")
            return
        self.connections.start_soon(self._open, leg, url)

    async def _open(self, leg: ExpectedMedia, url: str) -> None:
        peer = urlsplit(url).netloc
        socket = WebSocket(
            url,
            connect_deadline=OPENING_DEADLINE,
            max_message=LONGEST_MESSAGE,
            queue=WAITING,
            subprotocols=(SUBPROTOCOL,),
        )

        def failed(error: Failure) -> None:
            """The outermost frame: every call's connections live beside this one."""
            if isinstance(error, WebSocketError):
                leg.failed(str(error))
            else:
                log.error("a media WebSocket is ended by an error of ours", peer=peer, exc_info=error)
                leg.failed(f"an error of agentd's own, {type(error).__name__}; the log tells more")

        with contained(failed):
            await run_socket(socket, lambda: leg, peer, self.metrics)
