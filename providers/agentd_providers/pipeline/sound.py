"""Sound that is there already, given as a Voice gives it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import trio


@asynccontextmanager
async def in_one_piece(pcm: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
    """The result of agentd_providers.pipeline.stages.Voice.speak for slin that is whole: one piece."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        yield pcm

    async with aclosing(pieces()) as iterator:
        yield iterator
