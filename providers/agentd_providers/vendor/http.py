"""A vendor's HTTP API: answers that come piece by piece, bounded, every failure as a ProviderError.

httpx 0.28 leaks pool slots when requests are cancelled or time out while they wait for a connection (httpcore issue
1093), and leaves its generators unfinished when an answer is not read to its end. So each request is made and read by a
task of the engine's: who asked leaves at once, and the task ends the answer in its own time; and requests wait for each
other here, never in the pool.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import httpx
import structlog
import trio

from agentd import deadlines
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.websocket import tls_context
from agentd_providers.credentials import Scheme
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.access import VendorAccess, find_key

log = structlog.get_logger("agentd_providers.vendor_http")

LONGEST_EXCHANGE = deadlines.VENDOR_EXCHANGE.seconds
LONGEST_REFUSAL = 4096
"""Bytes of an error's body that are read."""
REFUSAL_PATIENCE = deadlines.VENDOR_REFUSAL.seconds
SHOWN = 200
"""Characters of a vendor's text that an error repeats."""
CONNECTIONS = 64
"""Requests at a time: more wait for one to end, until their deadline."""
KEPT_SECONDS = 90.0
"""A connection is kept for the next clause or turn: a TLS handshake would be heard as a pause."""


@attrs.define(eq=False)
class Answer:
    """The part of an answer that has come; `piece` and `whole` are for the one who asked."""

    vendor: str
    limit: int
    """Bytes that the body may have."""
    timeout: float
    began: float
    status: int = attrs.field(default=0, init=False)
    content_type: str = attrs.field(default="", init=False)
    wanted: bool = attrs.field(default=True, init=False)
    reading: trio.CancelScope | None = attrs.field(default=None, init=False)
    """Of the task that reads the body; before that it is not cancelled."""
    _pieces: deque[bytes] = attrs.field(factory=deque, init=False, repr=False)
    _size: int = attrs.field(default=0, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _failure: ProviderError | None = attrs.field(default=None, init=False)
    _heard: bool = attrs.field(default=False, init=False)
    """A first piece has been taken."""
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)

    # --- for who asked

    async def opened(self) -> None:
        """Wait for the head of the answer, after which `content_type` is known. Raises ProviderError."""
        while not self.status:
            await self._wait(self.began + self.timeout)

    async def piece(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises ProviderError, also where it was cut off."""
        while not self._pieces:
            if self._ended:
                return b""
            await self._wait((trio.current_time() if self._heard else self.began) + self.timeout)
        self._heard = True
        return self._pieces.popleft()

    async def whole(self) -> bytes:
        """The whole body, within the deadline of its first byte. Raises ProviderError."""
        while not self._ended:
            await self._wait(self.began + self.timeout)
        return b"".join(self._pieces)

    def leave(self) -> None:
        """Nothing more of it is wanted. Never waits: its task closes it."""
        self.wanted = False
        if self.reading is not None:  # before that the task sees that nobody wants it
            self.reading.cancel()

    async def _wait(self, until: float) -> None:
        if self._failure is not None:
            raise self._failure
        self._came = trio.Event()
        with trio.move_on_at(until):
            await self._came.wait()
            if self._failure is not None:
                raise self._failure
            return
        raise ProviderUnavailable(f"{self.vendor}: no answer within {self.timeout:g} s")

    # --- for the task that reads it

    def open(self, answer: httpx.Response) -> None:
        self.status, self.content_type = answer.status_code, answer.headers.get("content-type", "").lower()[:SHOWN]
        self._came.set()

    def add(self, data: bytes) -> bool:
        """Whether the body is still no longer than it may be; what is too much is not taken."""
        self._size += len(data)
        if self._size > self.limit:
            return False
        if data:
            self._pieces.append(data)
            self._came.set()
        return True

    def end(self, failure: ProviderError | None = None) -> None:
        self._ended, self._failure = failure is None, failure
        self._came.set()


@attrs.frozen
class _Body(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which is left unfinished where the engine closes while it sends."""

    content: bytes = attrs.field(repr=False)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once([self.content])


@attrs.define
class _Once(AsyncIterator[bytes]):
    left: list[bytes] = attrs.field(repr=False)

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


@attrs.define(eq=False)
class VendorHttp:
    """The API of `vendor` (its name, for messages). `timeout`: seconds that it may be silent, before and in an answer.
    Made by `open_vendor_http`."""

    vendor: str
    timeout: float
    access: VendorAccess
    _client: httpx.AsyncClient = attrs.field(repr=False)
    _nursery: trio.Nursery = attrs.field(repr=False)
    _key: str = attrs.field(repr=False)
    _at_once: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(CONNECTIONS), init=False)

    def post(self, path: str, *, limit: int, **content: Any) -> Answer:
        """POST to `path` (below the base URL), with httpx's `params`, `json`, `data` and `files`; an answer of at most
        `limit` bytes. The asker must `leave` the answer in the end. It raises:

            ProviderUnavailable: no answer within the deadline, a broken connection, HTTP 408, 425, 429 or 5xx.
            ProviderRejected: any other status that is no success.
            ProviderProtocolError: the answer is too long.
        """
        answer = Answer(self.vendor, limit, self.timeout, trio.current_time())
        self._nursery.start_soon(self._exchange, path, content, answer)
        return answer

    def conceal(self, text: str) -> str:
        """A vendor's text without the key."""
        return text.replace(self._key, "***") if self._key else text

    async def _exchange(self, path: str, content: Mapping[str, Any], answer: Answer) -> None:
        try:
            async with self._at_once:
                if answer.wanted:  # who asked may have left meanwhile
                    request = self._client.build_request("POST", path, **content)
                    request.stream = _Body(request.read())
                    await self._fetch(request, answer)
        except ProviderError as error:
            answer.end(error)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ValueError, trio.TooSlowError) as error:
            why = self._shown(f"{type(error).__name__} {error}")
            answer.end(ProviderUnavailable(f"{self.vendor}: {why}"))
        except Exception as error:  # this nursery is every call's: one answer must not end it
            log.exception("an answer failed inside agentd", vendor=self.vendor)
            answer.end(ProviderUnavailable(f"{self.vendor}: {type(error).__name__} inside agentd"))
        else:
            answer.end()

    async def _fetch(self, request: httpx.Request, answer: Answer) -> None:
        with trio.fail_after(LONGEST_EXCHANGE):
            response = await self._send(request)
            try:
                if answer.wanted:
                    await self._read(response, answer)
            finally:
                await response.aclose()  # shielded within httpcore

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # A connection that was kept open is found closed by the server only when it is used again.
            return await self._client.send(request, stream=True)

    async def _read(self, response: httpx.Response, answer: Answer) -> None:
        """Read the body. A cancellation ends the reading early. It strikes httpx's generators where they wait: so the
        loops below neither raise nor wait for anybody."""
        taken, refusal, fits = response.is_success, bytearray(), True
        if taken:
            self.access.granted()
            answer.open(response)
        with trio.CancelScope() as answer.reading:
            if not taken:
                answer.reading.deadline = trio.current_time() + REFUSAL_PATIENCE
            async for data in response.aiter_raw():
                await trio.lowlevel.cancel_shielded_checkpoint()  # many small pieces may have come at once
                if taken:
                    fits = fits and answer.add(data)
                else:
                    refusal += data[: LONGEST_REFUSAL - len(refusal)]
                if not fits or len(refusal) == LONGEST_REFUSAL:
                    answer.reading.cancel()
        if not taken:
            raise self._refusal(response.status_code, bytes(refusal))
        if not fits:
            raise ProviderProtocolError(f"{self.vendor}: an answer of more than {answer.limit} bytes")

    def _refusal(self, status: int, body: bytes) -> ProviderRejected | ProviderUnavailable:
        if status in (401, 403):  # what it says of a key may hold the key
            why = f"{self.vendor} refuses our credentials (HTTP {status}): is the key right?"
            self.access.refused(why)
            return ProviderRejected(why)
        what = f"HTTP {status} {self._shown(body.decode('utf-8', 'replace'))}".strip()
        if status >= 500 or status in (408, 425, 429):
            return ProviderUnavailable(f"{self.vendor}: {what}")
        return ProviderRejected(f"{self.vendor} refuses our request: {what}")

    def _shown(self, text: str) -> str:
        """A text as an error repeats it: on one line, not long, without the key."""
        return self.conceal(" ".join(text.split()))[:SHOWN]


