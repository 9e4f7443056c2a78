"""The body of an answer that comes in pieces."""

from collections.abc import AsyncGenerator

import attrs
import httpx2
import trio

from agentd import deadlines
from agentd.errors import ProviderProtocolError
from agentd_providers.openai.refusals import SHOWN

DRAINED = deadlines.CHAT_DRAIN.seconds


@attrs.define(eq=False)
class Answer:
    """One answer, whose head has come."""

    _response: httpx2.Response
    _pieces: AsyncGenerator[bytes, None] = attrs.field(init=False)
    _first: bytes | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._pieces = self._response.aiter_raw()

    async def begin(self) -> None:
        """Wait until some of it is there. Raises as `more` does."""
        if self._first is None:
            self._first = await self.more()

    async def more(self) -> bytes:
        """The next piece of the body; empty at its end. Raises httpx2.HTTPError, and ProviderProtocolError for what no
        answer holds: see agentd_providers.openai.answer_body."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return await anext(self._pieces, b"")
        except (ValueError, AssertionError) as error:
            raise ProviderProtocolError(
                f"the language model's server sent a chunk that is none: {str(error)[:SHOWN]}"
            ) from error

    async def drain(self) -> None:
        """What is left of the body, if it comes at once: nothing of it is wanted."""
        with trio.move_on_after(DRAINED):
            while await self.more():
                pass

    async def aclose(self) -> None:
        """Close it; its connection too, where it has not come to its end."""
        with trio.move_on_after(deadlines.CHAT_CLOSE.seconds, shield=True):
            await self._pieces.aclose()
            await self._response.aclose()
