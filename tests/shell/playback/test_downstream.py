"""The way back to one caller: streaming, files, or first the one and then the other, in mid-utterance too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.agent import Audio, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.errors import PlaybackError
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.downstream import Downstream
from agentd.playback.stream import StreamPlayback
from agentd.playout import PlayoutBuffer, UtteranceSource
from agentd.testing._playback import FakePlayback
from agentd.testing.sound import RATE, voice

FRAME_BYTES = 320
SEGMENTS = ("One two three four.", "Five six seven eight.")


@attrs.define(eq=False)
class Files(FakePlayback):
    """File playback that keeps the audio which it was given to play."""

    played: bytearray = attrs.field(factory=bytearray)

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        return await FakePlayback.play(self, _Keeping(stream, self.played), listener)


@attrs.define(eq=False)
class _Keeping:
    _source: UtteranceSource
    _kept: bytearray

    @property
    def utterance(self) -> int:
        return self._source.utterance

    @property
    def generation(self) -> int:
        return self._source.generation

    @property
    def interrupted(self) -> bool:
        return self._source.interrupted

    @property
    def cut(self) -> bool:
        return self._source.cut

    async def next(self) -> SegmentStart | Audio | SegmentEnd | None:
        chunk = await self._source.next()
        if isinstance(chunk, Audio):
            self._kept += chunk.pcm
        return chunk

    async def until_interrupted(self) -> None:
        await self._source.until_interrupted()


@attrs.define(eq=False)
class Caller:
    """One caller's downstream and ear."""

    files: Files = attrs.field(factory=Files)
    stream: StreamPlayback | None = attrs.field(factory=lambda: StreamPlayback(RATE, Metrics()))
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    downstream: Downstream = attrs.field(init=False)
    streamed: bytearray = attrs.field(factory=bytearray)
    told: list[str] = attrs.field(factory=list)
    heard: Heard | None = None

    def __attrs_post_init__(self) -> None:
        self.downstream = Downstream(self.stream, self.files)  # type: ignore[arg-type]

    async def utter(self, *segments: str, seconds: float = 2.0, whole: bool = True) -> bytes:
        """Put an utterance into the playout; `whole` with its end."""
        spoken = voice(seconds)
        each = len(spoken) // len(segments)
        for at, text in enumerate(segments):
            await self.playout.put(SegmentStart(0, 1, text))
            await self.playout.put(Audio(0, 1, spoken[at * each : (at + 1) * each], RATE))
            if whole or at < len(segments) - 1:
                await self.playout.put(SegmentEnd(0, 1))
        if whole:
            await self.playout.put(UtteranceEnd(0, 1))
        return spoken

    async def play(self) -> None:
        listener = PlaybackListener(lambda: self.told.append("started"), self.told.append)
        self.heard = await self.downstream.play(await self.playout.next_utterance(), listener)

    async def listen(self, frames: int) -> None:
        """The streaming leg's writer asks for frames."""
        for _ in range(frames):
            self.streamed += self.downstream.next_frame() or b""
            await wait_all_tasks_blocked()


@asynccontextmanager
async def playing(caller: Caller) -> AsyncIterator[Caller]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.play)
        await wait_all_tasks_blocked()
        yield caller


async def test_with_streaming_no_file_is_played() -> None:
    caller = Caller()
    spoken = await caller.utter(*SEGMENTS)
    async with playing(caller):
        await caller.listen(100)
    assert caller.streamed == spoken
    assert not caller.files.log
    assert caller.heard == Heard(2000, True, " ".join(SEGMENTS), " ".join(SEGMENTS))


async def test_without_streaming_the_line_is_silent_and_files_are_played(autojump_clock: MockClock) -> None:
    caller = Caller(stream=None)
    await caller.utter(*SEGMENTS)
    async with playing(caller):
        await caller.listen(10)
    assert not caller.downstream.streaming
    assert not caller.streamed
    assert caller.files.log == [f"play {' '.join(SEGMENTS)}"]


async def test_the_rest_of_an_utterance_is_heard_from_files_and_nothing_twice(autojump_clock: MockClock) -> None:
    caller = Caller()
    spoken = await caller.utter(*SEGMENTS)
    async with playing(caller):
        await caller.listen(60)
        assert caller.downstream.fall_back()
        assert not caller.downstream.streaming
        assert caller.downstream.next_frame() is None
    assert bytes(caller.streamed + caller.files.played) == spoken
    assert caller.told == ["started", *SEGMENTS], "the segment that was being heard has been told"
    assert caller.heard is not None
    assert (caller.heard.completed, caller.heard.text) == (True, " ".join(SEGMENTS))
    assert caller.heard.generated == " ".join(SEGMENTS)


