"""What comes to a port that is open to strangers: scanners, other protocols, broken peers, and who means harm.

`PAYLOADS` is what is sent, `WAYS` how. Each makes its random choices with the generator that it is given, so that a
seed tells everything.
"""

import json
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from uuid import UUID

import trio

LONGEST = 2 << 20
"""Bytes of one payload."""
PIECE = 16384
ANSWER_WITHIN = 0.2
"""Seconds for which an answer is waited for."""
STUCK = 5.0
"""Seconds after which who is not read goes away."""

Payload = Callable[[random.Random], bytes]
Way = Callable[[trio.SocketStream, bytes, random.Random], Awaitable[None]]


def frame(kind: int, payload: bytes, length: int | None = None) -> bytes:
    """A frame of AudioSocket, with a length of its own where it lies about it."""
    return struct.pack(">BH", kind, len(payload) if length is None else length) + payload


def named(choose: random.Random) -> bytes:
    """How AudioSocket begins, with a UUID that no call has."""
    return frame(0x01, UUID(int=choose.getrandbits(128)).bytes)


def _random(choose: random.Random) -> bytes:
    return choose.randbytes(choose.choice((1, 2, 3, 16, 300, 5000, 70000)))


def _stranger_with_audio(choose: random.Random) -> bytes:
    return named(choose) + frame(0x10, choose.randbytes(320)) * choose.choice((1, 50, 2000))


def _stranger_with_keys(choose: random.Random) -> bytes:
    return named(choose) + b"".join(frame(0x03, bytes([choose.randrange(256)])) for _ in range(500))


def _stranger_with_frames(choose: random.Random) -> bytes:
    frames = (frame(choose.randrange(256), choose.randbytes(choose.randrange(400))) for _ in range(200))
    return named(choose) + b"".join(frames)


def _stranger_then_random(choose: random.Random) -> bytes:
    return named(choose) + choose.randbytes(4000)


def _liar(choose: random.Random) -> bytes:
    return frame(choose.choice((0x00, 0x01, 0x03, 0x10, 0xFF)), b"x" * 40, choose.choice((0, 1, 15, 17, 16384, 65535)))


def _two_names(choose: random.Random) -> bytes:
    return named(choose) + named(choose) + frame(0x00, b"")


def _tls_hello(_choose: random.Random) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="pbx.example").do_handshake()
    return out.read()


def _http2(choose: random.Random) -> bytes:
    streams = (
        struct.pack(">I", 12)[1:]
        + b"\x01\x05"
        + struct.pack(">I", 2 * n + 1)
        + b"\x82\x84\x86A\x83\x00\x00\x00\x00\x00\x00\x00"
        for n in range(choose.randrange(50))
    )
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"".join(streams)


def _websocket(choose: random.Random) -> bytes:
    return (
        b"GET /health HTTP/1.1\r\nHost: pbx\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85"
        + choose.randbytes(2000)
    )


def _requests(choose: random.Random) -> bytes:
    return b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * choose.choice((1, 20, 200))


def _request_then_random(choose: random.Random) -> bytes:
    return b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" + choose.randbytes(3000)


def _endless_headers(choose: random.Random) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(
        b"X-%d: %s\r\n" % (n, choose.randbytes(20).hex().encode()) for n in range(9000)
    )


def _smuggled(_choose: random.Random) -> bytes:
    return (
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    )


def _proxy(_choose: random.Random) -> bytes:
    return b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n"


def _wyoming(choose: random.Random) -> bytes:
    events: tuple[tuple[dict[str, object], bytes], ...] = (
        ({"type": "describe"}, b""),
        (
            {"type": "audio-start", "data": {"rate": choose.choice((0, -1, 8000, 10**12)), "width": 2, "channels": 1}},
            b"",
        ),
        (
            {"type": "audio-chunk", "data": {"rate": 8000, "width": 2, "channels": 1}, "payload_length": 33},
            choose.randbytes(33),
        ),
        ({"type": "audio-stop"}, b""),
        (
            {"type": choose.choice(("transcribe", "synthesize", "synthesize-stop", "ping", "")), "data": {"text": []}},
            b"",
        ),
        ({"type": "audio-chunk", "payload_length": choose.choice((-1, 2**31, 2**70))}, b""),
        ({"type": "x", "data_length": choose.choice((-5, 2**40))}, b"{"),
    )
    chosen = choose.sample(events, choose.randrange(1, len(events)))
    return b"".join(json.dumps(header).encode() + b"\n" + body for header, body in chosen)


