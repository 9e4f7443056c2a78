"""Many lives of one kind for little more than what is different about each: the life to which nothing happens is lived
once, and at each place where something may go wrong a process branches off, to which it does.

What a branch gives is what its life gives by its name (`Walked.life`): until the place at which they part the two are
the same, step by step.
"""

import gc
import os
import pickle
import select
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import Iterable
from typing import Any, NoReturn

import attrs
import trio._core._run as trio_run

from tests.walk.faults import Fault, Where
from tests.walk.kinds import Kind
from tests.walk.life import IDLE, Life, Outcome

PATIENCE = 60.0
"""Seconds of a core that a branch may take: one that goes round in circles is wrong, and is told by its name."""


def live_branches(kind: Kind, faults: Iterable[Fault], seed: int = 1, idle: float = IDLE) -> list[Outcome]:
    """How each life of a kind ends to which one of the `faults` happens: each once, in any order. A fault whose place
    the life does not come to gives none. Needs Linux: processes are forked, and each gets an epoll of its own."""
    trunk = _Trunk(Life(kind, None, seed, idle), list(dict.fromkeys(faults)))
    trunk.live()
    return trunk.outcomes


@attrs.define(eq=False)
class _Trunk:
    """A life to which nothing happens, off which those branch to which something does."""

    life: Life
    faults: list[Fault]
    outcomes: list[Outcome] = attrs.field(factory=list)
    _at: dict[tuple[Where, int], list[Fault]] = attrs.field(factory=dict)
    _pipe: int | None = None
    """Where a branch tells how it ended; None: this is the trunk."""
    _unraised: list[str] = attrs.field(factory=list)

    def live(self) -> None:
        """Live it, and all its branches. Only the trunk returns."""
        for fault in self.faults:
            self._at.setdefault((fault.where, fault.number), []).append(fault)
        self.life.branch, self.life.on_judged = self._branch, self._on_judged
        try:
            self.life.run()
        finally:
            gc.unfreeze()

    def _branch(self, where: Where, number: int) -> Fault | None:
        for fault in self._at.pop((where, number), ()):
            if self._forked(fault):
                return fault
        return None

    def _forked(self, fault: Fault) -> bool:
        """Whether this is the branch. The trunk goes on when the branch has ended, and finds its files as they were."""
        files = self.life.media
        trunks = files.rename(files.with_name("trunk"))
        shutil.copytree(trunks, files)
        reads, writes = os.pipe()
        gc.freeze()  # what is there already no branch need look at
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of who runs the tests: no branch needs them
            branch = os.fork()
        if not branch:
            os.close(reads)
            self._pipe = writes
            self._begin()
            return True
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(branch, 0)
        name = f"{self.life.kind}/{fault}"
        ended = Outcome(name, "", (f"BROKEN it ended with {os.waitstatus_to_exitcode(status)}",))
        self.outcomes.append(pickle.loads(told) if told else ended)
        shutil.rmtree(files, ignore_errors=True)
        trunks.rename(files)
        return False

    def _begin(self) -> None:
        gc.disable()  # it ends before there is much to collect
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        sys.unraisablehook = self._take_unraisable
        _part_with_parent()

    def _take_unraisable(self, unraisable: Any) -> None:
        self._unraised.append(f"BROKEN {unraisable.exc_value!r} in {unraisable.object!r}")

    def _on_judged(self, outcome: Outcome) -> None:
        if self._pipe is not None:
            gc.collect()  # so that what was not ended is told of
            self._end(attrs.evolve(outcome, wrong=(*outcome.wrong, *self._unraised)))

    def _end(self, outcome: Outcome) -> NoReturn:
        assert self._pipe is not None
        try:
            with os.fdopen(self._pipe, "wb") as pipe:
                pickle.dump(outcome, pipe)
        finally:
            os._exit(0)  # nothing that is the trunk's is ended here


def _part_with_parent() -> None:
    """What Trio's loop has of the kernel's is this process's own from here on: who is waited for by the trunk would be
    taken off by a branch otherwise."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    selector: Any = runner.io_manager
    for pair in (runner.entry_queue.wakeup, selector._force_wakeup):
        for end, fresh in zip((pair.wakeup_sock, pair.write_sock), socket.socketpair(), strict=True):
            fresh.setblocking(False)
            os.dup2(fresh.fileno(), end.fileno())
            fresh.close()
    selector._epoll.close()
    selector._epoll = select.epoll()
    selector._epoll.register(selector._force_wakeup.wakeup_sock, select.EPOLLIN)
    for descriptor, waiters in selector._registered.items():
        selector._epoll.register(descriptor, waiters.current_flags | select.EPOLLONESHOT)
