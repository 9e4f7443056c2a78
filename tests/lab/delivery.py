"""How a telephone's packets come to leave it and to arrive: longer ones, none for silence, held up and then all at
once. Pure: told the time, no clock."""

from collections.abc import Sequence

import attrs
import numpy as np

from agentd.audio.g711 import slin_to_ulaw

from .rtp import PCMU, RtpPacket

COMFORT_NOISE = (13, "CN/8000")
"""RFC 3389; its payload is the level of the noise, in -dBov."""
NOISE_LEVEL = bytes([60])
SILENT_BELOW = 100
"""Samples of what counts as silence stay below this."""


@attrs.frozen
class Codec:
    """What a telephone offers; of those but u-law it sends `frame`, which no lab's Asterisk understands."""

    payload_type: int = PCMU
    name: str = "PCMU/8000"
    frame: bytes = b""
    """20 ms of it."""

    @property
    def offered(self) -> tuple[int, str]:
        """As `tests.lab.sip_message.offer` takes it."""
        return self.payload_type, self.name

    def encode(self, pcm: bytes) -> bytes:
        return self.frame or slin_to_ulaw(pcm)


ULAW = Codec()
G729 = Codec(18, "G729/8000", bytes.fromhex("7852c0a05a8fd2e3f0a1") * 2)


@attrs.frozen
class Manner:
    """How a telephone sends, and how its packets are held up on their way. All times are in seconds."""

    packet: float = 0.02
    """How much is in one packet."""
    suppresses_silence: bool = False
    """Nothing is sent between words."""
    comfort_noise: bool = False
    """But a packet of comfort noise as it begins to be silent, and every 0.2 s."""
    stall: float = 0.0
    """For so long nothing arrives, and then all of it at once ..."""
    every: float = 0.6
    """... once in so many seconds."""


EVEN = Manner()


@attrs.define(eq=False)
class Delivery:
    """One call's packets on their way."""

    manner: Manner = EVEN
    _unsent: list[RtpPacket] = attrs.field(factory=list)
    """Frames of a packet that is not full yet."""
    _held: list[RtpPacket] = attrs.field(factory=list)
    _silent_frames: int = 0
    _sequence: int = 0

    def feed(self, packets: Sequence[RtpPacket], pcm: bytes, at: float) -> list[RtpPacket]:
        """What arrives at second `at`, when the telephone has `packets` to send of the frame `pcm`."""
        due = [packet for packet in packets if packet.payload_type >= 96]  # keys go at once, and are never silence
        audio = [packet for packet in packets if packet.payload_type < 96]
        silent = not len(pcm) or int(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max()) < SILENT_BELOW
        self._silent_frames = self._silent_frames + 1 if silent else 0
        if audio and silent and self.manner.suppresses_silence:
            due += self._joined() + self._comfort(audio[0])
        else:
            self._unsent += audio
            if len(self._unsent) * 0.02 > self.manner.packet - 0.001:
                due += self._joined()
        self._held += due
        if at % self.manner.every < self.manner.stall:
            return []
        arrived, self._held = self._held, []
        return [self._numbered(packet) for packet in arrived]

    def _joined(self) -> list[RtpPacket]:
        """The frames that wait, as one packet."""
        frames, self._unsent = self._unsent, []
        return [attrs.evolve(frames[0], payload=b"".join(one.payload for one in frames))] if frames else []

    def _comfort(self, frame: RtpPacket) -> list[RtpPacket]:
        if not self.manner.comfort_noise or self._silent_frames % 10 != 1:
            return []
        return [attrs.evolve(frame, payload_type=COMFORT_NOISE[0], payload=NOISE_LEVEL, marker=False)]

    def _numbered(self, packet: RtpPacket) -> RtpPacket:
        """Packets that were never sent leave no gap in the numbers (RFC 3550, section 5.1)."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        return attrs.evolve(packet, sequence=self._sequence)
