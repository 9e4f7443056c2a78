"""Ports for RTP that nobody else has."""

from collections.abc import Iterator
from contextlib import contextmanager

from agentd.config.settings import Rtp
from tests.lab.ports import PortClaims


@contextmanager
def rtp_ports(count: int) -> Iterator[Rtp]:
    """So many in a row, as the settings of a range, for as long as the block runs."""
    claims = PortClaims()
    first = claims.udp(count)
    try:
        yield Rtp(first_port=first, last_port=first + count - 1)
    finally:
        claims.release()
