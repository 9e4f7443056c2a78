"""Our own stages, each with what stands in for its vendor. What is expected of all of them is in agentd.testing."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import attrs
import trio

from agentd.testing.faults import Fault
from agentd.testing.party import Time
from agentd.testing.sound import RATE, voice_saying
from agentd.testing.stages import Can, ResponderParty, Seen, StageParty, TranscriberParty, VoiceParty
from agentd_providers.local import piper, sentence_end, vosk
from agentd_providers.local.engines import LocalSpeechToText, PiperVoice
from agentd_providers.local.settings import Engine
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_model import ChatModel
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.shared import SharedServices
from tests.contract.parties import KEY, KEYS
from tests.lab.vendors.chat import REFUSALS, Asked, ChatServer
from tests.lab.vendors.chat_refusals import REASONING, Kind
from tests.lab.vendors.deepgram_speech import DeepgramListen, DeepgramSpeak
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, HttpPeer, open_http_peer
from tests.lab.vendors.openai_speech import COMPATIBLE, OpenAiSpeech
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.scripted_words import Script, tone
from tests.shell import wyoming_peer
from tests.shell.local.fake_worker import FakeWorker, fake_engines
from tests.shell.wyoming_peer import WyomingPeer, frame

DELAY = 0.1
"""Seconds that a slow vendor takes longer, for each piece of an answer."""
PAUSE = 0.03
"""Seconds between the pieces of a sound or a text that comes as it is made."""
STATUSES = (Fault.REFUSED, Fault.RATE_LIMITED, Fault.UNAVAILABLE)
CONNECTION = (Fault.MUTE, Fault.CLOSE, Fault.CUT)


class Ear(TranscriberParty):
    """Somebody who listens: a script knows what is said by its sound, and takes other sounds for "one"."""

    def __init__(self) -> None:
        self.script = Script(["one"])

    def speech(self, words: str, rate: int) -> bytes:
        pcm = voice_saying(words, rate=rate)
        self.script.know(pcm, rate, words)
        return pcm

    def hear(self, pcm: bytes, rate: int) -> str:
        """The words of slin at `rate` Hz."""
        return " ".join(heard.word for heard in self.script.words(pcm, rate))


class OverHttp(StageParty):
    """A vendor behind an HTTP API, on loopback."""

    abilities: Sequence[Can] = (Can.NEEDS_KEY, Can.FAILS)
    time = Time.LOOPBACK
    faults = (*STATUSES, *CONNECTION, Fault.OVERSIZED)
    keys = KEYS
    peer: HttpPeer

    @asynccontextmanager
    async def serving(self, handler: HttpHandler) -> AsyncIterator[str]:
        """Have the vendor's fake answer; gives its URL."""
        async with open_http_peer(handler, HttpPeer(delay=DELAY, refusals=REFUSALS)) as self.peer:
            yield self.peer.url

    def strike(self, fault: Fault) -> None:
        self.peer.strike(fault)

    def at_work(self) -> int:
        return self.peer.answering

    def seen(self) -> Sequence[Seen]:
        return [
            Seen(request.headers, f"{request.path} {request.query} {request.body!r}") for request in self.peer.requests
        ]


# --- those who listen


class DeepgramEar(Ear):
    stage = "listen_deepgram"
    time = Time.LOOPBACK
    abilities = (Can.NEEDS_KEY, Can.FAILS)
    faults = (*STATUSES, Fault.MUTE)
    keys = KEYS

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        fake = DeepgramListen(self.script, key=KEY, latency=0.02)
        self.upgrades: list[Seen] = []

        def admit(path: str, headers: Mapping[str, str]) -> int:
            self.upgrades.append(Seen(headers, path))
            return fake.admit(path, headers)

        async with open_peer(fake.run, WebSocketPeer(delay=DELAY), admit=admit) as self.peer:
            url = f"http{self.peer.url.removeprefix('ws')}"
            self.settings = {"base_url": url, "connect_timeout": self.deadline, "timeout": self.deadline}
            yield

    def strike(self, fault: Fault) -> None:
        self.peer.strike(fault)

    def at_work(self) -> int:
        return len(self.peer.open)

    def seen(self) -> Sequence[Seen]:
        return self.upgrades


class OpenAiEar(OverHttp, Ear):
    stage = "listen_openai"
    faults = (*OverHttp.faults, Fault.GARBAGE)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self.serving(OpenAiSpeech(self.script, key=KEY).answer) as url:
            self.settings = {"base_url": f"{url}/v1", "timeout": self.deadline}
            yield


