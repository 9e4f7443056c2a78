"""Playback by files: what Asterisk is asked, what the caller heard, and that no file is left. Files are written in
threads, so the clock is the real one, with small durations."""

import errno
import math
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import attrs
import pytest
import trio

from agentd.agent import Audio, SegmentStart, UtteranceEnd
from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, PlaybackFinished, PlaybackStarted
from agentd.audiosocket.listener import Admission
from agentd.errors import MediaUnwritable, PlaybackError
from agentd.metrics import Metrics
from agentd.playback import directory as directory_module
from agentd.playback import file as playback_module
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.directory import MediaDirectory
from agentd.playback.downstream import Downstream
from agentd.playback.file import FilePlayback, takes_files
from agentd.playback.heard import Words
from agentd.playback.stream import StreamPlayback
from agentd.playout import PlayoutBuffer
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import Lines
from agentd.testing.clock import until

pytestmark = pytest.mark.loopback

CALLER = "1700000000.1"
PATIENCE = 5.0
"""Real seconds until a test that hangs is given up."""


def pcm(seconds: float) -> bytes:
    return b"\x10\x20" * round(seconds * 8000)


@attrs.define(eq=False)
class Studio:
    """A playback, its Asterisk, and its directory."""

    asterisk: FakeAsterisk
    playback: FilePlayback
    path: Path
    client: AriClient
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    starts: list[float] = attrs.field(factory=list)
    begun: list[str] = attrs.field(factory=list)
    heard: Heard | None = None
    utterances: int = 0

    @property
    def files(self) -> list[Path]:
        return sorted(self.path.iterdir())

    @property
    def asked(self) -> list[str]:
        """The ids of the playbacks that Asterisk was asked for, in order."""
        return [r.rpartition("/")[2] for r in self.asterisk.asked("POST /channels/*/play/*")]

    def file_of(self, number: int) -> Path:
        """The file that the n-th playback plays."""
        return Path(self.asterisk.playbacks[self.asked[number]].removeprefix("sound:") + ".sln")

    def began(self, number: int) -> None:
        self.playback.channel.on_playback(PlaybackStarted(self.asked[number], Channel(CALLER)))

    def ended(self, number: int, state: str = "done") -> None:
        """Asterisk has played the n-th to its end (or could not)."""
        self.asterisk.playbacks.pop(self.asked[number], None)
        self.playback.channel.on_playback(PlaybackFinished(self.asked[number], Channel(CALLER), state))

    async def utter(self, *segments: str, seconds: float = 0.1) -> None:
        """Put an utterance of these segments into the playout, as a session does."""
        self.utterances += 1
        for text in segments:
            await self.playout.put(SegmentStart(self.playout.generation, self.utterances, text))
            await self.playout.put(Audio(self.playout.generation, self.utterances, pcm(seconds), 8000))
        await self.playout.put(UtteranceEnd(self.playout.generation, self.utterances))

    async def play(self) -> None:
        stream = await self.playout.next_utterance()
        listener = PlaybackListener(lambda: self.starts.append(trio.current_time()), self.begun.append)
        self.heard = await self.playback.play(stream, listener)

    async def interrupt(self) -> None:
        """As the call does it."""
        self.playout.interrupt()
        await self.playback.stop()

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    async def until_asked(self, count: int) -> None:
        await self.until(lambda: len(self.asked) >= count and len(self.asterisk.playbacks) >= 1)

    def outcomes(self, outcome: str) -> float:
        labels = {"outcome": outcome}
        return self.playback.metrics.registry.get_sample_value("agentd_playbacks_total", labels) or 0.0


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(playback_module, "EVENT_PATIENCE", 1.0)
    monkeypatch.setattr(playback_module, "HANG_UP_NEWS", 0.01)
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    asterisk.enter(CALLER)
    rest = asterisk.rest(metrics)
    client = AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None)
    client.connected = True
    channel = CallerChannel(client, client.route(CALLER), Lines(admission, metrics).transport())
    spool = tmp_path / "spool"
    spool.mkdir()
    return Studio(asterisk, FilePlayback(channel, MediaDirectory(spool, "agentd"), metrics), spool, client)


