"""Playback by streaming: one frame every 20 ms over the AudioSocket that the caller's audio comes in on.

The connection's writer asks for frames (`next_frame`), and a frame that it was given is as good as heard: nothing
buffers behind it. So every effect is audible at the next frame, and what was heard is known to one frame.

Nothing cuts: a change of level is a ramp over one frame, a stop fades out over one. What is faded out by `pause` is
not popped: after `restore` the frame before it is faded in, and it follows at full level, so that no word is lost.
"""

from collections import deque

import attrs
import trio

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.audio.formats import FRAME_MS
from agentd.audio.framing import Framer
from agentd.audio.level import gain, ramp
from agentd.audio.resample import Resampler, convert
from agentd.errors import PlaybackError, ungrouped
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.handover import Remainder
from agentd.playback.jitter import Frame, JitterBuffer, StartDepth
from agentd.playout import UtteranceSource

ATTENUATED = gain(-12.0)
AHEAD = 2.0
"""Seconds of audio that are read from the playout before they are heard; the rest waits there, and its session."""
DEPTH_EVERY = 5
"""Frames between two observations of the jitter buffer's depth."""


@attrs.define(eq=False)
class _Speaking:
    """An utterance that is being played."""

    source: UtteranceSource
    listener: PlaybackListener
    jitter: JitterBuffer
    heard: Heard | None = None
    started: bool = False
    frames: int = 0
    over: trio.Event = attrs.field(factory=trio.Event)
    read: trio.Event = attrs.field(factory=trio.Event)
    """Nothing more is read from the source."""
    source_ended: bool = False
    room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)


