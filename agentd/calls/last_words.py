"""The end of a call as its caller hears it: the agent's words to their end, or none of them; then an announcement."""

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.calls.voice import AgentVoice
from agentd.conversation import commands as do
from agentd.errors import PlaybackError
from agentd.playback.contract import Announcement
from agentd.playback.downstream import Downstream
from agentd.playout import PlayoutBuffer

log = structlog.get_logger("agentd.call")

HOLD_PATIENCE = deadlines.LAST_WORDS_HOLD.seconds
FINISH_DEADLINE = deadlines.LAST_WORDS.seconds
ANNOUNCEMENT_DEADLINE = deadlines.ANNOUNCEMENT.seconds


@attrs.frozen
class LastWords:
    """One call's."""

    playout: PlayoutBuffer
    playback: Downstream
    voice: AgentVoice
    _saying: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)

    def hurry(self) -> None:
        """The daemon is being stopped: what is being said, or will be, has to be over soon."""
        soon = trio.current_time() + deadlines.SHUTDOWN_WORDS.seconds
        self._saying.deadline = min(self._saying.deadline, soon)

    async def say(self, command: do.Leave, announcement: Announcement | None) -> None:
        """Finish or stop what is heard, and announce. Raises nothing: what cannot be heard keeps no caller. Once.

        Words to be finished wait for a caller who holds.
        """
        with self._saying:
            if command.finish:
                with trio.move_on_after(HOLD_PATIENCE):
                    await self.voice.until_off_hold()
            await self.voice.unhold()
            if command.finish:
                with trio.move_on_after(FINISH_DEADLINE):
                    await (
                        self.playback.restore()
                    )  # nobody listens any more to whether a sound that paused it was nothing
                    await self.voice.finish()
            else:
                self.playout.close()
                await self.playback.stop()
            if command.announce and announcement is not None:
                await self._announce(announcement)
        if self._saying.cancelled_caught:
            log.warning("the last words are cut short: agentd is being stopped")

    async def _announce(self, announcement: Announcement) -> None:
        with trio.move_on_after(ANNOUNCEMENT_DEADLINE) as deadline:
            try:
                await self.playback.announce(announcement)
            except PlaybackError as error:
                log.warning("the announcement could not be played", error=str(error))
        if deadline.cancelled_caught:
            log.warning("the announcement took too long", deadline_s=ANNOUNCEMENT_DEADLINE)
