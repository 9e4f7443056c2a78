"""The callers whom an agentd before has left in the application, and whose calls are gone on with here.

They hear nothing until then. So this comes before all that takes its time: agents, engines, models.
"""

from collections.abc import Callable, Container, Mapping, Set
from pathlib import Path

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.ari.events import Channel
from agentd.calls.record import CallRecord, RecordRefused, from_bytes, to_bytes
from agentd.metrics import Metrics
from agentd.service.adoptable import Cause, refused
from agentd.service.record_files import RecordFiles

log = structlog.get_logger("agentd.adoption")

READ_DEADLINE = deadlines.RECORDS_WRITE.seconds


@attrs.frozen
class Adopted:
    """A caller whose call is gone on with: what is known of it, and the channel as Asterisk has it now."""

    record: CallRecord
    channel: Channel


@attrs.define(eq=False)
class Adoption:
    """Of one start. `agents` and `transports` are those that there are now; `clock` gives seconds since 1970."""

    files: RecordFiles
    agents: Container[str]
    transports: Container[str]
    metrics: Metrics
    clock: Callable[[], float]
    adopted: list[Adopted] = attrs.field(factory=list, init=False)
    chosen: bool = attrs.field(default=False, init=False)
    """`choose` was asked: it is known who is there."""
    _found: dict[Path, bytes] = attrs.field(factory=dict, init=False)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    async def read(self) -> None:
        """Read what the agentd before has left. Raises nothing: what cannot be read is told, and its callers are handed
        back."""
        try:
            with trio.move_on_after(READ_DEADLINE):
                self._found = await trio.to_thread.run_sync(
                    self.files.read, limiter=self._thread, abandon_on_cancel=True
                )
        except OSError as error:
            log.error("the records of an earlier agentd's calls cannot be read", error=str(error))

    def knows(self, channel: str) -> bool:
        """Whether there is a record for this channel, be it of use or not."""
        return self.files.path(channel) in self._found

    def choose(self, callers: Mapping[str, Channel]) -> Set[str]:
        """Of the callers who are in the application and whom nobody serves, by their channels: those whose calls are
        gone on with. The records of all others are nobody's."""
        self.chosen = True
        for channel in callers.values():
            if (data := self._found.get(path := self.files.path(channel.id))) is None:
                self._refuse(channel, Cause.NO_RECORD, "nothing is noted of the call")
                continue
            try:
                record = from_bytes(data)
            except RecordRefused as error:
                self._refuse(channel, Cause.UNREADABLE, f"{path}: {error}")
                continue
            if (refusal := refused(record, channel.id, self.agents, self.transports)) is not None:
                self._refuse(channel, *refusal)
                continue
            record = attrs.evolve(record, adoptions=record.adoptions + 1, adopted_at=self.clock())
            self.adopted.append(Adopted(record, channel))
        return {adopted.channel.id for adopted in self.adopted}

    async def note(self) -> None:
        """Write down that they are gone on with, and remove the other records: so a call that ends this agentd too is
        known. Raises nothing."""
        with trio.move_on_after(READ_DEADLINE):
            failure = await trio.to_thread.run_sync(self._note, limiter=self._thread, abandon_on_cancel=True)
            if failure is not None:
                log.error("the records of an earlier agentd's calls cannot be put in order", error=str(failure))

    def _note(self) -> OSError | None:
        """The thread's part; gives what failed."""
        kept = {self.files.path(adopted.channel.id) for adopted in self.adopted}
        try:
            self.files.remove(path for path in self._found if path not in kept)
            for adopted in self.adopted:
                self.files.write(adopted.channel.id, to_bytes(adopted.record))
        except OSError as error:
            return error
        return None

    def _refuse(self, channel: Channel, cause: Cause, detail: str) -> None:
        self.metrics.adoptions_refused.labels(reason=str(cause)).inc()
        log.warning("the call of an earlier agentd is not gone on with", channel=channel.id, detail=detail)
