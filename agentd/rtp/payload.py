"""What RTP packets of Asterisk's externalMedia carry: payload types, and slin to and from the wire. Pure.

There is no SDP, so both ends have to know the types: u-law and A-law are static (RFC 3551, section 6). 10 and 11 are
both slin to Asterisk (main/rtp_engine.c, add_static_payload), and 10 is what it sends; L16 is big-endian on the wire
(RFC 3551, section 4.5.11; res_rtp_asterisk.c swaps it). Types beyond 34 it sends, and takes none of them
(ast_rtp_codecs_get_payload; asterisk/documentation issue 142): so slin16 would be one-way, and a line has 8 kHz.
Releases before the fix of asterisk issue 394 send u-law where slin was asked for, so what comes is read by its type.
"""

from collections.abc import Callable, Mapping

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

    @property
    def name(self) -> str:
        """Asterisk's name of it, as externalMedia's `format` takes it."""
        return str(self.audio)


PAYLOADS = {
    payload.name: payload
    for payload in (
        Payload(AudioFormat(Encoding.ULAW, 8000), 0, slin_to_ulaw, ulaw_to_slin),
        Payload(AudioFormat(Encoding.ALAW, 8000), 8, slin_to_alaw, alaw_to_slin),
        Payload(AudioFormat(Encoding.SLIN, 8000), 11, swapped, swapped),
    )
}
"""By Asterisk's name."""
DECODERS: Mapping[int, Callable[[bytes], bytes]] = {
    10: swapped,
    **{payload.payload_type: payload.decode for payload in PAYLOADS.values()},
}
"""What makes slin of a payload, by its type."""
