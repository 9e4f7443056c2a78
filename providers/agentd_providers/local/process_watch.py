"""Looks at a process that was asked something: whether it works on it, or hangs (agentd_providers.local.hung)."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import sysconf
from pathlib import Path

import attrs
import trio

from agentd_providers.local.hung import LOOK_EVERY, STARVED, Seen, Vigil

TICKS = sysconf("SC_CLK_TCK")
"""Of a processor's second, in /proc."""


class EngineLost(Exception):
    """An engine's process is of no use any more; the message says what became of it: "hung", for instance."""


@attrs.define(eq=False)
class _Asked:
    scope: trio.CancelScope
    vigil: Vigil
    began: float = attrs.field(factory=trio.current_time)
    verdict: str = ""


@attrs.define(eq=False)
class ProcessWatch:
    """Of the process `pid`, which is asked one thing at a time. `run` must run meanwhile."""

    pid: int = 0
    _asked: _Asked | None = attrs.field(default=None, init=False)
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)

    @contextmanager
    def asked(self, limit: float, *, looking: bool = True) -> Iterator[None]:
        """Around what waits for the process's answer: it is cancelled after `limit` seconds; while we are `looking`,
        when the process is hung: sooner if it does nothing at all, later if it is given no processor. Raises
        EngineLost then."""
        latest = max(limit, STARVED) if looking else limit
        with trio.CancelScope(deadline=trio.current_time() + latest) as scope:
            asked = _Asked(scope, Vigil(limit))
            if looking:
                self._asked = asked
                self._begun.set()
            try:
                yield
            finally:
                self._asked = None
        if scope.cancelled_caught:
            raise EngineLost(f"hung: {asked.verdict or f'not done within {latest:g} s'}")

    async def run(self) -> None:
        """Look while something is asked, until cancelled."""
        while True:
            await self._begun.wait()
            self._begun = trio.Event()
            while (asked := self._asked) is not None:
                if verdict := asked.vigil.look(trio.current_time() - asked.began, seen(self.pid)):
                    asked.verdict = verdict
                    asked.scope.cancel()
                await trio.sleep(LOOK_EVERY)


def seen(pid: int) -> Seen | None:
    """A look at a process and its threads (proc(5)); None when there is no such process."""
    process = Path(f"/proc/{pid}")
    try:
        fields = _fields(process)
        runnable = any(_fields(thread)[0] == "R" for thread in (process / "task").iterdir())
        return Seen((int(fields[11]) + int(fields[12])) / TICKS, int(fields[9]), runnable)
    except (OSError, IndexError, ValueError):
        return None


def _fields(process: Path) -> list[str]:
    """Of its stat, from the state on, which follows on a name in brackets."""
    return (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
