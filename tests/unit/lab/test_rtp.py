"""What the lab hears is laid out on the call's axis; what it sends is RTP and RFC 4733."""

import struct

import attrs
import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.g711 import slin_to_ulaw
from tests.lab.outgoing import CallEnded, Outgoing
from tests.lab.rtp import (
    PCMU,
    TELEPHONE_EVENT,
    Arrival,
    RtpPacket,
    RtpSyntaxError,
    digit_frames,
    late_packets,
    lay_out,
    line_stats,
)

LOUD = struct.pack("<h", 8000) * 160


def packets(count: int, *, start: float, timestamp: int = 0, ssrc: int = 1, jitter: float = 0.0) -> list[Arrival]:
    payload = slin_to_ulaw(LOUD)
    return [
        Arrival(
            start + 0.02 * n + (jitter if n % 2 else 0.0),
            RtpPacket(PCMU, n, (timestamp + 160 * n) & 0xFFFFFFFF, ssrc, payload),
        )
        for n in range(count)
    ]


def loud_samples(heard: bytes) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(heard, "<i2"))


@given(
    st.integers(0, 127),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(),
    st.booleans(),
)
def test_a_packet_is_parsed_as_it_was_rendered(
    kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> None:
    packet = RtpPacket(kind, sequence, timestamp, ssrc, payload, marker)
    assert RtpPacket.parse(packet.render()) == packet


@given(st.binary(max_size=40))
def test_any_datagram_is_a_packet_or_refused(datagram: bytes) -> None:
    try:
        packet = RtpPacket.parse(datagram)
    except RtpSyntaxError:
        return
    assert len(packet.payload) <= len(datagram) - 12


def test_extension_contributors_and_padding_are_not_audio() -> None:
    extended = bytes([0xB1, 0, 0, 1]) + bytes(8) + b"CSRC" + b"\xbe\xde\x00\x01" + b"EXTN" + b"audio" + b"\0\0\x03"
    assert RtpPacket.parse(extended).payload == b"audio"


@given(st.integers(0, 2**32 - 1))
def test_jitter_does_not_cut_the_audio_even_where_the_timestamp_wraps(timestamp: int) -> None:
    heard = lay_out(packets(50, start=0.5, timestamp=timestamp, jitter=0.03), 16000)
    assert np.array_equal(loud_samples(heard), np.arange(4000, 12000))


def test_a_new_timeline_begins_where_it_arrives() -> None:
    heard = lay_out(packets(10, start=0.2) + packets(10, start=1.0, timestamp=99, ssrc=2), 16000)
    assert set(loud_samples(heard)) == {*range(1600, 3200), *range(8000, 9600)}


def test_a_sender_whose_clock_stood_still_in_a_pause_is_heard_after_the_pause() -> None:
    heard = lay_out(packets(10, start=0.2) + packets(10, start=1.0, timestamp=1600), 16000)
    assert loud_samples(heard)[1600] == 8000


def test_a_burst_is_heard_in_its_own_time() -> None:
    burst = [Arrival(0.5, one.packet) for one in packets(40, start=0.5)]
    assert np.array_equal(loud_samples(lay_out(burst, 16000)), np.arange(4000, 10400))


@pytest.mark.parametrize("stalled", [0, 20])
def test_a_stall_that_is_caught_up_moves_nothing(stalled: int) -> None:
    even = packets(50, start=0.5)
    late = [
        Arrival(max(one.at, even[stalled].at + 0.15) if n >= stalled else one.at, one.packet)
        for n, one in enumerate(even)
    ]
    assert np.array_equal(loud_samples(lay_out(late, 16000)), np.arange(4000, 12000))


def test_gaps_and_losses_are_counted_as_the_card_saw_them() -> None:
    kept = [one for n, one in enumerate(packets(100, start=0.0)) if n not in (40, 41)]
    stats = line_stats(kept, 0.004)
    assert (stats.packets, stats.lost) == (98, 2)
    assert stats.max_gap_ms == pytest.approx(60)
    assert stats.median_gap_ms == pytest.approx(20)
    assert stats.max_send_lag_ms == pytest.approx(4)
    assert line_stats([], 0.0).max_gap_ms == 0


def test_a_packet_is_late_where_a_telephones_buffer_has_run_dry() -> None:
    steady = packets(100, start=0.0)
    assert late_packets(steady) == 0
    assert late_packets([attrs.evolve(one, at=one.at + (0.059 if n == 50 else 0)) for n, one in enumerate(steady)]) == 0
    one_late = [attrs.evolve(one, at=one.at + (0.061 if n == 50 else 0)) for n, one in enumerate(steady)]
    assert late_packets(one_late) == 1


def test_a_stall_is_one_late_packet_for_the_buffer_fills_anew() -> None:
    stalled = [attrs.evolve(one, at=one.at + (0.5 if n >= 50 else 0)) for n, one in enumerate(packets(100, start=0.0))]
    assert late_packets(stalled) == 1


def test_another_timeline_is_no_late_packet() -> None:
    assert late_packets(packets(10, start=0.0, ssrc=1) + packets(10, start=5.0, ssrc=2)) == 0
    jump = packets(10, start=0.2, timestamp=80_000_000)
    assert late_packets(packets(10, start=0.0) + jump) == 0


def test_a_key_press_lasts_100_ms_and_its_end_is_said_three_times() -> None:
    frames = digit_frames("#")
    assert [struct.unpack(">BBH", payload) for frame in frames for payload in frame] == [
        *((11, 10, 160 * n) for n in range(1, 6)), *[(11, 0x8A, 960)] * 3,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="expected one of"):
        digit_frames("x")


async def test_silence_is_sent_when_there_is_nothing_to_say_and_speech_begins_on_a_frame() -> None:
    outgoing = Outgoing()
    playing = outgoing.say(LOUD + LOUD[:100])
    sent = [packet for number in range(5) for packet in outgoing.next_frame(number)]
    assert [packet.timestamp for packet in sent] == [0, 160, 320, 480, 640]
    assert sent[0].marker and not sent[1].marker
    assert bytes(outgoing.said).rstrip(b"\0") == LOUD + LOUD[:100]
    assert len(outgoing.said) == 5 * 320
    times = await playing.wait()
    assert (times.start, times.end) == (0.0, pytest.approx(0.02 + 50 / 8000))


async def test_a_call_that_ends_tells_whoever_is_still_speaking() -> None:
    outgoing = Outgoing()
    playing = outgoing.say(LOUD * 5)
    outgoing.next_frame(0)
    outgoing.close()
    with pytest.raises(CallEnded, match=r"0\.08 s"):
        await playing.wait()
    with pytest.raises(CallEnded):
        await outgoing.say(LOUD).wait()
    with pytest.raises(CallEnded):
        await outgoing.press("5")


async def test_speech_waits_while_a_key_is_pressed(nursery: trio.Nursery) -> None:
    outgoing = Outgoing()
    outgoing.say(LOUD)
    nursery.start_soon(outgoing.press, "5")
    await trio.testing.wait_all_tasks_blocked()
    kinds = [{packet.payload_type for packet in outgoing.next_frame(number)} for number in range(12)]
    assert kinds == [{TELEPHONE_EVENT}] * 6 + [{PCMU}] * 6
    assert np.array_equal(loud_samples(bytes(outgoing.said)), np.arange(9 * 160, 10 * 160))


@pytest.mark.parametrize("pcm", [b"", b"\0", b"\0\0\0"])
def test_half_a_sample_is_no_audio(pcm: bytes) -> None:
    with pytest.raises(ValueError, match="whole 16-bit samples"):
        Outgoing().say(pcm)
