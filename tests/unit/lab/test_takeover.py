"""Reading a fail-over off what the caller heard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import bench_failover
from tests.lab.speech import silence
from tests.lab.takeover import LOST, RATE, hold_seconds, takeover, tone_until, vendors_voice


def voice(seconds: float, seed: int = 0) -> bytes:
    return (np.random.default_rng(seed).normal(0, 3000, round(seconds * RATE))).astype("<i2").tobytes()


@given(st.floats(0.15, 2.0), st.floats(0.0, 1.0), st.floats(0.1, 1.0))
def test_the_last_of_a_tone_is_found_whatever_comes_before_and_after_it(
    length: float, gap: float, after: float
) -> None:
    heard = silence(0.3) + voice(0.2) + vendors_voice(length) + silence(gap) + voice(after, 1)
    assert tone_until(heard) == pytest.approx(0.5 + length, abs=0.012)


@pytest.mark.parametrize("heard", [b"", silence(1), voice(1)])
def test_what_holds_no_tone_is_refused(heard: bytes) -> None:
    with pytest.raises(ValueError, match="heard"):
        tone_until(heard)


def test_a_vowel_of_the_same_pitch_is_no_vendors_voice() -> None:
    assert tone_until(vendors_voice(1) + silence(0.2) + vendors_voice(0.08) + silence(0.5)) == pytest.approx(
        1, abs=0.012
    )


def test_the_hold_message_is_the_first_voice_and_the_answer_comes_after_it() -> None:
    heard = vendors_voice(2) + silence(0.4) + voice(0.9) + silence(0.7) + voice(1, 1)
    found = takeover(heard, 0.95)
    assert found.voice_after == pytest.approx(0.4, abs=0.015)
    assert found.answer_after == pytest.approx(2.0, abs=0.015)


def test_an_answer_may_follow_the_hold_message_without_a_pause() -> None:
    found = takeover(vendors_voice(2) + silence(0.4) + voice(0.9) + voice(1, 1), 0.9)
    assert found.answer_after == pytest.approx(1.3, abs=0.015)


def test_without_a_hold_message_the_first_voice_is_the_answer() -> None:
    found = takeover(vendors_voice(2) + silence(0.4) + voice(0.9), None)
    assert found.answer_after == found.voice_after == pytest.approx(0.4, abs=0.015)


def test_what_never_came_is_none() -> None:
    assert takeover(vendors_voice(2) + silence(3), None).voice_after is None
    alone = takeover(vendors_voice(2) + silence(0.4) + voice(0.9) + silence(3), 0.95)
    assert alone.voice_after is not None
    assert alone.answer_after is None


def test_the_hold_message_is_what_was_heard_after_the_loss_and_never_said() -> None:
    says = [{"event": "agent says", "utterance": number} for number in (1, 2, 4)]
    heard = [{"event": "utterance heard", "utterance": number, "heard_ms": 100 * number} for number in (1, 2, 3, 4)]
    assert hold_seconds([*says, heard[0], {"event": LOST}, *heard[1:]]) == pytest.approx(0.3)
    assert hold_seconds([*says, heard[0], {"event": LOST}, heard[1], heard[3]]) is None
    assert hold_seconds([*says, *heard]) is None


def test_a_run_is_reported_in_milliseconds_and_without_a_vendors_voice_as_failed() -> None:
    lines = [
        {"event": "agent says", "utterance": 1, "text": "Long.", "agent": "vendor7400"},
        {"event": LOST, "error": "cut off"},
        {"event": "a fresh session goes on", "by": "default", "after_ms": 7},
        {"event": "utterance heard", "utterance": 1, "heard_ms": 1500},
        {"event": "utterance heard", "utterance": 2, "heard_ms": 950},
        {"event": "agent says", "utterance": 3, "text": "I go on.", "agent": "default"},
    ]
    heard = vendors_voice(2) + silence(0.4) + voice(0.9) + silence(0.7) + voice(1, 1)
    row = bench_failover.row_of("cut", heard, lines)
    assert row == {
        "kind": "cut",
        "hold_ms": 950,
        "lost": "cut off",
        "taken_over_after_ms": 7,
        "answer": "I go on.",
        "voice_ms": pytest.approx(400, abs=15),
        "answer_ms": pytest.approx(2000, abs=15),
        "failure": "",
    }
    mute = bench_failover.row_of("mute", silence(3), lines)
    assert (mute["voice_ms"], mute["answer_ms"]) == (None, None)
    report = bench_failover.summary([row, mute])
    assert report["figures"]["all"]["voice_ms"]["p95"] == row["voice_ms"]
    assert (report["without_voice"], report["without_answer"]) == (1, 1)
    assert "must" in bench_failover.show(report)
