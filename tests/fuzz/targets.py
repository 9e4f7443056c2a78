"""What is fuzzed: each parser that a peer's bytes reach, and the errors that it may refuse them with."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs

from agentd.ari.caller_id import caller_name, caller_number
from agentd.ari.events import parse_event
from agentd.audiosocket.frames import FrameParser
from agentd.dialplan import DialplanError, parse_arguments
from agentd.errors import AriError, MediaProtocolError, ProviderProtocolError
from agentd.parsing import load_json
from agentd.service.http1 import Asked, HttpConnection, Page
from agentd.tools.contract import ToolError
from agentd.tools.parameters import Arguments
from agentd_providers.deepgram import listen_messages
from agentd_providers.deepgram.voice_agent import events as voice_agent
from agentd_providers.openai.chat_forms import ToolCalls
from agentd_providers.openai.context import refused_length
from agentd_providers.openai.realtime import events as realtime
from agentd_providers.openai.wav import WavReader
from agentd_providers.vendor.json_object import parse_object
from agentd_providers.vendor.surrogates import PieceMender
from agentd_providers.wyoming.info import parse_info
from agentd_providers.wyoming.protocol import Decoder, audio_format, failure_of, text_of, voice_of

PIECES = 3
"""A stream comes in so many pieces: what is cut in the middle of something is half of the faults."""


@attrs.frozen
class Target:
    """A parser. `take` is given bytes, and raises nothing but `refuses`. `seeds` are inputs of its form."""

    take: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]


def pieces(data: bytes) -> list[bytes]:
    """The bytes in the pieces in which a peer may have sent them; the first byte says where they are cut."""
    if not data:
        return [b""]
    cut, data = data[0], data[1:]
    step = max(len(data) * (cut + 1) // 256 // PIECES, 1) if data else 1
    return [data[:step], data[step : 2 * step], data[2 * step :]]


def frames(data: bytes) -> None:
    parser = FrameParser()
    for piece in pieces(data):
        for _frame in parser.feed(piece):
            pass


def page(data: bytes) -> None:
    connection = HttpConnection(("/health", "/metrics"))
    for piece in [*pieces(data), b""]:
        if connection.closed:
            return
        connection.receive(piece)
        while not connection.closed and (due := connection.next()) is not None:
            if isinstance(due, Asked):
                connection.answer(Page(b"{}"))


def wyoming(data: bytes) -> None:
    decoder = Decoder(max_data=1 << 16, max_payload=1 << 16)
    for piece in pieces(data):
        decoder.feed(piece)
        while (event := decoder.next_event()) is not None:
            for read in (parse_info, audio_format, text_of, voice_of, failure_of):
                try:
                    read(event)
                except ProviderProtocolError:
                    pass


def wav(data: bytes) -> None:
    reader = WavReader("the fuzzer")
    for piece in pieces(data):
        reader.feed(piece)


def deepgram_words(data: bytes) -> None:
    turn = listen_messages.TurnWords(0.0)
    for line in data.decode(errors="replace").split("\n"):
        if (results := listen_messages.parse(line)) is not None:
            turn.take(results)


def chat_tools(data: bytes) -> None:
    calls = ToolCalls()
    for line in data.split(b"\n"):
        calls.feed(load_json(line))
    calls.whole()


def mended_pieces(data: bytes) -> None:
    mender = PieceMender()
    text = data.decode("utf-16-le", errors="surrogatepass")
    whole = "".join(mender.feed(text[at : at + 1]) for at in range(len(text))) + mender.flush()
    whole.encode()


def text(parse: Callable[[str], object], data: bytes) -> None:
    parse(data.decode(errors="surrogateescape"))


def realtime_event(data: bytes) -> None:
    realtime.parse(parse_object("the fuzzer", data.decode(errors="replace")))


def stasis(data: bytes) -> None:
    arguments = tuple(data.decode(errors="replace").split(","))
    parse_arguments(arguments, ("audiosocket", "fork"))


SCHEMA = {
    "type": "object",
    "properties": {"day": {"type": "string", "maxLength": 20}, "guests": {"type": "integer", "minimum": 1}},
    "required": ["day"],
}
_CHANNEL = b'{"id":"1.2","name":"PJSIP/a","caller":{"name":"Ann","number":"1"},"dialplan":{"exten":"7000"}}'

TARGETS: Mapping[str, Target] = {
    "audiosocket": Target(
        frames,
        (MediaProtocolError,),
        (
            b"\x80\x01\x00\x10" + bytes(16) + b"\x10\x01\x40" + bytes(320),
            b"\x10\x03\x00\x017\x00\x00\x00",
            b"\x00\xff\x00\x01\x04\x02\x00\x00",
        ),
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
        ),
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
    "tool-arguments": Target(
        partial(text, Arguments.of(SCHEMA).parse), (ToolError,), (b'{"day":"Monday","guests":2}', b'{"guests":1e400}')
    ),
    "deepgram-listen": Target(
        deepgram_words,
        (ProviderProtocolError,),
        (
            b'{"type":"Results","start":0.1,"duration":1,"is_final":true,"channel":{"alternatives":[{"transcript":"hi",'
            b'"words":[{"word":"hi","punctuated_word":"Hi.","start":0.2,"end":0.4}]}]}}',
            b'{"type":"Metadata"}',
        ),
    ),
    "deepgram-agent": Target(
        partial(text, voice_agent.parse),
        (ProviderProtocolError,),
        (
            b'{"type":"ConversationText","role":"user","content":"Hi."}',
            b'{"type":"FunctionCallRequest","functions":[{"id":"1","name":"t","arguments":"{}","client_side":true}]}',
            b'{"type":"Error","code":"X","description":"y"}',
            b'{"type":"AgentStartedSpeaking","total_latency":1.2,"tts_latency":0.3,"ttt_latency":0.4}',
        ),
    ),
    "openai-realtime": Target(
        realtime_event,
        (ProviderProtocolError,),
        (
            b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}',
            b'{"type":"error","error":{"type":"invalid_request_error","code":"x","message":"y","event_id":"e"}}',
            b'{"type":"response.done","response":{"id":"r","status":"completed","output":[{"type":"function_call",'
            b'"call_id":"c","name":"t","arguments":"{}"}]}}',
            b'{"type":"input_audio_buffer.speech_started","audio_start_ms":100,"item_id":"i"}',
        ),
    ),
    "chat-tool-calls": Target(
        chat_tools,
        (ValueError, TypeError),
        (
            b'[{"index":0,"id":"a","function":{"name":"t","arguments":"{"}}]\n'
            b'[{"index":0,"function":{"arguments":"}"}}]',
            b'[{"id":"","function":{"name":"t","arguments":{"a":1}}}]',
        ),
    ),
    "chat-refusal": Target(
        lambda data: refused_length(load_json(data)),
        (ValueError,),
        (
            b'{"error":{"message":"This model has a maximum context length of 10 tokens, you requested 12 tokens",'
            b'"code":"context_length_exceeded"}}',
            b'{"error":{"type":"exceed_context_size_error","n_ctx":10,"n_prompt_tokens":12}}',
        ),
    ),
    "wyoming": Target(
        wyoming,
        (ProviderProtocolError,),
        (
            b'\x80{"type":"info","data":{"asr":[{"name":"x","installed":true,"models":[{"name":"m","installed":true,'
            b'"languages":["en"]}]}]}}\n',
            b'\x40{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":1},"payload_length":4}\nabcd',
            b'\x10{"type":"transcript","data_length":13}\n{"text":"hi"}',
            b'\x10{"type":"synthesize","data":{"text":"hi","voice":{"name":"v"}}}\n',
        ),
    ),
    "wav": Target(
        wav,
        (ProviderProtocolError,),
        (
            b"\x20RIFF\xff\xff\xff\xffWAVE"
            b"fmt \x10\x00\x00\x00\x01\x00\x01\x00\xc0]\x00\x00\x80\xbb\x00\x00\x02\x00\x10\x00"
            b"data\xff\xff\xff\xff" + bytes(40),
        ),
    ),
    "json": Target(load_json, (ValueError,), (b'{"a":[1,"\\ud83d\\ude00",null,1e5]}', b"[[[[]]]]")),
    "surrogates": Target(mended_pieces, (UnicodeDecodeError,), ("a😀b".encode("utf-16-le"), b"\x3d\xd8a\x00")),
}
