"""An engine of speech and its HTTP vendor on loopback, and a caller's sound."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import attrs
import numpy as np
import trio

from agentd.testing.clock import until
from agentd_providers.pipeline.stages import TextToSpeech, Transcript, speak_whole
from agentd_providers.shared import SharedServices
from tests.lab.vendors.http_peer import HttpHandler, HttpPeer, open_http_peer

RATE = 8000
FRAME = RATE // 50 * 2
PATIENCE = 20.0
Engine = TypeVar("Engine")
random = np.random.default_rng(4)


@asynccontextmanager
async def served(
    handler: HttpHandler, opener: Callable[[str, SharedServices], AbstractAsyncContextManager[Engine]]
) -> AsyncIterator[tuple[HttpPeer, Engine]]:
    """The vendor, and the engine that `opener(url, shared)` gives; after the block nothing is left of either."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(PATIENCE):
        async with open_http_peer(handler, HttpPeer(delay=0.1)) as peer:
            async with trio.open_nursery() as nursery:
                async with opener(peer.url, SharedServices(nursery)) as engine:
                    yield peer, engine
                nursery.cancel_scope.cancel()
            await until(lambda: not peer.open)
        assert trio.lowlevel.current_statistics().tasks_living == tasks


@attrs.frozen
class ServedVoice:
    """An engine that speaks, and its vendor."""

    peer: HttpPeer
    engine: TextToSpeech

    async def say(self, text: str, rate: int = RATE) -> bytes:
        """The whole of what is heard of a text: slin at `rate` Hz."""
        async with self.engine.open() as voice:
            return await speak_whole(voice, text, rate)


def loud(seconds: float) -> bytes:
    """A caller's sound, never the same."""
    return random.integers(-9000, 9000, round(seconds * RATE)).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE) * 2)


def feed(transcript: Transcript, pcm: bytes) -> None:
    """Frame by frame, as the line brings it, but all at once."""
    for begin in range(0, len(pcm), FRAME):
        transcript.feed(pcm[begin : begin + FRAME])
