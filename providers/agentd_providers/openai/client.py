"""The openai client for a server, wherever that listens: at a URL, or on a Unix socket of this host."""

from typing import Final

import httpx2
import openai

from agentd import deadlines
from agentd.websocket import tls_context
from agentd_providers.openai.answer_body import PLAIN, bound

KEPT_OPEN: Final = 60.0
"""Seconds that a connection without a request is kept open. Vendors' servers keep theirs for longer; one that a server
has closed meanwhile is found closed when it is used again."""
UNIX: Final = "unix://"
"""Begins the address of a server on a Unix socket; the socket's path follows."""


LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEPT_OPEN)


def make_client(address: str, key: str) -> openai.AsyncOpenAI:
    """A client for the server at `address`: the base URL of its API, or a Unix socket, on which that is /v1. It goes
    there by itself, whatever proxy the environment names: a server of this host is behind none."""
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
            transport=transport,
            headers=PLAIN,
            limits=LIMITS,
            event_hooks={"response": [bound]},
            trust_env=False,
            verify=tls_context(),
        ),
    )
