"""Speech to text by Moonshine. The functions below run in the engine's worker process."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from agentd.audio.resample import convert
from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add

ENGINE_RATE = 16000
SHORTEST = 0.2
"""Seconds below which there is no word to be found, and the model invents one."""
LEAD_SECONDS = 0.1

_transcribers: dict[str, Any] = {}


def load(model: str) -> None:
    """Load the model in this process, and run it once so that the first caller does not wait for it."""
    transcribe(model, bytes(16000), 8000)


def transcribe(model: str, pcm: bytes, rate: int) -> str:
    """The words of an utterance: slin at `rate` Hz. Raises ProviderUnavailable when the model cannot be loaded."""
    if len(pcm) / 2 / rate < SHORTEST:
        return ""
    transcriber = _transcribers.get(model)
    if transcriber is None:
        transcriber = _transcribers[model] = _load(model)
    samples = np.frombuffer(convert(pcm, rate, ENGINE_RATE), dtype="<i2").astype(np.float32) / 32768.0
    padding = np.zeros(int(LEAD_SECONDS * ENGINE_RATE), dtype=np.float32)
    audio = np.concatenate((padding, samples, padding))
    transcript = transcriber.transcribe_without_streaming(audio.tolist(), ENGINE_RATE)
    return " ".join(line.text.strip() for line in transcript.lines if line.text.strip())


def _load(model: str) -> Any:
    _without_sound_card()
    try:
        from moonshine_voice.moonshine_api import ModelArch
        from moonshine_voice.transcriber import Transcriber
    except (ImportError, OSError) as error:
        raise ProviderUnavailable(f"Moonshine is not installed: {error}; {how_to_add('local')}") from error
    if not Path(model).is_dir():
        raise ProviderUnavailable(f"there is no Moonshine model at {model}; agentd models fetch moonshine-tiny-en")
    # Our endpointing has cut the utterance already: Moonshine's own would take 0.3 s more and split it.
    return Transcriber(model, ModelArch.TINY, options={"vad_threshold": 0.0})


def _without_sound_card() -> None:
    """moonshine_voice imports sounddevice for its microphone class, which needs a system library
    (libportaudio2) that a PBX host has no other use for: where it is missing, an empty module stands in."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        sys.modules["sounddevice"] = ModuleType("sounddevice")
