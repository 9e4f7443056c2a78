"""The sentences that people recorded for other purposes: what the table says of them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.lab.voices.recordings import COLUMNS, recordings
from tests.lab.voices.split import Part, speakers
from tests.lab.voices.turns import from_recording

RECORDINGS = recordings()
PARTS = {speaker.name: speaker.part for speaker in speakers()}


def table(folder: Path, cuts: str, text: str) -> Path:
    path = folder / "recordings.tsv"
    path.write_text("\n".join(("\t".join(COLUMNS), f"joe\tx\ty.raw\t8000\t1\t4\t{cuts}\t{text}")) + "\n")
    return path


def test_a_sentence_with_two_places_to_stop_is_two_recordings_of_the_same_words(tmp_path: Path) -> None:
    first, second = recordings(table(tmp_path, "2 2.5", "I would | like to | go."))
    assert (first.cut, first.again, second.cut, second.again) == (2.0, False, 2.5, True)
    assert first.text == second.text == "I would like to go."


def test_a_sentence_without_one_is_one_recording(tmp_path: Path) -> None:
    (only,) = recordings(table(tmp_path, "", "Go."))
    assert (only.cut, only.again) == (None, False)


@pytest.mark.parametrize(("cuts", "text"), [("", "I would | go."), ("2", "I would go."), ("2 2.5", "I | would go.")])
def test_a_row_whose_words_do_not_show_where_it_is_cut_is_refused(tmp_path: Path, cuts: str, text: str) -> None:
    with pytest.raises(ValueError, match="cuts"):
        recordings(table(tmp_path, cuts, text))


def test_a_recording_is_held_up_where_its_cut_is_and_counted_from_its_start(tmp_path: Path) -> None:
    (row,) = recordings(table(tmp_path, "2.5", "I would | go."))
    (tmp_path / "y.raw").write_bytes(np.arange(5 * 8000, dtype="<i2").tobytes())
    said = from_recording(row, tmp_path)
    assert (said.at, len(said.samples), said.samples[0]) == (12000, 24000, 8000)


def test_every_cut_lies_well_inside_its_sentence_and_apart_from_the_others() -> None:
    for row in RECORDINGS:
        if row.cut is not None:
            assert row.start + 0.5 < row.cut < row.end - 0.4, row
    stretches = {(row.file, row.start) for row in RECORDINGS}
    for stretch in stretches:
        cuts = [row.cut for row in RECORDINGS if (row.file, row.start) == stretch and row.cut is not None]
        assert all(later - earlier >= 0.35 for earlier, later in pairwise(cuts)), stretch


def test_no_stretch_of_a_file_is_two_sentences() -> None:
    whole = [row for row in RECORDINGS if not row.again]
    for one in whole:
        for other in whole:
            if one is not other and one.file == other.file:
                assert one.end <= other.start or other.end <= one.start, (one, other)


def test_people_of_every_part_are_held_up_and_several_of_those_kept_apart() -> None:
    held = {row.speaker for row in RECORDINGS if row.cut is not None}
    assert {PARTS[name] for name in held} == set(Part)
    assert sum(PARTS[name] is Part.THIRD for name in held) >= 5
