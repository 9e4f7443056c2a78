"""Streaming over a line that clocks itself: what is ahead of the caller's ear, and what is taken back.

(That all of `test_stream` holds on such a line as well is shown there.)
"""

from collections import deque

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.agent import Audio, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.media.leg import LONGEST_LEAD
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.stream import StreamPlayback
from agentd.playout import PlayoutBuffer
from tests.shell.fakes import RATE, voice

FRAME = 320
MARGIN = 2


def frames_of(pcm: bytes) -> list[bytes | None]:
    return [pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)]


@attrs.define(eq=False)
class Line:
    """A line whose peer has a queue, and the ear behind it. `stopped`: the peer takes no more (XOFF)."""

    playback: StreamPlayback = attrs.field(factory=lambda: StreamPlayback(RATE, Metrics()))
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    queue: deque[bytes | None] = attrs.field(factory=deque)
    stopped: bool = False
    flushes: int = 0
    ear: list[bytes | None] = attrs.field(factory=list)
    told: list[tuple[int, str]] = attrs.field(factory=list)
    """What the listener was told, and after how many frames in the ear."""
    spoken: list[bytes | None] = attrs.field(factory=list)
    heard: Heard | None = None

    def __attrs_post_init__(self) -> None:
        self.playback.lead = lambda: self
        self.playback.on_heard = self.spoken.append

    @property
    def ahead(self) -> int:
        return len(self.queue)

    def take_back(self) -> int:
        count = len(self.queue)
        self.flushes += count > 0
        self.queue.clear()
        return count

    async def fill(self) -> None:
        """Take what there is, until no task has anything more to do."""
        await wait_all_tasks_blocked()
        while len(self.queue) < LONGEST_LEAD and not self.stopped:
            due = len(self.queue) < MARGIN
            frame = self.playback.next_frame(ahead=not due)
            if frame is None and not due:
                break
            self.queue.append(frame)
            await wait_all_tasks_blocked()

    async def tick(self, count: int = 1) -> list[bytes | None]:
        """So many frames of time pass; gives what was heard meanwhile."""
        for _ in range(count):
            await self.fill()
            self.ear.append(self.queue.popleft() if self.queue else None)
            self.playback.beat()
            await self.fill()
        return self.ear[-count:]

    async def play(self, seconds: float, *texts: str, utterance: int = 1) -> bytes:
        """Put an utterance into the playout; gives its voice."""
        spoken = voice(seconds, seed=utterance)
        each, generation = len(spoken) // len(texts), self.playout.generation
        for number, text in enumerate(texts):
            await self.playout.put(SegmentStart(generation, utterance, text))
            await self.playout.put(Audio(generation, utterance, spoken[number * each : (number + 1) * each], RATE))
            await self.playout.put(SegmentEnd(generation, utterance))
        await self.playout.put(UtteranceEnd(generation, utterance))
        return spoken

    async def keep_playing(self) -> None:
        while True:
            listener = PlaybackListener(
                lambda: self.told.append((len(self.ear), "started")),
                lambda text: self.told.append((len(self.ear), text)),
            )
            self.heard = await self.playback.play(await self.playout.next_utterance(), listener)


@pytest.fixture
def line(nursery: trio.Nursery) -> Line:
    line = Line()
    nursery.start_soon(line.keep_playing)
    return line


async def test_sound_is_taken_ahead_and_silence_only_when_it_is_due(line: Line) -> None:
    await line.tick(5)
    assert len(line.queue) == MARGIN
    await line.play(1.0, "One.")
    await line.fill()
    assert len(line.queue) == LONGEST_LEAD
    await line.tick(50)
    assert list(line.queue) == [None] * MARGIN


async def test_sound_does_not_wait_for_silence_that_is_ahead_of_it(line: Line) -> None:
    await line.tick(5)
    spoken = await line.play(0.2, "One.")
    assert await line.tick(10) == frames_of(spoken)
    assert line.flushes == 1


async def test_what_is_begun_is_told_when_it_is_heard(line: Line) -> None:
    await line.play(0.2, "One.", "Two.")
    await line.fill()
    assert line.told == [], "it was given and not heard"
    await line.tick(10)
    assert line.told == [(1, "started"), (1, "One."), (6, "Two.")]


async def test_an_utterance_is_over_when_its_last_frame_was_heard(line: Line) -> None:
    await line.play(0.1, "One.")
    await line.tick(4)
    assert line.heard is None, "though all of it was given"
    await line.tick()
    assert line.heard == Heard(100, True, "One.", "One.")