@attrs.define(eq=False)
class _Announcing:
    frames: deque[bytes]
    over: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class StreamPlayback:
    """Streaming playback of one call at the line's `rate` in Hz. The media leg's writer calls `next_frame`.

    While nobody does (the leg is lost), playing waits. An announcement is heard instead of an utterance, which goes on
    after it.
    """

    rate: int
    metrics: Metrics
    _depth: StartDepth = attrs.field(factory=StartDepth, init=False)
    _speaking: _Speaking | None = attrs.field(default=None, init=False)
    _announcing: _Announcing | None = attrs.field(default=None, init=False)
    _one_announcement: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _level: float = attrs.field(default=1.0, init=False)
    """The utterance's gain at the end of the last frame."""
    _wanted: float = attrs.field(default=1.0, init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _fading: bytes | None = attrs.field(default=None, init=False)
    """The last frame of what was stopped, faded out: it goes before anything else."""

    # --- the writer's side

    def next_frame(self) -> bytes | None:
        """The next frame of slin at the line's rate; None is silence. Never blocks, never raises."""
        if (speaking := self._speaking) is not None and speaking.source.interrupted:
            self._end(speaking)
        if self._fading is not None:
            faded, self._fading = self._fading, None
            return faded
        hushed = self._paused or self._announcing is not None
        if hushed and self._level > 0:
            level, self._level = self._level, 0.0
            if self._speaking is not None and (frame := self._speaking.jitter.peek()) is not None:
                return ramp(frame, level, 0.0)
        if self._announcing is not None:
            return self._announce_frame(self._announcing)
        if self._speaking is None or hushed:
            return None
        return self._speak_frame(self._speaking)

    def _speak_frame(self, speaking: _Speaking) -> bytes | None:
        level, self._level = self._level, self._wanted
        if speaking.jitter.last is None:
            level = self._wanted  # there is no sound yet that it could change
        elif level == 0:
            return ramp(speaking.jitter.last, 0.0, self._wanted)
        if (frame := speaking.jitter.pop()) is None:
            return None
        self._note(speaking, frame)
        if speaking.jitter.finished:
            self._end(speaking)
        return frame.pcm if level == self._wanted == 1.0 else ramp(frame.pcm, level, self._wanted)

    def _note(self, speaking: _Speaking, frame: Frame) -> None:
        """Tell whom it concerns that a frame has been popped."""
        jitter = speaking.jitter
        speaking.room.unpark_all()
        if speaking.frames % DEPTH_EVERY == 0:
            self.metrics.jitter_buffer_depth_seconds.observe(jitter.buffered)
        speaking.frames += 1
        for text in frame.begun:
            if not speaking.started:
                speaking.started = True
                speaking.listener.started()
            speaking.listener.segment(text)

    def _announce_frame(self, announcing: _Announcing) -> bytes:
        frame = announcing.frames.popleft()
        if not announcing.frames:
            self._announcing = None
            announcing.over.set()
        return frame

    # --- the call's side

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        """See agentd.playback.contract.Playback.play. `Heard` is exact to one frame."""
        speaking = self._speaking = _Speaking(stream, listener, JitterBuffer(self.rate, self._depth))
        try:
            with ungrouped(PlaybackError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, speaking)
                    nursery.start_soon(self._watch, speaking)
                    await speaking.over.wait()
                    nursery.cancel_scope.cancel()
        finally:
            self._end(speaking)
            speaking.read.set()
        assert speaking.heard is not None
        return speaking.heard

    async def announce(self, announcement: Announcement) -> None:
        """See agentd.playback.contract.Playback.announce. A sound of Asterisk's own cannot be streamed."""
        if announcement.sound:
            raise PlaybackError(f"{announcement.sound} is Asterisk's own: ARI plays it, an AudioSocket cannot")
        framer, frames = Framer(self.rate * FRAME_MS // 1000 * 2), deque[bytes]()
        for audio in announcement.audio:
            frames.extend(framer.feed(convert(audio.pcm, audio.rate, self.rate)))
            await trio.lowlevel.checkpoint()
        if (rest := framer.flush()) is not None:
            frames.append(rest)
        if not frames:
            return
        async with self._one_announcement:
            announcing = self._announcing = _Announcing(frames)
            try:
                await announcing.over.wait()
            finally:
                self._end_announcement(announcing)

    async def attenuate(self) -> None:
        """See agentd.playback.contract.Playback.attenuate."""
        self._wanted = ATTENUATED
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """See agentd.playback.contract.Playback.pause."""
        self._paused = True
        await trio.lowlevel.checkpoint()

    async def restore(self) -> None:
        """See agentd.playback.contract.Playback.restore."""
        self._paused, self._wanted = False, 1.0
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """See agentd.playback.contract.Playback.stop."""
        if self._announcing is not None:
            self._end_announcement(self._announcing)
        if self._speaking is not None:
            self._end(self._speaking)
        self._be_itself()
        await trio.lowlevel.checkpoint()

    def hand_over(self) -> Remainder | None:
        """Stop for another playback to go on: `play` returns what was heard so far, the rest of the utterance is here.

        None when no utterance is being played, or nothing is left of it. An announcement is cut off.
        """
        if self._announcing is not None:
            self._end_announcement(self._announcing)
        if (speaking := self._speaking) is None or speaking.source.interrupted:
            return None
        self._end(speaking)
        self._fading = None  # what it fades out is heard in the remainder
        return Remainder(speaking.source, speaking)

    # --- between the two

    async def _read(self, speaking: _Speaking) -> None:
        """Bring the source's chunks into the jitter buffer, at most `AHEAD` (and one chunk) ahead."""
        jitter = speaking.jitter
        resampler: Resampler | None = None
        try:
            while not speaking.source_ended:
                while jitter.buffered >= AHEAD:
                    await speaking.room.park()
                match await speaking.source.next():
                    case Audio(pcm=pcm, rate=rate):
                        if resampler is None or resampler.source_hz != rate:
                            if resampler is not None:
                                jitter.push(resampler.flush())
                            resampler = self._resampler(rate)
                        jitter.push(resampler.feed(pcm))
                    case SegmentStart(text=text):
                        jitter.start_segment(text)
                    case SegmentEnd():
                        if resampler is not None:
                            jitter.push(resampler.flush())
                        jitter.end_segment()
                    case None:
                        speaking.source_ended = True
        finally:
            if resampler is not None:
                jitter.push(resampler.flush())
            if speaking.source_ended:
                jitter.end(cut=speaking.source.cut)
            speaking.read.set()
        if jitter.finished:
            self._end(speaking)

    def _resampler(self, rate: int) -> Resampler:
        try:
            return Resampler(rate, self.rate)
        except ValueError as error:
            raise PlaybackError(f"the agent's audio cannot be played: {error}") from error

    async def _watch(self, speaking: _Speaking) -> None:
        await speaking.source.until_interrupted()
        self._end(speaking)

    def _end(self, speaking: _Speaking) -> None:
        """The caller hears nothing more of an utterance, but for what fades out; settle what was heard."""
        if speaking.heard is not None:
            return
        finished = speaking.jitter.finished and not speaking.source.interrupted
        completed = finished and not speaking.source.cut
        speaking.heard = _heard(speaking.jitter, completed)
        for place, count in (
            ("within", speaking.jitter.underruns_within),
            ("between", speaking.jitter.underruns_between),
        ):
            self.metrics.playout_underruns.labels(place=place).inc(count)
        self._speaking = None
        if not finished:
            if self._level > 0 and (frame := speaking.jitter.peek()) is not None:
                self._fading = ramp(frame, self._level, 0.0)
            self._be_itself()
        speaking.over.set()

    def _end_announcement(self, announcing: _Announcing) -> None:
        if self._announcing is announcing:
            self._announcing = None
            self._fading = ramp(announcing.frames[0], 1.0, 0.0)
            announcing.over.set()

    def _be_itself(self) -> None:
        self._paused, self._level, self._wanted = False, 1.0, 1.0


def _heard(jitter: JitterBuffer, completed: bool) -> Heard:
    spoken = [segment for segment in jitter.segments if segment.received]
    words: list[str] = []
    for segment in spoken:
        words += segment.text.split()[: segment.words_heard(jitter.rate)]
    return Heard(
        milliseconds=round(1000 * sum(segment.popped for segment in spoken) / jitter.rate),
        completed=completed,
        text=" ".join(words),
        generated=" ".join(segment.text for segment in spoken if segment.text),
    )
