"""Deepgram's speech services as its documentation has them, with scripted words and a tone for a voice.

Facts and examples: developers.deepgram.com/reference (speech-to-text-api/listen-streaming, text-to-speech-api/speak)
and docs/live-streaming-audio, finalize, close-stream, audio-keep-alive, errors, text-to-speech. What they leave open is
taken strictly here: an unknown parameter, message or field is refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import trio

from .http_peer import HttpExchange
from .peer import SWITCHING, PeerConnection, PeerGone
from .scripted_words import Script, tone

KEY = "dg-very-secret"
LISTEN_PARAMETERS = {
    *("model", "language", "encoding", "sample_rate", "channels", "multichannel", "interim_results", "endpointing"),
    *("utterance_end_ms", "vad_events", "smart_format", "punctuate", "numerals", "profanity_filter", "dictation"),
    *("detect_entities", "keyterm", "keywords", "diarize", "redact", "replace", "search", "tag", "extra", "version"),
    "mip_opt_out",
}
LISTEN_FIELDS: Mapping[str, set[str]] = {
    "KeepAlive": {"type"},
    "Finalize": {"type", "channel"},
    "CloseStream": {"type"},
}
LISTEN_MODELS = ("nova", "enhanced", "base")
"""Those of /v1/listen for live audio: flux is at /v2/listen, whisper for recordings
(https://developers.deepgram.com/docs/models-languages-overview)."""
SPEAK_PARAMETERS = {"model", "encoding", "container", "sample_rate", "bit_rate", "speed", "tag", "mip_opt_out"}
SPEAK_RATES = {"8000", "16000", "24000", "32000", "48000"}
LONGEST_TEXT = 1000
# docs/errors
INVALID_AUTH = {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials.", "request_id": "uuid"}
TOO_LONG = {
    "err_code": "Payload Too Large",
    "err_msg": "Input text exceeds maximum character limit of 2400.",
    "request_id": "uuid",
}


@attrs.define(eq=False)
class DeepgramListen:
    """The live speech to text: `run` is the handler and `admit` the admission of a WebSocketPeer.

    `received` holds (second of the monotonic clock, "audio" or a message's type, bytes of audio or the message) of all
    connections. `answers_finalize`: false, and Finalize has no answer, which is not guaranteed. `latency`: seconds that
    a final result takes. `idle`: seconds without a message after which Deepgram hangs up.
    """

    script: Script
    key: str = KEY
    answers_finalize: bool = True
    latency: float = 0.0
    idle: float = 10.0
    interim_seconds: float = 0.5
    received: list[tuple[float, str, Any]] = attrs.field(factory=list, init=False)
    queries: list[Sequence[tuple[str, str]]] = attrs.field(factory=list, init=False)
    ends: list[str] = attrs.field(factory=list, init=False)
    """Why each connection ended that we ended."""

    def admit(self, path: str, headers: Mapping[str, str]) -> int:
        target = urlsplit(path)
        query = parse_qsl(target.query, keep_blank_values=True)
        self.queries.append(query)
        values = dict(query)
        if headers.get("authorization") != f"Token {self.key}":
            return 401
        if target.path != "/v1/listen":
            return 404
        good = (
            set(values) <= LISTEN_PARAMETERS
            and values.get("model", "").startswith(LISTEN_MODELS)
            and values.get("encoding") == "linear16"
            and values.get("sample_rate", "").isdigit()
        )
        return SWITCHING if good else 400

    async def run(self, connection: PeerConnection) -> None:
        await _Listening(self, connection, dict(parse_qsl(urlsplit(connection.request_path).query))).run()

    def count(self, kind: str) -> int:
        """How often this came."""
        return sum(1 for _at, what, _value in self.received if what == kind)

    @property
    def audio(self) -> bytes:
        """All audio that came, of all connections."""
        return b"".join(value for _at, kind, value in self.received if kind == "audio")


@attrs.define(eq=False)
class _Listening:
    """One connection."""

    fake: DeepgramListen
    connection: PeerConnection
    query: Mapping[str, str]
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _final: int = attrs.field(default=0, init=False)
    """Bytes that final results are about."""
    _told: int = attrs.field(default=0, init=False)
    """Bytes that any result is about."""

    @property
    def _rate(self) -> int:
        return int(self.query["sample_rate"])

    async def run(self) -> None:
        until = trio.current_time() + self.fake.idle
        while True:
            if self._pcm:  # docs/audio-keep-alive: messages alone do not keep a connection alive
                until = trio.current_time() + self.fake.idle
            with trio.move_on_at(until):
                if not await self._take(await self.connection.receive()):
                    return
                continue
            # docs/stt-troubleshooting-websocket-data-and-net-errors
            await self._hang_up(
                1011,
                "Deepgram did not receive audio data or a text message within the timeout window. See"
                " https://dpgr.am/net0001",
            )
            return

    async def _take(self, message: str | bytes) -> bool:
        now = trio.current_time()
        if isinstance(message, bytes):
            self.fake.received.append((now, "audio", message))
            if not message:
                await self._hang_up(1011, "an empty message ends the stream")
                return False
            self._pcm += message
            await self._tell_interim()
            return True
        fields = json.loads(message)
        kind = fields.get("type")
        self.fake.received.append((now, kind, fields))
        if not set(fields) <= LISTEN_FIELDS.get(kind, set()):
            await self._hang_up(1008, "DATA-0000")
            return False
        if kind == "Finalize" and self.fake.answers_finalize and self._final < len(self._pcm):
            await self._tell(is_final=True, from_finalize=True)
        if kind == "CloseStream":
            await self._tell(is_final=True)
            # docs/close-stream
            await self.connection.send(
                {
                    "type": "Metadata",
                    "transaction_key": "deprecated",
                    "request_id": "8c8ebea9-dbec-45fa-a035-e4632cb05b5f",
                    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                    "created": "2024-08-29T22:37:55.202Z",
                    "duration": len(self._pcm) / 2 / self._rate,
                    "channels": 1,
                }
            )
        return bool(kind != "CloseStream")

    async def _tell_interim(self) -> None:
        if self.query.get("interim_results") != "true":
            return
        if len(self._pcm) - self._told >= self.fake.interim_seconds * self._rate * 2:
            await self._tell(is_final=False)

    async def _tell(self, *, is_final: bool, from_finalize: bool = False) -> None:
        """A result about all that is not final. docs/live-streaming-audio"""
        start, end = self._final / 2 / self._rate, len(self._pcm) / 2 / self._rate
        heard = self.fake.script.words(bytes(self._pcm[self._final :]), self._rate, over=is_final)
        words = [
            {
                "word": word.word.lower().strip(".,?!"),
                "start": round(start + word.start, 7),
                "end": round(start + word.end, 7),
                "confidence": 0.99782443,
                "punctuated_word": word.word,
            }
            for word in heard
        ]
        if is_final:
            self._final = len(self._pcm)
            await trio.sleep(self.fake.latency)
        self._told = len(self._pcm)
        await self.connection.send(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "duration": round(end - start, 2),
                "start": round(start, 2),
                "is_final": is_final,
                "speech_final": False,
                "channel": {
                    "alternatives": [
                        {"transcript": " ".join(word.word for word in heard), "confidence": 0.99964225, "words": words}
                    ]
                },
                "metadata": {
                    "request_id": "52cc0efe-fa77-4aa7-b79c-0dda09de2f14",
                    "model_info": {"name": "2-general-nova", "version": "2024-01-18.26916", "arch": "nova-2"},
                    "model_uuid": "c0d1a568-ce81-4fea-97e7-bd45cb1fdf3c",
                },
                "from_finalize": from_finalize,
            }
        )

    async def _hang_up(self, code: int, reason: str) -> None:
        self.fake.ends.append(reason)
        try:
            await self.connection.close(code, reason)
        except PeerGone:
            pass  # it was faster


@attrs.define(eq=False)
class DeepgramSpeak:
    """The text to speech: `answer` is the handler of an HttpPeer. Audio goes in pieces of `piece` bytes, `pause`
    seconds apart."""

    key: str = KEY
    piece: int = 3001
    pause: float = 0.0
    texts: list[tuple[float, str]] = attrs.field(factory=list, init=False)
    """What was to be spoken, and when."""

    async def answer(self, exchange: HttpExchange) -> None:
        request, query = exchange.request, dict(exchange.request.query)
        if (request.method, request.path) != ("POST", "/v1/speak"):
            return await exchange.answer(404, {"err_code": "NOT_FOUND", "err_msg": request.path, "request_id": "uuid"})
        if request.headers.get("authorization") != f"Token {self.key}":
            return await exchange.answer(401, INVALID_AUTH)
        if complaint := _speak_complaint(query, request.headers, request.body):
            return await exchange.answer(
                400, {"err_code": "INVALID_QUERY_PARAMETER", "err_msg": complaint, "request_id": "uuid"}
            )
        text = request.json()["text"]
        self.texts.append((request.at, text))
        if len(text) > LONGEST_TEXT:
            return await exchange.answer(413, TOO_LONG)
        rate = int(query["sample_rate"])
        # docs/text-to-speech, docs/tts-media-output-settings
        await exchange.begin(200, f"audio/l16;rate={rate}", dg_model_name=query["model"], dg_char_count=str(len(text)))
        await send_in_pieces(exchange, tone(text, rate), self.piece, self.pause)
        return None


def _speak_complaint(query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> str:
    if unknown := set(query) - SPEAK_PARAMETERS:
        return f"Failed to deserialize query parameters: unknown {unknown}"
    if query.get("encoding") != "linear16" or query.get("container") != "none":
        return "this fake speaks raw linear16 only"
    if query.get("sample_rate") not in SPEAK_RATES or not query.get("model"):
        return "Unsupported audio format: sample_rate, or no model"
    if not query["model"].startswith("aura-"):  # https://developers.deepgram.com/docs/tts-models; flux: /v2/speak
        return "No such model/version combination found."
    if headers.get("content-type") != "application/json":
        return f"content type {headers.get('content-type')}"
    fields = json.loads(body)
    if set(fields) != {"text"}:
        return "Failed to deserialize JSON payload. Please specify exactly one of `text` or `url` in the JSON body."
    return "" if fields["text"].strip() else "Input text contains no characters."


async def send_in_pieces(exchange: HttpExchange, body: bytes, piece: int, pause: float) -> None:
    """The rest of an answer, in pieces."""
    for begin in range(0, len(body), piece):
        if begin and pause:
            await trio.sleep(pause)
        await exchange.send(body[begin : begin + piece])
    await exchange.end()
