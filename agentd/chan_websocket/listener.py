"""The listener for Asterisk's media WebSockets: who may connect, and which leg a connection is.

Nobody gets in whom no call waits for. The leg's id is as good as a secret; a password stands beside it, so that a
request that was seen somewhere is of no use.
"""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs
import structlog
import trio

from agentd.accepting import KeptPort, crowding
from agentd.addresses import from_here, host_port
from agentd.allow_list import address_of, is_allowed
from agentd.chan_websocket.transport import (
    LEG_QUERY,
    LONGEST_MESSAGE,
    OPENING_DEADLINE,
    SUBPROTOCOL,
    WAITING,
    ChanWebSocket,
    ExpectedMedia,
    run_socket,
)
from agentd.config.secrets import Secret, need_secret
from agentd.config.settings import Config
from agentd.errors import WebSocketError
from agentd.media.clock import LineClock
from agentd.metrics import Metrics
from agentd.websocket import Handshake, ServedWebSocket

log = structlog.get_logger("agentd.chan_websocket")

UNNAMED_LIMIT = 128
"""Connections that may be there at a time without having said which leg they are. Asterisk says so at once."""
LONGEST_TARGET = 512
BACKLOG = 128
PASSWORD = "AGENTD_WEBSOCKET_PASSWORD"
STATUSES: Mapping[str, int] = {
    "unauthorized": 401,
    "unexpected_leg": 404,
    "second_connection": 409,
    "wrong_subprotocol": 400,
    "too_many": 503,
}
"""What a client is told, by the reason for which it is refused."""


def leg_of(target: str) -> UUID | None:
    """The leg that a request names in its query, or None.

    >>> leg_of("/?leg=0a9c6fbc1f2f4b7f9a3be1f2f0a1c2d3")
    UUID('0a9c6fbc-1f2f-4b7f-9a3b-e1f2f0a1c2d3')
    """
    if len(target) > LONGEST_TARGET:
        return None
    try:
        (named,) = parse_qs(urlsplit(target).query, max_num_fields=8)[LEG_QUERY]
        return UUID(named)
    except (KeyError, ValueError):
        return None


