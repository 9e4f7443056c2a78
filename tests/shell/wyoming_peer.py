"""A Wyoming server that is none: it keeps to the protocol's order strictly, and has faults on demand.

Framing is written here once more, with nothing of the product's. Messages are as wyoming-piper 2.5.2 and
wyoming-faster-whisper 3.8.1 send them.
"""

import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any

import attrs
import trio

RATE = 16000
SOUND = bytes(range(1, 201)) * 40
WORDS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class Fault(Enum):
    """What is wrong with the peer's answers; NONE: nothing."""

    NONE = auto()
    SLOW = auto()
    MUTE = auto()
    CLOSES = auto()
    RESETS = auto()
    CUT = auto()
    GARBAGE = auto()
    OVERSIZE = auto()
    ERROR = auto()
    BUSY = auto()
    WRONG_FORMAT = auto()
    WRONG_TEXT = auto()
    CHANGES_RATE = auto()
    FLOODS = auto()
    TRICKLES = auto()
    EMPTY_CHUNKS = auto()
    EMPTY_STARTS = auto()
    DRIPS = auto()


INFO: dict[str, Any] = {
    "asr": [
        {
            "name": "faster-whisper",
            "attribution": {"name": "SYSTRAN", "url": "https://example.com"},
            "installed": True,
            "models": [{"name": "tiny", "attribution": {}, "installed": True, "languages": ["en", "de"]}],
        }
    ],
    "tts": [
        {
            "name": "piper",
            "attribution": {"name": "rhasspy", "url": "https://example.com"},
            "installed": True,
            "voices": [
                {"name": "en_US-joe-medium", "installed": True, "languages": ["en_US"], "speakers": None},
                {"name": "de_DE-kerstin-low", "installed": True, "languages": ["de_DE"], "speakers": None},
            ],
            "supports_synthesize_streaming": True,
        }
    ],
}


def words_in(pcm: bytes) -> str:
    """Every word has a sample value of its own."""
    return " ".join(WORDS[code] for code in dict.fromkeys(pcm[::2]) if 0 < code < len(WORDS))


def sound_of(word: str, seconds: float = 0.4) -> bytes:
    return bytes([WORDS.index(word), 16 if word else 0]) * round(seconds * RATE)


