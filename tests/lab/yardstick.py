"""The bare echo that `bench_load` holds agentd against: asyncio, AudioSocket, each frame sent back, a clock a call.

    python -m tests.lab.yardstick PORT

It parses no more than it must and knows nothing of Asterisk's calls. How many connections are open is written to
standard output, a line whenever that changes.
"""

import asyncio
import sys
from collections import deque
from typing import ClassVar

AUDIO = 0x10
"""Slin at 8 kHz, the only kind that Asterisk's AudioSocket() sends."""
SILENCE = bytes([AUDIO]) + (320).to_bytes(2, "big") + bytes(320)
FRAME_SECONDS = 0.02
MOST_FRAMES = 3
"""Frames that wait to be sent back; of more the oldest is dropped, or the echo would come ever later."""


class Echo(asyncio.Protocol):
    """One connection."""

    open: ClassVar[int] = 0

    def __init__(self) -> None:
        self.rest = b""
        self.heard = deque[bytes](maxlen=MOST_FRAMES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # asyncio has set TCP_NODELAY
        self.transport, self.loop = transport, asyncio.get_running_loop()
        self.due = self.loop.time()
        self.tick()
        self.count(1)

    def data_received(self, data: bytes) -> None:
        rest = self.rest + data
        while len(rest) >= 3 and len(rest) >= (end := 3 + int.from_bytes(rest[1:3], "big")):
            if rest[0] == AUDIO:
                self.heard.append(rest[:end])
            rest = rest[end:]
        self.rest = rest

    def tick(self) -> None:
        self.transport.write(self.heard.popleft() if self.heard else SILENCE)
        self.due += FRAME_SECONDS
        self.clock = self.loop.call_at(self.due, self.tick)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clock.cancel()
        self.count(-1)

    @classmethod
    def count(cls, more: int) -> None:
        cls.open += more
        print(cls.open, flush=True)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=512)
    print(0, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
