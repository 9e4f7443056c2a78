"""Who may connect to the AudioSocket listener: over real TCP, with deadlines of virtual time."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
import trio
import trio.testing

from agentd.accepting import crowding
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.listener import (
    PARKED_LIMIT,
    UNNAMED_LIMIT,
    Admission,
    AudioSocketListener,
    trial_uuid,
)
from agentd.audiosocket.wire import SocketWire
from agentd.errors import MediaTimeout
from agentd.metrics import Metrics
from agentd.testing._lines import SILENCE, Lines, audio_frame, uuid_frame
from agentd.testing.clock import until

pytestmark = pytest.mark.loopback

PATIENCE = 5.0
"""Seconds until a test that hangs is given up."""


@attrs.define
class Fixture:
    listener: AudioSocketListener
    port: int
    streams: AsyncExitStack
    """What was connected is closed with the listener."""

    @property
    def admission(self) -> Admission:
        return self.listener.admission

    def sample(self, name: str, **labels: str) -> float:
        return self.listener.metrics.registry.get_sample_value(f"agentd_{name}", labels) or 0.0

    def refused(self, reason: str) -> float:
        return self.sample("audiosocket_refused_total", reason=reason)

    @property
    def open(self) -> float:
        return self.sample("audiosocket_connections")

    async def connect(self) -> trio.SocketStream:
        return await self.streams.enter_async_context(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)


def make_listener(port: int = 0, **settings: Any) -> AudioSocketListener:
    given = {"max_connections": 500, "allow": (), "uuid_timeout": 0.2, "bind_grace": 0.2, **settings}
    return AudioSocketListener("127.0.0.1", port, Admission(), Metrics(), **given)


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[Fixture]:
    listener = make_listener(**settings)
    async with AsyncExitStack() as streams, trio.open_nursery() as nursery:
        port = await nursery.start(listener.run)
        yield Fixture(listener, port, streams)
        nursery.cancel_scope.cancel()


async def closed(stream: trio.SocketStream) -> bool:
    """True once the listener has closed its end."""
    with trio.fail_after(PATIENCE):
        try:
            while await stream.receive_some(4096):
                pass
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    return True


async def frames(stream: trio.SocketStream, count: int) -> bytes:
    """The next frames of silence's length; more may come at any time."""
    data = b""
    with trio.fail_after(PATIENCE):
        while len(data) < count * len(SILENCE):
            data += await stream.receive_some(count * len(SILENCE) - len(data))
    return data


async def test_an_expected_uuid_is_handed_to_the_call_that_expects_it() -> None:
    async with listening() as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid))
            connection = await expectation.connection(PATIENCE)
        assert connection.call_uuid is not None
        assert connection.call_uuid.uuid == uuid
        assert (connection.peer, agentd.open) == ("127.0.0.1", 1)
        assert await frames(stream, 1) == SILENCE
        connection.release()
        assert await closed(stream)
        await agentd.until(lambda: agentd.open == 0)


async def test_calls_fell_silent_for_five_seconds_because_nothing_was_sent_while_the_leg_came_up() -> None:
    """Asterisk waited for audio before the caller was in the bridge, agentd for the caller before it sent any."""
    uuid = uuid4()
    async with listening() as agentd, await agentd.connect() as stream:
        with agentd.admission.expect(uuid):
            await stream.send_all(uuid_frame(uuid))
            assert await frames(stream, 5) == 5 * SILENCE


