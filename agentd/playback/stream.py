"""Playback by streaming: one frame for every 20 ms, over the leg that the caller's audio comes in on.

The leg's connection asks for frames (`next_frame`). On a line that agentd clocks a frame that was given is as good as
heard: nothing buffers behind it. So every effect is audible at the next frame, and what was heard is known to one.

A line that clocks itself is some frames ahead of the caller's ear (agentd.media.leg.Lead). The frames that it was given
and the caller has not heard are remembered, each with the state before it. When something else is to be heard, or the
leg is lost, the line drops those frames, everything is put back to where the caller's ear is, and goes on from there:
every effect is audible as soon here, and `Heard` as exact. A beginning is told when it is heard, not when it is given:
until then it can be taken back, and it is the caller's ear that matters to those who are told (the history, the
protection of words, the figures). Silence and concealment are not taken ahead: what comes in time elsewhere is in time
here too.

Nothing cuts: a change of level is a ramp over one frame, a stop fades out over one. A frame that `pause` fades out is
not popped: after `restore` the frame before it is faded in, and it follows at full level, so that no word is lost.
"""

import math
from collections import deque
from collections.abc import Callable

import attrs
import trio

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.audio.formats import FRAME_MS
from agentd.audio.framing import Framer
from agentd.audio.level import gain, ramp
from agentd.audio.resample import Resampler, convert
from agentd.errors import PlaybackError, ungrouped
from agentd.media.leg import LONGEST_LEAD, Lead
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.handover import Remainder
from agentd.playback.jitter import JitterBuffer, Segment, StartDepth
from agentd.playout import UtteranceSource

ATTENUATED = gain(-12.0)
AHEAD = 2.0
"""Seconds of audio that are read from the playout before they are heard; the rest waits there, and its session."""
READ_ON = AHEAD - 0.2
"""Seconds that are left of it when reading goes on: it is not woken up for each frame."""
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
class _Given:
    """A frame that the line was given, what it was taken from, and what was so before it."""

    level: float
    fading: bytes | None
    frame: bytes | None = None
    sound: bool = False
    """It is no silence, nor a hole that is concealed."""
    popped: _Speaking | None = None
    """From whose jitter buffer it was popped, be it silence."""
    announced: _Announcing | None = None
    begun: tuple[str, ...] = ()
    """The texts of the segments that begin in it."""


