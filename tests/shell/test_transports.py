"""The table of transports: what has a name runs, and whoever adds a row is there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import attrs
import pytest
import trio

from agentd.config.settings import AudioSocket, Config
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics
from agentd.service.catalogue import installed_catalogue
from agentd.testing._lines import uuid_frame
from agentd.transports import TRANSPORTS, Daemon, Row, Running, open_transports, transport_names

HERE = Config(audiosocket=AudioSocket(port=0))


@asynccontextmanager
async def a_daemon(config: Callable[[], Config] = lambda: HERE) -> AsyncIterator[Daemon]:
    async with trio.open_nursery() as nursery:
        yield Daemon(config, Metrics(), lambda uuid, connection: False, nursery.start, nursery)
        nursery.cancel_scope.cancel()


async def test_every_name_of_the_table_is_that_of_a_transport_that_runs() -> None:
    async with a_daemon() as daemon, open_transports(daemon) as running:
        assert tuple(transport.name for transport in running.transports) == transport_names()
        assert running.listening["audiosocket"]()
    assert not running.listening["audiosocket"]()


def test_the_configuration_knows_the_names_of_the_table() -> None:
    assert installed_catalogue().transports == transport_names()


async def test_a_row_more_is_a_transport_more() -> None:
    @attrs.frozen
    class Pigeon:
        name: str = "pigeon"

    @asynccontextmanager
    async def open_loft(daemon: Daemon) -> AsyncIterator[Running]:
        await trio.lowlevel.checkpoint()
        yield Running((Pigeon(),), {"loft": lambda: True})  # type: ignore[arg-type]

    rows = (*TRANSPORTS, Row(("pigeon",), open_loft))
    assert transport_names(rows) == (*transport_names(), "pigeon")
    async with a_daemon() as daemon, open_transports(daemon, rows) as running:
        assert [transport.name for transport in running.transports] == list(transport_names(rows))
        assert {*running.listening} == {"audiosocket", "loft"}


async def test_an_address_that_is_taken_is_told_as_it_is() -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        config = Config(audiosocket=AudioSocket(port=taken.socket.getsockname()[1]))
        async with a_daemon(lambda: config) as daemon:
            with pytest.raises(OSError, match=r"^127\.0\.0\.1:\d+, as \[audiosocket\] .*: Address already in use$"):
                async with open_transports(daemon):
                    pytest.fail("nobody listens")  # pragma: no cover


async def test_both_ways_of_audiosocket_lead_to_the_listener_that_was_opened() -> None:
    async with a_daemon() as daemon, open_transports(daemon) as running:
        external, fork, *_others = running.transports
        assert external.way == fork.way
        host, _, port = external.way.removeprefix("Asterisk connects to ").rpartition(":")
        for transport in (external, fork):
            leg = uuid4()
            with transport.expect(leg, LineFormat()) as expected:
                async with await trio.open_tcp_stream(host, int(port)) as asterisk:
                    await asterisk.send_all(uuid_frame(leg))
                    connection = await expected.connection(5.0)
                    assert connection.peer == "127.0.0.1"
                    connection.release()


async def test_whether_16_khz_is_wanted_is_what_the_configuration_says_now() -> None:
    config = HERE
    async with a_daemon(lambda: config) as daemon, open_transports(daemon) as running:
        external, fork, rtp, _websocket = running.transports
        assert external.carries(16000)
        assert external.carries(16000, "22.10.1")
        assert not external.carries(16000, "18.1.0")
        assert not fork.carries(16000)
        assert not rtp.carries(16000, "22.10.1"), "Asterisk takes no slin16 by RTP"
        config = attrs.evolve(config, audiosocket=AudioSocket(port=0, wideband=False))
        assert not external.carries(16000, "22.10.1")
        assert all(transport.carries(8000) for transport in running.transports)