async def test_a_connection_may_come_after_its_call_has_begun_to_wait() -> None:
    async with listening() as agentd:
        uuid = uuid4()
        connections: list[AudioSocketConnection] = []

        async def wait() -> None:
            with agentd.admission.expect(uuid) as expectation:
                connections.append(await expectation.connection(PATIENCE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            async with await agentd.connect() as stream:
                await stream.send_all(uuid_frame(uuid))
                await agentd.until(lambda: connections)
        connections[0].release()
        await agentd.until(lambda: agentd.open == 0)


async def test_an_unexpected_uuid_is_closed_at_once_and_counted() -> None:
    async with listening(bind_grace=60.0) as agentd:
        stream = await agentd.connect()
        await stream.send_all(uuid_frame(uuid4()))
        assert await closed(stream)
        assert agentd.refused("unexpected_uuid") == 1
        await agentd.until(lambda: agentd.open == 0)


# --- connections that no call expects


async def test_a_stranger_that_is_taken_stays_until_whoever_took_it_releases_it() -> None:
    taken: list[tuple[UUID, AudioSocketConnection]] = []

    def take(uuid: UUID, connection: AudioSocketConnection) -> bool:
        taken.append((uuid, connection))
        return True

    async with listening(on_stranger=take) as agentd:
        uuid = uuid4()
        stream = await agentd.connect()
        await stream.send_all(uuid_frame(uuid))
        await agentd.until(lambda: taken)
        assert taken[0][0] == uuid
        assert await frames(stream, 1) == SILENCE
        assert agentd.open == 1
        taken[0][1].release()
        assert await closed(stream)
        assert agentd.refused("unexpected_uuid") == 0
        await agentd.until(lambda: agentd.open == 0)


async def test_a_connection_that_a_call_expects_is_no_stranger() -> None:
    asked: list[UUID] = []
    async with listening(on_stranger=lambda uuid, connection: bool(asked.append(uuid))) as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            async with await agentd.connect() as stream:
                await stream.send_all(uuid_frame(uuid))
                (await expectation.connection(PATIENCE)).release()
        assert not asked


async def test_a_connection_that_a_call_may_yet_name_is_no_stranger_until_nobody_did() -> None:
    asked: list[UUID] = []
    async with listening(on_stranger=lambda uuid, connection: bool(asked.append(uuid)), bind_grace=0.1) as agentd:
        uuid = uuid4()
        with agentd.admission.expecting_unnamed():
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid))
            await agentd.until(lambda: agentd.admission._parked)
            assert not asked
            assert await closed(stream)
        assert asked == [uuid]
        assert agentd.refused("unexpected_uuid") == 1


async def test_a_trial_of_the_doctor_is_refused_even_where_strangers_are_calls() -> None:
    async with listening(on_stranger=lambda uuid, connection: True) as agentd:
        stream = await agentd.connect()
        await stream.send_all(uuid_frame(trial_uuid()))
        assert await closed(stream)
        assert agentd.refused("unexpected_uuid") == 1


# --- who gets no further


async def test_a_peer_that_says_nothing_is_closed_at_the_deadline() -> None:
    async with listening(uuid_timeout=0.05) as agentd:
        started = trio.current_time()
        assert await closed(await agentd.connect())
        assert trio.current_time() - started >= 0.045
        assert agentd.refused("no_uuid") == 1


async def test_a_peer_that_trickles_its_uuid_is_held_to_the_same_deadline() -> None:
    async with listening(uuid_timeout=0.1) as agentd, await agentd.connect() as stream:
        with trio.fail_after(PATIENCE):
            for byte in uuid_frame(uuid4()):
                try:
                    await stream.send_all(bytes([byte]))
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.02)
        assert agentd.refused("no_uuid") == 1


@pytest.mark.parametrize("first", [audio_frame(), b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x04abcd"])
async def test_a_peer_that_begins_with_anything_else_is_closed_at_once(first: bytes) -> None:
    async with listening(uuid_timeout=60.0) as agentd:
        stream = await agentd.connect()
        await stream.send_all(first)
        await stream.send_eof()
        assert await closed(stream)
        assert agentd.refused("bad_handshake") == 1


async def test_a_peer_that_leaves_before_its_uuid_leaks_nothing() -> None:
    async with listening(uuid_timeout=60.0) as agentd:
        for _ in range(20):
            await (await agentd.connect()).aclose()
        await agentd.until(lambda: agentd.refused("bad_handshake") == 20)
        await agentd.until(lambda: agentd.open == 0)


async def test_connections_beyond_the_cap_are_closed_at_once() -> None:
    async with listening(max_connections=2, on_stranger=lambda uuid, connection: True) as agentd:

        async def call() -> trio.SocketStream:
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid4()))
            return stream

        first, second = await call(), await call()
        await agentd.until(lambda: agentd.listener._open == 2)
        assert await closed(await call())
        assert agentd.refused("too_many") == 1
        assert agentd.open == 2
        for connection in (first, second):
            await connection.aclose()


