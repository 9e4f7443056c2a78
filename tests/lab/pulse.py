"""Whether an Asterisk answers, and where it does not, why: the host leaves it no processor, or its threads wait for
each other.

Both end calls, and look alike from outside. Linux tells how long each thread was ready to run and did not
(/proc/PID/task/TID/schedstat, its second number, in ns; Documentation/scheduler/sched-stats.rst).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import trio

from .asterisk import PrivateAsterisk

EVERY = 0.2
"""Seconds between an answer and the next question."""
STALLED_AFTER = 2.0
"""Seconds without an answer that are a stall."""
STARVED_SHARE = 0.25
"""Of a stall: who was ready to run for so long, and did not, was without a processor."""


@attrs.frozen
class Stall:
    """A question that Asterisk took its time for. `waited`: how long the thread that was kept from running most was
    ready to; `threads`: where the kernel held each of them, by its name."""

    seconds: float
    waited: float
    threads: tuple[str, ...] = attrs.field(default=(), repr=False)

    @property
    def starved(self) -> bool:
        """The host left Asterisk no processor."""
        return self.waited >= STARVED_SHARE * self.seconds


@attrs.define
class Pulse:
    """What `feeling` has seen so far."""

    stalls: list[Stall] = attrs.field(factory=list)
    answered: trio.Event = attrs.field(factory=trio.Event)
    """Set once the question of now is answered: before that, a stall is not among them."""

    def __str__(self) -> str:
        return "\n".join(
            f"no answer for {stall.seconds:.1f} s; a thread waited {stall.waited:.1f} s for a processor\n  "
            + "\n  ".join(stall.threads)
            for stall in self.stalls
        )


@asynccontextmanager
async def feeling(pbx: PrivateAsterisk) -> AsyncIterator[Pulse]:
    """Ask Asterisk for its channels again and again while the block runs: a stall of some of its threads, too, is seen
    by what needs the lock of each channel (Asterisk's issue 2078)."""
    pulse = Pulse()
    auth = httpx.BasicAuth(pbx.ari_user, pbx.ari_password)
    async with (
        httpx.AsyncClient(auth=auth, trust_env=False, timeout=None) as client,  # noqa: S113 - a stall is to be measured
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_feel, pbx, client, pulse)
        yield pulse
        nursery.cancel_scope.cancel()


async def _feel(pbx: PrivateAsterisk, client: httpx.AsyncClient, pulse: Pulse) -> None:
    while True:
        began, before, threads = trio.current_time(), _waits(pbx.pid), list[str]()
        pulse.answered = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_look_at_threads, pbx.pid, threads)
            (await client.get(f"{pbx.ari_url}/channels")).raise_for_status()
            nursery.cancel_scope.cancel()
        if (seconds := trio.current_time() - began) >= STALLED_AFTER:
            after = _waits(pbx.pid)
            waited = max((after[thread] - before[thread] for thread in before.keys() & after.keys()), default=0.0)
            pulse.stalls.append(Stall(seconds, waited, tuple(threads)))
        pulse.answered.set()
        await trio.sleep(EVERY)


async def _look_at_threads(pid: int, threads: list[str]) -> None:
    """Once the stall has begun: where each thread is held, as far as the kernel tells this user."""
    await trio.sleep(STALLED_AFTER)
    for task in _tasks(pid):
        name, where = (_read(task / file).strip() for file in ("comm", "wchan"))
        threads.append(f"{task.name} {name}: {where or 'unknown'}")


def _waits(pid: int) -> Mapping[str, float]:
    """The seconds that each thread has waited for a processor."""
    stats = {task.name: _read(task / "schedstat").split() for task in _tasks(pid)}
    return {thread: int(fields[1]) / 1e9 for thread, fields in stats.items() if len(fields) > 1}


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    """Nothing where the thread has ended."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
