"""Whatever the line brings and when: what was fed is as much as time has passed, and what was said stays whole."""

import math

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.media.passed import AHEAD, BEHIND, MOST_AHEAD, PATIENCE, TimePassed

FRAME = 0.02
unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@attrs.define
class Line:
    """A leg that is up at second 0, and a look every 20 ms."""

    time: TimePassed = attrs.field(factory=lambda: TimePassed(0.0))
    now: float = 0.0
    heard: list[tuple[float, str]] = attrs.field(factory=list)
    """Each frame that was fed: when, and "silence" or what the line brought."""
    dropped: int = 0
    least: float = 0.0
    most: float = 0.0

    def until(self, moment: float) -> None:
        while self.now < moment - 1e-9:
            self.now += FRAME
            self.heard += [(self.now, "silence")] * self.time.missing(FRAME, self.now)
            self._note()

    def bring(self, *frames: str, length: float = FRAME) -> None:
        for frame in frames:
            if self.time.takes(length, self.now, quiet=frame == "quiet"):
                self.heard.append((self.now, frame))
            else:
                self.dropped += 1
            self._note()

    def _note(self) -> None:
        self.least = min(self.least, self.time.ahead(self.now))
        self.most = max(self.most, self.time.ahead(self.now))

    def count(self, what: str) -> int:
        return sum(frame == what for _, frame in self.heard)


def speak(line: Line, seconds: float, every: float, stall: float, frame: str = "word") -> None:
    """Speech that is held up for `stall` seconds every `every` seconds, and comes all at once then."""
    began, sent = line.now, 0
    while sent < round(seconds / FRAME):
        line.until(line.now + FRAME)
        passed = line.now - began
        if passed % every >= stall or passed >= seconds:
            due = min(round(passed / FRAME), round(seconds / FRAME))
            line.bring(*[frame] * (due - sent))
            sent = due


@pytest.mark.parametrize("stall", [0.0, 0.04, 0.08, 0.15, 0.25, 0.3, 0.4])
def test_three_seconds_of_speech_stay_three_seconds(stall: float) -> None:
    """wdoekes/asterisk-chan-dongle PR 184: packets come in bursts. They became 5.0 s at 400 ms."""
    line = Line()
    speak(line, 3.0, 0.6, stall)
    assert line.count("word") == 150, "each word once"
    assert line.count("silence") * FRAME <= max(stall - BEHIND, 0.0) + 2 * FRAME, "one hole, and only at the first time"
    assert abs(line.time.ahead(line.now)) <= max(PATIENCE, stall)


@pytest.mark.parametrize("stall", [0.15, 0.25, 0.4])
def test_a_minute_of_sentences_is_held_up_once(stall: float) -> None:
    line = Line()
    speak(line, 55.0, 0.6, stall)
    assert line.count("word") == 2750
    assert len(line.heard) * FRAME == pytest.approx(55.0, abs=0.4)


@pytest.mark.parametrize("length", [0.01, 0.02, 0.03, 0.04, 0.06, 0.12, 0.18])
def test_packets_of_any_length_need_no_silence(length: float) -> None:
    line = Line()
    for packet in range(1, 100):
        line.until(packet * length)
        line.bring("word", length=length)
    assert line.count("silence") == 0


def test_a_telephone_that_suppresses_silence_is_answered_at_most_100_ms_later() -> None:
    """Until now silence stood in as time passed, from 100 ms on."""
    line = Line()
    speak(line, 2.0, 1.0, 0.0)
    ended = line.now
    line.until(ended + 5.0)
    for silence in (0.2, 0.3, 0.5, 1.0, 3.0):
        frames = round(silence / FRAME)
        at = [moment for moment, frame in line.heard if frame == "silence"][frames - 1]
        assert at - ended <= silence + 0.1 + FRAME + 1e-6


def test_packets_that_are_lost_are_stood_in_for() -> None:
    line = Line()
    for number in range(1, 2751):
        line.until(number * FRAME)
        if number % 20:
            line.bring("word")
    assert len(line.heard) * FRAME == pytest.approx(55.0, abs=PATIENCE + FRAME)


def test_a_line_that_stood_still_for_long_loses_no_word_and_catches_up_in_a_pause() -> None:
    line = Line()
    speak(line, 4.0, 10.0, 2.0)
    assert (line.count("word"), line.dropped) == (200, 0)
    assert line.time.ahead(line.now) > AHEAD
    speak(line, 3.0, 1.0, 0.0, "quiet")
    assert line.time.ahead(line.now) <= AHEAD + FRAME


def test_a_flood_is_no_time() -> None:
    line = Line()
    line.bring(*["word"] * 10_000)
    assert line.time.ahead(0.0) <= MOST_AHEAD + FRAME
    line.until(MOST_AHEAD + 1.0)
    line.bring("word")
    assert line.heard[-1][1] == "word"


arrivals = st.lists(
    st.tuples(
        st.floats(0.0, 0.4),  # seconds in which nothing comes
        st.integers(0, 30),  # frames that come late, at most as many as were sent meanwhile
        st.sampled_from([0.01, 0.02, 0.06, 0.12]),
        st.sampled_from(["word", "quiet"]),
    ),
    max_size=60,
)


@unhurried
@given(arrivals)
def test_whatever_comes_whenever_the_time_is_kept_and_no_word_is_lost_or_doubled(
    arrivals: list[tuple[float, int, float, str]],
) -> None:
    line, brought, words = Line(), 0.0, 0
    for stall, late, length, frame in arrivals:
        line.until(line.now + stall)
        packets = min(late, math.floor((line.now - brought) / length))
        brought = line.now if late > packets else brought + packets * length  # the rest may come yet, or is lost
        line.bring(*[frame] * packets, length=length)
        words += packets if frame == "word" else 0
    assert line.count("word") == words
    assert line.least >= -(PATIENCE + FRAME + 0.12) - 1e-6
    line.until(line.now + 3.0)
    assert abs(line.time.ahead(line.now)) <= max(PATIENCE, line.most) + FRAME


@unhurried
@given(st.lists(st.tuples(st.floats(0.02, 0.4), st.floats(0.02, 1.0)), min_size=1, max_size=40))
def test_a_line_that_is_late_and_loses_nothing_is_within_a_second(pattern: list[tuple[float, float]]) -> None:
    """Stalls of up to 400 ms, all of it afterwards, then a stretch without a stall."""
    line, brought = Line(), 0
    for stall, even in pattern:
        line.until(line.now + stall)
        end = line.now + even
        while line.now < end - 1e-9:
            due = round(line.now / FRAME)
            line.bring(*["word"] * (due - brought))
            brought = due
            line.until(line.now + FRAME)
    assert line.count("word") == brought
    assert line.least >= -0.5
    assert line.most <= 0.5
