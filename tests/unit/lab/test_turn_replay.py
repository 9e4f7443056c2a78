"""Turn taking played over what was gathered of a turn."""

import attrs
import numpy as np
import pytest

from agentd_providers.local.turn_head import Head
from agentd_providers.local.voice_activity import WINDOW_MS
from agentd_providers.turns.settings import TurnSettings
from tests.lab.measure import Span
from tests.lab.turn_evidence import Evidence, Look, Pause
from tests.lab.turn_replay import SILENCE_ALONE, Cues, Delays, in_silence_alone, replay, sound_of
from tests.lab.turn_set import TurnSample

TAKING = TurnSettings().turn_taking("en")
NOTHING_KNOWN = np.zeros(2, np.float32)
BROKEN_OFF = Pause("I would like a", False, 0.001, [Look(0.02, NOTHING_KNOWN)] * 4)
WHOLE = Pause("That is all.", False, 0.9, [Look(0.99, NOTHING_KNOWN)] * 4)
SPEECH, GAP = 30, 30
"""Windows."""


def turn(*pauses: Pause) -> Evidence:
    """Speech, and after it each of the pauses; the last one lasts."""
    ms = WINDOW_MS / 1000
    windows = ([0.95] * SPEECH + [0.0] * GAP) * len(pauses)
    end = (SPEECH + GAP) * len(pauses) - GAP
    hesitation = Span(SPEECH * ms, (SPEECH + GAP) * ms) if len(pauses) > 1 else None
    sample = TurnSample("", "", b"", hesitation, spoken=Span(0, end * ms))
    return Evidence(sample, windows, pauses)


def test_a_turn_that_is_surely_complete_is_over_once_all_its_cues_are_there():
    ending = replay(turn(WHOLE), TAKING, Delays(words=100, sound=60, sentence=60, answer=0), Cues())
    assert not ending.cut_off and not ending.early
    assert ending.wait_ms == pytest.approx(96 + 100 + 60, abs=WINDOW_MS)


def test_it_is_not_over_before_its_answer_is_ready():
    ending = replay(turn(WHOLE), TAKING, Delays(words=100, sound=60, sentence=60, answer=250), Cues())
    assert ending.wait_ms == pytest.approx(96 + 100 + 60 + 250, abs=2 * WINDOW_MS)


def test_cues_that_come_late_are_waited_for():
    soon, late = (replay(turn(WHOLE), TAKING, Delays(answer=0).slower(factor), Cues()) for factor in (1, 2))
    assert late.wait_ms - soon.wait_ms == pytest.approx(160, abs=WINDOW_MS)


def test_a_hesitation_is_outlasted_where_the_cues_say_that_it_is_one():
    ending = replay(turn(BROKEN_OFF, WHOLE), TAKING, Delays(answer=0), Cues())
    assert not ending.cut_off
    assert ending.wait_ms < 400


def test_one_that_sounds_complete_is_cut_off_and_the_turn_still_comes_to_its_end():
    ending = replay(turn(WHOLE, WHOLE), TAKING, Delays(), Cues())
    assert ending.cut_off and not ending.early
    assert ending.wait_ms is not None


def test_a_turn_whose_last_sounds_are_too_faint_is_over_in_time_and_not_early():
    whole = turn(WHOLE)
    late = attrs.evolve(whole.sample, spoken=Span(0, whole.sample.span.end + 0.5))
    ending = replay(attrs.evolve(whole, sample=late), TAKING, Delays(answer=0), Cues())
    assert (ending.wait_ms, ending.early, ending.cut_off) == (0.0, False, False)


@pytest.mark.parametrize("silence", [300, 800])
def test_silence_alone_waits_for_so_long_and_no_longer_whatever_the_cues(silence):
    ending = replay(turn(BROKEN_OFF), in_silence_alone(TAKING, silence), Delays(answer=0), SILENCE_ALONE)
    assert ending.wait_ms == pytest.approx(silence, abs=WINDOW_MS)


def test_words_that_nobody_said_are_no_turn():
    ghost = attrs.evolve(WHOLE, doubted=True)
    assert replay(turn(ghost), TAKING, Delays(), Cues()).wait_ms is None


def test_a_pause_has_no_more_looks_than_it_was_long_enough_for():
    short = attrs.evolve(WHOLE, looks=WHOLE.looks[:1])
    assert sound_of(short, 0, None).complete == 0.99
    assert sound_of(short, 1, None) is None


def test_a_head_judges_what_the_encoder_comes_to():
    head = Head(np.ones((4, 2), np.float32), np.zeros(4, np.float32), np.zeros(4, np.float32))
    heard = attrs.evolve(WHOLE, looks=[Look(0.1, np.array([1.0, 1.0], np.float32))])
    assert sound_of(heard, 0, head).complete == pytest.approx(1 / (1 + np.exp(-2)))
