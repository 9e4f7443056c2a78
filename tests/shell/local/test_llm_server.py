"""The embedded language model's server: started, watched, and started again with ever longer pauses."""

import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock, memory_stream_pair

from agentd.errors import ProviderUnavailable
from agentd_providers.local import llm_server
from agentd_providers.local.llm_server import (
    FIRST_DELAY,
    HEALTHY_AFTER,
    LONGEST_DELAY,
    START_DEADLINE,
    LlmServer,
    LlmServerSettings,
    open_llm_server,
)

SETTINGS = LlmServerSettings("/models/tiny.gguf", threads=3, threads_batch=4, context=512, slots=2)
ANSWER = b'{"url": "http://127.0.0.1:4711"}\n'


@attrs.define(eq=False)
class Process:
    """A server's process that is none. `answer` comes after `loads_for` seconds; then it lives `lives_for`."""

    command: list[str]
    answer: bytes | None
    loads_for: float
    lives_for: float
    pid: int
    began: float = attrs.field(factory=trio.current_time)
    requests: list[dict[str, Any]] = attrs.field(factory=list)
    stdin: trio.abc.SendStream = attrs.field(init=False)
    stdout: trio.abc.ReceiveStream = attrs.field(init=False)
    ended: trio.Event = attrs.field(factory=trio.Event)
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _request: trio.abc.ReceiveStream = attrs.field(init=False)
    _out: trio.abc.SendStream = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stdin, self._request = memory_stream_pair()
        self._out, self.stdout = memory_stream_pair()

    async def live(self) -> None:
        with self._life:
            self.requests.append(json.loads(await self._request.receive_some(4096)))
            await trio.sleep(self.loads_for)
            if self.answer is not None:
                for byte in self.answer:  # a pipe may bring it in any pieces
                    await self._out.send_all(bytes([byte]))
                await trio.sleep(self.lives_for)
        await self._out.aclose()
        self.ended.set()

    def kill(self) -> None:
        self._life.cancel()

    @property
    def killed(self) -> bool:
        return self._life.cancel_called

    async def wait(self) -> int:
        await self.ended.wait()
        return 0


@attrs.define(eq=False)
class Host:
    """Where processes are started; the next one answers `answer`, and so on."""

    nursery: trio.Nursery
    answer: bytes | None = ANSWER
    loads_for: float = 0.5
    lives_for: float = math.inf
    processes: list[Process] = attrs.field(factory=list)
    restarts: list[str] = attrs.field(factory=list)

    async def start(self, command: list[str], **pipes: Any) -> Process:
        assert pipes == {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        await trio.lowlevel.checkpoint()
        process = Process(command, self.answer, self.loads_for, self.lives_for, 1000 + len(self.processes))
        self.processes.append(process)
        self.nursery.start_soon(process.live)
        return process

    @property
    def pauses(self) -> list[float]:
        """Seconds between two starts, less what the first of them lived."""
        return [later.began - earlier.began for earlier, later in pairwise(self.processes)]

    async def until_processes(self, count: int) -> None:
        while len(self.processes) < count:
            await trio.sleep(0.05)


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, autojump_clock: MockClock) -> Host:
    host = Host(nursery)
    monkeypatch.setattr(trio.lowlevel, "open_process", host.start)
    return host


@asynccontextmanager
async def serving(host: Host) -> AsyncIterator[LlmServer]:
    """The server for the block; after it every process has ended."""
    with trio.fail_after(10_000):
        async with open_llm_server(SETTINGS, host.restarts.append) as server:
            yield server
    assert all(process.ended.is_set() for process in host.processes)
    assert not server.ready


# --- starting


async def test_the_server_is_up_when_the_block_is_entered(host: Host, autojump_clock: MockClock) -> None:
    async with serving(host) as server:
        assert server.ready
        assert server.base_url == "http://127.0.0.1:4711/v1"
        assert trio.current_time() - host.processes[0].began == pytest.approx(host.loads_for)
        assert (server.restarts, host.restarts) == (0, [])


async def test_the_process_is_told_its_settings_and_its_key_by_its_stdin_and_not_by_its_command(
    host: Host, autojump_clock: MockClock
) -> None:
    async with serving(host) as server:
        (process,) = host.processes
        assert process.command == [sys.executable, "-m", "agentd_providers.local.llm_process"]
        assert process.requests == [
            {
                "model": "/models/tiny.gguf",
                "threads": 3,
                "threads_batch": 4,
                "context": 512,
                "slots": 2,
                "key": server.key,
            }
        ]
        assert len(server.key) >= 32
        assert server.key not in repr(server)


async def test_leaving_the_block_kills_the_server(host: Host, autojump_clock: MockClock) -> None:
    async with serving(host):
        assert not host.processes[0].killed
    assert host.processes[0].killed


@pytest.mark.parametrize("answer", [None, b"", b"no JSON\n", b'{"port": 1}\n', b"x" * 10_000, b"[]\n", b"7\n"])
async def test_a_server_that_does_not_come_up_is_unavailable_and_the_message_says_what_to_look_at(
    host: Host, autojump_clock: MockClock, answer: bytes | None
) -> None:
    """What was raised was a group, which the roster took for a bug in agentd: the daemon ended."""
    host.answer, host.lives_for = answer, 0.0
    with pytest.raises(ProviderUnavailable, match=r"/models/tiny\.gguf could not be served") as caught:
        async with serving(host):
            raise AssertionError("there is no server")
    assert "is it a GGUF file" in str(caught.value)
    assert len(host.processes) == 1  # trying again is up to the roster
    assert host.restarts == []
    with trio.fail_after(1):
        await host.processes[0].ended.wait()


