"""The Asterisk end of AudioSocket connections: in memory, scripted, or on a real socket."""

import math
from collections import deque
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

RESET = b"RESET"
SILENCE = HEADER.pack(Kind.SLIN, 320) + bytes(320)


def uuid_frame(uuid: UUID) -> bytes:
    return HEADER.pack(Kind.UUID, 16) + uuid.bytes


def audio_frame(pcm: bytes = bytes(320)) -> bytes:
    return HEADER.pack(Kind.SLIN, len(pcm)) + pcm


def dtmf_frame(digit: str) -> bytes:
    return HEADER.pack(Kind.DTMF, 1) + digit.encode()


@attrs.define(eq=False)
class ScriptedStream:
    """A wire (agentd.audiosocket.wire.Wire) whose peer is the test: `say` what arrives, read in `calls` what was sent
    and when.

    `stall`: of what is sent next the kernel takes one half at once, and the other half, before anything else, after so
    many seconds (math.inf: never).
    """

    calls: list[tuple[float, bytes]] = attrs.field(factory=list)
    stall: float = 0.0
    broken: bool = False
    _said: deque[bytes] = attrs.field(factory=deque, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _full_until: float = attrs.field(default=-math.inf, init=False)
    _other_half: int = attrs.field(default=0, init=False)

    def say(self, data: bytes) -> None:
        self._said.append(data)
        self._news.set()

    def end(self) -> None:
        """EOF."""
        self.say(b"")

    def reset(self) -> None:
        """The connection breaks for who reads."""
        self.say(RESET)

    def unread(self) -> int:
        """Bytes."""
        return sum(len(data) for data in self._said)

    async def receive_some(self, max_bytes: int) -> bytes:
        while (data := self.read(max_bytes)) is None:
            self._news = trio.Event()
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return data

    def read(self, max_bytes: int) -> bytes | None:
        if not self._said:
            return None
        if self._said[0] == RESET:
            raise trio.BrokenResourceError("connection reset")
        data = b""
        while self._said and self._said[0] not in (b"", RESET) and len(data) < max_bytes:
            piece = self._said.popleft()
            taken = max_bytes - len(data)
            data += piece[:taken]
            if piece[taken:]:
                self._said.appendleft(piece[taken:])
        return data  # what has ended stays so

    def write(self, data: bytes) -> int:
        if self.broken:
            raise trio.BrokenResourceError("connection reset")
        now = trio.current_time()
        if now < self._full_until:
            return 0
        if other_half := self._other_half:
            self._other_half = 0
            return other_half
        self.calls.append((now, data))
        if not self.stall:
            return len(data)
        self._full_until, self._other_half = now + self.stall, len(data) - len(data) // 2
        return len(data) // 2


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
