"""A leg by chan_websocket, over real sockets: what Asterisk is asked, who connects to whom, and who is let in."""

import base64
import gc
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
import trio

from agentd.chan_websocket.listener import (
    PASSWORD,
    UNNAMED_LIMIT,
    MediaWebSocketListener,
    authorized,
    leg_of,
    open_chan_websocket,
)
from agentd.chan_websocket.transport import (
    ID_VARIABLE,
    SUBPROTOCOL,
    ChanWebSocket,
    external_media,
    media_url,
)
from agentd.config.secrets import Secret
from agentd.config.settings import Config, MediaWebSocket
from agentd.errors import ConfigError, MediaTimeout, WebSocketError
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.media.transport import ExternalMedia
from agentd.metrics import Metrics
from agentd.testing.clock import until
from agentd.websocket import Handshake, ServedWebSocket, WebSocket
from tests.shell.media.chan_websocket_lines import Channel

pytestmark = pytest.mark.loopback

PATIENCE = 5.0
NARROW, WIDE = LineFormat(), LineFormat(16000)
USER, WORD = "asterisk", "s3cret-of-media"
LEG = UUID("0a9c6fbc-1f2f-4b7f-9a3b-e1f2f0a1c2d3")


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"agentd_chan_websocket_{name}", labels) or 0.0


# --- what Asterisk is asked


def test_asterisk_is_asked_for_a_channel_that_waits_for_us() -> None:
    assert external_media("", LEG, NARROW) == ExternalMedia(
        "none", "websocket", "INCOMING", "slin", connection_type="server", transport_data="f(json)"
    )


def test_asterisk_is_asked_for_a_channel_that_connects_and_names_the_leg() -> None:
    assert external_media("agentd", LEG, WIDE) == ExternalMedia(
        "none",
        "websocket",
        "agentd",
        "slin16",
        connection_type="client",
        transport_data="f(json)v(leg=0a9c6fbc1f2f4b7f9a3be1f2f0a1c2d3)",
    )


@pytest.mark.parametrize(
    "asterisk, url",
    [
        ("http://pbx:8088", "ws://pbx:8088/media/"),
        ("http://pbx:8088/", "ws://pbx:8088/media/"),
        ("https://pbx:8089/asterisk", "wss://pbx:8089/asterisk/media/"),
        ("http://[::1]:8088", "ws://[::1]:8088/media/"),
    ],
)
def test_the_websocket_is_where_ari_is(asterisk: str, url: str) -> None:
    assert media_url(asterisk, str(LEG)) == url + str(LEG)


@pytest.mark.parametrize("connection_id", ["", "..", "INCOMING", "a/b", "x" * 500, f"{LEG}\r\nX: y", "٣" * 32])
def test_an_id_that_is_none_is_no_place_to_connect_to(connection_id: str) -> None:
    assert media_url("http://pbx:8088", connection_id) in ("", f"ws://pbx:8088/media/{_uuid(connection_id)}")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "rate, version, wideband, carries",
    [
        (8000, None, True, True),
        (16000, None, True, True),
        (16000, None, False, False),
        (8000, "22.10.1", False, True),
        (16000, "22.8.0", True, True),
        (8000, "22.7.0", True, False),
        (16000, "20.17.0", True, False),
        (8000, "18.26.0", True, False),
        (48000, None, True, False),
    ],
)
def test_what_it_carries_with_which_asterisk(rate: int, version: str | None, wideband: bool, carries: bool) -> None:
    config = Config(websocket=MediaWebSocket(wideband=wideband))
    transport = ChanWebSocket(lambda: config, Metrics(), connections=None, asterisk="")  # type: ignore[arg-type]
    assert transport.carries(rate, version) is carries


# --- agentd connects


@attrs.define(eq=False)
class HttpServer:
    """As much of Asterisk's as serves /media: one channel, which waits under an id."""

    connection_id: str = attrs.field(factory=lambda: str(uuid4()))
    audio_format: str = "slin"
    starts: bool = True
    port: int = 0
    asked: list[Handshake] = attrs.field(factory=list)
    sockets: list[ServedWebSocket] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def admit(self, handshake: Handshake) -> int:
        self.asked.append(handshake)
        if handshake.target != f"/media/{self.connection_id}":
            return 404
        return 409 if len(self.asked) > 1 else 0

    async def serve(self, stream: trio.SocketStream) -> None:
        socket = ServedWebSocket(url="ws://agentd", stream=stream, admit=self.admit, subprotocol=SUBPROTOCOL)
        messages: list[str | bytes] = []
        channel = Channel(self.audio_format, messages.append)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(socket.run)
                self.sockets.append(socket)
                if self.starts:
                    channel.start()
                for message in messages:
                    await socket.send(message)
                while True:
                    await socket.receive()
        except* WebSocketError:
            pass


