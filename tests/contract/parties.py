"""The agents that have to meet the contract, each with what stands in for its vendor: a party to the call.

A party is told beforehand what the caller will have said and what its model is to do about it, and tells afterwards
what its model was given. What differs between parties is here; what is expected of all of them is in test_contract.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from enum import StrEnum
from typing import Any
from zlib import crc32

import attrs
import numpy as np
import trio

from agentd import history
from agentd.testing.faults import Fault
from agentd.testing.sound import voice
from tests.lab.hearing import speak
from tests.lab.vendors import deepgram_agent
from tests.lab.vendors.chat import REFUSALS, Asked, ChatServer
from tests.lab.vendors.deepgram_agent import DeepgramAgentFake
from tests.lab.vendors.deepgram_speech import DeepgramListen, DeepgramSpeak
from tests.lab.vendors.http_peer import HttpPeer, open_http_peer
from tests.lab.vendors.openai_speech import OpenAiSpeech
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.realtime import RealtimeFake, Reply
from tests.lab.vendors.scripted_words import Script, tone
from tests.shell import wyoming_peer
from tests.shell.wyoming_peer import WyomingPeer, frame

KEY = "key-that-nobody-may-see-0123456789"
"""Of every vendor."""
RATE = 8000
SHORTEST = 0.4
"""Seconds of a caller's sound that is surely somebody's words, and no click."""


def seconds(text: str) -> float:
    """How long a fake voice takes for a text (as tests.lab.vendors.scripted_words.tone)."""
    return 0.05 * len(text)


class Able(StrEnum):
    """What a party can do: the rest of a sentence that begins with "it". The last are those of its sessions'
    capabilities, by the same names."""

    SCRIPTED = "says what the test wants"
    """Its model does, and tells what it knows."""
    TALKS_ON = "can be made to talk for long"
    FAILS = "has a vendor that fails"
    IS_REFUSED = "opens each session as a connection, which may be refused"
    IS_WELCOMED = "waits for a word of its vendor's before a session is open"
    TRUNCATES = "truncates"
    TAKES_TEXT = "takes text"
    TAKES_DIGITS = "takes digits"
    ANSWERS_PROBES = "answers probes"


@attrs.frozen
class Turn:
    """What the caller says; then the model asks for the tools `calls` (names and arguments), and `says` something."""

    heard: str
    says: str
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()


@attrs.define(eq=False)
class Party:
    """One agent and its vendor's fakes. `provider` and `settings` are its configuration."""

    provider: str
    settings: Mapping[str, Any]

    def expect(self, turn: Turn) -> None:
        """The caller's next turn, and the model's."""

    async def speech(self, turn: Turn) -> bytes:
        """The caller's voice in that turn (8 kHz slin): noise, where the ear is a fake that judges by loudness."""
        return voice(SHORTEST, seed=crc32(turn.heard.encode()))

    def told(self) -> list[str]:
        """The conversation as the model knows it."""
        raise NotImplementedError

    def results(self) -> list[str]:
        """What the model was told that its tools gave."""
        raise NotImplementedError

    def knows_what_was_heard_of(self, turn: history.Turn) -> bool:
        """Whether the model's own record of an answer that was cut short is cut too."""
        raise NotImplementedError

    def strike(self, fault: Fault) -> None:
        """The vendor fails like this from now on."""
        raise NotImplementedError

    def at_work(self) -> int:
        """What the vendor still does or keeps for calls: open sessions, requests that are being answered."""
        return 0


# --- vendors that hear, think and speak


