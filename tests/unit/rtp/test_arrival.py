"""A stream as the network brings it, and the audio that is made of it."""

import random
from collections.abc import Iterable, Sequence

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.media.passed import PATIENCE
from agentd.rtp.arrival import (
    FIRST_HOLD,
    HOLD_STEP,
    LONGEST_HOLD,
    MOST_CONCEALED,
    MOST_WAITING,
    PROVEN_LOSSES,
    Arrivals,
    Fate,
)
from agentd.rtp.packet import Packet
from tests.lab.measure import clicks

unhurried = settings(deadline=None)
RATE = 8000
SAMPLES = 160
FRAME = 0.02


def sine(frames: int, *, hertz: float = 187.0, level: float = 0.5) -> bytes:
    at = np.arange(frames * SAMPLES) / RATE
    return np.rint(level * 32767 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()


@attrs.frozen
class Sent:
    """A packet, and when the sender's clock sent it."""

    packet: Packet
    at: float

    @property
    def pcm(self) -> bytes:
        return self.packet.payload


def stream(frames: int, *, sequence: int = 7, timestamp: int = 0, ssrc: int = 1, at: float = 0.0) -> list[Sent]:
    """Packets of 20 ms of a tone, whose payload is slin for once."""
    pcm = sine(frames)
    return [
        Sent(
            Packet(
                0,
                (sequence + number) & 0xFFFF,
                (timestamp + number * SAMPLES) & 0xFFFFFFFF,
                ssrc,
                pcm[2 * SAMPLES * number : 2 * SAMPLES * (number + 1)],
            ),
            at + number * FRAME,
        )
        for number in range(frames)
    ]


def audio(sent: Iterable[Sent]) -> bytes:
    return b"".join(each.pcm for each in sent)


def arriving(arrivals: Arrivals, coming: Sequence[tuple[float, Sent]], until: float | None = None) -> list[bytes]:
    """What is handed on when packets come at these seconds, to a reader that looks every 20 ms."""
    coming = sorted(coming, key=lambda each: each[0])
    end = until if until is not None else coming[-1][0] + 1.0
    handed: list[bytes] = []
    tick = 0
    while (now := tick * FRAME) <= end + FRAME:
        while coming and coming[0][0] <= now:
            sent = coming[0][1]
            coming = coming[1:]
            handed += arrivals.push(sent.packet, sent.pcm, now)
        handed += arrivals.due(now)
        tick += 1
    return handed


def on_time(sent: Iterable[Sent]) -> list[tuple[float, Sent]]:
    return [(each.at, each) for each in sent]


# --- in order


def test_what_comes_in_order_goes_on_at_once_and_as_it_was() -> None:
    arrivals = Arrivals(RATE)
    for each in stream(100):
        assert arrivals.push(each.packet, each.pcm, each.at) == [each.pcm]
    assert not arrivals.fates


def test_numbers_and_times_wrap_around() -> None:
    sent = stream(20, sequence=0xFFF8, timestamp=0xFFFFFFFF - 5 * SAMPLES)
    arrivals = Arrivals(RATE)
    assert b"".join(arriving(arrivals, on_time(sent))) == audio(sent)
    assert not arrivals.fates


def test_a_loss_over_the_wrap_around_is_as_long_as_any() -> None:
    sent = stream(20, sequence=0xFFF8, timestamp=0xFFFFFFFF - 5 * SAMPLES)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time(sent[:7] + sent[9:])))
    assert len(heard) == len(audio(sent))
    assert arrivals.fates == {Fate.LOST: 2}


@unhurried
@given(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 2**30))
def test_reordered_and_doubled_packets_are_heard_once_and_in_order(sequence: int, timestamp: int, seed: int) -> None:
    dice = random.Random(seed)
    sent = stream(40, sequence=sequence, timestamp=timestamp)
    coming = [(each.at + 0.03 * dice.random(), each) for each in sent[1:]]  # up to 30 ms: each may overtake one
    coming += [(at + 0.05 * dice.random(), each) for at, each in coming if dice.random() < 0.2]
    arrivals = Arrivals(RATE)
    assert b"".join(arriving(arrivals, [(0.0, sent[0]), *coming])) == audio(sent)
    assert not set(arrivals.fates) - {Fate.DUPLICATE}


# --- lost


@pytest.mark.parametrize("missing", [1, 2, 5, 9])
def test_what_is_lost_is_as_long_as_it_was_and_clicks_nowhere(missing: int) -> None:
    sent = stream(30)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time(sent[:11] + sent[11 + missing :])))
    assert len(heard) == len(audio(sent))
    assert not clicks(heard)
    assert clicks(audio(sent[:11]) + bytes(320 * missing) + audio(sent[11 + missing :])), "the measure sees them"
    assert heard[: 320 * 11] == audio(sent[:11])
    resumed = 320 * (11 + missing) + 80
    assert heard[resumed:] == audio(sent)[resumed:], "but for 5 ms that are faded in, what came is as it was"
    assert arrivals.fates == {Fate.LOST: missing}


