"""The speech server on a loopback socket, with engines that need none, and its pool with real processes."""

import operator
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio.testing

from agentd import __version__
from agentd.agent import Readiness
from agentd.errors import ProviderError, ProviderUnavailable
from agentd.service.speech_server import SpeechReport
from agentd.testing.clock import until
from agentd_providers.local.engine_side import nothing
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.text_normalisation.language import Language
from agentd_providers.wyoming.info import Info, Offer, Program
from agentd_providers.wyoming.server import session
from agentd_providers.wyoming.server.engines import Engines, sentences
from agentd_providers.wyoming.server.metrics import SpeechMetrics
from agentd_providers.wyoming.server.pool import EnginePool, NoCapacity, open_pool
from agentd_providers.wyoming.server.server import SpeechServer
from agentd_providers.wyoming.server.settings import SpeechServerSettings
from tests.shell.engine_work import die, process_facts, refuse, wait_for
from tests.shell.wyoming_peer import RATE, SOUND, Connection, frame, sound_of, words_in

pytestmark = pytest.mark.loopback

INFO = Info(
    (
        Program(
            "moonshine", (Offer("moonshine-tiny-en", ("en",)),), "moonshine of agentd", "0.0.73", ("M", "https://m")
        ),
    ),
    (Program("piper", (Offer("en_US-joe-medium", ("en_US",)),)),),
)
FORMAT = {"rate": RATE, "width": 2, "channels": 1}
SECRET_PATH = "/var/lib/agentd/models/secret"


@attrs.define(eq=False)
class Hearer:
    """Speech to text that reads the words out of the audio. Each answer waits for `gate`."""

    pool: EnginePool
    gate: trio.Event
    failure: Exception | None = None
    open: int = 0
    streams: bool = False

    def begin(self, rate: int) -> Transcript:
        assert rate == RATE
        self.open += 1
        return _HeardTurn(self)


@attrs.define(eq=False)
class _HeardTurn:
    _hearer: Hearer
    _pcm: bytearray = attrs.field(factory=bytearray)

    def feed(self, pcm: bytes) -> None:
        assert len(pcm) % 2 == 0
        self._pcm += pcm

    async def words(self) -> str:
        await self._hearer.gate.wait()
        if self._hearer.failure is not None:
            raise self._hearer.failure
        return words_in(bytes(self._pcm))

    def close(self) -> None:
        self._hearer.open -= 1


@attrs.define(eq=False)
class Speaker:
    """Text to speech that has one sound. Each sentence waits for `gate`."""

    pool: EnginePool
    gate: trio.Event
    rate: int = 22050
    said: list[str] = attrs.field(factory=list)
    failure: ProviderError | None = None

    def sentences(self, text: str) -> list[str]:
        return sentences(text, Language())

    async def speak(self, sentence: str) -> bytes:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.said.append(sentence)
        return SOUND


@attrs.define(eq=False)
class Worker:
    """An engine's process that is none."""

    readiness: Readiness = attrs.field(factory=lambda: Readiness(True))

    def oldest(self, _now: float) -> float:
        return 0.0


@attrs.define(eq=False)
class Client:
    """A client that writes its own frames."""

    connection: Connection

    async def send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        await self.connection.stream.send_all(frame(kind, data, payload))

    async def receive(self) -> tuple[str, dict[str, Any], bytes] | None:
        with trio.fail_after(5):
            return await self.connection.read()

    async def answer(self) -> tuple[str, dict[str, Any]]:
        event = await self.receive()
        assert event is not None
        return event[0], event[1]

    async def say(self, pcm: bytes) -> None:
        await self.send("audio-start", {**FORMAT, "timestamp": None})
        for start in range(0, len(pcm), 2048):
            await self.send("audio-chunk", FORMAT, pcm[start : start + 2048])
        await self.send("audio-stop", {"timestamp": None})

    async def spoken(self) -> bytes:
        """The sound of an answer."""
        sound = b""
        while (event := await self.receive()) is not None:
            kind, data, payload = event
            if kind == "audio-stop":
                return sound
            assert kind in ("audio-start", "audio-chunk")
            assert (data["rate"], data["width"], data["channels"]) == (22050, 2, 1)
            sound += payload
        raise AssertionError("the connection ended before the sound did")

    async def error(self) -> str:
        """The code of an error, which ends the connection."""
        kind, data = await self.answer()
        assert kind == "error"
        assert data["text"]
        assert await self.receive() is None
        assert isinstance(data["code"], str)
        return data["code"]

    async def until_closed(self) -> None:
        assert await self.receive() is None


