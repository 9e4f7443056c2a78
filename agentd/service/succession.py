"""From one agentd to the next: what this one leaves of its calls, and what it takes up of those before.

While it runs, it keeps a record of every call, and the words that a caller is to hear first. When it is started again
it goes on with the calls whose records it finds; other callers who were left go on in the dialplan.
"""

import time
from collections.abc import Callable, Mapping, Set
from functools import partial

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Audio
from agentd.ari.client import AriClient
from agentd.ari.orphans import hand_back_orphans
from agentd.ari.reconciliation import Fate, fate
from agentd.config.settings import AgentConfig
from agentd.errors import AriError
from agentd.metrics import Metrics
from agentd.service.adoption import Adoption
from agentd.service.kept_words import KeptWords
from agentd.service.reception import Reception
from agentd.service.record_files import RecordFiles, RecordsTaken, RecordsUnusable
from agentd.service.recorder import Recorder
from agentd.serving.roster import Roster

log = structlog.get_logger("agentd.succession")

ORPHANS_DEADLINE = deadlines.ORPHANS.seconds
TAKEN_FOR = deadlines.RECORDS_TAKEN.seconds
TAKEN_LOOK = 0.1
HEAD_START = deadlines.HEAD_START.seconds


@attrs.define(eq=False)
class Succession:
    """One daemon's. `files` is None where nothing can be kept: then all callers who were left are handed back."""

    metrics: Metrics
    files: RecordFiles | None = attrs.field(default=None, init=False)
    recorder: Recorder = attrs.field(init=False)
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    _words: KeptWords | None = attrs.field(default=None, init=False)
    _another: bool = attrs.field(default=False, init=False)
    """Another agentd is alive, whose the callers are."""

    def __attrs_post_init__(self) -> None:
        self.recorder = Recorder(None, self.metrics)

    async def open(self, files: RecordFiles) -> None:
        """Take the records of an agentd before. Where another one holds them, it may be about to end, and is waited for
        a moment. Raises nothing."""
        try:
            await self._take(files)
        except RecordsTaken as error:
            self._another = True
            log.error("do two agentd run?", error=str(error))
        except RecordsUnusable as error:
            log.warning("a restart of agentd will end its calls: they cannot be noted", error=str(error))
        else:
            self.files = self.recorder.files = files
            self._words = KeptWords(files)

    async def _take(self, files: RecordFiles) -> None:
        until = trio.current_time() + TAKEN_FOR
        while True:
            try:
                return files.open()
            except RecordsTaken:
                if trio.current_time() >= until:
                    raise
            await trio.sleep(TAKEN_LOOK)

    def close(self) -> None:
        """Let go of the records; they stay."""
        if self.files is not None:
            self.files.close()

    # --- at the start

    async def take_up(self, client: AriClient, reception: Reception) -> Adoption | None:
        """Find the callers whom an agentd before has left: hand back those whose calls cannot be gone on with. Of the
        others, nothing is done yet; see `go_on`. By requests alone. Raises nothing: what cannot be done is told."""
        if self._another:
            return None
        adoption = None
        if self.files is not None:
            config = reception.config
            adoption = Adoption(self.files, config.agents, reception.transports, self.metrics, self.clock)
            await adoption.read()
        choose = _nobody if adoption is None else adoption.choose
        try:
            await hand_back_orphans(client.rest, client.app, ORPHANS_DEADLINE, choose)
        except AriError as error:
            log.warning("whether an earlier agentd left callers behind cannot be asked yet", error=str(error))
        if adoption is not None and adoption.chosen:
            await adoption.note()
        return adoption

    async def go_on(self, adoption: Adoption, reception: Reception, begin: Callable[[], object]) -> None:
        """Go on with the calls that were chosen. `begin` is called once they are known to be ours, for the application
        to come up; their legs get a head start before all that this host is about to load for its agents."""
        up, all_up = set[str](), trio.Event()

        def leg_came(call: str, _error: object) -> None:
            up.add(call)
            if len(up) == len(adoption.adopted):
                all_up.set()

        spoken: dict[str, Mapping[str, tuple[Audio, ...]]] = {}
        for agent in {adopted.record.agent for adopted in adoption.adopted}:
            spoken[agent] = await self._spoken(agent, reception.config.agents[agent])
        for adopted in adoption.adopted:
            reception.adopt(adopted, spoken[adopted.record.agent], partial(leg_came, adopted.channel.id))
        begin()
        if adoption.adopted:
            with trio.move_on_after(HEAD_START):
                await all_up.wait()

    async def _spoken(self, agent: str, config: AgentConfig) -> Mapping[str, tuple[Audio, ...]]:
        return {} if self._words is None else await self._words.read(agent, config)

    async def go_on_late(self, adoption: Adoption, client: AriClient, reception: Reception) -> None:
        """The same once Asterisk is there, where it was not at the start. Whoever is not gone on with is found by the
        reconciliation, which takes a moment longer."""
        await client.ever_connected.wait()
        try:
            channels = await client.rest.channels()
        except AriError as error:
            log.warning("whether an earlier agentd left callers behind cannot be asked", error=str(error))
            return
        ours = client.routes.keys() | client.hand_backs.channels
        adoption.choose(
            {
                channel.id: channel
                for channel in channels.values()
                if fate(channel, client.app) is Fate.HAND_BACK and channel.id not in ours and adoption.knows(channel.id)
            }
        )
        await adoption.note()
        await self.go_on(adoption, reception, lambda: None)

    # --- while it runs

    async def keep_words(self, roster: Roster) -> None:
        """Keep the words that callers hear first for the next agentd, until cancelled."""
        if self._words is not None:
            await self._words.run(roster)
        else:
            await trio.sleep_forever()

    # --- at the end

    async def leave(self, reception: Reception) -> None:
        """Leave the callers to the next agentd: their records are written down last, and nothing is said to them."""
        kept = await self.recorder.seal()
        log.info("the callers are left to the next agentd", calls=len(kept), present=reception.stays.present)
        await reception.stays.leave_behind(kept)


def _nobody(_callers: Mapping[str, object]) -> Set[str]:
    return frozenset()
