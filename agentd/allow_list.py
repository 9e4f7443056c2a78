"""The allow-list of a listener: where a connection comes from, and whether that is in an allowed network."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import trio

NOWHERE = "0.0.0.0"
"""The address of a peer that was gone before we looked."""


def address_of(stream: trio.SocketStream) -> str:
    """The peer's IP address as text, IPv4 also where it came in over an IPv6 socket."""
    try:
        name: Any = stream.socket.getpeername()
    except OSError:
        return NOWHERE
    return str(name[0]).partition("%")[0].removeprefix("::ffff:")


def is_allowed(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether `address` may connect; where no network is named, everybody may."""
    return not networks or any(ip_address(address) in network for network in networks)
