"""The set of turns: whole sentences, and the same held up between two words."""

import numpy as np
import pytest

from tests.lab.speech import Prompt, write_wav
from tests.lab.turn_cuts import CUTS, SENTENCES
from tests.lab.turn_set import RATE, complete_turns, hesitations, pauses_after_a_sentence


@pytest.fixture
def prompts(tmp_path) -> list[Prompt]:
    """Noise by the names of real prompts, with a dip of 60 ms where each word ends."""
    made = []
    for name, text in (
        ("vm-tooshort", "your message is too short"),
        ("agent-pass", "Please enter your password followed by the pound key."),
        ("vm-tocancel", "or pound to cancel."),
    ):
        sound = np.random.default_rng(1).normal(0, 3000, 3 * RATE)
        sound[-RATE // 4 :] /= 100
        for at in CUTS.get(name, {}).values():
            sound[round((at - 0.03) * RATE) : round((at + 0.03) * RATE)] /= 100
        path = tmp_path / f"{name}.wav"
        write_wav(path, sound.astype("<i2").tobytes())
        made.append(Prompt(path, text))
    return made


def test_a_hesitation_is_the_sentence_with_a_pause_of_about_a_second_in_it(prompts):
    (whole, _), samples = complete_turns(prompts, 9), hesitations(prompts, 9)
    assert [sample.name for sample in samples] == ["agent-pass", "vm-tooshort"]
    pause = samples[1].pause
    start, end = round(pause.start * RATE) * 2, round(pause.end * RATE) * 2
    assert 0.9 <= pause.end - pause.start <= 1.2
    assert pause.start == pytest.approx(CUTS["vm-tooshort"][3], abs=1 / RATE)
    assert len(samples[1].pcm) == len(whole.pcm) + end - start
    loud, silent = (np.abs(np.frombuffer(part, "<i2")).mean() for part in (samples[1].pcm, samples[1].pcm[start:end]))
    assert silent < loud / 20


def test_a_pause_after_what_is_a_sentence_already_is_no_hesitation(prompts):
    (sample,) = pauses_after_a_sentence(prompts, 9)
    assert (sample.name, SENTENCES["agent-pass"]) == ("agent-pass", (4,))
    assert sample.pause.start == pytest.approx(CUTS["agent-pass"][4], abs=1 / RATE)


def test_whole_sentences_have_no_pause_and_fragments_are_left_out(prompts):
    turns = complete_turns(prompts, 9)
    assert [(turn.name, turn.pause) for turn in turns] == [("vm-tooshort", None), ("agent-pass", None)]


def test_the_set_is_the_same_every_time_and_no_larger_than_asked_for(prompts):
    assert hesitations(prompts, 1) == hesitations(prompts, 1)
    assert len(hesitations(prompts, 1)) == len(complete_turns(prompts, 1)) == 1


def test_every_mark_belongs_to_a_cut():
    for name, words in SENTENCES.items():
        assert set(words) <= set(CUTS[name]), name
