"""Cutting a stream of audio bytes into the frames that the line carries."""


class Framer:
    """Cuts audio that comes in pieces of any length into frames of one length.

    Args:
        frame_bytes: bytes of a frame; `AudioFormat.frame_bytes` for 20 ms.
        silence_byte: fills up the last frame; `AudioFormat.silence_byte`. The default is slin's.

    Raises:
        ValueError: `frame_bytes` is not positive.
    """

    def __init__(self, frame_bytes: int, silence_byte: int = 0) -> None:
        if frame_bytes <= 0:
            raise ValueError(f"a frame needs at least one byte, got frame_bytes={frame_bytes}")
        self.frame_bytes = frame_bytes
        self._silence = bytes([silence_byte])
        self._rest = b""

    def feed(self, audio: bytes) -> list[bytes]:
        """Take audio bytes and give the frames that are full now, oldest first."""
        pending = self._rest + audio
        full = len(pending) - len(pending) % self.frame_bytes
        self._rest = pending[full:]
        return [pending[at : at + self.frame_bytes] for at in range(0, full, self.frame_bytes)]

    def flush(self) -> bytes | None:
        """Give what is left as one frame filled up with silence, or None; then begin a new utterance."""
        rest, self._rest = self._rest, b""
        return rest.ljust(self.frame_bytes, self._silence) if rest else None

    def clear(self) -> None:
        """Forget what is left: the utterance was broken off."""
        self._rest = b""
