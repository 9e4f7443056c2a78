"""The agent's voice in one call: plays its utterances one after the other, and says what was heard of each."""

from collections.abc import Callable
from functools import partial

import attrs
import structlog
import trio

from agentd.agent import AgentSession
from agentd.call_events import (
    AsideStarted,
    MediaFailed,
    PlaybackFinished,
    PlaybackStarted,
    ProtectionBegan,
    ProtectionEnded,
)
from agentd.errors import PlaybackError
from agentd.figures import CallFigures
from agentd.history import History
from agentd.playback.contract import Playback, PlaybackListener
from agentd.playout import PlayoutBuffer

log = structlog.get_logger("agentd.call")

FINISH_POLL = 0.01


@attrs.define(eq=False)
class AgentVoice:
    """Between playout and playback. `tell(event)` gets what the conversation wants to know; it must not block.

    Segments that contain a text of `uninterruptible`, or are a part of one, are told to be protected while they are
    heard.
    """

    playout: PlayoutBuffer
    playback: Playback
    history: History
    figures: CallFigures
    uninterruptible: tuple[str, ...]
    log_transcripts: bool
    tell: Callable[[object], None]
    session: AgentSession | None = None
    """Whom what was heard is told to; None while there is no session."""
    _playing: bool = attrs.field(default=False, init=False)
    _protected: bool = attrs.field(default=False, init=False)
    _quiet: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self) -> None:
        """Play utterances until cancelled, or until one cannot be played: then MediaFailed is told."""
        while True:
            stream = await self.playout.next_utterance()
            utterance = stream.utterance
            self._playing, self._quiet = True, trio.Event()
            try:
                heard = await self.playback.play(
                    stream, PlaybackListener(partial(self._began, utterance), self._segment_began)
                )
            except PlaybackError as error:
                log.error("playback failed", error=str(error))
                self.tell(MediaFailed(str(error)))
                return
            finally:
                self._playing = False
                self._quiet.set()
            self.history.agent_heard(utterance, heard.text, heard.generated)
            if self.session is not None:
                self.session.heard(utterance, heard.milliseconds, heard.completed)
            log.info("utterance heard", utterance=utterance, heard_ms=heard.milliseconds, completed=heard.completed)
            if not heard.completed and self.log_transcripts:
                log.info("utterance cut short", utterance=utterance, heard=heard.text, generated=heard.generated)
            self.tell(PlaybackFinished(utterance, idle=self.playout.empty))
            self._protect(False)  # after it: what was heard to its end is not interrupted

    async def finish(self) -> None:
        """Wait until nothing is heard or waits to be. The caller sets the deadline."""
        while self._playing or not self.playout.empty:
            if self._playing:
                await self._quiet.wait()
            await trio.sleep(FINISH_POLL)

    def _began(self, utterance: int) -> None:
        self.history.agent_speaks(utterance)
        if self.session is not None:
            self.session.started(utterance)
        self.figures.began(utterance)
        self.tell(AsideStarted(utterance) if self.figures.is_aside(utterance) else PlaybackStarted(utterance))

    def _segment_began(self, text: str) -> None:
        # A long sentence may come in clauses: each of them is protected.
        self._protect(any(whole in text or (" " in text and text in whole) for whole in self.uninterruptible))

    def _protect(self, protected: bool) -> None:
        if protected != self._protected:
            self._protected = protected
            self.tell(ProtectionBegan() if protected else ProtectionEnded())
