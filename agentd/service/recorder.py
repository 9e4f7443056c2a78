"""Keeps the calls' records up to date: looks at every call now and then, and writes down those that have changed.

A look takes some tens of microseconds a call, the writing is a thread's. So no call waits for a record, and none fails
for want of one. What is lost by a crash is what has been said and heard since the last look.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.calls.record import CallRecord, WrittenTurns, to_bytes
from agentd.metrics import Metrics
from agentd.service.record_files import RecordFiles

log = structlog.get_logger("agentd.recorder")

LOOK_EVERY = 0.5
"""Seconds between two looks at all calls."""
WRITE_DEADLINE = deadlines.RECORDS_WRITE.seconds


@attrs.define(eq=False)
class _Kept:
    """One call's record. `look` gives it as it stands; None while it is not one to go on with."""

    call_id: str
    look: Callable[[], CallRecord | None]
    path: Path | None = None
    written: bytes = b""
    turns: WrittenTurns = attrs.field(factory=dict, repr=False)
    """The history's turns as they were written down last."""


@attrs.define(eq=False)
class Recorder:
    """All calls' records. Without `files` none are kept."""

    files: RecordFiles | None
    metrics: Metrics
    sealed: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """The calls whose records are for the next agentd: nothing is changed about them any more."""
    _over: bool = attrs.field(default=False, init=False)
    """They are sealed."""
    _calls: set[_Kept] = attrs.field(factory=set, init=False)
    _inherited: dict[str, Path] = attrs.field(factory=dict, init=False)
    _outdated: set[Path] = attrs.field(factory=set, init=False)
    _failing: bool = attrs.field(default=False, init=False)
    _writing: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    @contextmanager
    def inheriting(self, call_id: str, channel: str) -> Iterator[None]:
        """A call that is gone on with has the record of an agentd before: it goes with the call, too, whether or not
        the call comes to be kept."""
        if self.files is not None:
            self._inherited[call_id] = self.files.path(channel)
        try:
            yield
        finally:
            path = self._inherited.pop(call_id, None)
            if path is not None and call_id not in self.sealed:
                self._outdated.add(path)

    @contextmanager
    def keeping(self, call_id: str, look: Callable[[], CallRecord | None]) -> Iterator[None]:
        """Keep a call's record for as long as the block runs; it goes with the call, however that ends."""
        kept = _Kept(call_id, look, self._inherited.pop(call_id, None))
        self._calls.add(kept)
        try:
            yield
        finally:
            self._calls.discard(kept)
            if kept.path is not None and call_id not in self.sealed:
                self._outdated.add(kept.path)

    async def run(self) -> None:
        """Keep the records up to date, until cancelled."""
        while True:
            await self.write()
            await trio.sleep(LOOK_EVERY)

    async def write(self) -> None:
        """Bring all records up to date. Raises nothing: what cannot be written is told, once until it can be again."""
        if self.files is None or self._over:
            return
        async with self._writing:
            changed, outdated = await self._changed(), tuple(self._outdated)
            if not changed and not outdated:
                return
            self._outdated.clear()
            with trio.move_on_after(WRITE_DEADLINE):
                put = partial(_put, self.files, [(channel, data) for _, channel, data in changed], outdated)
                paths, failure = await trio.to_thread.run_sync(put, limiter=self._thread, abandon_on_cancel=True)
                self._note(changed, paths, failure)

    async def seal(self) -> frozenset[str]:
        """The daemon is being started again: write down every call as it stands now, for the last time; gives the ids
        of those that are written down."""
        if self.files is None:
            return self.sealed
        for kept in self._calls:
            kept.written = b""
        await self.write()
        self._over = True
        self.sealed = frozenset(kept.call_id for kept in self._calls if kept.written)
        return self.sealed

    async def _changed(self) -> list[tuple[_Kept, str, bytes]]:
        """Look at every call; between two of them, the lines of all have their turn."""
        changed = []
        for kept in tuple(self._calls):
            await trio.lowlevel.checkpoint()
            if kept not in self._calls:
                continue
            if (record := kept.look()) is None:
                if kept.path is not None:
                    self._outdated.add(kept.path)
                kept.path, kept.written = None, b""
            elif (data := to_bytes(record, kept.turns)) != kept.written:
                changed.append((kept, record.stay.channel, data))
        return changed

    def _note(self, changed: list[tuple[_Kept, str, bytes]], paths: list[Path | None], failure: OSError | None) -> None:
        """Take note of what was written, and where; None: it was not."""
        for (kept, _channel, data), path in zip(changed, paths, strict=True):
            if path is None:
                self.metrics.call_records_failed.inc()
                continue
            if kept.path not in (None, path):  # another channel has taken the caller's place
                self._outdated.add(kept.path)
            kept.path, kept.written = path, data
            if kept not in self._calls:  # it has ended meanwhile
                self._outdated.add(path)
        if failure is not None and not self._failing:
            log.error("a call's record cannot be written: a restart would end that call", error=str(failure))
        self._failing = failure is not None


def _put(
    files: RecordFiles, changed: list[tuple[str, bytes]], outdated: tuple[Path, ...]
) -> tuple[list[Path | None], OSError | None]:
    """Write and remove files, in a thread; gives where each was written, and what failed last."""
    failure: OSError | None = None
    try:
        files.remove(outdated)
    except OSError as error:
        failure = error
    paths: list[Path | None] = []
    for channel, data in changed:
        try:
            files.write(channel, data)
        except OSError as error:
            failure = error
            paths.append(None)
        else:
            paths.append(files.path(channel))
    return paths, failure
