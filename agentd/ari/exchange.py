"""How a request is made of ARI, over httpx; agentd.ari.rest has the requests themselves.

httpx 0.28 leaks the places of its pool (httpcore issue 1093): a request that is cancelled, or gives up, while it waits
for a connection may leave one behind that was made for it, is never opened, and counts for ever. So no request waits
there: its pool has no bound, ours is in front of it. And no request is cancelled half-way: it runs in a shielded scope
to its own short deadline, and a cancelled caller notices afterwards. There is one client for the process.
"""

import copy
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Self

import attrs
import httpx
import structlog
import trio

from agentd import deadlines
from agentd.ari.standing import Standing
from agentd.ari.turns import Turns
from agentd.errors import AriError, AriRejected, AriUnavailable
from agentd.metrics import Metrics
from agentd.parsing import load_json

log = structlog.get_logger("agentd.ari")

MAX_ANSWER = 4 << 20
"""Bytes of one answer; GET /channels of 500 calls is about 1 MiB."""
MAX_REQUESTS = 64
"""Requests at a time; others wait for their turn. Asterisk takes 100 connections (http.conf, sessionlimit)."""
LAST_RESORT = deadlines.ARI_LAST_RESORT.seconds
"""Seconds beyond httpx's own timeouts after which a request is cancelled all the same: by then it has its connection,
and that is closed."""


class Rank(IntEnum):
    """Whose request goes first where all have to wait for their turn."""

    HERE = 0
    """Of callers who are in a call, or on their way out of agentd, and of what looks after them."""
    SET_UP = 1
    """Of a call that is being set up: without it one more caller rings, or hears nothing, for a moment longer."""


IDENTITY = {"accept-encoding": "identity"}
"""An answer is read as it is sent: four megabytes of zeros come in four kilobytes otherwise."""


@attrs.define(eq=False)
class AriExchange:
    """Requests and their answers. Each raises AriUnavailable or AriRejected.

    Cancelling a request waits for its answer or its deadline (a few seconds) and then takes effect.
    """

    client: httpx.AsyncClient = attrs.field(repr=False)
    metrics: Metrics
    deadline: float
    on_unanswered: Callable[[], None] = attrs.field(default=lambda: None, init=False, repr=False)
    """Called, and must not block, for a request that had no answer: it may have been carried out."""
    on_refused: Callable[[], None] = attrs.field(default=lambda: None, init=False, repr=False)
    """Called, and must not block, when Asterisk has begun to refuse the user's requests, whatever they ask for."""
    standing: Standing = attrs.field(factory=Standing, init=False)
    rank: Rank = attrs.field(default=Rank.HERE, init=False)
    _places: Turns = attrs.field(factory=lambda: Turns(MAX_REQUESTS), init=False, repr=False)
    _begun: dict[object, float] = attrs.field(factory=dict, init=False, repr=False)
    """When each request was sent that has no answer yet, oldest first."""

    @property
    def setting_up(self) -> Self:
        """The same, for the requests of a call that is being set up."""
        ranked = copy.copy(self)
        ranked.rank = Rank.SET_UP
        return ranked

    def unanswered_for(self, now: float) -> float:
        """Seconds since the oldest request was sent that has no answer yet; 0 where there is none."""
        return now - next(iter(self._begun.values()), now)

    async def request(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: object = None
    ) -> Any:
        """Make one request below /ari; gives the parsed JSON answer, or None for an empty one.

        Raises AriUnavailable, AriRejected; AriError for an answer that is no JSON, too long, or encoded.
        """
        what = f"ARI {method} {path}"
        started = trio.current_time()
        until = started + self.deadline + LAST_RESORT
        with trio.move_on_after(self.deadline) as waiting:
            await self._places.take(self.rank)
        if waiting.cancelled_caught:
            self.metrics.ari_request_failures.labels(method=method).inc()
            raise AriUnavailable(
                f"{what}: too many requests at once: {MAX_REQUESTS} wait for Asterisk's answer already"
            )
        this = object()
        self._begun[this] = trio.current_time()
        try:
            with trio.fail_at(until, shield=True):
                status, content = await self._exchange(what, method, f"/ari{path}", params, body)
        except (httpx.HTTPError, trio.TooSlowError) as error:
            self.metrics.ari_request_failures.labels(method=method).inc()
            self.on_unanswered()
            raise AriUnavailable(
                f"{what}: Asterisk at {self.client.base_url} did not answer: {type(error).__name__} {error}".rstrip()
            ) from error
        finally:
            del self._begun[this]
            self._places.give_back()
            self.metrics.ari_request_seconds.labels(method=method).observe(trio.current_time() - started)
        self._heed(method, status)
        await trio.lowlevel.checkpoint_if_cancelled()
        if status >= 300:
            self.metrics.ari_request_failures.labels(method=method).inc()
            raise AriRejected(f"{what}: HTTP {status} {_reason(status, content)}", status)
        if not content:
            return None
        try:
            return load_json(content)
        except ValueError as error:
            raise AriError(f"{what}: the answer is not JSON ({error}): {_text(content)!r}") from error

    async def _exchange(
        self, what: str, method: str, path: str, params: Mapping[str, str] | None, body: object
    ) -> tuple[int, bytes]:
        """An answer's status and body. Whoever answers need not be Asterisk: no more is read than is expected."""
        content = bytearray()
        async with self.client.stream(method, path, params=params, json=body, headers=IDENTITY) as answer:
            if (encoding := answer.headers.get("content-encoding", "")) not in ("", "identity"):
                raise AriError(f"{what}: an answer in the encoding {encoding[:20]!r}; none was asked for")
            # httpx's generators end by what is raised in the innermost one, and not when they are left.
            with trio.CancelScope() as reading:
                async for data in answer.aiter_bytes():
                    content += data
                    if len(content) > MAX_ANSWER:
                        reading.cancel(reason="no answer is as long")
        if len(content) > MAX_ANSWER:
            raise AriError(f"{what}: an answer of more than {MAX_ANSWER} bytes")
        return answer.status_code, bytes(content)

    def _heed(self, method: str, status: int) -> None:
        if self.standing.answered(method, status):
            if trouble := self.standing.trouble:
                log.error("Asterisk refuses agentd's requests", trouble=trouble, status=status)
                self.on_refused()
            else:
                log.info("Asterisk obeys agentd's requests again")


def _reason(status: int, content: bytes) -> str:
    try:
        message = load_json(content).get("message", "")
    except (ValueError, AttributeError):
        message = _text(content)
    hint = " (is the user in ari.conf, and the password the same?)" if status == 401 else ""
    return f"{str(message)[:200]}{hint}"


def _text(content: bytes) -> str:
    """The beginning of an answer, for a message."""
    return content[:800].decode(errors="replace")[:200]
