"""File playback that plays nothing, in the time that it would take."""

import math

import attrs
import trio

from agentd.agent import SegmentStart
from agentd.ari.events import PlaybackFinished, PlaybackStarted
from agentd.errors import PlaybackError
from agentd.playback.contract import Announcement, Heard, PlaybackListener
from agentd.playback.heard import Words
from agentd.playout import UtteranceSource


@attrs.define(eq=False)
class FakePlayback:
    """Plays nothing, in the time that it would take: `seconds` an utterance. For a FilePlayback."""

    seconds: float = 1.0
    failure: str = ""
    log: list[str] = attrs.field(factory=list)
    announcement_failure: str = ""
    stopping: float = 0.0
    """Seconds that a stop takes."""
    playing: int = 0
    unheard: bool = False
    """It is stuck: nothing is heard of what it plays."""
    _heard_at: float = attrs.field(default=-math.inf, init=False)
    _stopped: bool = attrs.field(default=False, init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def heard_at(self) -> float:
        """See agentd.playback.contract.Playback.heard_at."""
        if self.playing and not self._paused and not self.unheard:
            self._heard_at = trio.current_time()
        return self._heard_at

    @property
    def so_far(self) -> Heard | None:
        """See agentd.playback.contract.Playback.so_far: it does not tell."""
        return None

    @property
    def playbacks(self) -> tuple[str, ...]:
        """See agentd.playback.file.FilePlayback.playbacks: Asterisk has none."""
        return ()

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        segments: list[str] = []
        while (chunk := await stream.next()) is not None:
            if isinstance(chunk, SegmentStart):
                segments.append(chunk.text)
        text = " ".join(segments)
        if self.failure:
            raise PlaybackError(self.failure)
        if stream.interrupted:
            return Heard(0, False, "", text)
        self.playing += 1
        self._stopped, heard = False, 0.0
        try:
            listener.started()
            self.log.append(f"play {text}")
            for segment in segments:
                listener.segment(segment)
                heard += await self._sound(self.seconds / len(segments))
        finally:
            self._heard_at = self.heard_at
            self.playing -= 1
        words = text.split()[: Words(text).heard(heard, self.seconds)]
        return Heard(round(1000 * heard), not self._stopped, " ".join(words), text)

    async def _sound(self, seconds: float) -> float:
        """Let the time of a sound pass; gives how much of it was heard before a stop."""
        heard = 0.0
        while seconds - heard > 1e-6 and not self._stopped:
            self._changed, began, paused = trio.Event(), trio.current_time(), self._paused
            with trio.move_on_after(math.inf if paused else seconds - heard):
                await self._changed.wait()
            heard += 0.0 if paused else trio.current_time() - began
        return heard

    async def announce(self, announcement: Announcement) -> None:
        if self.announcement_failure:
            raise PlaybackError(self.announcement_failure)
        self.playing += 1
        try:
            self.log.append(f"announce {announcement.sound or len(announcement.audio)}")
            await trio.sleep(self.seconds)
        finally:
            self._heard_at = self.heard_at
            self.playing -= 1

    async def attenuate(self) -> None:
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()
        self._change("pause", paused=True)

    async def restore(self) -> None:
        await trio.lowlevel.checkpoint()
        self._change("restore", paused=False)

    async def stop(self) -> None:
        await trio.sleep(self.stopping)
        self._stopped = True
        self._change("stop", paused=False)

    def _change(self, what: str, *, paused: bool) -> None:
        self.log.append(what)
        self._paused = paused
        self._changed.set()

    def on_event(self, event: PlaybackStarted | PlaybackFinished) -> None:
        self.log.append(f"{type(event).__name__} {event.playback}")
