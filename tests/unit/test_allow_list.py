"""Who may connect to a listener."""

from ipaddress import ip_network
from typing import Any, cast

import attrs
import pytest
import trio

from agentd.allow_list import NOWHERE, address_of, is_allowed


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("192.0.2.7", [], True),
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.2.7", ["10.0.0.0/8", "192.0.2.7/32"], True),
        ("192.0.2.7", ["10.0.0.0/8"], False),
        ("::1", ["::1/128"], True),
        ("::1", ["127.0.0.0/8"], False),
        (NOWHERE, ["0.0.0.0/1"], True),
        (NOWHERE, ["10.0.0.0/8"], False),
    ],
)
def test_an_address_is_allowed_if_a_network_has_it_or_none_is_named(
    address: str, networks: list[str], allowed: bool
) -> None:
    assert is_allowed(address, [ip_network(network) for network in networks]) is allowed


@attrs.frozen
class Peer:
    """A stream and its socket: `name` as getpeername gives it, None where the peer is gone."""

    name: tuple[Any, ...] | None

    @property
    def socket(self) -> "Peer":
        return self

    def getpeername(self) -> tuple[Any, ...]:
        if self.name is None:
            raise OSError(107, "Transport endpoint is not connected")
        return self.name


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.7", 40000), "192.0.2.7"),
        (("::ffff:192.0.2.7", 40000, 0, 0), "192.0.2.7"),
        (("2001:db8::1", 40000, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 40000, 0, 2), "fe80::1"),
        (None, NOWHERE),
    ],
)
def test_an_address_is_told_without_the_port_and_as_what_it_is(name: tuple[Any, ...] | None, address: str) -> None:
    assert address_of(cast("trio.SocketStream", Peer(name))) == address