@attrs.define(eq=False)
class DeepgramParty(Party):
    fake: DeepgramAgentFake = attrs.field(kw_only=True)
    peer: WebSocketPeer = attrs.field(kw_only=True)
    script: list[deepgram_agent.Turn] = attrs.field(factory=list)

    def expect(self, turn: Turn) -> None:
        calls = [deepgram_agent.Call(name, json.dumps(arguments)) for name, arguments in turn.calls]
        self.script.append(deepgram_agent.Turn(turn.heard, (turn.says,), seconds(turn.says), calls=calls))
        self.fake.script = self.script

    def told(self) -> list[str]:
        session = self.fake.session
        before = session.settings["agent"].get("context", {}).get("messages", [])
        injected = session.messages("InjectUserMessage")
        return [message["content"] for message in (*before, *injected) if "content" in message]

    def results(self) -> list[str]:
        return list(self.fake.session.responses.values())

    def strike(self, fault: Fault) -> None:
        self.peer.strike(fault)

    def at_work(self) -> int:
        return len(self.peer.open)


@asynccontextmanager
async def deepgram() -> AsyncIterator[Party]:
    fake = DeepgramAgentFake(key=KEY, silence_ms=200)
    async with open_peer(fake.serve, fake.peer(), admit=fake.admit) as peer:
        settings = {"url": f"{peer.url}{deepgram_agent.PATH}", "connect_deadline": 0.5}
        yield DeepgramParty("deepgram", settings, fake=fake, peer=peer)
    assert fake.errors == [], "the client broke the protocol"


@attrs.define(eq=False)
class RealtimeParty(Party):
    fake: RealtimeFake = attrs.field(kw_only=True)
    peer: WebSocketPeer = attrs.field(kw_only=True)

    def expect(self, turn: Turn) -> None:
        self.fake.transcripts.append(turn.heard)
        if turn.calls:
            self.fake.replies.append(
                Reply("", 0, calls=[(name, json.dumps(arguments)) for name, arguments in turn.calls])
            )
        self.fake.replies.append(Reply(turn.says, seconds(turn.says)))

    def told(self) -> list[str]:
        return [text for _role, text in self.fake.conversation]

    def results(self) -> list[str]:
        return [text for role, text in self.fake.conversation if role == "function_call_output"]

    def knows_what_was_heard_of(self, turn: history.Turn) -> bool:
        (cut,) = self.fake.of("conversation.item.truncate")
        return 0 < int(cut["audio_end_ms"]) < 1000 * seconds(turn.generated)

    def strike(self, fault: Fault) -> None:
        self.peer.strike(fault)

    def at_work(self) -> int:
        return len(self.peer.open)


def openai_realtime(
    audio: str, *, vendor_answers: bool = True
) -> Callable[[], AbstractAsyncContextManager[RealtimeParty]]:
    @asynccontextmanager
    async def party() -> AsyncIterator[RealtimeParty]:
        fake = RealtimeFake(key=KEY)
        async with open_peer(fake.handler, admit=fake.admit) as peer:
            settings = {
                "url": f"{peer.url}/v1/realtime",
                "audio": audio,
                "connect_deadline": 0.5,
                "turn": {"silence_ms": 200, "vendor_answers": vendor_answers},
            }
            yield RealtimeParty("openai_realtime", settings, fake=fake, peer=peer)
        assert fake.breaches == []

    return party


# --- pipelines


class Lines(dict[str, Sequence[str | Asked]]):
    """What a chat model says to what it is told last. What a tool gives is known to nobody beforehand: then it says
    `after_tools`."""

    after_tools: Sequence[str | Asked] = ("Well.",)

    def get(self, last: str, _default: Any = None) -> Any:
        return super().get(last, self.after_tools)