@asynccontextmanager
async def playing(studio: Studio, *segments: str, seconds: float = 0.1) -> AsyncIterator[Studio]:
    """An utterance is played beside the block; after it, it must end and leave no file and no playback."""
    await studio.utter(*segments, seconds=seconds)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            yield studio
    assert not studio.files
    assert not studio.asterisk.playbacks
    assert not studio.playback._segments


# --- the file


async def test_the_file_holds_the_audio_for_asterisk_and_its_group_and_nobody_else(studio: Studio) -> None:
    umask = os.umask(0o077)
    try:
        async with playing(studio, "Hello"):
            await studio.until_asked(1)
            (file,) = studio.files
            assert file == studio.file_of(0)
            assert file.read_bytes() == pcm(0.1)
            assert stat.S_IMODE(file.stat().st_mode) == 0o640
            assert file.name.startswith("agentd-")
            studio.ended(0)
    finally:
        os.umask(umask)


async def test_names_are_unique_and_cannot_be_guessed(tmp_path: Path) -> None:
    directory = MediaDirectory(tmp_path, "agentd")
    names = {directory.new_file().name for _ in range(1000)}
    assert len(names) == 1000
    assert all(len(name) == len("agentd-.sln") + 32 for name in names)


async def test_a_file_that_exists_already_is_not_written_through(tmp_path: Path) -> None:
    directory = MediaDirectory(tmp_path, "agentd")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = directory.new_file()
    link.symlink_to(victim)
    with pytest.raises(PlaybackError):
        directory.write(link, b"\0\0")
    assert victim.read_text() == "precious"


async def test_a_directory_that_cannot_be_written_is_told(studio: Studio) -> None:
    studio.path.rmdir()
    await studio.utter("Hello")
    with pytest.raises(PlaybackError, match=r"cannot write .*No such file or directory; check \[media\] directory"):
        await studio.play()
    assert not studio.asked


async def test_a_sweep_removes_what_a_crashed_run_left_and_nothing_else(tmp_path: Path) -> None:
    directory = MediaDirectory(tmp_path, "agentd")
    for _ in range(3):
        directory.write(directory.new_file(), b"\0\0")
    others = [tmp_path / "agentd.txt", tmp_path / "other-1.sln", tmp_path / "agentd-notes.wav"]
    others.append(MediaDirectory(tmp_path, "agentd-2").new_file())  # of another agentd on this host
    for other in others:
        other.touch()
    assert directory.sweep() == 3
    assert set(tmp_path.iterdir()) == set(others)
    assert directory.sweep() == 0


# --- a disk that takes no files


@attrs.define(eq=False)
class Disk:
    """The media directory's disk: what is written to it fails half-way while it is `full`, all while `read_only`."""

    full: bool = False
    read_only: bool = False

    def open(self, path: Path, flags: int, mode: int) -> int:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return _open(path, flags, mode)

    def fdopen(self, descriptor: int, mode: str) -> BinaryIO:
        file: BinaryIO = _fdopen(descriptor, mode, buffering=0)
        if self.full:
            write = file.write

            def half(data: bytes) -> int:
                write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return Half(file, half)  # type: ignore[return-value]
        return file

    def unlink(self, path: Path, missing_ok: bool = False) -> None:
        if self.read_only:  # unlink(2): before it looks whether there is such a file
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        _unlink(path, missing_ok)


@attrs.frozen
class Half(AbstractContextManager["Half"]):
    file: BinaryIO
    write: Callable[[bytes], int]

    def fileno(self) -> int:
        return self.file.fileno()

    def __exit__(self, *_error: object) -> None:
        self.file.close()


