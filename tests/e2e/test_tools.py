"""What tools ask of Asterisk, asked of a real one: whether the dialplan has an extension, keys, and a transfer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.ari.client import AriClient
from agentd.ari.events import StasisEnd, StasisStart
from agentd.ari.reconciler import SURE_AFTER
from agentd.ari.rest import open_rest
from agentd.ari.route import Route
from agentd.conversation.commands import Destination
from agentd.metrics import Metrics
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.prefix import Prefix
from tests.lab.proxy import Proxy, open_proxy
from tests.lab.sip import SipCaller

pytestmark = pytest.mark.e2e
pytest_plugins = ["tests.lab.fixtures"]

Incoming = trio.MemoryReceiveChannel[tuple[StasisStart, Route]]

DIALPLAN = """\
exten => 8000,1,Answer()
 same => n,Stasis(agentd,agent=first)
 same => n,Verbose(1,back with ${AGENTD_RESULT})
exten => 8001,1,Stasis(agentd,agent=second)
exten => _83XX,1,Verbose(1,a pattern)

[elsewhere]
exten => 200,1,Verbose(1,elsewhere with ${AGENTD_RESULT} of ${CHANNEL(name)})
 same => n,Wait(8)
"""


@pytest.fixture
async def pbx(pbx_prefix: Prefix) -> AsyncIterator[PrivateAsterisk]:
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=DIALPLAN) as running:
        yield running


@asynccontextmanager
async def open_client(pbx: PrivateAsterisk) -> AsyncIterator[tuple[AriClient, Incoming, Proxy]]:
    """The application on this Asterisk, connected; those who enter it; and the cable of its event stream."""
    metrics = Metrics()
    send, calls = trio.open_memory_channel[tuple[StasisStart, Route]](8)
    with trio.fail_after(30):
        async with open_proxy(("127.0.0.1", pbx.http_port), only=b"/ari/events") as cable:
            url = f"http://127.0.0.1:{cable.port}"
            async with (
                open_rest(url, pbx.ari_user, pbx.ari_password, metrics, 5.0) as rest,
                trio.open_nursery() as nursery,
            ):
                client = AriClient(url, pbx.ari_user, pbx.ari_password, "agentd", rest, metrics, lambda start: None)
                client.on_call = lambda start: send.send_nowait((start, client.route(start.channel.id)))
                nursery.start_soon(client.run)
                await client.ever_connected.wait()
                yield client, calls, cable
                nursery.cancel_scope.cancel()


async def until_logged(pbx: PrivateAsterisk, text: str) -> None:
    """Wait for a line of Asterisk's log."""
    while text not in pbx.log_path.read_text("utf-8"):
        await trio.sleep(0.02)


async def test_a_caller_is_transferred_to_another_agent_and_then_out_of_the_application(pbx: PrivateAsterisk) -> None:
    async with open_client(pbx) as (client, calls, _cable):
        rest = client.rest
        async with SipCaller().call(pbx.sip_uri("8000")) as call:
            start, first = await calls.receive()
            channel = start.channel.id
            there = {}
            for destination in ("200@elsewhere", "8001@from-lab", "8399@from-lab", "201@elsewhere", "200@nowhere"):
                extension, _, context = destination.partition("@")
                there[destination] = await rest.variable(channel, f"DIALPLAN_EXISTS({context},{extension},1)")
            assert there == {
                "200@elsewhere": "1",
                "8001@from-lab": "1",
                "8399@from-lab": "1",
                "201@elsewhere": "0",
                "200@nowhere": "0",
            }
            await rest.send_dtmf(channel, "1w#")

            assert await first.leave("transferred", Destination("from-lab", "8001"))
            start, second = await calls.receive()
            assert (start.channel.id, start.args) == (channel, ("agent=second",))
            first.close()
            assert client.routes[channel] is second
            assert await second.leave("transferred", Destination("elsewhere", "200"))
            await until_logged(pbx, "elsewhere with transferred")
            for _ in range(2):
                await client.reconciler.look(ours=True)
                await trio.sleep(SURE_AFTER)
            assert not call.ended.is_set()
            assert channel in await rest.channels()
    assert "back with" not in pbx.log_path.read_text("utf-8")


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_after_the_event_stream_was_lost_a_caller_s_events_come_on_until_the_caller_leaves(
    pbx: PrivateAsterisk, hangs_up: bool
) -> None:
    """Asterisk keeps an application that has callers, with its own subscriptions to them. With one more of ours, a
    caller who was transferred would be taken for one that no call owns."""
    async with open_client(pbx) as (client, calls, cable), SipCaller().call(pbx.sip_uri("8000")) as call:
        start, route = await calls.receive()
        for cuts in (1, 2):
            cable.cut()
            while client.metrics.registry.get_sample_value("agentd_ari_reconnects_total") != cuts:
                await trio.sleep(0.02)
        assert start.channel.id in await client.rest.application_channels("agentd")
        if hangs_up:
            await call.hangup()
            while not isinstance(await route.receive(), StasisEnd):
                pass
        else:
            assert await route.leave("transferred", Destination("elsewhere", "200"))
            await until_logged(pbx, "elsewhere with transferred")
            assert start.channel.id in await client.rest.channels()
        while start.channel.id in await client.rest.application_channels("agentd"):
            await trio.sleep(0.02)
