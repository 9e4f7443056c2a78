"""Reading a WAV file that is still being written: what the header tells, and the samples as they come. Pure.

The form is RIFF's (Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991), and RF64's
(EBU Tech 3306). Servers that stream write a header before they know its sizes, so a size is judged by what comes:
placeholders are none, what follows the samples is more of them unless it is a chunk, and another file may begin there,
with another rate. Python's `wave` waits for the whole header in a file that can be read on demand, which a stream of
pieces is not.
"""

import struct
from collections.abc import Generator
from typing import Final, NoReturn

import attrs
import numpy as np
import numpy.typing as npt

from agentd.audio.g711 import alaw_to_slin, ulaw_to_slin
from agentd.errors import ProviderProtocolError

LONGEST_HEADER = 64 * 1024
"""Bytes before the samples: a header has 44, more where there are notes."""
PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
WIDTHS: Final = {PCM: (8, 16, 24, 32), FLOAT: (32, 64), ALAW: (8,), ULAW: (8,)}
"""Bits of a sample, by the format's tag (RFC 2361)."""
MOST_CHANNELS = 8
FORMS: Final = (b"RIFF", b"RF64", b"BW64")
MARK: Final = b"WAVEfmt "
"""What stands at the ninth byte of nearly every WAV file: so one that begins amid samples is found."""
MARK_AT: Final = 8
SLACK_MS = 20
"""So much may be missing of what a header tells: some count the header itself."""

Run = tuple[int, bytes]
"""A rate in Hz, and slin at that rate."""


@attrs.frozen
class SampleFormat:
    """How samples are written down: the format's tag, the channels, and the bits of one sample."""

    tag: int
    channels: int
    bits: int

    @property
    def block(self) -> int:
        """Bytes of one moment: a sample of each channel."""
        return self.channels * self.bits // 8

    def slin(self, data: bytes) -> bytes:
        """Whole blocks as slin of one channel: the mean of all."""
        if (self.tag, self.bits, self.channels) == (PCM, 16, 1):
            return data
        samples = self._samples(data).reshape(-1, self.channels)
        mean: npt.NDArray[np.float64] = samples.mean(axis=1)
        return bytes(np.clip(np.rint(mean), -32768, 32767).astype("<i2").tobytes())

    def _samples(self, data: bytes) -> npt.NDArray[np.float64]:
        """The samples, on slin's scale."""
        match self.tag, self.bits:
            case (1, 16):
                return np.frombuffer(data, "<i2").astype(np.float64)
            case (1, 8):
                return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) * 256
            case (1, 24):
                three = np.frombuffer(data, np.uint8).reshape(-1, 3)
                wide = np.zeros((len(three), 4), np.uint8)
                wide[:, 1:] = three
                return wide.reshape(-1).view("<i4") / 65536
            case (1, 32):
                return np.frombuffer(data, "<i4") / 65536
            case (3, bits):
                real = np.frombuffer(data, "<f4" if bits == 32 else "<f8").astype(np.float64)
                return np.nan_to_num(np.clip(real, -1, 1)) * 32768
            case (6, _):
                return np.frombuffer(alaw_to_slin(data), "<i2").astype(np.float64)
            case _:
                return np.frombuffer(ulaw_to_slin(data), "<i2").astype(np.float64)