async def test_a_server_that_loads_for_ever_is_given_up_at_the_deadline(host: Host, autojump_clock: MockClock) -> None:
    host.loads_for = math.inf
    began = trio.current_time()
    with pytest.raises(ProviderUnavailable, match="TooSlowError"):
        async with serving(host):
            raise AssertionError("there is no server")
    assert trio.current_time() - began == pytest.approx(START_DEADLINE, abs=1)
    assert host.processes[0].killed


async def test_a_start_that_is_cancelled_leaves_no_process(host: Host, autojump_clock: MockClock) -> None:
    host.loads_for = math.inf
    with trio.move_on_after(1) as deadline:
        async with serving(host):
            raise AssertionError("there is no server")
    assert deadline.cancelled_caught
    assert host.processes[0].ended.is_set()


# --- starting again


async def test_a_server_that_dies_is_started_again_and_told(host: Host, autojump_clock: MockClock) -> None:
    host.lives_for = 10.0
    async with serving(host) as server:
        key = server.key
        host.lives_for = math.inf
        host.answer = b'{"url": "http://127.0.0.1:4712"}\n'
        await trio.sleep(10.05)
        assert not server.ready  # no call is sent to a dead address
        await trio.sleep(2)
        assert server.ready
        assert server.base_url == "http://127.0.0.1:4712/v1"
        assert server.key != key  # and no key is used twice
        assert (server.restarts, host.restarts) == (1, ["llm"])


async def test_a_server_that_dies_at_once_is_started_with_ever_longer_pauses(
    host: Host, autojump_clock: MockClock
) -> None:
    host.loads_for = host.lives_for = 0.0
    async with serving(host) as server:
        await host.until_processes(12)
        expected = [min(FIRST_DELAY * 2**n, LONGEST_DELAY) for n in range(11)]
        assert host.pauses == pytest.approx(expected, abs=0.05)
        assert server.restarts == len(host.restarts) >= 11


async def test_one_that_does_not_come_up_any_more_is_tried_on_and_the_block_goes_on(
    host: Host, autojump_clock: MockClock
) -> None:
    host.lives_for = 1.0
    async with serving(host) as server:
        host.answer, host.loads_for = b"", 0.0
        await host.until_processes(6)
        assert not server.ready
        host.answer, host.lives_for = ANSWER, math.inf
        await host.until_processes(7)
        await trio.sleep(0.1)
        assert server.ready
        assert server.restarts == 6


async def test_a_server_that_was_well_for_a_while_is_started_again_soon(host: Host, autojump_clock: MockClock) -> None:
    host.loads_for = host.lives_for = 0.0
    async with serving(host):
        await host.until_processes(8)
        host.lives_for = HEALTHY_AFTER + 1
        await host.until_processes(10)
        assert host.pauses[-1] == pytest.approx(HEALTHY_AFTER + 1 + FIRST_DELAY, abs=0.05)


async def test_leaving_the_block_while_the_server_is_being_started_again_leaves_nothing(
    host: Host, autojump_clock: MockClock
) -> None:
    for moment in (0.05, 0.25, 0.9):  # dead, being started, up again
        host.lives_for = 1.0
        async with serving(host):
            host.lives_for = math.inf
            await trio.sleep(1 + moment)


# --- with a real process


SERVE = """
import json, sys
request = json.loads(sys.stdin.readline())
print(json.dumps({"url": "http://127.0.0.1:1?" + request["model"]}), flush=True)
sys.stdin.read()
"""


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str) -> list[trio.Process]:
    """Have `program` run in place of the server; gives the processes."""
    processes: list[trio.Process] = []
    open_process: Callable[..., Any] = trio.lowlevel.open_process

    async def start(command: list[str], **pipes: Any) -> trio.Process:
        process: trio.Process = await open_process([sys.executable, "-S", "-c", program], **pipes)
        processes.append(process)
        return process

    monkeypatch.setattr(llm_server.trio.lowlevel, "open_process", start)
    return processes


async def test_a_real_process_serves_dies_is_started_again_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes, restarts = run_instead(monkeypatch, SERVE), list[str]()
    with trio.fail_after(20):
        async with open_llm_server(SETTINGS, restarts.append) as server:
            assert server.base_url == "http://127.0.0.1:1?/models/tiny.gguf/v1"
            command = Path(f"/proc/{processes[0].pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{processes[0].pid}/environ").read_bytes()
            assert server.key.encode() not in command + environment
            processes[0].kill()
            while server.restarts < 1 or not server.ready:
                await trio.sleep(0.01)
            assert restarts == ["llm"]
    assert len(processes) == 2
    for process in processes:
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


async def test_a_real_process_that_fails_at_its_start_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As xllamacpp does with a file that is no GGUF."""
    processes = run_instead(monkeypatch, "raise SystemExit(1)")
    with trio.fail_after(20), pytest.raises(ProviderUnavailable, match="GGUF"):
        async with open_llm_server(SETTINGS, lambda engine: None):
            raise AssertionError("there is no server")
    assert processes[0].returncode == 1


async def test_the_server_s_process_ends_with_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stdin ends when the daemon dies, however that happens."""
    processes = run_instead(monkeypatch, SERVE)
    with trio.fail_after(20):
        async with open_llm_server(SETTINGS, lambda engine: None):
            assert processes[0].stdin is not None
            await processes[0].stdin.aclose()
            assert await processes[0].wait() == 0
