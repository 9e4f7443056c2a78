"""Prompts in other languages, whole and held up."""

import wave
from pathlib import Path

import numpy as np
import pytest

from tests.lab.prefix import LabUnavailable
from tests.lab.voices import foreign_prompts
from tests.lab.voices.conditions import RATE, Samples, slin
from tests.lab.voices.fetching import bring
from tests.lab.voices.foreign_prompts import PLACE, by_source, cuts, foreign_turns, prompts, speech
from tests.lab.voices.sources import SOURCES
from tests.lab.voices.split import Part, part_of_speaker
from tests.lab.voices.texts import Kind


def hum(*stretches: tuple[float, float]) -> Samples:
    """Stretches of so many seconds, of so large a hum."""
    return np.concatenate(
        [np.sin(2 * np.pi * 150 * np.arange(round(seconds * RATE)) / RATE) * size for seconds, size in stretches]
    )


QUIET = (0.2, 0.0)


def test_a_prompt_is_held_up_in_the_middle_of_the_silences_between_its_words() -> None:
    said = hum(QUIET, (0.8, 5000), (0.15, 0), (0.6, 5000), (0.2, 0), (0.8, 5000), QUIET)
    spoken = speech(said)
    assert spoken is not None
    assert cuts(said, spoken) == pytest.approx([1.075, 1.85], abs=0.01)


def test_a_prompt_without_silences_is_held_up_in_its_deepest_dip() -> None:
    said = hum(QUIET, (0.8, 5000), (0.05, 1000), (0.3, 5000), (0.05, 300), (0.8, 5000), QUIET)
    spoken = speech(said)
    assert spoken is not None
    assert cuts(said, spoken) == pytest.approx([1.375], abs=0.02)


def test_it_is_not_held_up_near_its_ends() -> None:
    said = hum(QUIET, (0.2, 5000), (0.2, 0), (0.9, 5000), (0.05, 300), (0.9, 5000), QUIET)
    spoken = speech(said)
    assert spoken is not None
    assert cuts(said, spoken) == pytest.approx([1.525], abs=0.02)


@pytest.mark.parametrize(
    "stretches",
    [((1.0, 5000),), ((7.0, 5000),), ((1.5, 5000), (0.4, 0.0), (1.5, 5000)), ((2.0, 0.0),)],
    ids=["short", "long", "two", "silent"],
)
def test_what_is_not_one_stretch_of_speech_of_the_length_of_a_turn_is_none(
    stretches: tuple[tuple[float, float], ...],
) -> None:
    assert speech(hum(QUIET, *stretches, QUIET)) is None


def source(root: Path, **files: Samples) -> Path:
    folder = root / PLACE / "xx"
    folder.mkdir(parents=True)
    for name, samples in files.items():
        with wave.open(str(folder / f"{name}.wav"), "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            sound.writeframes(slin(samples))
    return root


def test_tones_and_what_asterisk_says_before_something_else_are_no_turns(tmp_path: Path) -> None:
    long = hum(QUIET, (2.0, 5000), QUIET)
    files = {"transfer": long, "beep": long, "spy-misdn": long, "yes": hum((0.5, 5000))}
    root = source(tmp_path, **files)
    speaker = by_source()["asterisk-core-sounds-fr"]
    assert [row.text for row in prompts(speaker, root, Kind.FINISHED)] == ["transfer"]


async def test_turns_are_of_the_parts_speakers_and_say_no_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = hum(QUIET, (0.8, 5000), (0.15, 0), (0.8, 5000), QUIET)

    async def bring_what_there_is(names: list[str], progress: object) -> dict[str, Path]:
        return {name: tmp_path / name for name in names}

    for name in by_source():
        source(tmp_path / name, transfer=said)
    monkeypatch.setattr(foreign_prompts, "bring_what_there_is", bring_what_there_is)
    for part, languages in ((Part.FIT, {"es", "fr", "it"}), (Part.CHOOSE, {"it"})):
        for kind in (Kind.FINISHED, Kind.HESITATION):
            turns = await foreign_turns(part, kind, 100, print)
            assert {turn.language for turn in turns} == languages
            assert {part_of_speaker(turn.speaker) for turn in turns} == {part}
            assert {turn.text for turn in turns} == {""}
            assert {turn.pause is None for turn in turns} == {kind is Kind.FINISHED}
    assert len(await foreign_turns(Part.FIT, Kind.FINISHED, 2, print)) == 2


@pytest.mark.parametrize(("part", "kind"), [(Part.THIRD, Kind.FINISHED), (Part.FIT, Kind.GOES_ON)])
async def test_the_third_part_has_none_and_none_goes_on_after_a_whole_sentence(part: Part, kind: Kind) -> None:
    with pytest.raises(ValueError, match="expected"):
        await foreign_turns(part, kind, 1, print)


def test_turns_are_made_of_every_source_in_another_language_that_is_used_and_of_no_other() -> None:
    assert set(by_source()) == {name for name, row in SOURCES.items() if name.startswith("asterisk") and not row.unused}


@pytest.mark.long
@pytest.mark.network
@pytest.mark.parametrize("name", sorted(by_source()))
async def test_a_package_of_prompts_makes_many_turns(name: str) -> None:
    try:
        root = await bring(SOURCES[name], print)
    except LabUnavailable as error:
        pytest.skip(str(error))
    speaker = by_source()[name]
    finished, held = (list(prompts(speaker, root, kind)) for kind in (Kind.FINISHED, Kind.HESITATION))
    assert len(finished) >= 80
    assert len(held) >= len(finished)