@given(frames=st.integers(0, 99), whole=st.booleans())
@settings(deadline=None, max_examples=40)
def test_whenever_it_falls_back_nothing_is_lost_or_heard_twice(frames: int, whole: bool) -> None:
    async def fall_back_after(frames: int) -> None:
        caller = Caller()
        spoken = await caller.utter(*SEGMENTS, whole=whole)
        async with playing(caller):
            await caller.listen(frames)
            assert caller.downstream.fall_back()
            await wait_all_tasks_blocked()
            if not whole:
                await caller.playout.put(UtteranceEnd(0, 1))
        assert bytes(caller.streamed + caller.files.played) == spoken
        assert caller.told == ["started", *SEGMENTS]
        assert caller.heard is not None
        assert caller.heard.completed
        assert caller.heard.text == " ".join(SEGMENTS)

    trio.run(fall_back_after, frames, clock=MockClock(autojump_threshold=0))


async def test_an_utterance_of_which_nothing_was_streamed_begins_in_files(autojump_clock: MockClock) -> None:
    caller = Caller()
    spoken = await caller.utter(*SEGMENTS)
    async with playing(caller):
        caller.downstream.fall_back()
    assert caller.files.played == spoken
    assert caller.told == ["started", *SEGMENTS]


async def test_an_interruption_after_the_change_ends_the_rest_too(autojump_clock: MockClock) -> None:
    caller = Caller()
    await caller.utter(*SEGMENTS)
    async with playing(caller):
        await caller.listen(50)
        caller.downstream.fall_back()
        await trio.sleep(0.5)
        caller.playout.interrupt()
        await caller.downstream.stop()
    assert caller.heard is not None
    assert not caller.heard.completed
    assert caller.heard.milliseconds == pytest.approx(1500, abs=20)
    assert caller.heard.text == "One two three four. Five six"


async def test_an_interruption_at_the_moment_of_the_change_leaves_nothing_to_files(autojump_clock: MockClock) -> None:
    caller = Caller()
    await caller.utter(*SEGMENTS)
    async with playing(caller):
        await caller.listen(50)
        caller.downstream.fall_back()
        caller.playout.interrupt()
        await caller.downstream.stop()
    assert not any(entry.startswith("play") for entry in caller.files.log)
    assert caller.heard is not None
    assert (caller.heard.completed, caller.heard.text) == (False, "One two three four.")


async def test_it_falls_back_once_and_the_next_utterance_is_heard_from_files(autojump_clock: MockClock) -> None:
    caller = Caller()
    assert caller.downstream.fall_back()
    assert not caller.downstream.fall_back()
    await caller.utter("Hello")
    async with playing(caller):
        pass
    assert caller.files.log == ["play Hello"]


async def test_where_there_are_no_files_there_is_nothing_to_fall_back_to() -> None:
    downstream = Downstream(StreamPlayback(RATE, Metrics()))
    assert not downstream.fall_back()
    assert downstream.streaming


async def test_degrees_of_an_interruption_go_to_whatever_plays(autojump_clock: MockClock) -> None:
    caller = Caller()
    await caller.downstream.pause()
    await caller.downstream.restore()
    assert not caller.files.log
    caller.downstream.fall_back()
    await caller.downstream.attenuate()
    await caller.downstream.pause()
    await caller.downstream.restore()
    await caller.downstream.stop()
    assert caller.files.log == ["pause", "restore", "stop"]


# --- announcements


async def test_a_sound_of_asterisk_s_is_played_by_ari_also_while_the_call_streams(autojump_clock: MockClock) -> None:
    caller = Caller()
    await caller.downstream.announce(Announcement(sound="sound:sorry"))
    assert caller.files.log == ["announce sound:sorry"]


async def test_without_ari_a_sound_of_asterisk_s_cannot_be_played() -> None:
    with pytest.raises(PlaybackError, match="sound:sorry"):
        await Downstream(StreamPlayback(RATE, Metrics())).announce(Announcement(sound="sound:sorry"))


async def test_words_of_the_agent_s_voice_are_streamed() -> None:
    caller, sorry = Caller(), voice(0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.downstream.announce, Announcement(audio=(Audio(0, 0, sorry, RATE),)))
        await wait_all_tasks_blocked()
        await caller.listen(25)
    assert caller.streamed == sorry
    assert not caller.files.log


async def test_an_announcement_that_is_cut_off_by_the_change_is_heard_from_a_file(autojump_clock: MockClock) -> None:
    caller = Caller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.downstream.announce, Announcement(audio=(Audio(0, 0, voice(0.5), RATE),)))
        await wait_all_tasks_blocked()
        await caller.listen(10)
        caller.downstream.fall_back()
    assert caller.files.log == ["announce 1"]
