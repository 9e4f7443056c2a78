"""One leg's RTP over real sockets on loopback, on a clock of the test's own: nothing is waited for but ticks."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import attrs
import numpy as np
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics
from agentd.rtp.connection import MOST_AT_ONCE, UNSENT_DEADLINE, RtpConnection
from agentd.rtp.packet import LONGEST, Outgoing, Packet, parse
from agentd.rtp.payload import PAYLOADS
from agentd.testing.sound import voice

ULAW = PAYLOADS["ulaw"]
SILENCE_TIMEOUT = 30.0


def bound(host: str = "127.0.0.1") -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.bind((host, 0))
    return opened


@attrs.define(eq=False)
class Ends:
    """agentd's connection, and Asterisk's socket that it is connected to."""

    connection: RtpConnection
    asterisk: socket.socket
    metrics: Metrics
    outgoing: Outgoing = attrs.field(factory=lambda: Outgoing(0, 9, 100, 0))
    received: list[tuple[bytes, int, float]] = attrs.field(factory=list)
    beats: int = 0
    spoken: int = 0
    reason: str = ""

    @property
    def here(self) -> tuple[str, int]:
        return self.connection.opened.getsockname()[:2]

    def speak(self, pcm: bytes) -> None:
        self.asterisk.sendto(self.outgoing.packet(slin_to_ulaw(pcm), self.spoken), self.here)
        self.spoken += len(pcm) // 2

    def heard(self) -> list[Packet]:
        """What has come to Asterisk since it was looked last."""
        packets = []
        while True:
            try:
                packet = parse(self.asterisk.recv(LONGEST))
            except BlockingIOError:
                return packets
            assert isinstance(packet, Packet)
            packets.append(packet)

    def beat(self) -> None:
        self.beats += 1

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"agentd_{name}_total", labels) or 0.0


@pytest.fixture(params=["127.0.0.1", "::1"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    asterisk, here, metrics = bound(request.param), bound(request.param), Metrics()
    here.connect(asterisk.getsockname())
    connection = RtpConnection(here, "Asterisk", ULAW, Outgoing(0, 5, 65534, 2**32 - 160), SILENCE_TIMEOUT, metrics)
    yield Ends(connection, asterisk, metrics)
    connection.release()
    asterisk.close()


def no_frame(*, ahead: bool = False) -> None:
    return None


@asynccontextmanager
async def served(ends: Ends, next_frame: Callable[..., bytes | None] = no_frame) -> AsyncIterator[None]:
    async def serve() -> None:
        ends.reason = await ends.connection.serve(
            LineFormat(),
            lambda pcm, rate, at: ends.received.append((pcm, rate, at)),
            lambda digit: pytest.fail("RTP brings no keys"),
            next_frame,
            ends.beat,
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.sleep(0.011)  # between two looks from now on
        yield
        nursery.cancel_scope.cancel()


async def test_a_packet_goes_out_every_20_ms_and_the_numbers_go_on(ends: Ends, autojump_clock: MockClock) -> None:
    async with served(ends):
        await trio.sleep(0.06)
    packets = ends.heard()
    assert [packet.sequence for packet in packets] == [65534, 65535, 0, 1]
    assert [packet.timestamp for packet in packets] == [2**32 - 160, 0, 160, 320]
    assert [packet.marker for packet in packets] == [True, False, False, False]
    assert {packet.payload for packet in packets} == {b"\xff" * 160}, "silence, where there is nothing to say"
    assert ends.beats == 4


async def test_what_is_said_is_sent_in_order(ends: Ends, autojump_clock: MockClock) -> None:
    said = [ulaw_to_slin(slin_to_ulaw(voice(0.02, seed=seed))) for seed in range(5)]
    frames = iter(said)
    async with served(ends, lambda *, ahead=False: next(frames, None)):
        await trio.sleep(0.2)
    assert [ulaw_to_slin(packet.payload) for packet in ends.heard()][:5] == said


async def test_what_comes_is_received_within_10_ms(ends: Ends, autojump_clock: MockClock) -> None:
    async with served(ends):
        ends.speak(voice(0.02))
        assert not ends.received
        await trio.sleep(0.01)
        ((pcm, rate, at),) = ends.received
        assert (pcm, rate) == (ulaw_to_slin(slin_to_ulaw(voice(0.02))), 8000)
        assert at == pytest.approx(0.02)
        ends.speak(voice(0.02))
        await trio.sleep(0.01)
        assert ends.received[-1][2] == pytest.approx(0.03)


async def test_what_others_send_is_not_taken(ends: Ends, autojump_clock: MockClock) -> None:
    stranger = bound(ends.here[0])
    async with served(ends):
        for number in range(10):
            try:
                stranger.sendto(Outgoing(0, 1, number, 0).packet(b"\x10" * 160, 0), ends.here)
            except ConnectionRefusedError:
                pass  # the kernel says that nobody is there for it
        ends.speak(voice(0.02))
        await trio.sleep(0.1)
    stranger.close()
    assert len(ends.received) == 1


async def test_what_had_come_from_others_before_asterisk_was_known_is_refused(autojump_clock: MockClock) -> None:
    asterisk, stranger, here, metrics = bound(), bound(), bound(), Metrics()
    stranger.sendto(Outgoing(0, 1, 1, 0).packet(b"\x10" * 160, 0), here.getsockname())
    here.connect(asterisk.getsockname())
    ends = Ends(RtpConnection(here, "Asterisk", ULAW, Outgoing(0, 5, 0, 0), 30.0, metrics), asterisk, metrics)
    async with served(ends):
        ends.speak(voice(0.02))
        await trio.sleep(0.1)
    assert len(ends.received) == 1
    assert ends.count("rtp_refused", reason="stranger") == 1
    for each in (asterisk, stranger, here):
        each.close()


async def test_what_is_no_packet_is_counted_by_its_reason_and_told_once(ends: Ends, autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with served(ends):
            for _ in range(3):
                ends.asterisk.sendto(b"hello", ends.here)
                ends.asterisk.sendto(bytes(4000), ends.here)
                ends.asterisk.sendto(b"\x80\xc8" + bytes(26), ends.here)
            ends.speak(voice(0.02))
            await trio.sleep(0.1)
    assert {reason: ends.count("rtp_refused", reason=reason) for reason in ("short", "long", "rtcp")} == {
        "short": 3, "long": 3, "rtcp": 3
    }  # fmt: skip
    assert len(logs) == 3
    assert len(ends.received) == 1


async def test_a_packet_of_another_type_is_no_audio_and_no_loss(ends: Ends, autojump_clock: MockClock) -> None:
    async with served(ends):
        ends.speak(voice(0.02))
        ends.asterisk.sendto(Outgoing(13, 9, 101, 160).packet(b"\x40", 0), ends.here)  # comfort noise
        ends.outgoing.sequence, ends.spoken = 102, 320
        ends.speak(voice(0.02))
        await trio.sleep(0.1)
    assert len(ends.received) == 2
    assert ends.count("rtp_refused", reason="payload_type") == 1
    assert not ends.count("rtp_packets", fate="lost")


async def test_what_is_lost_is_concealed_and_counted(ends: Ends, autojump_clock: MockClock) -> None:
    async with served(ends):
        ends.speak(voice(0.02))
        ends.outgoing.sequence += 1
        ends.spoken += 160
        ends.speak(voice(0.02))
        await trio.sleep(0.2)
    assert sum(len(pcm) for pcm, _, _ in ends.received) == 3 * 320
    assert ends.count("rtp_packets", fate="lost") == 1


async def test_after_a_stall_all_that_waited_comes_and_a_flood_stays_with_the_kernel(
    ends: Ends, autojump_clock: MockClock
) -> None:
    async with served(ends):
        for _ in range(MOST_AT_ONCE + 20):
            ends.speak(voice(0.02))
        await trio.sleep(0.01)
        assert len(ends.received) == MOST_AT_ONCE
        await trio.sleep(0.01)
        assert len(ends.received) == MOST_AT_ONCE + 20


async def test_a_port_that_asterisk_has_closed_ends_the_leg_at_once(ends: Ends, autojump_clock: MockClock) -> None:
    frames = 0

    def count(*, ahead: bool = False) -> None:
        nonlocal frames
        frames += 1

    async with served(ends, count):
        await trio.sleep(0.1)
        ends.asterisk.close()
        before = frames
        await trio.sleep(0.1)
        assert ends.reason == "Asterisk has closed its port: Asterisk"
        assert frames == before + 1, "one frame met the closed port, and no other was taken"


async def test_a_stream_that_falls_silent_is_doubtful_after_a_while_and_goes_on(
    ends: Ends, autojump_clock: MockClock
) -> None:
    async with served(ends):
        await trio.sleep(10)
        ends.speak(voice(0.02))
        await trio.sleep(SILENCE_TIMEOUT)
        assert not ends.connection.doubtful
        await trio.sleep(0.05)
        assert ends.connection.doubtful
        ends.speak(voice(0.02))
        await trio.sleep(0.05)
        assert not ends.connection.doubtful
        assert not ends.reason, "it goes on: the PBX is to be asked"


async def test_what_cannot_be_sent_for_2_s_ends_the_leg(autojump_clock: MockClock) -> None:
    @attrs.define
    class Full:
        """A socket whose host takes nothing."""

        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.1", 1

        def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
            raise BlockingIOError

        def send(self, data: bytes) -> int:
            raise OSError(101, "Network is unreachable")

        def close(self) -> None:
            pass

    metrics = Metrics()
    connection = RtpConnection(Full(), "Asterisk", ULAW, Outgoing(0, 5, 0, 0), 30.0, metrics)  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logs:
        ends = Ends(connection, bound(), metrics)
        async with served(ends):
            await trio.sleep(UNSENT_DEADLINE + 0.1)
    assert ends.reason == "no RTP could be sent to Asterisk for 2 s"
    assert ends.count("rtp_unsent") == pytest.approx(UNSENT_DEADLINE * 50, abs=3)
    assert len(logs) == 1
    ends.asterisk.close()


async def test_hanging_up_ends_it(ends: Ends, autojump_clock: MockClock) -> None:
    async with served(ends):
        ends.connection.hang_up()
        await trio.sleep(0.05)
        assert ends.reason == "hung up by agentd"


async def test_an_asterisk_that_sends_u_law_where_slin_was_asked_for_is_understood(autojump_clock: MockClock) -> None:
    """asterisk/asterisk issue 394: a lone slin became ulaw. And by 10, Asterisk means slin, too."""
    asterisk, here, metrics = bound(), bound(), Metrics()
    here.connect(asterisk.getsockname())
    connection = RtpConnection(here, "Asterisk", PAYLOADS["slin"], Outgoing(11, 5, 0, 0), 30.0, metrics)
    ends = Ends(connection, asterisk, metrics)
    tone = np.arange(160, dtype="<i2")
    async with served(ends):
        ends.speak(tone.tobytes())
        asterisk.sendto(Outgoing(10, 9, 101, 160).packet(tone.astype(">i2").tobytes(), 0), ends.here)
        await trio.sleep(0.05)
    assert {packet.payload_type for packet in ends.heard()} == {11}
    assert [pcm for pcm, _, _ in ends.received] == [ulaw_to_slin(slin_to_ulaw(tone.tobytes())), tone.tobytes()]
    assert not ends.count("rtp_refused", reason="payload_type")
    connection.release()
    asterisk.close()
