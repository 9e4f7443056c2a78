"""A vendor's bursts and gaps on one side, a frame every 20 ms on the other."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.media.leg import LONGEST_LEAD
from agentd.playback.jitter import (
    CLEAN_UTTERANCES,
    DEEPEST_MS,
    FIRST_DEPTH_MS,
    Frame,
    JitterBuffer,
    Segment,
    StartDepth,
)

RATE = 8000
FRAME = 160
FADE_IN = 40
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def tone(samples: int, start: int = 0, rate: int = RATE) -> bytes:
    """Audio in which every sample can be told from its neighbours, and that is loud wherever it is cut."""
    time = np.arange(start, start + samples) / rate
    return np.rint(8000 * np.sin(2 * np.pi * 210 * time) + 6000).astype("<i2").tobytes()


def ms(count: float) -> bytes:
    return tone(round(count * RATE / 1000))


def values(pcm: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(pcm, "<i2").astype(np.int64)


def own(frames: Iterable[Frame | None]) -> bytes:
    """The utterance's own samples of what was popped."""
    return b"".join(frame.pcm[: 2 * frame.samples] for frame in frames if frame)


def sound(frames: Iterable[Frame | None]) -> bytes:
    """What the caller hears."""
    return b"".join(frame.pcm if frame else bytes(2 * FRAME) for frame in frames)


def pop(jitter: JitterBuffer, count: int) -> list[Frame | None]:
    return [jitter.pop() for _ in range(count)]


def drain(jitter: JitterBuffer) -> list[Frame | None]:
    frames = []
    while not jitter.finished:
        frames.append(jitter.pop())
    return frames


# --- the start


def test_an_incomplete_segment_waits_for_the_start_depth() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("Hello")
    jitter.push(ms(FIRST_DEPTH_MS - 1))
    assert jitter.pop() is None
    jitter.push(ms(1))
    assert jitter.pop() is not None


@pytest.mark.parametrize("mark", [JitterBuffer.end_segment, JitterBuffer.end])
def test_a_complete_segment_starts_at_once_however_short(mark: object) -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("Hi")
    jitter.push(ms(5))
    assert jitter.pop() is None
    mark(jitter)  # type: ignore[operator]
    frame = jitter.pop()
    assert frame == Frame(ms(5) + bytes(2 * (FRAME - 40)), 40, ("Hi",))


def test_nothing_is_silence_and_no_underrun() -> None:
    jitter = JitterBuffer(RATE)
    assert pop(jitter, 10) == [None] * 10
    jitter.end()
    assert jitter.finished
    assert jitter.underruns_within == jitter.underruns_between == 0


def test_the_line_s_rate_is_that_of_the_frames() -> None:
    jitter = JitterBuffer(16000)
    jitter.push(tone(640, rate=16000))
    jitter.end()
    assert [frame.samples for frame in drain(jitter) if frame] == [320, 320]


# --- everything, in order, to the sample

pieces = st.lists(st.integers(1, 900), min_size=1, max_size=12)
utterances = st.lists(pieces, min_size=1, max_size=4)


