"""The interjections of a play: the table, and what a file that was transcribed is."""

import pytest

from tests.lab.first_sounds import Kind
from tests.lab.voices.dialogues import HERO, OTHERS, speaker_of
from tests.lab.voices.find_interjections import fewer, kind_of
from tests.lab.voices.interjections import Interjection, interjections, written
from tests.lab.voices.split import Part, speakers


def test_the_table_is_read_as_it_is_written(tmp_path):
    rows = interjections()
    table = tmp_path / "again.tsv"
    table.write_text(written(rows), "utf-8")
    assert interjections(table) == rows


def test_there_are_some_of_each_kind_to_fit_to_and_to_choose_by_and_none_of_the_third_part():
    part = {one.name: one.part for one in speakers()}
    found = {(part[row.speaker], Kind(row.kind)) for row in interjections()}
    assert found == {(which, kind) for which in (Part.FIT, Part.CHOOSE) for kind in Kind if kind is not Kind.NOISE}


def test_a_row_is_its_speakers_and_has_words_only_where_it_is_no_sentence():
    for row in interjections():
        assert row.speaker == speaker_of(row.file)
        assert kind_of(row.words) == row.kind if row.kind != Kind.SENTENCE else not row.words


def test_another_table_is_refused(tmp_path):
    table = tmp_path / "other.tsv"
    table.write_text("speaker\tfile\n", "utf-8")
    with pytest.raises(ValueError, match="expected the columns"):
        interjections(table)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Yeah.", Kind.BACKCHANNEL),
        ("Oh, okay!", Kind.BACKCHANNEL),
        ("Hang on!", Kind.COMMAND),
        ("No, no, no!", Kind.COMMAND),
        ("I never saw him.", Kind.SENTENCE),
        ("Yeah, I never saw him.", None),
        ("Bonnet.", None),
        ("", None),
    ],
)
def test_what_a_file_is_by_its_words(text, kind):
    assert kind_of(text) is kind


def test_of_sentences_there_may_be_enough_of_interjections_never():
    rows = [Interjection(OTHERS, Kind.SENTENCE, f"{number:06}P1.SB", "") for number in range(9)]
    rows += [Interjection(HERO, Kind.SENTENCE, f"{number:06}J1.SB", "") for number in range(9)]
    rows += [Interjection(OTHERS, Kind.BACKCHANNEL, f"{number:06}P2.SB", "yeah") for number in range(9)]
    kept = fewer(rows, 4)
    assert sum(row.kind == Kind.BACKCHANNEL for row in kept) == 9
    assert [sum(row.kind == Kind.SENTENCE and row.speaker == one for row in kept) for one in (OTHERS, HERO)] == [4, 1]