async def test_the_next_utterance_follows_without_a_gap(line: Line) -> None:
    spoken = await line.play(0.2, "One.") + await line.play(0.2, "Two.", utterance=2)
    assert await line.tick(20) == frames_of(spoken)


async def test_an_interruption_takes_back_what_was_not_heard(line: Line) -> None:
    await line.play(1.0, "one two three four five six seven eight nine ten")
    await line.tick(24)
    assert line.ahead > 0
    line.playout.interrupt()
    await wait_all_tasks_blocked()
    assert line.heard is not None
    assert line.heard.milliseconds == 480
    assert line.heard.text == "one two three four five"
    _faded, *silence = await line.tick(4)
    assert silence == [None] * 3


async def test_an_utterance_that_is_taken_back_before_it_was_heard_never_began(line: Line) -> None:
    await line.play(1.0, "One.")
    await line.fill()
    line.playout.interrupt()
    await line.fill()
    assert line.heard == Heard(0, False, "", "One.")
    assert line.told == []
    assert await line.tick(3) == [None] * 3


async def test_what_was_ahead_when_the_leg_was_lost_is_heard_over_the_next_one(line: Line) -> None:
    spoken = await line.play(1.0, "One.")
    before = await line.tick(20)
    assert line.ahead == LONGEST_LEAD
    line.playback.take_back()  # as the call does while the lost leg's lead is still there
    assert line.heard is None
    after = await line.tick(30)
    assert [*before, *after] == frames_of(spoken)
    assert line.heard == Heard(1000, True, "One.", "One.")


async def test_what_is_ahead_at_a_hand_over_is_left_to_the_other_playback(line: Line) -> None:
    spoken = await line.play(1.0, "One.")
    await line.tick(20)
    rest = line.playback.hand_over()
    await wait_all_tasks_blocked()
    assert rest is not None
    assert line.heard is not None
    assert line.heard.milliseconds == 400
    left = b""
    while (chunk := await rest.next()) is not None:
        left += chunk.pcm if isinstance(chunk, Audio) else b""
    assert left == spoken[20 * FRAME :]


async def test_a_line_whose_peer_says_stop_takes_nothing_and_the_utterance_waits(line: Line) -> None:
    spoken = await line.play(0.6, "One.")
    heard = await line.tick(10)
    line.stopped = True
    heard += await line.tick(20)
    assert line.heard is None
    line.stopped = False
    heard += await line.tick(20)
    assert [frame for frame in heard if frame is not None] == frames_of(spoken)
    assert line.heard == Heard(600, True, "One.", "One.")


async def test_an_announcement_is_heard_at_once_and_over_when_it_was_heard(line: Line, nursery: trio.Nursery) -> None:
    over = trio.Event()

    async def announce(pcm: bytes) -> None:
        await line.playback.announce(Announcement(audio=(Audio(0, 0, pcm, RATE),)))
        over.set()

    spoken, announced = await line.play(1.0, "One."), voice(0.1, seed=7)
    before = await line.tick(20)
    nursery.start_soon(announce, announced)
    await line.fill()
    _faded, *words = await line.tick(5)
    assert words == frames_of(announced)[:4]
    assert not over.is_set()
    assert await line.tick() == frames_of(announced)[4:]
    assert over.is_set()
    _again, *after = await line.tick(31)
    assert [*before, *after] == frames_of(spoken)


async def test_audio_that_comes_before_its_hole_is_heard_leaves_none(line: Line) -> None:
    spoken = frames_of(voice(0.5))
    await line.playout.put(SegmentStart(0, 1, "One."))
    await line.playout.put(Audio(0, 1, b"".join(frame or b"" for frame in spoken[:5]), RATE))
    before = await line.tick(4)
    assert line.queue[-1] is not None, "the hole is concealed, and the caller has not come to it"
    await line.playout.put(Audio(0, 1, b"".join(frame or b"" for frame in spoken[5:]), RATE))
    await line.playout.put(UtteranceEnd(0, 1))
    after = await line.tick(21)
    assert [*before, *after] == spoken
    assert line.playback.metrics.registry.get_sample_value("agentd_playout_underruns_total", {"place": "within"}) in (
        None,
        0.0,
    )


async def test_what_was_heard_is_told_once_and_in_order_whatever_is_taken_back(line: Line) -> None:
    await line.play(1.0, "One.")
    for change in (line.playback.attenuate, line.playback.pause, line.playback.restore, line.playback.stop):
        await line.tick(7)
        await change()
    await line.tick(5)
    assert line.spoken == line.ear, "to whom listens for echoes, what was taken back was not spoken"
