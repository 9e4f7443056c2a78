"""Streaming playback, frame by frame: the test is the line and the caller's ear. No time passes: a tick is a call.

All of it holds over a line that agentd clocks, and over one that clocks itself and is ahead of the caller's ear.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import attrs
import numpy as np
import numpy.typing as npt
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.agent import Audio, Chunk, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.audio.resample import convert
from agentd.errors import PlaybackError
from agentd.media.leg import LONGEST_LEAD
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.stream import AHEAD, ATTENUATED, StreamPlayback
from agentd.playout import PlayoutBuffer, UtteranceSource

RATE = 8000
FRAME = 160
SILENCE = bytes(2 * FRAME)


def tone(seconds: float, start: float = 0.0) -> bytes:
    """A tone whose frames differ from one another: its pitch rises."""
    time = start + np.arange(round(seconds * RATE)) / RATE
    return np.rint(9000 * np.cos(2 * np.pi * (203 + 20 * time) * time)).astype("<i2").tobytes()


def values(pcm: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(pcm, "<i2").astype(np.int64)


@attrs.define(eq=False)
class Queue:
    """A line that clocks itself: it takes sound as far ahead as it may, silence only when it is due."""

    frames: deque[bytes | None] = attrs.field(factory=deque)
    margin: int = 2
    """A frame is due when fewer are on their way."""
    taken_back: int = 0

    @property
    def ahead(self) -> int:
        return len(self.frames)

    def take_back(self) -> int:
        taken, self.frames = len(self.frames), deque()
        self.taken_back += taken
        return taken

    def fill(self, playback: StreamPlayback) -> None:
        while len(self.frames) < LONGEST_LEAD:
            due = len(self.frames) < self.margin
            frame = playback.next_frame(ahead=not due)
            if frame is None and not due:
                return
            self.frames.append(frame)


LINES: list[Callable[[], Queue | None]] = [lambda: None]
"""What lines are made of; the last one counts."""


@pytest.fixture(params=["clocked by agentd", "clocks itself"], autouse=True, scope="module")
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    LINES.append(Queue if request.param == "clocks itself" else lambda: None)
    yield request.param
    LINES.pop()


@attrs.define(eq=False)
class Line:
    """A playback, its playout, and the caller's ear."""

    playback: StreamPlayback = attrs.field(factory=lambda: StreamPlayback(RATE, Metrics()))
    queue: Queue | None = attrs.field(factory=lambda: LINES[-1]())
    """What is on its way to the ear, on a line that clocks itself."""
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    told: list[str] = attrs.field(factory=list)
    frames: list[bytes | None] = attrs.field(factory=list)
    heard: Heard | None = None
    ear: list[bytes | None] = attrs.field(factory=list)
    """What the playback told to have been heard."""

    def __attrs_post_init__(self) -> None:
        self.playback.on_heard = self.ear.append
        if self.queue is not None:
            self.playback.lead = lambda: self.queue

    async def put(self, *chunks: Chunk) -> None:
        for chunk in chunks:
            await self.playout.put(chunk)

    async def utter(self, *segments: str, seconds: float = 1.0, utterance: int = 1) -> bytes:
        """Put an utterance of these segments into the playout; gives its audio."""
        whole = tone(seconds * len(segments))
        each, generation = len(whole) // len(segments), self.playout.generation
        for number, text in enumerate(segments):
            await self.put(
                SegmentStart(generation, utterance, text),
                Audio(generation, utterance, whole[number * each : (number + 1) * each], RATE),
                SegmentEnd(generation, utterance),
            )
        await self.put(UtteranceEnd(generation, utterance))
        return whole

    async def play(self) -> None:
        await self.play_source(await self.playout.next_utterance())

    async def play_source(self, source: UtteranceSource) -> None:
        listener = PlaybackListener(lambda: self.told.append("started"), self.told.append)
        self.heard = None
        self.heard = await self.playback.play(source, listener)

    async def listen(self, frames: int = 1) -> list[bytes | None]:
        """Hear some frames, with time for everybody to do something after each."""
        for _ in range(frames):
            if self.queue is None:
                self.frames.append(self.playback.next_frame())
            else:
                self.queue.fill(self.playback)
                self.frames.append(self.queue.frames.popleft())
            self.playback.beat()
            assert self.ear[-1] == self.frames[-1]
            assert len(self.ear) >= len(self.frames), "what was given and taken back was not heard"
            await wait_all_tasks_blocked()
            if self.queue is not None:
                self.queue.fill(self.playback)
                await wait_all_tasks_blocked()
        return self.frames[-frames:]

    def sample(self, name: str, **labels: str) -> float:
        return self.playback.metrics.registry.get_sample_value(f"agentd_{name}", labels) or 0.0


