"""The Asterisk that is none: it refuses what the real one would, and tells what that one tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentd.ari.rest import AriRest
from agentd.chan_websocket.events import MediaStart, parse_event
from agentd.chan_websocket.transport import ID_VARIABLE, SUBPROTOCOL, media_url
from agentd.conversation.commands import Destination
from agentd.errors import AriRejected, WebSocketError, ungrouped
from agentd.media.transport import DialplanMedia, ExternalMedia
from agentd.metrics import Metrics
from agentd.websocket import WebSocket
from tests.walk.ari import Pbx
from tests.walk.channels import Place
from tests.walk.network import Network

CALLER = "1.1"


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[Pbx, AriRest]]:
    """An Asterisk whose application somebody listens to, and a caller in it."""
    Network().enable()
    pbx: Any = Pbx()
    async with trio.open_nursery() as nursery:
        pbx.nursery = nursery
        pbx.sockets.append(None)  # somebody listens
        pbx.arrive(CALLER, "agent=main")
        yield pbx, pbx.rest(Metrics())
        nursery.cancel_scope.cancel()


def told(pbx: Pbx) -> list[str]:
    """The kinds of the events since the last time."""
    kinds = [kind for kind, _ in pbx.untold]
    pbx.untold.clear()
    return kinds


async def refused(request: Any) -> int:
    with pytest.raises(AriRejected) as caught:
        await request
    return caught.value.status


async def test_a_caller_who_went_on_is_not_ours_and_one_who_is_gone_is_not_there() -> None:
    async with exchange() as (pbx, rest):
        await rest.answer(CALLER)
        await rest.set_variable(CALLER, "AGENTD_RESULT", "completed")
        await rest.continue_in_dialplan(CALLER, Destination("internal", "200"))
        assert pbx.place_of(CALLER) is Place.DIALPLAN
        assert told(pbx) == ["StasisStart", "ChannelStateChange", "ChannelVarset", "StasisEnd"]
        assert await refused(rest.continue_in_dialplan(CALLER)) == 409
        assert await refused(rest.answer(CALLER)) == 409
        pbx.hang_up(CALLER)
        assert pbx.place_of(CALLER) is Place.GONE
        assert await refused(rest.answer(CALLER)) == 404
        assert told(pbx) == [], "it was not ours any more"


async def test_a_caller_who_hangs_up_ends_their_files_and_their_stay() -> None:
    async with exchange() as (pbx, rest):
        await rest.play(CALLER, "p1", "sound:sorry")
        told(pbx)
        pbx.hang_up(CALLER)
        assert told(pbx) == ["ChannelHangupRequest", "PlaybackFinished", "StasisEnd"]
        assert not await rest.playback_exists("p1")


async def test_files_are_heard_one_after_the_other(autojump_clock: MockClock) -> None:
    async with exchange() as (pbx, rest):
        told(pbx)
        await rest.play(CALLER, "p1", "sound:one")
        await rest.play(CALLER, "p2", "sound:two")
        assert not await rest.control_playback("p2", "pause"), "it waits"
        assert await rest.control_playback("p1", "pause")
        await trio.sleep(10)
        assert told(pbx) == ["PlaybackStarted"]
        assert await rest.control_playback("p1", "unpause")
        await trio.sleep(10)
        assert told(pbx) == ["PlaybackFinished", "PlaybackStarted", "PlaybackFinished"]


async def test_a_file_that_cannot_be_read_fails() -> None:
    async with exchange() as (pbx, rest):
        await rest.play(CALLER, "p1", "sound:/nowhere/at-all")
        assert [fields["playback"]["state"] for kind, fields in pbx.untold if kind == "PlaybackFinished"] == ["failed"]


async def test_only_what_is_in_the_application_enters_a_bridge() -> None:
    async with exchange() as (pbx, rest):
        await rest.create_bridge("b1")
        await rest.add_to_bridge("b1", CALLER)
        assert await refused(rest.add_to_bridge("b2", CALLER)) == 404
        assert await refused(rest.add_to_bridge("b1", "9.9")) == 400
        await rest.continue_in_dialplan(CALLER)
        assert await refused(rest.add_to_bridge("b1", CALLER)) == 422
        assert pbx.rooms == {"b1"}, "a bridge outlasts who was in it"


async def test_a_media_channel_that_cannot_connect_is_not_made() -> None:
    async with exchange() as (pbx, rest):
        media = ExternalMedia(
            "audiosocket", "tcp", "127.0.0.1:8090", "slin", data="5afe0000-0000-0000-0000-000000000001"
        )
        assert await refused(rest.external_media("m1", "agentd", media)) == 500
        await rest.originate_local("l1", "l2", "agentd", DialplanMedia("5afe0000000000000000000000000001", "fork"))
        await trio.testing.wait_all_tasks_blocked()
        assert set(pbx.pbx) == {CALLER}, "neither half is left"


async def test_who_leaves_a_bridge_is_told_of_by_whose_doing_ever() -> None:
    async with exchange() as (pbx, rest):
        for bridge in ("b1", "b2"):
            await rest.create_bridge(bridge)
        told(pbx)
        await rest.add_to_bridge("b1", CALLER)
        assert told(pbx) == []
        await rest.add_to_bridge("b2", CALLER)
        assert told(pbx) == ["ChannelLeftBridge"]
        await rest.destroy_bridge("b2")
        assert told(pbx) == ["ChannelLeftBridge"]
        await rest.add_to_bridge("b1", CALLER)
        pbx.hang_up(CALLER)
        assert told(pbx) == ["ChannelHangupRequest", "ChannelLeftBridge", "StasisEnd"]


async def test_rtp_is_sent_from_a_port_that_asterisk_tells_and_its_end_is_the_port_s() -> None:
    async with exchange() as (pbx, rest):
        variables = await rest.external_media("m1", "agentd", ExternalMedia("rtp", "udp", "127.0.0.1:21000", "slin"))
        port = int(variables["UNICASTRTP_LOCAL_PORT"])
        assert variables["UNICASTRTP_LOCAL_ADDRESS"] == "127.0.0.1"
        assert port in pbx.datagrams.bound
        await rest.hang_up("m1")
        await trio.testing.wait_all_tasks_blocked()
        assert not pbx.datagrams.bound


BY_WEBSOCKET = ExternalMedia(
    "none", "websocket", "INCOMING", "slin", connection_type="server", transport_data="f(json)"
)


@asynccontextmanager
async def media_websocket(pbx: Pbx, connection_id: str) -> AsyncIterator[WebSocket]:
    """agentd's own client, on the channel that has this id. Raises WebSocketError where it is refused."""
    url = await pbx.nursery.start(pbx.serve)
    socket = WebSocket(media_url(url, connection_id), subprotocols=(SUBPROTOCOL,))
    with ungrouped(WebSocketError):
        async with trio.open_nursery() as nursery:
            await nursery.start(socket.run)
            yield socket
            nursery.cancel_scope.cancel()


