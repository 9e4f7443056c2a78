"""The body of an answer that should be audio, judged by what comes and not by what its headers say. Pure.

Servers call a WAV audio/mpeg, send a WAV where raw samples were asked for, an MP3 where a WAV was, or an error's text
with status 200. What can be played is; all else is told, and never played as noise.
"""

from typing import Final, NoReturn

import attrs

from agentd.audio.resample import RATES, Resampler
from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.wav import FORMS, WavReader

WAV, RAW = "WAV", "raw samples"
SIGNATURES: Final = {
    b"ID3": "MP3",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"FORM": "AIFF",
    b"RIFX": "a WAV of big-endian numbers",
    b"\x1aE\xdf\xa3": "WebM",
    b".snd": "AU",
    b"\x1f\x8b\x08": "gzip",
}
"""How files begin that are no samples."""
MP4: Final = b"ftyp"
MP4_AT: Final = 4
SHORTEST_HEAD: Final = 12
"""Bytes that every signature fits into."""
MOST_CUT: Final = 3
"""Bytes of a character of UTF-8 that its cut beginning has at the most."""
TEXT_LENGTH: Final = 32
"""So many bytes of nothing but text are text: as samples they would be loud from the first on."""
MPEG_KBPS: Final = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""ISO 11172-3, 2.4.2.3, and ISO 13818-3: layer III, by whether it is MPEG 1."""


@attrs.define(eq=False)
class AudioBody:
    """Feed it the body's pieces; it gives slin at `rate` Hz. `raw_rate`: Hz of raw samples where those were asked for,
    0 where a WAV was. `limit`: bytes that a body may have."""

    vendor: str
    rate: int
    raw_rate: int
    limit: int
    _head: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _kind: str = attrs.field(default="", init=False)
    _wav: WavReader = attrs.field(init=False)
    _resampler: Resampler | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._wav = WavReader(self.vendor, self.limit)

    def feed(self, data: bytes) -> bytes:
        """Take more bytes; gives the whole samples that are ready. Raises ProviderProtocolError."""
        if not self._kind:
            self._head += data
            if (kind := judge(bytes(self._head), complete=False)) is None:
                return b""
            data = self._begin(kind)
        return self._convert(self._wav.feed(data) if self._kind == WAV else [(self.raw_rate, data)])

    def flush(self) -> bytes:
        """The rest, at the end. Raises ProviderProtocolError where it was too short to be told until now."""
        rest = b""
        if not self._kind and self._head:
            data = self._begin(judge(bytes(self._head), complete=True) or RAW)
            rest = self._convert(self._wav.feed(data) if self._kind == WAV else [(self.raw_rate, data)])
        if self._kind == WAV:
            rest += self._convert(self._wav.end())
        return rest + (self._resampler.flush() if self._resampler is not None else b"")

    def check(self) -> None:
        """After `flush`. Raises ProviderProtocolError where less came than the body itself promises."""
        if self._kind == WAV and (missing := self._wav.missing):
            raise ProviderProtocolError(f"{self.vendor}: the audio is cut: {missing}")

    def _begin(self, kind: str) -> bytes:
        head, self._kind = bytes(self._head), kind
        self._head.clear()
        if kind == RAW and not self.raw_rate:
            self._fail(f"it begins with {head[:12]!r}")
        if kind not in (WAV, RAW):
            self._fail(f"it is {kind}")
        return head

    def _convert(self, runs: list[tuple[int, bytes]]) -> bytes:
        out = b""
        for rate, pcm in runs:
            if self._resampler is None or self._resampler.source_hz != rate:
                if rate not in RATES:
                    raise ProviderProtocolError(f"{self.vendor}: audio at {rate} Hz, expected one of {RATES}")
                out += self._resampler.flush() if self._resampler is not None else b""
                self._resampler = Resampler(rate, self.rate)
            out += self._resampler.feed(pcm)
        return out

    def _fail(self, what: str) -> NoReturn:
        expected = f"samples of 16 bits at {self.raw_rate} Hz, or a WAV file" if self.raw_rate else "a WAV file"
        raise ProviderProtocolError(f"{self.vendor}: expected {expected}, but {what}")


def judge(head: bytes, *, complete: bool) -> str | None:
    """What a body is, by how it begins: WAV, RAW, or the name of something else. None: more of it is needed, which is
    never asked for where it is `complete`."""
    if not head:
        return None
    if any(form.startswith(head[:4]) for form in FORMS) and b"WAVE".startswith(head[8:12]):
        return WAV if len(head) >= 12 or complete else None
    if head[:4] in FORMS:
        return f"a RIFF file of the form {head[8:12]!r}"
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[MP4_AT : MP4_AT + len(MP4)] == MP4:
        return "MP4"
    if len(head) < SHORTEST_HEAD and not complete:
        return None
    if _is_text(begins := head[:TEXT_LENGTH]):
        return f"text: {begins.decode('utf-8', 'replace')!r}" if len(head) >= TEXT_LENGTH or complete else None
    if (found := _is_mpeg(head)) is None and not complete:
        return None
    return "MP3 or AAC" if found else RAW


def _is_text(begins: bytes) -> bool:
    text = begins.decode("utf-8", "replace").lstrip("\ufeff")
    whole = text.rstrip("\ufffd")  # a character may be cut at the end
    if not whole or len(text) - len(whole) > MOST_CUT or "\ufffd" in whole:
        return False
    return all(each.isprintable() or each in "\t\r\n" for each in whole)


def _is_mpeg(head: bytes) -> bool | None:
    """Whether two frames of MPEG audio stand here, one behind the other; None: more is needed to tell."""
    if len(head) < 6:
        return None if head[:1] == b"\xff" or not head else False
    if not (length := _mpeg_frame(head)):
        return False
    if len(head) < length + 2:
        return None
    return head[length] == 0xFF and head[length + 1] & 0xFE == head[1] & 0xFE


def _mpeg_frame(head: bytes) -> int:
    """Bytes of the frame that begins here; 0: none does."""
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    if head[1] & 0xF6 == 0xF0:  # AAC in ADTS, ISO 13818-7, 6.2
        return int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    kbps = MPEG_KBPS[version == 3][bitrate - 1]
    return (144000 if version == 3 else 72000) * kbps // hertz + (head[2] >> 1 & 1)