_open, _fdopen, _unlink = os.open, os.fdopen, Path.unlink


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    of_the_disk = {"open": disk.open, "fdopen": disk.fdopen}
    monkeypatch.setattr(directory_module, "os", SimpleNamespace(**{**vars(os), **of_the_disk}))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: disk.unlink(path, missing_ok))
    return disk


def failures(studio: Studio, reason: str) -> float:
    labels = {"reason": reason}
    return studio.playback.metrics.registry.get_sample_value("agentd_media_write_failures_total", labels) or 0.0


@pytest.mark.parametrize(("state", "reason"), [("full", "ENOSPC"), ("read_only", "EROFS")])
async def test_a_disk_that_takes_no_file_is_told_and_counted_and_nothing_half_written_is_left(
    state: str, reason: str, studio: Studio, disk: Disk
) -> None:
    setattr(disk, state, True)
    await studio.utter("Hello")
    with pytest.raises(MediaUnwritable, match=r"cannot write to .*; check \[media\] directory"):
        await studio.play()
    assert failures(studio, reason) == 1
    assert not studio.files
    assert not studio.asked
    assert os.strerror(getattr(errno, reason)) in studio.playback.directory.trouble


async def test_the_trouble_is_over_with_the_first_file_that_is_written(studio: Studio, disk: Disk) -> None:
    directory = studio.playback.directory
    disk.full = True
    await studio.utter("Hello")
    with pytest.raises(MediaUnwritable):
        await studio.play()
    assert directory.trouble
    assert not await takes_files(directory)
    disk.full = False
    assert await takes_files(directory)
    assert not directory.trouble
    assert not studio.files


async def test_a_disk_that_was_well_is_not_tried_out(studio: Studio, disk: Disk) -> None:
    disk.full = True
    assert await takes_files(studio.playback.directory)


async def test_what_a_read_only_disk_does_not_let_go_ends_nothing(studio: Studio, disk: Disk) -> None:
    directory = studio.playback.directory
    directory.write(directory.new_file(), b"\0\0")
    disk.read_only = True
    assert directory.sweep() == 0
    disk.read_only = False
    assert directory.sweep() == 1


@pytest.mark.parametrize("state", ["full", "read_only"])
async def test_where_no_file_can_be_written_a_sound_of_asterisk_s_stands_in_for_an_announcement(
    state: str, studio: Studio, disk: Disk
) -> None:
    setattr(disk, state, True)
    announcement = Announcement(audio=(Audio(0, 0, pcm(0.1), 8000),), instead="sound:sorry")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Downstream(file=studio.playback).announce, announcement)
            await studio.until_asked(1)
            assert studio.asterisk.playbacks[studio.asked[0]] == "sound:sorry"
            studio.ended(0)
    assert not studio.files


# --- the way to the caller


async def test_an_utterance_is_played_on_the_caller_s_own_channel_segment_by_segment(studio: Studio) -> None:
    async with playing(studio, "Hello there.", "How are you?"):
        await studio.until_asked(2)
        assert all(
            r.startswith(f"POST /channels/{CALLER}/play/agentd-leg-playback-") for r in studio.asterisk.asked("*play*")
        )
        studio.began(0)
        studio.ended(0)
        studio.began(1)
        studio.ended(1)
    assert studio.heard == Heard(200, True, "Hello there. How are you?", "Hello there. How are you?")
    assert studio.outcomes("done") == 2


async def test_the_caller_is_said_to_hear_it_once_the_first_segment_has_begun(studio: Studio) -> None:
    async with playing(studio, "One.", "Two."):
        await studio.until_asked(2)
        assert not studio.starts
        studio.began(0)
        assert len(studio.starts) == 1
        assert studio.begun == ["One."]
        studio.ended(0)
        studio.began(1)
        assert studio.begun == ["One.", "Two."]
        studio.ended(1)
    assert len(studio.starts) == 1


