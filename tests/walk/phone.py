"""A caller with a mouth and ears, and the AudioSocket connections that carry both."""

import math
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Protocol
from uuid import UUID

import attrs
import trio

from agentd.audiosocket.frames import HEADER, Kind
from agentd.testing._lines import audio_frame, uuid_frame
from agentd.testing.sound import voice
from tests.walk.faults import HANGS_SECONDS, UNHARMED, Mishap
from tests.walk.network import VirtualSocket

FRAME = 0.02
SILENCE = bytes(320)
QUIET = 0.2
"""Seconds without a sound after which a caller takes it that the agent has finished."""
ENOUGH = 0.5
"""Seconds of the agent's voice that are an answer: whatever agentd says of its own accord is shorter."""


@cache
def speech(code: int) -> bytes:
    """20 ms of the phrase that has this number: it says so itself (see tests.walk.agents)."""
    return bytes([code]) + voice(FRAME, seed=code)[1:]


@attrs.define(eq=False)
class Caller:
    """A caller, who is as patient as can be. `heard_at` is when each frame came."""

    channel: str
    heard_at: list[float] = attrs.field(factory=list)
    voice_seconds: float = 0.0
    last_voice: float = -math.inf
    files_playing: int = 0
    said_anything: bool = False
    _mouth: deque[bytes] = attrs.field(factory=deque)
    _voiced: trio.Event = attrs.field(factory=trio.Event)

    def next_frame(self) -> bytes:
        return self._mouth.popleft() if self._mouth else SILENCE

    def hear(self, pcm: bytes) -> None:
        """A frame comes over the line."""
        now = trio.current_time()
        self.heard_at.append(now)
        if pcm != SILENCE:
            self.voice_seconds += FRAME
            self.last_voice = now
            self._voiced.set()

    def hear_file(self, seconds: float) -> None:
        """So much of a file was played on the channel."""
        self.voice_seconds += seconds
        self.last_voice = trio.current_time()
        self._voiced.set()

    async def say(self, code: int, seconds: float = 0.3) -> None:
        """Say a phrase, for as long as it takes where the line carries it."""
        self._mouth.extend([speech(code)] * round(seconds / FRAME))
        await trio.sleep(seconds)

    async def be_answered(self) -> None:
        """Wait for an answer, however long, and for its end."""
        before = self.voice_seconds
        while self.voice_seconds - before < ENOUGH:
            self._voiced = trio.Event()
            await self._voiced.wait()
        while self.files_playing or trio.current_time() - self.last_voice < QUIET:
            await trio.sleep(0.1)


class MediaPeer(Protocol):
    """Asterisk's end of a media leg's audio, whatever carries it."""

    scope: trio.CancelScope
    """Cancelled when its channel ends."""


class ConnectingPeer(MediaPeer, Protocol):
    """One that goes to where agentd waits."""

    async def run(self, host: str, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Carry audio to and from this address; `started` once the channel is there. Raises OSError where it cannot
        be."""


@attrs.define(eq=False)
class AudioSocketPeer:
    """Asterisk's end of one AudioSocket connection, which it opens itself.

    `mouth` is the caller whose voice it carries, asked every 20 ms, and `ear` the one who hears what comes. `on_end` is
    told when agentd has closed it.
    """

    uuid: UUID
    mouth: Callable[[], Caller | None]
    ear: Callable[[], Caller | None]
    on_end: Callable[[], None]
    mishap: Mishap = UNHARMED
    """It hangs: from then on nothing is read or sent, for HANGS_SECONDS."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _unheard: bytes = b""
    _named: bool = False

    async def run(self, host: str, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect and carry audio until one of the two ends it. Raises OSError where nobody listens."""
        ended = False
        with self.scope:
            async with await trio.open_tcp_stream(host, port) as stream:
                task_status.started()
                with trio.move_on_after(self.mishap.after):
                    await self._carry(stream)
                    ended = True
                if not ended:
                    await trio.sleep(HANGS_SECONDS)  # it is Asterisk, which does not hang for good
                    await self._carry(stream)
                    ended = True
        if ended:
            self.on_end()

    async def _carry(self, stream: trio.SocketStream) -> None:
        """Both ways by one clock: what has come is read when the next frame is sent."""
        end, start, tick = stream.socket, trio.current_time(), 0
        assert isinstance(end, VirtualSocket)
        if not self._named:
            self._named = True
            end.put(uuid_frame(self.uuid))
        while not end.over:
            if (caller := self.mouth()) is not None:
                end.put(audio_frame(caller.next_frame()))
            tick += 1
            await trio.sleep_until(start + tick * FRAME)
            if not self._listen(end.take()):
                return

    def _listen(self, data: bytes) -> bool:
        """Hear what has come; false once agentd has hung up."""
        self._unheard += data
        while len(self._unheard) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._unheard)
            if len(self._unheard) < HEADER.size + length:
                break
            payload = self._unheard[HEADER.size : HEADER.size + length]
            self._unheard = self._unheard[HEADER.size + length :]
            if kind != Kind.SLIN or not length:
                return False  # a hang-up; anything else ends the call all the same (res_audiosocket.c, 22)
            if (caller := self.ear()) is not None:
                caller.hear(payload)
        return True
