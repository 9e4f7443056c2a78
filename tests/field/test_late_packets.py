"""Whatever the arrival pattern of a caller's packets: time passed is audio fed, and each word is fed once.

Sources: wdoekes/asterisk-chan-dongle pull request 184 (TCP, TURN and mobile links bring bursts), pipecat-ai/pipecat
pull request 5071 (a stall and its burst count twice), pipecat issue 3222 (over 600 ms late), Eyevinn/strom pull request
815 (a lost packet stalls what is behind it for 360 to 400 ms), baresip/rem pull request 119 (a sender whose clock is
fast), livekit/sip pull request 551 (silence suppression), pjsip/pjproject issue 3892 (a silent packet every 5 s).
"""

from collections.abc import Callable, Iterator

import attrs
import pytest

from tests.unit.media.test_passed import Line

FRAME = 0.02
Packet = tuple[float, float, str]
"""When it arrives, seconds of audio, and "word" or "quiet"."""


def talk(seconds: float, length: float = FRAME, clock: float = 1.0) -> Iterator[Packet]:
    """Two seconds of words, one of quiet, and so on, in packets of `length`. `clock`: 1.001 is a telephone whose clock
    is fast by a thousandth."""
    for number in range(round(seconds * clock / length)):
        said = number * length
        yield (said + length) / clock, length, "word" if said % 3.0 < 2.0 - 1e-9 else "quiet"


def stalled(packets: Iterator[Packet], stall: float, every: float) -> Iterator[Packet]:
    """Nothing arrives for `stall` seconds every `every`, and then all of it."""
    for at, length, kind in packets:
        into = at % every
        yield (at - into + stall if into < stall else at), length, kind


def lossy(packets: Iterator[Packet], one_in: int) -> Iterator[Packet]:
    return (packet for number, packet in enumerate(packets) if number % one_in != one_in - 1)


def suppressing(packets: Iterator[Packet], keep_alive: float = 0.0) -> Iterator[Packet]:
    """Nothing is sent for silence; but a packet of it every so many seconds."""
    sent = 0.0
    for at, length, kind in packets:
        if kind == "word" or (keep_alive and at - sent >= keep_alive):
            sent = at
            yield at, length, kind


@attrs.frozen
class Pattern:
    """An arrival pattern, and for how long it lasts."""

    packets: Callable[[], Iterator[Packet]]
    seconds: float = 55.0
    hole: float = 0.0
    """The longest silence that stands in within words."""


PATTERNS = {
    "even": Pattern(lambda: talk(55)),
    "150 ms, 184": Pattern(lambda: stalled(talk(55), 0.15, 0.6)),
    "250 ms, 184": Pattern(lambda: stalled(talk(55), 0.25, 0.6)),
    "400 ms, 184": Pattern(lambda: stalled(talk(55), 0.4, 0.6), hole=0.3),
    "400 ms of 450": Pattern(lambda: stalled(talk(55), 0.4, 0.45), hole=0.3),
    "now and then, 815": Pattern(lambda: stalled(talk(55), 0.38, 7.0), hole=0.3),
    "600 ms, 3222": Pattern(lambda: stalled(talk(55), 0.6, 5.0), hole=0.5),
    "packets of 60 ms": Pattern(lambda: talk(55, 0.06)),
    "packets of 120 ms": Pattern(lambda: talk(55, 0.12)),
    "packets of 120 ms, late": Pattern(lambda: stalled(talk(55, 0.12), 0.25, 0.6), hole=0.3),
    "packets of 200 ms": Pattern(lambda: talk(55, 0.2)),
    "one packet in twenty lost": Pattern(lambda: lossy(talk(55), 20), hole=0.22),
    "silence suppressed, 551": Pattern(lambda: suppressing(talk(55))),
    "a packet of silence every 5 s, 3892": Pattern(lambda: suppressing(talk(55), 5.0)),
    "silence suppressed, late": Pattern(lambda: stalled(suppressing(talk(55)), 0.25, 0.6), hole=0.3),
    "a clock that is fast by 15 us/s, 119": Pattern(lambda: talk(3600, clock=1.000015), 3600),
    "a clock that is fast by a thousandth": Pattern(lambda: talk(3600, clock=1.001), 3600),
    "a clock that is slow by a thousandth": Pattern(lambda: talk(3600, clock=0.999), 3600, hole=0.22),
    "a clock that is fast by a hundredth": Pattern(lambda: talk(600, clock=1.01), 600),
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_time_passed_is_audio_fed_and_each_word_is_fed_once(pattern: Pattern) -> None:
    line, words = Line(), 0.0
    for at, length, kind in pattern.packets():
        line.until(at - 1e-9)
        line.bring(kind, length=length)
        words += length if kind == "word" else 0.0
    line.until(pattern.seconds)
    assert abs(line.time.ahead(line.now)) <= 1.0
    assert -1.0 <= line.least <= line.most <= 1.0, "at any time"
    length = next(length for _, length, _ in pattern.packets())
    assert line.count("word") * length == pytest.approx(words), "each word once"
    assert longest_hole(line) * FRAME <= pattern.hole + 1e-6


def longest_hole(line: Line) -> int:
    """Frames of silence between two words that were said without a pause, or with one that the line brought."""
    longest = run = 0
    after_word = False
    for _, frame in line.heard:
        if frame == "silence":
            run += 1
            continue
        if frame == "word" and after_word and run < 40:  # else the pause of who suppresses silence
            longest = max(longest, run)
        after_word, run = frame == "word", 0
    return longest