async def test_connections_without_a_uuid_filled_max_connections() -> None:
    async with listening(max_connections=2, uuid_timeout=60.0) as agentd:
        for _ in range(20):
            await agentd.connect()
        await agentd.until(lambda: agentd.open == 20)
        with agentd.admission.expect(uuid := uuid4()) as expectation:
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid))
            (await expectation.connection(PATIENCE)).release()
        assert await closed(stream)
        assert agentd.refused("too_many") == 0


async def test_of_too_many_connections_without_a_uuid_the_oldest_goes() -> None:
    async with listening(uuid_timeout=60.0) as agentd:
        strangers = [await agentd.connect() for _ in range(UNNAMED_LIMIT)]
        await agentd.until(lambda: agentd.open == UNNAMED_LIMIT)
        with agentd.admission.expect(uuid := uuid4()) as expectation:
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid))
            (await expectation.connection(PATIENCE)).release()
        assert await closed(strangers[0])
        assert agentd.refused("crowded_out") == 1
        assert agentd.open <= UNNAMED_LIMIT


@pytest.mark.parametrize(
    ("peers", "goes"),
    [
        (["a"], 0),
        (["a", "a"], 0),
        (["pbx", "a", "a"], 1),
        (["a", "pbx", "pbx", "b", "a", "a"], 0),
        (["pbx", "a", "b"], 0),
    ],
)
def test_whoever_crowds_most_makes_room(peers: list[str], goes: int) -> None:
    assert crowding(peers) == goes


async def test_what_a_connection_s_handler_raises_ends_no_other_connection() -> None:
    """Whatever a provider or a bug raises there: the listener carries every call."""

    def take(uuid: UUID, connection: AudioSocketConnection) -> bool:
        if uuid.int == 1:
            raise RuntimeError("of ours")
        return True

    async with listening(on_stranger=take) as agentd:
        good, bad = await agentd.connect(), await agentd.connect()
        await good.send_all(uuid_frame(UUID(int=2)))
        assert await frames(good, 1) == SILENCE
        await bad.send_all(uuid_frame(UUID(int=1)))
        assert await closed(bad)
        assert await frames(good, 3) == 3 * SILENCE
        await agentd.until(lambda: agentd.open == 1)


@pytest.mark.parametrize(("network", "allowed"), [("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::1/128", False)])
async def test_only_networks_on_the_allow_list_may_connect(network: str, allowed: bool) -> None:
    async with listening(allow=(ip_network(network),)) as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            stream = await agentd.connect()
            if allowed:
                await stream.send_all(uuid_frame(uuid))
                (await expectation.connection(PATIENCE)).release()
            assert await closed(stream)
        assert agentd.refused("not_allowed") == (0 if allowed else 1)


async def test_nagle_is_off_because_a_late_payload_kills_the_call() -> None:
    async with listening() as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            async with await agentd.connect() as stream:
                await stream.send_all(uuid_frame(uuid))
                connection = await expectation.connection(PATIENCE)
                near = connection.wire
                assert isinstance(near, SocketWire)
                assert near.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                connection.release()


async def test_a_uuid_admits_one_connection() -> None:
    async with listening() as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            first, second = await agentd.connect(), await agentd.connect()
            await first.send_all(uuid_frame(uuid))
            connection = await expectation.connection(PATIENCE)
            await second.send_all(uuid_frame(uuid))
            assert await closed(second)
            assert agentd.refused("unexpected_uuid") == 1
            assert not connection.released.is_set(), "the first goes on"
            connection.release()
            assert await closed(first)