@asynccontextmanager
async def asterisk(**settings: Any) -> AsyncIterator[tuple[HttpServer, ChanWebSocket, Metrics]]:
    server, metrics = HttpServer(**settings), Metrics()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        server.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as connections:
            yield server, ChanWebSocket(Config, metrics, connections, server.url), metrics
            with trio.fail_after(PATIENCE):
                while connections.child_tasks:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    gc.collect()


async def test_agentd_connects_to_the_channel_that_the_answer_names() -> None:
    async with asterisk() as (server, transport, metrics):
        with transport.expect(uuid4(), NARROW) as leg:
            leg.told({"A": "b", ID_VARIABLE: server.connection_id})
            leg.told({ID_VARIABLE: str(uuid4())})  # it counts once
            connection = await leg.connection(PATIENCE)
        assert [each.subprotocols for each in server.asked] == [("media",)]
        assert connection.peer == f"127.0.0.1:{server.port}"
        assert sample(metrics, "connections") == 1
        connection.release()
        await until(lambda: sample(metrics, "connections") == 0)


async def test_a_leg_that_nobody_takes_is_closed() -> None:
    async with asterisk() as (server, transport, metrics):
        with transport.expect(uuid4(), NARROW) as leg:
            leg.told({ID_VARIABLE: server.connection_id})
            await until(lambda: leg._connection is not None)
        await until(lambda: sample(metrics, "connections") == 0)


async def test_a_leg_that_is_given_up_while_it_opens_is_closed() -> None:
    async with asterisk() as (server, transport, metrics):
        with transport.expect(uuid4(), NARROW) as leg:
            leg.told({ID_VARIABLE: server.connection_id})
        await until(lambda: bool(server.asked))
        await until(lambda: sample(metrics, "connections") == 0)


@pytest.mark.parametrize(
    "settings, told, reason",
    [
        ({}, {ID_VARIABLE: str(uuid4())}, "the server answered HTTP 404"),
        ({}, {ID_VARIABLE: "INCOMING"}, "Asterisk's answer names no WebSocket"),
        ({"audio_format": "slin16"}, None, "Asterisk carries slin16, 640 bytes in 20 ms, where 320 were asked for"),
    ],
    ids=["unknown", "no id", "another format"],
)
async def test_a_websocket_that_is_not_to_be_had_is_told_with_the_reason(
    settings: dict[str, Any], told: dict[str, str] | None, reason: str
) -> None:
    async with asterisk(**settings) as (server, transport, _metrics):
        with transport.expect(uuid4(), NARROW) as leg:
            leg.told(told or {ID_VARIABLE: server.connection_id})
            with pytest.raises(MediaTimeout, match=reason):
                await leg.connection(PATIENCE)


async def test_an_error_of_ours_in_one_websocket_ends_no_other_call_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the nursery in which all connections and calls live, and with it the daemon."""

    async def broken(*_args: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a defect")

    async with asterisk() as (server, transport, _metrics):
        with transport.expect(uuid4(), NARROW) as sound, transport.expect(uuid4(), NARROW) as unlucky:
            sound.told({ID_VARIABLE: server.connection_id})
            connection = await sound.connection(PATIENCE)
            monkeypatch.setattr("agentd.chan_websocket.transport.run_socket", broken)
            unlucky.told({ID_VARIABLE: str(uuid4())})
            with pytest.raises(MediaTimeout, match="RuntimeError"):
                await unlucky.connection(PATIENCE)
            assert not connection.released.is_set()
            connection.release()


async def test_the_second_websocket_of_a_channel_is_refused_by_asterisk() -> None:
    async with asterisk() as (server, transport, _metrics):
        with transport.expect(uuid4(), NARROW) as first, transport.expect(uuid4(), NARROW) as second:
            first.told({ID_VARIABLE: server.connection_id})
            connection = await first.connection(PATIENCE)
            second.told({ID_VARIABLE: server.connection_id})
            with pytest.raises(MediaTimeout, match="HTTP 409"):
                await second.connection(PATIENCE)
            connection.release()


async def test_where_asterisk_names_nothing_the_leg_times_out() -> None:
    async with asterisk() as (_server, transport, _metrics):
        with transport.expect(uuid4(), NARROW) as leg:
            leg.told({"A": "b"})
            with pytest.raises(MediaTimeout, match=r"no media WebSocket came about within 0\.01 s"):
                await leg.connection(0.01)


# --- Asterisk connects


@attrs.define(eq=False)
class Agentd:
    """Our listener, and Asterisk's client."""

    transport: ChanWebSocket
    listener: MediaWebSocketListener
    port: int
    nursery: trio.Nursery
    metrics: Metrics

    async def until_refused(self, reason: str) -> None:
        await until(lambda: sample(self.metrics, "refused_total", reason=reason) == 1)

    def client(
        self, query: str, word: str = WORD, user: str = USER, subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
    ) -> WebSocket:
        """Asterisk's client."""
        credentials = base64.b64encode(f"{user}:{word}".encode()).decode()
        headers = [("Authorization", f"Basic {credentials}")]
        return WebSocket(f"ws://127.0.0.1:{self.port}/{query}", headers, subprotocols=subprotocols)

    async def connect(self, query: str) -> WebSocket:
        socket = self.client(query)
        await self.nursery.start(socket.run)
        return socket

    async def refuses(self, **asked: Any) -> str:
        """How Asterisk is told that it is refused."""
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError) as refused:
            await self.client(**asked).run()
        return str(refused.value)

    async def start(self, socket: WebSocket, audio_format: str = "slin") -> None:
        messages: list[str | bytes] = []
        Channel(audio_format, messages.append).start()
        for message in messages:
            await socket.send(message)


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[Agentd]:
    metrics = Metrics()
    given: dict[str, Any] = {"max_connections": 500, "allow": ()} | settings
    async with trio.open_nursery() as nursery:
        transport = ChanWebSocket(Config, metrics, nursery, "", "agentd")
        listener = MediaWebSocketListener(
            "127.0.0.1", 0, transport.expected, metrics, USER, Secret(PASSWORD, WORD), connections=nursery, **given
        )
        port = await nursery.start(listener.run)
        assert listener.listening
        yield Agentd(transport, listener, port, nursery, metrics)
        nursery.cancel_scope.cancel()
    assert not listener.listening
    gc.collect()


