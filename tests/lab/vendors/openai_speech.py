"""OpenAI's speech services as its API reference has them, with scripted words and a tone for a voice.

platform.openai.com/docs/api-reference/audio (createTranscription, createSpeech). An unknown field is refused.
"""

import io
import json
import struct
import time
import wave
from collections.abc import Collection, Mapping

import attrs

from .deepgram_speech import send_in_pieces
from .http_peer import HttpExchange, Part
from .model_list import model_list
from .scripted_words import Script, tone

KEY = "sk-very-secret"
TRANSCRIPTION_FIELDS = {
    "file", "model", "language", "prompt", "response_format", "temperature", "stream", "languages[]", "keywords[]",
    "chunking_strategy", "include[]", "timestamp_granularities[]",
}  # fmt: skip
TRANSCRIPTION_MODELS = {
    "whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
}  # fmt: skip
"""openai 3.57, types/audio_model.py."""
UNSTREAMED = {"whisper-1"}
"""For these `stream` is ignored (createTranscription; the events are TranscriptTextDeltaEvent and
TranscriptTextDoneEvent)."""
SPEECH_MODELS = {"tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"}
"""openai 3.57, types/audio/speech_model.py: all of them end in January 2027."""
COMPATIBLE = "kokoro"
"""What a compatible server calls its one model, with OpenAI's names of voices
(https://github.com/remsky/Kokoro-FastAPI)."""
VOICES = {
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "onyx",
    "nova",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
}
WAV_TYPES = ("audio/wav", "audio/x-wav")
SPEECH_FIELDS = {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
LONGEST_INPUT = 4096
SHORTEST_SECONDS = 0.1


def _error(message: str, code: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


@attrs.define(eq=False)
class OpenAiSpeech:
    """Both services below /v1: `answer` is the handler of an HttpPeer. An empty `key`: none is asked for, as servers of
    one's own do.

    `rate` is that of the voice; a wav is sent as it is being made, with `wav_size` for its sizes, in pieces of `piece`
    bytes, `pause` seconds apart.
    """

    script: Script = attrs.field(factory=lambda: Script(("yes",)))
    key: str = KEY
    speech_models: Collection[str] = (COMPATIBLE,)
    """Those that it speaks with: a compatible server's, for OpenAI's own have no successor. SPEECH_MODELS: OpenAI's."""
    rate: int = 24000
    wav_size: int = 0xFFFFFFFF
    piece: int = 3001
    pause: float = 0.0
    heard: list[tuple[float, float, str]] = attrs.field(factory=list, init=False)
    """Of each transcription: second of the monotonic clock, seconds of audio, words."""
    texts: list[tuple[float, str]] = attrs.field(factory=list, init=False)
    """What was to be spoken, and when."""
    spoken_at: list[float] = attrs.field(factory=list, init=False)
    """When the first audio of each of these was sent (time.monotonic())."""

    async def answer(self, exchange: HttpExchange) -> None:
        request = exchange.request
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            await exchange.answer(401, _error(f"Incorrect API key provided: {self.key}", "invalid_api_key"))
        elif (request.method, request.path) == ("GET", "/v1/models"):
            await exchange.answer(
                200, model_list(dict.fromkeys(sorted(TRANSCRIPTION_MODELS | set(self.speech_models))))
            )
        elif (request.method, request.path) == ("POST", "/v1/audio/transcriptions"):
            await self._transcribe(exchange)
        elif (request.method, request.path) == ("POST", "/v1/audio/speech"):
            await self._speak(exchange)
        else:
            await exchange.answer(404, _error(f"Invalid URL ({request.method} {request.path})"))

    async def _transcribe(self, exchange: HttpExchange) -> None:
        form = exchange.request.form()
        if complaint := _transcription_complaint(form, own=not self.key):
            await exchange.answer(400, _error(complaint))
            return
        with wave.open(io.BytesIO(form["file"].content)) as wav:
            rate, pcm = wav.getframerate(), wav.readframes(wav.getnframes())
        seconds = len(pcm) / 2 / rate
        if seconds < SHORTEST_SECONDS:
            await exchange.answer(400, _error("Audio file is too short. Minimum audio length is 0.1 seconds."))
            return
        text = " ".join(word.word for word in self.script.words(pcm, rate))
        self.heard.append((exchange.request.at, seconds, text))
        if "stream" in form and form["stream"].text == "true" and form["model"].text not in UNSTREAMED:
            await exchange.begin(200, "text/event-stream")
            events = [{"type": "transcript.text.delta", "delta": f"{word} "} for word in text.split()]
            for event in (*events, {"type": "transcript.text.done", "text": text}):
                await exchange.send(f"data: {json.dumps(event)}\n\n".encode())
            await exchange.end()
            return
        await exchange.answer(200, {"text": text, "usage": {"type": "duration", "seconds": round(seconds)}})

    async def _speak(self, exchange: HttpExchange) -> None:
        fields = exchange.request.json()
        text = fields.get("input", "")
        self.texts.append((exchange.request.at, text))
        if complaint := speech_complaint(fields, self.speech_models, own=not self.key):
            await exchange.answer(400, _error(complaint))
            return
        audio, kind = tone(text, self.rate), fields["response_format"]
        if kind == "wav":
            audio = wav_header(self.rate, self.wav_size) + audio
        await exchange.begin(200, f"audio/{kind}")
        self.spoken_at.append(time.monotonic())
        await send_in_pieces(exchange, audio, self.piece, self.pause)


def _transcription_complaint(form: Mapping[str, Part], *, own: bool) -> str:
    """`own`: a server of one's own, whose models have names of their own."""
    if unknown := set(form) - TRANSCRIPTION_FIELDS:
        return f"Unknown parameter: {unknown}"
    if missing := {"file", "model"} - set(form):
        return f"you must provide {missing}"
    if not form["file"].filename.endswith(".wav") or form["file"].content_type not in WAV_TYPES:
        return "Invalid file format."
    if "language" in form and len(form["language"].text) != 2:
        return "Invalid language. Language parameter must be specified in ISO-639-1 format."
    model = form["model"].text
    if not own and model not in TRANSCRIPTION_MODELS:
        return f"invalid model ID: {model}"
    # https://developers.openai.com/cookbook/examples/migrating_from_whisper_to_gpt_transcribe: "Do not send both"
    if ("language" if model == "gpt-transcribe" else "languages[]") in form:
        return f"language hint is not supported in this form for model {model}"
    return "" if form["response_format"].text == "json" else "response_format must be json"


def speech_complaint(fields: Mapping[str, object], models: Collection[str], *, own: bool) -> str:
    """Why a request to speak is refused; empty: it is not. `own`: by a server of one's own."""
    if unknown := set(fields) - SPEECH_FIELDS:
        return f"Unknown parameter: {unknown}"
    if not all(isinstance(fields.get(name), str) and fields[name] for name in ("input", "voice")):
        return "you must provide model, input and voice"
    if not own and fields.get("model") not in models:
        return f"invalid model ID: {fields.get('model')}"
    if not own and fields["voice"] not in VOICES:
        return f"Input should be one of {sorted(VOICES)}"
    if len(str(fields["input"])) > LONGEST_INPUT:
        return f"string too long. Expected a string with maximum length {LONGEST_INPUT}"
    return "" if fields.get("response_format") in ("wav", "pcm") else "this fake speaks wav and pcm only"


def wav_header(rate: int, size: int) -> bytes:
    """The header of a WAV file of one channel with 16 bits whose sizes are given as `size`."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", size
    )
