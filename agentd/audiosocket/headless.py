"""The caller's end of a call without ARI: `AudioSocket(uuid,host:port)` straight in the dialplan.

The connection is the call: who speaks on it is the caller, its end is the hang-up, and agentd hangs up by a hangup
frame, after which the dialplan goes on. Nothing is known of the caller but the UUID that the dialplan chose.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import attrs
import structlog
import trio

from agentd.audiosocket.connection import AudioSocketConnection
from agentd.conversation.commands import Destination
from agentd.conversation.events import CallerEvent
from agentd.errors import AriError, MediaTimeout
from agentd.media.leg import LegKind
from agentd.party import Party

log = structlog.get_logger("agentd.headless")


@attrs.define(eq=False)
class HeadlessLine:
    """Meets agentd.calls.callers_end.CallersLine with one connection that is there already."""

    uuid: UUID
    connection: AudioSocketConnection
    lost_means_hang_up: bool = True

    @asynccontextmanager
    async def media_leg(self, kind: LegKind) -> AsyncIterator[AudioSocketConnection]:
        """The connection, once. Raises MediaTimeout where another leg is asked for: there is none."""
        await trio.lowlevel.checkpoint()
        if self.connection.released.is_set() or kind is not LegKind.STREAMING:
            raise MediaTimeout("a call without ARI has one connection, and streams over it")
        try:
            yield self.connection
        finally:
            self.connection.release()

    async def carry_silence(self) -> None:
        """Nothing: without the connection there is no caller."""
        await trio.lowlevel.checkpoint()

    async def leg_stands(self) -> bool:
        """As long as the connection does."""
        await trio.lowlevel.checkpoint()
        return not self.connection.released.is_set()

    async def unconverted(self) -> str:
        """Nobody tells it without ARI."""
        await trio.lowlevel.checkpoint()
        return ""

    async def next_event(self) -> CallerEvent:
        """Nothing is ever told of such a call but by its connection."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def meet_successor(self) -> Party:
        """Nobody is ever put in the caller's place, as far as it is told."""
        await trio.lowlevel.checkpoint()
        return Party()

    async def send_dtmf(self, digits: str) -> None:
        """Raises AriError: AudioSocket carries no DTMF to Asterisk."""
        await trio.lowlevel.checkpoint()
        raise AriError("a call without ARI cannot send DTMF")

    async def dialplan_has(self, context: str, extension: str) -> bool:
        """Raises AriError: there is nobody to ask."""
        await trio.lowlevel.checkpoint()
        raise AriError("a call without ARI cannot ask for extensions")

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Hang up the AudioSocket side; the dialplan goes on after AudioSocket(), without AGENTD_RESULT, and at no
        `destination`: it is not for us to say."""
        log.info("hanging up the connection; the dialplan goes on", result=result)
        self.connection.hang_up()
        await self.connection.released.wait()
        return True