def test_behind_a_gap_audio_waits_and_no_longer_than_the_hold() -> None:
    sent = stream(10)
    arrivals = Arrivals(RATE)
    for each in sent[:3]:
        arrivals.push(each.packet, each.pcm, each.at)
    assert arrivals.push(sent[4].packet, sent[4].pcm, sent[4].at) == []
    assert arrivals.due(sent[4].at + FIRST_HOLD - 0.001) == []
    concealed, after = arrivals.due(sent[4].at + FIRST_HOLD)
    assert len(concealed) == 320
    assert after[80:] == sent[4].pcm[80:]


def test_a_packet_that_comes_within_the_hold_is_heard() -> None:
    sent = stream(10)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, [*on_time(sent[:4] + sent[5:]), (sent[5].at + 0.019, sent[4])]))
    assert heard == audio(sent)
    assert not arrivals.fates


@unhurried
@given(st.sets(st.integers(1, 98), max_size=40), st.integers(0, 2**30))
def test_whatever_is_lost_clicks_nowhere_and_no_time_is_lost(missing: set[int], seed: int) -> None:
    """Of gaps that are concealed: longer ones are the line's standing still, and silence stands in for them."""
    dice = random.Random(seed)
    sent = stream(100)
    kept = [each for number, each in enumerate(sent) if number not in missing]
    longest = max(len(run) for run in "".join("x" if n in missing else " " for n in range(100)).split(" "))
    arrivals = Arrivals(RATE)
    coming = [(each.at + (0.02 * dice.random() if each.at else 0.0), each) for each in kept]
    heard = b"".join(arriving(arrivals, coming))
    if longest <= MOST_CONCEALED / FRAME:
        assert len(heard) == len(audio(sent))
        assert not clicks(heard)
    assert len(heard) <= len(audio(sent)), "never more than there was"


def test_a_line_that_stood_still_is_not_made_up_for() -> None:
    """agentd.media.passed has given the session silence meanwhile."""
    sent = stream(60)
    arrivals = Arrivals(RATE)
    heard = arriving(arrivals, on_time(sent[:10] + sent[50:]))
    assert len(b"".join(heard)) == 20 * 320
    assert arrivals.fates == {Fate.LOST: 40}


def test_a_gap_is_given_up_before_silence_stands_in_for_it() -> None:
    """Else the session heard the break, then silence, and the concealment after it."""
    sent = stream(40)
    arrivals = Arrivals(RATE)
    arrivals.hold = LONGEST_HOLD
    for each in sent[:10]:
        arrivals.push(each.packet, each.pcm, each.at)
    first = sent[19]
    arrivals.push(first.packet, first.pcm, first.at)
    at = sent[9].at + PATIENCE - 0.04
    assert first.at + LONGEST_HOLD > at
    assert arrivals.due(at)


def test_no_more_waits_behind_a_gap_than_a_second() -> None:
    """After a stall of the host all of it comes at once, and the hold is no measure."""
    sent = stream(200)
    arrivals = Arrivals(RATE)
    arrivals.push(sent[0].packet, sent[0].pcm, 0.0)
    held = 0
    for each in sent[2:]:
        held = held + 1 if not arrivals.push(each.packet, each.pcm, 0.0) else 0
        assert held <= MOST_WAITING


# --- late


def test_a_packet_that_comes_after_its_place_is_dropped_and_the_hold_grows() -> None:
    sent = stream(10)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, [*on_time(sent[:4] + sent[5:]), (sent[4].at + 0.15, sent[4])]))
    assert len(heard) == len(audio(sent))
    assert arrivals.fates == {Fate.LOST: 1, Fate.LATE: 1}
    assert arrivals.hold == pytest.approx(FIRST_HOLD + HOLD_STEP)


def test_the_hold_has_a_bound_and_shrinks_again_where_what_is_missing_is_lost() -> None:
    sent = stream(400)
    arrivals = Arrivals(RATE)
    late = sent[10:100:8]
    coming = on_time(each for each in sent[:110] if each not in late) + [(each.at + 0.19, each) for each in late]
    arriving(arrivals, coming, until=sent[109].at)
    assert arrivals.hold == pytest.approx(LONGEST_HOLD)
    lost = sent[115:400:8]
    assert len(lost) >= PROVEN_LOSSES
    for each in sent[110:]:
        if each not in lost:
            arrivals.push(each.packet, each.pcm, each.at + 1.0)
            arrivals.due(each.at + 1.0)
    assert arrivals.hold < LONGEST_HOLD


# --- timestamps


def test_a_pause_of_the_sender_is_no_loss() -> None:
    """Silence suppression: the numbers go on, the timestamp jumps, the marker tells of a talkspurt."""
    first, second = stream(10), stream(10, sequence=17, timestamp=8000 * 3, at=3.0)
    second[0] = attrs.evolve(second[0], packet=attrs.evolve(second[0].packet, marker=True))
    arrivals = Arrivals(RATE)
    assert b"".join(arriving(arrivals, on_time([*first, *second]))) == audio([*first, *second])
    assert not arrivals.fates


