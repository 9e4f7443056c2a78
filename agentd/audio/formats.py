"""Audio formats under the names that Asterisk gives them (`core show codecs`; main/codec_builtin.c)."""

import enum
from typing import Self

import attrs

FRAME_MS = 20
"""Length in milliseconds of one frame on the line."""


class Encoding(enum.Enum):
    """How one sample is written down: linear 16-bit, or companded to 8 bits (ITU-T G.711)."""

    SLIN = "slin"
    ULAW = "ulaw"
    ALAW = "alaw"


_SILENCE_BYTE = {Encoding.SLIN: 0x00, Encoding.ULAW: 0xFF, Encoding.ALAW: 0xD5}

_SLIN_RATES = {
    "slin": 8000,
    "slin12": 12000,
    "slin16": 16000,
    "slin24": 24000,
    "slin32": 32000,
    "slin44": 44100,
    "slin48": 48000,
    "slin96": 96000,
    "slin192": 192000,
}
_SLIN_NAMES = {rate: name for name, rate in _SLIN_RATES.items()}
FORMAT_NAMES = (*_SLIN_RATES, Encoding.ULAW.value, Encoding.ALAW.value)
"""Every name that `AudioFormat.parse` knows."""


@attrs.frozen
class AudioFormat:
    """The format of one leg: an encoding and a sampling rate that Asterisk has a name for; always mono.

    `rate` is in Hz. `str()` gives Asterisk's name, `parse` reads it.

    Raises:
        ValueError: the rate is not one that Asterisk knows for this encoding.
    """

    encoding: Encoding
    rate: int

    def __attrs_post_init__(self) -> None:
        known = tuple(_SLIN_NAMES) if self.encoding is Encoding.SLIN else (8000,)
        if self.rate not in known:
            raise ValueError(
                f"{self.encoding.value} at {self.rate} Hz is no format of Asterisk's: "
                f"use one of {', '.join(map(str, known))} Hz, or resample first"
            )

    @classmethod
    def parse(cls, name: str) -> Self:
        """The format that Asterisk calls `name`, as in `slin`, `slin16` or `ulaw`.

        Raises:
            ValueError: no such format; the message lists those there are.
        """
        if name in _SLIN_RATES:
            return cls(Encoding.SLIN, _SLIN_RATES[name])
        if name in FORMAT_NAMES:
            return cls(Encoding(name), 8000)
        raise ValueError(f"unknown audio format {name!r}: expected one of {', '.join(FORMAT_NAMES)}")

    def __str__(self) -> str:
        return _SLIN_NAMES[self.rate] if self.encoding is Encoding.SLIN else self.encoding.value

    @property
    def bytes_per_sample(self) -> int:
        """2 for slin, 1 for the companded encodings."""
        return 2 if self.encoding is Encoding.SLIN else 1

    @property
    def bytes_per_second(self) -> int:
        """Bytes of one second of audio."""
        return self.rate * self.bytes_per_sample

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of 20 ms."""
        return self.bytes_per_second * FRAME_MS // 1000

    @property
    def silence_byte(self) -> int:
        """The byte that, repeated, is silence (as a number from 0 to 255)."""
        return _SILENCE_BYTE[self.encoding]

    @property
    def silence_frame(self) -> bytes:
        """One frame of 20 ms of silence."""
        return bytes([self.silence_byte]) * self.frame_bytes


SLIN8 = AudioFormat(Encoding.SLIN, 8000)
"""The format that the dialplan application AudioSocket() always sends."""
