"""One AudioSocket connection against a scripted peer, on a clock of its own."""

import math
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from uuid import UUID

import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.audiosocket.connection import (
    IN_VAIN,
    READ_BYTES,
    READS_AT_ONCE,
    SEND_DEADLINE,
    TRIED_AGAIN,
    AudioSocketConnection,
)
from agentd.audiosocket.frames import HANGUP_FRAME, RATES, Allowance, AudioFrame, DtmfFrame, Kind
from agentd.audiosocket.wire import SocketWire
from agentd.errors import MediaProtocolError
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics
from agentd.testing._lines import SILENCE, ScriptedStream, audio_frame, dtmf_frame, uuid_frame

LINE = LineFormat()
UUID_SENT = UUID("7d0c7a4e-6a2b-4a53-9d0e-0f4f5d1a2b3c")


class Session:
    """What a call would be: takes frames, gives none of its own."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame | DtmfFrame] = []
        self.times: list[float] = []
        self.beats = 0

    def receive(self, pcm: bytes, rate: int, at: float) -> None:
        self.frames.append(AudioFrame(rate, pcm))
        self.times.append(at)

    def press(self, digit: str) -> None:
        self.frames.append(DtmfFrame(digit))

    def beat(self) -> None:
        self.beats += 1


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def stream() -> ScriptedStream:
    return ScriptedStream()


@pytest.fixture
def connection(stream: ScriptedStream, metrics: Metrics) -> AudioSocketConnection:
    return AudioSocketConnection(stream, "192.0.2.7", metrics)


@pytest.fixture
def session() -> Session:
    return Session()


async def serve(connection: AudioSocketConnection, session: Session) -> str:
    return await connection.serve(LINE, session.receive, session.press, lambda: None, session.beat)


@asynccontextmanager
async def carrying(connection: AudioSocketConnection) -> AsyncIterator[trio.Nursery]:
    """The connection is sent silence for as long as the block runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.carry_silence)
        yield nursery
        nursery.cancel_scope.cancel()


def ignore(*_what: object) -> None:
    """Of no interest here."""


