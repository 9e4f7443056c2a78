"""Looks at a process that was asked something: whether it works on it, or hangs (agentd_providers.local.hung)."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from agentd_providers.local.hung import LOOK_EVERY, Vigil


class EngineLost(Exception):
    """An engine's process is of no use any more; the message says what became of it: "hung", for instance."""


@attrs.define(eq=False)
class _Asked:
    scope: trio.CancelScope
    vigil: Vigil = attrs.field(factory=Vigil)
    idle: bool = False


@attrs.define(eq=False)
class ProcessWatch:
    """Of the process `pid`, which is asked one thing at a time. `run` must run meanwhile."""

    pid: int = 0
    _asked: _Asked | None = attrs.field(default=None, init=False)
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)

    @contextmanager
    def asked(self, limit: float, *, looking: bool = True) -> Iterator[None]:
        """Around what waits for the process's answer: it is cancelled after `limit` seconds; while we are `looking`,
        sooner when the process does nothing at all. Raises EngineLost then."""
        with trio.CancelScope(deadline=trio.current_time() + limit) as scope:
            asked = _Asked(scope)
            if looking:
                self._asked = asked
                self._begun.set()
            try:
                yield
            finally:
                self._asked = None
        if scope.cancelled_caught:
            raise EngineLost("hung: it did nothing" if asked.idle else f"hung: not done within {limit:g} s")

    async def run(self) -> None:
        """Look while something is asked, until cancelled."""
        while True:
            await self._begun.wait()
            self._begun = trio.Event()
            while (asked := self._asked) is not None:
                if asked.vigil.looks_hung(done_by(self.pid)):
                    asked.idle = True
                    asked.scope.cancel()
                await trio.sleep(LOOK_EVERY)


def done_by(pid: int) -> Hashable:
    """What stands for all that a process has ever done: its major page faults and its time on a processor (proc(5)).
    None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[9], fields[11], fields[12]
    except (OSError, IndexError):
        return None
