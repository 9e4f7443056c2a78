"""Onsets of sound on a line, and how long after a vendor's audio they come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audiosocket.frames import HEADER, Kind
from tests.lab.line_tap import QUIET_FRAMES, LineTap, overheads


def frame(level: int) -> bytes:
    payload = np.full(160, level, "<i2").tobytes()
    return HEADER.pack(Kind.SLIN, len(payload)) + payload


@given(st.integers(QUIET_FRAMES, 20), st.integers(1, 20))
def test_sound_begins_with_the_first_loud_frame_after_a_silence(quiet: int, loud: int) -> None:
    tap = LineTap()
    levels = [3000] * loud + [0] * quiet + [3000] * loud
    for number, level in enumerate(levels):
        tap.hear(frame(level), 0.02 * number)
    assert tap.onsets == [0.0, pytest.approx(0.02 * (loud + quiet))]


def test_a_hole_in_a_sound_is_no_silence_and_bytes_may_come_in_any_pieces() -> None:
    tap = LineTap()
    data = frame(3000) + frame(0) * (QUIET_FRAMES - 1) + frame(-3000)
    for number, byte in enumerate(data):
        tap.hear(bytes([byte]), float(number))
    assert tap.onsets == [float(len(frame(0)) - 1)]


def test_each_answer_has_the_first_onset_after_it_unless_the_next_answer_was_first() -> None:
    assert overheads([1.0, 3.0, 5.0], [0.5, 1.25, 5.5]) == [0.25, None, 0.5]
    assert overheads([1.0], [9.0]) == [None]
    assert overheads([], [1.0]) == []
