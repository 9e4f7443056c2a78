"""Playback by files: each segment is written to a directory that Asterisk reads, and played by ARI.

The files (see agentd.playback.directory) are gone when their playback ends, however it ends. They are played on the
caller's channel, which is in no bridge (see agentd.ari.channel): the agent does not hear its own words.

ARI reports no position within a file. Of a segment that is stopped half-way, the part that the caller heard is counted
from PlaybackStarted. Its error is the delay of that event and of the stop, at most 250 ms together.
"""

import math
from pathlib import Path
from uuid import uuid4

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.ari.channel import CallerChannel
from agentd.ari.events import PlaybackFinished, PlaybackStarted
from agentd.audio.resample import convert
from agentd.errors import AriError, AriRejected, MediaUnwritable, PlaybackError, ungrouped
from agentd.media.codecs import cannot_convert
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.directory import MediaDirectory
from agentd.playback.heard import Words
from agentd.playback.segments import FILE_RATE, SegmentCutter
from agentd.playout import UtteranceSource

log = structlog.get_logger("agentd.playback")

QUEUED_SEGMENTS = 2
"""Segments that Asterisk holds at a time: the one being heard and the next, so that none waits for us."""
EVENT_PATIENCE = deadlines.PLAYBACK_EVENT.seconds
HANG_UP_NEWS = 0.5
"""Seconds within which a hang-up that made a playback fail has made itself known."""
WRITE_DEADLINE = deadlines.MEDIA_FILE_WRITE.seconds
CLEAN_UP_DEADLINE = deadlines.MEDIA_FILE_REMOVAL.seconds
_file_limiter = trio.CapacityLimiter(4)


async def takes_files(directory: MediaDirectory) -> bool:
    """See agentd.playback.directory.MediaDirectory.takes_files. A disk that does not answer takes none."""
    taken = not directory.trouble
    if not taken:
        with trio.move_on_after(WRITE_DEADLINE):
            taken = await trio.to_thread.run_sync(directory.takes_files, limiter=_file_limiter, abandon_on_cancel=True)
    return taken


@attrs.define(eq=False)
class _Segment:
    """One playback on its way: a file, or a sound of Asterisk's own (`seconds` unknown: 0)."""

    playback: str
    media: str
    words: Words = attrs.field(factory=Words)
    seconds: float = 0.0
    path: Path | None = None
    cut: bool = False
    """Its words outlast its audio."""
    started_at: float | None = None
    paused_at: float | None = None
    paused_seconds: float = 0.0
    finished_at: float | None = None
    outcome: str = ""
    done: trio.Event = attrs.field(factory=trio.Event)

    def finish(self, outcome: str) -> None:
        if not self.done.is_set():
            self.outcome, self.finished_at = outcome, trio.current_time()
            self.done.set()

    @property
    def heard_seconds(self) -> float:
        if self.started_at is None:
            return 0.0
        if self.outcome == "done":
            return self.seconds
        end = self.finished_at if self.finished_at is not None else trio.current_time()
        if self.paused_at is not None:
            end = min(end, self.paused_at)
        return min(max(end - self.started_at - self.paused_seconds, 0.0), self.seconds)

    @property
    def heard_at(self) -> float:
        """When its sound was last heard; -math.inf: not yet."""
        if self.started_at is None:
            return -math.inf
        return min(self.started_at + self.paused_seconds + self.heard_seconds, trio.current_time())

    def go_on(self) -> None:
        """It is no longer paused."""
        if self.paused_at is not None:
            self.paused_seconds += trio.current_time() - self.paused_at
            self.paused_at = None