@attrs.define(eq=False)
class RunningServer:
    server: SpeechServer
    hearer: Hearer
    speaker: Speaker
    port: int
    workers: list[Worker]
    """Of those who hear, and of those who speak."""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield Client(Connection(stream))

    def counted(self, name: str, **labels: str) -> float:
        return self.server.metrics.registry.get_sample_value(f"agentd_speech_{name}", labels) or 0.0

    async def until_nobody_is_connected(self) -> None:
        await until(lambda: not self.server.connections)
        assert self.hearer.open == 0
        assert self.counted("connections") == 0
        assert [pool.requests for pool in self.server.engines.pools] == [0, 0]


@asynccontextmanager
async def a_server(gate_is_open: bool = True, **settings: Any) -> AsyncIterator[RunningServer]:
    """The server with one process of each kind; it leaves nothing."""
    metrics = SpeechMetrics()
    made = SpeechServerSettings(**{"port": 0, "max_waiting": 1, **settings})
    workers = [Worker() for _ in range(2)]
    stt, tts = (
        EnginePool(name, made.max_waiting, metrics, (worker,))  # type: ignore[arg-type]
        for name, worker in zip(("stt", "tts"), workers, strict=True)
    )
    gate = trio.Event()
    if gate_is_open:
        gate.set()
    hearer, speaker = Hearer(stt, gate), Speaker(tts, gate)
    server = SpeechServer(made, Engines(INFO, hearer, speaker), metrics)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(server.run, nursery)
            at = RunningServer(server, hearer, speaker, port, workers)
            yield at
            gate.set()
            await at.until_nobody_is_connected()
            nursery.cancel_scope.cancel()


# --- what it serves


async def test_it_tells_what_it_serves() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("describe")
        kind, data = await client.answer()
        assert kind == "info"
        (asr,), (tts,) = data["asr"], data["tts"]
        assert (asr["name"], asr["version"], asr["installed"]) == ("moonshine", "0.0.73", True)
        assert asr["models"][0]["languages"] == ["en"]
        assert tts["voices"][0]["name"] == "en_US-joe-medium"
        assert not asr["supports_transcript_streaming"]
        assert not tts["supports_synthesize_streaming"]


async def test_an_utterance_becomes_words_and_another_may_follow() -> None:
    async with a_server() as at, at.client() as client:
        for word in ("one", "two"):
            await client.send("transcribe", {"language": "en-US", "name": "moonshine-tiny-en"})
            await client.say(sound_of(word))
            assert await client.answer() == ("transcript", {"text": word})
        await until(lambda: at.counted("requests_total", engine="stt", outcome="done") == 2)
        assert at.counted("audio_seconds_total", engine="stt") == pytest.approx(0.8)


async def test_audio_may_come_without_a_start_and_in_halves_of_samples() -> None:
    async with a_server() as at, at.client() as client:
        pcm = sound_of("one")
        await client.send("audio-chunk", FORMAT, pcm[:1001])
        await client.send("audio-chunk", FORMAT, pcm[1001:])
        await client.send("audio-stop")
        assert await client.answer() == ("transcript", {"text": "one"})
        await client.send("audio-stop")
        assert await client.answer() == ("transcript", {"text": ""})


async def test_a_new_utterance_forgets_one_that_was_not_finished() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("audio-chunk", FORMAT, sound_of("one"))
        await client.say(sound_of("two"))
        assert await client.answer() == ("transcript", {"text": "two"})
        assert at.hearer.open == 0


async def test_a_text_becomes_sound() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("synthesize", {"text": "Hello.", "voice": {"name": "en_US-joe-medium"}})
        assert await client.spoken() == SOUND
        await client.send("synthesize", {"text": "Hello again.", "voice": {"language": "en-GB"}})
        assert await client.spoken() == SOUND
        assert at.speaker.said == ["Hello.", "Hello again."]
        await until(lambda: at.counted("requests_total", engine="tts", outcome="done") == 2)


