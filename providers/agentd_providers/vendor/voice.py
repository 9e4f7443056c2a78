"""A vendor's voice as utterances in the playout: for sessions whose vendor sends it in bursts.

A vendor sends minutes of audio at once, and its events come in the same stream: so the reader of that stream must never
wait for room in the playout. Here it waits instead, bounded in seconds, in chunks and in characters.
"""

from collections import deque
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd import budgets
from agentd import session_events as tells
from agentd.agent import Audio, Chunk, Playout, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.session_events import SessionEvent

log = structlog.get_logger("agentd_providers.vendor_voice")

MOST_SECONDS = 300.0
"""Audio that may wait here beyond what the playout holds; what comes on top of it is dropped, and told."""
MOST_CHUNKS = budgets.VENDOR_VOICE.most
"""The same of pieces of audio and of segments, however short."""
MOST_TEXT = 32_768
"""Characters of one utterance, and of all that waits here; what comes on top of it is dropped, and told."""
MOST_UNTOLD = 64
"""Events that may wait for `release`: they are told at once, and a session's queue of events is short."""
PIECE_SECONDS = 0.1
"""Pieces of audio shorter than this go together while they wait."""


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
    _characters: int = attrs.field(default=0, init=False)
    """Of the open utterance's words so far."""
    _wordy: bool = attrs.field(default=False, init=False)
    _segments: int = attrs.field(default=0, init=False)
    _waiting: deque[Chunk] = attrs.field(factory=deque, init=False)
    _held: deque[Chunk] | None = attrs.field(default=None, init=False)
    """The utterances begun since `hold`; None when nothing is held."""
    _untold: list[SessionEvent] = attrs.field(factory=list, init=False)
    """The events that tell of them."""
    _seconds: float = attrs.field(default=0.0, init=False)
    _waiting_text: int = attrs.field(default=0, init=False)
    """Characters of the segments that wait."""
    _overflown: bool = attrs.field(default=False, init=False)
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def held(self) -> bool:
        """Whether what is begun now waits for `release`."""
        return self._held is not None

    @property
    def untold(self) -> bool:
        """Whether something was begun that nobody was told of, because it is held."""
        return bool(self._untold)

    def begin(self, *, aside: bool = False, text: str = "", number: int = 0) -> int:
        """Begin an utterance (see UtteranceStarted); gives its number: a new one, unless the playout has given one
        before. `text`: its words, where they are known before its audio. An utterance that is open is ended; one for
        which there is no room is not opened."""
        self.end()
        number = number or self.playout.number()
        if len(self._untold) >= MOST_UNTOLD:
            self._leave_out()
            return number
        self.utterance, self._generation, self._odd = number, self.playout.generation, b""
        self._tell(tells.UtteranceStarted(self.utterance, aside))
        self._text, self._segments, self._characters, self._wordy = "", 0, 0, False
        self.words(text)
        return number

    def words(self, text: str) -> None:
        """Words of the open utterance, in order: whole ones, a clause or a sentence. With what else comes before more
        audio they are a segment, which that audio speaks: words that no audio follows are never counted as heard."""
        if not self.utterance or not text:
            return
        joined = len(self._text) + bool(self._text)
        room = MOST_TEXT - max(self._characters, self._waiting_text + joined)
        if len(text) > room:
            self._leave_out_words()
        if text := text[: max(room, 0)]:
            self._characters += len(text)
            self._tell(tells.AgentText(self.utterance, text))
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
        if self._full:
            self._leave_out()
            return
        self._begin_segment()
        self._bring(Audio(self._generation, self.utterance, pcm, self.rate))

    def end(self) -> None:
        """The open utterance is complete; nothing happens where none is open."""
        if not self.utterance:
            return
        if self._segments or not self._full:
            self._begin_segment()
            self._bring(SegmentEnd(self._generation, self.utterance))
            self._bring(UtteranceEnd(self._generation, self.utterance))
        self._tell(tells.UtteranceEnded(self.utterance))
        self.utterance = 0

    def cut(self) -> None:
        """Nothing more of what was begun is wanted: forget what has not reached the playout, and end it. Utterances
        that were held are forgotten too, and nothing is held any more."""
        # The playout may hold the beginning of an utterance whose end is forgotten here, and would wait for it.
        begun = {(chunk.generation, chunk.utterance): None for chunk in self._waiting}
        if self.utterance and self._segments and not self.held:
            begun[self._generation, self.utterance] = None
        told = self.utterance if not self.held else 0
        self._held = None
        self._untold.clear()
        self._waiting.clear()
        self._seconds, self._waiting_text, self._overflown = 0.0, 0, False
        for generation, utterance in begun:
            self._bring(UtteranceEnd(generation, utterance))
        if told:
            self.emit(tells.UtteranceEnded(told))
        self.utterance = 0

    def hold(self) -> None:
        """Cut what was begun, and keep back what is begun from now on, audio and events, until `release`: the answer to
        a turn that the call may interrupt for, or have to be told of first. (Who is told of an utterance takes it to be
        of the generation that is listened to then.)"""
        self.cut()
        self._held = deque()

    def release(self) -> None:
        """Let go and tell what was held, in the generation that is listened to now; nothing happens where nothing is
        held."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._generation = self.playout.generation
        self._waiting.extend(attrs.evolve(chunk, generation=self._generation) for chunk in held)
        self._came.set()
        untold, self._untold = self._untold, []
        for event in untold:
            self.emit(event)

    async def run(self) -> None:
        """Bring into the playout what waits, until cancelled."""
        while True:
            while self._waiting:
                chunk = self._waiting.popleft()
                if isinstance(chunk, Audio):
                    self._seconds -= chunk.seconds
                elif isinstance(chunk, SegmentStart):
                    self._waiting_text -= len(chunk.text)
                await self.playout.put(chunk)
            self._overflown = False
            self._came = trio.Event()
            await self._came.wait()

    @property
    def _full(self) -> bool:
        """Whether no more may wait. The open utterance's end still may."""
        return self._seconds >= MOST_SECONDS or len(self._held or ()) + len(self._waiting) >= MOST_CHUNKS

    def _leave_out(self) -> None:
        budgets.count_exceeded(budgets.VENDOR_VOICE)
        if not self._overflown:
            self._overflown = True
            ahead = f"{MOST_SECONDS:g} s, or {MOST_CHUNKS} pieces,"
            self.emit(tells.Degraded(f"the vendor is more than {ahead} ahead: the rest is left out"))

    def _leave_out_words(self) -> None:
        budgets.count_exceeded(budgets.VENDOR_VOICE)
        if not self._wordy:
            self._wordy = True
            self.emit(tells.Degraded(f"the vendor sends more words than {MOST_TEXT} characters: the rest is left out"))

    def _tell(self, event: SessionEvent) -> None:
        if self._held is None:
            self.emit(event)
            return
        last = self._untold[-1] if self._untold else None
        if isinstance(event, tells.AgentText) and isinstance(last, tells.AgentText):
            self._untold[-1] = tells.AgentText(event.utterance, f"{last.text} {event.text}")
        else:
            self._untold.append(event)

    def _begin_segment(self) -> None:
        if self._text or not self._segments:
            self._bring(SegmentStart(self._generation, self.utterance, self._text))
            self._text, self._segments = "", self._segments + 1

    def _bring(self, chunk: Chunk) -> None:
        waiting = self._waiting if self._held is None else self._held
        last = waiting[-1] if waiting else None
        if isinstance(chunk, Audio):
            self._seconds += chunk.seconds
            if isinstance(last, Audio) and last.seconds < PIECE_SECONDS and last.utterance == chunk.utterance:
                waiting[-1] = attrs.evolve(last, pcm=last.pcm + chunk.pcm)
                return
        elif isinstance(chunk, SegmentStart):
            self._waiting_text += len(chunk.text)
        waiting.append(chunk)
        if self._held is None:
            self._came.set()
