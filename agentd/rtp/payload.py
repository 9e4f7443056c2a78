"""What RTP packets of Asterisk's externalMedia carry: payload types, and slin to and from the wire. Pure.

There is no SDP, so both ends have to know the types: u-law and A-law are static (RFC 3551, section 6), those of slin
are Asterisk's (main/rtp_engine.c, add_static_payload). To it, 10 is slin as well as 11, and 10 is what it sends. slin
is L16, so big-endian on the wire (RFC 3551, section 4.5.11; res_rtp_asterisk.c swaps it).
"""

from collections.abc import Callable

import attrs
import numpy as np

from agentd.audio.formats import AudioFormat, Encoding
from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin


def swapped(samples: bytes) -> bytes:
    """16-bit samples in the other byte order; half a sample at the end is left out."""
    return np.frombuffer(samples[: len(samples) & ~1], ">i2").astype("<i2").tobytes()


@attrs.frozen
class Payload:
    """How one format of the line is carried. `decode` takes any bytes and gives slin; `encode` takes whole samples."""

    audio: AudioFormat
    payload_type: int
    """What is sent."""
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]
    also: tuple[int, ...] = ()
    """Other types that mean the same when they come."""

    def has(self, payload_type: int) -> bool:
        """Whether packets of this type carry it."""
        return payload_type == self.payload_type or payload_type in self.also

    @property
    def name(self) -> str:
        """Asterisk's name of it, as externalMedia's `format` takes it."""
        return str(self.audio)


PAYLOADS = {
    payload.name: payload
    for payload in (
        Payload(AudioFormat(Encoding.ULAW, 8000), 0, slin_to_ulaw, ulaw_to_slin),
        Payload(AudioFormat(Encoding.ALAW, 8000), 8, slin_to_alaw, alaw_to_slin),
        Payload(AudioFormat(Encoding.SLIN, 8000), 11, swapped, swapped, also=(10,)),
        Payload(AudioFormat(Encoding.SLIN, 16000), 118, swapped, swapped),
    )
}
"""By Asterisk's name."""
