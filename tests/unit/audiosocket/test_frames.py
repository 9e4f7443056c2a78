"""AudioSocket's wire format: whatever the split of the bytes, the same frames come out."""

import struct
from collections.abc import Iterable
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.audiosocket.frames import (
    HANGUP_FRAME,
    HEADER,
    KIND_OF_RATE,
    RATES,
    AudioFrame,
    CallId,
    DtmfFrame,
    ErrorFrame,
    Frame,
    FrameParser,
    HangupFrame,
    Kind,
    UnknownFrame,
    pack_audio,
    parse_frame,
)
from agentd.errors import MediaProtocolError

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

A_UUID = UUID("3f0c2a7e-5d1b-4e7c-9a55-0b1c2d3e4f50")
KNOWN_KINDS = frozenset(Kind)


def on_the_wire(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


def feed_all(parser: FrameParser, pieces: Iterable[bytes]) -> list[Frame]:
    return [frame for piece in pieces for frame in parser.feed(piece)]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


audio = st.builds(
    lambda kind, payload: (on_the_wire(kind, payload), AudioFrame(RATES[kind], payload)),
    st.sampled_from(sorted(RATES)),
    st.binary(max_size=40),
)
others = st.one_of(
    st.uuids().map(lambda uuid: (on_the_wire(0x01, uuid.bytes), CallId(uuid))),
    st.sampled_from("0123456789*#ABCD").map(lambda digit: (on_the_wire(0x03, digit.encode()), DtmfFrame(digit))),
    st.just((on_the_wire(0x00), HangupFrame())),
    st.binary(max_size=3).map(lambda code: (on_the_wire(0xFF, code), ErrorFrame(code[0] if code else None))),
    st.builds(
        lambda kind, payload: (on_the_wire(kind, payload), UnknownFrame(kind, len(payload))),
        st.integers(0, 255).filter(lambda kind: kind not in KNOWN_KINDS),
        st.binary(max_size=40),
    ),
)
conversations = st.lists(audio | others, max_size=12)


@unhurried
@given(conversations, st.lists(st.integers(min_value=0), max_size=20))
def test_frames_survive_any_split_of_the_bytes(sent: list[tuple[bytes, Frame]], places: list[int]) -> None:
    stream = b"".join(wire for wire, _ in sent)
    expected = [frame for _, frame in sent]

    whole, bytewise, in_pieces = FrameParser(), FrameParser(), FrameParser()
    assert feed_all(whole, [stream]) == expected
    assert feed_all(bytewise, (stream[at : at + 1] for at in range(len(stream)))) == expected
    assert feed_all(in_pieces, cut(stream, places)) == expected
    assert not whole.mid_frame
    assert not bytewise.mid_frame
    assert not in_pieces.mid_frame


@unhurried
@given(conversations, st.binary(min_size=1, max_size=30), st.data())
def test_trailing_bytes_wait_for_the_rest_of_their_frame(
    sent: list[tuple[bytes, Frame]], payload: bytes, data: st.DataObject
) -> None:
    stream = b"".join(wire for wire, _ in sent)
    last = on_the_wire(0x10, payload)
    begun = data.draw(st.integers(1, len(last) - 1))
    parser = FrameParser()
    assert feed_all(parser, [stream + last[:begun]]) == [frame for _, frame in sent]
    assert parser.mid_frame
    assert feed_all(parser, [last[begun:]]) == [AudioFrame(8000, payload)]
    assert not parser.mid_frame


@unhurried
@given(conversations, st.lists(st.integers(min_value=0), max_size=20), st.integers(0, 20))
def test_no_more_than_one_incomplete_frame_is_kept(
    sent: list[tuple[bytes, Frame]], places: list[int], max_payload: int
) -> None:
    parser = FrameParser(max_payload)
    try:
        for piece in cut(b"".join(wire for wire, _ in sent), places):
            list(parser.feed(piece))
            assert len(parser._buffer) < HEADER.size + max_payload
    except MediaProtocolError:
        assert any(len(wire) > HEADER.size + max_payload for wire, _ in sent)


@unhurried
@given(st.lists(st.binary(max_size=50), max_size=10))
def test_bytes_that_are_no_audiosocket_raise_nothing_but_a_protocol_error(pieces: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for piece in pieces:
            list(parser.feed(piece))
    except MediaProtocolError:
        pass


@pytest.mark.parametrize("kind, rate", [*zip(range(0x10, 0x19), RATES.values(), strict=True)])
def test_every_audio_kind_has_its_rate(kind: int, rate: int) -> None:
    assert parse_frame(kind, b"\1\2") == AudioFrame(rate, b"\1\2")
    assert KIND_OF_RATE[rate] == kind
    assert pack_audio(rate, b"\1\2") == bytes([kind, 0, 2, 1, 2])


def test_the_nine_rates_are_those_of_asterisk() -> None:
    assert list(RATES.values()) == [8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000]


def test_the_length_is_big_endian_and_counts_the_payload_only() -> None:
    assert pack_audio(8000, bytes(320))[:3] == b"\x10\x01\x40"
    assert HANGUP_FRAME == b"\0\0\0"


@unhurried
@given(st.sampled_from(sorted(KIND_OF_RATE)), st.integers(1, 8192))
def test_what_we_pack_is_what_we_would_parse(rate: int, samples: int) -> None:
    pcm = bytes(range(256)) * 64
    assert feed_all(FrameParser(), [pack_audio(rate, pcm[: samples * 2])]) == [AudioFrame(rate, pcm[: samples * 2])]


@pytest.mark.parametrize("pcm", [b"", b"\1", bytes(321), bytes(0x10000)])
def test_audio_that_would_kill_the_call_is_not_packed(pcm: bytes) -> None:
    with pytest.raises(ValueError, match=f"not {len(pcm)}"):
        pack_audio(8000, pcm)


def test_a_rate_that_audiosocket_does_not_carry_is_refused_with_those_that_it_does() -> None:
    with pytest.raises(ValueError, match=r"8000.*192000.*not 11025"):
        pack_audio(11025, bytes(2))


def test_the_first_frame_names_the_call() -> None:
    (frame,) = FrameParser().feed(b"\x01\x00\x10" + A_UUID.bytes)
    assert frame == CallId(A_UUID)


@pytest.mark.parametrize("length", [0, 15, 17, 36])
def test_a_uuid_is_16_bytes_and_never_text(length: int) -> None:
    with pytest.raises(MediaProtocolError, match=f"16 bytes, this one {length}"):
        parse_frame(Kind.UUID, bytes(length))


@pytest.mark.parametrize("payload", [b"", b"55", b"\n", b" ", b"\x7f", b"\xb5"])
def test_a_dtmf_frame_is_one_printable_ascii_character(payload: bytes) -> None:
    with pytest.raises(MediaProtocolError, match="one ASCII character"):
        parse_frame(Kind.DTMF, payload)


def test_an_error_frame_may_come_without_a_code() -> None:
    assert parse_frame(Kind.ERROR, b"\x02") == ErrorFrame(2)
    assert parse_frame(Kind.ERROR, b"") == ErrorFrame(None)


def test_the_longest_frame_passes_and_one_byte_more_is_refused_before_its_payload_comes() -> None:
    assert len(feed_all(FrameParser(), [on_the_wire(0x18, bytes(16384))])) == 1
    with pytest.raises(MediaProtocolError, match=r"0x18 announces 16385 bytes; at most 16384"):
        list(FrameParser().feed(HEADER.pack(0x18, 16385)))


def test_20_ms_of_every_rate_fit_into_the_default_bound() -> None:
    for rate in RATES.values():
        (frame,) = FrameParser().feed(pack_audio(rate, bytes(rate // 50 * 2)))
        assert isinstance(frame, AudioFrame)


def test_frames_before_the_broken_one_still_come_out() -> None:
    frames = FrameParser().feed(on_the_wire(0x10, b"\1\2") + on_the_wire(0x01, b"short"))
    assert next(frames) == AudioFrame(8000, b"\1\2")
    with pytest.raises(MediaProtocolError):
        next(frames)


def test_the_caller_s_voice_is_not_in_a_frame_s_repr() -> None:
    assert repr(AudioFrame(8000, b"voice")) == "AudioFrame(rate=8000, payload=<5 bytes>)"
