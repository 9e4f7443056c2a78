"""http_request against a real server on loopback: only its endpoint is reached, and no answer is too much."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import pytest
import trio

from agentd.agent import CallInfo
from agentd.config.secrets import Secret
from agentd.errors import ConfigError
from agentd.testing.clock import until
from agentd.tools.contract import ToolContext, ToolError, ToolOutcome
from agentd.tools.http_request import HTTP_REQUEST, HttpRequest, HttpRequestSettings, Method
from agentd.tools.runner import CallContext

pytestmark = pytest.mark.loopback

SCHEMA = '{"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}'
PATIENCE = 5.0


@attrs.frozen
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@attrs.frozen
class Reply:
    """`pieces` are sent one after the other; `mute`: nothing is, until the client has gone away."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=lambda: {"content-type": "application/json"})
    pieces: tuple[bytes, ...] = (b'{"ok": true}',)
    mute: bool = False


@attrs.define(eq=False)
class Service:
    """A web server that answers every request with `reply`."""

    reply: Reply = attrs.field(factory=Reply)
    seen: list[Seen] = attrs.field(factory=list)
    open: int = 0
    origin: str = ""
    broke_off: trio.Event = attrs.field(factory=trio.Event)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.origin = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, listeners)
            task_status.started()

    async def _connection(self, stream: trio.SocketStream) -> None:
        self.open += 1
        try:
            await self._answer(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            self.broke_off.set()
        finally:
            self.open -= 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        protocol, request, body = h11.Connection(h11.SERVER), None, b""
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        self.seen.append(Seen(request.method.decode(), request.target.decode(), headers, body))
        if self.reply.mute:
            assert not await stream.receive_some(1)
            return
        head = h11.Response(
            status_code=self.reply.status, headers=[*self.reply.headers.items(), ("connection", "close")]
        )
        await stream.send_all(protocol.send(head) or b"")
        for piece in self.reply.pieces:
            await stream.send_all(protocol.send(h11.Data(data=piece)) or b"")
        await stream.send_all(protocol.send(h11.EndOfMessage()) or b"")


class NoLine:
    """A line that no HTTP request has to do with."""

    async def send_dtmf(self, digits: str) -> None:
        raise AssertionError("a request presses no keys")

    async def dialplan_has(self, context: str, extension: str) -> bool:
        raise AssertionError("a request asks no dialplan")


CALL: ToolContext = CallContext(CallInfo("1700000000.1"), NoLine())


@asynccontextmanager
async def open_service(**reply: Any) -> AsyncIterator[Service]:
    service = Service(Reply(**reply))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.serve)
            yield service
            nursery.cancel_scope.cancel()


def tool(service: Service, path: str = "/orders/{id}", **settings: Any) -> HttpRequest:
    made = HTTP_REQUEST.make("ask", "", HttpRequestSettings(service.origin + path, parameters=SCHEMA, **settings))
    assert isinstance(made, HttpRequest)
    return made


async def ask(service: Service, identity: str = "17", **settings: Any) -> ToolOutcome:
    return await tool(service, **settings).run({"id": identity}, CALL)


async def test_an_order_is_looked_up() -> None:
    async with open_service() as service:
        outcome = await ask(service, "a-b", headers={"X-Shop": "7"})
    assert outcome == ToolOutcome('HTTP 200\n{"ok": true}')
    (seen,) = service.seen
    assert (seen.method, seen.target, seen.body) == ("GET", "/orders/a-b", b"")
    assert seen.headers["x-shop"] == "7"
    assert seen.headers["user-agent"] == "agentd"


async def test_what_was_filled_in_arrives_as_it_was_encoded() -> None:
    async with open_service() as service:
        await ask(service, "50% é?#&;=@", path="/orders/{id}?also={id}")
    encoded = "50%25%20%C3%A9%3F%23%26%3B%3D%40"
    assert service.seen[0].target == f"/orders/{encoded}?also={encoded}"


@pytest.mark.parametrize("method", [Method.POST, Method.PUT])
async def test_arguments_are_sent_as_json(method: Method) -> None:
    async with open_service() as service:
        await ask(service, "é", path="/orders", method=method)
    (seen,) = service.seen
    assert (seen.method, seen.target) == (method, "/orders")
    assert json.loads(seen.body) == {"id": "é"}
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", [Method.GET, Method.DELETE])
async def test_other_requests_have_no_body(method: Method) -> None:
    async with open_service() as service:
        await ask(service, method=method)
    assert (service.seen[0].method, service.seen[0].body) == (method, b"")


# --- only the endpoint


@pytest.mark.parametrize(
    "identity",
    ["@other/", "..", "%2e%2e", "x@127.0.0.1:1", "x HTTP/1.1\r\nHost: evil", "?admin=1", "#x", "..%2fadmin", "%00"],
)
async def test_whatever_the_model_asks_only_the_endpoint_is_reached(identity: str) -> None:
    async with open_service() as service:
        try:
            await ask(service, identity)
        except ToolError:
            assert service.seen == []
            return
        (seen,) = service.seen
        assert seen.headers["host"] == service.origin.removeprefix("http://")
        assert seen.target.startswith("/orders/")
        assert not set(seen.target[1:].replace("orders/", "", 1)) & set("/?#")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_told_and_not_followed(status: int) -> None:
    async with (
        open_service() as other,
        open_service(
            status=status, headers={"location": other.origin, "content-type": "text/html"}, pieces=()
        ) as service,
    ):
        outcome = await ask(service)
        assert other.seen == []
    assert outcome == ToolOutcome(f"HTTP {status}", failed=True)


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_service() as proxy, open_service() as service:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        await ask(service)
        assert (len(service.seen), proxy.seen) == (1, [])


