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
    _waiting: deque[Chunk] = attrs.field(factory=deque, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    _overflown: bool = attrs.field(default=False, init=False)
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)

    def begin(self, *, aside: bool = False, text: str = "") -> int:
        """Begin an utterance (see UtteranceStarted); gives its number. `text`: its words, where they are known before
        its audio. An utterance that is open is ended."""
        self.end()
        self.utterance, self._generation, self._odd = self.playout.number(), self.playout.generation, b""
        self.emit(UtteranceStarted(self.utterance, aside))
        if text:
            self.emit(AgentText(self.utterance, text))
        self._bring(SegmentStart(self._generation, self.utterance, text))
        return self.utterance

    def words(self, text: str) -> None:
        """Words of the open utterance, in order."""
        if self.utterance and text:
            self.emit(AgentText(self.utterance, text))

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
        self._bring(Audio(self._generation, self.utterance, pcm, self.rate))

    def end(self) -> None:
        """The open utterance is complete; nothing happens where none is open."""
        if self.utterance:
            self._bring(SegmentEnd(self._generation, self.utterance))
            self._bring(UtteranceEnd(self._generation, self.utterance))
            self.emit(UtteranceEnded(self.utterance))
            self.utterance = 0

    def cut(self) -> None:
        """Nothing more of what was begun is wanted: forget what has not reached the playout, and end it."""
        self._waiting.clear()
        self._seconds, self._overflown = 0.0, False
        self.end()

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

    def _bring(self, chunk: Chunk) -> None:
        if isinstance(chunk, Audio):
            self._seconds += chunk.seconds
        self._waiting.append(chunk)
        self._came.set()
