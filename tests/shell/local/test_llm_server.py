"""The embedded language model's server: started, watched, and started again with ever longer pauses."""

import errno
import json
import math
import os
import signal
import stat
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

from agentd.environment import for_child
from agentd.errors import ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.local import llm_server, process_watch
from agentd_providers.local.hung import IDLE_LOOKS, Seen
from agentd_providers.local.llm_server import (
    ANSWER_WITHIN,
    ASK_EVERY,
    FIRST_DELAY,
    HEALTHY_AFTER,
    LONGEST_DELAY,
    LONGEST_PLACE,
    START_DEADLINE,
    LlmServer,
    LlmServerSettings,
    open_llm_server,
)
from agentd_providers.local.settings import EmbeddedSettings

SETTINGS = LlmServerSettings("/models/tiny.gguf", threads=3, threads_batch=4, context=512, slots=2)
ANSWER = b'{"url": "unix://SOCKET"}\n'
"""SOCKET stands for the path that the process is told."""


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
                answer = self.answer.replace(b"SOCKET", self.requests[-1]["socket"].encode())
                for byte in answer:  # a pipe may bring it in any pieces
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
    refusal: OSError | None = None
    """Why no process can be started."""
    asked: int = 0
    answers: Callable[[], bool] = lambda: True
    """Whether a server that is asked answers."""
    refuses: Callable[[], bool] = lambda: False
    """Whether it takes no connection."""
    works: bool = False
    """Whether one that does not answer is at work meanwhile."""

    async def start(self, command: list[str], **pipes: Any) -> Process:
        assert pipes.pop("env") == for_child()
        assert pipes == {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        process = Process(command, self.answer, self.loads_for, self.lives_for, 1000 + len(self.processes))
        self.processes.append(process)
        self.nursery.start_soon(process.live)
        return process

    async def ask(self, server: LlmServer) -> None:
        assert server.ready
        self.asked += 1
        if self.refuses():
            raise ConnectionRefusedError("nobody listens")
        if not self.answers():
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def seen(self, pid: int) -> Seen:
        """See agentd_providers.local.process_watch.seen."""
        assert pid == self.processes[-1].pid
        return Seen(trio.current_time() if self.works else 0.0, 0, self.works)

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
    monkeypatch.setattr(llm_server, "ask", host.ask)
    monkeypatch.setattr(process_watch, "seen", host.seen)
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
        assert server.address == f"unix://{host.processes[0].requests[0]['socket']}"
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
                "socket": server.address.removeprefix("unix://"),
                "key": server.key,
            }
        ]
        assert len(server.key) >= 32
        assert server.key not in repr(server)


async def test_leaving_the_block_kills_the_server(host: Host, autojump_clock: MockClock) -> None:
    async with serving(host):
        assert not host.processes[0].killed
    assert host.processes[0].killed


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"no JSON\n", b'{"port": 1}\n', b'{"url": "http://127.0.0.1:1"}\n', b"x" * 10_000, b"[]\n", b"7\n"],
)
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
        await trio.sleep(10.05)
        assert not server.ready  # no call is sent to a dead address
        await trio.sleep(2)
        assert server.ready
        assert server.address == f"unix://{host.processes[1].requests[0]['socket']}"
        assert host.processes[0].requests[0]["socket"] not in server.address  # and no socket
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


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_a_process_that_cannot_be_started_again_is_tried_again(
    host: Host, autojump_clock: MockClock, error: int
) -> None:
    """The error went through the block of everybody who used the server."""
    host.lives_for = 1.0
    async with serving(host) as server:
        host.refusal = OSError(error, os.strerror(error))
        await trio.sleep(20)
        assert not server.ready
        host.refusal, host.lives_for = None, math.inf
        await host.until_processes(2)
        await trio.sleep(1)
        assert server.ready
        assert server.restarts > 3


