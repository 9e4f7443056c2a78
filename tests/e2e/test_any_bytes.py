"""Whatever bytes come to whatever port of a daemon with a call on: the caller notices nothing, and nothing is left. The
same of a speech server that is at work.

The ports are those that the process and its children have, so that a new one is covered. SEED tells what was sent.
"""

import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio

from agentd.errors import ProviderUnavailable, first_of
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.listen import open_wyoming_listen
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.e2e.conftest import show
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.census import Census, census
from tests.lab.daemon import ROOT, Daemon, Line, environment, run_daemon, write_config
from tests.lab.hearing import likeness
from tests.lab.measure import speech_spans
from tests.lab.open_ports import OpenPort, descriptors, family_of, open_ports
from tests.lab.prefix import Prefix
from tests.lab.sip import SipCaller
from tests.lab.vendors.deepgram_agent import Turn
from tests.lab.vendors.house import open_house

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]

SEED = int(os.environ.get("AGENTD_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
SECONDS = 25.0
"""For how long garbage comes."""
LONGEST_TURN = 0.1
"""Seconds of the processor's for which a frame that is due may wait for other tasks: five frames, which a telephone's
jitter buffer bears. It is 0.01 where nothing is wrong, and 0.17 was a full run of Python's collector."""
LONGEST_SILENCE = 1.0
"""Seconds without a sound in what the caller hears, besides the time for which the host let agentd, Asterisk and the
caller wait for a processor: on a busy one that is most of it, and LONGEST_TURN tells what is ours."""
SETTLED = 120.0
"""Seconds in which everything that came is gone again, and the story told."""
PATIENCE = 90.0
RATE = 8000
GREETING = "Good day, how can I help you?"
SENTENCE = "Hello, this is a telephone call, and I would like to know something."
STORY = Turn(says=["And so it went on."] * 45, seconds=1.0)


@attrs.frozen
class Remains:
    """What a daemon consists of."""

    tasks: Counter[str]
    processes: tuple[int, ...]
    descriptors: int

    def more_than(self, other: "Remains") -> dict[str, object]:
        """What there is that was not there before."""
        more = {
            "tasks": dict(self.tasks - other.tasks),
            "processes": sorted(set(self.processes) - set(other.processes)),
            "descriptors": max(0, self.descriptors - other.descriptors),
        }
        return {what: which for what, which in more.items() if which}


@attrs.frozen
class Watched:
    """A daemon whose inner life can be looked at."""

    daemon: Daemon
    file: Path

    @property
    def pid(self) -> int:
        return self.daemon.process.pid

    async def census(self) -> Census:
        return await census(self.pid, self.file)

    async def remains(self) -> Remains:
        tasks = (await self.census()).tasks
        return Remains(tasks, tuple(family_of(self.pid)), len(descriptors(self.pid)))

    async def is_as_it_was(self, before: Remains) -> None:
        more: dict[str, object] = {"not looked": True}
        with trio.move_on_after(SETTLED):
            while more:
                await trio.sleep(0.5)
                more = (await self.remains()).more_than(before)
        assert not more, f"after the garbage of seed {SEED} there is still: {more}"

    def troubles(self, since: int) -> list[Line]:
        """Log lines that tell of an error of ours."""
        return [
            line
            for line in self.daemon.lines[since:]
            if line.get("level") in ("error", "critical") or "exception" in line or line["event"] == "not a log line"
        ]


@asynccontextmanager
async def watched(
    config: Path, env: dict[str, str], *arguments: str, up: str = "agentd is up"
) -> AsyncIterator[Watched]:
    file = config.with_suffix(".census")
    command = (sys.executable, "-m", "tests.lab.census", str(file), *arguments)
    async with run_daemon(config, env, show, command, up) as daemon:
        yield Watched(daemon, file)


async def throw(ports: list[OpenPort]) -> dict[str, int]:
    """Garbage to all ports, for SECONDS, of a process that leaves the processor to others; how many connections each
    port took."""
    print(f"AGENTD_TEST_SEED={SEED} sends this again")
    given = json.dumps([[port.address, port.family, port.kind, port.private] for port in ports])
    command = [sys.executable, "-m", "tests.e2e.strangers", str(SEED), str(SECONDS), given]
    done = await trio.run_process(command, capture_stdout=True)
    taken: dict[str, int] = json.loads(done.stdout)
    print("connections:", taken)
    return taken


def waited(pids: Iterable[int]) -> float:
    """For how long threads of processes were ready to run and the host did not let them, in seconds, all in all
    (/proc/PID/schedstat, of the main thread alone)."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) for pid in pids) / 1e9


def longest_silence(pcm: bytes) -> float:
    """The longest stretch without a sound, in seconds."""
    spans = speech_spans(pcm, join_seconds=0.0, shortest_seconds=0.0)
    edges = [0.0, *(edge for span in spans for edge in (span.start, span.end)), len(pcm) / 2 / RATE]
    return max(end - start for start, end in zip(edges[::2], edges[1::2], strict=True))


def tone(seconds: float) -> bytes:
    """Something loud for the fake's ears (8 kHz slin)."""
    at = np.arange(int(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * 500 * at)).astype("<i2").tobytes()


async def test_whatever_comes_to_a_port_the_call_goes_on(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with PrivateAsterisk(pbx_prefix) as pbx, open_house() as house:
        house.deepgram.script = [STORY]
        embedded = house.mixed_agent("embedded").replace('think = "openai"', 'think = "embedded"')
        agents = house.deepgram_agent("default", f'greeting = "{GREETING}"') + embedded
        config = write_config(tmp_path / "agent.toml", pbx, extra="[calls]\ndrain_timeout = 1.0", agents=agents)
        env = environment(pbx) | house.environment
        async with watched(config, env) as agentd, SipCaller().call(pbx.sip_uri("7000")) as call:
            daemon = agentd.daemon
            await daemon.wait_for("utterance heard", timeout=PATIENCE)
            await trio.sleep(2.0)
            before = await agentd.remains()
            ports = open_ports(agentd.pid)
            print(ports)
            assert {pbx.agent_port, daemon.health_port} <= {port.address[1] for port in ports}
            assert any(port.private for port in ports), "the language model's"
            since = len(daemon.lines)
            call.play_nowait(tone(0.5))
            await trio.sleep(2.5)
            concerned = (agentd.pid, pbx.pid, os.getpid())
            await agentd.census()  # what it took until now is no matter
            began, waited_before = call.now, waited(concerned)
            taken = await throw(ports)
            ended, waited_meanwhile = call.now, waited(concerned) - waited_before
            after = await agentd.census()
            print("longest turns:", after.turns)
            print("longest steps:", after.steps)
            print("longest collections:", after.collections)
            assert not call.ended.is_set()
            silence = longest_silence(call.heard[int(began * RATE) * 2 : int(ended * RATE) * 2])
            stats = call.line_stats(began, ended)
            print(f"longest silence {silence:.3f} s; the host let us wait {waited_meanwhile:.3f} s in all; {stats}")
            assert after.turns[0][0] < LONGEST_TURN, after
            assert silence < LONGEST_SILENCE + waited_meanwhile
            assert not stats.lost
            assert all(taken[str(port.address)] for port in ports)
            status, health = await daemon.health()
            assert (status, health["status"]) == (200, "ok"), health
            assert health["active_calls"] == 1
            assert not agentd.troubles(since)
            assert {port.address for port in open_ports(agentd.pid)} == {port.address for port in ports}
            await agentd.is_as_it_was(before)
            await call.hangup()
            await daemon.until_idle()
            assert not agentd.troubles(since)


@attrs.define(eq=False)
class Client:
    """One who has a sentence spoken by a speech server, and what was spoken transcribed, over and over."""

    uri: str
    served: int = 0
    put_off: list[str] = attrs.field(factory=list)
    """Why requests were not served: a stranger's that is a whole one has a right to the engines, too."""
    likenesses: list[float] = attrs.field(factory=list)

    async def work(self) -> None:
        async with trio.open_nursery() as nursery:
            shared = SharedServices(nursery)
            listen = open_wyoming_listen(WyomingListenSettings(self.uri, timeout=9), "en-US", shared)
            speak = open_wyoming_speak(WyomingSpeakSettings(self.uri, timeout=9), "en-US", shared)
            async with listen as hearing, speak as speaking:
                while True:
                    try:
                        await self._ask(hearing, speaking)
                    except* ProviderUnavailable as group:
                        self.put_off.append(str(first_of(group)))
                        await trio.sleep(0.1)

    async def _ask(self, hearing: SpeechToText, speaking: TextToSpeech) -> None:
        async with speaking.open() as voice:
            pcm = await speak_whole(voice, SENTENCE, RATE)
        async with hearing.open(RATE) as transcriber:
            turn = transcriber.begin()
            for start in range(0, len(pcm), 320):
                turn.feed(pcm[start : start + 320])
            self.likenesses.append(likeness(SENTENCE, await turn.words()))
        self.served += 1


async def test_whatever_comes_to_a_speech_server_its_clients_are_served(tmp_path: Path) -> None:
    config = tmp_path / "speech.toml"
    room = "max_connections = 1000\nmax_waiting = 50\nidle_timeout = 10.0"
    config.write_text(f'[speech_server]\nport = 0\nhealth_port = 0\n{room}\n[logging]\nformat = "json"\n')
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    async with watched(config, env, "speech-server", up="speech server is up") as server:
        daemon = server.daemon
        (up,) = daemon.having("speech server is up")
        client = Client(f"tcp://127.0.0.1:{up['port']}")
        await trio.sleep(2.0)
        before, since = await server.remains(), len(daemon.lines)
        ports = open_ports(server.pid)
        print(ports)
        assert {up["port"], daemon.health_port} <= {port.address[1] for port in ports}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.work)
            with trio.fail_after(PATIENCE):
                while not client.served:
                    await trio.sleep(0.1)
            served_before = client.served
            taken = await throw(ports)
            print(f"requests served beside: {client.served - served_before}; put off: {client.put_off}")
            assert client.served > served_before
            once_more = client.served
            with trio.fail_after(PATIENCE):
                while client.served <= once_more:
                    await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert min(client.likenesses) > 0.8, client.likenesses
        print("longest turns:", (await server.census()).turns)
        assert all(taken[str(port.address)] for port in ports)
        status, health = await daemon.health()
        assert (status, health["status"]) == (200, "ok"), health
        assert not server.troubles(since)
        assert {port.address for port in open_ports(server.pid)} == {port.address for port in ports}
        await server.is_as_it_was(before)
        with trio.fail_after(SETTLED):
            while (await daemon.health())[1]["connections"]:
                await trio.sleep(0.1)