async def _stay(response: httpx.Response) -> None:
    """A hook of the client, which awaits it. No redirect is followed, but httpx makes its request all the same, and
    raises where the location is none."""
    await trio.lowlevel.checkpoint()
    response.headers.pop("Location", None)


@asynccontextmanager
async def use_vendor_http(
    shared: SharedServices, vendor: str, base_url: str, api_key_name: str, scheme: Scheme, timeout: float
) -> AsyncIterator[VendorHttp]:
    """The part of it that engines with the same server, key and patience share. Raises ConfigError where the key that
    is named is missing."""
    key = find_key(api_key_name, vendor)
    headers = {"Authorization": f"{scheme.value} {key}"} if key else {}
    opener = partial(open_vendor_http, vendor, base_url, headers, key, timeout)
    async with shared.use(("http", vendor, base_url, api_key_name, timeout), opener, vendor) as http:
        yield http


@asynccontextmanager
async def open_vendor_http(
    vendor: str, base_url: str, headers: Mapping[str, str], key: str, timeout: float
) -> AsyncIterator[VendorHttp]:
    """The API at `base_url`, with its connections, closed on leaving the block. `headers` go with each request; `key`
    is the secret in them, which no error repeats."""
    async with httpx.AsyncClient(
        base_url=base_url,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(timeout),
        limits=httpx.Limits(max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEPT_SECONDS),
        event_hooks={"response": [_stay]},
        trust_env=False,
        verify=tls_context(),
    ) as client:
        async with trio.open_nursery() as nursery:
            yield VendorHttp(vendor, timeout, VendorAccess(), client, nursery, key)
            nursery.cancel_scope.cancel()
