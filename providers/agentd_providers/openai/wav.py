"""Reading a WAV file that is still being written: what the header tells, then the samples as they come. Pure.

The form is RIFF's (Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991). The sizes of
a stream's header are placeholders, since nobody knew them when it was written. Python's `wave` waits for the whole
header in a file that can be read on demand, which a stream of pieces is not.
"""

import struct
from typing import NoReturn

import attrs

from agentd.errors import ProviderProtocolError

LONGEST_HEADER = 64 * 1024
"""Bytes before the samples: a header has 44, more where there are notes."""
PCM, EXTENSIBLE = 0x0001, 0xFFFE
SHORTEST_PLACEHOLDER = 0x7FFFF000
"""A size from here on is none: so much is never sent."""


@attrs.define
class WavReader:
    """Feed it pieces of any length. `vendor` is for messages."""

    vendor: str
    rate: int = attrs.field(default=0, init=False)
    """Hz, once the header has come; before that 0."""
    _header: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _position: int = attrs.field(default=0, init=False)
    """Of the next chunk in `_header`."""
    _in_samples: bool = attrs.field(default=False, init=False)
    _left: int | None = attrs.field(default=None, init=False)
    """Bytes of samples that are still to come, None where the header does not tell."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the file; gives the samples in it (slin, perhaps half a sample at the end).

        Raises ProviderProtocolError where this is no WAV file of one channel with 16 bits.
        """
        if not self._in_samples:
            self._header += data
            self._in_samples = self._header_is_complete()
            if (self._position if self._in_samples else len(self._header)) > LONGEST_HEADER:
                self._fail(f"there are no samples within {LONGEST_HEADER} bytes")
            if not self._in_samples:
                return b""
            data = bytes(self._header[self._position :])
            self._header.clear()
        if self._left is not None:
            data = data[: self._left]  # what follows the samples are notes
            self._left -= len(data)
        return data

    def _header_is_complete(self) -> bool:
        header = self._header
        begins = bytes(header[:12])
        if not (b"RIFF".startswith(begins[:4]) and b"WAVE".startswith(begins[8:])):
            self._fail(f"it begins with {begins!r}")
        self._position = self._position or 12
        while len(header) >= self._position + 8:
            name, size = struct.unpack_from("<4sI", header, self._position)
            begin = self._position + 8
            if name == b"data":
                if not self.rate:
                    self._fail("its samples come before their format")
                self._position = begin
                self._left = size if 0 < size < SHORTEST_PLACEHOLDER else None
                return True
            if size > LONGEST_HEADER:
                self._fail(f"there is a chunk {name!r} of {size} bytes before the samples")
            end = begin + size + size % 2
            if len(header) < end:
                break
            if name == b"fmt ":
                self._read_format(header[begin:end])
            self._position = end
        return False

    def _read_format(self, chunk: bytearray) -> None:
        if len(chunk) < 16:
            self._fail(f"its format has {len(chunk)} bytes")
        tag, channels, rate, _bytes_a_second, _block, bits = struct.unpack_from("<HHIIHH", chunk)
        if tag == EXTENSIBLE and len(chunk) >= 26:
            (tag,) = struct.unpack_from("<H", chunk, 24)
        if (tag, channels, bits) != (PCM, 1, 16) or not rate:
            self._fail(f"it has format {tag}, {channels} channels, {bits} bits, {rate} Hz")
        self.rate = rate

    def _fail(self, what: str) -> NoReturn:
        raise ProviderProtocolError(f"{self.vendor}: expected a WAV file of one channel with 16 bits, but {what}")