WYOMING_FAULTS: Mapping[Fault, wyoming_peer.Fault] = {
    Fault.NONE: wyoming_peer.Fault.NONE,
    Fault.SLOW: wyoming_peer.Fault.SLOW,
    Fault.REFUSED: wyoming_peer.Fault.ERROR,
    Fault.RATE_LIMITED: wyoming_peer.Fault.BUSY,
    Fault.MUTE: wyoming_peer.Fault.MUTE,
    Fault.CLOSE: wyoming_peer.Fault.CLOSES,
    Fault.CUT: wyoming_peer.Fault.CUT,
    Fault.GARBAGE: wyoming_peer.Fault.GARBAGE,
    Fault.OVERSIZED: wyoming_peer.Fault.OVERSIZE,
}


class OverWyoming(StageParty):
    """A Wyoming server on loopback."""

    time = Time.LOOPBACK
    abilities: Sequence[Can] = (Can.FAILS,)
    faults = tuple(fault for fault in WYOMING_FAULTS if fault not in (Fault.NONE, Fault.SLOW))
    peer: WyomingPeer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.peer = self.server()
        async with wyoming_peer.serving(self.peer):
            self.settings = {"uri": self.peer.uri, "timeout": self.deadline, "connect_timeout": self.deadline}
            yield
        assert self.peer.violations == []

    def server(self) -> WyomingPeer:
        """The server, which does not run yet."""
        raise NotImplementedError

    def strike(self, fault: Fault) -> None:
        self.peer.fault = WYOMING_FAULTS[fault]

    def at_work(self) -> int:
        return self.peer.open


class WyomingEar(OverWyoming, Ear):
    stage = "listen_wyoming"
    rate = wyoming_peer.RATE

    def server(self) -> WyomingPeer:
        return WyomingPeer(delay=DELAY, transcribe=lambda pcm: self.hear(pcm, wyoming_peer.RATE))


class LocalEar(Ear):
    """An engine in a worker process that is none."""

    stage = "listen_local"
    rate = 16000
    time = Time.VIRTUAL

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine, self.worker = engine, FakeWorker()

    @property
    def name(self) -> str:
        return f"{self.stage} ({self.engine})"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        with fake_engines(self.hear):
            await trio.lowlevel.checkpoint()
            yield

    @asynccontextmanager
    async def open_engine(self, _shared: SharedServices) -> AsyncIterator[LocalSpeechToText]:
        await trio.lowlevel.checkpoint()
        yield LocalSpeechToText(self.worker, self.engine, "model")  # type: ignore[arg-type]

    def at_work(self) -> int:
        self.worker.catch_up()
        return len(vosk._utterances)


# --- those who think


class PacedChatServer(ChatServer):
    """Its replies take their time."""

    async def _chunk(self, exchange: HttpExchange, delta: Mapping[str, Any], finish: str | None = None) -> None:
        await trio.sleep(PAUSE)
        await super()._chunk(exchange, delta, finish)


