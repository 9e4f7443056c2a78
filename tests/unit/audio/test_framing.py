"""Audio of any chunking becomes frames of 20 ms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.framing import Framer


@given(chunks=st.lists(st.binary(max_size=50)), frame_bytes=st.integers(1, 20), silence=st.integers(0, 255))
def test_frames_are_the_stream_cut_and_filled_up(chunks: list[bytes], frame_bytes: int, silence: int) -> None:
    framer = Framer(frame_bytes, silence)
    frames = [frame for chunk in chunks for frame in framer.feed(chunk)]
    last = framer.flush()
    frames += [last] if last is not None else []

    stream = b"".join(chunks)
    assert all(len(frame) == frame_bytes for frame in frames)
    assert len(frames) == -(-len(stream) // frame_bytes)
    assert b"".join(frames) == stream + bytes([silence]) * (-len(stream) % frame_bytes)
    assert framer.flush() is None


@given(st.binary(max_size=100))
def test_a_frame_comes_out_as_soon_as_its_last_byte_is_in(audio: bytes) -> None:
    framer = Framer(10)
    for count in range(len(audio)):
        assert framer.feed(audio[count : count + 1]) == ([audio[count - 9 : count + 1]] if count % 10 == 9 else [])


def test_after_a_clear_nothing_of_the_old_utterance_comes_out() -> None:
    framer = Framer(4)
    assert framer.feed(b"abcde") == [b"abcd"]
    framer.clear()
    assert framer.feed(b"wxyz") == [b"wxyz"]
    assert framer.flush() is None


def test_a_frame_of_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_bytes=0"):
        Framer(0)