def authorized(header: str, username: str, password: Secret) -> bool:
    """Whether an Authorization header names this user and password (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    wanted = f"{username}:{password.reveal()}".encode()
    return scheme.lower() == "basic" and hmac.compare_digest(given, wanted)


@attrs.define(eq=False)
class MediaWebSocketListener:
    """Accepts media WebSockets on `host`:`port` and hands each to the leg that is expected.

    `max_connections` counts those that were let in; of others, `UNNAMED_LIMIT` may be there, for `OPENING_DEADLINE`.
    """

    host: str
    port: int
    expected: Mapping[UUID, ExpectedMedia]
    metrics: Metrics
    username: str
    password: Secret
    max_connections: int
    allow: Sequence[IPv4Network | IPv6Network]
    connections: trio.Nursery
    """Where connections live."""
    _port: KeptPort = attrs.field(init=False)
    """Its number is kept: Asterisk has it in its configuration."""
    _open: int = attrs.field(default=0, init=False)
    _unnamed: dict[trio.CancelScope, str] = attrs.field(factory=dict, init=False)
    """The address of each connection that has not said which leg it is; oldest first."""

    def __attrs_post_init__(self) -> None:
        self._port = KeptPort("media WebSocket", "websocket", self.host, self.port, BACKLOG)

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._port.listening

    async def run(  # noqa: ASYNC128 - passes task_status on
        self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; `started` gives the port that was bound. May be run again after it has failed.

        Raises AddressUnusable when the address cannot be bound.
        """
        await self._port.serve(self._handle, self.connections, self._failed, task_status=task_status)

    def _failed(self) -> None:
        """A connection's handler has raised."""
        self._count("failed")

    async def _handle(self, stream: trio.SocketStream) -> None:
        """One connection from its first byte to its close."""
        peer = address_of(stream)
        if not is_allowed(peer, self.allow):
            self._refuse("not_allowed", peer)
            return
        if len(self._unnamed) >= UNNAMED_LIMIT:
            oldest = [*self._unnamed][crowding([*self._unnamed.values()])]
            del self._unnamed[oldest]
            oldest.cancel(reason="another connection takes its place")
        scope = trio.CancelScope()
        self._unnamed[scope] = peer
        try:
            with scope:
                await self._serve(stream, peer, scope)
            if scope.cancelled_caught:
                self._refuse("crowded_out", peer, "no request yet, and too many others without one")
        finally:
            self._unnamed.pop(scope, None)

    async def _serve(self, stream: trio.SocketStream, peer: str, scope: trio.CancelScope) -> None:
        admitted: list[ExpectedMedia] = []
        refused: list[str] = []

        def admit(handshake: Handshake) -> int:
            self._unnamed.pop(scope, None)
            found = self._judge(handshake)
            if isinstance(found, str):
                refused.append(found)
                return STATUSES[found]
            found.begun = True
            self._open += 1
            admitted.append(found)
            return 0

        socket = ServedWebSocket(
            url=f"ws://{peer}",
            stream=stream,
            admit=admit,
            subprotocol=SUBPROTOCOL,
            connect_deadline=OPENING_DEADLINE,
            max_message=LONGEST_MESSAGE,
            queue=WAITING,
        )
        try:
            await run_socket(socket, lambda: admitted[0], peer, self.metrics)
        except WebSocketError as error:
            self._refuse(refused[0] if refused else "bad_handshake", peer, str(error))
            for leg in admitted:  # gone before it was answered: there is no other connection of it to wait for
                leg.failed(str(error))
        finally:
            self._open -= len(admitted)

    def _judge(self, handshake: Handshake) -> ExpectedMedia | str:
        """The leg that a client connects for, or the reason for which it is refused."""
        if not authorized(handshake.headers.get("authorization", ""), self.username, self.password):
            return "unauthorized"
        leg = leg_of(handshake.target)
        expected = None if leg is None else self.expected.get(leg)
        if expected is None:
            return "unexpected_leg"
        if expected.begun:
            return "second_connection"
        if SUBPROTOCOL not in handshake.subprotocols:
            return "wrong_subprotocol"
        return "too_many" if self._open >= self.max_connections else expected

    def _refuse(self, reason: str, peer: str, detail: str = "") -> None:
        self._count(reason)
        log.warning("media WebSocket refused", reason=reason, peer=peer, detail=detail)

    def _count(self, reason: str) -> None:
        self.metrics.chan_websocket_refused.labels(reason=reason).inc()


async def open_chan_websocket(
    config: Callable[[], Config],
    metrics: Metrics,
    start: Callable[..., Awaitable[int]],
    connections: trio.Nursery,
    clock: LineClock,
) -> tuple[ChanWebSocket, MediaWebSocketListener | None]:
    """The transport, and the listener that has been started for it, if Asterisk is to connect.

    `config()` gives the configuration of now; who connects to whom is settled once. `start` is a nursery's, or that of
    who runs the listener again when it fails; in `connections` the WebSockets live; `clock` is that of all lines.
    Raises AddressUnusable, and ConfigError where the password is missing.
    """
    settings = config().websocket
    transport = ChanWebSocket(config, metrics, connections, config().asterisk.url, settings.connection, clock=clock)
    if not settings.connection:
        return transport, None
    listener = MediaWebSocketListener(
        settings.host,
        settings.port,
        transport.expected,
        metrics,
        settings.username,
        need_secret(PASSWORD, "the password with which Asterisk opens media WebSockets"),
        settings.max_connections,
        settings.allowed_networks,
        connections,
    )
    port = await start(listener.run, name="websocket")
    transport.ours = host_port(from_here(settings.host), port)
    return transport, listener
