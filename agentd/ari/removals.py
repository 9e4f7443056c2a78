"""Parts of media legs whose removal Asterisk could not do: it is asked again soon, not at the next look at the PBX."""

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from agentd.ari.hand_back import Refusal, judge, pause_after
from agentd.errors import AriError

log = structlog.get_logger("agentd.removals")

LONGEST_PAUSE = 3.0
"""Seconds between two tries at most: within 5 s after Asterisk answers again, nothing is left."""
MOST = 500
"""Parts that are remembered; what is beyond is found by the next look."""
Remove = Callable[[str], Awaitable[None]]


@attrs.define(eq=False)
class Removals:
    """Channels and bridges that are still to be removed, by id. `run` is a task of the daemon's: no call waits for it.

    While Asterisk does nothing one of them is tried at a time, with back-off, so that who is to be handed back has its
    answers.
    """

    _owed: dict[str, Remove] = attrs.field(factory=dict, init=False)
    _more: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def ids(self) -> frozenset[str]:
        """What is to be removed yet."""
        return frozenset(self._owed)

    def failed(self, object_id: str, remove: Remove, error: AriError) -> None:
        """`remove(object_id)` was refused or not answered: it is tried again where that may help. Does not block."""
        if judge(error) is Refusal.TRY_AGAIN and (object_id in self._owed or len(self._owed) < MOST):
            self._owed[object_id] = remove
            self._more.set()

    async def run(self) -> None:
        """Have them removed, until cancelled."""
        failures = 0
        while True:
            if not self._owed:
                self._more = trio.Event()
                await self._more.wait()
                await trio.sleep(pause_after(1))
            object_id, remove = next(iter(self._owed.items()))
            try:
                await remove(object_id)
            except AriError as error:
                if judge(error) is Refusal.TRY_AGAIN:
                    failures += 1
                    self._owed[object_id] = self._owed.pop(object_id)  # the others' turn: it may be this one's fault
                    await trio.sleep(min(pause_after(failures), LONGEST_PAUSE))
                    continue
                log.warning("what is left of a media leg cannot be removed", id=object_id, error=str(error))
            else:
                log.info("what was left of a media leg is removed", id=object_id, tries=failures + 1)
            failures = 0
            del self._owed[object_id]