@attrs.define(eq=False)
class OpenAiModel(OverHttp, ResponderParty):
    """`kind` of the server's model: what it wants to be asked, and to have back."""

    kind: Kind = Kind.PLAIN
    stage = "think_openai"
    abilities = (*OverHttp.abilities, Can.STREAMS, Can.USES_TOOLS)
    faults = (*STATUSES, *CONNECTION, Fault.OVERSIZED)

    def __attrs_post_init__(self) -> None:
        if self.kind in REASONING:  # these would strike the refusal from which it is learnt
            self.faults = tuple(fault for fault in self.faults if fault not in (Fault.CUT, Fault.OVERSIZED))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.chat = PacedChatServer(key=KEY, kind=self.kind)
        async with self.serving(self.chat.handle) as url:
            self.settings = {"base_url": f"{url}/v1", "model": self.chat.model, "timeout": self.deadline}
            yield

    def expect(self, said: str, pieces: Sequence[str], calls: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self.chat.replies[said] = [*pieces, *[Asked(name, arguments) for name, arguments in calls]]


class EmbeddedModel(OverHttp, ResponderParty):
    """The client of the embedded model, with a server that goes on with a written dialogue."""

    stage = "think_embedded"
    abilities = (Can.FAILS, Can.STREAMS, Can.TELLS_SENTENCE_ENDS)
    faults = (Fault.RATE_LIMITED, Fault.UNAVAILABLE, *CONNECTION)
    keys: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.replies: dict[str, Sequence[str]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self.serving(self.answer) as self.url:
            yield

    @asynccontextmanager
    async def open_engine(self, _shared: SharedServices) -> AsyncIterator[ChatModel]:
        settings = ChatSettings(api_key_name="", base_url="", model="tiny", timeout=self.deadline)
        responder = ChatResponder(
            settings,
            lambda: (f"{self.url}/v1", "the server's own"),
            transcript_style=True,
            embedded=True,
            ask_sentence_end=sentence_end.ask,
        )
        try:
            yield ChatModel(responder)
        finally:
            await responder.aclose()

    def expect(self, said: str, pieces: Sequence[str], calls: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self.replies[said] = pieces

    async def answer(self, exchange: HttpExchange) -> None:
        """As llama.cpp's server does."""
        if exchange.request.path == "/v1/models":
            await exchange.answer(200, {"object": "list", "data": []})
            return
        asked = exchange.request.json()
        if asked["max_tokens"] == 1:
            tokens = [{"token": "?", "logprob": -0.7}, {"token": " in", "logprob": -0.7}]
            choice = self._choice(text="?", logprobs={"content": [{"top_logprobs": tokens}]})
            await exchange.begin(content_type="text/event-stream")
            await exchange.send(f"data: {json.dumps(choice)}\n\ndata: [DONE]\n\n".encode())
            await exchange.end()
            return
        (pieces,) = [pieces for said, pieces in self.replies.items() if asked["prompt"].endswith(f"{said}\nAssistant:")]
        await exchange.begin(content_type="text/event-stream")
        for piece in pieces:
            await trio.sleep(PAUSE)
            await exchange.send(b"data: " + json.dumps(self._choice(text=piece)).encode() + b"\n\n")
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    def _choice(self, **choice: Any) -> Mapping[str, Any]:
        return {
            "id": "1",
            "object": "text_completion",
            "created": 1,
            "model": "tiny",
            "choices": [{"index": 0, **choice}],
        }


# --- those who speak


class Mouth(VoiceParty):
    """Somebody who speaks: a tone for a text."""

    def seconds(self, text: str) -> float:
        return len(tone(text, RATE)) / 2 / RATE


class DeepgramMouth(OverHttp, Mouth):
    stage = "speak_deepgram"
    abilities = (*OverHttp.abilities, Can.STREAMS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self.serving(DeepgramSpeak(key=KEY, piece=2001, pause=PAUSE).answer) as url:
            self.settings = {"base_url": url, "timeout": self.deadline}
            yield


class OpenAiMouth(OverHttp, Mouth):
    stage = "speak_openai"
    abilities = (*OverHttp.abilities, Can.STREAMS)
    faults = (*OverHttp.faults, Fault.GARBAGE)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self.serving(OpenAiSpeech(key=KEY, piece=5001, pause=PAUSE).answer) as url:
            self.settings = {"base_url": f"{url}/v1", "model": COMPATIBLE, "timeout": self.deadline}
            yield


@attrs.define(eq=False)
class PacedWyomingPeer(WyomingPeer):
    """Its sound is as long as its text, and comes as it is made."""

    async def answer(self, stream: trio.SocketStream, events: list[bytes]) -> None:
        if len(events) == 1:
            await super().answer(stream, events)
            return
        tell = {"rate": self.rate, "width": 2, "channels": 1, "timestamp": None}
        sound = tone(self.asked("synthesize")[-1]["text"], self.rate)
        pieces = [sound[at : at + 4000] for at in range(0, len(sound), 4000)]
        for part in (events[0], *[frame("audio-chunk", tell, piece) for piece in pieces], events[-1]):
            if self.fault not in (wyoming_peer.Fault.NONE, wyoming_peer.Fault.SLOW):
                await super().answer(stream, events)
                return
            await trio.sleep(self.delay if self.fault is wyoming_peer.Fault.SLOW else PAUSE)
            await stream.send_all(part)


class WyomingMouth(OverWyoming, Mouth):
    stage = "speak_wyoming"
    abilities = (Can.FAILS, Can.STREAMS)

    def server(self) -> WyomingPeer:
        return PacedWyomingPeer(delay=DELAY)


class LocalMouth(Mouth):
    """Piper, in a worker process that is none."""

    stage = "speak_local"
    time = Time.VIRTUAL

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        def synthesise(_voice: str, _threads: int, _scale: float, text: str, rate: int) -> bytes:
            return tone(text, rate)

        with patch.object(piper, "synthesise", synthesise):
            await trio.lowlevel.checkpoint()
            yield

    @asynccontextmanager
    async def open_engine(self, _shared: SharedServices) -> AsyncIterator[PiperVoice]:
        await trio.lowlevel.checkpoint()
        yield PiperVoice(FakeWorker(), "voice", 2, 1.0)  # type: ignore[arg-type]


EARS: Mapping[str, Callable[[], TranscriberParty]] = {
    "deepgram": DeepgramEar,
    "openai": OpenAiEar,
    "wyoming": WyomingEar,
    "moonshine": lambda: LocalEar(Engine.MOONSHINE),
    "vosk": lambda: LocalEar(Engine.VOSK),
}
MODELS: Mapping[str, Callable[[], ResponderParty]] = {
    **{f"openai-{kind}": partial(OpenAiModel, kind) for kind in Kind if kind is not Kind.ALWAYS_REASONING},
    "embedded": EmbeddedModel,
}
MOUTHS: Mapping[str, Callable[[], VoiceParty]] = {
    "deepgram": DeepgramMouth,
    "openai": OpenAiMouth,
    "wyoming": WyomingMouth,
    "piper": LocalMouth,
}
