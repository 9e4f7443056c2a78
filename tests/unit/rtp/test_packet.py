"""RTP packets: what RFC 3550 allows is read, anything else is refused by a reason, and what is sent can be read."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.rtp.packet import LONGEST, Outgoing, Packet, Refusal, parse

unhurried = settings(deadline=None)
PLAIN = Packet(0, 17, 3200, 0xCAFE, b"\xff" * 160)


def on_the_wire(
    packet: Packet,
    *,
    csrcs: int = 0,
    extension: bytes | None = None,
    padding: int = 0,
    version: int = 2,
) -> bytes:
    """RFC 3550, section 5.1, written down once more."""
    first = version << 6 | (0x20 if padding else 0) | (0x10 if extension is not None else 0) | csrcs
    second = (0x80 if packet.marker else 0) | packet.payload_type
    data = struct.pack(">BBHII", first, second, packet.sequence, packet.timestamp, packet.ssrc) + bytes(4 * csrcs)
    if extension is not None:
        data += struct.pack(">HH", 0xBEDE, len(extension) // 4) + extension
    data += packet.payload
    return data + (bytes(padding - 1) + bytes([padding]) if padding else b"")


packets = st.builds(
    Packet,
    st.integers(0, 127).filter(lambda kind: kind not in range(64, 96)),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=300),
    st.booleans(),
)


@unhurried
@given(
    packets,
    st.integers(0, 15),
    st.none() | st.integers(0, 20).map(lambda words: bytes(4 * words)),
    st.integers(0, 255),
)
def test_sources_an_extension_and_padding_leave_the_payload_as_it_was(
    packet: Packet, csrcs: int, extension: bytes | None, padding: int
) -> None:
    assert parse(on_the_wire(packet, csrcs=csrcs, extension=extension, padding=padding)) == packet


@pytest.mark.parametrize(
    ("datagram", "refusal"),
    [
        (b"", Refusal.SHORT),
        (on_the_wire(PLAIN)[:11], Refusal.SHORT),
        (on_the_wire(PLAIN).ljust(LONGEST + 1, b"\0"), Refusal.LONG),
        (on_the_wire(PLAIN, version=1), Refusal.VERSION),
        (on_the_wire(PLAIN, version=0), Refusal.VERSION),  # STUN and DTLS begin like that
        (b"\x80\xc8" + bytes(26), Refusal.RTCP),  # a sender report
        (b"\x81\xc9" + bytes(30), Refusal.RTCP),  # a receiver report
        (b"\x8f\x00" + bytes(10), Refusal.CSRC),
        (b"\x90\x00" + bytes(10), Refusal.EXTENSION),
        (b"\x90\x00" + bytes(10) + b"\xbe\xde\xff\xff" + bytes(100), Refusal.EXTENSION),
        (b"\xa0\x00" + bytes(10), Refusal.PADDING),  # its last byte counts no padding
        (b"\xa0\x00" + bytes(10) + b"abc\x05", Refusal.PADDING),
        (b"\xa0\x00" + bytes(10) + b"abc\x00", Refusal.PADDING),
    ],
)
def test_what_is_no_packet_is_refused_by_a_reason(datagram: bytes, refusal: Refusal) -> None:
    assert parse(datagram) is refusal


@unhurried
@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda data: b"\xbf\x00" + data))
def test_any_bytes_are_a_packet_within_them_or_refused(datagram: bytes) -> None:
    parsed = parse(datagram)
    assert isinstance(parsed, Refusal) or parsed.payload in datagram


def test_padding_alone_is_a_packet_without_audio() -> None:
    assert parse(on_the_wire(Packet(0, 1, 2, 3, b""), padding=4)) == Packet(0, 1, 2, 3, b"")


def test_a_stream_counts_its_packets_and_its_time_and_wraps_around() -> None:
    outgoing = Outgoing(118, ssrc=0xDEADBEEF, sequence=0xFFFE, timestamp=0xFFFFFFFF - 319)
    sent = [parse(outgoing.packet(bytes([number]), 320 * number)) for number in range(4)]
    assert sent == [
        Packet(118, 0xFFFE, 0xFFFFFFFF - 319, 0xDEADBEEF, b"\0", marker=True),
        Packet(118, 0xFFFF, 0, 0xDEADBEEF, b"\1"),
        Packet(118, 0, 320, 0xDEADBEEF, b"\2"),
        Packet(118, 1, 640, 0xDEADBEEF, b"\3"),
    ]


def test_the_log_shows_how_much_audio_there_is_and_none_of_it() -> None:
    assert repr(PLAIN).endswith("payload=<160 bytes>, marker=False)")
