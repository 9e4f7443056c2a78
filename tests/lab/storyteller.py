"""A language model's server that tells a long story: what an agent needs to speak steadily for minutes.

It streams as OpenAI-compatible servers do, about as fast as a small local model writes.
"""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import trio

SENTENCES = (
    "The old harbour lies quiet in the morning, and the boats come back one after the other.",
    "A man with a grey hat sits on the wall and counts them, as he has done for thirty years.",
    "When the last one is in, he walks up the hill to the bakery and buys two loaves of bread.",
    "One is for himself, the other one for the woman who keeps the light on the far side of the bay.",
    "She sees him from her window, puts the kettle on the stove, and lays two cups on the table.",
    "They talk about the weather, about the price of fish, and about the letters that never came.",
)
WORDS_PER_SECOND = 30
STORY_CHARACTERS = 6000
"""About six minutes of speech; a reply much longer is taken for a mistake by the agent."""


@asynccontextmanager
async def tell_stories() -> AsyncIterator[str]:
    """Serve on a free port of 127.0.0.1 for as long as the block is entered; gives the base URL."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, _serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.EndOfMessage):
                await _tell(stream, connection)
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return  # the agent was interrupted, or is gone


async def _tell(stream: trio.SocketStream, connection: h11.Connection) -> None:
    headers = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
    await stream.send_all(connection.send(h11.Response(status_code=200, headers=headers)))
    length = 0
    for sentence in itertools.cycle(SENTENCES):
        for word in sentence.split():
            await _event(stream, connection, f"{word} ")
            await trio.sleep(1 / WORDS_PER_SECOND)
        length += len(sentence) + 1
        if length > STORY_CHARACTERS:
            break
    await stream.send_all(connection.send(h11.Data(b"data: [DONE]\n\n")) + connection.send(h11.EndOfMessage()))


async def _event(stream: trio.SocketStream, connection: h11.Connection, text: str) -> None:
    choice = {"index": 0, "delta": {"content": text}}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "story", "choices": [choice]}
    await stream.send_all(connection.send(h11.Data(f"data: {json.dumps(chunk)}\n\n".encode())))
