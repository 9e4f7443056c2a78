"""The Asterisk end of AudioSocket connections: in memory, scripted, or on a real socket."""

from collections.abc import Callable
from uuid import UUID

import attrs
import trio

from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.frames import HANGUP_FRAME, HEADER, CallId, Kind
from agentd.audiosocket.listener import Admission
from agentd.audiosocket.transport import EXTERNAL, ExternalAudioSocket, ForkedAudioSocket
from agentd.media.transport import Transport
from agentd.metrics import Metrics

SILENCE = HEADER.pack(Kind.SLIN, 320) + bytes(320)


def uuid_frame(uuid: UUID) -> bytes:
    return HEADER.pack(Kind.UUID, 16) + uuid.bytes


def audio_frame(pcm: bytes = bytes(320)) -> bytes:
    return HEADER.pack(Kind.SLIN, len(pcm)) + pcm


def dtmf_frame(digit: str) -> bytes:
    return HEADER.pack(Kind.DTMF, 1) + digit.encode()


@attrs.define(eq=False)
class ScriptedStream(trio.abc.Stream):
    """A stream whose peer is the test: `say` what arrives, read in `calls` what was sent and when.

    `stall` holds the next send for that many seconds (math.inf: for good).
    """

    calls: list[tuple[float, bytes]] = attrs.field(factory=list)
    stall: float = 0.0
    closed: bool = False
    broken: bool = False
    receiving: int = 0
    _send: trio.MemorySendChannel[bytes] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[bytes](10_000)

    def say(self, data: bytes) -> None:
        self._send.send_nowait(data)

    def end(self) -> None:
        """EOF."""
        self._send.send_nowait(b"")

    def unread(self) -> int:
        return self._receive.statistics().current_buffer_used

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._receive.receive()
        if data == b"RESET":
            raise trio.BrokenResourceError("connection reset")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise trio.BrokenResourceError("connection reset")
        self.calls.append((trio.current_time(), bytes(data)))
        if self.stall:
            await trio.sleep(self.stall)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Line:
    """One AudioSocket connection in memory: agentd's end, and Asterisk's to speak and hear with."""

    uuid: UUID
    connection: AudioSocketConnection
    near: ScriptedStream

    @property
    def released(self) -> bool:
        return self.connection.released.is_set()

    @property
    def frames(self) -> list[tuple[float, bytes]]:
        """When each frame of audio was written, and its slin."""
        return [(at, frame[HEADER.size :]) for at, frame in self.near.calls if frame[0] != Kind.HANGUP]

    @property
    def hung_up(self) -> bool:
        """The last thing that agentd sent was a hangup frame."""
        return bool(self.near.calls) and self.near.calls[-1][1] == HANGUP_FRAME

    def since(self, at: float) -> list[bytes]:
        """The slin of the frames that were written from then on."""
        return [pcm for written, pcm in self.frames if written >= at]

    def say(self, *data: bytes) -> None:
        for piece in data:
            self.near.say(piece)

    def cut(self) -> None:
        """Asterisk's end goes away."""
        self.near.broken = True
        self.near.end()


def make_line(uuid: UUID, metrics: Metrics) -> Line:
    """A connection whose handshake is done."""
    near = ScriptedStream()
    connection = AudioSocketConnection(near, "127.0.0.1", metrics)
    connection.call_uuid = CallId(uuid)
    return Line(uuid, connection, near)


@attrs.define(eq=False)
class Lines:
    """Connects to an admission as Asterisk would, and remembers every connection."""

    admission: Admission
    metrics: Metrics
    all: list[Line] = attrs.field(factory=list)

    def transport(
        self, name: str = EXTERNAL, *, bind_timeout: float = 5.0, wideband: Callable[[], bool] = lambda: True
    ) -> Transport:
        """The way of AudioSocket that has this name, for connections to this admission."""
        if name == EXTERNAL:
            return ExternalAudioSocket(self.admission, "127.0.0.1:8090", bind_timeout, wideband)
        return ForkedAudioSocket(self.admission, "127.0.0.1:8090", bind_timeout, "ai-agent-media-fork")

    def connect(self, uuid: UUID) -> Line:
        line = make_line(uuid, self.metrics)
        if self.admission.offer(uuid, line.connection):
            self.all.append(line)
        else:
            line.connection.release()
        return line