def test_a_line_that_clocks_itself_is_ahead(kind: str) -> None:
    line = Line()
    assert (line.queue is not None) is (kind == "clocks itself")


@asynccontextmanager
async def playing(line: Line) -> AsyncIterator[trio.Nursery]:
    """The next utterance is played beside the block. Nothing may go on after it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.play)
        await wait_all_tasks_blocked()
        yield nursery
        with trio.fail_after(5):
            await wait_all_tasks_blocked()
            assert line.heard is not None, "the utterance is over"
    assert line.playback._speaking is None


async def test_an_utterance_is_heard_as_it_was_spoken() -> None:
    line = Line()
    spoken = await line.utter("Hello there.", "How are you?")
    async with playing(line):
        assert not line.told, "nothing is heard before the line asks for it"
        await line.listen(100)
        assert line.heard == Heard(2000, True, "Hello there. How are you?", "Hello there. How are you?")
        assert await line.listen() == [None]
    assert b"".join(frame or SILENCE for frame in line.frames[:100]) == spoken


async def test_the_listener_is_told_with_the_first_frame_of_each_segment() -> None:
    line = Line()
    await line.utter("One.", "Two.", seconds=0.04)
    async with playing(line):
        for told in (["started", "One."], ["started", "One."], ["started", "One.", "Two."]):
            await line.listen()
            assert line.told == told
        await line.listen()


async def test_silence_is_not_heard_and_sound_is_when_the_caller_s_ear_has_it(autojump_clock: MockClock) -> None:
    line = Line()
    await line.utter("Hello.", seconds=0.1)
    assert line.playback.heard_at == -math.inf
    async with playing(line):
        await trio.sleep(1.0)
        await line.listen(5)
        assert line.playback.heard_at == 1.0
        await trio.sleep(1.0)
        await line.listen(5)
    assert line.playback.heard_at == 1.0


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000])
async def test_audio_of_any_rate_comes_at_the_line_s(rate: int) -> None:
    line = Line()
    spoken = convert(tone(0.5), RATE, rate)
    await line.put(SegmentStart(0, 1, "Hi."))
    for at in range(0, len(spoken), 700):
        await line.put(Audio(0, 1, spoken[at : at + 700], rate))
    await line.put(UtteranceEnd(0, 1))
    async with playing(line):
        await line.listen(25)
    assert line.heard is not None
    assert line.heard.milliseconds == 500
    assert b"".join(frame or b"" for frame in line.frames) == convert(spoken, rate, RATE)


async def test_a_rate_that_nobody_knows_is_a_playback_error() -> None:
    line = Line()
    await line.put(Audio(0, 1, tone(0.1), 8001))
    with pytest.raises(PlaybackError, match="8001"):
        await line.play()
    assert line.playback.next_frame() is None


async def test_the_session_feels_how_far_ahead_it_is() -> None:
    line = Line(playout=PlayoutBuffer(seconds=1.0, overran=lambda: line.playback.metrics.playout_overruns.inc()))

    async def speak() -> None:
        for number in range(50):
            await line.put(Audio(0, 1, tone(0.1, number / 10), RATE))
        await line.put(UtteranceEnd(0, 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        async with playing(line):
            assert line.playback._speaking is not None
            assert line.playback._speaking.jitter.buffered == pytest.approx(AHEAD)
            assert line.playout.buffered == pytest.approx(1.0, abs=0.11)
            assert line.sample("playout_overruns_total") == 1
            await line.listen(250)
    assert line.heard is not None
    assert line.heard.milliseconds == 5000
    assert line.sample("playout_overruns_total") == 1


async def test_what_was_heard_so_far_is_known_and_changes_nothing() -> None:
    line = Line()
    assert line.playback.so_far is None
    await line.utter("One two three four.", seconds=1.0)
    async with playing(line):
        assert line.playback.so_far is None, "nothing has begun to be heard"
        await line.listen(27)
        so_far = line.playback.so_far
        assert so_far is not None
        assert 400 <= so_far.milliseconds <= 760, "a line may be 200 ms ahead of the ear"
        assert so_far.text in ("One two", "One two three")
        assert (so_far.completed, so_far.generated) == (False, "One two three four.")
        await line.listen(60)
    assert line.heard == Heard(1000, True, "One two three four.", "One two three four.")
    assert line.playback.so_far is None


async def test_while_the_line_is_lost_playing_waits() -> None:
    line = Line()
    await line.utter("One.", seconds=0.1)
    async with playing(line):
        await line.listen(2)
        await wait_all_tasks_blocked()
        assert line.heard is None
        await line.listen(3)
    assert line.heard is not None
    assert line.heard.completed


async def test_underruns_and_the_depth_are_counted() -> None:
    line = Line()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.play)
        await line.put(SegmentStart(0, 1, "One"), Audio(0, 1, tone(0.1), RATE))
        await wait_all_tasks_blocked()
        await line.listen(10)
        await line.put(Audio(0, 1, tone(0.1), RATE), SegmentEnd(0, 1))
        await wait_all_tasks_blocked()
        await line.listen(10)
        await line.put(SegmentStart(0, 1, "Two"), Audio(0, 1, tone(0.1), RATE), UtteranceEnd(0, 1))
        await wait_all_tasks_blocked()
        await line.listen(10)
    assert line.sample("playout_underruns_total", place="within") == 1
    assert line.sample("playout_underruns_total", place="between") == 1
    assert line.sample("jitter_buffer_depth_seconds_count") == 4, "of 16 frames"


# --- stopping


async def stop(line: Line) -> None:
    await line.playback.stop()


async def interrupt(line: Line) -> None:
    line.playout.interrupt()


ways = pytest.mark.parametrize("way", [stop, interrupt])
Way = Callable[[Line], Awaitable[None]]


@ways
@pytest.mark.parametrize("frames", [0, 1, 2, 37, 49, 50, 51, 99])
async def test_heard_is_exact_to_one_frame_wherever_it_ends(frames: int, way: Way) -> None:
    line = Line()
    spoken = await line.utter("one two three four five", "six seven eight nine ten")
    async with playing(line):
        await line.listen(frames)
        await way(line)
        await wait_all_tasks_blocked()
        assert line.heard is not None
        faded, *after = await line.listen(3)
    assert line.heard.milliseconds == 20 * frames
    assert not line.heard.completed
    assert abs(len(line.heard.text.split()) - frames / 10) <= 1
    assert b"".join(frame or b"" for frame in line.frames[:frames]) == spoken[: 2 * FRAME * frames]
    assert after == [None, None], "silent within two frames"
    if frames:
        assert faded is not None
        assert values(faded)[-1] == 0, "and without a click"
        assert abs(values(faded)[0] - values(spoken)[FRAME * frames]) < 100
    else:
        assert faded is None


async def test_an_interruption_is_heard_even_while_more_is_waited_for() -> None:
    line = Line()
    await line.put(SegmentStart(0, 1, "Well,"), Audio(0, 1, tone(0.5), RATE))
    async with playing(line):
        await line.listen(5)
        line.playout.interrupt()
        assert line.playback.next_frame() is not None
        assert line.playback.next_frame() is None, "no task had to run for that"
    assert line.heard is not None
    assert line.heard.milliseconds == 100


@ways
async def test_it_is_over_even_when_the_line_is_lost_and_the_buffer_full(way: Way) -> None:
    line = Line()
    await line.utter("One.", seconds=5.0)
    async with playing(line):
        await way(line)


@ways
async def test_what_comes_after_a_stop_is_at_full_level(way: Way) -> None:
    line = Line()
    await line.utter("One.")
    async with playing(line):
        await line.listen(5)
        await line.playback.attenuate()
        await line.listen(2)
        await line.playback.pause()
        await line.listen(2)
        await way(line)
        assert await line.listen() == [None], "nothing is left to fade out"
    line.playout.interrupt()
    spoken = await line.utter("Two.", seconds=0.2, utterance=2)
    async with playing(line):
        assert b"".join(frame or b"" for frame in await line.listen(10)) == spoken


async def test_cancelling_drops_the_rest() -> None:
    line = Line()
    await line.utter("One.")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.play)
        await wait_all_tasks_blocked()
        await line.listen(5)
        nursery.cancel_scope.cancel()
    assert (await line.listen(2))[1] is None


# --- quieter, silent, and back


async def test_attenuation_ramps_over_one_frame_and_back() -> None:
    line = Line()
    spoken = await line.utter("One.")
    async with playing(line):
        await line.listen(10)
        await line.playback.attenuate()
        await line.listen(10)
        await line.playback.restore()
        await line.listen(30)
    whole, heard = values(spoken), values(b"".join(frame or SILENCE for frame in line.frames))
    gain = np.concatenate(
        [
            np.ones(10 * FRAME),
            1 + (ATTENUATED - 1) * np.arange(1, FRAME + 1) / FRAME,
            np.full(9 * FRAME, ATTENUATED),
            ATTENUATED + (1 - ATTENUATED) * np.arange(1, FRAME + 1) / FRAME,
            np.ones(29 * FRAME),
        ]
    )
    np.testing.assert_allclose(heard, whole * gain, atol=0.51)
    assert 20 * np.log10(ATTENUATED) == pytest.approx(-12)


@pytest.mark.parametrize("paused_at", [1, 2, 17, 48, 49])
@pytest.mark.parametrize("pause", [1, 2, 25])
async def test_no_word_is_lost_over_a_pause(paused_at: int, pause: int) -> None:
    line = Line()
    spoken = await line.utter("One.")
    async with playing(line):
        before = await line.listen(paused_at)
        await line.playback.pause()
        faded, *silence = await line.listen(pause)
        await line.playback.restore()
        again, *after = await line.listen(51 - paused_at)
    assert b"".join(frame or b"" for frame in [*before, *after]) == spoken, "all of it was heard at full level"
    assert silence == [None] * (pause - 1)
    assert faded is not None
    assert values(faded)[-1] == 0
    assert again is not None, "the frame before it leads in again"
    lead_in = values(before[-1] or b"") * np.arange(1, FRAME + 1) / FRAME
    np.testing.assert_allclose(values(again), lead_in, atol=0.51)
    assert line.heard == Heard(1000, True, "One.", "One."), "what is heard twice counts once"


async def test_a_pause_that_nothing_of_was_heard_changes_nothing() -> None:
    line = Line()
    spoken = await line.utter("One.", seconds=0.2)
    async with playing(line):
        await line.listen(5)
        await line.playback.pause()
        await line.playback.restore()
        await line.listen(5)
    assert b"".join(frame or b"" for frame in line.frames) == spoken


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["listen", "listen", "attenuate", "pause", "restore"]), max_size=40))
def test_whatever_the_caller_does_every_sample_is_popped_once_and_nothing_clicks(script: list[str]) -> None:
    line = Line()

    async def follow() -> None:
        spoken = await line.utter("One.", "Two.", seconds=0.4)
        async with playing(line):
            for action in script:
                await (line.listen() if action == "listen" else getattr(line.playback, action)())
            await line.playback.restore()
            while line.heard is None:
                await line.listen()
        heard = values(b"".join(frame or SILENCE for frame in line.frames))
        steepest = np.max(np.abs(np.diff(values(spoken))))
        assert np.max(np.abs(np.diff(heard[np.flatnonzero(heard)[0] :]))) <= steepest + 9000 / FRAME + 1

    trio.run(follow)
    assert line.heard == Heard(800, True, "One. Two.", "One. Two.")


async def test_what_begins_during_a_pause_waits_for_its_end() -> None:
    line = Line()
    spoken = await line.utter("One.", seconds=0.1)
    await line.playback.pause()
    async with playing(line):
        assert await line.listen(5) == [None] * 5
        assert not line.told
        await line.playback.restore()
        assert b"".join(frame or b"" for frame in await line.listen(5)) == spoken


# --- announcements


async def test_an_announcement_is_played_over_an_utterance_which_then_goes_on() -> None:
    line = Line()
    spoken = await line.utter("One.", seconds=0.2)
    announced = tone(0.05, 3.0)
    async with playing(line) as nursery:
        await line.listen(4)
        nursery.start_soon(line.playback.announce, Announcement(audio=(Audio(0, 0, announced, RATE),)))
        await wait_all_tasks_blocked()
        _faded, *announcement = await line.listen(4)
        _again, *after = await line.listen(7)
    assert b"".join(frame or b"" for frame in announcement) == announced + bytes(FRAME)
    assert b"".join(frame or b"" for frame in [*line.frames[:4], *after]) == spoken


async def test_announcements_come_one_after_the_other() -> None:
    line = Line()
    one, two = tone(0.04), tone(0.06, 2.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.playback.announce, Announcement(audio=(Audio(0, 0, one, RATE),)))
        await wait_all_tasks_blocked()
        nursery.start_soon(line.playback.announce, Announcement(audio=(Audio(0, 0, two, RATE),)))
        await wait_all_tasks_blocked()
        await line.listen(6)
    assert b"".join(frame or b"" for frame in line.frames) == one + two


async def test_a_stop_ends_an_announcement() -> None:
    line = Line()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.playback.announce, Announcement(audio=(Audio(0, 0, tone(5.0), RATE),)))
            await wait_all_tasks_blocked()
            await line.listen(3)
            await line.playback.stop()
    faded, silence = await line.listen(2)
    assert faded is not None
    assert values(faded)[-1] == 0
    assert silence is None


async def test_a_sound_of_asterisk_s_own_is_left_to_ari() -> None:
    with pytest.raises(PlaybackError, match="sound:vm-goodbye"):
        await Line().playback.announce(Announcement(sound="sound:vm-goodbye"))


# --- changing over to another playback


@pytest.mark.parametrize("frames", [0, 1, 17, 50, 51, 74, 99])
async def test_a_hand_over_loses_and_repeats_nothing(frames: int) -> None:
    line, other = Line(), Line()
    spoken = await line.utter("one two three four five", "six seven eight nine ten")
    async with playing(line):
        await line.listen(frames)
        rest = line.playback.hand_over()
        assert rest is not None
        assert await line.listen() == [None], "the other one has the word"
    assert line.heard is not None
    other.playout = line.playout
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.play_source, rest)
        await wait_all_tasks_blocked()
        await other.listen(100 - frames)
    assert other.heard is not None
    assert b"".join(frame or b"" for frame in [*line.frames[:frames], *other.frames]) == spoken
    assert line.heard.milliseconds + other.heard.milliseconds == 2000
    assert f"{line.heard.text} {other.heard.text}".strip() == "one two three four five six seven eight nine ten"
    assert (rest.utterance, other.heard.completed) == (1, True)


async def test_what_comes_after_a_hand_over_goes_to_the_other_playback() -> None:
    line = Line()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.play)
            await line.put(SegmentStart(0, 1, "one two"), Audio(0, 1, tone(0.2), RATE))
            await wait_all_tasks_blocked()
            await line.listen(5)
            rest = line.playback.hand_over()
            assert rest is not None
            more = [Audio(0, 1, tone(0.1, number), RATE) for number in range(30)]
            await line.put(*more, SegmentEnd(0, 1), UtteranceEnd(0, 1))
            chunks: list[Chunk] = []
            while (chunk := await rest.next()) is not None:
                chunks.append(chunk)
    assert line.heard is not None
    assert [chunk for chunk in chunks if isinstance(chunk, SegmentStart)] == [
        SegmentStart(0, 1, "one two".removeprefix(line.heard.text).strip())
    ]
    pcm = b"".join(chunk.pcm for chunk in chunks if isinstance(chunk, Audio))
    assert pcm == tone(0.2)[5 * 2 * FRAME :] + b"".join(audio.pcm for audio in more)
    assert chunks[-1] == SegmentEnd(0, 1)


async def test_the_remainder_of_an_interrupted_utterance_is_void() -> None:
    line = Line()
    await line.utter("One.")
    async with playing(line):
        await line.listen(5)
        rest = line.playback.hand_over()
    assert rest is not None
    line.playout.interrupt()
    assert rest.interrupted
    assert await rest.next() is None
    await rest.until_interrupted()


async def test_without_an_utterance_there_is_nothing_to_hand_over() -> None:
    assert Line().playback.hand_over() is None
