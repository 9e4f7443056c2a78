"""How a lab telephone's packets leave it and arrive."""

import itertools

import pytest

from agentd.testing.sound import silence, voice
from tests.lab.delivery import G729, ULAW, Codec, Delivery, Manner
from tests.lab.outgoing import Outgoing
from tests.lab.rtp import RtpPacket

TALK = voice(1.0)


def arrivals(manner: Manner, pcm: bytes, codec: Codec = ULAW, seconds: float = 3.0) -> list[tuple[float, RtpPacket]]:
    """What arrives, and when, of a telephone that says `pcm` and then nothing."""
    outgoing, delivery = Outgoing(codec), Delivery(manner)
    outgoing.say(pcm)
    came = []
    for number in range(round(seconds * 50)):
        packets = outgoing.next_frame(number)
        arrived = delivery.feed(packets, bytes(outgoing.said[-320:]), number * 0.02)
        came += [(number * 0.02, packet) for packet in arrived]
    return came


def test_evenly_a_packet_of_20_ms_arrives_every_20_ms() -> None:
    came = arrivals(Manner(), TALK)
    assert [round(at * 50) for at, _ in came] == list(range(150))
    assert {len(packet.payload) for _, packet in came} == {160}


@pytest.mark.parametrize("stall", [0.15, 0.25, 0.4])
def test_what_is_held_up_arrives_whole_in_order_and_at_once(stall: float) -> None:
    came = arrivals(Manner(stall=stall), TALK)
    assert [packet.timestamp for _, packet in came] == sorted(packet.timestamp for _, packet in came)
    assert len(came) >= 150 - stall * 50
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(came)]
    assert max(gaps) == pytest.approx(stall, abs=0.041)
    assert gaps.count(0.0) > 10


def test_long_packets_hold_what_the_short_ones_would_have() -> None:
    short, long = arrivals(Manner(), TALK), arrivals(Manner(packet=0.12), TALK)
    assert {len(packet.payload) for _, packet in long} == {960}
    said = b"".join(packet.payload for _, packet in short)
    assert b"".join(packet.payload for _, packet in long) == said[: len(long) * 960]
    assert [packet.timestamp for _, packet in long] == [n * 960 for n in range(len(long))]


def test_who_suppresses_silence_sends_nothing_of_it_and_numbers_what_is_sent_without_a_gap() -> None:
    came = arrivals(Manner(suppresses_silence=True), silence(0.5) + TALK)
    assert [at for at, _ in came] == pytest.approx([0.5 + n * 0.02 for n in range(50)])
    assert [packet.sequence for _, packet in came] == list(range(1, 51))


def test_comfort_noise_tells_that_silence_begins_and_goes_on() -> None:
    came = arrivals(Manner(suppresses_silence=True, comfort_noise=True), TALK, seconds=2.0)
    noise = [at for at, packet in came if packet.payload_type == 13]
    assert noise == pytest.approx([1.0, 1.2, 1.4, 1.6, 1.8])


def test_another_codec_is_sent_as_frames_of_its_own() -> None:
    came = arrivals(Manner(), TALK, G729)
    assert {(packet.payload_type, len(packet.payload)) for _, packet in came} == {(18, 20)}
    assert G729.offered == (18, "G729/8000")
