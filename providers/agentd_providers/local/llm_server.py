"""Starts the embedded language model's server and keeps it running: one that has ended or hangs is replaced.

It is asked for its slots (llama.cpp, tools/server/README.md: GET /slots), which its HTTP threads cannot tell by
themselves: the question goes through the queue of the loop that computes, so one that is stuck is found out. While that
loop reads a long prompt it does not answer either; so a server that works has more time than one that does nothing.

It listens on a Unix socket in a directory of our own. A port of 127.0.0.1 is anybody's on this host: whoever opens
connections there and says nothing takes the server's threads, key or not, and with them every call its answers.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.environment import for_child
from agentd.errors import ProviderUnavailable, ungrouped
from agentd.installation import how_to_add
from agentd.parsing import load_json
from agentd_providers.local.admission import AT_ONCE, Admission
from agentd_providers.local.hung import IDLE_LOOKS, LOOK_EVERY
from agentd_providers.local.process_watch import EngineLost, ProcessWatch
from agentd_providers.local.slots import Slots
from agentd_providers.openai.client import UNIX

log = structlog.get_logger("agentd_providers.local")

START_DEADLINE = deadlines.MODEL_LOAD.seconds
ASK_EVERY = 2.0
ANSWER_WITHIN = deadlines.MODEL_ANSWER.seconds
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
HEALTHY_AFTER = 60.0
MAX_ANSWER = 4096
SOCKET = "llm.sock"
"""llama.cpp's server takes a host that ends in .sock for a Unix socket (tools/server/README.md: --host)."""
LONGEST_PLACE = 76
"""Bytes of the path that may stand before the directory and the name of the socket."""
_PREFIX = "llm."


@attrs.frozen
class LlmServerSettings:
    """The server's settings: `context` tokens for each of `slots` calls."""

    model: str
    threads: int
    threads_batch: int
    context: int
    slots: int


@attrs.define(eq=False)
class LlmServer:
    """A running server: `address` is that of its Unix socket (see agentd_providers.openai.client), `key` is its API
    key. Empty while it is being started again."""

    address: str = ""
    key: str = attrs.field(default="", repr=False)
    restarts: int = 0
    slots: Slots = attrs.field(factory=lambda: Slots(0))
    """For who asks it; a fresh process knows no conversation, but nor is any slot of it taken."""
    admission: Admission = attrs.field(factory=lambda: Admission(AT_ONCE))
    failing: bool = attrs.field(default=False, init=False)
    """It could not be started the last time: when it will be up is unknown."""
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    @property
    def ready(self) -> bool:
        return bool(self.address)

    async def until_ready(self) -> None:
        """Wait until it is up, where it is being replaced. Raises ProviderUnavailable while it cannot be started."""
        while not self.ready:
            if self.failing:
                raise ProviderUnavailable("the language model's server cannot be started; it is tried again")
            await self._changed.wait()

    def is_up(self, address: str, key: str) -> None:
        """It listens there."""
        self.address, self.key, self.failing = address, key, False
        self._tell()

    def is_down(self) -> None:
        """Nobody is to be sent there any more."""
        self.address = ""

    def has_failed(self) -> None:
        """It did not come up."""
        self.failing = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_llm_server(settings: LlmServerSettings, on_restart: Callable[[str], None]) -> AsyncIterator[LlmServer]:
    """The server, started and restarted with back-off when it dies, for as long as the block is entered.

    Raises ProviderUnavailable when it does not come up the first time.
    """
    server = LlmServer(slots=Slots(settings.slots))
    with ungrouped(ProviderUnavailable):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(_keep_running, settings, server, on_restart))
            yield server
            nursery.cancel_scope.cancel()


async def _keep_running(  # noqa: ASYNC128 - passes task_status on
    settings: LlmServerSettings,
    server: LlmServer,
    on_restart: Callable[[str], None],
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    delay = FIRST_DELAY
    status: trio.TaskStatus[None] | None = task_status
    while True:
        began = trio.current_time()
        try:
            why = await _run_once(settings, server, status)
        except ProviderUnavailable as error:
            if not server.restarts and status is not None:
                raise
            server.has_failed()
            why = str(error)
        status = None
        if trio.current_time() - began > HEALTHY_AFTER:
            delay = FIRST_DELAY
        server.restarts += 1
        on_restart("llm")
        log.error("the language model's server is started again", why=why, retry_in_s=delay)
        await trio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)