async def test_what_a_daemon_that_was_killed_has_left_in_the_services_directory_is_removed(
    host: Host, autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd keeps the directory for the daemon that follows, for what its calls need."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    left, ours, of_calls = tmp_path / "llm.1.x", tmp_path / f"llm.{os.getpid()}.x", tmp_path / "agentd-1.call"
    for each in (left, ours, of_calls):
        each.mkdir()
    (left / "llm.sock").touch()
    async with serving(host):
        assert not left.exists()
        assert ours.exists(), "of another model of the same daemon"
        assert of_calls.exists()
        (own,) = {*tmp_path.iterdir()} - {ours, of_calls}
        assert len(os.fsencode(own / "llm.sock")) - len(os.fsencode(tmp_path)) + LONGEST_PLACE <= 107, "unix(7)"
    assert {*tmp_path.iterdir()} == {ours, of_calls}


async def test_one_that_cannot_be_started_the_first_time_is_unavailable(host: Host, autojump_clock: MockClock) -> None:
    host.refusal = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    with pytest.raises(ProviderUnavailable, match=r"cannot be started: .*temporarily unavailable"):
        async with serving(host):
            raise AssertionError("there is no server")


async def test_whoever_needs_the_server_waits_for_it_while_it_is_replaced_and_not_while_it_cannot_be(
    host: Host, autojump_clock: MockClock
) -> None:
    host.lives_for = 1.0
    async with serving(host) as server:
        await server.until_ready()
        host.lives_for = math.inf
        await trio.sleep(1.05)
        assert not server.ready
        await server.until_ready()
        assert server.ready
        host.answer = b""
        host.processes[-1].kill()
        await trio.sleep(5)
        with pytest.raises(ProviderUnavailable, match="cannot be started"):
            await server.until_ready()


# --- asking it


async def test_a_server_that_answers_is_asked_again_and_again_and_stays(host: Host, autojump_clock: MockClock) -> None:
    async with serving(host) as server:
        await trio.sleep(60)
        assert host.asked >= 60 / ASK_EVERY - 2
        assert (server.ready, host.restarts) == (True, [])


async def test_a_server_that_neither_answers_nor_works_is_replaced_before_its_callers_lose_their_patience(
    host: Host, autojump_clock: MockClock
) -> None:
    async with serving(host) as server:
        host.answers = lambda: len(host.processes) > 1
        began = trio.current_time()
        await host.until_processes(2)
        await server.until_ready()
        assert trio.current_time() - began < EmbeddedSettings().timeout
        assert host.processes[0].killed
        await trio.sleep(60)
        assert host.restarts == ["llm"]


async def test_a_server_that_refuses_a_connection_now_and_then_stays(host: Host, autojump_clock: MockClock) -> None:
    """As a Unix socket does while too many connect at once."""
    async with serving(host):
        host.refuses = lambda: host.asked % IDLE_LOOKS != 0
        await trio.sleep(60)
        assert host.restarts == []


async def test_a_server_that_refuses_every_connection_is_replaced(host: Host, autojump_clock: MockClock) -> None:
    async with serving(host) as server:
        host.refuses = lambda: len(host.processes) == 1
        began = trio.current_time()
        await host.until_processes(2)
        assert trio.current_time() - began < EmbeddedSettings().timeout
        await server.until_ready()
        await trio.sleep(60)
        assert host.restarts == ["llm"]


async def test_a_server_that_works_for_long_is_not_taken_for_hung_until_the_deadline(
    host: Host, autojump_clock: MockClock
) -> None:
    """While it reads a long prompt it answers nobody."""
    async with serving(host):
        host.answers, host.works = lambda: False, True
        await trio.sleep(ANSWER_WITHIN)
        assert host.restarts == []
        await trio.sleep(ASK_EVERY + 1)
        assert host.processes[0].killed


# --- with a real process


SERVE = """
import json, sys
request = json.loads(sys.stdin.readline())
print(json.dumps({"url": "unix://" + request["socket"]}), flush=True)
sys.stdin.read()
"""


async def answered(_server: LlmServer) -> None:
    await trio.lowlevel.checkpoint()


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str) -> list[trio.Process]:
    """Have `program` run in place of the server; gives the processes."""
    processes: list[trio.Process] = []
    open_process: Callable[..., Any] = trio.lowlevel.open_process

    async def start(command: list[str], **pipes: Any) -> trio.Process:
        process: trio.Process = await open_process([sys.executable, "-S", "-c", program], **pipes)
        processes.append(process)
        return process

    monkeypatch.setattr(llm_server.trio.lowlevel, "open_process", start)
    monkeypatch.setattr(llm_server, "ask", answered)
    return processes


async def test_a_real_process_serves_dies_is_started_again_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes, restarts = run_instead(monkeypatch, SERVE), list[str]()
    with trio.fail_after(20):
        async with open_llm_server(SETTINGS, restarts.append) as server:
            directory = Path(server.address.removeprefix("unix://")).parent
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700, "it is nobody else's"
            command = Path(f"/proc/{processes[0].pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{processes[0].pid}/environ").read_bytes()
            assert server.key.encode() not in command + environment
            processes[0].kill()
            while server.restarts < 1 or not server.ready:
                await trio.sleep(0.01)
            assert restarts == ["llm"]
    assert not directory.exists()
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


ANSWERS = """
import http.server, json, socketserver, sys
class Slots(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/slots" and self.headers["Authorization"] == "Bearer " + request["key"]
        self.send_response(200 if known else 404)
        self.end_headers()
    def log_message(self, *args):
        pass
request = json.loads(sys.stdin.readline())
Slots.address_string = lambda self: "here"
server = socketserver.UnixStreamServer(request["socket"], Slots)
print(json.dumps({"url": "unix://" + request["socket"]}), flush=True)
server.serve_forever()
"""


async def test_a_real_process_that_is_stopped_is_killed_and_another_one_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = llm_server.ask
    processes, restarts = run_instead(monkeypatch, ANSWERS), list[str]()
    monkeypatch.setattr(llm_server, "ask", ask)
    monkeypatch.setattr(llm_server, "ASK_EVERY", 0.05)
    with trio.fail_after(60):
        async with open_llm_server(SETTINGS, restarts.append) as server:
            await ask(server)
            os.kill(processes[0].pid, signal.SIGSTOP)
            await until(lambda: restarts)
            await server.until_ready()
            await ask(server)
    assert processes[0].returncode == -signal.SIGKILL
    assert restarts == ["llm"]


async def test_a_real_process_that_refuses_connections_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = llm_server.ask
    run_instead(monkeypatch, SERVE)
    monkeypatch.setattr(llm_server, "ask", ask)
    monkeypatch.setattr(llm_server, "ASK_EVERY", 0.05)
    restarts = list[str]()
    with trio.fail_after(60):
        async with open_llm_server(SETTINGS, restarts.append):
            await until(lambda: restarts)