async def test_what_was_heard_so_far_is_known_and_what_asterisk_plays(studio: Studio) -> None:
    assert studio.playback.so_far is None
    async with playing(studio, "One.", "Two."):
        await studio.until_asked(2)
        assert studio.playback.so_far is None, "nothing has begun to be heard"
        assert set(studio.playback.playbacks) == set(studio.asked)
        studio.began(0)
        studio.ended(0)
        studio.began(1)
        so_far = studio.playback.so_far
        assert so_far is not None
        assert so_far.text == "One."
        assert not so_far.completed
        studio.ended(1)
    assert studio.playback.so_far is None
    assert studio.playback.playbacks == ()


async def test_it_is_heard_while_asterisk_plays_it_and_no_longer_than_it_lasts(studio: Studio) -> None:
    assert studio.playback.heard_at == -math.inf
    async with playing(studio, "One.", seconds=1.0):
        await studio.until_asked(1)
        assert studio.playback.heard_at == -math.inf, "it has not begun"
        studio.began(0)
        began = trio.current_time()
        await trio.sleep(0.5)
        assert studio.playback.heard_at == trio.current_time()
        await trio.sleep(0.8)
        assert studio.playback.heard_at == pytest.approx(began + 1.0)
        studio.ended(0)
    assert studio.playback.heard_at == pytest.approx(began + 1.0)


async def test_asterisk_holds_two_segments_at_a_time(studio: Studio) -> None:
    async with playing(studio, "One.", "Two.", "Three.", "Four."):
        for number in range(4):
            await studio.until_asked(min(number + 2, 4))
            await trio.sleep(0.02)
            assert len(studio.asked) == min(number + 2, 4)
            assert len(studio.files) == min(2, 4 - number)
            studio.ended(number)
    assert studio.heard is not None
    assert studio.heard.text == "One. Two. Three. Four."


async def test_a_segment_is_played_while_the_rest_is_still_being_written(studio: Studio) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            await studio.playout.put(SegmentStart(0, 1, "One."))
            await studio.playout.put(Audio(0, 1, pcm(0.1), 8000))
            await studio.playout.put(SegmentStart(0, 1, "Two."))
            await studio.until_asked(1)
            studio.ended(0)
            await studio.playout.put(Audio(0, 1, pcm(0.1), 8000))
            await studio.playout.put(UtteranceEnd(0, 1))
            await studio.until_asked(2)
            studio.ended(1)
    assert studio.heard is not None
    assert studio.heard.completed


async def test_audio_of_another_rate_becomes_8_khz(studio: Studio) -> None:
    await studio.playout.put(SegmentStart(0, 1, "One."))
    await studio.playout.put(Audio(0, 1, b"\x10\x20" * 24000, 24000))
    await studio.playout.put(UtteranceEnd(0, 1))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            await studio.until_asked(1)
            assert len(studio.file_of(0).read_bytes()) == pytest.approx(16000, abs=64)
            studio.ended(0)


