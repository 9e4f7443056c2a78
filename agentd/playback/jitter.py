"""A jitter buffer for one utterance: audio comes in bursts and gaps, and goes out in frames of 20 ms. Pure.

It waits for a start depth before the first frame and after every silence, unless a segment is known to be complete.
The depth adapts (`StartDepth`): audio that runs out within a segment makes it deeper for the rest of the call, clean
utterances make it shallower again (the scheme of RFC 3550 receivers, with bursts instead of packets).

Audio that runs out within a segment is concealed: the last frame goes on mirrored in time and faded to zero, and
what comes later is faded in. Between segments there is plain silence.

A line that clocks itself takes frames before they are heard, so the last pops can be undone (`give_back`).
"""

from collections import deque

import attrs

from agentd.audio.concealment import concealment, faded_in
from agentd.audio.formats import FRAME_MS
from agentd.media.leg import LONGEST_LEAD
from agentd.playback.heard import Words

FIRST_DEPTH_MS = 40
DEPTH_STEP_MS = 40
DEEPEST_MS = 240
CLEAN_UTTERANCES = 3
"""Utterances in a row that must go without an underrun before the start depth shrinks by a step."""


@attrs.define
class StartDepth:
    """How much audio, in ms, is waited for before a segment starts. One a call: what it learns outlives utterances."""

    milliseconds: int = FIRST_DEPTH_MS
    clean: int = 0
    """Utterances in a row that went without an underrun."""

    @property
    def deeper(self) -> int:
        """One step deeper: what is waited for after an underrun."""
        return min(self.milliseconds + DEPTH_STEP_MS, DEEPEST_MS)

    def underran(self) -> None:
        """Audio ran out within a segment."""
        self.milliseconds, self.clean = self.deeper, 0

    def went_clean(self) -> None:
        """An utterance went through without an underrun."""
        self.clean += 1
        if self.clean >= CLEAN_UTTERANCES:
            self.milliseconds, self.clean = max(self.milliseconds - DEPTH_STEP_MS, FIRST_DEPTH_MS), 0


@attrs.define(eq=False)
class Segment:
    """Where one segment stands, in samples. `complete`: no more of its audio will come; `cut`: more was to."""

    text: str = ""
    spoken: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    received: int = 0
    popped: int = 0
    complete: bool = False
    cut: bool = False
    _settled: int | None = attrs.field(default=None, init=False)

    @property
    def words(self) -> Words:
        return Words(self.text, self.spoken)

    @property
    def waiting(self) -> int:
        """Samples that were received and not popped."""
        return self.received - self.popped

    def settle(self, rate: int) -> int:
        """Nothing more of it is popped here: how many of its words were. That stays so when more is known of its
        length: another playback goes on behind the words that were told."""
        self._settled = self.words_heard(rate)
        return self._settled

    def words_heard(self, rate: int) -> int:
        """How many of its words were popped. Where not all of its audio has come, its length is estimated."""
        if self._settled is not None:
            return self._settled
        whole = self.complete and not self.cut
        total = self.received if whole else max(self.received, round(self.words.seconds * rate))
        return self.words.heard(self.popped, total)


@attrs.frozen
class Frame:
    """One frame of slin. `samples` of it are the utterance's own, what follows is silence or concealment.

    `begun` are the texts of the segments whose first sample is in it.
    """

    pcm: bytes
    samples: int
    begun: tuple[str, ...] = ()


@attrs.define(eq=False)
class _Pop:
    """The frame that a pop took, and the state before it."""

    at: int
    last: bytes | None
    concealed: bool
    underruns_within: int
    underruns_between: int
    depth: tuple[int, int]
    noted: bool
    pcm: bytes = b""


