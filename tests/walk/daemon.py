"""A daemon that runs in one thread, in an order that is known, and whose parts and whose log can be looked at."""

import contextlib
import ssl
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

import attrs
import structlog
import trio
import trio._core._run as trio_run

from agentd.ari.client import AriClient
from agentd.errors import first_of
from agentd.service.reception import Reception
from agentd.service.supervisor import Supervisor
from agentd.serving.roster import Roster


@attrs.define(eq=False)
class Daemon:
    """A whole daemon, and the parts of it whose state is looked at."""

    supervisor: Supervisor
    client: AriClient | None = None
    reception: Reception | None = None
    roster: Roster | None = None
    task: trio.lowlevel.Task | None = None
    ended: trio.Event = attrs.field(factory=trio.Event)
    failure: str = ""

    async def run(self) -> None:
        """Run it to its end, which is no error here, whatever it ends with."""
        self.task = trio.lowlevel.current_task()
        try:
            await self.supervisor.run()
        except Exception as error:
            cause = first_of(error) if isinstance(error, ExceptionGroup) else error
            self.failure = f"{type(cause).__name__}: {cause}"
        self.ended.set()

    def tasks(self) -> Counter[str]:
        """Its tasks by name, how many there are of each."""
        assert self.task is not None
        found: Counter[str] = Counter()
        waiting = [self.task]
        while waiting:
            for nursery in waiting.pop().child_nurseries:
                for task in nursery.child_tasks:
                    found[task.name.rpartition("agentd.")[2]] += 1
                    waiting.append(task)
        return found

    def left(self, before: Counter[str]) -> Iterator[str]:
        """What is still there of a call, where there were these tasks `before` it."""
        for task, more in (self.tasks() - before).items():
            yield f"task {task}" + (f" x{more}" if more > 1 else "")
        assert self.client is not None and self.reception is not None and self.roster is not None
        if self.client.routes:
            yield "route"
        if self.reception.stays.present:
            yield "call"
        if self.client.hand_backs.channels:
            yield "hand-back"
        if self.client.removals.ids:
            yield "removal"
        if any(entry._users for entry in self.roster.entries.values()):
            yield "roster user"
        for carriage in ("audiosocket", "chan_websocket"):
            if self.supervisor.metrics.registry.get_sample_value(f"agentd_{carriage}_connections"):
                yield "connection"

    @contextlib.contextmanager
    def observed(self) -> Iterator[None]:
        """Take note of its parts as they are made."""
        with contextlib.ExitStack() as stack:
            for part, name in ((AriClient, "client"), (Reception, "reception"), (Roster, "roster")):
                make = part.__init__

                def made(it: Any, *arguments: Any, _make: Any = make, _name: str = name, **named: Any) -> None:
                    setattr(self, _name, it)
                    _make(it, *arguments, **named)

                stack.enter_context(patch.object(part, "__init__", made))
            yield


@attrs.define(eq=False)
class DaemonLog:
    """The daemon's log. `tell` is told each line; where nobody wants them, only `errors` are kept."""

    tell: Callable[[str], None] | None = None
    errors: list[str] = attrs.field(factory=list)
    deaf: bool = False
    """Whether what is logged now counts for nothing."""

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """For as long as the block runs, everything that is logged comes here."""
        before = structlog.get_config()
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, self._take],
            wrapper_class=structlog.make_filtering_bound_logger(30 if self.tell is None else 0),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take(self, _logger: object, method: str, event: Any) -> str:
        if method in ("error", "critical") and not self.deaf:
            self.errors.append(str(event["event"]))
        if self.tell is not None:
            said, exception = event.pop("event"), event.pop("exc_info", None)
            fields = " ".join(f"{name}={value}" for name, value in event.items())
            self.tell(f"{_now():8.3f} {method:9}{said}  {fields}")
            if exception:
                self.tell(traceback.format_exc())
        raise structlog.DropEvent


def _now() -> float:
    try:
        return trio.current_time()
    except RuntimeError:
        return 0.0


async def _inline(function: Callable[..., Any], *arguments: Any, **_options: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return function(*arguments)


@cache
def _tls_context(*_arguments: Any, **_options: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextlib.contextmanager
def predictable(seed: int) -> Iterator[None]:
    """Tasks go in an order that `seed` stands for, and what would be done in a thread is done at once, so that the
    clock may jump whenever all tasks wait. No TLS is spoken: its context is made once."""
    with (
        patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch.object(trio.to_thread, "run_sync", _inline),
        patch.object(ssl, "create_default_context", _tls_context),
    ):
        trio_run._r.seed(seed)
        yield