def test_timestamps_that_hide_a_loss_are_not_believed() -> None:
    """Asterisk passes on the caller's gaps in the numbers, with timestamps of its own that have none."""
    sent = stream(20)
    without = stream(19)
    hidden = [attrs.evolve(each, packet=attrs.evolve(each.packet, timestamp=other.packet.timestamp))
              for each, other in zip([*sent[:9], *sent[10:]], without, strict=True)]  # fmt: skip
    arrivals = Arrivals(RATE)
    assert len(b"".join(arriving(arrivals, on_time(hidden)))) == len(audio(sent))


def test_a_jump_that_makes_up_for_hidden_losses_is_not_heard_twice() -> None:
    """Off by 640 samples, Asterisk sends a marker and the right time (res_rtp_asterisk.c, MAX_TIMESTAMP_SKEW)."""
    first, second = stream(10), stream(10, sequence=18, timestamp=17 * SAMPLES, at=0.22)
    second[0] = attrs.evolve(second[0], packet=attrs.evolve(second[0].packet, marker=True))
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time([*first, *second])))
    assert len(heard) == 21 * 320, "one packet is missing, not seven"


@pytest.mark.parametrize("jump", [10**6, 2**31, 2**32 - 5000])
def test_a_timestamp_that_makes_no_sense_makes_nothing_long(jump: int) -> None:
    first, second = stream(10), stream(10, sequence=18, timestamp=jump, at=0.22)
    arrivals = Arrivals(RATE)
    assert len(b"".join(arriving(arrivals, on_time([*first, *second])))) == 21 * 320


# --- another stream


def test_another_ssrc_goes_on_without_a_click() -> None:
    first, second = stream(11), stream(20, sequence=40000, timestamp=12345, ssrc=2, at=11 * FRAME)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time([*first, *second])))
    assert heard.startswith(audio(first))
    assert heard.endswith(audio(second)[80:])
    assert not clicks(heard)
    assert arrivals.fates == {Fate.RESTARTED: 1}


def test_a_single_packet_of_another_ssrc_is_no_stream() -> None:
    sent = stream(20)
    stray = stream(1, sequence=40000, ssrc=9, at=0.15)
    arrivals = Arrivals(RATE)
    assert b"".join(arriving(arrivals, [*on_time(sent), *on_time(stray)])) == audio(sent)


def test_a_sender_that_counts_anew_is_followed() -> None:
    first, second = stream(10, sequence=30000), stream(20, sequence=3, at=0.2)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time([*first, *second])))
    assert heard.endswith(audio(second)[80:])
    assert arrivals.fates == {Fate.RESTARTED: 1}


def test_what_waited_behind_a_gap_is_heard_before_the_next_stream() -> None:
    first, second = stream(10), stream(20, sequence=900, ssrc=5, at=0.2)
    arrivals = Arrivals(RATE)
    heard = b"".join(arriving(arrivals, on_time([*first[:8], first[9], *second])))
    assert heard[320 * 9 + 80 : 320 * 10] == first[9].pcm[80:]
    assert heard.endswith(audio(second)[80:])


def test_a_packet_of_another_kind_takes_its_number_and_is_no_loss() -> None:
    """Comfort noise (RFC 3389) and the like."""
    sent = stream(10)
    arrivals = Arrivals(RATE)
    handed = [arrivals.push(each.packet, b"" if number == 4 else each.pcm, each.at) for number, each in enumerate(sent)]
    assert handed[4] == []
    assert handed[5] == [sent[5].pcm]
    assert not arrivals.fates


# --- anything

anything = st.builds(
    Packet,
    st.just(0),
    st.integers(0, 0xFFFF) | st.integers(0, 60),
    st.integers(0, 2**32 - 1) | st.integers(0, 9600),
    st.sampled_from([1, 2]),
    st.sampled_from([b"", bytes(320), b"\x10\x20" * 160, bytes(2), bytes(1200)]),
    st.booleans(),
)


@unhurried
@given(st.lists(st.tuples(anything, st.floats(0.0, 0.1)), max_size=120))
def test_any_stream_is_bounded(coming: list[tuple[Packet, float]]) -> None:
    arrivals, now = Arrivals(RATE), 0.0
    taken = handed = 0
    for packet, later in coming:
        now += later
        taken += len(packet.payload)
        handed += sum(map(len, [*arrivals.push(packet, packet.payload, now), *arrivals.due(now)]))
        assert all(len(each) % 2 == 0 for each in arrivals.due(now))
    bridged = arrivals.fates[Fate.LOST] + arrivals.fates[Fate.RESTARTED]
    assert handed <= taken + bridged * round(MOST_CONCEALED * RATE) * 2
    assert FIRST_HOLD <= arrivals.hold <= LONGEST_HOLD
    assert len(arrivals._waiting) <= MOST_WAITING
