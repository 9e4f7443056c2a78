"""Who a call's caller is, once another party has taken the caller's place or may stand behind the same channel.

The line is asked, by one task of the call, one time after the other. Who has taken the place is somebody else for
certain: nobody is known until the line has told, and that is asked at once. Behind the same channel it is mostly the
same caller, told anew: who is known stays known until the line's answer is another one. A peer may tell that as often
as it likes (SIP's UPDATE), and each other party costs requests, and a session: so there are pauses.
"""

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from agentd.party import Party

log = structlog.get_logger("agentd.call")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between an answer and the next question about the same channel: twice as long each time, while there always
is another one."""


@attrs.define(eq=False)
class CallerIdentity:
    """One call's. `ask` is CallersLine.meet_successor; `become` is told who the caller is from now on, `learned` that
    it has been asked for. Neither may block."""

    known: Party
    ask: Callable[[], Awaitable[Party]]
    become: Callable[[Party], None]
    learned: Callable[[], None]
    _due: trio.Event = attrs.field(factory=trio.Event, init=False)
    _asking: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    """The time of a question, and of the pause after it."""
    _unmet: bool = attrs.field(default=False, init=False)
    """Somebody has taken the caller's place, and the line has not told who."""

    def replaced(self) -> None:
        """Another party has taken the caller's place. What is being asked is about the one before."""
        self._unmet = True
        self._set(Party())
        self._due.set()
        self._asking.cancel(reason="yet another party has come")

    def changed(self) -> None:
        """Another party may stand behind the caller's channel."""
        self._due.set()

    async def run(self) -> None:
        """Ask whenever there is reason to, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._due.wait()
            self._due = trio.Event()
            with trio.CancelScope() as self._asking:
                party = await self.ask()
                await trio.lowlevel.checkpoint_if_cancelled()  # a request is ended: its answer may be of the one before
                self._met(party)
                await trio.sleep(pause)
            another = self._due.is_set() and not self._asking.cancelled_caught
            pause = min(2.0 * pause, LONGEST_PAUSE) if another else FIRST_PAUSE

    def _met(self, party: Party) -> None:
        if self._unmet or party != self.known:
            self._unmet = False
            self._set(party)
            log.info("the caller is another one now", number_known=bool(party.number), name_known=bool(party.name))
            self.learned()

    def _set(self, party: Party) -> None:
        self.known = party
        self.become(party)
