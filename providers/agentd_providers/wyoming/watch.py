"""Whether a Wyoming server can be reached, and what it serves: asked now and then, and at once after a failure.

Asked by `describe`, which every server answers; most do not answer a `ping`. One watch serves every stage and every
agent that use the same server.
"""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Readiness
from agentd.errors import ProviderError
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.connection import MAX_INFO_DATA, open_connection
from agentd_providers.wyoming.info import Info, parse_info
from agentd_providers.wyoming.protocol import describe

log = structlog.get_logger("agentd_providers.wyoming")

ANSWER_DEADLINE = deadlines.WYOMING_ANSWER.seconds
INTERVAL = 30.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0


@attrs.define(eq=False)
class WyomingWatch:
    """One server. `info` is what it said last; None until it has been reached once."""

    uri: str
    connect_timeout: float
    info: Info | None = attrs.field(default=None, init=False)
    readiness: Readiness = attrs.field(default=Readiness(False, "not reached yet"), init=False)
    _since: str = attrs.field(default="", init=False)
    """When it was found to be away; empty while it is not."""
    _suspicion: trio.Event = attrs.field(factory=trio.Event, init=False)

    def suspect(self) -> None:
        """Somebody has failed to be served: look whether the server is there."""
        self._suspicion.set()

    def readiness_for(self, lacks: str) -> Readiness:
        """Whether a stage can be served: by a server that is there, if nothing is lacking (`lacks` says what)."""
        return Readiness(not lacks, lacks) if self.readiness.ready else self.readiness

    async def look(self) -> None:
        """Ask the server; what comes of it is in `info` and `readiness`. Logged when it changes."""
        try:
            async with open_connection(self.uri, self.connect_timeout, MAX_INFO_DATA) as connection:
                await connection.send(describe(), ANSWER_DEADLINE)
                answer = await connection.expect("info", deadline=ANSWER_DEADLINE)
                with connection.blaming():
                    self.info = parse_info(answer)
        except ProviderError as error:
            if not self._since:
                self._since = time.strftime("%Y-%m-%d %H:%M:%S")
                log.warning("Wyoming server is unreachable", server=self.uri, error=str(error))
            self.readiness = Readiness(False, f"unreachable since {self._since}: {error}")
        else:
            if not self.readiness.ready:
                log.info("Wyoming server is reached", server=self.uri)
            self.readiness, self._since = Readiness(True), ""

    async def run(self) -> None:
        """Look now and then, sooner while the server is away, until cancelled."""
        delay = FIRST_DELAY
        while True:
            if self.readiness.ready:
                delay = FIRST_DELAY
                with trio.move_on_after(INTERVAL):
                    await self._suspicion.wait()
            else:
                # Jitter, so that not all hosts come at once to a server that is back.
                await trio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, LONGEST_DELAY)
            self._suspicion = trio.Event()
            await self.look()


@asynccontextmanager
async def watch_server(uri: str, connect_timeout: float, shared: SharedServices) -> AsyncIterator[WyomingWatch]:
    """The watch of a server, which has looked once. Never raises for a server that is away: `readiness` tells."""
    async with shared.use(("wyoming", uri), partial(_open_watch, uri, connect_timeout), "wyoming") as watch:
        yield watch


@asynccontextmanager
async def _open_watch(uri: str, connect_timeout: float) -> AsyncIterator[WyomingWatch]:
    watch = WyomingWatch(uri, connect_timeout)
    await watch.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()
