"""What is heard where audio is missing begins and ends without a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.concealment import concealment, faded_in


def samples(pcm: bytes) -> list[int]:
    return np.frombuffer(pcm, "<i2").tolist()


@given(st.lists(st.integers(-32768, 32767), min_size=160, max_size=320))
def test_it_goes_on_from_the_last_sample_and_ends_in_silence(last: list[int]) -> None:
    heard = samples(concealment(np.array(last, "<i2").tobytes()))
    assert len(heard) == len(last)
    assert heard[0] == pytest.approx(last[-1], abs=abs(last[-1]) / len(last) + 1)
    assert heard[-1] == 0


def test_of_nothing_there_is_nothing() -> None:
    assert concealment(b"") == b""
    assert faded_in(b"", 8000) == b""


def test_only_the_first_5_ms_are_faded_in() -> None:
    heard = samples(faded_in(np.full(160, 10000, "<i2").tobytes(), 8000))
    assert heard[0] == 250
    assert heard[:40] == sorted(heard[:40])
    assert heard[40:] == [10000] * 120
