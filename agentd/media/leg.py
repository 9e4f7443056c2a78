"""What a media leg is, what its connection does, and where a call gets one from."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import attrs

from agentd.audio.formats import FRAME_MS
from agentd.dialplan import MediaWay

FRAME_SECONDS = FRAME_MS / 1000


class LegKind(StrEnum):
    """Whether a media leg brings the agent's voice back (streaming), or only listens while files are played."""

    STREAMING = "streaming"
    LISTENING = "listening"


@attrs.frozen
class LineFormat:
    """What the call's own side of the line carries: slin at `rate` Hz in frames of 20 ms."""

    rate: int = 8000

    @property
    def frame_bytes(self) -> int:
        return self.rate * FRAME_MS // 1000 * 2


class MediaConnection(Protocol):
    """A media leg's audio, both ways, whatever transport carries it. Who got it releases it."""

    @property
    def peer(self) -> str:
        """Who is at the other end, for the log."""
        ...

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: Callable[[], bytes | None],
        beat: Callable[[], None],
    ) -> str:
        """Carry the call's audio until the connection ends; returns why it ended.

        `receive(pcm, rate, at)` gets the caller's audio in pieces of any length: slin at `rate` Hz, which arrived at
        second `at` (trio's clock). `press(digit)` gets DTMF that comes with the audio. `next_frame()` is asked for each
        frame in turn, slin as `line` says; None is silence, which the connection packs itself. `beat()` is called every
        20 ms for as long as the line works. None of the four blocks.

        Cancelling it may leave the connection useless: `release` it.
        """
        ...

    def hang_up(self) -> None:
        """Have the peer end the leg, after what `serve` is sending; `serve` then returns."""
        ...

    def release(self) -> None:
        """Give the connection up: whoever made it closes it. It need not have been served; once more does nothing."""
        ...


class MediaSource(Protocol):
    """Where media legs come from: a caller's channel, or the one connection of a call without ARI."""

    lost_means_hang_up: bool
    """The leg is the call: there is no other to be had."""

    def media_leg(self, way: MediaWay, kind: LegKind) -> AbstractAsyncContextManager[MediaConnection]:
        """Bring up a leg, and remove it on leaving the block. Raises AriError or MediaTimeout."""
        ...

    async def carry_silence(self) -> None:
        """Have the caller's line carry silence while there is no streaming leg: some phones hang up without RTP."""
        ...