# --- what comes back


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_error_is_bad_news_with_its_words(status: int) -> None:
    async with open_service(status=status, pieces=(b'{"error": "no such order"}',)) as service:
        outcome = await ask(service)
    assert outcome == ToolOutcome(f'HTTP {status}\n{{"error": "no such order"}}', failed=True)


async def test_a_long_answer_is_cut_and_not_read_to_its_end() -> None:
    async with open_service(headers={"content-type": "text/plain"}, pieces=(b"x" * 50_000,) * 200) as service:
        outcome = await ask(service, max_response=100)
        await service.broke_off.wait()
    assert outcome.text == f"HTTP 200\n{'x' * 100}\n(cut off after 100 bytes)"


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "image/png"}, {"content-type": "text/plain", "content-encoding": "gzip"}],
    ids=["a picture", "compressed"],
)
async def test_what_is_no_text_is_not_shown(headers: dict[str, str]) -> None:
    async with open_service(headers=headers, pieces=(b"\x1f\x8b\x00",)) as service:
        outcome = await ask(service)
    assert "not text" in outcome.text
    assert "\x1f" not in outcome.text


async def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    async with open_service(headers={}, pieces=(b"caf\xe9",)) as service:
        assert (await ask(service)).text == "HTTP 200\ncaf\N{REPLACEMENT CHARACTER}"


async def test_a_service_that_is_not_there() -> None:
    async with open_service() as service:
        pass
    with pytest.raises(ToolError, match="could not be reached") as caught:
        await ask(service)
    assert "ConnectError" in repr(caught.value.__cause__)


# --- secrets


async def test_a_secret_header_has_the_secret_s_value() -> None:
    async with open_service() as service:
        made = tool(service, secret_headers={"Authorization": "SHOP_TOKEN"})
        assert list(HTTP_REQUEST.secrets(made.settings)) == ["SHOP_TOKEN"]
        await attrs.evolve(made, find=lambda name: Secret(name, "Bearer hunter2")).run({"id": "1"}, CALL)
    assert service.seen[0].headers["authorization"] == "Bearer hunter2"


async def test_a_secret_is_read_once_and_again_with_the_next_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "old")
    async with open_service() as service:
        before = tool(service, secret_headers={"Authorization": "SHOP_TOKEN"})
        monkeypatch.setenv("SHOP_TOKEN", "new")
        for made in (before, before, tool(service, secret_headers={"Authorization": "SHOP_TOKEN"})):
            await made.run({"id": "1"}, CALL)
    assert [seen.headers["authorization"] for seen in service.seen] == ["old", "old", "new"]


def _unreadable(name: str) -> Secret | None:
    raise ConfigError("the credential cannot be read")


@pytest.mark.parametrize(
    "find",
    [
        lambda name: None,
        lambda name: Secret(name, "hunter2\r\nX: y"),
        lambda name: Secret(name, "hunter2é"),
        lambda name: Secret(name, "Bearer hunter2 "),
        _unreadable,
    ],
    ids=["missing", "two lines", "not ASCII", "a space at its end", "unreadable"],
)
async def test_a_secret_that_cannot_be_used_is_never_shown(find: Callable[[str], Secret | None]) -> None:
    async with open_service() as service:
        made = attrs.evolve(tool(service, secret_headers={"Authorization": "SHOP_TOKEN"}), find=find)
        with pytest.raises(ToolError, match="not set up") as caught:
            await made.run({"id": "1"}, CALL)
        assert service.seen == []
    assert "hunter2" not in repr(caught.value) + repr(caught.value.__cause__) + repr(made)


async def test_a_service_that_sends_our_secret_back_does_not_tell_it_to_the_model() -> None:
    async with open_service(pieces=(b'{"sent": "Bearer hunter2", "key": "sk-AbCd12345"}',)) as service:
        made = tool(service, headers={"X-Shop": "sk-AbCd12345"}, secret_headers={"Authorization": "SHOP_TOKEN"})
        made = attrs.evolve(made, find=lambda name: Secret(name, "Bearer hunter2"))
        outcome = await made.run({"id": "1"}, CALL)
    assert outcome.text == 'HTTP 200\n{"sent": "***", "key": "***"}'


# --- its end


async def test_a_request_that_is_cancelled_leaves_no_connection() -> None:
    async with open_service(mute=True) as service:
        for count in range(1, 11):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, service)
                await until(lambda count=count: len(service.seen) >= count)
                nursery.cancel_scope.cancel()
        await until(lambda: not service.open)
        service.reply = Reply()
        assert (await ask(service)).text.startswith("HTTP 200")