@attrs.define
class WavReader:
    """Feed it pieces of any length; `vendor` is for messages. A size of more than `limit` bytes is a placeholder: so
    much is never sent."""

    vendor: str
    limit: int
    rate: int = attrs.field(default=0, init=False)
    """Hz, once a header has come; before that 0."""
    _format: SampleFormat = attrs.field(default=SampleFormat(PCM, 1, 16), init=False)
    _waiting: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    """Bytes that cannot be told yet: a header's, the end of the samples, or a cut sample."""
    _before: int = attrs.field(default=0, init=False)
    """Bytes of chunks that were passed over since the samples, or the beginning."""
    _where: str = attrs.field(default="form", init=False)
    """form: a file begins; chunks: of its header; samples; after: behind them; notes: a chunk that is passed over."""
    _left: int | None = attrs.field(default=None, init=False)
    """Bytes that are still to come of the samples, None where nobody tells; or of the notes."""
    _told: int = attrs.field(default=0, init=False)
    """What the header tells of the samples' size; 0: nothing."""
    _long_size: int = attrs.field(default=0, init=False)
    """RF64's size of the samples."""

    def feed(self, data: bytes) -> list[Run]:
        """Take a piece of the file; gives the samples in it, as rates in Hz and slin at that rate.

        Raises ProviderProtocolError where this is no WAV file, or one whose samples nobody here can read.
        """
        self._waiting += data
        return [run for run in self._runs(False) if run[1]]

    def end(self) -> list[Run]:
        """Nothing follows: what was held back."""
        return [run for run in self._runs(True) if run[1]]

    @property
    def missing(self) -> str:
        """What the header promised and did not come, after `end`; empty where nothing is missing."""
        if self._where in ("form", "chunks"):
            return "it ends in its header"
        slack = self.rate * self._format.block * SLACK_MS // 1000
        if self._where == "samples" and (self._left or 0) > slack:
            return f"it ends {self._left} bytes before the {self._told} that its header tells"
        return ""

    def _runs(self, complete: bool) -> Generator[Run]:
        going = True
        while going:
            match self._where:
                case "form":
                    going = self._read_form()
                case "chunks":
                    going = self._read_chunk()
                case "samples":
                    going = yield from self._read_samples(complete)
                case "after":
                    going = yield from self._look_behind(complete)
                case _:
                    going = self._pass_over()

    def _read_form(self) -> bool:
        begins = bytes(self._waiting[:12])
        if not (any(form.startswith(begins[:4]) for form in FORMS) and b"WAVE".startswith(begins[8:])):
            self._fail(f"it begins with {begins!r}")
        if len(begins) < 12:
            return False
        del self._waiting[:12]
        self._where, self._before, self._long_size, self.rate = "chunks", 12, 0, 0
        return True

    def _read_chunk(self) -> bool:
        if len(self._waiting) < 8:
            return False
        name, size = struct.unpack_from("<4sI", self._waiting)
        if name == b"data":
            if not self.rate:
                self._fail("its samples come before their format")
            self._begin_samples(size)
            return True
        if size > LONGEST_HEADER:
            self._fail(f"there is a chunk {name!r} of {size} bytes before the samples")
        end = 8 + size + size % 2
        if self._before + end > LONGEST_HEADER:
            self._fail(f"there are no samples within {LONGEST_HEADER} bytes")
        if len(self._waiting) < end:
            return False
        content = bytes(self._waiting[8 : 8 + size])
        if name == b"fmt ":
            self._read_format(content)
        elif name == b"ds64" and size >= 16:
            (self._long_size,) = struct.unpack_from("<Q", content, 8)
        del self._waiting[:end]
        self._before += end
        return True

    def _read_format(self, chunk: bytes) -> None:
        if len(chunk) < 16:
            self._fail(f"its format has {len(chunk)} bytes")
        tag, channels, rate, _bytes_a_second, _block, bits = struct.unpack_from("<HHIIHH", chunk)
        if tag == EXTENSIBLE and len(chunk) >= 26:
            (tag,) = struct.unpack_from("<H", chunk, 24)
        if bits not in WIDTHS.get(tag, ()) or not 0 < channels <= MOST_CHANNELS or not rate:
            self._fail(f"it has format {tag}, {channels} channels, {bits} bits, {rate} Hz")
        self.rate, self._format = rate, SampleFormat(tag, channels, bits)

    def _begin_samples(self, size: int) -> None:
        del self._waiting[:8]
        if size == 0xFFFFFFFF and self._long_size:
            size = self._long_size
        known = 0 < size <= self.limit
        self._where, self._told = "samples", size if known else 0
        self._left = size if known else None
        if size == 0:
            self._where = "after"  # nothing follows, or nobody knew how much would

    def _read_samples(self, complete: bool) -> Generator[Run, None, bool]:
        if self._left is None:
            return (yield from self._read_unsized(complete))
        room = min(self._left, len(self._waiting))
        last = room == self._left
        usable = room - room % self._format.block
        yield self.rate, self._format.slin(bytes(self._waiting[:usable]))
        del self._waiting[: room if last else usable]
        self._left -= room if last else usable
        if not last:
            return False
        self._where = "after"
        return True

    def _read_unsized(self, complete: bool) -> Generator[Run, None, bool]:
        """Samples of which nobody tells how many they are: until the end, or until another file begins."""
        found = self._waiting.find(MARK)
        another = found - MARK_AT
        if found >= MARK_AT and bytes(self._waiting[another : another + 4]) in FORMS:
            yield self.rate, self._whole(bytes(self._waiting[:another]))
            del self._waiting[:another]
            self._where = "form"
            return True
        usable = len(self._waiting) - (0 if complete else MARK_AT + len(MARK) - 1)
        usable -= usable % self._format.block
        if usable > 0:
            yield self.rate, self._format.slin(bytes(self._waiting[:usable]))
            del self._waiting[:usable]
        return False

    def _look_behind(self, complete: bool) -> Generator[Run, None, bool]:
        """What stands behind the samples: a chunk, another file, or more samples, whose size was told wrongly."""
        yield from ()
        if self._told % 2 and self._waiting[:1] == b"\0" and len(self._waiting) > 1:
            del self._waiting[:1]  # a chunk of odd length has a byte behind it
        self._told -= self._told % 2
        if len(self._waiting) < 12 and not complete:
            return False
        name, size = bytes(self._waiting[:4]), int.from_bytes(self._waiting[4:8], "little")
        if name in FORMS and self._waiting[8:12] == b"WAVE":
            self._where = "form"
        elif len(self._waiting) < 8:
            return False  # less than a few samples, or padding
        elif name == b"data":
            self._begin_samples(size)
        elif all(0x20 <= each < 0x7F for each in name) and size <= LONGEST_HEADER:
            self._where, self._left = "notes", 8 + size + size % 2
        else:
            self._where, self._left = "samples", None
        return True

    def _pass_over(self) -> bool:
        passed = min(self._left or 0, len(self._waiting))
        del self._waiting[:passed]
        self._left = (self._left or 0) - passed
        if self._left or not passed:
            return False
        self._where = "after"
        return True

    def _whole(self, data: bytes) -> bytes:
        return self._format.slin(data[: len(data) - len(data) % self._format.block])

    def _fail(self, what: str) -> NoReturn:
        raise ProviderProtocolError(f"{self.vendor}: expected a WAV file, but {what}")
