"""Our own agents, each with what stands in for its vendor. What is expected of all of them is in agentd.testing."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import trio

from agentd import history
from agentd.testing.agents import Able, AgentParty, Turn
from agentd.testing.faults import Fault
from agentd.testing.party import Time
from agentd.testing.sound import RATE
from agentd_providers.openai.chat_model import warm_up_prompt
from tests.lab.hearing import speak
from tests.lab.vendors import deepgram_agent
from tests.lab.vendors.chat import REFUSALS, Asked, ChatServer
from tests.lab.vendors.chat_refusals import Kind
from tests.lab.vendors.deepgram_agent import DeepgramAgentFake
from tests.lab.vendors.deepgram_speech import DeepgramListen, DeepgramSpeak
from tests.lab.vendors.http_peer import HttpPeer, open_http_peer
from tests.lab.vendors.openai_speech import COMPATIBLE, OpenAiSpeech
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.realtime import RealtimeFake, Reply
from tests.lab.vendors.scripted_words import Script, tone
from tests.shell import wyoming_peer
from tests.shell.wyoming_peer import WyomingPeer, frame

KEY = "key-that-nobody-may-see-0123456789"
"""Of every vendor."""
KEYS = {"DEEPGRAM_API_KEY": KEY, "OPENAI_API_KEY": KEY}
VENDOR = (Able.SCRIPTED, Able.USES_TOOLS, Able.TALKS_ON, Able.FAILS)
SESSION = (*VENDOR, Able.IS_REFUSED, Able.IS_WELCOMED, Able.TAKES_TEXT)
PIPELINE = (Able.TRUNCATES, Able.TAKES_TEXT, Able.TAKES_DIGITS)


# --- vendors that hear, think and speak


class DeepgramParty(AgentParty):
    provider = "deepgram"
    abilities = (*SESSION, Able.ANSWERS_PROBES)
    keys = KEYS
    time = Time.LOOPBACK

    def __init__(self) -> None:
        self.fake = DeepgramAgentFake(key=KEY, silence_ms=200)
        self.script: list[deepgram_agent.Turn] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        fake = self.fake
        async with open_peer(fake.serve, fake.peer(), admit=fake.admit) as self.peer:
            self.settings = {"url": f"{self.peer.url}{deepgram_agent.PATH}", "connect_deadline": 0.5}
            yield
        assert fake.errors == [], "the client broke the protocol"

    def expect(self, turn: Turn) -> None:
        calls = [deepgram_agent.Call(name, json.dumps(arguments)) for name, arguments in turn.calls]
        self.script.append(deepgram_agent.Turn(turn.heard, (turn.says,), self.seconds(turn.says), calls=calls))
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


@attrs.define(eq=False)
class RealtimeParty(AgentParty):
    """`audio` is the format on the wire; `vendor_answers`, whether OpenAI decides when an answer begins."""

    audio: str = "pcm16"
    vendor_answers: bool = True
    fake: RealtimeFake = attrs.field(factory=lambda: RealtimeFake(key=KEY), init=False)
    peer: WebSocketPeer = attrs.field(factory=WebSocketPeer, init=False)
    settings: Mapping[str, Any] = attrs.field(factory=dict, init=False)
    provider = "openai_realtime"
    abilities = (*SESSION, Able.TRUNCATES, Able.ANSWERS_PROBES)
    keys = KEYS
    time = Time.LOOPBACK

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with open_peer(self.fake.handler, self.peer, admit=self.fake.admit):
            self.settings = {
                "url": f"{self.peer.url}/v1/realtime",
                "audio": self.audio,
                "connect_deadline": 0.5,
                "turn": {"silence_ms": 200, "vendor_answers": self.vendor_answers},
            }
            yield
        assert self.fake.breaches == []

    def expect(self, turn: Turn) -> None:
        self.fake.transcripts.append(turn.heard)
        if turn.calls:
            self.fake.replies.append(
                Reply("", 0, calls=[(name, json.dumps(arguments)) for name, arguments in turn.calls])
            )
        self.fake.replies.append(Reply(turn.says, self.seconds(turn.says)))

    def told(self) -> list[str]:
        return [text for _role, text in self.fake.conversation]

    def results(self) -> list[str]:
        return [text for role, text in self.fake.conversation if role == "function_call_output"]

    def knows_what_was_heard_of(self, turn: history.Turn) -> bool:
        (cut,) = self.fake.of("conversation.item.truncate")
        return 0 < int(cut["audio_end_ms"]) < 1000 * self.seconds(turn.generated)

    def strike(self, fault: Fault) -> None:
        self.peer.strike(fault)

    def at_work(self) -> int:
        return len(self.peer.open)


# --- pipelines


class Lines(dict[str, Sequence[str | Asked]]):
    """What a chat model says to what it is told last. What a tool gives is known to nobody beforehand: then it says
    `after_tools`."""

    after_tools: Sequence[str | Asked] = ("Well.",)

    def get(self, last: str, _default: Any = None) -> Any:
        return super().get(last, self.after_tools)


class PipelineParty(AgentParty):
    """A pipeline whose model is a chat server; who listens and speaks for it is in its subclasses."""

    provider = "pipeline"
    abilities = (*VENDOR, *PIPELINE)
    keys = KEYS
    wyoming: WyomingPeer | None = None
    kind = Kind.PLAIN
    """Of its model: each pipeline has another one."""

    def __init__(self) -> None:
        self.chat = ChatServer(key=KEY, replies=Lines(), kind=self.kind)
        self.script = Script([])
        self.peers: list[WebSocketPeer | HttpPeer] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            chat = await stack.enter_async_context(open_http_peer(self.chat.handle, HttpPeer(refusals=REFUSALS)))
            speech = await self.open_speech(stack)
            self.peers.append(chat)
            think = {"base_url": f"{chat.url}/v1", "model": "fake-1"}
            turn = {"smart_turn": False}
            self.settings = {"think": "openai", "think_openai": think, "turn": turn, "farewell": "", **speech}
            yield
        assert self.chat.refused == []

    async def open_speech(self, stack: AsyncExitStack) -> Mapping[str, Any]:
        """Run the fakes that listen and speak; gives the settings of these stages."""
        raise NotImplementedError

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
        """Of the newest request, but for the warm-up's, which may come after an answer's."""
        warm_up = warm_up_prompt("")[-1].text
        prompts: list[Sequence[Mapping[str, Any]]] = [asked["messages"] for asked in self.chat.asked]
        return [prompt for prompt in prompts if prompt[-1].get("content") != warm_up][-1]

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
        requests = sum(peer.answering for peer in self.peers if isinstance(peer, HttpPeer))
        return sessions + requests + (0 if self.wyoming is None else self.wyoming.open)


class DeepgramPipeline(PipelineParty):
    abilities = (*VENDOR, *PIPELINE, Able.IS_REFUSED)
    kind = Kind.SIGNING

    async def open_speech(self, stack: AsyncExitStack) -> Mapping[str, Any]:
        listen, voice = DeepgramListen(self.script, key=KEY), DeepgramSpeak(key=KEY)
        ears = await stack.enter_async_context(open_peer(listen.run, admit=listen.admit))
        mouth = await stack.enter_async_context(open_http_peer(voice.answer))
        self.peers += [ears, mouth]
        return {
            "listen": "deepgram",
            "listen_deepgram": {"base_url": f"http{ears.url.removeprefix('ws')}", "connect_timeout": 0.5},
            "speak": "deepgram",
            "speak_deepgram": {"base_url": mouth.url},
        }


class OpenAiPipeline(PipelineParty):
    kind = Kind.REASONING

    async def open_speech(self, stack: AsyncExitStack) -> Mapping[str, Any]:
        speech = OpenAiSpeech(self.script, key=KEY)
        peer = await stack.enter_async_context(open_http_peer(speech.answer))
        self.peers.append(peer)
        base = {"base_url": f"{peer.url}/v1"}
        return {
            "listen": "openai",
            "listen_openai": base,
            "speak": "openai",
            "speak_openai": {**base, "model": COMPATIBLE},
        }


@attrs.define(eq=False)
class SpeakingWyomingPeer(WyomingPeer):
    """Its sound is as long as its text."""

    async def answer(self, stream: trio.SocketStream, events: list[bytes]) -> None:
        if len(events) > 1 and self.fault is wyoming_peer.Fault.NONE:
            tell = {"rate": self.rate, "width": 2, "channels": 1, "timestamp": None}
            sound = tone(self.asked("synthesize")[-1]["text"], self.rate)
            events = [events[0], frame("audio-chunk", tell, sound), events[-1]]
        await super().answer(stream, events)


class WyomingPipeline(PipelineParty):
    kind = Kind.THINKING

    async def open_speech(self, stack: AsyncExitStack) -> Mapping[str, Any]:
        def transcribe(pcm: bytes) -> str:
            return " ".join(heard.word for heard in self.script.words(pcm, wyoming_peer.RATE))

        peer = self.wyoming = SpeakingWyomingPeer(transcribe=transcribe)
        await stack.enter_async_context(wyoming_peer.serving(peer))
        stack.callback(self.check, peer)
        uri = {"uri": peer.uri}
        return {"listen": "wyoming", "listen_wyoming": uri, "speak": "wyoming", "speak_wyoming": uri}

    def check(self, peer: WyomingPeer) -> None:
        """That nobody broke the protocol."""
        assert peer.violations == []


# --- an agent that says what it likes


class LocalParty(AgentParty):
    """The engines of this host, with their real models."""

    provider = "local"
    abilities = PIPELINE
    settings: Mapping[str, Any] = MappingProxyType({"farewell": "", "llm": {"max_tokens": 12}})

    async def speech(self, turn: Turn) -> bytes:
        return await spoken(turn.heard)


PARTIES: Mapping[str, Callable[[], AgentParty]] = {
    "deepgram": DeepgramParty,
    "realtime-pcm16": RealtimeParty,
    "realtime-g711": lambda: RealtimeParty("g711_ulaw"),
    "realtime-asked": lambda: RealtimeParty(vendor_answers=False),
    "pipeline-deepgram": DeepgramPipeline,
    "pipeline-openai": OpenAiPipeline,
    "pipeline-wyoming": WyomingPipeline,
    "local": LocalParty,
}
_voices: dict[str, bytes] = {}


async def spoken(words: str) -> bytes:
    """Words in a human-like voice (8 kHz slin), without the silence around them; each is spoken once a test run."""
    if words not in _voices:
        samples = np.frombuffer(await speak(words), "<i2")
        (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) > 200)
        _voices[words] = samples[max(loud[0] - RATE // 50, 0) : loud[-1] + RATE // 50].tobytes()
    return _voices[words]
