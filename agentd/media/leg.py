"""The contract of media legs: what a leg is, what its connection does, and where a call gets one from."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import attrs

from agentd.audio.formats import FRAME_MS

FRAME_SECONDS = FRAME_MS / 1000
LONGEST_LEAD = 10
"""Frames (200 ms) that a line which clocks itself may be ahead of the caller's ear at most."""


class LegKind(StrEnum):
    """Whether a media leg brings the agent's voice back (streaming), or only listens while files are played."""

    STREAMING = "streaming"
    LISTENING = "listening"


@attrs.frozen
class LineFormat:
    """The format of the call's own side of the line: slin at `rate` Hz in frames of 20 ms."""

    rate: int = 8000

    @property
    def frame_bytes(self) -> int:
        return self.rate * FRAME_MS // 1000 * 2


class NextFrame(Protocol):
    """Where a connection gets what it is to carry to the caller. It never blocks and never raises."""

    def __call__(self, *, ahead: bool = False) -> bytes | None:
        """The next frame of slin; None is silence.

        `ahead`: the frame is not due yet, it is only taken ahead. None then means that there is nothing to take: the
        connection carries nothing for it, and asks again, at the latest when a frame is due.
        """
        ...


class Lead(Protocol):
    """How far a line that clocks itself is ahead of the caller's ear, in the frames that it was given."""

    @property
    def ahead(self) -> int:
        """How many of the frames that it was given the caller has not heard: the last ones, `LONGEST_LEAD` at most.

        To one frame exact, so that an estimate by the line's last mark and the clock will do. While a frame is being
        given, it is not among them yet. Once the connection has ended, it holds still.
        """
        ...

    def take_back(self) -> int:
        """Drop them from the line, and give how many they were: what is given next is heard next.

        It may be called while a frame that is due is being given. To a connection that has ended it does nothing but
        say how many frames went with it.
        """
        ...


class MediaConnection(Protocol):
    """A media leg's audio, both ways, whatever transport carries it. Its user releases it.

    There are two kinds of lines. One that agentd clocks is given a frame every 20 ms, and what it was given is as good
    as heard: its `lead` is None. One that clocks itself takes frames ahead, as far as its peer lets it; its `lead`
    tells what the caller has not heard of them, and drops it when something else is to be heard.
    """

    @property
    def peer(self) -> str:
        """The other end, for the log."""
        ...

    @property
    def lead(self) -> Lead | None:
        """How far it is ahead; None on a line that agentd clocks."""
        ...

    @property
    def doubtful(self) -> bool:
        """Whether nothing has come for so long that the PBX has to be asked whether the leg is still there. Never on a
        line whose transport tells its end."""
        ...

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: NextFrame,
        beat: Callable[[], None],
    ) -> str:
        """Carry the call's audio until the connection ends; returns why it ended.

        `receive(pcm, rate, at)` gets the caller's audio in pieces of any length: slin at `rate` Hz, which arrived at
        second `at` (trio's clock). `press(digit)` gets DTMF that comes with the audio. `next_frame()` is asked for each
        frame in turn, slin as `line` says; the connection packs silence itself. `beat()` is called every 20 ms for as
        long as the line works, whether or not it takes a frame: a line whose peer says stop is no dead line. None of
        the four blocks.

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

    def media_leg(self, kind: LegKind) -> AbstractAsyncContextManager[MediaConnection]:
        """Bring up a leg, and remove it on leaving the block. Raises AriError or MediaTimeout."""
        ...

    async def leg_stands(self) -> bool:
        """Whether the PBX still has the leg that is up. Raises AriError where it does not say."""
        ...

    async def unconverted(self) -> str:
        """The codec of the caller's own side that the PBX cannot convert into ours; empty where it can, or where that
        cannot be told. To be asked of a leg that is up."""
        ...

    async def carry_silence(self) -> None:
        """Have the caller's line carry silence while there is no streaming leg: some phones hang up without RTP."""
        ...
