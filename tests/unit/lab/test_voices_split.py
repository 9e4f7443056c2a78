"""Which voices and sentences are kept apart for judging."""

import pytest

from tests.lab.voices.split import (
    KNOWN,
    SPEAKERS_SHA256,
    Part,
    part_of_speaker,
    part_of_text,
    speakers,
    table_sha256,
)

SPEAKERS = speakers()


def test_the_split_is_the_one_that_was_laid_down_before_anything_was_fitted():
    assert table_sha256() == SPEAKERS_SHA256
    assert {speaker.name: speaker.part for speaker in SPEAKERS} == {
        speaker.name: part_of_speaker(speaker.name) for speaker in SPEAKERS
    }


def test_every_speaker_is_in_one_part_only():
    names = [speaker.name for speaker in SPEAKERS]
    assert len(set(names)) == len(names)


def test_voices_that_the_product_was_tuned_on_are_never_kept_apart():
    assert {part_of_speaker(name) for name in KNOWN} == {Part.FIT}
    assert {speaker.name for speaker in SPEAKERS} >= KNOWN


def test_at_least_eight_english_speakers_are_kept_apart_and_some_of_them_are_human():
    third = [speaker for speaker in SPEAKERS if speaker.part is Part.THIRD and speaker.language == "en"]
    assert len(third) >= 8
    assert {speaker.kind for speaker in third} == {"human", "synthetic"}


@pytest.mark.parametrize("part", Part)
def test_every_part_has_english_voices_of_men_and_women(part):
    who = {speaker.who.rpartition(" ")[2] for speaker in SPEAKERS if speaker.part is part}
    assert {"man", "woman"} <= who


def test_a_sentence_is_in_one_part_however_it_is_punctuated_and_held_up():
    assert part_of_text("I'd like, um, | to go.") == part_of_text("I'd like um to go")
    assert {part_of_text(f"sentence {number}") for number in range(50)} == set(Part)


def test_a_table_with_other_columns_is_refused(tmp_path):
    table = tmp_path / "speakers.tsv"
    table.write_text("speaker\tpart\njoe\tfit\n")
    with pytest.raises(ValueError, match="expected the columns"):
        speakers(table)


@pytest.mark.parametrize("row", ["joe\trobot\ten\tx\tfit\t", "joe\thuman\ten\tx\tfourth\t", "joe\thuman"])
def test_a_row_that_says_what_nobody_knows_is_refused(tmp_path, row):
    table = tmp_path / "speakers.tsv"
    table.write_text(f"speaker\tkind\tlanguage\tsource\tpart\twho\n{row}\n")
    with pytest.raises(ValueError):
        speakers(table)