async def test_a_text_of_nothing_has_no_sound() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("synthesize", {"text": " "})
        assert (await client.answer())[0] == "audio-stop"
        assert at.speaker.said == []


async def test_of_a_long_text_the_beginning_is_heard_while_the_rest_is_prepared() -> None:
    text = "This is the first of many sentences. " + "And this is one of those that follow after it. " * 5
    assert len(sentences(text, Language())) > 2
    assert sentences(text, Language())[0] == "This is the first of many sentences."
    async with a_server() as at, at.client() as client:
        await client.send("synthesize", {"text": text})
        assert await client.spoken() == SOUND * len(sentences(text, Language()))


async def test_a_client_that_streams_its_text_is_answered_once_for_the_whole_of_it() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("synthesize-start", {"voice": {"name": "en_US-joe-medium"}})
        await client.send("synthesize-chunk", {"text": "Hel"})
        await client.send("synthesize-chunk", {"text": "lo."})
        await client.send("synthesize", {"text": "Hello."})
        await client.send("synthesize-stop")
        assert await client.spoken() == SOUND
        await client.send("ping", {"text": "still there?"})
        assert await client.answer() == ("pong", {"text": "still there?"})
        assert at.speaker.said == ["Hello."]


async def test_events_that_nobody_knows_are_passed_over() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("select-program", {"name": "piper"})
        await client.send("dance", {"how": 5}, b"payload")
        await client.send("ping")
        assert await client.answer() == ("pong", {"text": ""})


# --- what it refuses


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("transcribe", {"language": "fr"}, "not-found"),
        ("transcribe", {"name": 5}, "bad-request"),
        ("audio-start", {"rate": 16000, "width": 1, "channels": 1}, "bad-request"),
        ("audio-start", {"rate": 16000, "width": 2, "channels": 9}, "bad-request"),
        ("audio-start", {"rate": 192000, "width": 2, "channels": 1}, "bad-request"),
        ("audio-chunk", {}, "bad-request"),
        ("synthesize", {"text": "Hi", "voice": {"name": "nobody"}}, "not-found"),
        ("synthesize", {"text": "Hi", "voice": {"language": "fr"}}, "not-found"),
        ("synthesize", {"text": "x" * 2001}, "bad-request"),
        ("synthesize", {"text": "<speak/>", "text_format": "ssml"}, "bad-request"),
        ("synthesize", {"text": ["Hi"]}, "bad-request"),
        ("synthesize", {"voice": "nobody", "text": "Hi"}, "bad-request"),
        ("ping", {"text": {}}, "bad-request"),
    ],
)
async def test_a_request_that_cannot_be_served_is_an_error_and_the_end(
    kind: str, data: dict[str, Any], code: str
) -> None:
    async with a_server() as at, at.client() as client:
        await client.send(kind, data)
        assert await client.error() == code
        assert sum(at.counted("requests_total", engine=engine, outcome=code) for engine in ("stt", "tts")) == 1


async def test_an_utterance_has_a_longest_and_the_client_that_goes_on_still_reads_why() -> None:
    async with a_server(max_utterance=1.0) as at, at.client() as client:
        for _ in range(20):
            await client.send("audio-chunk", FORMAT, bytes(RATE // 5))
        assert await client.error() == "bad-request"


async def test_an_utterance_keeps_its_format() -> None:
    async with a_server() as at, at.client() as client:
        await client.send("audio-start", FORMAT)
        await client.send("audio-chunk", {**FORMAT, "rate": 8000}, bytes(100))
        assert await client.error() == "bad-request"


@pytest.mark.parametrize("kind", ["transcribe", "audio-start", "synthesize"])
async def test_a_kind_that_is_not_served_is_refused(kind: str) -> None:
    async with a_server() as at:
        at.server.engines = Engines(Info())
        async with at.client() as client:
            await client.send(kind, {**FORMAT, "text": "Hi"})
            assert await client.error() == "not-found"
        at.server.engines = Engines(INFO, at.hearer, at.speaker)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"type": "audio-chunk", "payload_length": 8388609}\n',
        b'{"type": "synthesize", "data_length": 65537}\n',
        b"x" * 70000,
    ],
)
async def test_what_is_no_wyoming_ends_the_connection_and_nothing_else(bytes_sent: bytes) -> None:
    async with a_server() as at, at.client() as good:
        async with at.client() as bad:
            await bad.connection.stream.send_all(bytes_sent)
            await bad.until_closed()
        assert at.counted("broken_total") == 1
        await good.send("ping")
        assert (await good.answer())[0] == "pong"


