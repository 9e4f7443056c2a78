"""The Wyoming protocol, bytes in and events out. Pure.

An event is one line of JSON (`type`, and perhaps `data`, `data_length`, `payload_length`), then `data_length` bytes of
JSON which go over `data`, then `payload_length` bytes. Lengths count bytes. There is no version to agree on, and event
types that one does not know are passed over. Source: https://github.com/OHF-Voice/wyoming (README, "Format" and "Event
Types") and the package wyoming 1.10.2, which says `voices` where its README says `models`.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from agentd.audio.resample import RATES
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.parsing import load_json
from agentd_providers.vendor.wav import MOST_CHANNELS, PCM, SampleFormat

LONGEST_HEADER: Final = 64 * 1024
"""The longest header that peers on asyncio take, its line's end included; big data goes into the data block."""
LONGEST_TYPE: Final = 100
SHOWN: Final = 200
"""Characters of a peer's message that an error repeats."""

BUSY, REFUSED, NOT_FOUND, FAILED = "busy", "bad-request", "not-found", "engine-failed"
"""The codes of our own server's errors: no capacity, a request that breaks a rule, one for what it does not have, and
an engine that failed."""
_REJECTIONS: Final = frozenset({REFUSED, NOT_FOUND, "VoiceNotFoundError"})
"""Codes that trying again does not change; the last is wyoming-piper's."""


@attrs.frozen
class Event:
    """One event. `data` is the peer's and not to be trusted: the functions below take it apart."""

    type: str
    data: Mapping[str, Any] = attrs.field(factory=dict)
    payload: bytes = attrs.field(default=b"", repr=lambda payload: f"<{len(payload)} bytes>")


def encode(event: Event) -> bytes:
    """An event's bytes. All data is in its block, so that the header stays short."""
    header: dict[str, Any] = {"type": event.type}
    # Not as UTF-8: a text may hold half of a surrogate pair, which has no UTF-8.
    block = json.dumps(event.data).encode("ascii") if event.data else b""
    if block:
        header["data_length"] = len(block)
    if event.payload:
        header["payload_length"] = len(event.payload)
    return json.dumps(header).encode("ascii") + b"\n" + block + event.payload


@attrs.define
class Decoder:
    """Feed it bytes as they come; `next_event` gives what is complete.

    `max_data` and `max_payload` bound an event, in bytes. After a ProviderProtocolError the stream is lost: nothing
    tells where the next event begins.
    """

    max_data: int
    max_payload: int
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _searched: int = attrs.field(default=0, init=False)
    """The beginning of the buffer that is known to hold no end of line."""
    _header: "_Header | None" = attrs.field(default=None, init=False)

    def feed(self, data: bytes | bytearray) -> None:
        """Take more of the stream."""
        self._buffer += data

    @property
    def between_events(self) -> bool:
        """Whether the stream may end here."""
        return self._header is None and not self._buffer

    def next_event(self) -> Event | None:
        """The next event; None until more has been fed. Raises ProviderProtocolError."""
        if self._header is None:
            self._header = self._next_header()
        if self._header is None or len(self._buffer) < self._header.data_length + self._header.payload_length:
            return None
        header, self._header = self._header, None
        end = header.data_length + header.payload_length
        data = {**header.data, **(_json_object(self._buffer[: header.data_length]) if header.data_length else {})}
        event = Event(header.type, data, bytes(self._buffer[header.data_length : end]))
        del self._buffer[:end]
        return event

    def _next_header(self) -> "_Header | None":
        end = self._buffer.find(b"\n", self._searched)
        if (len(self._buffer) if end < 0 else end + 1) > LONGEST_HEADER:
            raise ProviderProtocolError(f"expected a line of at most {LONGEST_HEADER} bytes, got a longer one")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = self._buffer[:end]
        del self._buffer[: end + 1]
        self._searched = 0
        return self._parse_header(_json_object(line))

    def _parse_header(self, fields: Mapping[str, Any]) -> "_Header":
        kind, data = fields.get("type"), fields.get("data")
        if not isinstance(kind, str) or not 0 < len(kind) <= LONGEST_TYPE:
            raise ProviderProtocolError(f"expected an event with a type, got {_shown(fields)}")
        if data is not None and not isinstance(data, dict):
            raise ProviderProtocolError(f"{kind}: expected data to be an object, got {_shown(data)}")
        return _Header(
            kind,
            data or {},
            _length(kind, fields, "data_length", self.max_data),
            _length(kind, fields, "payload_length", self.max_payload),
        )


@attrs.frozen
class _Header:
    type: str
    data: Mapping[str, Any]
    data_length: int
    payload_length: int


def _length(kind: str, fields: Mapping[str, Any], name: str, most: int) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ProviderProtocolError(f"{kind}: expected {name} to be 0 to {most}, got {_shown(value)}")
    return value