async def test_endless_audio_without_marks_is_cut_into_files(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            for _ in range(9):
                await studio.playout.put(Audio(0, 1, pcm(1.0), 8000))
            await studio.playout.put(UtteranceEnd(0, 1))
            await studio.until_asked(2)
            assert [len(studio.file_of(n).read_bytes()) for n in range(2)] == [8 * 16000, 16000]
            studio.ended(0)
            studio.ended(1)


async def test_after_an_utterance_the_line_carries_silence_again(studio: Studio) -> None:
    async with playing(studio, "One."):
        await studio.until_asked(1)
        studio.ended(0)
    assert studio.asterisk.asked()[-1] == f"POST /channels/{CALLER}/silence"


async def test_an_utterance_without_audio_is_heard_as_nothing(studio: Studio) -> None:
    async with playing(studio):
        await studio.playout.put(SegmentStart(0, 2, "the next one"))
        await studio.playout.put(UtteranceEnd(0, 2))
    assert not studio.asked


# --- stopping


async def test_a_stop_ends_every_segment_at_once_and_says_what_was_heard(studio: Studio) -> None:
    async with playing(studio, "one two three four five six seven eight nine ten", "eleven", seconds=1.0):
        await studio.until_asked(2)
        studio.began(0)
        began = trio.current_time()
        await trio.sleep(0.1)
        await studio.interrupt()
        lasted = 1000 * (trio.current_time() - began)
    assert studio.heard is not None
    assert 90 <= studio.heard.milliseconds <= lasted + 10
    assert not studio.heard.completed
    words = studio.heard.text.split()
    assert len(words) == Words(studio.heard.generated.removesuffix(" eleven")).heard(studio.heard.milliseconds, 1000)
    assert studio.heard.generated.startswith(studio.heard.text)
    assert studio.heard.generated.endswith("ten eleven")
    assert len(studio.asterisk.stopped) == 2
    assert studio.outcomes("stopped") == 2
    assert "silence" not in studio.asterisk.asked()[-1], "the next utterance is on its way"


async def test_an_utterance_that_is_stopped_before_it_was_heard_was_not_heard(studio: Studio) -> None:
    async with playing(studio, "Hello there"):
        await studio.until_asked(1)
        await studio.interrupt()
    assert studio.heard == Heard(0, False, "", "Hello there")
    assert not studio.starts


async def test_a_segment_that_waits_its_turn_is_not_played_after_a_stop(studio: Studio) -> None:
    async with playing(studio, "One.", "Two.", "Three.", seconds=0.3):
        await studio.until_asked(2)
        studio.began(0)
        await studio.interrupt()
        await trio.sleep(0.05)
        assert len(studio.asked) == 2, "the third is not heard by a caller who has interrupted"
    assert studio.heard is not None
    assert not studio.heard.completed


async def test_a_stop_that_overtakes_the_play_request_stops_the_sound_too(studio: Studio) -> None:
    studio.asterisk.slow("POST /channels/*/play/*", 0.1)
    async with playing(studio, "One.", seconds=0.5):
        await studio.until(lambda: studio.asked)
        await studio.interrupt()
    assert len(studio.asterisk.stopped) == 1


async def test_asterisk_s_own_news_of_a_stopped_playback_does_not_make_it_heard(studio: Studio) -> None:
    async with playing(studio, "One two three four", seconds=0.4):
        await studio.until_asked(1)
        studio.began(0)

        async def tell(_request: Request) -> None:
            studio.ended(0)

        studio.asterisk.rule("DELETE /playbacks/*", tell)
        await studio.interrupt()
    assert studio.heard is not None
    assert not studio.heard.completed
    assert studio.heard.text in ("", "One")


async def test_a_stop_that_asterisk_refuses_still_ends_the_utterance(studio: Studio) -> None:
    await studio.utter("One.")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            await studio.until_asked(1)
            studio.asterisk.rule("DELETE *", Answer.refusal(500, "no"))
            await studio.interrupt()
    assert not studio.files


# --- pausing


@attrs.define
class Controls:
    """Asterisk's side of playback control: takes note, and answers as it is told."""

    answer: Answer = attrs.field(factory=Answer)
    asked: list[str] = attrs.field(factory=list)

    async def __call__(self, request: Request) -> Answer:
        self.asked.append(f"{request.params['operation']} {request.path.split('/')[-2]}")
        return self.answer


async def test_a_pause_holds_what_is_heard_and_its_time_is_not_counted(studio: Studio) -> None:
    controls = Controls()
    studio.asterisk.rule("POST /playbacks/*/control", controls)
    async with playing(studio, "one two three four", "five", seconds=0.4):
        await studio.until_asked(2)
        studio.began(0)
        began = trio.current_time()
        await studio.playback.pause()
        heard_before = trio.current_time() - began
        await trio.sleep(0.2)
        await studio.playback.restore()
        went_on = trio.current_time()
        await trio.sleep(0.05)
        await studio.interrupt()
        heard_after = trio.current_time() - went_on
    assert controls.asked == [f"pause {studio.asked[0]}", f"unpause {studio.asked[0]}"]
    assert studio.heard is not None
    assert 50 <= studio.heard.milliseconds <= 1000 * (heard_before + heard_after) + 20


async def test_what_is_stopped_while_it_is_paused_was_heard_up_to_the_pause(studio: Studio) -> None:
    studio.asterisk.rule("POST /playbacks/*/control", Controls())
    async with playing(studio, "one two three four", seconds=0.4):
        await studio.until_asked(1)
        studio.began(0)
        began = trio.current_time()
        await studio.playback.pause()
        paused = 1000 * (trio.current_time() - began)
        await trio.sleep(0.1)
        await studio.interrupt()
    assert studio.heard is not None
    assert studio.heard.milliseconds <= paused + 10


async def test_a_segment_that_begins_in_spite_of_a_pause_is_paused_too(studio: Studio) -> None:
    controls = Controls()
    studio.asterisk.rule("POST /playbacks/*/control", controls)
    async with playing(studio, "One.", "Two."):
        await studio.until_asked(2)
        studio.began(0)
        studio.ended(0)
        await studio.playback.pause()
        studio.began(1)
        await studio.until(lambda: controls.asked)
        await studio.playback.restore()
        studio.ended(1)
    assert controls.asked == [f"pause {studio.asked[1]}", f"unpause {studio.asked[1]}"]


async def test_a_control_that_comes_too_late_for_asterisk_is_no_error(studio: Studio) -> None:
    controls = Controls(Answer.refusal(404, "Playback not found"))
    studio.asterisk.rule("POST /playbacks/*/control", controls)
    async with playing(studio, "One."):
        await studio.until_asked(1)
        studio.began(0)
        await studio.playback.pause()
        await studio.playback.restore()
        studio.ended(0)
    assert controls.asked == [f"pause {studio.asked[0]}"]
    assert studio.heard == Heard(100, True, "One.", "One.")


async def test_a_file_cannot_be_played_more_quietly(studio: Studio) -> None:
    async with playing(studio, "One."):
        await studio.until_asked(1)
        requests = studio.asterisk.asked()
        await studio.playback.attenuate()
        assert studio.asterisk.asked() == requests
        studio.ended(0)


# --- taking over from streaming


async def test_what_streaming_left_is_played_by_files(studio: Studio) -> None:
    streaming = StreamPlayback(8000, studio.playback.metrics)
    await studio.utter("one two three four five", "six", seconds=1.0)
    listener = PlaybackListener(lambda: None, studio.begun.append)
    streamed: list[Heard] = []

    async def stream() -> None:
        streamed.append(await streaming.play(await studio.playout.next_utterance(), listener))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream)
            while streaming.next_frame() is None:
                await trio.sleep(0.02)
            for _ in range(24):
                streaming.next_frame()
            rest = streaming.hand_over()
            assert rest is not None
        async with trio.open_nursery() as nursery:

            async def take_over() -> None:
                studio.heard = await studio.playback.play(rest, listener)

            nursery.start_soon(take_over)
            await studio.until_asked(2)
            sizes = [len(studio.file_of(number).read_bytes()) for number in range(2)]
            studio.ended(0)
            studio.ended(1)
    assert sum(sizes) == 2 * 16000 - 320 * (streamed[0].milliseconds // 20)
    assert studio.heard is not None
    assert f"{streamed[0].text} {studio.heard.text}" == "one two three four five six"


# --- cancellation and failures


@pytest.mark.parametrize("moment", ["before it begins", "while it is heard", "while the request runs"])
async def test_a_hang_up_stops_the_sound_and_removes_the_files(studio: Studio, moment: str) -> None:
    if moment == "while the request runs":
        studio.asterisk.slow("POST /channels/*/play/*", 0.05)
    async with playing(studio, "One.", "Two.", "Three.", seconds=0.5):
        await studio.until(lambda: studio.asked)
        if moment == "while it is heard":
            await studio.until_asked(2)
            studio.began(0)
        (nursery,) = trio.lowlevel.current_task().child_nurseries[-1:]
        nursery.cancel_scope.cancel()
    assert studio.heard is None


@pytest.mark.parametrize("answer", [Answer.refusal(404, "gone"), Answer.refusal(500, "no"), Answer(drop=True)])
async def test_a_playback_that_asterisk_refuses_is_a_playback_error(studio: Studio, answer: Answer) -> None:
    studio.asterisk.rule("POST /channels/*/play/*", answer)
    await studio.utter("One.", "Two.")
    with pytest.raises(PlaybackError, match="cannot play to the caller"):
        await studio.play()
    assert not studio.files
    assert not studio.playback._segments


async def test_a_file_that_asterisk_cannot_play_is_told_with_advice(studio: Studio) -> None:
    await studio.utter("One.", "Two.")
    with trio.fail_after(PATIENCE), pytest.RaisesGroup(pytest.RaisesExc(PlaybackError, match="agentd doctor")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.play)
            await studio.until_asked(2)
            studio.ended(0, "failed")
    assert not studio.files
    assert not studio.asterisk.playbacks


# --- events that do not come


async def test_an_end_that_is_not_told_is_asked_for(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_module, "EVENT_PATIENCE", 0.02)
    async with playing(studio, "One.", seconds=0.05):
        await studio.until_asked(1)
        await studio.until(lambda: studio.asterisk.asked("GET /playbacks/*"))
        studio.asterisk.playbacks.clear()
    assert studio.heard == Heard(50, True, "One.", "One.")
    assert len(studio.starts) == 1, "the call still learns that it was heard"


async def test_while_the_event_stream_is_down_a_running_playback_counts_as_heard(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback_module, "EVENT_PATIENCE", 0.02)
    studio.client.connected = False
    async with playing(studio, "One.", seconds=0.05):
        await studio.until(lambda: studio.starts)
        studio.asterisk.rule("GET /playbacks/*", Answer(drop=True), times=2)
        await trio.sleep(0.1)
        studio.asterisk.playbacks.clear()


async def test_a_question_that_asterisk_refuses_is_a_playback_error(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback_module, "EVENT_PATIENCE", 0.02)
    studio.asterisk.rule("GET /playbacks/*", Answer.refusal(500, "no"))
    await studio.utter("One.", seconds=0.05)
    with trio.fail_after(PATIENCE), pytest.raises(PlaybackError, match="cannot follow a playback"):
        await studio.play()
    assert not studio.files
    assert not studio.asterisk.playbacks


async def test_events_of_playbacks_that_are_not_ours_are_passed_over(studio: Studio) -> None:
    studio.playback.channel.on_playback(PlaybackStarted("somebody's", Channel(CALLER)))
    studio.playback.channel.on_playback(PlaybackFinished("somebody's", Channel(CALLER), "done"))


# --- announcements


async def test_an_announcement_may_be_a_sound_that_asterisk_has(studio: Studio) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.playback.announce, Announcement(sound="sound:sorry"))
            await studio.until_asked(1)
            assert studio.asterisk.playbacks[studio.asked[0]] == "sound:sorry"
            assert not studio.files
            studio.ended(0)


async def test_an_announcement_may_be_audio_of_our_own(studio: Studio) -> None:
    announcement = Announcement(audio=(Audio(0, 0, pcm(0.1), 8000), Audio(0, 0, pcm(0.1), 8000)))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(studio.playback.announce, announcement)
            await studio.until_asked(1)
            assert len(studio.file_of(0).read_bytes()) == 3200
            studio.ended(0)
    assert not studio.files


async def test_an_announcement_of_nothing_is_over_at_once(studio: Studio) -> None:
    await studio.playback.announce(Announcement())
    assert not studio.asked


async def test_a_cancelled_announcement_is_stopped(studio: Studio) -> None:
    with trio.move_on_after(0.1):
        await studio.playback.announce(Announcement(sound="sound:sorry"))
    assert len(studio.asterisk.stopped) == 1
    assert not studio.asterisk.playbacks