@attrs.define(eq=False)
class JitterBuffer:
    """One utterance's audio at the line's rate. Push in any lengths, `pop` once for every 20 ms that are to be heard.

    `underruns_within` and `underruns_between` count silences within and between segments; an utterance whose end is
    only told late has none. `last` is the frame popped last while the audio goes on from it without a break.
    """

    rate: int
    depth: StartDepth = attrs.field(factory=StartDepth)
    segments: list[Segment] = attrs.field(factory=list, init=False)
    underruns_within: int = attrs.field(default=0, init=False)
    underruns_between: int = attrs.field(default=0, init=False)
    last: bytes | None = attrs.field(default=None, init=False)
    _frame: int = attrs.field(init=False)
    """Samples of one frame."""
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _at: int = attrs.field(default=0, init=False)
    """Index of the segment that the next sample belongs to."""
    _concealed: bool = attrs.field(default=False, init=False)
    """The silence that is being heard broke into a segment."""
    _ended: bool = attrs.field(default=False, init=False)
    _noted: bool = attrs.field(default=False, init=False)
    """It was told to `depth` how it went."""
    _pops: deque[_Pop] = attrs.field(factory=lambda: deque(maxlen=LONGEST_LEAD), init=False)

    def __attrs_post_init__(self) -> None:
        self._frame = self.rate * FRAME_MS // 1000

    @property
    def buffered(self) -> float:
        """The buffer's depth now: seconds of audio that wait to be popped."""
        return len(self._pcm) / 2 / self.rate

    @property
    def finished(self) -> bool:
        """Everything was popped and nothing more will come."""
        return self._ended and not self._pcm

    # --- what comes in

    def start_segment(self, text: str, spoken: tuple[str, ...] = ()) -> None:
        """Begin a segment: the audio from now on speaks `text` (`spoken` as in agentd.agent.SegmentStart); the segment
        before it is complete.

        A segment that brought no audio is spoken together with the one that follows.
        """
        if self.segments and not self.segments[-1].received:
            words = self.segments[-1].words + Words(text, spoken)
            self.segments[-1].text, self.segments[-1].spoken = words.text, words.spoken
            return
        self.end_segment()
        self.segments.append(Segment(text, spoken=spoken))

    def push(self, pcm: bytes) -> None:
        """Append slin, whole samples, to the segment; without one that is open a segment with no text begins."""
        if not pcm:
            return
        if not self.segments or self.segments[-1].complete:
            self.segments.append(Segment())
        self._pcm += pcm
        self.segments[-1].received += len(pcm) // 2

    def end_segment(self) -> None:
        """The segment's audio is complete."""
        if not self.segments or not self.segments[-1].received:
            return
        self.segments[-1].complete = True
        if not self._pcm:
            self._concealed = False  # nothing was missing: only this news came late

    def end(self, *, cut: bool = False) -> None:
        """The utterance's audio is complete, or `cut` where it stands."""
        if self.segments and not self.segments[-1].complete:
            self.segments[-1].cut = cut
        self.end_segment()
        self._ended = True
        self._note_finish()

    # --- what goes out

    def pop(self) -> Frame | None:
        """The next frame, or None for silence."""
        depth = (self.depth.milliseconds, self.depth.clean)
        self._pops.append(
            _Pop(
                self._at,
                self.last,
                self._concealed,
                self.underruns_within,
                self.underruns_between,
                depth,
                self._noted,
            )
        )
        samples = self._available
        if self.last is None:
            if not self._ready:
                return None
            resumed = self._resume()
        elif not samples:
            return self._run_out(self.last)
        else:
            resumed = False
        frame = self._take(samples)
        if resumed:
            frame = attrs.evolve(frame, pcm=faded_in(frame.pcm, self.rate))
        # After a tail that was filled up with silence, what follows starts anew.
        self.last = frame.pcm if samples == self._frame else None
        self._note_finish()
        return frame

    def give_back(self, count: int) -> None:
        """Undo the last `count` pops, of which no more than `LONGEST_LEAD` are remembered: what they gave has not been
        heard. It is popped again, and goes on without a break into what has come since, also where it had run out."""
        for _ in range(count):
            pop = self._pops.pop()
            self._pcm[:0] = pop.pcm
            left, at = len(pop.pcm) // 2, self._at
            while left:
                given = min(left, self.segments[at].popped)
                self.segments[at].popped -= given
                left, at = left - given, at - 1
            self._at, self.last, self._concealed = pop.at, pop.last, pop.concealed
            self.underruns_within, self.underruns_between = pop.underruns_within, pop.underruns_between
            (self.depth.milliseconds, self.depth.clean), self._noted = pop.depth, pop.noted
        if self._concealed and self.segments[self._at].complete and not self.segments[self._at].waiting:
            self._concealed = False  # as in end_segment, which may have come since
        self._note_finish()

    @property
    def sounds(self) -> bool:
        """Whether the next frame has audio of the utterance."""
        return self._ready if self.last is None else self._available > 0

    def peek(self) -> bytes | None:
        """One frame with which the sound that is being heard would go on; None in silence. Nothing is popped."""
        if self.last is None:
            return None
        if samples := self._available:
            return self._padded(bytes(self._pcm[: 2 * samples]))
        return concealment(self.last) if self._amid_segment else None

    def remaining(self) -> list[tuple[Segment, bytes]]:
        """The segments that are not done, each with its audio that was not popped, in order."""
        rest, begin = [], 0
        for segment in self.segments[self._at :]:
            end = begin + 2 * segment.waiting
            if segment.waiting or not segment.complete:
                rest.append((segment, bytes(self._pcm[begin:end])))
            begin = end
        return rest

    @property
    def _final(self) -> int:
        """Samples that wait and belong to segments that are complete: nothing will be inserted after them."""
        waiting = len(self._pcm) // 2
        return waiting if not self.segments or self.segments[-1].complete else waiting - self.segments[-1].waiting

    @property
    def _available(self) -> int:
        """Samples that the next frame can hold now: a whole frame, or what is left of complete segments."""
        return self._frame if len(self._pcm) >= 2 * self._frame else self._final

    @property
    def _ready(self) -> bool:
        depth = self.depth.deeper if self._concealed else self.depth.milliseconds
        return self._final > 0 or len(self._pcm) // 2 * 1000 >= depth * self.rate

    @property
    def _amid_segment(self) -> bool:
        return not self.segments[-1].complete and self.segments[-1].popped > 0

    def _resume(self) -> bool:
        """Sound begins. True where it goes on within a segment and has to be faded in."""
        concealed, self._concealed = self._concealed, False
        if concealed:
            self.underruns_within += 1
            self.depth.underran()
        elif self.segments[0].popped:
            self.underruns_between += 1
        return concealed

    def _run_out(self, last: bytes) -> Frame | None:
        self.last = None
        self._concealed = self._amid_segment
        return Frame(concealment(last), 0) if self._concealed else None

    def _take(self, samples: int) -> Frame:
        pcm = self._pops[-1].pcm = bytes(self._pcm[: 2 * samples])
        del self._pcm[: 2 * samples]
        begun: list[str] = []
        left = samples
        while left:
            segment = self.segments[self._at]
            taken = min(left, segment.waiting)
            if taken and not segment.popped:
                begun.append(segment.text)
            segment.popped += taken
            left -= taken
            if left:
                self._at += 1
        return Frame(self._padded(pcm), samples, tuple(begun))

    def _padded(self, pcm: bytes) -> bytes:
        return pcm.ljust(2 * self._frame, b"\0")

    def _note_finish(self) -> None:
        if self.finished and self.segments and not self.underruns_within and not self._noted:
            self._noted = True
            self.depth.went_clean()
