"""What tools ask of Asterisk, asked of a real one: whether the dialplan has an extension, keys, and a transfer."""

from collections.abc import AsyncIterator

import pytest
import trio

from agentd.ari.client import AriClient, Route
from agentd.ari.events import StasisStart
from agentd.ari.rest import open_rest
from agentd.commands import Destination
from agentd.metrics import Metrics
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.prefix import Prefix
from tests.lab.sip import SipCaller

pytestmark = pytest.mark.e2e
pytest_plugins = ["tests.lab.fixtures"]

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


async def test_a_caller_is_transferred_to_another_agent_and_then_out_of_the_application(pbx: PrivateAsterisk) -> None:
    metrics = Metrics()
    send, calls = trio.open_memory_channel[tuple[StasisStart, Route]](8)
    url = f"http://127.0.0.1:{pbx.http_port}"
    with trio.fail_after(30):
        async with open_rest(url, pbx.ari_user, pbx.ari_password, metrics) as rest, trio.open_nursery() as nursery:
            client = AriClient(url, pbx.ari_user, pbx.ari_password, "agentd", rest, metrics, lambda start: None)
            client.on_call = lambda start: send.send_nowait((start, client.route(start.channel.id)))
            nursery.start_soon(client.run)
            await client.ever_connected.wait()
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
                while "elsewhere with transferred" not in pbx.log_path.read_text("utf-8"):
                    await trio.sleep(0.02)
                await client._reconcile()
                await client._hand_back_orphans()
                assert not call.ended.is_set()
                assert channel in await rest.channels()
            nursery.cancel_scope.cancel()
    assert "back with" not in pbx.log_path.read_text("utf-8")