async def test_the_leg_that_asterisk_names_gets_its_connection() -> None:
    async with listening() as agentd:
        with agentd.transport.expect(LEG, NARROW) as leg:
            socket = await agentd.connect(f"?leg={LEG.hex}")
            await agentd.start(socket)
            connection = await leg.connection(PATIENCE)
        assert connection.peer == "127.0.0.1"
        assert sample(agentd.metrics, "connections") == 1
        connection.release()
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError):
            await socket.receive()
        await until(lambda: sample(agentd.metrics, "connections") == 0)
        assert not agentd.transport.expected


@pytest.mark.parametrize(
    "asked, reason, status",
    [
        ({"query": f"?leg={uuid4().hex}"}, "unexpected_leg", 404),
        ({"query": ""}, "unexpected_leg", 404),
        ({"query": "?leg=" + "a" * 600}, "unexpected_leg", 404),
        ({"query": f"?leg={LEG.hex}", "word": "guessed"}, "unauthorized", 401),
        ({"query": f"?leg={LEG.hex}", "user": "agentd"}, "unauthorized", 401),
        ({"query": f"?leg={LEG.hex}", "subprotocols": ("ari",)}, "wrong_subprotocol", 400),
        ({"query": f"?leg={LEG.hex}", "subprotocols": ()}, "wrong_subprotocol", 400),
    ],
)
async def test_whoever_is_not_expected_is_refused_with_a_reason(
    asked: dict[str, Any], reason: str, status: int
) -> None:
    async with listening() as agentd:
        with agentd.transport.expect(LEG, NARROW):
            assert f"HTTP {status}" in await agentd.refuses(**asked)
            await agentd.until_refused(reason)
            socket = await agentd.connect(f"?leg={LEG.hex}")  # the leg is still waited for
            await agentd.start(socket)


async def test_a_leg_has_one_connection() -> None:
    async with listening() as agentd:
        with agentd.transport.expect(LEG, NARROW) as leg:
            await agentd.start(await agentd.connect(f"?leg={LEG.hex}"))
            connection = await leg.connection(PATIENCE)
            assert "HTTP 409" in await agentd.refuses(query=f"?leg={LEG.hex}")
            await agentd.until_refused("second_connection")
            connection.release()


async def test_a_leg_whose_client_is_gone_before_it_is_answered_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had its bind deadline's silence before a fresh leg was tried."""

    async def gone(*_args: object, **_fields: object) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("reset by the peer")

    monkeypatch.setattr("trio_websocket.WebSocketRequest.accept", gone)
    async with listening() as agentd:
        with agentd.transport.expect(LEG, NARROW) as leg:
            await agentd.refuses(query=f"?leg={LEG.hex}")
            with trio.fail_after(PATIENCE), pytest.raises(MediaTimeout, match="reset by the peer"):
                await leg.connection(math.inf)


