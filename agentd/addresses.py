"""Addresses as text: of listeners, and as they are told to others. Pure.

An IPv6 address has colons of its own, so where a port follows it stands in brackets (RFC 3986, section 3.2.2). Asterisk
reads host:port the same way (main/netsock2.c, `ast_sockaddr_split_hostport`): `::1:8090` is one address to it, without
a port.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

EVERY_IPV4, EVERY_IPV6 = "0.0.0.0", "::"
LOOPBACK: Final = ("127.0.0.1", "::1")
NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


def host_port(host: str, port: int | str) -> str:
    """Host and port in one text: `192.0.2.7:8090`, `[::1]:8090`, `pbx.lan:8090`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, int]:
    """The host, without brackets, and the port, 1 to 65535. Raises ValueError, which says what is expected."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        if _is_ipv6(text.strip("[]")):
            raise ValueError(f"must be address:port; an IPv6 address stands in brackets: [{text.strip('[]')}]:8090")
        raise ValueError("must be address:port")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    if bare and _is_ipv6(bare):
        return bare, int(port)
    if _is_ipv6(host) or _is_ipv6(text):
        raise ValueError(f"must be address:port; an IPv6 address stands in brackets: [{host}]:{port}")
    if not NAME.fullmatch(host):
        raise ValueError("must be address:port")
    return host, int(port)


def canonical(host: str) -> str:
    """An address to listen on in its one form: `0::0` is `::`, `::ffff:127.0.0.1` is 127.0.0.1. A name stays."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def from_here(host: str) -> str:
    """Where what listens on `host` is reached by who is on this host. `::` serves both families."""
    host = canonical(host)
    return LOOPBACK[0] if host in (EVERY_IPV4, EVERY_IPV6, "localhost") else host


def listening_addresses(host: str) -> tuple[str, ...]:
    """The addresses at which a listener on `host` is reached: `::` serves both families, and so does `localhost`."""
    host = canonical(host)
    both = {EVERY_IPV6: (EVERY_IPV4, EVERY_IPV6), "localhost": LOOPBACK}
    return both.get(host, (host,))


def collide(one: str, other: str) -> bool:
    """Whether listeners on these two hosts cannot have the same port."""
    return any(_overlap(a, b) for a in listening_addresses(one) for b in listening_addresses(other))


def _overlap(one: str, other: str) -> bool:
    a, b = ip_address(one), ip_address(other)
    return a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)


def is_everywhere(host: str) -> bool:
    """Whether this is no address of anybody's, but every address of a host."""
    return canonical(host) in (EVERY_IPV4, EVERY_IPV6)


def is_address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a text is; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_ipv6(text: str) -> bool:
    return isinstance(is_address(text), IPv6Address)
