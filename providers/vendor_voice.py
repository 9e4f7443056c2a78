"""What a vendor says, as utterances in the playout: for sessions whose vendor sends its voice in bursts.

A vendor sends minutes of audio at once, and its events come in the same stream: so the reader of that stream must never
wait for room in the playout. Here audio waits instead, bounded in seconds.
"""

from collections import deque
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd.agent import Audio, Chunk, Playout, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.session_events import AgentText, Degraded, SessionEvent, UtteranceEnded, UtteranceStarted

log = structlog.get_logger("providers.vendor_voice")

MOST_SECONDS = 300.0
"""Audio that may wait here beyond what the playout holds; what comes on top of it is dropped, and told."""


@attrs.define(eq=False)
class VendorVoice:
    """One session's voice. `rate` (Hz) is that of the vendor's slin. Only `run` waits; it must run in the session's
    nursery. One utterance at a time: `begin`, then `words` and `audio` in any order, then `end` or `cut`.
    """

    playout: Playout
    rate: int
    emit: Callable[[SessionEvent], None]
    utterance: int = attrs.field(default=0, init=False)
    """The utterance that is open; 0 when none is."""
    _generation: int = attrs.field(default=0, init=False)
    _odd: bytes = attrs.field(default=b"", init=False)
    _text: str = attrs.field(default="", init=False)
    """Words that no segment has yet."""
    _segments: int = attrs.field(default=0, init=False)
    _waiting: deque[Chunk] = attrs.field(factory=deque, init=False)
    _held: deque[Chunk] | None = attrs.field(default=None, init=False)
    """What was begun since `hold`; None when nothing is held."""
    _seconds: float = attrs.field(default=0.0, init=False)
    _overflown: bool = attrs.field(default=False, init=False)
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def held(self) -> bool:
        """Whether what is begun now waits for `release`."""
        return self._held is not None

    def begin(self, *, aside: bool = False, text: str = "") -> int:
        """Begin an utterance (see UtteranceStarted); gives its number. `text`: its words, where they are known before
        its audio. An utterance that is open is ended."""
        self.end()
        self.utterance, self._generation, self._odd = self.playout.number(), self.playout.generation, b""
        self.emit(UtteranceStarted(self.utterance, aside))
        self._text, self._segments = "", 0
        self.words(text)
        return self.utterance

    def words(self, text: str) -> None:
        """Words of the open utterance, in order: whole ones, a clause or a sentence. With what else comes before more
        audio they are a segment, which that audio speaks: words that no audio follows are never counted as heard."""
        if self.utterance and text:
            self.emit(AgentText(self.utterance, text))
            self._text = f"{self._text} {text}".strip()

    def audio(self, pcm: bytes) -> None:
        """Audio of the open utterance: slin, in pieces of any length; without an open utterance it is dropped."""
        if not self.utterance:
            return
        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        pcm, self._odd = pcm[:whole], pcm[whole:]
        if not pcm:
            return
        if self._seconds >= MOST_SECONDS:
            if not self._overflown:
                self._overflown = True
                self.emit(Degraded(f"the vendor is more than {MOST_SECONDS:g} s ahead: the rest is left out"))
            return
        self._begin_segment()
        self._bring(Audio(self._generation, self.utterance, pcm, self.rate))

    def end(self) -> None:
        """The open utterance is complete; nothing happens where none is open."""
        if self.utterance:
            self._begin_segment()
            self._bring(SegmentEnd(self._generation, self.utterance))
            self._bring(UtteranceEnd(self._generation, self.utterance))
            self.emit(UtteranceEnded(self.utterance))
            self.utterance = 0

    def cut(self) -> None:
        """Nothing more of what was begun is wanted: forget what has not reached the playout, and end it. What was held
        is forgotten too, and nothing is held any more."""
        # The playout may hold the beginning of an utterance whose end is forgotten here, and would wait for it.
        begun = {(chunk.generation, chunk.utterance): None for chunk in self._waiting}
        if self.utterance and self._segments and not self.held:
            begun[self._generation, self.utterance] = None
        self._held = None
        self._waiting.clear()
        self._seconds, self._overflown = 0.0, False
        for generation, utterance in begun:
            self._bring(UtteranceEnd(generation, utterance))
        if self.utterance:
            self.emit(UtteranceEnded(self.utterance))
            self.utterance = 0

    def hold(self) -> None:
        """Cut what was begun, and keep from the playout what is begun from now on, until `release`: the answer to a
        turn that the call may interrupt for, or have to be told of first."""
        self.cut()
        self._held = deque()

    def release(self) -> None:
        """Let go what was held, in the generation that is listened to now; nothing happens where nothing is held."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._generation = self.playout.generation
        self._waiting.extend(attrs.evolve(chunk, generation=self._generation) for chunk in held)
        self._came.set()

    async def run(self) -> None:
        """Bring into the playout what waits, until cancelled."""
        while True:
            while self._waiting:
                chunk = self._waiting.popleft()
                if isinstance(chunk, Audio):
                    self._seconds -= chunk.seconds
                await self.playout.put(chunk)
            self._overflown = False
            self._came = trio.Event()
            await self._came.wait()

    def _begin_segment(self) -> None:
        if self._text or not self._segments:
            self._bring(SegmentStart(self._generation, self.utterance, self._text))
            self._text, self._segments = "", self._segments + 1

    def _bring(self, chunk: Chunk) -> None:
        if isinstance(chunk, Audio):
            self._seconds += chunk.seconds
        if self._held is not None:
            self._held.append(chunk)
        else:
            self._waiting.append(chunk)
            self._came.set()
