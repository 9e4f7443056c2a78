"""The bodies of a chat server's answers, as the openai client is given them: bounded, and a refusal short and flat.

The client reads a refusal's body, and decodes it as the headers say, outside of its own error handling; of a success it
keeps a line until it ends, however long it is, and parses it, however deep it is.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

import attrs
import httpx2
import trio

from agentd import deadlines
from agentd.parsing import Nesting

PLAIN = {"Accept-Encoding": "identity"}
"""Headers of every request: what comes is bounded as it comes, which says nothing of what it might be unpacked to."""
LARGEST_ANSWER = 8 << 20
"""Bytes."""
LONGEST_REFUSAL = 1 << 16
"""Bytes of a refusal's body that are read to have its connection again: beyond it a new one costs less."""
REFUSAL_PATIENCE = deadlines.VENDOR_REFUSAL.seconds


@attrs.define(eq=False)
class _BoundedStream(httpx2.AsyncByteStream):
    """The body of an answer, of which no more than `LARGEST_ANSWER` is taken, nothing that is nested too deeply, and
    nothing in an encoding, which nobody asked for. ValueError where it is not so."""

    _body: httpx2.AsyncByteStream
    _encoding: str
    _chunks: AsyncIterator[bytes] = attrs.field(init=False)
    _taken: int = attrs.field(default=0, init=False)
    _nesting: Nesting = attrs.field(factory=Nesting, init=False)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = aiter(self._body)
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        if self._encoding != "identity":
            raise ValueError(f"an answer in the encoding {self._encoding[:20]}")
        self._taken += len(chunk)
        if self._taken > LARGEST_ANSWER:
            raise ValueError(f"an answer is longer than {LARGEST_ANSWER} bytes")
        self._nesting.feed(chunk.decode("latin-1"))  # JSON's own characters are ASCII in every piece of UTF-8
        return chunk

    async def aclose(self) -> None:
        await self._body.aclose()


async def bound(response: httpx2.Response) -> None:
    """A hook of the client, which awaits it. A refusal's body is given to it where it came whole, unpacked and flat."""
    await trio.lowlevel.checkpoint()
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    if response.is_success:
        response.stream = _BoundedStream(response.stream, response.headers.get("Content-Encoding", "identity"))
        return
    body = await _short(response.stream)
    packed = response.headers.pop("Content-Encoding", "identity") != "identity"
    response.headers["Content-Type"] = "application/json"  # a charset of the server's own would be looked up
    response.stream = httpx2.ByteStream(b"" if packed or not _flat(body) else body.decode(errors="replace").encode())


async def _short(body: httpx2.AsyncByteStream) -> bytes:
    """A body to its end, so that its connection can be used again; nothing of one that is long, slow or broken."""
    taken, whole = b"", False
    with trio.move_on_after(REFUSAL_PATIENCE) as reading, suppress(httpx2.HTTPError):
        async for data in body:
            taken += data
            if len(taken) > LONGEST_REFUSAL:
                reading.cancel()  # strikes httpx2's generators where they wait, so that they end
        whole = len(taken) <= LONGEST_REFUSAL
    await body.aclose()
    return taken if whole else b""


def _flat(body: bytes) -> bool:
    try:
        Nesting().feed(body.decode("latin-1"))
    except ValueError:
        return False
    return True
