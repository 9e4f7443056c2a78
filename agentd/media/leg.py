"""What a media leg is, and where a call gets one from."""

from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from agentd.audiosocket.connection import AudioSocketConnection
from agentd.dialplan import MediaWay


class LegKind(StrEnum):
    """Whether a media leg brings the agent's voice back (streaming), or only listens while files are played."""

    STREAMING = "streaming"
    LISTENING = "listening"


class MediaSource(Protocol):
    """Where media legs come from: a caller's channel, or the one connection of a call without ARI."""

    lost_means_hang_up: bool
    """The leg is the call: there is no other to be had."""

    def media_leg(self, way: MediaWay, kind: LegKind) -> AbstractAsyncContextManager[AudioSocketConnection]:
        """Bring up a leg, and remove it on leaving the block. Raises AriError or MediaTimeout."""
        ...

    async def carry_silence(self) -> None:
        """Have the caller's line carry silence while there is no streaming leg: some phones hang up without RTP."""
        ...
