"""The openai client for a server, wherever that listens: at a URL, or on a Unix socket of this host."""

from typing import Final

import httpx2
import openai

from agentd import deadlines
from agentd_providers.openai.answer_body import PLAIN, bound

UNIX: Final = "unix://"
"""Begins the address of a server on a Unix socket; the socket's path follows."""


def make_client(address: str, key: str) -> openai.AsyncOpenAI:
    """A client for the server at `address`: the base URL of its API, or a Unix socket, on which that is /v1."""
    transport = None
    if address.startswith(UNIX):
        transport = httpx2.AsyncHTTPTransport(uds=address.removeprefix(UNIX))
        address = "http://localhost/v1"
    return openai.AsyncOpenAI(
        base_url=address,
        api_key=key or "none",
        max_retries=0,
        timeout=deadlines.CHAT_WARM_UP.seconds,  # who uses it has a shorter one
        http_client=openai.DefaultAsyncHttpxClient(
            transport=transport, headers=PLAIN, event_hooks={"response": [bound]}
        ),
    )