@unhurried
@given(utterances, st.booleans())
def test_what_comes_whole_goes_out_whole_without_a_gap(segments: list[list[int]], marked: bool) -> None:
    jitter, pushed = JitterBuffer(RATE), b""
    for number, lengths in enumerate(segments):
        jitter.start_segment(str(number))
        for length in lengths:
            piece = tone(length, len(pushed) // 2)
            jitter.push(piece)
            pushed += piece
        if marked:
            jitter.end_segment()
    jitter.end()
    frames = drain(jitter)
    assert sound(frames).removesuffix(bytes(-len(pushed) % (2 * FRAME))) == pushed
    assert [text for frame in frames if frame for text in frame.begun] == [str(n) for n in range(len(segments))]
    assert [segment.popped for segment in jitter.segments] == [sum(lengths) for lengths in segments]
    assert jitter.underruns_within == jitter.underruns_between == 0


@unhurried
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 400))
def test_audio_that_comes_in_time_goes_out_unchanged(jitter_ticks: list[int], length: int) -> None:
    """Each entry is how many pieces come before a tick; pieces that would be missing come in time."""
    jitter, pushed, frames = JitterBuffer(RATE), b"", list[Frame | None]()
    for count in jitter_ticks:
        while count > 0 or (jitter.last and jitter.buffered < 0.02):
            piece = tone(length, len(pushed) // 2)
            jitter.push(piece)
            pushed, count = pushed + piece, count - 1
        frames.append(jitter.pop())
    jitter.end()
    frames += drain(jitter)
    assert own(frames) == pushed
    assert jitter.underruns_within == 0


script = st.lists(
    st.one_of(st.just("pop"), st.just("pop"), st.just("start"), st.just("end"), st.integers(1, 700)), max_size=80
)


@unhurried
@given(script)
def test_nothing_is_lost_or_repeated_whatever_comes_when(actions: list[str | int]) -> None:
    jitter, pushed, frames = JitterBuffer(RATE), b"", list[Frame | None]()
    for action in actions:
        match action:
            case "pop":
                ahead = jitter.peek()
                frames.append(frame := jitter.pop())
                assert ahead is None or (frame is not None and frame.pcm == ahead), "a peek is what comes next"
            case "start":
                jitter.start_segment("words")
            case "end":
                jitter.end_segment()
            case int(length):
                piece = tone(length, len(pushed) // 2)
                jitter.push(piece)
                pushed += piece
        assert sum(segment.popped for segment in jitter.segments) == len(own(frames)) // 2
        assert b"".join(pcm for _, pcm in jitter.remaining()) == pushed[len(own(frames)) :]
    jitter.end()
    frames += drain(jitter)
    popped, whole = values(own(frames)), values(pushed)
    assert popped.size == whole.size
    changed = np.flatnonzero(popped != whole)
    assert np.all(np.abs(popped[changed]) <= np.abs(whole[changed])), "only what is faded in differs"
    assert changed.size <= jitter.underruns_within * FADE_IN


def test_a_partial_frame_waits_for_more_audio_within_a_segment() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(50))
    assert [frame.samples for frame in pop(jitter, 2) if frame] == [FRAME, FRAME]
    jitter.push(tone(FRAME, 400))
    frame = jitter.pop()
    assert frame is not None
    assert frame.pcm == tone(FRAME, 320)


def test_segments_join_without_a_gap() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("One")
    jitter.push(ms(50))
    jitter.start_segment("two")
    jitter.push(tone(800, 400))
    frames = pop(jitter, 3)
    assert sound(frames) == ms(60)
    assert [frame.begun for frame in frames if frame] == [("One",), (), ("two",)]
    assert [segment.popped for segment in jitter.segments] == [400, 80]


def test_the_end_of_a_segment_does_not_wait_for_the_next() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(50))
    jitter.end_segment()
    frames = pop(jitter, 4)
    assert own(frames) == ms(50)
    assert frames[3] is None


def test_a_segment_without_audio_is_spoken_with_the_next() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("Well,")
    jitter.start_segment("yes.")
    jitter.push(ms(100))
    jitter.end()
    assert [frame.begun for frame in drain(jitter) if frame if frame.begun] == [("Well, yes.",)]


# --- audio that runs out


def test_audio_that_runs_out_within_a_segment_fades_out_backwards_and_back_in() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(40))
    frames = pop(jitter, 2)
    concealment, silence = pop(jitter, 2)
    assert concealment is not None
    assert concealment.samples == 0
    assert silence is None
    backwards = values(ms(40)[2 * FRAME :])[::-1]
    np.testing.assert_allclose(values(concealment.pcm), backwards * (1 - np.arange(1, FRAME + 1) / FRAME), atol=0.51)
    assert jitter.underruns_within == 0, "whether more comes is not known yet"

    jitter.push(tone(640, 320))
    resumed = jitter.pop()
    assert resumed is not None
    expected = values(tone(FRAME, 320)) * np.minimum(1.0, np.arange(1, FRAME + 1) / FADE_IN)
    np.testing.assert_allclose(values(resumed.pcm), expected, atol=0.51)
    assert jitter.underruns_within == 1
    assert own(frames) == ms(40)


