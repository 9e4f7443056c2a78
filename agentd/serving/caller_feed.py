"""The caller's voice on its way to whoever serves the call: straight, or first what a session's predecessor missed."""

from collections import deque

import attrs
import trio

from agentd.agent import AgentSession
from agentd.serving.caller_audio import CallerAudio, Piece

REPLAYED_AT_ONCE = 25
"""Frames of replayed audio between two breaths of the event loop."""
REPLAY_BREATH = 0.01


@attrs.define(eq=False)
class CallerFeed:
    """One call's. Audio that finds no session is kept for the next one (see CallerAudio)."""

    audio: CallerAudio
    _session: AgentSession | None = attrs.field(default=None, init=False)
    _replay: deque[Piece] = attrs.field(factory=deque, init=False)

    def feed(self, pcm: bytes, at: float) -> None:
        """Take caller audio that arrived at second `at`. Never blocks."""
        self.audio.hear(pcm, at)
        if self._session is None:
            return
        if self._replay:  # in its place, after what is still to be replayed
            self._replay.append(Piece(pcm, at))
        else:
            self._session.feed(pcm, at)

    def to(self, session: AgentSession | None, replay_from: float | None = None) -> None:
        """From now on this session hears the caller; first what was said since second `replay_from`, which `replay`
        has to hand over."""
        self._session = session
        self._replay = deque() if session is None or replay_from is None else deque(self.audio.since(replay_from))

    async def replay(self) -> None:
        """Hand over what is to be replayed, in small pieces: it would hold up the loop, or overrun a vendor's queue."""
        session = self._session
        while session is not None and self._session is session and self._replay:
            for _frame in range(min(len(self._replay), REPLAYED_AT_ONCE)):
                piece = self._replay.popleft()
                session.feed(piece.pcm, piece.at)
            await trio.sleep(REPLAY_BREATH)
