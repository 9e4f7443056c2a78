"""Starts the embedded language model's server and keeps it running."""

import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.errors import ProviderUnavailable, ungrouped
from agentd.installation import how_to_add
from agentd.parsing import load_json

log = structlog.get_logger("agentd_providers.local")

START_DEADLINE = deadlines.MODEL_LOAD.seconds
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
HEALTHY_AFTER = 60.0
MAX_ANSWER = 4096


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
    """A running server: `base_url` ends in /v1, `key` is its API key. Empty while it is being started again."""

    base_url: str = ""
    key: str = attrs.field(default="", repr=False)
    restarts: int = 0

    @property
    def ready(self) -> bool:
        return bool(self.base_url)


@asynccontextmanager
async def open_llm_server(settings: LlmServerSettings, on_restart: Callable[[str], None]) -> AsyncIterator[LlmServer]:
    """The server, started and restarted with back-off when it dies, for as long as the block is entered.

    Raises ProviderUnavailable when it does not come up the first time.
    """
    server = LlmServer()
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
            await _run_once(settings, server, status)
            why = "ended"
        except ProviderUnavailable as error:
            if not server.restarts and status is not None:
                raise
            why = str(error)
        finally:
            server.base_url = ""
        status = None
        if trio.current_time() - began > HEALTHY_AFTER:
            delay = FIRST_DELAY
        server.restarts += 1
        on_restart("llm")
        log.error("the language model's server is started again", why=why, retry_in_s=delay)
        await trio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)


async def _run_once(settings: LlmServerSettings, server: LlmServer, status: trio.TaskStatus[None] | None) -> None:
    """One life of the process; returns when it ends, and ends it when cancelled."""
    key = secrets.token_urlsafe(24)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "agentd_providers.local.llm_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        request = json.dumps({**attrs.asdict(settings), "key": key}) + "\n"
        try:
            with trio.fail_after(START_DEADLINE):
                await process.stdin.send_all(request.encode())
                answer = await _first_line(process.stdout)
            server.base_url, server.key = f"{load_json(answer)['url']}/v1", key
        except (trio.TooSlowError, trio.BrokenResourceError, ValueError, TypeError, KeyError) as error:
            raise ProviderUnavailable(
                f"the language model {settings.model} could not be served ({type(error).__name__}): is it a GGUF "
                f"file, is xllamacpp installed ({how_to_add('local')}), is there memory for it?"
            ) from error
        log.info("the language model's server is up", model=settings.model, pid=process.pid)
        if status is not None:
            status.started()
        await process.wait()
    finally:
        process.kill()
        with trio.move_on_after(deadlines.PROCESS_END.seconds, shield=True):
            await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await trio.aclose_forcefully(stream)


async def _first_line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while b"\n" not in line:
        data = await stream.receive_some(MAX_ANSWER)
        if not data or len(line) > MAX_ANSWER:
            raise ValueError("the process ended before the server was up")
        line += bytes(data)
    return line.split(b"\n", 1)[0]
