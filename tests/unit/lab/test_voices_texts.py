"""What the voices say, who says what, and what people recorded."""

import hashlib

import pytest

from tests.lab.voices.conditions import Line
from tests.lab.voices.plans import LEVELS, PAUSES, PITCHES, TEMPI, plans
from tests.lab.voices.split import Part, speakers
from tests.lab.voices.texts import MORE, TABLE, Kind, texts, texts_of

TEXTS = texts()
SPEAKERS = speakers()


def test_the_sentences_are_those_of_the_split_that_figures_are_compared_by():
    assert (
        hashlib.sha256(TABLE.read_bytes()).hexdigest()
        == "f167b850811154d112139126e50a25b56d2b5a46e90a5c8c6df685396e30d4c4"
    )


def test_no_sentence_is_there_twice_and_every_part_has_each_kind():
    whole = [(text.words, text.kind) for text in TEXTS]
    assert len(set(whole)) == len(whole)
    assert {(text.part, text.kind) for text in TEXTS} == {(part, kind) for part in Part for kind in Kind}


def test_there_is_more_to_fit_to_and_nothing_of_it_in_another_part():
    fit, others = texts_of(Part.FIT), [*texts_of(Part.CHOOSE), *texts_of(Part.THIRD)]
    assert {text.part for text in fit} == {Part.FIT}
    assert len(fit) > 3 * len([text for text in TEXTS if text.part is Part.FIT])
    assert not {text.words for text in fit} & {text.words for text in others}
    assert not {text.words for text in texts(MORE, Part.FIT)} & {text.words for text in TEXTS}


def test_a_sentence_that_is_broken_off_is_so_where_none_ends():
    broken = [text for text in texts_of(Part.FIT) if text.manner == "broken off"]
    assert {text.before.rpartition(" ")[2].lower() for text in broken} >= {"the", "to", "my"}
    assert all(text.after and text.kind is Kind.HESITATION for text in broken)


def test_what_is_held_up_goes_on_and_a_finished_turn_does_not():
    for text in TEXTS:
        assert bool(text.after) == (text.kind is not Kind.FINISHED), text
        assert text.before
    assert {text.manner for text in TEXTS if text.drawn_out} == {"drawl"}


def test_a_hesitation_by_filler_ends_with_one():
    for text in TEXTS:
        if text.manner == "filler":
            assert text.before.rstrip(",").rpartition(" ")[2].lower() in ("um", "uh"), text


@pytest.mark.parametrize("line", ["held cut\tNothing holds this up.", "question\tWhy | me?", "goes on\tA. | B. | C."])
def test_a_text_whose_pauses_do_not_fit_its_kind_is_refused(tmp_path, line):
    table = tmp_path / "texts.tsv"
    table.write_text(f"kind\ttext\n{line}\n")
    with pytest.raises(ValueError, match="pauses"):
        texts(table)


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("kind", Kind)
def test_a_turn_is_of_a_voice_and_a_sentence_of_its_part(part, kind):
    made = plans(part, kind, SPEAKERS, texts_of(part), 1000)
    assert made
    assert {(plan.speaker.part, plan.text.part, plan.text.kind) for plan in made} == {(part, part, kind)}
    assert len({plan.name for plan in made}) == len(made)


def test_the_third_part_has_as_many_turns_and_voices_as_it_has_to_have():
    for kind in (Kind.FINISHED, Kind.HESITATION):
        made = plans(Part.THIRD, kind, SPEAKERS, TEXTS, 150)
        assert len(made) == 150
        assert len({plan.speaker.name for plan in made}) >= 8
        few = plans(Part.THIRD, kind, SPEAKERS, TEXTS, 60)
        assert (len(few), few) == (60, made[:60])
        assert len({plan.speaker.name for plan in few}) >= 8


def test_the_turns_are_the_same_every_time_and_spread_over_the_lines():
    made = plans(Part.CHOOSE, Kind.HESITATION, SPEAKERS, TEXTS, 40)
    assert made == plans(Part.CHOOSE, Kind.HESITATION, SPEAKERS, TEXTS, 40)
    assert {line: sum(plan.line is line for plan in made) for line in Line} == dict.fromkeys(Line, 10)
    for plan in made:
        for value, (least, most) in (
            (plan.tempo, TEMPI),
            (plan.pitch, PITCHES),
            (plan.dbfs, LEVELS),
            (plan.pause, PAUSES),
        ):
            assert least <= value <= most


def test_only_what_is_held_up_has_a_pause():
    assert {plan.pause for plan in plans(Part.FIT, Kind.FINISHED, SPEAKERS, TEXTS, 50)} == {0.0}
