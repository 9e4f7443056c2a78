"""What an Asterisk that is none does for each kind of externalMedia: a row each.

Source: Asterisk 22 res/ari/resource_channels.c (ari_channels_external_media: what is asked for by which parameters).
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from uuid import UUID

import attrs

from agentd.addresses import LOOPBACK
from agentd.rtp.transport import ADDRESS_VARIABLE, PORT_VARIABLE
from tests.walk.channels import PbxChannel
from tests.walk.faults import How, Mishap
from tests.walk.pbx import Switch
from tests.walk.rtp_peer import RtpPeer

Asked = Mapping[str, str]
"""The parameters of a request for externalMedia."""


@attrs.frozen
class Carriage:
    """How audio is carried. `bring` has a channel carry it, and gives the channel's variables; it raises OSError where
    Asterisk cannot make the channel."""

    channel: str
    """The channel's name."""
    bring: Callable[[Switch, PbxChannel, Asked], Awaitable[dict[str, str]]]


def _external_host(asked: Asked) -> tuple[str, int]:
    host, _, port = asked["external_host"].rpartition(":")
    return host, int(port)


async def _audiosocket(switch: Switch, media: PbxChannel, asked: Asked) -> dict[str, str]:
    ends = partial(switch.mouth, media), partial(switch.ear, media)
    await switch.connect(media, switch.audiosocket(media, UUID(asked["data"]), *ends), *_external_host(asked))
    return {}


async def _rtp(switch: Switch, media: PbxChannel, asked: Asked) -> dict[str, str]:
    """A port of Asterisk's own; where it is, the channel's variables tell."""
    made: list[RtpPeer] = []

    def carry(mishap: Mishap) -> RtpPeer:
        ends = partial(switch.mouth, media), partial(switch.ear, media)
        made.append(RtpPeer(switch.datagrams, *ends, partial(switch.vanish, media.id), mishap))
        return made[0]

    mishap = await switch.connect(media, carry, *_external_host(asked))
    if mishap.how is How.UNNAMED:
        return {}
    return {ADDRESS_VARIABLE: LOOPBACK[0], PORT_VARIABLE: str(made[0].port)}


CARRIAGES: Mapping[tuple[str, str], Carriage] = {
    ("audiosocket", "tcp"): Carriage("AudioSocket/media", _audiosocket),
    ("rtp", "udp"): Carriage("UnicastRTP/media", _rtp),
}
"""By `encapsulation` and `transport`."""
