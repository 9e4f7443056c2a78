"""ExternalMedia RTP as a transport: a port of ours for each leg, and the one of Asterisk's that it names.

ARI's externalMedia makes a channel of chan_rtp's, which sends to the address that it is told and takes from there. Its
own address is in the channel variables UNICASTRTP_LOCAL_ADDRESS and _PORT, which the answer to the request has
(chan_rtp.c, unicast_rtp_request; resource_channels.c, external_media_rtp_udp). There is no SDP, RTCP or SRTP.
"""

import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import attrs
import trio

from agentd import deadlines
from agentd.addresses import from_here, host_port, is_address, is_everywhere
from agentd.config.schema import is_number
from agentd.config.settings import Config, Rtp
from agentd.errors import MediaTimeout
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.media.transport import ExternalMedia
from agentd.media.wideband import NARROW
from agentd.metrics import Metrics
from agentd.rtp.connection import RtpConnection
from agentd.rtp.packet import Outgoing
from agentd.rtp.payload import PAYLOADS, Payload
from agentd.rtp.ports import Ports, connect

RTP = "rtp"
BIND_DEADLINE = deadlines.RTP_BIND.seconds
ADDRESS_VARIABLE, PORT_VARIABLE = "UNICASTRTP_LOCAL_ADDRESS", "UNICASTRTP_LOCAL_PORT"


def external_media(settings: Rtp, port: int, payload: Payload) -> ExternalMedia:
    """A channel that sends to our port, wherever Asterisk is told that this is."""
    host = settings.advertise or from_here(settings.host)
    return ExternalMedia(RTP, "udp", host_port(host, port), payload.name)


def named_address(variables: Mapping[str, str]) -> tuple[str, int] | None:
    """Asterisk's own end, as its variables name it; None where they do not, or name what nobody can send to."""
    host, port = variables.get(ADDRESS_VARIABLE, "").strip().strip("[]"), variables.get(PORT_VARIABLE, "").strip()
    if is_address(host) is None or is_everywhere(host):
        return None
    return (host, int(port)) if is_number(port) and 0 < int(port) < 65536 else None


@attrs.define(eq=False)
class RtpTransport:
    """`config()` gives the configuration of now. Meets agentd.media.transport.Transport."""

    config: Callable[[], Config]
    metrics: Metrics
    open_port: Callable[[Rtp], socket.socket] = attrs.field(factory=lambda: Ports().open)
    """Gives a bound socket; raises NoPort."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    name: str = attrs.field(default=RTP, init=False)

    @property
    def bind_timeout(self) -> float:
        return BIND_DEADLINE

    @property
    def way(self) -> str:
        settings = self.config().rtp
        host = settings.advertise or from_here(settings.host)
        return f"Asterisk sends RTP to {host}, UDP ports {settings.first_port} to {settings.last_port}"

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        """See agentd.media.transport.Transport.carries. Asterisk would take no slin16: see agentd.rtp.payload."""
        return rate == NARROW

    @contextmanager
    def expect(self, leg: UUID, line: LineFormat) -> Iterator["RtpLeg"]:
        """See agentd.media.transport.Transport.expect. Raises MediaTimeout where no port is free."""
        settings = self.config().rtp
        payload = PAYLOADS[str(settings.codec)]
        try:
            opened = self.open_port(settings)
        except OSError as error:
            raise MediaTimeout(str(error)) from error
        expected = RtpLeg(
            external_media(settings, opened.getsockname()[1], payload),
            settings,
            payload,
            opened,
            self.metrics,
            self.clock,
        )
        try:
            yield expected
        finally:
            expected.give_up()


@attrs.define(eq=False)
class RtpLeg:
    """A port that Asterisk is told of. Meets agentd.media.transport.ExpectedLeg."""

    request: ExternalMedia
    _settings: Rtp
    _payload: Payload
    _opened: socket.socket
    _metrics: Metrics
    _clock: LineClock
    _variables: dict[str, str] = attrs.field(factory=dict, init=False)
    _peer: str = attrs.field(default="", init=False)
    _failure: OSError | None = attrs.field(default=None, init=False)
    _named: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taken: bool = attrs.field(default=False, init=False)

    def told(self, variables: Mapping[str, str]) -> None:
        """Take note of Asterisk's own end. It counts once: whoever sets the variables again turns no call's audio."""
        if self._named.is_set():
            return
        self._variables |= {name: variables[name] for name in (ADDRESS_VARIABLE, PORT_VARIABLE) if name in variables}
        if (named := named_address(self._variables)) is not None:
            self._peer = host_port(*named)
            try:
                connect(self._opened, *named)
            except OSError as error:
                self._failure = error
            self._named.set()

    async def connection(self, deadline: float) -> RtpConnection:
        """See agentd.media.transport.ExpectedLeg.connection."""
        with trio.move_on_after(deadline):
            await self._named.wait()
            if self._failure is not None:
                raise MediaTimeout(
                    f"Asterisk sends from {self._peer}, which is not reached from [rtp] host, {self._settings.host}: "
                    f"{self._failure.strerror}"
                )
            self._taken = True
            return RtpConnection(
                self._opened,
                self._peer,
                self._payload,
                Outgoing(self._payload.payload_type, *map(secrets.randbits, (32, 16, 32))),
                self._settings.silence_timeout,
                self._metrics,
                self._clock,
            )
        raise MediaTimeout(
            f"Asterisk did not name its own end within {deadline:g} s: the answer to externalMedia has "
            f"{ADDRESS_VARIABLE} {self._variables.get(ADDRESS_VARIABLE, '')!r:.40} and "
            f"{PORT_VARIABLE} {self._variables.get(PORT_VARIABLE, '')!r:.40}"
        )

    def give_up(self) -> None:
        """Close the port, if nobody has taken the connection."""
        if not self._taken:
            self._opened.close()


def open_rtp(config: Callable[[], Config], metrics: Metrics, clock: LineClock) -> RtpTransport:
    """The transport, once it is seen that its address and its ports can be had; `clock` is that of all lines. Raises
    NoPort."""
    transport = RtpTransport(config, metrics, clock=clock)
    transport.open_port(config().rtp).close()
    return transport