@attrs.define(eq=False)
class StreamPlayback:
    """Streaming playback of one call at the line's `rate` in Hz. The media leg's connection calls `next_frame`.

    While nobody does (the leg is lost), playing waits. An announcement is heard instead of an utterance, which goes on
    after it. `lead()` gives the lead of the line of now. `on_heard(frame)` is told each frame that the caller has
    heard, in order; None is silence.
    """

    rate: int
    metrics: Metrics
    lead: Callable[[], Lead | None] = lambda: None
    on_heard: Callable[[bytes | None], None] = lambda _frame: None
    heard_at: float = attrs.field(default=-math.inf, init=False)
    """See agentd.playback.contract.Playback.heard_at."""
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
    _given: deque[_Given] = attrs.field(factory=deque, init=False)
    """The frames that the line is ahead by; none on a line that agentd clocks."""

    # --- the line's side

    def next_frame(self, *, ahead: bool = False) -> bytes | None:
        """See agentd.media.leg.NextFrame."""
        if self._silent and self.lead() is None:  # most of a call: nothing to be kept, nor concluded
            self.on_heard(None)
            return None
        speaking = self._speaking
        interrupted = speaking is not None and speaking.source.interrupted
        if ahead and (interrupted or not self._sounds):
            return None
        if not ahead:
            self.beat()
            if speaking is not None and interrupted:
                self._break_off(speaking)
        given = _Given(self._level, self._fading)
        given.frame = self._compose(given)
        self._given.append(given)
        self._hear(0 if self.lead() is None else LONGEST_LEAD)
        self._conclude()
        return given.frame

    def beat(self) -> None:
        """The line has moved on: tell whom it concerns what the caller has heard of what it was given."""
        if self._given:
            lead = self.lead()
            self._hear(0 if lead is None else lead.ahead)
            self._conclude()

    def take_back(self) -> None:
        """Have the line drop what the caller has not heard, and go on from where the caller's ear is."""
        if (lead := self.lead()) is None or not self._given:
            return
        self._hear(lead.take_back())
        while self._given:
            given = self._given.pop()
            self._level, self._fading = given.level, given.fading
            if given.popped is not None and given.popped.heard is None:
                given.popped.jitter.give_back(1)
            if given.announced is not None and given.frame is not None:
                given.announced.frames.appendleft(given.frame)
        self._conclude()

    def _hear(self, ahead: int) -> None:
        """All but the last `ahead` frames that were given have been heard."""
        while len(self._given) > ahead:
            given = self._given.popleft()
            self.on_heard(given.frame)
            if given.frame is not None and given.frame.strip(b"\0"):
                self.heard_at = trio.current_time()
            if (speaking := given.popped) is None:
                continue
            for text in given.begun:
                if not speaking.started:
                    speaking.started = True
                    speaking.listener.started()
                speaking.listener.segment(text)

    def _conclude(self) -> None:
        """Conclude the utterance, or the announcement, that has been heard to its end."""
        speaking, announcing = self._speaking, self._announcing
        if speaking and speaking.jitter.finished and not any(g.sound and g.popped is speaking for g in self._given):
            self._end(speaking)
        if announcing and not announcing.frames and not any(g.announced is announcing for g in self._given):
            self._announcing = None
            announcing.over.set()
            self._hasten()

    def _hasten(self) -> None:
        """Sound may have come: it does not wait for silence that the line is ahead by."""
        if self._given and not self._given[-1].sound and self._sounds:
            self.take_back()

    @property
    def _silent(self) -> bool:
        """Whether there is nothing to be heard, nor anything given that has not been."""
        nobody = self._speaking is None and self._announcing is None
        return nobody and self._fading is None and not self._paused and not self._given

    @property
    def _sounds(self) -> bool:
        """Whether the next frame is sound."""
        if self._fading is not None:
            return True
        jitter = None if self._speaking is None else self._speaking.jitter
        if self._paused or self._announcing is not None:
            fades = self._level > 0 and jitter is not None and jitter.peek() is not None
            return fades or (self._announcing is not None and bool(self._announcing.frames))
        return jitter is not None and jitter.sounds

    def _compose(self, given: _Given) -> bytes | None:
        """The next frame; `given` is told what it was taken from."""
        given.sound = True
        if self._fading is not None:
            faded, self._fading = self._fading, None
            return faded
        hushed = self._paused or self._announcing is not None
        if hushed and self._level > 0:
            level, self._level = self._level, 0.0
            if self._speaking is not None and (frame := self._speaking.jitter.peek()) is not None:
                return ramp(frame, level, 0.0)
        if self._announcing is not None and self._announcing.frames:
            given.announced = self._announcing
            return self._announcing.frames.popleft()
        if self._speaking is None or hushed:
            given.sound = False
            return None
        return self._speak_frame(self._speaking, given)

    def _speak_frame(self, speaking: _Speaking, given: _Given) -> bytes | None:
        level, self._level = self._level, self._wanted
        if speaking.jitter.last is None:
            level = self._wanted  # there is no sound yet that it could change
        elif level == 0:
            return ramp(speaking.jitter.last, 0.0, self._wanted)
        given.popped = speaking
        frame = speaking.jitter.pop()
        given.sound = frame is not None and frame.samples > 0
        if frame is None:
            return None
        given.begun = frame.begun
        self._note(speaking)
        return frame.pcm if level == self._wanted == 1.0 else ramp(frame.pcm, level, self._wanted)

    def _note(self, speaking: _Speaking) -> None:
        """A frame has been popped: there may be room for more to be read."""
        if speaking.jitter.buffered <= READ_ON:
            speaking.room.unpark_all()
        if speaking.frames % DEPTH_EVERY == 0:
            self.metrics.jitter_buffer_depth_seconds.observe(speaking.jitter.buffered)
        speaking.frames += 1

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
            self._break_off(speaking)
            speaking.read.set()
        assert speaking.heard is not None
        return speaking.heard

    @property
    def so_far(self) -> Heard | None:
        """See agentd.playback.contract.Playback.so_far. What the line is ahead by counts as heard."""
        speaking = self._speaking
        return None if speaking is None or not speaking.started else _heard(speaking.jitter, False, Segment.words_heard)

    async def announce(self, announcement: Announcement) -> None:
        """See agentd.playback.contract.Playback.announce. A sound of Asterisk's own cannot be streamed."""
        if announcement.sound:
            raise PlaybackError(f"{announcement.sound} is Asterisk's own: ARI plays it, a stream cannot")
        framer, frames = Framer(self.rate * FRAME_MS // 1000 * 2), deque[bytes]()
        for audio in announcement.audio:
            frames.extend(framer.feed(convert(audio.pcm, audio.rate, self.rate)))
            await trio.lowlevel.checkpoint()
        if (rest := framer.flush()) is not None:
            frames.append(rest)
        if not frames:
            return
        async with self._one_announcement:
            self.take_back()
            announcing = self._announcing = _Announcing(frames)
            try:
                await announcing.over.wait()
            finally:
                if not announcing.over.is_set():
                    self.take_back()
                    self._end_announcement(announcing)

    async def attenuate(self) -> None:
        """See agentd.playback.contract.Playback.attenuate."""
        if self._wanted != ATTENUATED:
            self.take_back()
            self._wanted = ATTENUATED
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """See agentd.playback.contract.Playback.pause."""
        if not self._paused:
            self.take_back()
            self._paused = True
        await trio.lowlevel.checkpoint()

    async def restore(self) -> None:
        """See agentd.playback.contract.Playback.restore."""
        if self._paused or self._wanted != 1.0:
            self.take_back()
            self._paused, self._wanted = False, 1.0
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """See agentd.playback.contract.Playback.stop."""
        self.take_back()
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
        self.take_back()
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
                    case SegmentStart(text=text, spoken=said):
                        jitter.start_segment(text, said)
                    case SegmentEnd():
                        if resampler is not None:
                            jitter.push(resampler.flush())
                        jitter.end_segment()
                    case None:
                        speaking.source_ended = True
                self._hasten()
        finally:
            if resampler is not None:
                jitter.push(resampler.flush())
            if speaking.source_ended:
                jitter.end(cut=speaking.source.cut)
            speaking.read.set()
        self._hasten()
        self._conclude()

    def _resampler(self, rate: int) -> Resampler:
        try:
            return Resampler(rate, self.rate)
        except ValueError as error:
            raise PlaybackError(f"the agent's audio cannot be played: {error}") from error

    async def _watch(self, speaking: _Speaking) -> None:
        await speaking.source.until_interrupted()
        self._break_off(speaking)

    def _break_off(self, speaking: _Speaking) -> None:
        if speaking.heard is None:
            self.take_back()
            self._end(speaking)

    def _end(self, speaking: _Speaking) -> None:
        """The caller hears nothing more of an utterance, but for what fades out; settle what was heard."""
        if speaking.heard is not None:
            return
        finished = speaking.jitter.finished and not speaking.source.interrupted
        completed = finished and not speaking.source.cut
        speaking.heard = _heard(speaking.jitter, completed, Segment.settle)
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
            if announcing.frames:
                self._fading = ramp(announcing.frames[0], 1.0, 0.0)
            announcing.over.set()

    def _be_itself(self) -> None:
        self._paused, self._level, self._wanted = False, 1.0, 1.0


def _heard(jitter: JitterBuffer, completed: bool, count: Callable[[Segment, int], int]) -> Heard:
    """`count` tells how many words of a segment were heard, at the buffer's rate."""
    spoken = [segment for segment in jitter.segments if segment.received]
    words: list[str] = []
    for segment in spoken:
        words += segment.text.split()[: count(segment, jitter.rate)]
    return Heard(
        milliseconds=round(1000 * sum(segment.popped for segment in spoken) / jitter.rate),
        completed=completed,
        text=" ".join(words),
        generated=" ".join(segment.text for segment in spoken if segment.text),
    )
