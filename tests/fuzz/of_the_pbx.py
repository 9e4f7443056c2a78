"""The parsers of what Asterisk sends, or who comes to a port in its place."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import httpx

from agentd.ari.caller_id import caller_name, caller_number
from agentd.ari.events import parse_event
from agentd.ari.rest import AriRest
from agentd.audiosocket.frames import FrameParser
from agentd.calls.record import RecordRefused, from_bytes, to_bytes
from agentd.chan_websocket.events import parse_event as parse_media_event
from agentd.dialplan import DialplanError, parse_arguments
from agentd.doctor.servers import reason
from agentd.errors import AriError, MediaProtocolError
from agentd.media.transport import ExternalMedia
from agentd.metrics import Metrics
from agentd.parsing import load_json
from agentd.rtp.arrival import MOST_CONCEALED, Arrivals, Fate
from agentd.rtp.packet import LONGEST, Refusal, parse
from agentd.rtp.payload import PAYLOADS
from agentd.service.http1 import Asked, HttpConnection, Page
from tests.fuzz.target import Target, each, pieces, text


def frames(data: bytes) -> None:
    parser = FrameParser()
    for piece in pieces(data):
        for _frame in parser.feed(piece):
            pass


def rtp(data: bytes) -> None:
    """A stream of datagrams, each behind its length in two bytes, to a reader that looks every 20 ms."""
    arrivals, payload, now, taken, handed = Arrivals(8000), PAYLOADS["ulaw"], 0.0, 0, 0
    while data:
        length = int.from_bytes(data[:2], "big") % (LONGEST + 2)
        packet, data, now = parse(data[2 : 2 + length]), data[2 + length :], now + 0.02
        if not isinstance(packet, Refusal):
            pcm = payload.decode(packet.payload)
            taken += len(pcm)
            handed += sum(map(len, arrivals.push(packet, pcm, now)))
        handed += sum(map(len, arrivals.due(now)))
    gaps = arrivals.fates[Fate.LOST] + arrivals.fates[Fate.RESTARTED]
    assert handed <= taken + gaps * 2 * round(8000 * MOST_CONCEALED), "more was made than came"


def record(data: bytes) -> None:
    """A file that was there when agentd started: what is taken of it can be written down again."""
    to_bytes(from_bytes(data))


def page(data: bytes) -> None:
    connection = HttpConnection(("/health", "/metrics"))
    for piece in [*pieces(data), b""]:
        if connection.closed:
            return
        connection.receive(piece)
        while not connection.closed and (due := connection.next()) is not None:
            if isinstance(due, Asked):
                connection.answer(Page(b"{}"))


def stasis(data: bytes) -> None:
    arguments = tuple(data.decode(errors="replace").split(","))
    parse_arguments(arguments, ("audiosocket", "fork"))


class AnswersWith(AriRest):
    """A PBX that answers the same to each request."""

    answer_body: object = None

    async def request(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: object = None
    ) -> Any:
        return self.answer_body


PBX = AnswersWith(httpx.AsyncClient(), Metrics(), 1.0)


def at_once(ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run what waits for nothing."""
    try:
        ask().send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def ari_answers(data: bytes) -> None:
    PBX.answer_body = load_json(data)
    asked: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        PBX.channels,
        PBX.bridges,
        PBX.version,
        partial(PBX.variable, "1.2", "A"),
        partial(PBX.application_channels, "agentd"),
        partial(PBX.external_media, "1.2", "agentd", ExternalMedia("audiosocket", "tcp", "127.0.0.1:1", "slin")),
    )
    each((partial(at_once, ask) for ask in asked), AriError)


_CHANNEL = b'{"id":"1.2","name":"PJSIP/a","caller":{"name":"Ann","number":"1"},"dialplan":{"exten":"7000"}}'