async def test_an_engine_that_fails_fails_that_request_and_tells_nothing_of_this_host() -> None:
    async with a_server() as at, at.client() as good:
        at.hearer.failure = ProviderUnavailable(f"{SECRET_PATH} cannot be read")
        async with at.client() as client:
            await client.say(sound_of("one"))
            kind, data = await client.answer()
            assert (kind, data["code"]) == ("error", "engine-failed")
            assert SECRET_PATH not in data["text"]
        at.hearer.failure = None
        await good.say(sound_of("two"))
        assert await good.answer() == ("transcript", {"text": "two"})


# --- how much it takes


async def test_more_requests_than_processes_and_places_to_wait_are_refused_at_once() -> None:
    async with a_server(gate_is_open=False) as at, at.client() as first, at.client() as second, at.client() as third:
        for client in (first, second):
            await client.say(sound_of("one"))
        await until(lambda: at.counted("waiting", engine="stt"))
        assert at.counted("busy_processes", engine="stt") == 1
        await third.say(sound_of("three"))
        assert await third.error() == "busy"
        assert at.counted("requests_total", engine="stt", outcome="busy") == 1
        at.hearer.gate.set()
        for client in (first, second):
            assert await client.answer() == ("transcript", {"text": "one"})
        async with at.client() as fourth:
            await fourth.say(sound_of("four"))
            assert await fourth.answer() == ("transcript", {"text": "four"})


async def test_an_engine_that_hears_as_the_audio_comes_has_its_requests_counted_from_their_beginning() -> None:
    async with a_server() as at, at.client() as first, at.client() as second:
        at.hearer.streams = True
        for client in (first, second):
            await client.send("audio-start", FORMAT)
        await until(lambda: at.hearer.open == 2)
        assert at.counted("waiting", engine="stt") == 1
        for kind in ("audio-start", "audio-chunk"):
            async with at.client() as third:
                await third.send(kind, FORMAT)
                assert await third.error() == "busy"
        await first.send("audio-start", FORMAT)  # instead of the one before
        await first.send("audio-chunk", FORMAT, sound_of("one"))
        await first.send("audio-stop")
        assert await first.answer() == ("transcript", {"text": "one"})
        assert at.server.engines.pools[0].requests == 1
        await first.send("audio-start", FORMAT)
        await until(lambda: at.server.engines.pools[0].requests == 2)


async def test_an_engine_that_hears_whole_utterances_is_free_until_one_is_complete() -> None:
    async with a_server(max_waiting=0) as at, at.client() as first, at.client() as second:
        for client in (first, second):
            await client.send("audio-chunk", FORMAT, sound_of("one"))
        await until(lambda: at.hearer.open == 2)
        assert at.server.engines.pools[0].requests == 0


@pytest.mark.parametrize("kind", ["audio-chunk", "ping", "dance"])
async def test_an_utterance_that_never_ends_is_given_up(kind: str) -> None:
    async with a_server(idle_timeout=0.2, max_utterance=0.1) as at, at.client() as client:
        await client.send("audio-start", FORMAT)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.send(kind, FORMAT)
                await trio.sleep(0.02)
        assert at.counted("broken_total") == 1


async def test_hearing_that_is_full_does_not_keep_it_from_speaking() -> None:
    async with a_server(gate_is_open=False, max_waiting=0) as at, at.client() as first, at.client() as second:
        await first.say(sound_of("one"))
        await until(lambda: at.counted("busy_processes", engine="stt"))
        at.speaker.gate = trio.Event()
        at.speaker.gate.set()
        await second.send("synthesize", {"text": "Hello."})
        assert await second.spoken() == SOUND
        at.hearer.gate.set()
        assert (await first.answer())[0] == "transcript"


