"""One engine's process: it does a job at a time, and is killed when it hangs.

It is trio-parallel's, which starts another one by itself as soon as it is needed. That one has no model loaded: so the
worker is told whenever a process is lost, and begins anew (see agentd_providers.local.worker).
"""

import os
from collections.abc import Callable
from typing import Any

import attrs
import trio
import trio_parallel

from agentd_providers.local.engine_side import perform
from agentd_providers.local.hung import ANSWER_WITHIN, START_WITHIN
from agentd_providers.local.process_watch import EngineLost, ProcessWatch


@attrs.define(eq=False)
class EngineProcess:
    """The process of a worker's `context`. Its `watch` must run as long as it is used."""

    _context: trio_parallel.WorkerContext
    watch: ProcessWatch = attrs.field(factory=ProcessWatch, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    @property
    def alive(self) -> bool:
        """Whether it is there, and waits for a job."""
        return bool(self._context.statistics().idle_workers)

    async def start(self) -> None:
        """Start it, if it is not there. Raises EngineLost when that fails, as without memory or descriptors."""
        try:
            with trio.fail_after(START_WITHIN):
                self.watch.pid = await self._run(os.getpid, ())
        except trio_parallel.BrokenWorkerError:
            raise EngineLost("died at its start") from None
        except trio.TooSlowError:
            raise EngineLost(f"did not start within {START_WITHIN:g} s") from None
        except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: a thread cannot be had
            raise EngineLost(f"could not be started ({type(error).__name__}: {error})") from error

    async def ask(self) -> None:
        """Have it answer. Raises EngineLost when it does not."""
        await self.do(os.getpid, (), ANSWER_WITHIN)

    async def do(
        self, function: Callable[..., Any], args: tuple[Any, ...], limit: float, *, watched: bool = True
    ) -> Any:
        """Have it run a function of a module, for no longer than `limit` seconds. Where it is `watched`, it is given up
        sooner when it does nothing at all.

        Raises EngineLost, and what the function raises. Cancelling kills the process.
        """
        if not self.alive:
            raise EngineLost("died")
        with self.watch.asked(limit, looking=watched):
            try:
                return await self._run(function, args)
            except Exception as error:
                # Its own error leaves it alive. It may also die in the middle of its answer, of which this is left.
                if isinstance(error, trio_parallel.BrokenWorkerError) or not self.alive:
                    raise EngineLost("died") from error
                raise

    async def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return await self._context.run_sync(perform, function, args, kill_on_cancel=True, limiter=self._limiter)
