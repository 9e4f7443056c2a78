"""Utterances of a wanted length, and how many words were heard wrong."""

from pathlib import Path

import numpy as np
import pytest

from tests.lab.measure import speech_spans
from tests.lab.speech import Prompt, silence, write_wav
from tests.lab.utterances import TOLERANCE, errors, utterances

RATE = 8000


def prompt(directory: Path, name: str, text: str, seconds: float) -> Prompt:
    """A tone between silences, with its words."""
    tone = (8000 * np.sin(np.arange(round(seconds * RATE)) * 0.3)).astype("<i2").tobytes()
    path = directory / f"{name}.wav"
    write_wav(path, silence(0.2) + tone + silence(0.2))
    return Prompt(path, text)


@pytest.mark.parametrize("seconds", [2.0, 4.0, 8.0])
def test_each_is_as_long_as_wanted_and_has_the_words_of_its_prompts(tmp_path: Path, seconds: float) -> None:
    prompts = [prompt(tmp_path, f"p{number}", f"word{chr(97 + number)}", 0.7 + 0.05 * number) for number in range(26)]
    made = utterances(prompts, seconds, 3)
    assert made
    assert made == utterances(prompts, seconds, 3)
    for utterance in made:
        (speech,) = speech_spans(utterance.pcm, join_seconds=1.0)
        assert speech.end - speech.start == pytest.approx(seconds, abs=TOLERANCE * seconds + 0.1)
        assert utterance.seconds == pytest.approx(speech.end - speech.start, abs=0.1)
        assert len(utterance.text.split()) == pytest.approx(seconds, rel=0.7)


def test_no_prompt_is_said_twice(tmp_path: Path) -> None:
    prompts = [prompt(tmp_path, f"p{number}", f"word{chr(97 + number)}", 1.0) for number in range(20)]
    said = " ".join(utterance.text for utterance in utterances(prompts, 4.0, 9)).split()
    assert len(said) == len(set(said))


@pytest.mark.parametrize(
    ("expected", "heard", "wrong"),
    [
        ("press one to go on", "Press one, to go on.", 0),
        ("press one to go on", "press to go on", 1),
        ("press one to go on", "press one to go on on", 1),
        ("press one to go on", "dress won to go on", 2),
        ("press one to go on", "", 5),
        ("", "press", 1),
    ],
)
def test_a_word_is_wrong_that_was_changed_left_out_or_put_in(expected: str, heard: str, wrong: int) -> None:
    assert errors(expected, heard) == (wrong, len(expected.split()))