def skipped(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("agentd_line_frames_skipped_total") or 0.0


# --- the handshake


async def test_the_handshake_gives_the_uuid_and_answers_with_silence_at_once(
    connection: AudioSocketConnection, stream: ScriptedStream, autojump_clock: MockClock
) -> None:
    stream.say(uuid_frame(UUID_SENT))
    assert (await connection.handshake()).uuid == UUID_SENT
    assert stream.calls == [(0.0, SILENCE)]


async def test_the_uuid_may_come_byte_by_byte(connection: AudioSocketConnection, stream: ScriptedStream) -> None:
    for byte in uuid_frame(UUID_SENT):
        stream.say(bytes([byte]))
    assert (await connection.handshake()).uuid == UUID_SENT


async def test_audio_that_came_with_the_uuid_reaches_the_call(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session
) -> None:
    stream.say(uuid_frame(UUID_SENT) + audio_frame(b"\x01\x02" * 160) + audio_frame(b"\x03\x04" * 160)[:7])
    await connection.handshake()
    stream.say(audio_frame(b"\x03\x04" * 160)[7:])
    stream.end()
    assert await serve(connection, session) == "closed by Asterisk"
    assert session.frames == [AudioFrame(8000, b"\x01\x02" * 160), AudioFrame(8000, b"\x03\x04" * 160)]


@pytest.mark.parametrize(
    "first", [audio_frame(), dtmf_frame("5"), b"\x00\x00\x00", b"\xff\x00\x01\x04", b"\x42\x00\x00"]
)
async def test_the_first_frame_must_be_a_uuid(
    connection: AudioSocketConnection, stream: ScriptedStream, first: bytes
) -> None:
    stream.say(first)
    with pytest.raises(MediaProtocolError, match=r"first frame must be a UUID, 192\.0\.2\.7 sent"):
        await connection.handshake()
    assert not stream.calls


async def test_a_peer_that_closes_before_its_uuid_is_told_as_such(
    connection: AudioSocketConnection, stream: ScriptedStream
) -> None:
    stream.say(uuid_frame(UUID_SENT)[:10])
    stream.end()
    with pytest.raises(MediaProtocolError, match="before it sent a UUID"):
        await connection.handshake()


async def test_a_handshake_that_never_comes_is_ended_by_its_caller_s_deadline(
    connection: AudioSocketConnection, autojump_clock: MockClock
) -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(2.0):
        await connection.handshake()
    assert trio.current_time() == 2.0


# --- from the handshake until a call serves it


async def test_asterisk_is_given_silence_every_20_ms_until_a_call_serves_the_connection(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.say(uuid_frame(UUID_SENT))
    await connection.handshake()
    async with carrying(connection) as nursery:
        await trio.sleep(0.07)
        voice = b"\x01\x00" * 160
        nursery.start_soon(connection.serve, LINE, session.receive, session.press, lambda: voice, session.beat)
        await trio.sleep(0.05)
    assert stream.calls == [
        *((pytest.approx(at), SILENCE) for at in (0.0, 0.02, 0.04, 0.06)),
        *((pytest.approx(at), audio_frame(voice)) for at in (0.07, 0.09, 0.11)),
    ]


async def test_silence_that_was_missed_is_not_sent_after_the_fact(
    connection: AudioSocketConnection, stream: ScriptedStream, autojump_clock: MockClock
) -> None:
    async with carrying(connection):
        await trio.sleep(0.032)
        autojump_clock.jump(0.5)  # the loop stands still for half a second
        await trio.sleep(0.02)
    assert [at for at, _ in stream.calls] == pytest.approx([0.02, 0.532, 0.54])


async def test_silence_is_sent_in_the_format_of_the_call_as_soon_as_that_is_known(
    connection: AudioSocketConnection, stream: ScriptedStream, autojump_clock: MockClock
) -> None:
    async with carrying(connection):
        await trio.sleep(0.03)
        connection.line = LineFormat(16000)
        await trio.sleep(0.02)
    assert [data for _, data in stream.calls] == [SILENCE, b"\x12\x02\x80" + bytes(640)]


async def test_a_frame_of_silence_that_is_being_sent_is_not_cut_by_the_call(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    async with carrying(connection) as nursery:
        await trio.sleep(0.015)
        stream.stall = 0.5
        await trio.sleep(0.01)
        stream.stall = 0.0
        nursery.start_soon(serve, connection, session)
        await trio.sleep(0.515)
    (first, _), (second, following) = stream.calls
    assert first == pytest.approx(0.02)
    assert 0.52 <= second <= 0.54
    assert following == SILENCE


async def test_a_call_that_serves_at_once_is_not_spoken_into(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.carry_silence)
        await trio.sleep(0.99)
        nursery.cancel_scope.cancel()
    assert len(stream.calls) == session.beats == 50


async def test_what_asterisk_did_not_accept_before_the_call_ends_the_connection(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = math.inf
    await connection.carry_silence()
    assert await serve(connection, session) == f"Asterisk accepted no audio for {SEND_DEADLINE:g} s"
    assert len(stream.calls) == 1, "half a frame may have gone out: nothing can follow it"


async def test_a_connection_that_breaks_before_the_call_is_told_to_the_call(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.broken = True
    await connection.carry_silence()
    assert await serve(connection, session) == "connection broke: connection reset"


# --- frames of any kind


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (audio_frame(b""), []),
        (audio_frame(b"\x01"), []),
        (audio_frame(b"\x01\x02\x03"), [AudioFrame(8000, b"\x01\x02")]),
        (b"\x12\x00\x02\x01\x02", [AudioFrame(16000, b"\x01\x02")]),
        (b"\x18\x00\x03\x01\x02\x03", [AudioFrame(192000, b"\x01\x02")]),
        (b"\x42\x00\x03abc", []),
        (b"\x02\x00\x00", []),
        (dtmf_frame("5"), [DtmfFrame("5")]),
    ],
    ids=["no audio", "half a sample", "one and a half", "16 kHz", "192 kHz, odd", "unknown", "unknown, empty", "DTMF"],
)
async def test_a_frame_of_any_kind_leaves_the_line_in_step(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, sent: bytes, heard: list[object]
) -> None:
    """Audio of an odd length ended the call."""
    stream.say(sent + audio_frame(b"\x07\x07"))
    stream.end()
    assert await serve(connection, session) == "closed by Asterisk"
    assert session.frames == [*heard, AudioFrame(8000, b"\x07\x07")]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 16, 17])
async def test_each_of_the_256_kinds_has_its_row(metrics: Metrics, length: int) -> None:
    """What is done about a frame of each kind, and what about the audio that comes after it."""
    payload, following = b"7" * length, AudioFrame(8000, b"\x07\x07")
    for kind in range(256):
        stream, session = ScriptedStream(), Session()
        line = AudioSocketConnection(stream, "192.0.2.7", metrics)
        stream.say(bytes([kind]) + length.to_bytes(2, "big") + payload + audio_frame(following.payload))
        stream.end()
        ended = await serve(line, session)
        match kind:
            case 0x00:
                row: tuple[str, list[AudioFrame | DtmfFrame]] = ("hangup frame from Asterisk", [])
            case 0x01:
                row = ("second UUID frame" if length == 16 else "protocol error: a UUID frame", [])
            case 0x03 if length == 1:
                row = ("closed by Asterisk", [DtmfFrame("7"), following])
            case 0x03:
                row = ("protocol error: a DTMF frame", [])
            case 0xFF:
                row = ("error frame from Asterisk", [])
            case _ if 0x10 <= kind <= 0x18:
                whole = [AudioFrame(RATES[Kind(kind)], payload[: length // 2 * 2])] if length > 1 else []
                row = ("closed by Asterisk", [*whole, following])
            case _:
                row = ("closed by Asterisk", [following])
        assert ended.startswith(row[0]), f"{kind:#04x}"
        assert session.frames == row[1], f"{kind:#04x}"


@pytest.mark.parametrize("frame", [b"\x42\x00\x00", audio_frame(b"\x01"), audio_frame(b"")])
async def test_there_were_195_000_lines_of_warning_in_2_s_for_frames_of_no_use(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, frame: bytes, autojump_clock: MockClock
) -> None:
    for _ in range(20):
        stream.say(frame * 100)
    stream.end()
    with structlog.testing.capture_logs() as logs:
        await serve(connection, session)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert logs[0]["peer"] == "192.0.2.7"


async def test_unknown_frames_are_all_counted(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, metrics: Metrics
) -> None:
    stream.say(b"\x42\x00\x00" * 100)
    stream.end()
    await serve(connection, session)
    assert metrics.registry.get_sample_value("agentd_audiosocket_unknown_frames_total") == 100


@pytest.mark.parametrize("drift_us", [0, 150, -150])
async def test_a_frame_hardly_ever_waits_for_more_than_10_ms_and_few_reads_are_in_vain(
    connection: AudioSocketConnection,
    stream: ScriptedStream,
    session: Session,
    drift_us: int,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The peer's clock is another one: its frames move from one half of the line's 20 ms into the other."""
    frames = 200
    crossed = ceil(abs(drift_us) * frames / 10_000)
    said: list[float] = []
    found: list[bool] = []
    read = ScriptedStream.read

    def counted(self: ScriptedStream, max_bytes: int) -> bytes | None:
        found.append((data := read(self, max_bytes)) is not None)
        return data

    async def speak() -> None:
        for number in range(frames):
            await trio.sleep_until(0.0033 + number * (0.02 + drift_us / 1e6))
            said.append(trio.current_time())
            stream.say(audio_frame())

    monkeypatch.setattr(ScriptedStream, "read", counted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await speak()
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    waited = [heard - spoke for heard, spoke in zip(session.times, said, strict=True)]
    assert sum(seconds > 0.01 + 1e-6 for seconds in waited) <= TRIED_AGAIN * (drift_us < 0) * crossed
    assert max(waited) <= 0.02
    assert found.count(False) <= 400 / TRIED_AGAIN + (IN_VAIN + 1) * (1 + crossed), "and 200 were not"


@pytest.mark.parametrize("frame", [b"\x42\x00\x00", dtmf_frame("5"), audio_frame(b"\x01\x02")])
async def test_a_peer_that_floods_is_held_up_and_nobody_else(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, frame: bytes, autojump_clock: MockClock
) -> None:
    for _ in range(1000):
        stream.say(frame * 1000)
    with trio.move_on_after(10):
        await serve(connection, session)
    allowed = Allowance()
    assert 1000 - stream.unread() <= (allowed.at_once + 10 * allowed.per_second) / 1000 + 2
    assert session.beats >= 499, "its own line goes on"


async def test_what_has_waited_during_a_stall_of_a_minute_is_taken_in_a_fifth_of_a_second(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.say(audio_frame() * 3000)
    stream.end()
    assert await serve(connection, session) == "closed by Asterisk"
    assert trio.current_time() < 0.2
    assert len(session.frames) == 3000
    assert max(Counter(session.times).values()) <= READS_AT_ONCE * READ_BYTES / len(SILENCE) + 1, "others come between"


# --- the writer


async def test_a_frame_of_silence_goes_out_every_20_ms_on_the_absolute_clock(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1.99):
        await serve(connection, session)
    assert [at for at, _ in stream.calls] == pytest.approx([n * 0.02 for n in range(100)])
    assert session.beats == 100


async def test_slow_sends_do_not_shift_the_clock(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = 0.013
    with trio.move_on_after(1.99):
        await serve(connection, session)
    assert [at for at, _ in stream.calls] == pytest.approx([n * 0.02 for n in range(100)])


async def test_header_and_payload_leave_in_one_send(
    connection: AudioSocketConnection, stream: ScriptedStream, autojump_clock: MockClock
) -> None:
    frames = iter([b"\x01\x00" * 160, None, b"\x02\x00" * 160])
    with trio.move_on_after(0.05):
        await connection.serve(LINE, ignore, ignore, lambda: next(frames), lambda: None)
    assert [data for _, data in stream.calls] == [
        audio_frame(b"\x01\x00" * 160),
        SILENCE,
        audio_frame(b"\x02\x00" * 160),
    ]


async def test_a_line_of_16_khz_sends_its_own_kind(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(0.01):
        await connection.serve(LineFormat(16000), session.receive, session.press, lambda: None, session.beat)
    assert stream.calls == [(0.0, b"\x12\x02\x80" + bytes(640))]


async def test_a_writer_that_wakes_up_late_goes_on_from_now_without_a_burst(
    connection: AudioSocketConnection,
    stream: ScriptedStream,
    metrics: Metrics,
    autojump_clock: MockClock,
) -> None:
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 10:  # the loop stands still for half a second
            autojump_clock.jump(0.51)

    with trio.move_on_after(1.005):
        await connection.serve(LINE, ignore, ignore, lambda: None, beat)
    times = [at for at, _ in stream.calls]
    assert times[9:12] == pytest.approx([0.18, 0.69, 0.70]), "what was missed is not sent after the fact"
    assert times[-1] == pytest.approx(1.0), "and the clock is the old one"
    assert len(times) + skipped(metrics) == 51


async def test_a_writer_that_is_one_frame_late_sends_every_frame(
    connection: AudioSocketConnection, stream: ScriptedStream, metrics: Metrics, autojump_clock: MockClock
) -> None:
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 10:
            autojump_clock.jump(0.03)

    with trio.move_on_after(0.99):
        await connection.serve(LINE, ignore, ignore, lambda: None, beat)
    assert len(stream.calls) == 50
    assert skipped(metrics) == 0


async def test_asterisk_that_accepts_no_more_audio_ends_the_connection(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = math.inf
    assert await serve(connection, session) == f"Asterisk accepted no audio for {SEND_DEADLINE:g} s"
    assert trio.current_time() == SEND_DEADLINE
    assert session.beats == 0


async def test_a_send_to_a_broken_connection_ends_it(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session
) -> None:
    stream.broken = True
    assert await serve(connection, session) == "connection broke: connection reset"


async def test_a_real_peer_that_does_not_read_holds_up_only_what_is_sent_to_it(
    metrics: Metrics, session: Session, autojump_clock: MockClock
) -> None:
    near, far = trio.socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that there is
    with near, far:
        connection = AudioSocketConnection(SocketWire(trio.SocketStream(near)), "127.0.0.1", metrics)
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                while True:
                    await far.send(audio_frame())
                    await trio.sleep(0.02)

            nursery.start_soon(talk)
            reason = await serve(connection, session)
            nursery.cancel_scope.cancel()
        assert reason == f"Asterisk accepted no audio for {SEND_DEADLINE:g} s"
        assert session.beats, "the kernel took some"
        assert len(session.frames) == pytest.approx(session.beats + SEND_DEADLINE / 0.02, abs=2), (
            "and all came that was sent"
        )


# --- the reader


async def test_the_reader_always_drains_while_the_writer_stalls(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = math.inf
    for _ in range(500):
        stream.say(audio_frame())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await trio.sleep(1.0)
        assert stream.unread() == 0
        assert len(session.frames) == 500
        nursery.cancel_scope.cancel()


async def test_frames_carry_the_time_when_they_were_taken_10_ms_after_their_arrival_at_the_most(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await trio.sleep(0.503)
        stream.say(audio_frame())
        await trio.sleep(0.25)
        stream.say(dtmf_frame("7") + audio_frame())
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert session.times == pytest.approx([0.51, 0.76])
    assert session.frames[1] == DtmfFrame("7")


@pytest.mark.parametrize(
    ("arrives", "reason"),
    [
        (audio_frame()[:100], "connection cut inside a frame"),
        (audio_frame(), "closed by Asterisk"),
        (b"\x00\x00\x00", "hangup frame from Asterisk"),
        (b"\xff\x00\x01\x04", "error frame from Asterisk, code 4"),
        (b"\xff\x00\x00", "error frame from Asterisk, code None"),
        (uuid_frame(UUID_SENT), f"second UUID frame ({UUID_SENT})"),
        (b"\x10\xff\xff", "protocol error: frame of kind 0x10 announces 65535 bytes"),
        (b"\x03\x00\x02\x31\x32", "protocol error: a DTMF frame holds one ASCII character"),
        (b"RESET", "connection broke: connection reset"),
    ],
)
async def test_it_tells_why_a_connection_ended(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, arrives: bytes, reason: str
) -> None:
    stream.say(arrives)
    stream.end()
    assert (await serve(connection, session)).startswith(reason)


async def test_nothing_after_a_hangup_frame_reaches_the_call(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session
) -> None:
    stream.say(audio_frame() + b"\x00\x00\x00" + audio_frame())
    await serve(connection, session)
    assert len(session.frames) == 1


async def test_unknown_kinds_are_skipped_and_counted(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, metrics: Metrics
) -> None:
    stream.say(b"\x42\x00\x03abc" + audio_frame() + b"\x43\x00\x00")
    stream.end()
    assert await serve(connection, session) == "closed by Asterisk"
    assert len(session.frames) == 1
    assert metrics.registry.get_sample_value("agentd_audiosocket_unknown_frames_total") == 2


async def test_no_task_is_left_when_the_peer_ends_the_connection(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await trio.sleep(0.1)
        stream.end()
        await trio.sleep(0.1)
        assert trio.lowlevel.current_statistics().tasks_living == before


# --- hanging up


async def test_a_hang_up_is_the_last_thing_that_is_sent_and_ends_the_connection(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    reasons: list[str] = []

    async def run() -> None:
        reasons.append(await serve(connection, session))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(0.1 - 0.001)
        connection.hang_up()
        await trio.sleep(0.02)
        assert reasons == ["hung up by agentd"]
        await trio.sleep(1.0)
    assert [frame for _, frame in stream.calls] == [SILENCE] * 5 + [HANGUP_FRAME]
    assert session.beats == 5


async def test_a_hang_up_before_the_line_is_served_is_sent_at_once(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    connection.hang_up()
    assert await serve(connection, session) == "hung up by agentd"
    assert stream.calls == [(0.0, HANGUP_FRAME)]


async def test_a_hang_up_that_asterisk_does_not_take_ends_at_the_deadline(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = math.inf
    connection.hang_up()
    assert "accepted no audio" in await serve(connection, session)
    assert trio.current_time() == pytest.approx(SEND_DEADLINE)


async def test_a_hang_up_that_is_asked_for_while_a_frame_is_being_sent_comes_after_it(
    connection: AudioSocketConnection, stream: ScriptedStream, session: Session, autojump_clock: MockClock
) -> None:
    stream.stall = 0.01
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, connection, session)
        await trio.sleep(0.045)
        connection.hang_up()
    assert [frame for _, frame in stream.calls] == [SILENCE] * 3 + [HANGUP_FRAME]