@unhurried
@given(st.lists(st.tuples(st.integers(40, 400), st.integers(1, 20)), min_size=2, max_size=8))
def test_an_underrun_never_clicks(bursts: list[tuple[int, int]]) -> None:
    """No step is larger than the input's own, but for what a fade takes or gives a sample."""
    jitter, pushed, frames = JitterBuffer(RATE), 0, list[Frame | None]()
    for length, ticks in bursts:
        samples = length * RATE // 1000
        jitter.push(tone(samples, pushed))
        pushed += samples
        frames += pop(jitter, length // 20 + ticks)
    heard = values(sound(frames))
    first = int(np.flatnonzero(heard)[0]) if heard.any() else 0
    input_step, loudest = np.max(np.abs(np.diff(values(tone(4000))))), 14000
    assert np.max(np.abs(np.diff(heard[first:]))) <= input_step + loudest / FADE_IN + 1


def test_silence_between_segments_is_plain_and_counted_apart() -> None:
    depth = StartDepth()
    jitter = JitterBuffer(RATE, depth)
    jitter.start_segment("One.")
    jitter.push(ms(40))
    jitter.end_segment()
    assert pop(jitter, 5)[2:] == [None] * 3
    jitter.start_segment("Two.")
    jitter.push(ms(40))
    jitter.end()
    assert own(drain(jitter)) == ms(40), "nothing is faded"
    assert (jitter.underruns_within, jitter.underruns_between) == (0, 1)
    assert depth.milliseconds == FIRST_DEPTH_MS


def test_an_end_that_is_told_late_is_no_underrun() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(40))
    pop(jitter, 6)
    jitter.end()
    assert jitter.finished
    assert (jitter.underruns_within, jitter.underruns_between) == (0, 0)


# --- the depth


def underrun(jitter: JitterBuffer) -> None:
    jitter.push(ms(DEEPEST_MS))
    while jitter.last or jitter.buffered:
        jitter.pop()


def test_every_underrun_makes_the_start_deeper_up_to_a_bound() -> None:
    depth = StartDepth()
    jitter = JitterBuffer(RATE, depth)
    seen = []
    for _ in range(8):
        underrun(jitter)
        seen.append(depth.milliseconds)
    assert seen == [40, 80, 120, 160, 200, 240, 240, 240]


def test_after_an_underrun_the_deeper_start_holds_at_once() -> None:
    jitter = JitterBuffer(RATE)
    underrun(jitter)
    jitter.push(ms(60))
    assert jitter.pop() is None
    jitter.push(ms(20))
    assert jitter.pop() is not None


def test_the_depth_outlives_the_utterance_and_shrinks_after_clean_ones() -> None:
    depth = StartDepth(120)
    seen = []
    for _ in range(3 * CLEAN_UTTERANCES):
        jitter = JitterBuffer(RATE, depth)
        jitter.push(ms(100))
        jitter.end()
        drain(jitter)
        seen.append(depth.milliseconds)
    assert seen == [120, 120, 80, 80, 80, 40, 40, 40, 40]


def test_it_reports_how_much_waits() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(100))
    jitter.pop()
    assert jitter.buffered == pytest.approx(0.08)


# --- what a line that is ahead of the caller's ear gives back

script_with_takings = st.lists(
    st.one_of(
        st.just("pop"),
        st.just("pop"),
        st.just("start"),
        st.just("end"),
        st.integers(1, 700),
        st.integers(1, LONGEST_LEAD).map(lambda count: ("give back", count)),
    ),
    max_size=120,
)


