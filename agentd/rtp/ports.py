"""UDP ports for calls' audio, one a leg, out of a range."""

import errno
import socket
from ipaddress import IPv6Address, ip_address

import attrs

from agentd.addresses import EVERY_IPV6, LOOPBACK, canonical
from agentd.config.settings import Rtp


class NoPort(OSError):
    """No port of the range can be had."""

    def __init__(self, error: OSError, settings: Rtp) -> None:
        ports = f"{settings.first_port} to {settings.last_port}"
        why = "all are taken" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        super().__init__(error.errno, f"no UDP port of {ports} on {settings.host}, as [rtp] says, can be had: {why}")

    def __str__(self) -> str:
        return str(self.strerror)


@attrs.define(eq=False)
class Ports:
    """Gives each leg a port, in turn: what comes late for one that has ended finds nobody."""

    _turn: int = attrs.field(default=0, init=False)

    def open(self, settings: Rtp) -> socket.socket:
        """A socket that does not block, bound to the address and to a free port. Raises NoPort."""
        ports = settings.last_port - settings.first_port + 1
        refused = OSError(errno.EADDRINUSE, "all are taken")
        for _ in range(ports):
            port = settings.first_port + self._turn % ports
            self._turn += 1
            try:
                return _bound(settings.host, port)
            except OSError as error:
                refused = error
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    break
        raise NoPort(refused, settings) from refused


def connect(opened: socket.socket, host: str, port: int) -> None:
    """Have a socket send to this IP address, and take from no other. Raises OSError, where it cannot be reached from
    the address that the socket has."""
    address = ip_address(host)
    if opened.family == socket.AF_INET6 and not isinstance(address, IPv6Address):
        host = f"::ffff:{host}"
    elif opened.family == socket.AF_INET and isinstance(address, IPv6Address):
        raise OSError(errno.EAFNOSUPPORT, "an IPv6 address, and ours is none")
    opened.connect((host, port))


def _bound(host: str, port: int) -> socket.socket:
    host = LOOPBACK[0] if host == "localhost" else canonical(host)
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        if host == EVERY_IPV6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # both families (RFC 3493, section 5.3)
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    return opened