async def test_the_listener_tells_when_it_listens_and_frees_its_port() -> None:
    async with listening() as agentd:
        assert agentd.listener.listening
        port = agentd.port
    assert not agentd.listener.listening
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_port_that_is_taken_is_an_error_at_start() -> None:
    async with listening() as agentd:
        other = make_listener(agentd.port)
        with pytest.raises(OSError):
            await other.run()


async def test_the_end_of_the_daemon_closes_every_connection() -> None:
    async with listening() as agentd:
        uuid = uuid4()
        with agentd.admission.expect(uuid) as expectation:
            owned, silent = [await trio.open_tcp_stream("127.0.0.1", agentd.port) for _ in range(2)]
            await owned.send_all(uuid_frame(uuid))
            await expectation.connection(PATIENCE)
            await agentd.until(lambda: agentd.open == 2)
    assert await closed(owned)
    assert await closed(silent)
    assert agentd.open == 0


# --- the race of VarSet and TCP: either may come first


async def test_a_connection_that_comes_before_its_name_waits_for_it() -> None:
    async with listening(bind_grace=PATIENCE) as agentd:
        uuid = uuid4()
        with agentd.admission.expecting_unnamed():
            async with await agentd.connect() as stream:
                await stream.send_all(uuid_frame(uuid))
                assert await frames(stream, 1) == SILENCE
                await trio.testing.wait_all_tasks_blocked()
                with agentd.admission.expect(uuid) as expectation:
                    connection = await expectation.connection(PATIENCE)
                assert connection.call_uuid is not None
                connection.release()
        await agentd.until(lambda: agentd.open == 0)
        assert agentd.refused("unexpected_uuid") == 0


async def test_a_parked_connection_that_nobody_names_is_refused_after_the_grace() -> None:
    async with listening(bind_grace=0.05) as agentd:
        with agentd.admission.expecting_unnamed():
            stream = await agentd.connect()
            await stream.send_all(uuid_frame(uuid4()))
            assert await closed(stream)
        assert agentd.refused("unexpected_uuid") == 1
        await agentd.until(lambda: agentd.open == 0)


async def test_no_more_connections_are_parked_than_the_limit() -> None:
    async with listening(bind_grace=60.0) as agentd:
        with agentd.admission.expecting_unnamed():
            streams = [await agentd.connect() for _ in range(PARKED_LIMIT + 3)]
            for stream in streams:
                await stream.send_all(uuid_frame(uuid4()))
            # A connection is counted as refused before it is closed.
            await agentd.until(lambda: agentd.refused("unexpected_uuid") == 3 and agentd.open == PARKED_LIMIT)
            await trio.sleep(59.9)
            assert agentd.open == PARKED_LIMIT
            await agentd.until(lambda: agentd.open == 0)
        assert agentd.refused("unexpected_uuid") == PARKED_LIMIT + 3


# --- the admission alone, in memory


@pytest.fixture
def lines() -> Lines:
    return Lines(Admission(), Metrics())


async def test_a_connection_that_its_call_never_took_is_given_back(lines: Lines) -> None:
    uuid = uuid4()
    with lines.admission.expect(uuid):
        line = lines.connect(uuid)
        assert not line.released
    assert line.released


async def test_a_call_that_gets_no_connection_is_told_what_to_look_at(
    lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    uuid = uuid4()
    with lines.admission.expect(uuid) as expectation:
        with pytest.raises(MediaTimeout, match=f"UUID {uuid} came within 5 s: does Asterisk reach"):
            await expectation.connection(5.0)
    assert trio.current_time() == 5.0


async def test_after_its_deadline_a_late_connection_is_refused(lines: Lines) -> None:
    uuid = uuid4()
    with lines.admission.expect(uuid):
        pass
    assert lines.connect(uuid).released


async def test_two_calls_that_wait_get_each_its_own(lines: Lines) -> None:
    one, two = uuid4(), uuid4()
    with lines.admission.expect(one) as first, lines.admission.expect(two) as second:
        lines.connect(two)
        lines.connect(one)
        assert await first.connection(1.0) is lines.all[1].connection
        assert await second.connection(1.0) is lines.all[0].connection