async def test_connections_beyond_the_most_are_told_and_closed() -> None:
    async with a_server(max_connections=1) as at, at.client() as first:
        await first.send("ping")
        await first.answer()
        async with at.client() as second:
            assert await second.error() == "busy"
        assert at.counted("refused_total", reason="too_many") == 1
        await first.send("ping")
        assert (await first.answer())[0] == "pong"


async def test_what_an_engine_s_code_raises_ends_one_connection_and_not_the_server() -> None:
    async with a_server() as at, at.client() as first, at.client() as second:
        at.hearer.failure = RuntimeError("a defect")
        with structlog.testing.capture_logs() as logs:
            await first.say(sound_of("one"))
            await first.until_closed()
        assert [line["event"] for line in logs] == ["a connection is ended by an error of ours"]
        await second.send("ping")
        assert (await second.answer())[0] == "pong"


async def test_strangers_are_closed_without_a_word() -> None:
    async with a_server(allow=["10.0.0.0/8"]) as at, at.client() as client:
        await client.until_closed()
        assert at.counted("refused_total", reason="not_allowed") == 1
    async with a_server(allow=["10.0.0.0/8", "127.0.0.0/8"]) as at, at.client() as client:
        await client.send("ping")
        assert (await client.answer())[0] == "pong"


async def test_a_client_that_is_idle_for_long_is_disconnected_and_that_is_no_fault() -> None:
    async with a_server(idle_timeout=0.1) as at, at.client() as client:
        await client.send("ping")
        await client.answer()
        await client.until_closed()
        assert at.counted("broken_total") == 0


@pytest.mark.parametrize("part", [frame("audio-chunk", FORMAT, bytes(200)), frame("synthesize", {"text": "Hi"})[:-1]])
async def test_a_client_that_falls_silent_in_a_request_is_a_fault(part: bytes) -> None:
    async with a_server(idle_timeout=0.1) as at, at.client() as client:
        await client.connection.stream.send_all(part)
        await client.until_closed()
        assert at.counted("broken_total") == 1


async def test_a_client_that_takes_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_server(idle_timeout=0.2) as at:
        monkeypatch.setattr("tests.shell.service.test_speech_server.SOUND", bytes(1 << 24))
        async with at.client() as client:
            client.connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await client.send("synthesize", {"text": "Hi"})
            await at.until_nobody_is_connected()
        assert at.counted("broken_total") == 1


async def test_a_client_that_goes_in_mid_utterance_leaves_nothing() -> None:
    async with a_server() as at:
        async with at.client() as client:
            await client.send("audio-chunk", FORMAT, bytes(2000))
            await until(lambda: at.hearer.open)
        await at.until_nobody_is_connected()


async def test_a_client_that_does_not_read_its_error_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LINGER", 0.05)
    async with a_server() as at, at.client() as client:
        await client.send("transcribe", {"language": "fr"})
        await at.until_nobody_is_connected()


# --- how it ends


async def test_draining_closes_idle_connections_and_answers_what_has_been_asked() -> None:
    async with a_server(gate_is_open=False) as at, at.client() as idle, at.client() as busy, at.client() as speaking:
        await busy.say(sound_of("one"))
        await speaking.send("audio-chunk", FORMAT, sound_of("two"))
        await until(lambda: at.counted("busy_processes", engine="stt") and at.hearer.open == 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.server.drain, 5)
            await idle.until_closed()
            await until(lambda: not at.server.listening)
            with pytest.raises(OSError, match="attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", at.port)
            at.hearer.gate.set()
            assert await busy.answer() == ("transcript", {"text": "one"})
            await busy.until_closed()
            await speaking.send("audio-stop")  # an utterance that has begun may be finished
            assert await speaking.answer() == ("transcript", {"text": "two"})
            await speaking.until_closed()
        assert at.server.draining


async def test_draining_has_an_end() -> None:
    async with a_server(gate_is_open=False) as at, at.client() as client:
        await client.say(sound_of("one"))
        await until(lambda: at.counted("busy_processes", engine="stt"))
        began = trio.current_time()
        await at.server.drain(0.1)
        assert trio.current_time() - began < 1
        await client.until_closed()


# --- the pool, with real processes