def _json_object(raw: bytearray) -> Mapping[str, Any]:
    try:
        parsed = load_json(raw)
    except ValueError as error:
        raise ProviderProtocolError(f"expected a JSON object, got {bytes(raw[:SHOWN])!r}") from error
    if not isinstance(parsed, dict):
        raise ProviderProtocolError(f"expected a JSON object, got {bytes(raw[:SHOWN])!r}")
    return parsed


def _shown(value: object) -> str:
    return repr(value)[:SHOWN]


# --- events: audio


WIDTHS: Final = (2, 3, 4)
"""Bytes of a sample that is taken."""


@attrs.frozen
class AudioFormat:
    """Whole numbers of `width` bytes, of `channels`, at `rate` Hz. What we send is slin: 2 bytes of one channel."""

    rate: int
    width: int = 2
    channels: int = 1

    def as_data(self) -> dict[str, Any]:
        return {"rate": self.rate, "width": self.width, "channels": self.channels, "timestamp": None}

    @property
    def block(self) -> int:
        """Bytes of one moment: a sample of each channel."""
        return self.width * self.channels

    def slin(self, data: bytes) -> bytes:
        """Whole blocks as slin at the same rate: the mean of all channels."""
        return SampleFormat(PCM, self.channels, 8 * self.width).slin(data)


def audio_start(audio: AudioFormat) -> Event:
    """Audio of this format follows."""
    return Event("audio-start", audio.as_data())


def audio_chunk(audio: AudioFormat, pcm: bytes) -> Event:
    """A piece of audio."""
    return Event("audio-chunk", audio.as_data(), pcm)


def audio_stop() -> Event:
    """The audio is complete."""
    return Event("audio-stop", {"timestamp": None})


def audio_format(event: Event) -> AudioFormat:
    """The format that an audio-start or audio-chunk tells. Raises ProviderProtocolError for one that we do not take."""
    told = [event.data.get(name) for name in ("rate", "width", "channels")]
    numbers = [value for value in told if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) == len(told):
        rate, width, channels = numbers
        if rate in RATES and width in WIDTHS and 0 < channels <= MOST_CHANNELS:
            return AudioFormat(rate, width, channels)
    rate_told, width_told, channels_told = map(_shown, told)
    raise ProviderProtocolError(
        f"{event.type}: expected audio at one of {RATES} Hz, of {WIDTHS} bytes a sample and at most "
        f"{MOST_CHANNELS} channels, got {rate_told} Hz, {width_told} bytes, {channels_told} channels"
    )


# --- events: requests and answers


def describe() -> Event:
    """The question which engines the peer serves; `info` answers it."""
    return Event("describe")


def transcribe(language: str = "", model: str = "") -> Event:
    """Audio to be transcribed follows. Answered by `transcript`, once it has ended."""
    return Event("transcribe", {key: value for key, value in (("name", model), ("language", language)) if value})


def transcript(text: str) -> Event:
    """The words of the audio."""
    return Event("transcript", {"text": text})


def synthesize(text: str, voice: Mapping[str, str]) -> Event:
    """Speak a text. Answered by audio-start, audio-chunk, ..., audio-stop; for an empty text by audio-stop alone.
    `voice` has a name and perhaps a speaker, or a language; empty: the server's choice."""
    return Event("synthesize", {"text": text, "voice": voice} if voice else {"text": text})


def pong(text: str) -> Event:
    """The answer to a `ping` with this text."""
    return Event("pong", {"text": text})


def error(text: str, code: str) -> Event:
    """A request failed."""
    return Event("error", {"text": text, "code": code})


def text_of(event: Event, name: str = "text") -> str:
    """A text in an event's data; empty where it is absent. Raises ProviderProtocolError for what is no text."""
    value = event.data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProviderProtocolError(f"{event.type}: expected {name} to be a text, got {_shown(value)}")
    # Half of a surrogate pair is no character, and engines choke on it.
    return value.encode("utf-8", "replace").decode("utf-8")


def voice_of(event: Event) -> tuple[str, str]:
    """Name and language of the voice that a `synthesize` wants; empty where it leaves them open. Raises
    ProviderProtocolError."""
    voice = event.data.get("voice")
    if voice is None:
        return "", ""
    if not isinstance(voice, dict):
        raise ProviderProtocolError(f"{event.type}: expected voice to be an object, got {_shown(voice)}")
    wanted = Event(event.type, voice)
    return text_of(wanted, "name"), text_of(wanted, "language")


def failure_of(event: Event) -> ProviderError:
    """The meaning of an `error` event. Raises ProviderProtocolError."""
    text, code = text_of(event)[:SHOWN], text_of(event, "code")[:SHOWN]
    kind = ProviderRejected if code in _REJECTIONS else ProviderUnavailable
    return kind(f"the server says: {text or 'error'}" + (f" ({code})" if code else ""))