@attrs.define(eq=False)
class PipelineParty(Party):
    chat: ChatServer = attrs.field(kw_only=True)
    script: Script = attrs.field(kw_only=True)
    peers: Sequence[WebSocketPeer | HttpPeer] = attrs.field(kw_only=True)
    wyoming: WyomingPeer | None = attrs.field(kw_only=True, default=None)
    _spoken: dict[str, bytes] = attrs.field(factory=dict, init=False)

    def expect(self, turn: Turn) -> None:
        phrases, lines = self.script.phrases, self.chat.replies
        assert isinstance(phrases, list)
        assert isinstance(lines, Lines)
        phrases.append(turn.heard)
        if turn.calls:
            lines[turn.heard] = [Asked(name, arguments) for name, arguments in turn.calls]
            lines.after_tools = [turn.says]
        else:
            lines[turn.heard] = [turn.says]

    async def speech(self, turn: Turn) -> bytes:
        """Words: whether somebody speaks is not judged by a fake."""
        return await spoken(turn.heard)

    @property
    def _prompt(self) -> Sequence[Mapping[str, Any]]:
        prompt: Sequence[Mapping[str, Any]] = self.chat.asked[-1]["messages"]
        return prompt

    def told(self) -> list[str]:
        return [message["content"] for message in self._prompt if isinstance(message["content"], str)]

    def results(self) -> list[str]:
        return [message["content"] for message in self._prompt if message["role"] == "tool"]

    def knows_what_was_heard_of(self, turn: history.Turn) -> bool:
        said = [message["content"] for message in self._prompt if message["role"] == "assistant"]
        return turn.text in said and turn.generated not in said

    def strike(self, fault: Fault) -> None:
        for peer in self.peers:
            peer.strike(fault)
        if self.wyoming is not None:
            self.wyoming.fault = wyoming_peer.Fault.CLOSES
            self.wyoming.drop_clients()

    def at_work(self) -> int:
        sessions = sum(len(peer.open) for peer in self.peers if isinstance(peer, WebSocketPeer))
        requests = sum(len(peer._handling) for peer in self.peers if isinstance(peer, HttpPeer))
        return sessions + requests + (0 if self.wyoming is None else self.wyoming.open)


def _pipeline_settings(chat: HttpPeer, **stages: Any) -> Mapping[str, Any]:
    think = {"base_url": f"{chat.url}/v1", "model": "fake-1"}
    turn = {"smart_turn": False}
    return {"think": "openai", "think_openai": think, "turn": turn, "farewell": "", **stages}


@asynccontextmanager
async def _chat(opened: AsyncExitStack) -> AsyncIterator[tuple[ChatServer, HttpPeer]]:
    chat = ChatServer(key=KEY, replies=Lines())
    yield chat, await opened.enter_async_context(open_http_peer(chat.handle, HttpPeer(refusals=REFUSALS)))
    assert chat.refused == []


@asynccontextmanager
async def deepgram_pipeline() -> AsyncIterator[PipelineParty]:
    script = Script([])
    listen, voice = DeepgramListen(script, key=KEY), DeepgramSpeak(key=KEY)
    async with AsyncExitStack() as opened, _chat(opened) as (chat, chat_peer):
        ears = await opened.enter_async_context(open_peer(listen.run, admit=listen.admit))
        mouth = await opened.enter_async_context(open_http_peer(voice.answer))
        settings = _pipeline_settings(
            chat_peer,
            listen="deepgram",
            listen_deepgram={"base_url": f"http{ears.url.removeprefix('ws')}", "connect_timeout": 0.5},
            speak="deepgram",
            speak_deepgram={"base_url": mouth.url},
        )
        peers = [ears, mouth, chat_peer]
        yield PipelineParty("pipeline", settings, chat=chat, script=script, peers=peers)


@asynccontextmanager
async def openai_pipeline() -> AsyncIterator[PipelineParty]:
    script = Script([])
    speech = OpenAiSpeech(script, key=KEY)
    async with AsyncExitStack() as opened, _chat(opened) as (chat, chat_peer):
        peer = await opened.enter_async_context(open_http_peer(speech.answer))
        base = {"base_url": f"{peer.url}/v1"}
        settings = _pipeline_settings(chat_peer, listen="openai", listen_openai=base, speak="openai", speak_openai=base)
        yield PipelineParty("pipeline", settings, chat=chat, script=script, peers=[peer, chat_peer])


@attrs.define(eq=False)
class SpeakingWyomingPeer(WyomingPeer):
    """Its sound is as long as its text."""

    async def answer(self, stream: trio.SocketStream, events: list[bytes]) -> None:
        if len(events) > 1 and self.fault is wyoming_peer.Fault.NONE:
            tell = {"rate": self.rate, "width": 2, "channels": 1, "timestamp": None}
            sound = tone(self.asked("synthesize")[-1]["text"], self.rate)
            events = [events[0], frame("audio-chunk", tell, sound), events[-1]]
        await super().answer(stream, events)


