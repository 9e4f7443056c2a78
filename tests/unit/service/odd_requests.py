"""What comes to a port that is open to anybody: each with the statuses that it is answered.

Of each: what it is, the bytes, and the statuses of all answers on its connection, of which the last is followed by the
end of the connection where a minus stands before it. No status at all: closed without a word.
"""

import struct
from collections.abc import Iterator

import attrs

from agentd.service.http1 import MAX_BODY, MAX_HEAD

HOST = b"Host: pbx\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n"
H2C = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def get(path: bytes = b"/health", headers: bytes = HOST, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + headers + b"\r\n"


def headers_frame(stream: int, flags: int, block: bytes) -> bytes:
    """A HEADERS frame of HTTP/2 (RFC 9113 6.2)."""
    return struct.pack(">I", len(block))[1:] + bytes([1, flags]) + struct.pack(">I", stream) + block


@attrs.frozen
class Odd:
    name: str
    sent: bytes
    statuses: tuple[int, ...]


TABLE = [
    # --- what a monitor or a browser sends
    Odd("a plain request", get(), (200,)),
    Odd("HEAD", get(method=b"HEAD"), (200,)),
    Odd("metrics", get(b"/metrics"), (200,)),
    Odd("a query", get(b"/health?verbose=1&x=%00"), (200,)),
    Odd("the absolute form, as a proxy sends it", get(b"http://pbx:15000/health"), (200,)),
    Odd("HTTP/1.0", get(headers=b"", version=b"1.0"), (-200,)),
    Odd("HTTP/1.0 with keep-alive", get(headers=b"Connection: keep-alive\r\n", version=b"1.0"), (-200,)),
    Odd("Connection: close", get(headers=HOST + b"Connection: close\r\n"), (-200,)),
    Odd("lines that end in LF alone", b"GET /health HTTP/1.1\nHost: pbx\n\n", (200,)),
    Odd("an address of IPv6", get(headers=b"Host: [::1]:15000\r\n"), (200,)),
    Odd("no other page", get(b"/calls"), (404,)),
    Odd("a path that climbs", get(b"/metrics/../../etc/passwd"), (404,)),
    Odd("a path of percent signs", get(b"/%2e%2e/%00/%ff"), (404,)),
    Odd("a path of bytes above ASCII", get(b"/\xc3\xa9"), (-400,)),
    Odd("the form of OPTIONS", get(b"*"), (404,)),
    Odd("a scheme without a path", get(b"http://pbx"), (404,)),
    # --- methods
    Odd("POST", get(method=b"POST"), (-405,)),
    Odd("POST with a small body", get(headers=HOST + b"Content-Length: 3\r\n", method=b"POST") + b"a=b", (-405,)),
    Odd("POST that says 100-continue",
        get(headers=HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n", method=b"POST"), (-405,)),
    Odd("PUT", get(method=b"PUT"), (-405,)),
    Odd("DELETE", get(method=b"DELETE"), (-405,)),
    Odd("OPTIONS", get(b"*", method=b"OPTIONS"), (-405,)),
    Odd("TRACE", get(method=b"TRACE"), (-405,)),
    Odd("CONNECT", get(b"example.org:443", method=b"CONNECT"), (-405,)),
    Odd("a method of nobody's", get(method=b"BREW"), (-405,)),
    Odd("a method in small letters", get(method=b"get"), (-405,)),
    # --- bodies
    Odd("GET with a body", get(headers=HOST + b"Content-Length: 4\r\n") + b"body", (200,)),
    Odd("GET with a body in chunks", get(headers=CHUNKED) + b"4\r\nbody\r\n0\r\n\r\n", (200,)),
    Odd("GET with chunks and trailers", get(headers=CHUNKED)
        + b"1\r\nx\r\n0\r\nX-After: 1\r\n\r\n", (200,)),
    Odd("a body that is announced too long", get(headers=HOST + b"Content-Length: %d\r\n" % (MAX_BODY + 1)), (-413,)),
    Odd("a body of twenty digits", get(headers=HOST + b"Content-Length: 99999999999999999999\r\n"), (-413,)),
    Odd("a length of more digits", get(headers=HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n"), (-400,)),
    Odd("chunks that never end", get(headers=CHUNKED)
        + b"1000\r\n" + (b"x" * 4096 + b"\r\n1000\r\n") * 8, (-413,)),
    Odd("a chunk of twenty digits", get(headers=CHUNKED) + b"f" * 20 + b"\r\n" + b"x" * 40_000,
        (-413,)),
    Odd("a chunk that says no number", get(headers=CHUNKED) + b"xyz\r\n", (-400,)),
    Odd("a chunk of less than nothing", get(headers=CHUNKED) + b"-1\r\n", (-400,)),
    Odd("a chunk with a wrong end", get(headers=CHUNKED) + b"1\r\nxyz", (-400,)),
    Odd("a chunk's extension without end", get(headers=CHUNKED) + b"1;" + b"x" * 40_000,
        (-431,)),
    Odd("a length of less than nothing", get(headers=HOST + b"Content-Length: -1\r\n"), (-400,)),
    Odd("two lengths", get(headers=HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n") + b"xx", (-400,)),
    Odd("a length and chunks", get(headers=CHUNKED + b"Content-Length: 5\r\n") + b"0\r\n\r\n",
        (200,)),
    Odd("a transfer coding of its own", get(headers=HOST + b"Transfer-Encoding: gzip\r\n"), (-501,)),
    Odd("two transfer codings", get(headers=HOST + b"Transfer-Encoding: gzip, chunked\r\n"), (-501,)),
    Odd("100-continue", get(headers=HOST + b"Content-Length: 4\r\nExpect: 100-continue\r\n"), (-417,)),
    Odd("another expectation", get(headers=HOST + b"Expect: the-unexpected\r\n"), (200,)),
    # --- upgrades, and other protocols
    Odd("a WebSocket", get(headers=HOST + UPGRADE + KEY), (200,)),
    Odd("a WebSocket without a key", get(headers=HOST + UPGRADE), (200,)),
    Odd("a WebSocket that talks at once", get(headers=HOST + UPGRADE + KEY) + b"\x81\x85\x00\x00\x00\x00hello", (200,)),
    Odd("a WebSocket on a page that is none", get(b"/ws", headers=HOST + UPGRADE + KEY), (404,)),
    Odd("a WebSocket with HTTP/1.0", get(headers=HOST + UPGRADE + KEY, version=b"1.0"), (-200,)),
    Odd("a WebSocket by POST", get(headers=HOST + UPGRADE + KEY, method=b"POST"), (-405,)),
    Odd("h2c by upgrade", get(headers=HOST + b"Connection: Upgrade, HTTP2-Settings\r\n" + H2C),
        (200,)),
    Odd("h2c by upgrade with a body", get(headers=HOST + H2C + b"Content-Length: 2\r\n")
        + b"xx", (200,)),
    Odd("HTTP/2 with prior knowledge", PREFACE + SETTINGS, (-505,)),
    Odd("HTTP/2 with prior knowledge, and a body", PREFACE + SETTINGS + headers_frame(1, 4, b"\x83\x86\x84")
        + b"\x00\x00\x04\x00\x01\x00\x00\x00\x01body", (-505,)),
    Odd("HTTP/2 with a broken frame", PREFACE + b"\xff" * 64, (-505,)),
    Odd("half of HTTP/2's preface", PREFACE[:9], ()),
    Odd("HTTP/3's version", get(version=b"3.0"), (-505,)),
    Odd("a version of nobody's", get(version=b"9.9"), (-505,)),
    Odd("HTTP/0.9", b"GET /health\r\n\r\n", (-400,)),
    Odd("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), (-400,)),
    Odd("TLS, the first bytes", b"\x16\x03\x01", (-400,)),
    Odd("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", (-400,)),
    Odd("SIP", b"OPTIONS sip:pbx SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n", (-400,)),
    Odd("AudioSocket", b"\x01\x00\x10" + bytes(range(16)), (-400,)),
    Odd("a proxy's greeting", b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n\r\n" + get(), (-400,)),
    Odd("zeros", bytes(70_000), (-400,)),
    Odd("letters without an end", b"x" * (MAX_HEAD * 4), (-431,)),
    Odd("empty lines", b"\r\n" * 100, (-400,)),
    # --- heads
    Odd("no host", get(headers=b""), (-400,)),
    Odd("two hosts", get(headers=HOST + HOST), (-400,)),
    Odd("a head that is too long", get(headers=HOST + b"X: " + b"y" * (MAX_HEAD * 2) + b"\r\n"), (-431,)),
    Odd("a thousand headers", get(headers=HOST + b"".join(b"X-%d: y\r\n" % n for n in range(1000))), (200,)),
    Odd("a path that is too long", get(b"/" + b"x" * (MAX_HEAD * 2)), (-431,)),
    Odd("a header without a colon", get(headers=HOST + b"nonsense\r\n"), (-400,)),
    Odd("a header with a NUL", get(headers=HOST + b"X: \x00\r\n"), (-400,)),
    Odd("a header of bytes above ASCII", get(headers=HOST + b"X: \xff\xfe\r\n"), (200,)),
    Odd("a space before the colon", get(headers=HOST + b"X : y\r\n"), (-400,)),
    Odd("a folded header", get(headers=HOST + b"X: y\r\n z\r\n"), (200,)),
    Odd("a fold before all headers", get(headers=b" X: y\r\n" + HOST), (-400,)),
    Odd("a request line of four words", b"GET /health now HTTP/1.1\r\nHost: x\r\n\r\n", (-400,)),
    # --- many on one connection
    Odd("two at once", get() + get(b"/metrics"), (200, 200)),
    Odd("twenty at once", get() * 20, (200,) * 20),
    Odd("a good one, then rubbish", get() + b"\x00\x01\x02", (200, -400)),
    Odd("a closing one, then another", get(headers=HOST + b"Connection: close\r\n") + get(), (-200,)),
    Odd("a body that holds a request", get(headers=HOST + b"Content-Length: %d\r\n" % len(get())) + get(), (200,)),
    # --- cut off
    Odd("nothing", b"", ()),
    Odd("half a request line", b"GET /hea", ()),
    Odd("half a head", b"GET /health HTTP/1.1\r\nHost: p", ()),
    Odd("half a body", get(headers=HOST + b"Content-Length: 40\r\n") + b"half", ()),
    Odd("half a chunk", get(headers=CHUNKED) + b"40\r\nhalf", ()),
]  # fmt: skip
assert len({odd.name for odd in TABLE}) == len(TABLE)


def statuses(answers: bytes) -> Iterator[int]:
    """The status of each answer; raises ValueError where they are not whole answers, one behind the other."""
    while answers:
        head, _, answers = answers.partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        fields = {name.lower(): value for name, value in (header.split(b": ", 1) for header in headers)}
        yield int(line.split(b" ")[1]) * (-1 if fields.get(b"connection") == b"close" else 1)
        length = int(fields[b"content-length"])
        if answers.startswith(b"HTTP/1.1 ") or not answers:
            continue  # the answer to HEAD
        if len(answers) < length:
            raise ValueError(f"{length - len(answers)} bytes of an answer are missing")
        answers = answers[length:]