TARGETS: Mapping[str, Target] = {
    "call-record": Target(
        record,
        (RecordRefused,),
        (
            b'{"kind":"agentd call record","version":1,"call_id":"1.2","stay":{"channel":"1.2","arguments":["a"],'
            b'"extension":"600","way_back":{"context":"c","extension":"s","priority":2,"fallback":""}},"agent":"a",'
            b'"serving":"a","transport":"external","streaming":true,"rate":8000,"caller":["1","A"],"began":1.5,'
            b'"caller_spoke":false,"agent_spoke":true,"answer_due":false,"repeat":"","at_work":[["t","{}"]],"playbacks":[],'
            b'"adoptions":0,"adopted_at":0,"turns":[{"caller":"hello"},{"tool":"t","arguments":"{}","result":"r",'
            b'"sealed":["s","r","{}","{}"]},{"agent":"hi","generated":"hi there","utterance":1}]}',
        ),
        is_json=True,
    ),
    "audiosocket": Target(
        frames,
        (MediaProtocolError,),
        (
            b"\x80\x01\x00\x10" + bytes(16) + b"\x10\x01\x40" + bytes(320),
            b"\x10\x03\x00\x017\x00\x00\x00",
            b"\x00\xff\x00\x01\x04\x02\x00\x00",
        ),
    ),
    "rtp": Target(
        rtp,
        (),
        (
            b"".join(
                b"\x00\x20\x80\x00\x00%c\x00\x00\x00%c\x00\x00\x00\x01" % (at, 20 * at) + b"\x10" * 20
                for at in (1, 2, 4, 3, 3)
            ),
            b"\x00\x18\xb1\x80\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01" + bytes(4) + b"\xbe\xde\x00\x00ab\x00\x02",
            b"\x00\x0e\x80\x00\xff\xff\xff\xff\xff\xff\x00\x00\x00\x01\x10\x10\x00\x0d\x80\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00\x01\x10",
        ),
    ),
    "chan-websocket-event": Target(
        partial(text, parse_media_event),
        (MediaProtocolError,),
        (
            b'{"event":"MEDIA_START","connection_id":"c","channel":"WebSocket/INCOMING/0x1","channel_id":"1.2",'
            b'"format":"slin","optimal_frame_size":320,"ptime":20,"channel_variables":{"A":"b"}}',
            b'{"event":"MEDIA_MARK_PROCESSED","channel_id":"1.2","correlation_id":"0.10"}',
            b'{"event":"DTMF_END","channel_id":"1.2","digit":"5"}',
            b'{"event":"ERROR","channel_id":"1.2","error_text":"Unable to parse JSON command"}',
            b'{"event":"QUEUE_DRAINED","channel_id":"1.2"}',
            b"MEDIA_START connection_id:c channel:WebSocket/INCOMING/0x1",
        ),
        is_json=True,
    ),
    "ari-event": Target(
        parse_event,
        (AriError,),
        (
            b'{"type":"StasisStart","args":["agent=a"],"channel":' + _CHANNEL + b"}",
            b'{"type":"ChannelDtmfReceived","digit":"5","channel":' + _CHANNEL + b"}",
            b'{"type":"ChannelVarset","variable":"A","value":"b","channel":' + _CHANNEL + b"}",
            b'{"type":"PlaybackFinished","playback":{"id":"p","target_uri":"channel:1.2","state":"done"}}',
            b'{"type":"ChannelDestroyed","cause":16,"channel":' + _CHANNEL + b"}",
            b'{"type":"ChannelUserevent","eventname":"a","channel":' + _CHANNEL + b"}",
            b'{"type":"ApplicationReplaced","application":"agentd"}',
        ),
        is_json=True,
    ),
    "ari-answer": Target(
        ari_answers,
        (ValueError,),
        (
            b'[{"id":"1.2","caller":{"name":"A","number":"1"},"dialplan":{"exten":"7","app_name":"Stasis",'
            b'"app_data":"agentd,a"}}]',
            b'{"channel_ids":["1.2"],"system":{"version":"22.1.0"},"value":"x"}',
            b'{"channelvars":{"UNICASTRTP_LOCAL_PORT":"1"},"message":"no"}',
        ),
        is_json=True,
    ),
    "stasis-arguments": Target(stasis, (DialplanError,), (b"agent=sales,media=fork", b"agent=", b"media")),
    "caller-name": Target(partial(text, caller_name), (), ("José 李".encode(), b"a\x1b[31m\n")),
    "caller-number": Target(partial(text, caller_number), (), (b"+49 30 123", b"anonymous")),
    "health-page": Target(
        page,
        (),
        (
            b"\x40GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x90HEAD /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            b"\x10POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n",
            b"\x00PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ),
    ),
    "refused-key": Target(
        lambda data: reason(data, "a-key-that-is-secret"),
        (),
        (b'{"error":{"message":"no a-key-that-is-secret","code":1}}', b'{"detail":"x"}', b'{"err_msg":"y"}'),
        is_json=True,
    ),
}
