"""What an Asterisk that is none does for each kind of externalMedia: a row each.

Source: Asterisk 22 res/ari/resource_channels.c (ari_channels_external_media: what is asked for by which parameters).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from uuid import UUID

import attrs
import trio

from agentd.addresses import LOOPBACK
from agentd.chan_websocket.transport import ID_VARIABLE
from agentd.rtp.transport import ADDRESS_VARIABLE, PORT_VARIABLE
from tests.shell.media.chan_websocket_lines import Channel
from tests.walk.channels import PbxChannel
from tests.walk.faults import How, Mishap
from tests.walk.pbx import Switch
from tests.walk.rtp_peer import RtpPeer
from tests.walk.websocket_peer import WebSocketClientPeer, WebSocketPeer

Asked = Mapping[str, str]
"""The parameters of a request for externalMedia."""


@attrs.frozen
class Carriage:
    """How audio is carried. `bring` has a channel carry it, and gives the channel's variables; it raises OSError where
    Asterisk cannot make the channel."""

    channel: str
    """The channel's name."""
    bring: Callable[[Switch, PbxChannel, Asked], Awaitable[dict[str, str]]]
    waits: bool = False
    """The channel is in its application only once agentd has connected to it, and not when the request is answered."""


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


async def _websocket(switch: Switch, media: PbxChannel, asked: Asked) -> dict[str, str]:
    """A channel that agentd connects to, under an id that the channel's variables tell."""
    await trio.lowlevel.checkpoint()
    assert asked["external_host"] == "INCOMING"
    assert asked["transport_data"] == "f(json)", "or control messages are plain text"
    mishap, ends = switch.mishap(), (partial(switch.mouth, media), partial(switch.ear, media))
    enter, hang_up = partial(switch.admit, media), partial(switch.vanish, media.id)
    media.peer = peer = WebSocketPeer(Channel(asked["format"]), *ends, enter, hang_up, mishap)
    switch.nursery.start_soon(peer.wait)
    return {} if mishap.how is How.UNNAMED else {ID_VARIABLE: peer.connection_id}


async def _websocket_client(switch: Switch, media: PbxChannel, asked: Asked) -> dict[str, str]:
    """A channel that connects to agentd, and names itself by what stands in v(): the query of what it asks for."""
    client = switch.websocket_client
    assert asked["external_host"] == client.name
    options = re.fullmatch(r"f\(json\)v\((\w+=\w+)\)", asked["transport_data"])
    assert options is not None, "or control messages are plain text, or the leg has no name"

    def carry(mishap: Mishap) -> WebSocketClientPeer:
        ends = partial(switch.mouth, media), partial(switch.ear, media)
        hang_up = partial(switch.vanish, media.id)
        channel, query = Channel(asked["format"]), options[1]
        return WebSocketClientPeer(channel, *ends, _nothing, hang_up, mishap, client=client, query=query)

    await switch.connect(media, carry, "127.0.0.1", client.port)
    return {}


def _nothing() -> None:
    """The channel is in the application already."""


CARRIAGES: Mapping[tuple[str, str, str], Carriage] = {
    ("audiosocket", "tcp", ""): Carriage("AudioSocket/media", _audiosocket),
    ("rtp", "udp", ""): Carriage("UnicastRTP/media", _rtp),
    ("none", "websocket", "server"): Carriage("WebSocket/INCOMING", _websocket, waits=True),
    ("none", "websocket", "client"): Carriage("WebSocket/agentd", _websocket_client),
}
"""By `encapsulation`, `transport` and `connection_type`."""
