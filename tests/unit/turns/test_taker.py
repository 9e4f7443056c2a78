"""When a caller begins, pauses, goes on and has finished: playbooks of speech and silence, window by window."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd_providers.turns.end_of_turn import PatienceSettings, Sound, silence_needed
from agentd_providers.turns.first_sound import Kinds
from agentd_providers.turns.marks import Marks, marks_of
from agentd_providers.turns.taker import (
    ANSWER_PATIENCE_MS,
    CUE_PATIENCE_MS,
    TAKE_PAUSE_MS,
    Signal,
    TurnTaker,
    TurnTaking,
)
from agentd_providers.turns.word_ends import Told
from agentd_providers.turns.word_tables import open_word_ends
from agentd_providers.turns.words import plain_words

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

STARTED, CONFIRMED, TAKEN, PAUSED, LOOK, RESUMED, ENDED, DISMISSED, WEIGH, DOUBTED = Signal
WINDOW = 32
PATIENCE = PatienceSettings(stop_ms=256, unsure_ms=640, hesitation_ms=1280, max_silence_ms=1920)
TAKING = TurnTaking(
    start_ms=64,
    interrupt_ms=160,
    takeover_ms=704,
    min_words=2,
    pause_ms=96,
    looks_ms=(),
    patience=PATIENCE,
    max_turn_ms=30_000,
    threshold=0.5,
    backchannels=frozenset({"mhm", "okay", "uh huh"}),
    word_ends=open_word_ends("en"),
    sure_ms=64,
    commands=frozenset(),
)


@attrs.define
class Ear:
    """A turn taker that is fed in ms, and whether the agent is audible meanwhile."""

    taker: TurnTaker
    agent_audible: bool = False
    asked: bool = False
    """The agent has just asked something."""
    weighed: int = 0
    """How often it was to be told what the sound is."""

    def speech(self, ms: int, probability: float = 0.9) -> list[Signal]:
        """What so much speech brings about, but for being weighed."""
        signals: list[Signal] = []
        for _ in range(ms // WINDOW):
            heard = self.taker.hear(probability, WINDOW, agent_audible=self.agent_audible, asked=self.asked)
            self.weighed += heard.count(WEIGH)
            signals += [signal for signal in heard if signal is not WEIGH]
        return signals

    def silence(self, ms: int) -> list[Signal]:
        return self.speech(ms, 0.0)

    def words(self, text: str, *, doubted: bool = False) -> list[Signal]:
        """The words up to the pause that lasts are known."""
        return self.taker.know_words(self.taker.pause, text, doubted=doubted)

    def sound(self, complete: float | None, look: int = 0) -> list[Signal]:
        """How complete the turn sounds at that pause is known."""
        sound = None if complete is None else Sound(complete, look)
        return self.taker.know_sound(self.taker.pause, sound)

    def sentence(self, ends: float | None) -> list[Signal]:
        """How likely a sentence ends there is known."""
        return self.taker.know_sentence(self.taker.pause, ends)

    def silence_until_something(self) -> list[Signal]:
        """More silence, until it brings something about; `taker.silence_ms` tells how much it took."""
        for _ in range(1000):
            if signals := self.silence(WINDOW):
                return signals
        raise AssertionError("this silence lasts for ever")


def listening(
    agent_audible: bool = False,
    by_sound: bool = False,
    by_sentence: bool = False,
    by_answer: bool = False,
    **changes: object,
) -> Ear:
    return Ear(TurnTaker(attrs.evolve(TAKING, **changes), by_sound, by_sentence, by_answer), agent_audible)


def paused(ear: Ear, speech: int = 512) -> Ear:
    """A caller who has spoken for a while and just paused."""
    ear.speech(speech)
    assert PAUSED in ear.silence(96)
    return ear


# --- words that an engine may have invented


def test_doubted_words_are_no_turn() -> None:
    ear = paused(listening())
    assert ear.words("thank you", doubted=True) == []
    assert ear.silence_until_something() == [DISMISSED]
    assert ear.taker.silence_ms == PATIENCE.unsure_ms
    assert "surely" in ear.taker.dismissal


def test_over_the_agent_doubted_words_are_dismissed_sooner_so_that_it_goes_on() -> None:
    ear = paused(listening(agent_audible=True))
    assert ear.words("hello there thank you", doubted=True) == []
    assert ear.silence_until_something() == [DISMISSED]
    assert ear.taker.silence_ms == PATIENCE.stop_ms


def test_who_goes_on_after_doubted_words_is_in_the_same_turn() -> None:
    ear = paused(listening())
    ear.words("my", doubted=True)
    assert RESUMED in ear.speech(512)
    ear.silence(96)
    ear.words("my name is ann")
    assert ear.silence_until_something() == [ENDED]


def test_doubt_is_of_one_pause() -> None:
    ear = paused(listening())
    ear.words("you", doubted=True)
    ear.words("you there")
    assert ear.silence_until_something() == [ENDED]


def test_a_backchannel_is_one_however_doubtful() -> None:
    ear = paused(listening(agent_audible=True))
    assert ear.words("mhm", doubted=True) == [DISMISSED]


# --- the onset


def test_a_click_begins_no_turn() -> None:
    ear = listening()
    assert ear.speech(32) + ear.silence(5000) == []


def test_enough_speech_begins_a_turn_goes_on_and_takes_it() -> None:
    ear = listening()
    assert ear.speech(64) == [STARTED]
    assert ear.speech(64) == []
    assert ear.speech(32) == [CONFIRMED, TAKEN]
    assert ear.speech(5000) == []


def test_a_faint_beginning_counts_where_speech_follows_it() -> None:
    ear = listening(agent_audible=True)
    assert ear.speech(320, probability=0.4) == []
    assert ear.speech(32) == [STARTED]
    assert ear.speech(64) == [CONFIRMED]


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_a_faint_sound_before_a_gap_does_not(between: float) -> None:
    ear = listening(agent_audible=True)
    ear.speech(320, probability=0.4)
    ear.speech(32, probability=between)
    assert ear.speech(32) == []
    assert ear.speech(32) == [STARTED]


def test_one_dip_does_not_undo_an_onset() -> None:
    ear = listening(start_ms=96)
    assert ear.speech(64) + ear.silence(32) + ear.speech(64) == [STARTED]


def test_speech_goes_on_at_probabilities_that_would_not_have_begun_it() -> None:
    ear = listening()
    assert ear.speech(5000, 0.4) == []
    ear.speech(320)
    assert ear.speech(5000, 0.4) == []
    assert ear.taker.in_turn


def test_a_low_threshold_is_released_too() -> None:
    ear = listening(threshold=0.1)
    ear.speech(320)
    assert ear.silence(96) == [PAUSED]


# --- pauses


def test_a_gap_within_a_word_is_no_pause() -> None:
    ear = listening()
    ear.speech(320)
    assert ear.silence(64) + ear.speech(320) + ear.silence(64) == []


def test_a_pause_is_noticed_and_ended_by_speech() -> None:
    ear = paused(listening())
    assert ear.taker.paused
    assert ear.speech(32) == []
    assert ear.speech(32) == [RESUMED]
    assert not ear.taker.paused


def test_a_click_in_a_pause_does_not_end_it() -> None:
    ear = paused(listening())
    assert ear.speech(32) + ear.silence(64) + ear.speech(32) + ear.silence(64) == []
    assert ear.taker.paused


def test_every_pause_has_a_number_of_its_own() -> None:
    ear = paused(listening())
    first = ear.taker.pause
    ear.speech(320)
    ear.silence(96)
    assert ear.taker.pause == first + 1
    ear.silence(1000)
    assert ear.taker.know_words(first, "I would like a table.") == []
    assert ear.taker.know_sound(first, Sound(1.0)) == []
    assert ear.taker.know_sentence(first, 1.0) == []
    assert ear.taker.know_words(first + 1, "I would like a table for two.")[-1] is ENDED


def test_what_is_known_of_a_pause_that_is_over_is_of_no_interest() -> None:
    ear = paused(listening())
    ear.silence(1000)
    ear.speech(320)
    assert ear.words("I would like") == []
    assert ear.sound(1.0) == []
    assert ear.sentence(1.0) == []


def test_the_sound_of_a_pause_is_looked_at_again_as_it_lasts() -> None:
    ear = paused(listening(looks_ms=(160, 320)))
    assert ear.silence(32) == []
    assert (ear.silence(32), ear.taker.look) == ([LOOK], 0)
    assert (ear.silence(160), ear.taker.look) == ([LOOK], 1)
    assert ear.silence(2000) == []
    ear.speech(64)
    ear.silence(96)
    assert (ear.silence(64), ear.taker.look) == ([LOOK], 0)


def test_what_a_later_look_says_counts_whichever_comes_first() -> None:
    for order in ((0, 1), (1, 0)):
        ear = paused(listening(by_sound=True))
        ear.words("That is all.")
        for look in order:
            ear.sound((0.98, 0.02)[look], look)
        assert ear.taker.evidence["look"] == 1
        assert ear.taker.evidence["sound"] == 0.02


def test_a_further_look_that_fails_leaves_what_the_one_before_said() -> None:
    ear = paused(listening(by_sound=True))
    ear.words("That is all.")
    ear.sound(0.02)
    ear.sound(None)
    assert ear.taker.evidence["sound"] == 0.02


# --- the answer that is being made


def test_a_turn_is_not_over_before_its_answer_is_ready_for_nothing_could_be_heard_of_it() -> None:
    ear = paused(listening(by_answer=True))
    needed = silence_needed(None, 0.97, (), PATIENCE, told=Told.WHOLE)
    assert ear.words("Yes.") == []
    assert ear.silence(needed) == []
    assert ear.taker.know_answer(ear.taker.pause) == [ENDED]


def test_an_answer_that_is_long_in_coming_is_not_waited_for() -> None:
    ear = paused(listening(by_answer=True))
    ear.words("Yes.")
    assert ear.silence_until_something() == [ENDED]
    needed = silence_needed(None, 0.97, (), PATIENCE, told=Told.WHOLE)
    assert ear.taker.silence_ms == in_whole_windows(needed + ANSWER_PATIENCE_MS)


def test_what_is_heard_until_the_answer_is_ready_still_counts() -> None:
    ear = paused(listening(by_answer=True, by_sound=True))
    ear.words("I would like a table for two.")
    ear.sound(0.98)
    assert ear.silence(300) == []
    ear.sound(0.02, 1)
    assert ear.taker.know_answer(ear.taker.pause) == []
    assert RESUMED in ear.speech(320)


def test_the_answer_to_an_older_pause_ends_nothing() -> None:
    ear = paused(listening(by_answer=True))
    ear.words("Yes.")
    older = ear.taker.pause
    ear.speech(320)
    ear.silence(96)
    ear.words("Yes.")
    ear.silence(PATIENCE.unsure_ms - 96)
    assert ear.taker.know_answer(older) == []
    assert ear.taker.know_answer(ear.taker.pause) == [ENDED]


# --- how long a pause may last


def in_whole_windows(ms: float) -> float:
    return -(-ms // WINDOW) * WINDOW


@pytest.mark.parametrize("words", ["What are your hours?", "My number is, uh", "I would like a", "five five five"])
@pytest.mark.parametrize("sound", [None, 0.02, 0.98])
@pytest.mark.parametrize("sentence", [None, 0.01, 0.6])
def test_a_pause_is_waited_for_as_the_cues_say(words: str, sound: float | None, sentence: float | None) -> None:
    ear = paused(listening(by_sound=True, by_sentence=True))
    assert ear.sound(sound) + ear.sentence(sentence) + ear.words(words) == []
    assert ear.silence_until_something() == [ENDED]
    heard = None if sound is None else Sound(sound)
    said, told = TAKING.word_ends.complete(words), TAKING.word_ends.told(words)
    needed = silence_needed(heard, said, (), PATIENCE, sentence=sentence, told=told, marks=marks_of(words))
    assert ear.taker.silence_ms == in_whole_windows(needed)


def test_a_finished_sentence_is_over_sooner_than_one_that_breaks_off() -> None:
    over = {}
    for words, sound in (("That is all.", 0.98), ("My number is, uh", 0.02)):
        ear = paused(listening())
        ear.words(words)
        ear.sound(sound)
        ear.silence_until_something()
        over[words] = ear.taker.silence_ms
    assert over == {"That is all.": PATIENCE.stop_ms, "My number is, uh": PATIENCE.max_silence_ms}


def test_words_that_come_late_end_the_turn_at_once() -> None:
    ear = paused(listening())
    assert ear.silence(640) == []
    assert ear.sound(0.98) == []
    assert ear.words("That is all.") == [ENDED]


@pytest.mark.parametrize("cue", ["sound", "sentence"])
def test_a_cue_that_is_promised_is_waited_for_if_it_comes_soon(cue: str) -> None:
    ear = paused(listening(by_sound=cue == "sound", by_sentence=cue == "sentence"))
    assert ear.words("That is all.") + ear.silence(480 - 96) == []
    assert getattr(ear, cue)(0.98) == [ENDED]


@pytest.mark.parametrize("cue", ["sound", "sentence"])
def test_a_cue_that_cannot_be_told_is_not_waited_for(cue: str) -> None:
    told, never = (paused(listening(by_sound=cue == "sound", by_sentence=cue == "sentence")) for _ in range(2))
    getattr(told, cue)(None)
    for ear in (told, never):
        ear.words("yes")
        assert ear.silence_until_something() == [ENDED]
    needed = silence_needed(None, TAKING.word_ends.complete("yes"), (), PATIENCE, told=Told.WHOLE)
    assert told.taker.silence_ms == in_whole_windows(needed)
    assert never.taker.silence_ms == in_whole_windows(CUE_PATIENCE_MS)


def test_every_pause_waits_for_its_own_cues() -> None:
    ear = paused(listening(by_sound=True))
    ear.sound(0.98)
    ear.speech(320)
    ear.silence(96)
    assert ear.words("That is all.") + ear.silence(480 - 96) == []
    assert ear.sound(0.98) == [ENDED]


def test_a_caller_who_has_hesitated_before_is_waited_for_longer() -> None:
    ear = paused(listening())
    ear.silence(704)
    assert ear.speech(320) == [RESUMED]
    ear.silence(96)
    ear.words("What are your hours?")
    assert ear.silence_until_something() == [ENDED]
    said, marks = TAKING.word_ends.complete("What are your hours?"), Marks(question=True)
    needed = silence_needed(None, said, (800.0,), PATIENCE, marks=marks)
    assert ear.taker.silence_ms == in_whole_windows(needed)
    assert needed > silence_needed(None, said, (), PATIENCE, marks=marks)


def test_the_habit_outlives_the_turn() -> None:
    ear = paused(listening())
    ear.silence(704)
    ear.speech(320)
    ear.silence(96)
    ear.words("What are your hours?")
    ear.silence_until_something()
    first = ear.taker.silence_ms
    paused(ear)
    ear.words("What are your hours?")
    ear.silence_until_something()
    assert ear.taker.silence_ms == first


def test_a_transcriber_that_hangs_does_not_hold_the_caller_for_ever() -> None:
    ear = paused(listening())
    assert ear.silence_until_something() == [ENDED]
    assert ear.taker.silence_ms == 2 * PATIENCE.max_silence_ms


def test_a_turn_that_never_pauses_is_ended_at_its_longest() -> None:
    ear = listening(max_turn_ms=3200)
    assert ear.speech(3200) == [STARTED, CONFIRMED, TAKEN, ENDED]
    assert not ear.taker.in_turn


def test_a_turn_is_taken_before_it_ends_however_short_it_is() -> None:
    ear = listening()
    assert ear.speech(96) == [STARTED]
    assert ear.silence(96) == [PAUSED]
    assert ear.words("Yes.") == []
    assert ear.silence_until_something() == [TAKEN, ENDED]


def test_after_a_turn_the_next_one_begins_from_nothing() -> None:
    ear = paused(listening())
    ear.words("Yes.")
    ear.silence_until_something()
    assert ear.speech(32) + ear.silence(320) == []
    assert ear.speech(160) == [STARTED, CONFIRMED, TAKEN]


# --- no turn at all


@pytest.mark.parametrize("nothing", ["", "  ", "...", "?!"])
def test_a_sound_without_words_is_dismissed_after_a_short_silence(nothing: str) -> None:
    ear = paused(listening())
    assert ear.words(nothing) == []
    assert ear.silence_until_something() == [DISMISSED]
    assert ear.taker.silence_ms == PATIENCE.stop_ms
    assert ear.taker.dismissal == "no words were recognised"
    assert not ear.taker.in_turn


def test_a_backchannel_into_silence_is_a_turn() -> None:
    ear = paused(listening())
    assert ear.words("Okay.") == []
    assert ear.silence_until_something() == [ENDED]


# --- while the agent is audible


def test_over_the_agent_a_sound_that_goes_on_is_confirmed_but_takes_no_turn_yet() -> None:
    ear = listening(agent_audible=True)
    assert ear.speech(160) == [STARTED, CONFIRMED]
    assert ear.speech(704 - 160 - 32) == []
    assert ear.speech(32) == [TAKEN]


def test_a_cough_over_the_agent_is_dismissed_as_soon_as_it_has_no_words() -> None:
    ear = paused(listening(agent_audible=True), speech=256)
    assert ear.words("") == [DISMISSED]


@pytest.mark.parametrize("words", ["Mhm.", "mhm", "Okay, okay.", "Uh-huh.", "Mhm, okay!"])
def test_a_backchannel_over_the_agent_is_dismissed_at_once(words: str) -> None:
    ear = paused(listening(agent_audible=True), speech=256)
    assert ear.words(words) == [DISMISSED]
    assert ear.taker.dismissal == "a backchannel while the agent spoke"


def test_words_over_the_agent_take_the_turn_once_no_more_follow_and_end_it_in_their_time() -> None:
    ear = paused(listening(agent_audible=True), speech=256)
    assert ear.words("Wait, stop.") == [], "the agent is silent by now: half of a cough is easily heard as a word"
    assert ear.silence_until_something() == [TAKEN]
    assert ear.taker.silence_ms >= TAKE_PAUSE_MS
    assert ear.silence_until_something() == [ENDED]


def test_a_backchannel_that_words_follow_takes_the_turn() -> None:
    ear = paused(listening(agent_audible=True), speech=256)
    assert ear.words("Okay, thanks.") == []
    assert ear.silence_until_something() == [TAKEN]


@pytest.mark.parametrize("heard_as", ["In them, um.", "Uh-uh.", "A hmm"])
def test_a_short_sound_that_ends_in_a_hum_is_one_whatever_else_is_heard_in_it(heard_as: str) -> None:
    ear = paused(listening(agent_audible=True), speech=448)
    assert ear.words(heard_as) == [DISMISSED]


def test_the_first_half_of_a_cough_that_sounds_like_a_word_takes_no_turn() -> None:
    ear = paused(listening(agent_audible=True, min_words=1), speech=192)
    assert ear.words("But.") == []
    ear.speech(256)
    ear.silence(96)
    assert ear.words("Uh, uh.") == [DISMISSED]


def test_fewer_words_than_it_takes_are_dismissed() -> None:
    ear = paused(listening(agent_audible=True), speech=256)
    assert ear.words("Stop.") == [DISMISSED]
    assert ear.taker.dismissal == "too few words while the agent spoke"
    ear = paused(listening(agent_audible=True, min_words=1), speech=256)
    ear.words("Stop.")
    assert ear.silence_until_something() == [TAKEN]


def test_speech_that_is_longer_than_any_backchannel_takes_the_turn_whatever_is_said() -> None:
    ear = listening(agent_audible=True)
    assert ear.speech(704) == [STARTED, CONFIRMED, TAKEN]
    ear.silence(96)
    assert ear.words("Okay, okay, okay.") == []
    assert ear.silence_until_something() == [ENDED]


def test_a_pause_over_the_agent_is_noticed_sooner() -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    assert ear.silence(64) == [PAUSED]


def test_once_the_agent_is_silent_a_caller_is_suspected_of_nothing() -> None:
    ear = listening(agent_audible=True)
    assert ear.speech(256) == [STARTED, CONFIRMED]
    ear.agent_audible = False
    assert ear.speech(32) == [TAKEN]


def test_a_caller_who_began_in_silence_keeps_the_turn_when_the_agent_begins() -> None:
    ear = listening()
    ear.speech(96)
    ear.agent_audible = True
    assert ear.speech(64) == [CONFIRMED, TAKEN]


# --- what the sound is, before there are words


NOISE, BACKCHANNEL, TURN, UNSURE = Kinds(0.99, 0.01, 0.0), Kinds(0.01, 0.99, 0.0), Kinds(0, 0, 1), Kinds(0.4, 0.4, 0.2)


def test_a_sound_over_the_agent_is_weighed_soon_enough_to_let_it_go_on() -> None:
    ear = listening(agent_audible=True)
    ear.speech(128)
    assert not ear.weighed  # the agent has not paused
    ear.speech(160 + 256 - 128)
    assert ear.weighed == 9


def test_a_sound_into_silence_is_not_weighed() -> None:
    ear = listening()
    ear.speech(640)
    assert not ear.weighed


@pytest.mark.parametrize("kinds", [NOISE, BACKCHANNEL])
def test_what_is_likely_nothing_is_doubted_once(kinds: Kinds) -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    assert ear.taker.know_kinds(kinds) == [DOUBTED]
    assert ear.taker.know_kinds(kinds) == []


def test_what_was_doubted_and_is_a_turn_after_all_is_confirmed_again_and_not_weighed_any_more() -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    assert ear.taker.know_kinds(BACKCHANNEL) == [DOUBTED]
    ear.speech(64)
    assert ear.taker.know_kinds(TURN) == [CONFIRMED]
    weighed = ear.weighed
    ear.speech(64)
    assert ear.weighed == weighed
    assert ear.speech(704 - 384) == [TAKEN]  # no later than if it had never been doubted


def test_where_sounds_are_weighed_the_agent_pauses_by_what_it_is_told() -> None:
    ear = listening(agent_audible=True)
    ear.taker.by_kinds = True
    assert CONFIRMED not in ear.speech(160)
    assert ear.weighed == 1
    assert ear.taker.know_kinds(TURN) == [CONFIRMED]


def test_a_sound_that_may_well_be_nothing_is_waited_for_a_little_before_the_agent_pauses() -> None:
    ear = listening(agent_audible=True)
    ear.taker.by_kinds = True
    ear.speech(160)
    assert ear.taker.know_kinds(UNSURE) == []
    ear.speech(32)
    assert ear.taker.know_kinds(BACKCHANNEL) == [DOUBTED]  # never silent for it
    assert ear.speech(256) == []


def test_a_sound_is_not_waited_for_once_the_agent_has_ended() -> None:
    ear = listening(agent_audible=True)
    ear.taker.by_kinds = True
    ear.speech(160)
    ear.agent_audible = False
    assert ear.speech(32) == [CONFIRMED, TAKEN]


def test_where_the_agent_pauses_late_by_its_setting_it_does_not_wait_longer() -> None:
    ear = listening(agent_audible=True, interrupt_ms=640.0)
    ear.taker.by_kinds = True
    ear.speech(640)
    assert ear.weighed == 1
    assert ear.taker.know_kinds(Kinds(0.3, 0.4, 0.3)) == [CONFIRMED]


@pytest.mark.parametrize("kinds", [TURN, UNSURE])
def test_what_may_be_a_turn_is_not_doubted(kinds: Kinds) -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    assert ear.taker.know_kinds(kinds) == []


def test_the_less_of_it_was_heard_the_surer_it_has_to_be_nothing() -> None:
    likely = Kinds(0.0, 0.875, 0.125)
    ear = listening(agent_audible=True)
    ear.speech(256)
    assert ear.taker.know_kinds(likely) == []
    ear.speech(160)
    assert ear.taker.know_kinds(likely) == [DOUBTED]


def test_a_sound_that_has_ended_is_weighed_again_and_needs_less() -> None:
    ear = listening(agent_audible=True)
    ear.speech(224)
    assert ear.silence(64) == [PAUSED]
    assert ear.weighed
    assert ear.taker.know_kinds(Kinds(0.5, 0.415, 0.085)) == [DOUBTED]


def test_doubt_dismisses_no_turn_the_words_do() -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    ear.taker.know_kinds(BACKCHANNEL)
    ear.silence(96)
    assert ear.words("okay") == [DISMISSED]


@pytest.mark.parametrize("words", ["Mum!", "Oh, hammer."])
def test_what_an_engine_hears_in_a_sound_that_is_likely_nothing_takes_no_turn(words: str) -> None:
    ear = listening(agent_audible=True, min_words=1)
    ear.speech(256)
    ear.taker.know_kinds(BACKCHANNEL)
    ear.silence(96)
    assert ear.words(words) == [DISMISSED]


@pytest.mark.parametrize("words", ["wait", "I am not sure"])
def test_words_take_the_turn_after_doubt(words: str) -> None:
    ear = listening(agent_audible=True, min_words=1, commands=frozenset({"wait"}))
    ear.speech(256)
    ear.taker.know_kinds(BACKCHANNEL)
    ear.silence(96)
    ear.words(words)
    assert ear.silence_until_something() == [TAKEN]


def test_speech_that_lasts_takes_the_turn_after_doubt() -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    ear.taker.know_kinds(BACKCHANNEL)
    assert ear.speech(704 - 256) == []
    assert ear.speech(256) == [TAKEN]


def test_who_goes_on_after_a_pause_in_doubt_has_the_agent_pause_again_and_is_weighed_anew() -> None:
    ear = listening(agent_audible=True)
    ear.speech(256)
    ear.taker.know_kinds(BACKCHANNEL)
    ear.silence(64)
    assert ear.speech(64) == [RESUMED, CONFIRMED]
    weighed = ear.weighed
    ear.speech(192)
    assert ear.weighed > weighed
    assert ear.taker.know_kinds(NOISE) == [DOUBTED]


def test_a_turn_that_is_taken_is_not_doubted_any_more() -> None:
    ear = listening(agent_audible=True)
    ear.speech(704)
    assert ear.taker.know_kinds(NOISE) == []


def test_upon_a_question_a_backchannel_is_not_doubted_and_a_noise_is() -> None:
    ear = listening(agent_audible=True)
    ear.asked = True
    ear.speech(256)
    ear.asked = False  # it counts when the sound begins
    assert ear.taker.know_kinds(BACKCHANNEL) == []
    assert ear.taker.know_kinds(NOISE) == [DOUBTED]


@pytest.mark.parametrize("words", ["mhm", "okay", "Uh-huh."])
def test_upon_a_question_a_backchannel_is_an_answer(words: str) -> None:
    ear = listening(agent_audible=True, min_words=1)
    ear.asked = True
    paused(ear, speech=256).words(words)
    assert ear.silence_until_something() == [TAKEN]
    assert ear.silence_until_something() == [ENDED]


def test_upon_a_question_a_hum_is_none() -> None:
    ear = listening(agent_audible=True, min_words=1)
    ear.asked = True
    assert paused(ear, speech=256).words("Um.") == [DISMISSED]


@pytest.mark.parametrize("words", ["Stop.", "okay stop", "Hold on!", "Hello? Uh."])
def test_a_command_takes_the_turn_however_few_the_words_are(words: str) -> None:
    commands = frozenset({"stop", "hold on", "hello"})
    ear = paused(listening(agent_audible=True, min_words=5, commands=commands), speech=256)
    ear.words(words)
    assert ear.silence_until_something() == [TAKEN]


# --- words as they are compared


@pytest.mark.parametrize(
    "text, words",
    [
        ("Uh-huh.", ["uh", "huh"]),
        ("Mhm, OKAY!", ["mhm", "okay"]),
        ("I don't know...", ["i", "don't", "know"]),
        ("... ?", []),
        ("", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, words: list[str]) -> None:
    assert plain_words(text) == words


# --- whatever is heard


AFTER: dict[Signal | None, set[Signal]] = {
    None: {STARTED},
    STARTED: {CONFIRMED, TAKEN, PAUSED},
    CONFIRMED: {TAKEN, PAUSED, DOUBTED},
    TAKEN: {CONFIRMED, PAUSED, LOOK, RESUMED, ENDED, DISMISSED},
    PAUSED: {LOOK, RESUMED, TAKEN, DISMISSED, ENDED, DOUBTED},
    LOOK: {LOOK, RESUMED, TAKEN, DISMISSED, ENDED, DOUBTED},
    RESUMED: {CONFIRMED, TAKEN, PAUSED, ENDED, DOUBTED},
    DOUBTED: {TAKEN, PAUSED, LOOK, RESUMED, ENDED, DISMISSED},
    ENDED: {STARTED},
    DISMISSED: {STARTED},
}
"""What may follow what."""

hearing = st.one_of(
    st.tuples(st.just("speech"), st.integers(1, 40), st.booleans()),
    st.tuples(st.just("silence"), st.integers(1, 80), st.booleans()),
    st.tuples(st.just("flutter"), st.lists(st.floats(0, 1), min_size=1, max_size=20), st.booleans()),
    st.tuples(
        st.just("words"), st.sampled_from(["", "mhm", "wait a moment", "my number is", "yes"]), st.integers(0, 2)
    ),
    st.tuples(st.just("sound"), st.none() | st.builds(Sound, st.floats(0, 1), st.integers(0, 5)), st.integers(0, 2)),
    st.tuples(st.just("sentence"), st.none() | st.floats(0, 1), st.integers(0, 2)),
    st.tuples(st.just("kinds"), st.sampled_from([NOISE, BACKCHANNEL, TURN, UNSURE]), st.just(0)),
)


@unhurried
@given(
    st.lists(hearing, max_size=40),
    st.sampled_from([TAKING, attrs.evolve(TAKING, looks_ms=(160, 400), max_turn_ms=4000)]),
    st.booleans(),
)
def test_signals_come_in_a_legal_order_whatever_is_heard(
    script: Sequence[tuple[str, Any, int]], taking: TurnTaking, promised: bool
) -> None:
    taker = TurnTaker(taking, by_sound=promised, by_sentence=promised)
    signals: list[Signal] = []
    for what, value, extra in script:
        heard: list[float] = []
        match what:
            case "speech":
                heard = [0.9] * value
            case "silence":
                heard = [0.0] * value
            case "flutter":
                heard = value
            case "words":
                signals += taker.know_words(taker.pause - extra, value)
            case "sound":
                signals += taker.know_sound(taker.pause - extra, value)
            case "sentence":
                signals += taker.know_sentence(taker.pause - extra, value)
            case "kinds":
                signals += taker.know_kinds(value)
        for probability in heard:
            signals += taker.hear(probability, WINDOW, agent_audible=bool(extra))

    before: Signal | None = None
    turn: list[Signal] = []
    is_paused = False
    for signal in (signal for signal in signals if signal is not WEIGH):
        assert signal in AFTER[before], f"{signal} after {before}"
        turn = [] if signal is STARTED else turn
        assert signal not in turn or signal in (PAUSED, LOOK, RESUMED, CONFIRMED, DOUBTED)
        turn.append(signal)
        assert turn.count(CONFIRMED) - turn.count(DOUBTED) in (0, 1), "an agent that goes on has paused"
        if signal is DOUBTED:
            assert TAKEN not in turn
        if signal in (LOOK, RESUMED, DISMISSED):
            assert is_paused
        if signal is PAUSED:
            assert not is_paused
        if signal is ENDED:
            assert TAKEN in turn
        is_paused = signal is PAUSED or (is_paused and signal in (LOOK, TAKEN, DOUBTED))
        before = signal
    assert taker.in_turn is (before not in (None, ENDED, DISMISSED))
    assert taker.paused is is_paused


@unhurried
@given(st.integers(2, 60), st.sampled_from(["", "mhm", "wait a moment", "my number is", "yes"]), st.booleans())
def test_every_sound_comes_to_an_end(windows: int, words: str, audible: bool) -> None:
    ear = listening(agent_audible=audible)
    ear.speech(windows * WINDOW)
    ear.silence(96)
    told = ear.words(words)
    while not {ENDED, DISMISSED} & set(told):
        told = ear.silence_until_something()
    assert ear.taker.silence_ms <= PATIENCE.max_silence_ms
    assert not ear.taker.in_turn
