"""What callers are to say and make over an agent: whose voices, which words, and what the line makes of it."""

import numpy as np
import pytest

from tests.lab.first_sounds import (
    AFTER,
    LEAD,
    SAID,
    Kind,
    Sound,
    asked,
    beginnings,
    begins_with_backchannel,
    noises,
    over,
    ways,
)
from tests.lab.measure import speech_spans
from tests.lab.voices.conditions import RATE, Line
from tests.lab.voices.split import Part, speakers

SOME = {Kind.BACKCHANNEL: 3, Kind.COMMAND: 4, Kind.SENTENCE: 2}


@pytest.mark.parametrize("part", list(Part))
def test_all_voices_of_a_part_speak_and_no_others(part: Part) -> None:
    cast = {one.name for one in speakers() if one.part is part and one.source == "kokoro" and one.language == "en"}
    assert {one.speaker for one in asked(part, SOME)} == cast


def test_the_voices_say_different_things() -> None:
    said = {one.text for one in asked(Part.THIRD, SOME) if one.kind is Kind.BACKCHANNEL}
    assert len(said) == len(SAID[Kind.BACKCHANNEL])


def test_there_are_enough_to_judge_by() -> None:
    nothing = [*noises(Part.THIRD, 3), *asked(Part.THIRD, {Kind.BACKCHANNEL: 4})]
    assert len(nothing) >= 60
    assert len(asked(Part.THIRD, {Kind.COMMAND: 4})) >= 40


def test_no_sentence_is_in_two_parts_and_none_begins_with_a_backchannel() -> None:
    found = {part: set(beginnings(part)) for part in Part}
    assert all(len(texts) >= 10 for texts in found.values())
    assert not found[Part.FIT] & found[Part.THIRD] and not found[Part.FIT] & found[Part.CHOOSE]
    assert not any(begins_with_backchannel(text) for texts in found.values() for text in texts)


@pytest.mark.parametrize(("text", "begins"), [("Yes, please.", True), ("I see it.", True), ("I said no.", False)])
def test_how_a_sentence_begins(text: str, begins: bool) -> None:
    assert begins_with_backchannel(text) is begins


def test_parts_have_noises_of_their_own() -> None:
    names = [{sound.name for sound in noises(part, 40)} for part in Part]
    assert not set.intersection(*names)
    assert noises(Part.FIT, 1)[0].pcm == noises(Part.FIT, 2)[0].pcm


def test_a_sound_comes_over_every_line_after_the_lead() -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)).astype("<i2").tobytes()
    found = list(ways(1, 4))
    assert {way.line for way in found} == set(Line)
    for way in found:
        pcm = over(Sound(Kind.BACKCHANNEL, "a tone", "nobody", tone), way)
        assert LEAD + AFTER < len(pcm) / 2 / RATE < LEAD + AFTER + 0.7
        if way.line in (Line.CLEAN, Line.LOSS):
            assert speech_spans(pcm)[0].start == pytest.approx(LEAD, abs=0.03)
