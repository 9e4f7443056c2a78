"""Speech to text by Vosk. The functions below run in the engine's worker process.

A recogniser keeps the state of one utterance. They live in the worker, by key, and are fed blocks of about 100 ms;
if the worker dies, the utterance's audio so far is fed again by whoever keeps it.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from agentd.audio.resample import Resampler
from agentd.errors import ProviderUnavailable

ENGINE_RATE = 16000
MOST_RECOGNISERS = 200
"""Utterances in progress; the oldest is dropped beyond that, so that lost ones cannot pile up."""

_models: dict[str, Any] = {}
_utterances: OrderedDict[str, tuple[Any, Resampler]] = OrderedDict()


def load(model: str) -> None:
    """Load the model in this process. Raises ProviderUnavailable when it cannot be loaded."""
    if model in _models:
        return
    try:
        import vosk
    except (ImportError, OSError) as error:
        raise ProviderUnavailable(f"Vosk is not installed: {error}; pip install 'agentd[local]'") from error
    # Always a path that exists: given a name, vosk downloads, or ends the process.
    if not (Path(model) / "am").is_dir():
        raise ProviderUnavailable(f"there is no Vosk model at {model}: a directory with am/ and graph/ is expected")
    vosk.SetLogLevel(-1)
    _models[model] = vosk.Model(model_path=model)


def feed(model: str, key: str, pcm: bytes, rate: int) -> str:
    """Take more of the utterance `key` (slin at `rate` Hz); gives the words so far."""
    import vosk

    if key not in _utterances:
        load(model)
        recogniser = vosk.KaldiRecognizer(_models[model], ENGINE_RATE)
        _utterances[key] = (recogniser, Resampler(rate, ENGINE_RATE))
        if len(_utterances) > MOST_RECOGNISERS:
            _utterances.popitem(last=False)
    recogniser, resampler = _utterances[key]
    recogniser.AcceptWaveform(resampler.feed(pcm))
    return str(json.loads(recogniser.PartialResult()).get("partial", ""))


def finish(key: str) -> str | None:
    """End an utterance and give its words; None if this process does not know it (it was started again)."""
    if key not in _utterances:
        return None
    recogniser, resampler = _utterances.pop(key)
    recogniser.AcceptWaveform(resampler.flush())
    return str(json.loads(recogniser.FinalResult()).get("text", ""))


def discard(key: str) -> None:
    """Forget an utterance."""
    _utterances.pop(key, None)
