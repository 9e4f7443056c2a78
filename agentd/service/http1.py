"""HTTP/1 as the health page speaks it: bytes of one connection in, whole answers out. Pure.

The page is open to whoever reaches its port, so that each thing which a peer decides has a limit here: bytes of a
request's head, bytes of its body (no request needs one), requests a connection. Time and the number of connections are
the business of agentd.service.page_server.

h11 reads and writes (RFC 9112). What it does not understand is refused with the status that it names, and the
connection ends. Upgrades are ignored, as RFC 9110 7.8 allows: a request for a WebSocket is answered as the plain
request that it is as well. HTTP/2 with prior knowledge (RFC 9113 3.4) begins with a request of version 2.0, which is
told 505.
"""

from collections.abc import Collection

import attrs
import h11

MAX_HEAD = 16384
"""Bytes of a request's line and headers."""
MAX_BODY = 16384
"""Bytes of a body, which is read and thrown away."""
MAX_REQUESTS = 1000
"""Requests that one connection is answered; a probe every 15 s is at it after four hours, and connects again."""
METHODS = (b"GET", b"HEAD")
VERSIONS = (b"1.0", b"1.1")
PLAIN = "text/plain; charset=utf-8"


@attrs.frozen
class Page:
    """An answer's content."""

    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    content_type: str = PLAIN
    status: int = 200


@attrs.frozen
class Asked:
    """A request for one of the pages; it waits for `HttpConnection.answer`."""

    path: str


@attrs.define(eq=False)
class HttpConnection:
    """The server's side of one connection. `pages`: the paths that there are.

    Bytes go in by `receive`. `next` gives what is to be done now; it is called again after each.
    """

    pages: Collection[str]
    closed: bool = attrs.field(default=False, init=False)
    """Nothing more is to be read or written, but for what `next` or `answer` has just given."""
    _h11: h11.Connection = attrs.field(init=False)
    _request: h11.Request | None = attrs.field(default=None, init=False)
    _body: int = attrs.field(default=0, init=False)
    _requests: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer's; empty: it sends no more."""
        self._h11.receive_data(data)

    def next(self) -> Asked | bytes | None:
        """A page that is asked for; bytes to send, none where the peer has just ended the connection; or None: more
        has to come from the peer first.

        Requests that came together are given one at a time: the next one when this one is answered.
        """
        try:
            return self._advance()
        except h11.RemoteProtocolError as error:
            return self._refuse(error.error_status_hint, f"{error}")

    def answer(self, page: Page) -> bytes:
        """The answer to what was asked. Raises h11.LocalProtocolError where nothing was."""
        return self._answer(page, last=self._requests >= MAX_REQUESTS)

    def _advance(self) -> Asked | bytes | None:
        while (event := self._h11.next_event()) is not h11.NEED_DATA:
            match event:
                case h11.Request():
                    self._request, self._body = event, 0
                    self._requests += 1
                    if (refusal := self._look_at(event)) is not None:
                        return refusal
                case h11.Data():
                    self._body += len(event.data)
                    if self._body > MAX_BODY:
                        return self._refuse(413, "no request here needs a body")
                case h11.EndOfMessage():
                    return self._asked()
                case h11.ConnectionClosed():
                    self.closed = True
                    return b""
                case _:  # PAUSED: of an answered request nothing is left, and of an unanswered one nothing is read
                    raise AssertionError(f"h11 gave {event} where a request was to be read")
        return None

    def _look_at(self, request: h11.Request) -> bytes | None:
        """An answer that needs no look at the request's body; the connection ends with it."""
        if request.http_version not in VERSIONS:
            return self._refuse(505, "only HTTP/1.1")
        if request.method not in METHODS:
            return self._refuse(405, "GET and HEAD only")
        if self._h11.they_are_waiting_for_100_continue:  # then it is not told to go on
            return self._refuse(417, "no request here needs a body")
        lengths = [value for name, value in request.headers if name == b"content-length"]
        if lengths and int(lengths[0]) > MAX_BODY:
            return self._refuse(413, "no request here needs a body")
        return None

    def _asked(self) -> Asked | bytes:
        assert self._request is not None
        path = _path(self._request.target)
        if path in self.pages:
            return Asked(path)
        return self.answer(Page(f"there are {' and '.join(sorted(self.pages))}\n".encode(), status=404))

    def _refuse(self, status: int, why: str) -> bytes:
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # h11 has no way to say anything more
            self.closed = True
            return b""
        return self._answer(Page(f"{why}\n".encode(), status=status), last=True)

    def _answer(self, page: Page, last: bool) -> bytes:
        headers = [
            ("content-type", page.content_type),
            ("content-length", str(len(page.body))),
            ("cache-control", "no-store"),
        ]
        if page.status == 405:
            headers.append(("allow", ", ".join(method.decode() for method in METHODS)))
        if last:
            headers.append(("connection", "close"))
        data = self._h11.send(h11.Response(status_code=page.status, headers=headers))
        if self._request is None or self._request.method != b"HEAD":
            data += self._h11.send(h11.Data(page.body))
        data += self._h11.send(h11.EndOfMessage())
        self._request = None
        if (self._h11.our_state, self._h11.their_state) == (h11.DONE, h11.DONE):
            self._h11.start_next_cycle()
        else:
            self.closed = True
        return data


def _path(target: bytes) -> str:
    """The path of a request's target: of "/health?x=1", and of a proxy's absolute form (RFC 9112 3.2.2)."""
    text = target.decode("ascii", "replace")
    if not text.startswith("/"):
        _, _, rest = text.partition("://")
        text = f"/{rest.partition('/')[2]}"
    return text.partition("?")[0]