async def test_no_more_connections_than_configured() -> None:
    other = uuid4()
    async with listening(max_connections=1) as agentd:
        with agentd.transport.expect(LEG, NARROW), agentd.transport.expect(other, NARROW):
            await agentd.start(await agentd.connect(f"?leg={LEG.hex}"))
            assert "HTTP 503" in await agentd.refuses(query=f"?leg={other.hex}")
            await agentd.until_refused("too_many")


async def test_an_address_that_is_not_allowed_is_hung_up_on() -> None:
    async with listening(allow=(ip_network("192.0.2.0/24"),)) as agentd:
        async with await trio.open_tcp_stream("127.0.0.1", agentd.port) as stream:
            with trio.fail_after(PATIENCE):
                assert await stream.receive_some() == b""
        await agentd.until_refused("not_allowed")


async def test_silent_connections_make_room_and_keep_no_call_out() -> None:
    async with listening() as agentd:
        silent = [await trio.open_tcp_stream("127.0.0.1", agentd.port) for _ in range(UNNAMED_LIMIT)]
        with agentd.transport.expect(LEG, NARROW) as leg:
            await agentd.start(await agentd.connect(f"?leg={LEG.hex}"))
            (await leg.connection(PATIENCE)).release()
        await agentd.until_refused("crowded_out")
        for stream in silent:
            await stream.aclose()


async def test_a_channel_that_carries_another_format_is_no_leg() -> None:
    async with listening() as agentd:
        with agentd.transport.expect(LEG, WIDE) as leg:
            await agentd.start(await agentd.connect(f"?leg={LEG.hex}"), "slin")
            with pytest.raises(MediaTimeout, match="Asterisk carries slin, 320 bytes in 20 ms, where 640"):
                await leg.connection(PATIENCE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /?leg=" + LEG.hex.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /media HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: \xc3\xa9\r\n\r\n",
        b"A" * 100_000,
        b"",
    ],
)
async def test_bytes_that_are_no_handshake_are_refused_and_the_listener_goes_on(garbage: bytes) -> None:
    async with listening() as agentd:
        async with await trio.open_tcp_stream("127.0.0.1", agentd.port) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(garbage)
                if not garbage:
                    await stream.send_eof()
            await agentd.until_refused("bad_handshake")
        with agentd.transport.expect(LEG, NARROW) as leg:
            await agentd.start(await agentd.connect(f"?leg={LEG.hex}"))
            (await leg.connection(PATIENCE)).release()


@pytest.mark.parametrize(
    "header, right",
    [
        ("Basic " + base64.b64encode(b"asterisk:s3cret-of-media").decode(), True),
        ("basic  " + base64.b64encode(b"asterisk:s3cret-of-media").decode(), True),
        ("Basic " + base64.b64encode(b"asterisk:").decode(), False),
        ("Bearer " + base64.b64encode(b"asterisk:s3cret-of-media").decode(), False),
        ("Basic ***", False),
        ("Basic \xe9", False),
        ("", False),
    ],
)
def test_a_user_and_a_password_are_asked_for(header: str, right: bool) -> None:
    assert authorized(header, USER, Secret(PASSWORD, WORD)) is right


@pytest.mark.parametrize("target", ["/?leg=a&leg=b", "/?leg=", "/?", "//[", "/?" + "&".join("a=b" for _ in range(20))])
def test_a_request_that_names_no_leg_or_several_names_none(target: str) -> None:
    assert leg_of(target) is None


# --- which of the two


async def test_a_listener_is_opened_only_where_asterisk_is_to_connect() -> None:
    async with trio.open_nursery() as nursery:
        transport, listener = await open_chan_websocket(Config, Metrics(), nursery.start, nursery, LineClock(Metrics()))
        assert (transport.client, listener) == ("", None)
        assert transport.way == "agentd connects to http://127.0.0.1:8088, /media"
        nursery.cancel_scope.cancel()


async def test_the_listener_that_is_opened_has_the_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.chan_websocket.listener.need_secret", lambda name, what: Secret(name, WORD))
    config = Config(websocket=MediaWebSocket(connection="agentd", port=0))
    async with trio.open_nursery() as nursery:
        transport, listener = await open_chan_websocket(
            lambda: config, Metrics(), nursery.start, nursery, LineClock(Metrics())
        )
        assert listener is not None
        assert transport.way.startswith("Asterisk connects to 127.0.0.1:")
        assert transport.way.endswith(", by [agentd] of websocket_client.conf")
        assert WORD not in repr(listener)
        nursery.cancel_scope.cancel()


async def test_a_listener_without_a_password_is_not_opened() -> None:
    config = Config(websocket=MediaWebSocket(connection="agentd", port=0))
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConfigError, match="AGENTD_WEBSOCKET_PASSWORD"):
            await open_chan_websocket(lambda: config, Metrics(), nursery.start, nursery, LineClock(Metrics()))
        nursery.cancel_scope.cancel()
