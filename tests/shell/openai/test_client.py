"""The openai client of a server on a Unix socket."""

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from agentd_providers.openai.client import make_client

LIST = b'{"object": "list", "data": []}'
PATIENCE = 30.0
"""Real seconds until a test that hangs is given up."""


async def test_a_server_on_a_unix_socket_is_asked_as_one_at_a_url_is(tmp_path: Path) -> None:
    path = tmp_path / "llm.sock"
    listening = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await listening.bind(str(path))
    listening.listen()
    requests = []

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        requests.append(request.decode())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(LIST)}\r\n"
        await stream.send_all(head.encode() + b"Connection: close\r\n\r\n" + LIST)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(listening)])
            async with make_client(f"unix://{path}", "hush1") as client:
                raw = await client.models.with_raw_response.list()
            nursery.cancel_scope.cancel()
    assert raw.status_code == 200
    (request,) = requests
    assert request.startswith("GET /v1/models HTTP/1.1\r\n")
    assert "Bearer hush1" in request


async def test_a_proxy_that_the_environment_names_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's server of this host was looked for behind it, with the key and every word of the call."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    asked = []

    async def answer(stream: trio.SocketStream) -> None:
        asked.append(await stream.receive_some())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(LIST)}\r\n"
        await stream.send_all(head.encode() + b"Connection: close\r\n\r\n" + LIST)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            async with make_client(f"http://127.0.0.1:{port}/v1", "hush1") as client:
                await client.models.list()
            nursery.cancel_scope.cancel()
    assert asked[0].startswith(b"GET /v1/models HTTP/1.1\r\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434/v1", "https://api.openai.com/v1"])
async def test_a_server_at_a_url_is_asked_there(url: str) -> None:
    async with make_client(url, "") as client:
        assert str(client.base_url).rstrip("/") == url