async def _run_once(settings: LlmServerSettings, server: LlmServer, status: trio.TaskStatus[None] | None) -> str:
    """One life of the process; returns why it is over, and ends it when cancelled. Raises ProviderUnavailable when it
    does not come up."""
    try:
        _sweep()
        own = f"{_PREFIX}{os.getpid()}."
        directory = tempfile.TemporaryDirectory(prefix=own, dir=_place(), ignore_cleanup_errors=True)
    except OSError as error:
        raise ProviderUnavailable(f"there is no place for the language model's socket: {error}") from error
    with directory as private:  # nobody else can enter it (mkdtemp(3): 0700)
        return await _run_at(f"{private}/{SOCKET}", settings, server, status)


async def _run_at(
    socket: str, settings: LlmServerSettings, server: LlmServer, status: trio.TaskStatus[None] | None
) -> str:
    key = secrets.token_urlsafe(24)
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "agentd_providers.local.llm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=for_child(),
        )
    except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: a thread cannot be had
        raise ProviderUnavailable(f"the language model's process cannot be started: {error}") from error
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        request = json.dumps({**attrs.asdict(settings), "socket": socket, "key": key}) + "\n"
        try:
            with trio.fail_after(START_DEADLINE):
                await process.stdin.send_all(request.encode())
                answer = await _first_line(process.stdout)
            if (address := load_json(answer)["url"]) != f"{UNIX}{socket}":
                raise ValueError("it listens elsewhere")
            server.is_up(address, key)
        except (trio.TooSlowError, trio.BrokenResourceError, ValueError, TypeError, KeyError) as error:
            raise ProviderUnavailable(
                f"the language model {settings.model} could not be served ({type(error).__name__}): is it a GGUF "
                f"file, is xllamacpp installed ({how_to_add('local')}), is there memory for it?"
            ) from error
        log.info("the language model's server is up", model=settings.model, pid=process.pid)
        if status is not None:
            status.started()
        return await _until_lost(process, server)
    finally:
        server.is_down()  # before whoever waits for it finds the connection broken
        process.kill()
        with trio.move_on_after(deadlines.PROCESS_END.seconds, shield=True):
            await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await trio.aclose_forcefully(stream)


def _runtime_directory() -> str:
    return os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]


def _sweep() -> None:
    """Remove what a process that was killed has left in systemd's directory, which is one service's alone and is kept
    from one of its processes to the next. Raises OSError."""
    if runtime := _runtime_directory():
        own = f"{_PREFIX}{os.getpid()}."
        for left in Path(runtime).glob(f"{_PREFIX}*"):
            if not left.name.startswith(own):
                shutil.rmtree(left, ignore_errors=True)


def _place() -> str:
    """The directory for the directory of a socket, whose path may have 107 bytes (unix(7)): systemd's for what lives as
    long as the service does, or that for temporary files."""
    runtime = _runtime_directory()
    places = [place for place in (runtime, tempfile.gettempdir()) if place and len(os.fsencode(place)) <= LONGEST_PLACE]
    return (*places, "/tmp")[0]


async def _until_lost(process: trio.Process, server: LlmServer) -> str:
    """Wait until the process has ended, or hangs; gives which."""
    why = "ended"
    watch = ProcessWatch(process.pid)

    async def keep_asking(scope: trio.CancelScope) -> None:
        nonlocal why
        refusals = 0
        while refusals < IDLE_LOOKS:
            await trio.sleep(LOOK_EVERY if refusals else ASK_EVERY)
            try:
                with watch.asked(ANSWER_WITHIN):
                    await ask(server)
            except EngineLost as lost:
                why = str(lost)
                break
            except OSError as error:  # one alone may be of a moment when too many connect
                why, refusals = str(error), refusals + 1
            else:
                why, refusals = "ended", 0
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        nursery.start_soon(keep_asking, nursery.cancel_scope)
        await process.wait()
        nursery.cancel_scope.cancel()
    return why


async def ask(server: LlmServer) -> None:
    """Have the server answer, whatever it says. Raises OSError when it has no ear for it. Cancelling closes the
    connection."""
    try:
        async with await trio.open_unix_socket(server.address.removeprefix(UNIX)) as stream:
            await stream.send_all(
                f"GET /slots HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            answer = await stream.receive_some(MAX_ANSWER)
    except trio.BrokenResourceError as error:
        raise ConnectionError("it closed the connection instead of answering") from error
    if not answer.startswith(b"HTTP/"):
        raise ConnectionError("its answer is no HTTP")


async def _first_line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while b"\n" not in line:
        data = await stream.receive_some(MAX_ANSWER)
        if not data or len(line) > MAX_ANSWER:
            raise ValueError("the process ended before the server was up")
        line += bytes(data)
    return line.split(b"\n", 1)[0]
