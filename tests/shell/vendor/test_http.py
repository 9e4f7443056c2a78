"""A vendor's HTTP API: whatever comes back ends its own answer only, as a ProviderError."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog.testing
import trio

from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.testing.faults import Fault
from agentd_providers.vendor.http import VendorHttp, open_vendor_http
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, open_http_peer

pytestmark = pytest.mark.loopback

KEY = "sk-very-secret"


@asynccontextmanager
async def connected(handler: HttpHandler, fault: Fault = Fault.NONE) -> AsyncIterator[VendorHttp]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with trio.fail_after(10):
        async with open_http_peer(handler) as peer:
            peer.strike(fault)
            async with open_vendor_http("Vendor", peer.url, headers, KEY, 1.0) as http:
                yield http


async def whole(http: VendorHttp, path: str = "/", **content: Any) -> bytes:
    answer = http.post(path, limit=1000, **content)
    try:
        return await answer.whole()
    finally:
        answer.leave()


async def fine(exchange: HttpExchange) -> None:
    await exchange.answer(200, b"fine")


@pytest.mark.parametrize(
    "location",
    [
        "/elsewhere",
        "https://example.org/",
        "foo:bar",
        "http:a",
        "javascript:[",
        "http://xn--zzzzzz/",
        "http://[::1",
        "http://a:b/",
        "/x" * 40_000,
    ],
)
async def test_a_redirect_is_a_refusal_wherever_it_leads_and_no_other_answer_suffers(location: str) -> None:
    """httpx makes the request of a redirect that nobody follows: with some locations that raised, in the task group of
    everybody's requests."""

    async def redirect(exchange: HttpExchange) -> None:
        if exchange.request.path != "/moved":
            await fine(exchange)
            return
        await exchange.begin(302, location=location)
        await exchange.end()

    async with connected(redirect) as http:
        with pytest.raises(ProviderRejected, match="HTTP 302"):
            await whole(http, "/moved")
        assert await whole(http) == b"fine"


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault.REFUSED, ProviderRejected, "refuses our credentials .HTTP 401"),
        (Fault.RATE_LIMITED, ProviderUnavailable, "HTTP 429"),
        (Fault.UNAVAILABLE, ProviderUnavailable, "HTTP 503"),
        (Fault.MUTE, ProviderUnavailable, "no answer within 1 s"),
        (Fault.CLOSE, ProviderUnavailable, "disconnected"),
        (Fault.CUT, ProviderUnavailable, "incomplete"),
        (Fault.OVERSIZED, ProviderProtocolError, "an answer of more than"),
    ],
)
async def test_each_fault_is_told_as_what_it_is(fault: Fault, error: type[ProviderError], says: str) -> None:
    async with connected(fine, fault) as http:
        with pytest.raises(error, match=f"Vendor.*{says}"):
            await whole(http)


async def test_a_text_that_no_encoding_can_write_ends_its_own_answer_only() -> None:
    async with connected(fine) as http:
        with pytest.raises(ProviderUnavailable, match="Vendor: UnicodeEncodeError"):
            await whole(http, json={"text": "\ud83d"})
        assert await whole(http, json={"text": "😀"}) == b"fine"


async def test_a_bug_ends_its_own_answer_only_and_is_logged_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_arguments: Any, **_more: Any) -> None:
        raise ZeroDivisionError("of the library's")

    async with connected(fine) as http:
        with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
            patched.setattr(http._client, "send", broken)
            with pytest.raises(ProviderUnavailable, match="Vendor: ZeroDivisionError"):
                await whole(http)
        ((logged),) = logs
        assert (logged["log_level"], logged["vendor"], logged["exc_info"]) == ("error", "Vendor", True)
        assert await whole(http) == b"fine"