@attrs.define(eq=False)
class FilePlayback:
    """File playback on one caller's channel, which tells it how its playbacks go."""

    channel: CallerChannel
    directory: MediaDirectory
    metrics: Metrics
    _heard_at: float = attrs.field(default=-math.inf, init=False)
    _segments: dict[str, _Segment] = attrs.field(factory=dict, init=False)
    _listener: PlaybackListener | None = attrs.field(default=None, init=False)
    _started: bool = attrs.field(default=False, init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _stops: int = attrs.field(default=0, init=False)
    _played: list[_Segment] = attrs.field(factory=list, init=False)
    """Of the utterance that is being played, or was last."""

    def __attrs_post_init__(self) -> None:
        self.channel.on_playback = self.on_event

    @property
    def heard_at(self) -> float:
        """See agentd.playback.contract.Playback.heard_at. Of a sound of Asterisk's the length is not known."""
        return max(self._heard_at, *(segment.heard_at for segment in self._segments.values()), -math.inf)

    @property
    def so_far(self) -> Heard | None:
        """See agentd.playback.contract.Playback.so_far."""
        return _heard(self._played, interrupted=True) if self._started and self._listener is not None else None

    @property
    def playbacks(self) -> tuple[str, ...]:
        """The ids of the playbacks that Asterisk has of us."""
        return tuple(self._segments)

    def on_event(self, event: PlaybackStarted | PlaybackFinished) -> None:
        """Take note of an ARI event about one of our playbacks; others are not ours to mind."""
        if (segment := self._segments.get(event.playback)) is None:
            return
        self._begin(segment)
        if isinstance(event, PlaybackFinished):
            segment.finish("failed" if event.state == "failed" else segment.outcome or "done")

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        """See agentd.playback.contract.Playback.play."""
        played = self._played = []
        queue = trio.CapacityLimiter(QUEUED_SEGMENTS)
        stops = self._stops
        self._listener, self._started = listener, False
        try:
            with ungrouped(PlaybackError):
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    cutter = SegmentCutter()
                    more = True
                    while more:
                        chunk = await stream.next()
                        more = chunk is not None
                        for words, pcm in cutter.feed(chunk):
                            segment = await nursery.start(self._play_file, queue, stops, words, pcm)
                            segment.cut = chunk is None and stream.cut
                            played.append(segment)
        finally:
            self._listener = self._nursery = None
        if not stream.interrupted:
            await self._silence()
        return _heard(played, interrupted=stream.interrupted or stream.cut)

    async def announce(self, announcement: Announcement) -> None:
        """See agentd.playback.contract.Playback.announce."""
        unlimited = trio.CapacityLimiter(1)
        if announcement.sound:
            await self._attend(_Segment(self._new_id(), announcement.sound))
        elif announcement.audio:
            pcm = b"".join(convert(audio.pcm, audio.rate, FILE_RATE) for audio in announcement.audio)
            await self._play_file(unlimited, self._stops, Words(), pcm)

    async def attenuate(self) -> None:
        """See agentd.playback.contract.Playback.attenuate: ARI cannot."""
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """See agentd.playback.contract.Playback.pause."""
        self._paused = True
        for segment in tuple(self._segments.values()):
            await self._pause(segment)

    async def restore(self) -> None:
        """See agentd.playback.contract.Playback.restore."""
        self._paused = False
        for segment in tuple(self._segments.values()):
            if segment.paused_at is not None and await self._control(segment, "unpause"):
                segment.go_on()

    async def stop(self) -> None:
        """See agentd.playback.contract.Playback.stop."""
        self._stops += 1
        self._paused = False
        for segment in tuple(self._segments.values()):
            segment.outcome = "stopped"
            try:
                await self.channel.rest.stop_playback(segment.playback)
            except AriError as error:
                log.warning("a playback could not be stopped", playback=segment.playback, error=str(error))
            segment.finish("stopped")

    async def _play_file(  # noqa: ASYNC128 - passes task_status on
        self,
        queue: trio.CapacityLimiter,
        stops: int,
        words: Words,
        pcm: bytes,
        *,
        task_status: trio.TaskStatus[_Segment] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Write a file, play it, see it off. `started` once Asterisk has taken it.

        It is not played any more if a stop came since there were `stops`, while it waited its turn."""
        path = self.directory.new_file()
        segment = _Segment(self._new_id(), f"sound:{path.with_suffix('')}", words, len(pcm) / 2 / FILE_RATE, path)
        async with queue:
            try:
                await self._write(path, pcm)
                if self._stops != stops:
                    segment.finish("stopped")
                    task_status.started(segment)
                    return
                await self._attend(segment, task_status)
            finally:
                with trio.move_on_after(CLEAN_UP_DEADLINE, shield=True):
                    await trio.to_thread.run_sync(
                        self.directory.remove, path, limiter=_file_limiter, abandon_on_cancel=True
                    )

    async def _write(self, path: Path, pcm: bytes) -> None:
        """Write a file. Where the disk does not answer the thread is left to itself, and removes what it wrote."""
        waited_for = True

        def write() -> None:
            self.directory.write(path, pcm)
            if not waited_for:
                self.directory.remove(path)

        try:
            with trio.move_on_after(WRITE_DEADLINE) as deadline:
                await trio.to_thread.run_sync(write, limiter=_file_limiter, abandon_on_cancel=True)
            if deadline.cancelled_caught:
                raise self.directory.does_not_answer()
        except MediaUnwritable as error:
            self.metrics.media_write_failures.labels(reason=error.reason).inc()
            raise
        finally:
            waited_for = False

    async def _attend(
        self, segment: _Segment, task_status: trio.TaskStatus[_Segment] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Start a playback and wait for its end; a playback that we leave is stopped."""
        self._segments[segment.playback] = segment
        stoppable = False  # a stop before Asterisk has taken the playback finds nothing to stop
        try:
            await self._start(segment)
            stoppable = not segment.done.is_set()
            task_status.started(segment)
            await self._wait(segment)
        finally:
            if segment.outcome != "refused" and not (stoppable and segment.done.is_set()):
                with trio.move_on_after(deadlines.PLAYBACK_STOP.seconds, shield=True):
                    try:
                        await self.channel.rest.stop_playback(segment.playback)
                    except AriError as error:
                        log.warning("a playback could not be stopped", error=str(error))
                segment.finish("stopped")
            self._heard_at = self.heard_at
            del self._segments[segment.playback]
            self.metrics.playbacks.labels(outcome=segment.outcome).inc()
        if segment.outcome == "failed":
            # Asterisk calls a playback failed also when the caller hangs up under it, and that news is on its
            # way: it cancels us here.
            await trio.sleep(HANG_UP_NEWS)
            if codec := await self.channel.unconverted():
                raise PlaybackError(cannot_convert(codec))
            raise PlaybackError(
                f"Asterisk could not play {segment.media}: can its user read the media directory, and is "
                "format_sln loaded? `agentd doctor` tells"
            )

    async def _start(self, segment: _Segment) -> None:
        try:
            await self.channel.rest.play(self.channel.id, segment.playback, segment.media)
        except AriError as error:
            segment.finish("refused")
            raise PlaybackError(f"cannot play to the caller: {error}") from error

    async def _wait(self, segment: _Segment) -> None:
        """Until PlaybackFinished; where the event does not come (the stream may be down), ask Asterisk."""
        while not segment.done.is_set():
            with trio.move_on_after(segment.seconds - segment.heard_seconds + EVENT_PATIENCE):
                await segment.done.wait()
            if segment.done.is_set():
                break
            try:
                if not await self.channel.rest.playback_exists(segment.playback):
                    self._begin(segment)
                    segment.finish(segment.outcome or "done")
                elif not self.channel.client.connected:
                    self._begin(segment)
            except AriRejected as error:
                raise PlaybackError(f"cannot follow a playback: {error}") from error
            except AriError as error:
                log.info("Asterisk does not answer about a playback", error=str(error))

    def _begin(self, segment: _Segment) -> None:
        if segment.started_at is not None:
            return
        segment.started_at = trio.current_time()
        if self._paused and self._nursery is not None:
            self._nursery.start_soon(self._pause, segment)  # the one before it ended while it was being paused
        if self._listener is None or segment.path is None:
            return
        if not self._started:
            self._started = True
            self._listener.started()
        self._listener.segment(segment.words.text)

    async def _pause(self, segment: _Segment) -> None:
        """Pause what has begun; Asterisk refuses it for a playback that waits behind another."""
        sounds = segment.started_at is not None and segment.paused_at is None and not segment.done.is_set()
        if not sounds or not await self._control(segment, "pause"):
            return
        segment.paused_at = trio.current_time()
        if not self._paused and await self._control(segment, "unpause"):  # restored while Asterisk was being asked
            segment.go_on()

    async def _control(self, segment: _Segment, operation: str) -> bool:
        try:
            return await self.channel.rest.control_playback(segment.playback, operation)
        except AriError as error:
            log.warning("a playback took no control", operation=operation, error=str(error))
            return False

    async def _silence(self) -> None:
        try:
            await self.channel.keep_silence()
        except AriRejected as error:
            log.debug("no silence on a channel that is leaving", error=str(error))
        except AriError as error:
            log.warning("the caller's line may carry no audio until the next answer", error=str(error))

    def _new_id(self) -> str:
        return self.channel.client.leg_id("playback", uuid4().hex)


def _heard(played: list[_Segment], *, interrupted: bool) -> Heard:
    words: list[str] = []
    for segment in played:
        total = max(segment.seconds, segment.words.seconds) if segment.cut else segment.seconds
        words += segment.words.text.split()[: segment.words.heard(segment.heard_seconds, total)]
    return Heard(
        milliseconds=round(1000 * sum(segment.heard_seconds for segment in played)),
        completed=not interrupted and all(segment.outcome == "done" for segment in played),
        text=" ".join(words),
        generated=" ".join(segment.words.text for segment in played),
    )
