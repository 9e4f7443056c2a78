"""An utterance that is heard piece by piece says what it says when it is heard at once; with a network that is none."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.audio.resample import RATES
from agentd.errors import ProviderUnavailable
from agentd_providers.local import moonshine
from agentd_providers.local.moonshine_model import (
    BEGIN,
    DECODER,
    ENCODER,
    END,
    HOP,
    REACH,
    Floats,
    MoonshineModel,
    load_model,
    longest_text,
    read_tokens,
)

SPELLED = [b"<unk>", b"<s>", b"</s>", b"\xe2\x96\x81one", b"\xe2\x96\x81two", b"ty", b"\xc3", b"\xa9", b"<", b">"]
LEVEL = 2048
"""A word of number `n` sounds at `n` times this."""


@attrs.define
class Reader:
    """Writes the words that it finds in the frames, each once for as long as it lasts."""

    frames: Floats
    runs: list[int] = attrs.field(factory=list)
    place: int = 0

    def read(self, tokens: Sequence[int]) -> Sequence[int]:
        self.runs.append(len(tokens))
        levels = [round(float(level)) for level in self.frames[:, 0]]
        changes = [after for before, after in pairwise([0, *levels]) if after != before]
        said = [*(level + 2 for level in changes if level), END]
        at, self.place = self.place, self.place + len(tokens)
        return [said[min(place, len(said) - 1)] for place in range(at, self.place)]

    def forget(self, count: int) -> None:
        self.place -= count


@attrs.define(eq=False)
class Network(MoonshineModel):
    """Its frames are how loud it was in their middle."""

    heard: list[int] = attrs.field(factory=list)
    readers: list[Reader] = attrs.field(factory=list)

    def encode(self, samples: Floats) -> Floats:
        self.heard.append(len(samples))
        count = (len(samples) - REACH) // HOP
        middles = samples[HOP // 2 + REACH // 2 :: HOP][:count]
        return (middles * 32768 / LEVEL)[:, np.newaxis].astype(np.float32)

    def decoder_of(self, frames: Floats) -> Reader:  # type: ignore[override]
        self.readers.append(Reader(frames))
        return self.readers[-1]


@pytest.fixture
def network() -> Iterator[Network]:
    with patch.dict(moonshine._models, model=Network(None, None, SPELLED)) as models:
        yield models["model"]


def sound(rate: int, *words: tuple[int, float]) -> bytes:
    """Words by their numbers, each so many seconds long."""
    return b"".join(np.full(round(rate * seconds), LEVEL * word, dtype="<i2").tobytes() for word, seconds in words)


words = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0.24, 0.6, 2.0])), min_size=1, max_size=8)


@settings(max_examples=30)
@given(words, st.lists(st.sampled_from([3, 4, 5]), max_size=12))
def test_a_guess_changes_nothing(said: list[tuple[int, float]], guess: list[int]) -> None:
    pcm = sound(16000, *said)
    with patch.dict(moonshine._models, model=Network(None, None, SPELLED)):
        assert moonshine.hear("model", pcm, 16000, guess) == moonshine.hear("model", pcm, 16000)


@pytest.mark.parametrize("rate", RATES)
def test_it_hears_at_every_rate(rate: int, network: Network) -> None:
    pcm = sound(rate, (1, 1.1), (0, 0.5), (2, 2.3), (0, 0.5), (1, 1.7))
    assert moonshine.transcribe("model", pcm, rate) == "one two one"


def test_words_that_are_known_are_read_at_once(network: Network) -> None:
    pcm = sound(8000, *[(1, 0.5), (0, 0.5)] * 10)
    half = moonshine.hear("model", pcm[: len(pcm) // 2], 8000)
    heard = moonshine.hear("model", pcm, 8000, half.tokens)
    assert heard.words == " ".join(["one"] * 10)
    assert network.readers[-1].runs == [6, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.19])
def test_what_is_too_short_for_a_word_says_nothing(seconds: float, network: Network) -> None:
    assert moonshine.transcribe("model", sound(8000, (1, seconds)), 8000) == ""
    assert network.heard == []


def test_a_text_is_no_longer_than_somebody_can_speak(network: Network) -> None:
    assert longest_text(np.zeros((40, 288), dtype=np.float32)) == 7  # a second


def test_what_is_no_word_is_not_in_the_text() -> None:
    text = MoonshineModel(None, None, SPELLED).text
    assert text([3, 4, 5]) == "one twoty"
    assert text([BEGIN, 3, 0, 4, END]) == "one two"
    assert text([6, 7]) == "é"
    assert text([6]) == "\N{REPLACEMENT CHARACTER}"
    assert text([8, 9]) == "<>"
    assert text([]) == ""


def test_tokens_are_read_with_the_length_before_each() -> None:
    long = bytes(300)
    data = b"\x05<unk>" + b"\x00" + bytes([300 % 128 + 128, 300 // 128]) + long + b"\x01a"
    assert read_tokens(data) == [b"<unk>", b"", long, b"a"]


def test_a_model_that_is_not_there_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    (tmp_path / ENCODER).touch()
    with pytest.raises(ProviderUnavailable, match=rf"{DECODER}, tokenizer\.bin is missing; agentd models fetch"):
        load_model(str(tmp_path))