@pytest.mark.real_time
async def test_each_request_goes_to_the_process_that_has_the_least_to_do(tmp_path: Path) -> None:
    gate, metrics = str(tmp_path / "gate"), SpeechMetrics()
    with trio.fail_after(30):
        async with open_pool("tts", 2, 1, metrics, nothing) as pool, trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, wait_for, gate, "")
            await trio.testing.wait_all_tasks_blocked(0.05)
            pids = {(await pool.run(process_facts))[0] for _ in range(3)}
            assert len(pids) == 1  # the other one is busy
            Path(gate).touch()


@pytest.mark.real_time
async def test_the_pool_lets_in_what_it_can_answer_in_time() -> None:
    metrics = SpeechMetrics()
    async with open_pool("tts", 2, 1, metrics, nothing) as pool:
        with pool.admit(), pool.admit(), pool.admit():
            assert (pool.busy, pool.waiting) == (2, 1)
            with pytest.raises(NoCapacity, match="3 requests"), pool.admit():
                pass
            assert metrics.registry.get_sample_value("agentd_speech_waiting", {"engine": "tts"}) == 1
        assert (pool.busy, pool.waiting) == (0, 0)


@pytest.mark.real_time
async def test_whatever_an_engine_raises_is_a_provider_error_and_a_dead_process_is_started_again() -> None:
    metrics = SpeechMetrics()
    with trio.fail_after(30):
        async with open_pool("stt", 1, 1, metrics, nothing) as pool:
            with pytest.raises(ProviderUnavailable, match="ZeroDivisionError"):
                await pool.run(operator.truediv, 1, 0)
            with pytest.raises(ProviderError, match="no such voice"):
                await pool.run(refuse)
            with pytest.raises(ProviderUnavailable, match="died"):
                await pool.run(die)
            assert await pool.run(operator.add, 1, 1) == 2
    assert metrics.registry.get_sample_value("agentd_provider_restarts_total", {"engine": "stt"}) == 1


@pytest.mark.real_time
async def test_a_request_does_not_go_to_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = SpeechMetrics()
    with trio.fail_after(30):
        async with open_pool("stt", 2, 1, metrics, nothing) as pool:
            await pool.loaded()
            first, second = pool.workers
            monkeypatch.setattr(first, "_unready", "stt: the engine cannot be started")
            with pool.least_busy() as one, pool.least_busy() as other:
                assert (one, other) == (second, second)
            assert pool.readiness.ready
            monkeypatch.setattr(second, "_unready", "stt: the engine cannot be started")
            assert pool.readiness == first.readiness
            with pytest.raises(ProviderUnavailable, match="cannot be started"):
                await pool.run(operator.add, 1, 1)


async def test_a_kind_that_has_no_process_just_now_is_not_on_offer() -> None:
    """So that clients go elsewhere, and come back."""
    async with a_server() as at:
        hears, _speaks = at.workers
        hears.readiness = Readiness(False, "stt: the engine cannot be started")
        async with at.client() as client:
            await client.send("describe")
            kind, told = await client.answer()
            assert kind == "info"
            assert told["asr"] == []
            assert [program["name"] for program in told["tts"]] == ["piper"]
        report = SpeechReport(at.server, 1.0)
        assert not report.healthy
        assert report.as_json()["engines"]["stt"]["detail"] == "stt: the engine cannot be started"
        hears.readiness = Readiness(True)
        assert SpeechReport(at.server, 1.0).healthy


# --- what GET /health tells


async def test_it_is_healthy_from_when_it_listens_until_it_drains() -> None:
    assert not SpeechReport(None, 1.0).healthy
    assert SpeechReport(None, 1.0).as_json()["status"] == "unavailable"
    async with a_server() as at, at.client() as client:
        await client.send("ping")
        await client.answer()
        report = SpeechReport(at.server, 2.04)
        assert report.healthy
        assert report.as_json() == {
            "status": "ok",
            "engines": {name: {"processes": 1, "busy": 0, "waiting": 0, "detail": ""} for name in ("stt", "tts")},
            "connections": 1,
            "draining": False,
            "parts": {},
            "uptime_seconds": 2.0,
            "version": __version__,
        }
        await at.server.drain(1)
        assert not report.healthy
        assert report.as_json()["draining"]
