"""What lines and rooms make of a voice."""

import numpy as np
import pytest

from tests.lab.voices import conditions
from tests.lab.voices.conditions import PACKET, RATE, Line


def vowel(seconds: float = 1.0, hertz: float = 125.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 6000 * sum(np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, 12))


def pitch_of(samples: np.ndarray) -> float:
    """By the strongest likeness to itself, between 90 and 400 Hz."""
    middle = samples[len(samples) // 4 : len(samples) // 4 + RATE // 2]
    likeness = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    shortest, longest = RATE // 400, RATE // 90
    return RATE / (shortest + int(np.argmax(likeness[shortest:longest])))


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.2, 1.5])
def test_another_tempo_is_another_length_at_the_same_pitch(factor):
    changed = conditions.at_tempo(vowel(), factor)
    assert len(changed) == pytest.approx(RATE / factor, abs=PACKET)
    assert pitch_of(changed) == pytest.approx(125, rel=0.03)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_another_pitch_is_as_long(factor):
    changed = conditions.at_pitch(vowel(), factor)
    assert len(changed) == RATE
    assert pitch_of(changed) == pytest.approx(125 * factor, rel=0.04)


def test_only_what_comes_before_the_pause_is_drawn_out():
    sound = vowel()
    longer = conditions.drawn_out(sound, RATE // 2, 0.2, 2.0)
    assert len(longer) == pytest.approx(len(sound) + 0.2 * RATE, abs=PACKET)
    assert np.array_equal(longer[: round(0.3 * RATE)], sound[: round(0.3 * RATE)])
    assert np.array_equal(longer[-RATE // 2 :], sound[RATE // 2 :])


@pytest.mark.parametrize("dbfs", [-40, -23, -12])
def test_a_level_is_that_of_the_speech(dbfs):
    sound = np.concatenate((vowel(), np.zeros(RATE)))
    loud = conditions.loudness(conditions.at_level(sound, dbfs))
    assert 20 * np.log10(loud / 32768) == pytest.approx(dbfs, abs=0.1)


def test_street_noise_is_fifteen_decibels_below_the_voice():
    sound = vowel()
    noise = conditions.in_street(sound, 3) - sound
    below = conditions.loudness(sound) / np.sqrt(np.mean(noise**2))
    assert 20 * np.log10(below) == pytest.approx(15, abs=0.1)


def test_a_room_goes_on_sounding_after_the_voice():
    sound = np.concatenate((vowel(), np.zeros(RATE)))
    heard = conditions.in_room(sound, 1)
    levels = [np.sqrt(np.mean(heard[at : at + 400] ** 2)) for at in (RATE + 100, RATE + 1000, RATE + 3000)]
    assert levels[0] > 3 * levels[1] > 9 * levels[2]
    assert len(heard) == len(sound)


def test_one_packet_in_a_hundred_is_lost_and_the_one_before_fades_in_its_place():
    sound = vowel(60)
    heard = conditions.lossy(sound, 5)
    packets, before = heard.reshape(-1, PACKET), sound.reshape(-1, PACKET)
    lost = np.flatnonzero((packets != before).any(axis=1))
    assert len(lost) / len(packets) == pytest.approx(0.01, abs=0.005)
    alone = next(number for number in lost if number and number - 1 not in lost)
    assert packets[alone] == pytest.approx(before[alone - 1] * np.linspace(1, 0, PACKET))


def test_every_line_codes_by_u_law_and_is_the_same_for_the_same_seed():
    sound = vowel()
    for line in Line:
        heard = conditions.through(line, sound, 7)
        assert len(heard) == len(sound)
        assert np.array_equal(heard, conditions.through(line, sound, 7))
    assert np.array_equal(conditions.through(Line.CLEAN, sound, 1), conditions.coded(sound))
    assert not np.array_equal(conditions.through(Line.STREET, sound, 1), conditions.through(Line.STREET, sound, 2))


def test_silence_stays_silence():
    assert not conditions.at_level(np.zeros(RATE), -20).any()
    assert not conditions.at_tempo(np.zeros(RATE), 1.2).any()