@asynccontextmanager
async def wyoming_pipeline() -> AsyncIterator[PipelineParty]:
    script = Script([])
    peer = SpeakingWyomingPeer(
        transcribe=lambda pcm: " ".join(heard.word for heard in script.words(pcm, wyoming_peer.RATE))
    )
    async with AsyncExitStack() as opened, _chat(opened) as (chat, chat_peer):
        nursery = await opened.enter_async_context(trio.open_nursery())
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(peer.run, listeners)
        uri = {"uri": peer.uri}
        settings = _pipeline_settings(
            chat_peer, listen="wyoming", listen_wyoming=uri, speak="wyoming", speak_wyoming=uri
        )
        yield PipelineParty("pipeline", settings, chat=chat, script=script, peers=[chat_peer], wyoming=peer)
        nursery.cancel_scope.cancel()
    assert peer.violations == []


# --- parties that say what they like


@asynccontextmanager
async def local() -> AsyncIterator[Party]:
    """The engines of this host, with their real models."""
    yield LocalParty("local", {"farewell": "", "llm": {"max_tokens": 12}})


@attrs.define(eq=False)
class LocalParty(Party):
    async def speech(self, turn: Turn) -> bytes:
        return await spoken(turn.heard)


@attrs.define(eq=False)
class ParrotParty(Party):
    async def speech(self, turn: Turn) -> bytes:
        """It says back what it hears: so that takes as long as its answer is to take."""
        return voice(max(SHORTEST, seconds(turn.says)), seed=crc32(turn.heard.encode()))


@asynccontextmanager
async def parrot() -> AsyncIterator[Party]:
    yield ParrotParty("parrot", {"quiet_ms": 300})


@attrs.frozen
class Kind:
    """How a party is opened, and what it can do."""

    open: Callable[[], AbstractAsyncContextManager[Party]]
    abilities: frozenset[Able]


def _kind(open_party: Callable[[], AbstractAsyncContextManager[Party]], *abilities: Able) -> Kind:
    return Kind(open_party, frozenset(abilities))


VENDOR = (Able.SCRIPTED, Able.TALKS_ON, Able.FAILS)
SESSION = (*VENDOR, Able.IS_REFUSED, Able.IS_WELCOMED, Able.TAKES_TEXT)
REALTIME = (*SESSION, Able.TRUNCATES, Able.ANSWERS_PROBES)
PIPELINE = (Able.TRUNCATES, Able.TAKES_TEXT, Able.TAKES_DIGITS)
PARTIES: Mapping[str, Kind] = {
    "deepgram": _kind(deepgram, *SESSION, Able.ANSWERS_PROBES),
    "realtime-pcm16": _kind(openai_realtime("pcm16"), *REALTIME),
    "realtime-g711": _kind(openai_realtime("g711_ulaw"), *REALTIME),
    "realtime-asked": _kind(openai_realtime("pcm16", vendor_answers=False), *REALTIME),
    "pipeline-deepgram": _kind(deepgram_pipeline, *VENDOR, *PIPELINE, Able.IS_REFUSED),
    "pipeline-openai": _kind(openai_pipeline, *VENDOR, *PIPELINE),
    "pipeline-wyoming": _kind(wyoming_pipeline, *VENDOR, *PIPELINE),
    "local": _kind(local, *PIPELINE),
    "parrot": _kind(parrot, Able.TALKS_ON, Able.ANSWERS_PROBES),
}


_voices: dict[str, bytes] = {}


async def spoken(words: str) -> bytes:
    """Words in a human-like voice (8 kHz slin), without the silence around them; each is spoken once a test run."""
    if words not in _voices:
        samples = np.frombuffer(await speak(words), "<i2")
        (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) > 200)
        _voices[words] = samples[max(loud[0] - RATE // 50, 0) : loud[-1] + RATE // 50].tobytes()
    return _voices[words]