@unhurried
@given(script_with_takings)
def test_whatever_is_given_back_every_sample_is_heard_once_and_in_order(actions: list[object]) -> None:
    jitter, pushed, frames = JitterBuffer(RATE), b"", list[Frame | None]()
    ahead = 0
    for action in actions:
        match action:
            case "pop":
                frames.append(jitter.pop())
                ahead = min(ahead + 1, LONGEST_LEAD)
            case "start":
                jitter.start_segment("words")
            case "end":
                jitter.end_segment()
            case int(length):
                piece = tone(length, len(pushed) // 2)
                jitter.push(piece)
                pushed += piece
            case (_, int(wanted)):
                count = min(wanted, ahead)
                jitter.give_back(count)
                frames, ahead = frames[: len(frames) - count], ahead - count
        assert sum(segment.popped for segment in jitter.segments) == len(own(frames)) // 2
        assert b"".join(pcm for _, pcm in jitter.remaining()) == pushed[len(own(frames)) :]
        ahead_of_it = jitter.peek()
        assert ahead_of_it is None or jitter.last is not None
    jitter.end()
    frames += drain(jitter)
    heard, whole = values(own(frames)), values(pushed)
    assert heard.size == whole.size
    changed = np.flatnonzero(heard != whole)
    assert np.all(np.abs(heard[changed]) <= np.abs(whole[changed])), "only what is faded in differs"
    assert changed.size <= jitter.underruns_within * FADE_IN
    begun = [text for frame in frames if frame for text in frame.begun]
    assert len(begun) == sum(1 for segment in jitter.segments if segment.received), "each segment begins once"


def state(jitter: JitterBuffer) -> tuple[object, ...]:
    return (
        jitter.remaining()[-1][1] if jitter.remaining() else b"",
        jitter.last,
        jitter.buffered,
        jitter.finished,
        [segment.popped for segment in jitter.segments],
        (jitter.underruns_within, jitter.underruns_between),
        (jitter.depth.milliseconds, jitter.depth.clean),
    )


@unhurried
@given(script, st.booleans(), st.integers(1, LONGEST_LEAD))
def test_to_give_back_is_as_if_nothing_had_been_popped(actions: list[str | int], ended: bool, count: int) -> None:
    jitter, pushed = JitterBuffer(RATE), 0
    for action in actions:
        match action:
            case "pop":
                jitter.pop()
            case "start":
                jitter.start_segment("words")
            case "end":
                jitter.end_segment()
            case int(length):
                jitter.push(tone(length, pushed))
                pushed += length
    if ended:
        jitter.end()
    before = state(jitter)
    first = pop(jitter, count)
    after = state(jitter)
    jitter.give_back(count)
    assert state(jitter) == before
    assert pop(jitter, count) == first
    assert state(jitter) == after


def test_audio_that_comes_while_its_hole_is_still_ahead_closes_the_hole() -> None:
    jitter = JitterBuffer(RATE)
    jitter.push(ms(40))
    frames = pop(jitter, 2)
    assert [frame.samples for frame in pop(jitter, 1) if frame] == [0], "it is concealed"
    jitter.push(tone(640, 320))
    jitter.give_back(1)
    frames += pop(jitter, 4)
    assert sound(frames) == tone(960)
    assert jitter.underruns_within == 0
    assert jitter.depth.milliseconds == FIRST_DEPTH_MS, "nobody heard that anything was late"


def test_a_hole_that_was_the_end_s_late_news_is_none_after_something_was_given_back_either() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("One.")
    jitter.push(ms(40))
    pop(jitter, 5)
    jitter.end_segment()
    jitter.give_back(1)
    jitter.start_segment("Two.")
    jitter.push(ms(40))
    jitter.end()
    assert own(drain(jitter)) == ms(40), "nothing is faded in"
    assert (jitter.underruns_within, jitter.underruns_between) == (0, 1)


@pytest.mark.parametrize("pops", [5, 8])
@pytest.mark.parametrize("told_late", [False, True])
def test_an_utterance_that_was_clean_counts_once_whatever_was_given_back(pops: int, told_late: bool) -> None:
    depth = StartDepth(120)
    jitter = JitterBuffer(RATE, depth)
    jitter.push(ms(100))
    jitter.end_segment()
    if not told_late:
        jitter.end()
    pop(jitter, pops)
    if told_late:
        jitter.end()
    assert depth.clean == 1
    jitter.give_back(4)
    pop(jitter, 4)
    assert (jitter.finished, depth.clean) == (True, 1)


def test_it_tells_whether_the_next_frame_has_sound() -> None:
    jitter = JitterBuffer(RATE)
    assert not jitter.sounds
    jitter.push(ms(30))
    assert not jitter.sounds, "the start depth is not there"
    jitter.push(ms(20))
    for sounds in (True, True, False):
        assert jitter.sounds is sounds
        frame = jitter.pop()
        assert (frame is not None and frame.samples > 0) is sounds


def test_a_word_was_lost_where_another_playback_went_on_because_the_end_of_its_audio_became_known_meanwhile() -> None:
    """By the estimate "three" was still to come, by the true length it had been heard: nobody said it."""
    segment = Segment("one two three four five", received=RATE, popped=RATE // 2)
    assert segment.settle(RATE) == 2
    segment.complete = True
    assert segment.words_heard(RATE) == 2


def test_an_amount_is_heard_when_most_of_its_words_were() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("It costs $49.95 now.", ("It", "costs", "forty-nine dollars and ninety-five cents", "now."))
    (segment,) = jitter.segments
    segment.received, segment.complete, segment.popped = RATE, True, RATE * 4 // 10
    assert segment.words_heard(RATE) == 2


def test_segments_without_audio_of_their_own_keep_what_is_said_for_their_words() -> None:
    jitter = JitterBuffer(RATE)
    jitter.start_segment("Only")
    jitter.start_segment("$5", ("five dollars",))
    (segment,) = jitter.segments
    assert segment.words.said == ("Only", "five dollars")