PAYLOADS: Mapping[str, Payload] = {
    "nothing": lambda _choose: b"",
    "random bytes": _random,
    "zeros": lambda _choose: bytes(5000),
    "a line without an end": lambda _choose: b"A" * LONGEST,
    "lines without an end": lambda _choose: b"\n" * 200_000,
    "brackets": lambda _choose: b"[" * 100_000 + b"\n",
    "a TLS hello": _tls_hello,
    "HTTP/2": _http2,
    "a WebSocket's upgrade": _websocket,
    "many requests": _requests,
    "a request, then anything": _request_then_random,
    "headers without an end": _endless_headers,
    "a request in a request": _smuggled,
    "a proxy's CONNECT": _proxy,
    "SMB": lambda _choose: (
        b"\x00\x00\x00\x54\xffSMBr\x00\x00\x00\x00\x18\x01\x28" + bytes(20) + b"\x00\x02NT LM 0.12\x00"
    ),
    "RDP": lambda _choose: (
        b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=nmap\r\n\x01\x00\x08\x00\x03\x00\x00\x00"
    ),
    "SSH": lambda _choose: b"SSH-2.0-OpenSSH_9.2\r\n",
    "SIP": lambda _choose: b"OPTIONS sip:100@1.1.1.1 SIP/2.0\r\nVia: SIP/2.0/TCP 1.1.1.1\r\nContent-Length: 0\r\n\r\n",
    "Redis": lambda _choose: b"*3\r\n$7\r\nSLAVEOF\r\n$9\r\n127.0.0.1\r\n$2\r\n22\r\n",
    "a stranger's call": _stranger_with_audio,
    "a stranger's keys": _stranger_with_keys,
    "a stranger's frames": _stranger_with_frames,
    "a stranger's name, then anything": _stranger_then_random,
    "a frame that lies about its length": _liar,
    "two names and a hang-up": _two_names,
    "Wyoming's events": _wyoming,
}


async def _whole(stream: trio.SocketStream, payload: bytes, _choose: random.Random) -> None:
    await stream.send_all(payload)
    await _answer(stream)


async def _cut(stream: trio.SocketStream, payload: bytes, choose: random.Random) -> None:
    await stream.send_all(payload[: choose.randrange(len(payload) + 1)])


async def _half_open(stream: trio.SocketStream, payload: bytes, choose: random.Random) -> None:
    await stream.send_all(payload[: choose.randrange(len(payload) + 1)])
    await stream.send_eof()
    await _answer(stream)


async def _reset(stream: trio.SocketStream, payload: bytes, choose: random.Random) -> None:
    await stream.send_all(payload[: choose.randrange(len(payload) + 1)])
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _slow(stream: trio.SocketStream, payload: bytes, choose: random.Random) -> None:
    for at in range(min(len(payload), 40)):
        await stream.send_all(payload[at : at + 1])
        await trio.sleep(choose.uniform(0.0, 0.02))


async def _in_pieces(stream: trio.SocketStream, payload: bytes, choose: random.Random) -> None:
    at = 0
    while at < len(payload):
        step = choose.randrange(1, PIECE)
        await stream.send_all(payload[at : at + step])
        at += step


async def _unread(stream: trio.SocketStream, payload: bytes, _choose: random.Random) -> None:
    """Asks and asks, and reads no answer."""
    for _ in range(20):
        await stream.send_all(payload)


WAYS: Mapping[str, Way] = {
    "whole": _whole,
    "cut off": _cut,
    "half open": _half_open,
    "reset": _reset,
    "byte by byte": _slow,
    "in pieces": _in_pieces,
    "unread": _unread,
}


async def send(
    connect: Callable[[], Awaitable[trio.SocketStream]], payload: bytes, way: Way, choose: random.Random
) -> bool:
    """One connection with a payload; whether it was taken at all. What the other side does about it is its business."""
    try:
        stream = await connect()
    except OSError:
        return False
    try:
        with trio.move_on_after(STUCK), suppress(trio.BrokenResourceError, OSError):
            await way(stream, payload, choose)
    finally:
        stream.socket.close()
    return True


async def _answer(stream: trio.SocketStream) -> None:
    with trio.move_on_after(ANSWER_WITHIN):
        while await stream.receive_some(65536):
            pass
