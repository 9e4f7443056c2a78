"""The sounds of the benchmark of invented words: how many, and that they are what they are called."""

import numpy as np
import pytest

from tests.lab.ghost_set import RECORDED_WORDS, SPOKEN, Sound, in_noise, throats, through_the_line


def test_eighty_sounds_of_a_throat_each_another_and_always_the_same() -> None:
    sounds = throats(201)
    assert len({sound.name for sound in sounds}) == len({sound.pcm for sound in sounds}) == 80
    assert sounds == throats(201)
    assert not {sound.pcm for sound in sounds} & {sound.pcm for sound in throats(1)}


def test_forty_words_are_spoken() -> None:
    assert len(SPOKEN) + len(RECORDED_WORDS) == 40
    assert len(set(SPOKEN)) == len(SPOKEN)


def test_a_line_is_as_noisy_as_it_is_asked_for() -> None:
    tone = np.rint(8000 * np.sin(np.arange(8000) / 3)).astype("<i2").tobytes()
    assert in_noise(Sound("short", "tone", tone), 20.0).hiss == pytest.approx(8000 / np.sqrt(2) / 10, rel=0.05)


def test_a_line_keeps_the_length_of_a_sound() -> None:
    sound = throats(1)[0]
    assert len(through_the_line(sound.pcm)) == len(sound.pcm)