async def test_a_channel_of_chan_websocket_s_is_in_the_application_once_it_is_connected_and_ends_with_its_websocket(
    autojump_clock: MockClock,
) -> None:
    async with exchange() as (pbx, rest):
        told(pbx)
        connection_id = (await rest.external_media("m1", "agentd", BY_WEBSOCKET))[ID_VARIABLE]
        await rest.create_bridge("b1")
        assert await refused(rest.add_to_bridge("b1", "m1")) == 422
        assert told(pbx) == []
        async with media_websocket(pbx, connection_id) as socket:
            start = await socket.receive()
            assert isinstance(start, str)
            assert isinstance(parse_event(start), MediaStart)
            await rest.add_to_bridge("b1", "m1")
            with pytest.raises(WebSocketError, match="HTTP 409"):
                async with media_websocket(pbx, connection_id):
                    pass
        await trio.sleep(1)
        assert told(pbx) == ["StasisStart", "ChannelLeftBridge", "StasisEnd", "ChannelDestroyed"]
        with pytest.raises(WebSocketError, match="HTTP 404"):
            async with media_websocket(pbx, connection_id):
                pass


async def test_a_channel_of_chan_websocket_s_that_nobody_connects_to_ends(autojump_clock: MockClock) -> None:
    async with exchange() as (pbx, rest):
        await rest.external_media("m1", "agentd", BY_WEBSOCKET)
        await trio.sleep(29)
        assert "m1" in pbx.pbx
        await trio.sleep(2)
        assert "m1" not in pbx.pbx


async def test_a_websocket_ends_with_its_channel(autojump_clock: MockClock) -> None:
    async with exchange() as (pbx, rest):
        connection_id = (await rest.external_media("m1", "agentd", BY_WEBSOCKET))[ID_VARIABLE]
        async with media_websocket(pbx, connection_id) as socket:
            await socket.receive()
            await rest.hang_up("m1")
            with pytest.raises(WebSocketError, match="closed by the peer"):
                await socket.receive()


async def test_who_spies_on_a_caller_goes_with_the_caller() -> None:
    async with exchange() as (pbx, rest):
        await rest.snoop(CALLER, "agentd", "s1")
        pbx.hang_up(CALLER)
        assert not pbx.pbx


async def test_where_nobody_listens_the_dialplan_goes_on() -> None:
    async with exchange() as (pbx, rest):
        pbx.sockets.clear()
        pbx.arrive("1.2")
        assert pbx.place_of("1.2") is Place.DIALPLAN
        assert await rest.application_channels("agentd") == {CALLER}, "it stays for who is in it"
        pbx.hang_up(CALLER)
        assert await refused(rest.application_channels("agentd")) == 404


async def test_a_request_that_it_has_not_learnt_fails_the_test() -> None:
    async with exchange() as (_, rest):
        with pytest.raises(AssertionError, match="has not learnt"):
            await rest.request("POST", f"/channels/{CALLER}/moh")
