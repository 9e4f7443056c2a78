"""`agentd hand-back` beside a PBX: callers go on in the dialplan, but for those of an agentd that is alive."""

import gzip
import io
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agentd.agent import Readiness
from agentd.ari.rest import AriRest
from agentd.cli import main
from agentd.config.secrets import ARI_PASSWORD
from agentd.errors import AriRejected
from agentd.metrics import Metrics
from agentd.service.hand_back import hand_back_callers, is_alive
from agentd.service.health import HealthServer
from agentd.service.page_reader import LONGEST_PAGE
from agentd.service.report import AgentHealth, HealthReport
from agentd.testing._ari_server import Answer
from agentd.testing._asterisk import FakeAsterisk

CALLER, OTHER = "1700000000.1", "1700000000.2"


@pytest.fixture
def asterisk() -> FakeAsterisk:
    return FakeAsterisk()


@pytest.fixture
def rest(asterisk: FakeAsterisk) -> AriRest:
    return asterisk.rest(Metrics())


async def test_every_caller_goes_on_and_it_tells_how_many(asterisk: FakeAsterisk, rest: AriRest) -> None:
    for caller in (CALLER, OTHER):
        asterisk.enter(caller)
    out = io.StringIO()
    assert await hand_back_callers(rest, "agentd", out)
    assert sorted(asterisk.continued) == [CALLER, OTHER]
    assert out.getvalue() == "callers handed back to the dialplan: 2; still in the application 'agentd': 0\n"


async def test_a_caller_who_could_not_be_handed_back_is_told_and_counts_as_a_failure(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.rule("POST */continue", Answer.refusal(403, "Write access denied"))
    out = io.StringIO()
    assert not await hand_back_callers(rest, "agentd", out)
    assert "still in the application 'agentd': 1" in out.getvalue()


@pytest.mark.loopback
@pytest.mark.parametrize("connected", [True, False])
async def test_an_agentd_whose_health_page_answers_is_alive_however_it_is(connected: bool) -> None:
    report = HealthReport(connected, {"audiosocket": connected}, 1, {"a": AgentHealth(Readiness(connected))}, 1.0)
    server = HealthServer("127.0.0.1", 0, lambda: report, Metrics())
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        assert await is_alive(f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


@pytest.mark.loopback
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"220 smtp.example ESMTP\r\n"]
)
async def test_whoever_else_answers_there_is_no_agentd(answer: bytes) -> None:
    async def other(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, other, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert not await is_alive(f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


@pytest.mark.loopback
async def test_a_page_without_an_end_costs_no_memory_and_is_no_agentd_s() -> None:
    """All of it was read, for as long as there was time: whoever listened there had the hand-back killed for it."""
    sent = 0

    async def endless(stream: trio.SocketStream) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(b'HTTP/1.1 200 OK\r\n\r\n{"active_calls": 0')
            while True:
                await stream.send_all(bytes(1 << 20))
                sent += 1 << 20

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, endless, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert not await is_alive(f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()
    assert sent < LONGEST_PAGE + (16 << 20), "and no more is read, but for what the kernel holds"


@pytest.mark.loopback
async def test_a_packed_page_is_not_unpacked() -> None:
    """None was asked for; a gigabyte of zeros comes in a megabyte."""

    async def packed(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        body = gzip.compress(b'{"active_calls": 0}')
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n" + body)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, packed, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert not await is_alive(f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


@pytest.mark.loopback
async def test_who_takes_the_connection_and_says_nothing_is_no_agentd() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    assert not await is_alive(f"http://127.0.0.1:{port}")
    for listener in listeners:
        await listener.aclose()
    assert not await is_alive(f"http://127.0.0.1:{port}"), "nobody is there"
    assert not await is_alive(""), "a port that is any has no page to be asked"


# --- the command, on an Asterisk that has what agentd needs of one -------------------------------------------------


@pytest.fixture
def requests() -> list[str]:
    """The requests that Asterisk got, but for what it was asked only."""
    return []


@pytest.fixture
def url(requests: list[str]) -> Iterator[str]:
    """ARI with a caller in the application `voices`, for as long as nobody has the caller go on."""

    class Ari(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if f"/ari/channels/{CALLER}/continue" in requests or not self.path.startswith("/ari/channels"):
                self._answer(200, [])
                return
            place = {"context": "agentd-call", "exten": "s", "app_name": "Stasis", "app_data": "voices,agent=sales"}
            self._answer(200, [{"id": CALLER, "name": "PJSIP/7-1", "state": "Up", "dialplan": place}])

        def do_POST(self) -> None:
            requests.append(self.path.partition("?")[0])
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self._answer(204)

        def _answer(self, status: int, body: object = None) -> None:
            text = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ari) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEALTH_HOST", "HEALTH_PORT", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(ARI_PASSWORD, "hunter2")


@pytest.mark.parametrize("broken", ["[agents.a]\ngreting = 'Hi'\n", "[agents.a\n"], ids=["refused", "no TOML"])
def test_with_a_configuration_that_the_daemon_refuses_the_command_hands_back_all_the_same(
    broken: str, url: str, requests: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f"[asterisk]\nurl = '{url}'\napp = 'voices'\n[health]\nport = 0\n{broken}")
    assert main(["check", "--config", str(config)]) == 2
    assert main(["hand-back", "--config", str(config)]) == 0
    assert requests == [f"/ari/channels/{CALLER}/variable", f"/ari/channels/{CALLER}/continue"]
    assert "callers handed back to the dialplan: 1; still in the application 'voices': 0\n" in capsys.readouterr().out


def test_nothing_is_asked_of_asterisk_while_an_agentd_is_alive(
    url: str, requests: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def alive(page: str) -> bool:
        return page == "http://127.0.0.1:17000"

    monkeypatch.setattr("agentd.service.hand_back.is_alive", alive)
    config = tmp_path / "agent.toml"
    config.write_text(f"[asterisk]\nurl = '{url}'\napp = 'voices'\n[health]\nport = 17000\n")
    assert main(["hand-back", "--config", str(config)]) == 0
    assert requests == []
    assert "an agentd is alive (http://127.0.0.1:17000/health answers)" in capsys.readouterr().out


def test_an_asterisk_that_refuses_to_tell_is_exit_status_1(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> int:
        raise AriRejected("ARI GET /channels: HTTP 401", 401)

    monkeypatch.setattr("agentd.service.hand_back.hand_back_orphans", refused)
    config = tmp_path / "agent.toml"
    config.write_text(f"[asterisk]\nurl = '{url}'\n[health]\nport = 0\n")
    assert main(["hand-back", "--config", str(config)]) == 1
    assert "HTTP 401" in capsys.readouterr().err


def test_the_password_is_the_daemons_and_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ARI_PASSWORD)
    assert main(["hand-back", "--config", str(tmp_path / "gone.toml")]) == 2
    out, err = capsys.readouterr()
    assert "cannot be read (No such file or directory): the defaults are used" in out
    assert "ari-password" in err
