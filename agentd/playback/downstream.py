"""The way back to one caller: streaming, files, or first the one and then, when it fails, the other."""

import math
from collections.abc import Callable

import attrs
import structlog

from agentd.errors import PlaybackError
from agentd.media.leg import Lead
from agentd.playback.contract import Announcement, Heard, Playback, PlaybackListener
from agentd.playback.file import FilePlayback
from agentd.playback.stream import StreamPlayback
from agentd.playout import UtteranceSource

log = structlog.get_logger("agentd.playback")


@attrs.define(eq=False)
class Downstream:
    """A call's playback: `stream` for as long as it is to be had, else `file`; at least one of them is there.

    A call without ARI has no `file`, one in file mode no `stream`. Meets `agentd.playback.contract.Playback`.
    """

    stream: StreamPlayback | None = None
    file: FilePlayback | None = None
    _rest: UtteranceSource | None = attrs.field(default=None, init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _on_hold: bool = attrs.field(default=False, init=False)
    _before: Heard | None = attrs.field(default=None, init=False)
    """What was heard of the utterance that is being played before the change to files."""

    @property
    def streaming(self) -> bool:
        return self.stream is not None

    @property
    def heard_at(self) -> float:
        """See agentd.playback.contract.Playback.heard_at."""
        ways: tuple[Playback | None, ...] = (self.stream, self.file)
        return max((way.heard_at for way in ways if way is not None), default=-math.inf)

    @property
    def so_far(self) -> Heard | None:
        """See agentd.playback.contract.Playback.so_far."""
        heard = self._current.so_far
        if self._before is None:
            return heard
        return self._before if heard is None else _joined(self._before, heard)

    @property
    def playbacks(self) -> tuple[str, ...]:
        """The ids of the playbacks that Asterisk has of this call."""
        return () if self.file is None else self.file.playbacks

    @property
    def _current(self) -> Playback:
        current = self.stream or self.file
        assert current is not None, "a call has a way of playback"
        return current

    def attach(self, lead: Callable[[], Lead | None], on_heard: Callable[[bytes | None], None]) -> None:
        """Stream over a line whose lead `lead` gives; `on_heard(frame)` is told what of it the caller has heard."""
        if self.stream is not None:
            self.stream.lead, self.stream.on_heard = lead, on_heard

    def next_frame(self, *, ahead: bool = False) -> bytes | None:
        """The frame that the streaming leg carries next; see agentd.media.leg.NextFrame."""
        return None if self.stream is None else self.stream.next_frame(ahead=ahead)

    def line_moves(self, moving: bool) -> None:
        """The streaming leg's clock has moved on by a frame; or the leg is lost."""
        if self.stream is not None:
            if moving:
                self.stream.beat()
            else:
                self.stream.take_back()

    def fall_back(self) -> bool:
        """Change over to files, in mid-utterance too: nothing is lost or heard twice. False where there are none."""
        if self.stream is None or self.file is None:
            return False
        self._rest = self.stream.hand_over()
        self.stream = None
        return True

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        """See agentd.playback.contract.Playback.play."""
        begun, amid = False, ""

        def started() -> None:
            nonlocal begun
            if not begun:
                begun = True
                listener.started()

        def segment(text: str) -> None:
            nonlocal amid
            amid = " ".join(text.split())
            listener.segment(text)

        def segment_of_rest(text: str) -> None:
            nonlocal amid
            goes_on, amid = amid.endswith(text) and amid != "", ""
            if not goes_on:  # else it was told when it began
                listener.segment(text)

        heard = await self._current.play(stream, PlaybackListener(started, segment))
        rest, self._rest = self._rest, None
        if rest is None or self.file is None:
            return heard
        self._before = heard
        try:
            if self._paused or self._on_hold:
                await self.file.pause()
            return _joined(heard, await self.file.play(rest, PlaybackListener(started, segment_of_rest)))
        finally:
            self._before = None

    async def announce(self, announcement: Announcement) -> None:
        """See agentd.playback.contract.Playback.announce. Sounds of Asterisk's own are played by ARI: one of them
        stands in for audio that cannot be played, as where the disk is full."""
        if announcement.audio and announcement.instead and self.file is not None:
            try:
                await self._announce_audio(announcement)
            except PlaybackError as error:
                log.warning("a sound stands in for an announcement", sound=announcement.instead, error=str(error))
                await self.file.announce(Announcement(sound=announcement.instead))
        elif not announcement.sound:
            await self._announce_audio(announcement)
        elif self.file is not None:
            await self.file.announce(announcement)
        else:
            raise PlaybackError(f"{announcement.sound} is Asterisk's own, and this call has no ARI to play it")

    async def _announce_audio(self, announcement: Announcement) -> None:
        current = self._current
        await current.announce(announcement)
        if current is not self._current:  # it was cut off by the change
            await self._current.announce(announcement)

    async def attenuate(self) -> None:
        """See agentd.playback.contract.Playback.attenuate."""
        if not self._on_hold:
            await self._current.attenuate()

    async def pause(self) -> None:
        """See agentd.playback.contract.Playback.pause."""
        self._paused = True
        await self._current.pause()

    async def restore(self) -> None:
        """See agentd.playback.contract.Playback.restore."""
        self._paused = False
        if not self._on_hold:
            await self._current.restore()

    async def stop(self) -> None:
        """See agentd.playback.contract.Playback.stop."""
        self._paused = False
        await self._current.stop()

    async def hold(self) -> None:
        """Fall silent without losing the place until `unhold`, whatever is paused and restored meanwhile. What is
        played meanwhile is heard all the same: see agentd.calls.voice."""
        self._on_hold = True
        await self._current.pause()

    async def unhold(self) -> None:
        """Go on, unless it is paused."""
        if self._on_hold:
            self._on_hold = False
            if not self._paused:
                await self._current.restore()


def _joined(first: Heard, second: Heard) -> Heard:
    return Heard(
        milliseconds=first.milliseconds + second.milliseconds,
        completed=second.completed,
        text=f"{first.text} {second.text}".strip(),
        generated=f"{first.text} {second.generated}".strip(),
    )
