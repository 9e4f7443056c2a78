"""From the settings of turn taking to its thresholds: presets, what overrides them, what contradicts."""

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.settings import BACKCHANNELS, PAUSE_MS, PRESETS, Preset, TurnSettings
from agentd_providers.turns.word_tables import open_word_ends
from agentd_providers.turns.words import plain_words


def test_without_any_setting_turns_are_balanced() -> None:
    taking, preset = TurnSettings().turn_taking("en-US"), PRESETS[Preset.BALANCED]
    assert (taking.interrupt_ms, taking.takeover_ms, taking.min_words) == (
        preset.interrupt_ms,
        preset.takeover_ms,
        preset.min_words,
    )
    assert attrs.asdict(taking.patience) == {
        "stop_ms": preset.stop_ms,
        "unsure_ms": preset.unsure_ms,
        "hesitation_ms": preset.hesitation_ms,
        "max_silence_ms": preset.max_silence_ms,
    }
    assert taking.word_ends == open_word_ends("en")
    assert taking.backchannels == frozenset(BACKCHANNELS)


@pytest.mark.parametrize("preset", Preset)
def test_every_preset_is_good(preset: Preset) -> None:
    settings = TurnSettings(preset=preset)
    assert settings.contradictions() == []
    patience = settings.turn_taking("en").patience
    assert patience.stop_ms < patience.unsure_ms < patience.hesitation_ms < patience.max_silence_ms


@pytest.mark.parametrize("value", [field.name for field in attrs.fields(type(PRESETS[Preset.EAGER]))])
def test_from_eager_over_balanced_to_patient_nothing_gets_faster(value: str) -> None:
    values = [getattr(PRESETS[preset], value) for preset in (Preset.EAGER, Preset.BALANCED, Preset.PATIENT)]
    assert all(faster <= slower for faster, slower in pairwise(values))


def test_an_eager_agent_answers_sooner_than_a_patient_one() -> None:
    eager, patient = (TurnSettings(preset=preset).turn_taking("en") for preset in (Preset.EAGER, Preset.PATIENT))
    assert eager.patience.stop_ms < patient.patience.stop_ms
    assert eager.patience.max_silence_ms < patient.patience.max_silence_ms


def test_a_setting_overrides_its_preset() -> None:
    settings = TurnSettings(
        preset=Preset.EAGER, stop_ms=300, max_silence_ms=3000, interrupt_ms=200, takeover_ms=900, min_words=4
    )
    taking = settings.turn_taking("en")
    assert (taking.patience.stop_ms, taking.patience.max_silence_ms) == (300, 3000)
    assert (taking.interrupt_ms, taking.takeover_ms, taking.min_words) == (200, 900, 4)
    assert (taking.patience.unsure_ms, taking.patience.hesitation_ms) == (450, 900)


def test_what_lies_between_gives_way_to_what_is_set() -> None:
    longer = TurnSettings(stop_ms=1500).turn_taking("en").patience
    assert (longer.stop_ms, longer.unsure_ms, longer.hesitation_ms) == (1500, 1500, 1500)
    shorter = TurnSettings(max_silence_ms=500).turn_taking("en").patience
    assert (shorter.unsure_ms, shorter.hesitation_ms, shorter.max_silence_ms) == (500, 500, 500)


def test_a_pause_is_noticed_before_it_may_be_the_end() -> None:
    assert TurnSettings().turn_taking("en").pause_ms == PAUSE_MS
    assert TurnSettings(stop_ms=50).turn_taking("en").pause_ms == 50


def test_the_longest_turn_is_set_in_seconds() -> None:
    assert TurnSettings(max_seconds=12).turn_taking("en").max_turn_ms == 12_000


@pytest.mark.parametrize(
    "settings, contradiction",
    [
        (TurnSettings(stop_ms=3000), ("max_silence_ms", "must not be less than stop_ms (3000)")),
        (TurnSettings(stop_ms=500, max_silence_ms=400), ("max_silence_ms", "must not be less than stop_ms (500)")),
        (TurnSettings(start_ms=200), ("interrupt_ms", "must not be less than start_ms (200)")),
        (TurnSettings(interrupt_ms=800), ("takeover_ms", "must not be less than interrupt_ms (800)")),
        (TurnSettings(takeover_ms=100), ("takeover_ms", "must not be less than interrupt_ms (128)")),
        (TurnSettings(takeover_ms=31_000), ("max_seconds", "must not be shorter than takeover_ms (31000 ms)")),
    ],
)
def test_what_cannot_work_together_is_told(settings: TurnSettings, contradiction: tuple[str, str]) -> None:
    assert settings.contradictions() == [contradiction]


times = st.integers(0, 5000)


@given(st.builds(TurnSettings, preset=st.sampled_from(Preset), stop_ms=times, max_silence_ms=times))
def test_without_contradictions_each_silence_is_at_least_as_long_as_the_one_before(settings: TurnSettings) -> None:
    patience = settings.turn_taking("en").patience
    if not settings.contradictions():
        assert patience.stop_ms <= patience.unsure_ms <= patience.hesitation_ms <= patience.max_silence_ms


def test_the_backchannels_are_written_as_words_are_compared() -> None:
    assert [" ".join(plain_words(words)) for words in BACKCHANNELS] == list(BACKCHANNELS)
