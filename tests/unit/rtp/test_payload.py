"""What the packets carry: Asterisk's names and types, and the byte order of L16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.rtp.payload import DECODERS, PAYLOADS


def test_the_types_are_those_of_asterisk() -> None:
    """main/rtp_engine.c, add_static_payload; the slin ones are its own."""
    assert {name: (each.payload_type, each.audio.rate) for name, each in PAYLOADS.items()} == {
        "ulaw": (0, 8000),
        "alaw": (8, 8000),
        "slin": (11, 8000),
    }


def test_asterisk_sends_slin_by_another_type_than_the_one_of_one_channel() -> None:
    """Seen on 22.10: type 10, which is stereo in RFC 3551 and slin to Asterisk."""
    assert sorted(DECODERS) == [0, 8, 10, 11]
    assert DECODERS[10] is DECODERS[11] is PAYLOADS["slin"].decode


def test_slin_is_big_endian_on_the_wire() -> None:
    """RFC 3551, section 4.5.11: network byte order."""
    pcm = np.array([1, -2, 0x1234], "<i2").tobytes()
    assert PAYLOADS["slin"].encode(pcm) == b"\x00\x01\xff\xfe\x12\x34"
    assert PAYLOADS["slin"].decode(b"\x00\x01\xff\xfe\x12\x34") == pcm


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_frame_of_the_line_fills_a_packet_of_20_ms(name: str) -> None:
    payload = PAYLOADS[name]
    assert len(payload.encode(bytes(payload.audio.rate // 50 * 2))) == payload.audio.frame_bytes


@pytest.mark.parametrize("name", PAYLOADS)
@given(data=st.binary(max_size=100))
def test_any_payload_is_whole_samples(name: str, data: bytes) -> None:
    pcm = PAYLOADS[name].decode(data)
    assert len(pcm) == len(data) // PAYLOADS[name].audio.bytes_per_sample * 2
    assert PAYLOADS[name].decode(PAYLOADS[name].encode(pcm)) == pcm


def test_no_type_is_used_that_asterisk_sends_and_does_not_take() -> None:
    """ast_rtp_codecs_get_payload looks no further than AST_RTP_PT_LAST_STATIC, 34, where there was no SDP."""
    assert max(payload.payload_type for payload in PAYLOADS.values()) <= 34
    assert {payload.audio.rate for payload in PAYLOADS.values()} == {8000}