def frame(kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    block = json.dumps(data, ensure_ascii=False).encode() if data else b""
    header: dict[str, Any] = {"type": kind, "version": "1.10.2"}
    if block:
        header["data_length"] = len(block)
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + block + payload


@attrs.define(eq=False)
class Connection:
    """One client's connection, read in its own simple way."""

    stream: trio.SocketStream
    buffer: bytearray = attrs.field(factory=bytearray)

    async def read(self) -> tuple[str, dict[str, Any], bytes] | None:
        while b"\n" not in self.buffer:
            if not await self._more():
                return None
        line, _, rest = bytes(self.buffer).partition(b"\n")
        header = json.loads(line)
        size = header.get("data_length", 0) + header.get("payload_length", 0)
        self.buffer = bytearray(rest)
        while len(self.buffer) < size:
            if not await self._more():
                return None
        body, self.buffer = bytes(self.buffer[:size]), self.buffer[size:]
        data = json.loads(body[: header["data_length"]]) if header.get("data_length") else {}
        return header["type"], data, body[header.get("data_length", 0) :]

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self.buffer += data
        return bool(data)


@attrs.define(eq=False)
class WyomingPeer:
    """The server. What clients did wrong is in `violations`, what they asked for in `requests`."""

    port: int = 0
    info: dict[str, Any] = attrs.field(factory=lambda: INFO)
    fault: Fault = Fault.NONE
    describes: bool = True
    """Whether `describe` is answered, whatever the fault."""
    closes_after_transcript: bool = True
    rate: int = RATE
    transcribe: Callable[[bytes], str] = words_in
    requests: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    utterances: list[bytes] = attrs.field(factory=list)
    violations: list[str] = attrs.field(factory=list)
    connections: int = 0
    open: int = 0
    surplus: list[bytes] = attrs.field(factory=list)
    """Events that nobody asked for, sent after the answer to the next `synthesize`."""
    early: list[bytes] = attrs.field(factory=list)
    """Events that are sent at the next `audio-start`, long before anything is asked."""
    delay: float = 0.2
    """Seconds that an answer of a slow peer takes longer."""
    always_early: bool = False
    """At every `audio-start`, that is."""
    piece: int = 2048
    """Bytes of sound in a chunk."""
    gate: trio.Event | None = None
    """Closed, nothing is answered but `describe`; a test opens it."""
    streams: list[trio.SocketStream] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)
    serving: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Cancelled, the server is gone, with all connections."""

    @property
    def uri(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [data for asked, data in self.requests if asked == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the peer sees is so."""
        with trio.fail_after(5):
            while not condition():
                self.changed = trio.Event()
                await self.changed.wait()

    def drop_clients(self) -> None:
        """Break every connection."""
        for stream in self.streams:
            stream.socket.close()
        self.streams.clear()

    async def run(self, listeners: list[trio.SocketListener]) -> None:
        with self.serving:
            await trio.serve_listeners(self.handle, listeners)

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        self.streams.append(stream)
        self.changed.set()
        try:
            await self.serve(Connection(stream), stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client gave up, or a test broke the connection
        finally:
            self.open -= 1
            self.changed.set()

    async def serve(self, connection: Connection, stream: trio.SocketStream) -> None:
        audio: bytearray | None = None
        while (event := await connection.read()) is not None:
            kind, data, payload = event
            self.requests.append((kind, data))
            self.changed.set()
            match kind:
                case "describe":
                    if self.describes:
                        await stream.send_all(frame("info", self.info))
                case "transcribe":
                    pass
                case "audio-start":
                    self.note(data == {"rate": RATE, "width": 2, "channels": 1, "timestamp": None}, f"format {data}")
                    audio = bytearray()
                    await stream.send_all(b"".join(self.early))
                    self.early = self.early if self.always_early else []
                case "audio-chunk" if audio is not None:
                    audio += payload
                case "audio-stop" if audio is not None:
                    self.utterances.append(bytes(audio))
                    text = self.transcribe(bytes(audio))
                    audio = None
                    await self.answer(stream, [frame("transcript", {"text": f" {text}"})])
                    if self.closes_after_transcript:
                        return
                case "synthesize":
                    tell = {"rate": self.rate, "width": 2, "channels": 1, "timestamp": None}
                    pieces = [SOUND[start : start + self.piece] for start in range(0, len(SOUND), self.piece)]
                    chunks = [frame("audio-chunk", tell, piece) for piece in pieces]
                    end = frame("audio-stop", {"timestamp": None})
                    await self.answer(stream, [frame("audio-start", tell), *chunks, end] if data["text"] else [end])
                    surplus, self.surplus = self.surplus, []
                    await stream.send_all(b"".join(surplus))
                case _:
                    self.note(False, f"{kind} out of order")

    def note(self, good: bool, what: str) -> None:
        if not good:
            self.violations.append(what)

    async def answer(self, stream: trio.SocketStream, events: list[bytes]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        match self.fault:
            case Fault.NONE | Fault.SLOW:
                await trio.sleep(self.delay if self.fault is Fault.SLOW else 0)
                await stream.send_all(frame("ping", {"text": None}) + b"".join(events))
            case Fault.MUTE:
                while await stream.receive_some():
                    pass
            case Fault.CLOSES:
                await stream.aclose()
            case Fault.RESETS:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.aclose()
            case Fault.CUT:
                await stream.send_all(b"".join(events)[:-3])
                await stream.aclose()
            case Fault.GARBAGE:
                await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            case Fault.OVERSIZE:
                await stream.send_all(b'{"type": "audio-chunk", "payload_length": 2000000000}\n')
            case Fault.ERROR:
                await stream.send_all(frame("error", {"text": "nope", "code": "VoiceNotFoundError"}))
                await stream.aclose()
            case Fault.BUSY:
                await stream.send_all(frame("error", {"text": "full", "code": "busy"}))
            case Fault.WRONG_FORMAT:
                await stream.send_all(frame("audio-start", {"rate": 7, "width": 4, "channels": 9}))
            case Fault.WRONG_TEXT:
                await stream.send_all(frame("transcript", {"text": 5}))
            case Fault.CHANGES_RATE:
                other = {"rate": 8000, "width": 2, "channels": 1}
                await stream.send_all(events[0] + frame("audio-chunk", other, SOUND[:200]))
            case Fault.FLOODS:
                await stream.send_all(frame("voice-started") * 5000)
            case Fault.TRICKLES:
                while True:  # something always comes, and never an answer
                    await stream.send_all(frame("voice-started"))
                    await trio.sleep(0.01)
            case Fault.EMPTY_CHUNKS | Fault.EMPTY_STARTS | Fault.DRIPS:
                await stream.send_all(events[0])
                tell = {"rate": self.rate, "width": 2, "channels": 1}
                sound = b"\1\0" if self.fault is Fault.DRIPS else b""
                again = events[0] if self.fault is Fault.EMPTY_STARTS else frame("audio-chunk", tell, sound)
                while True:  # the answer goes on, and never ends
                    await stream.send_all(again)
                    await trio.sleep(0.01)


@asynccontextmanager
async def serving(peer: WyomingPeer, port: int = 0) -> AsyncIterator[WyomingPeer]:
    """The server on a loopback port; it has no client left at the end."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    peer.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, listeners)
        yield peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wyoming_peer(port: int = 0, **how: Any) -> AsyncIterator[WyomingPeer]:
    """A server of this kind, on a loopback port."""
    async with serving(WyomingPeer(**how), port) as peer:
        yield peer
