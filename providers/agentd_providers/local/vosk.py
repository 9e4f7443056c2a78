"""Speech to text by Vosk. The functions below run in the engine's worker process.

A recogniser keeps the state of one utterance. They live in the worker, by key, and are fed blocks of about 100 ms;
if the worker dies, the utterance's audio so far is fed again by whoever keeps it.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import attrs

from agentd.audio.resample import Resampler
from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add

ENGINE_RATE = 16000
MOST_RECOGNISERS = 200
"""Utterances in progress; the oldest is dropped beyond that, so that lost ones cannot pile up."""

_models: dict[str, Any] = {}


@attrs.define
class _Utterance:
    recogniser: Any
    resampler: Resampler
    words: list[str] = attrs.field(factory=list)

    def hear(self, pcm: bytes) -> None:
        # Vosk has an endpointer of its own: where it sees an end, the words so far must be taken, or they are lost.
        if self.recogniser.AcceptWaveform(pcm):
            self.words.append(str(json.loads(self.recogniser.Result()).get("text", "")))

    def text(self, last: str) -> str:
        return " ".join(words for words in (*self.words, last) if words)


_utterances: OrderedDict[str, _Utterance] = OrderedDict()


def load(model: str) -> None:
    """Load the model in this process. Raises ProviderUnavailable when it cannot be loaded."""
    if model in _models:
        return
    try:
        import vosk
    except (ImportError, OSError) as error:
        raise ProviderUnavailable(f"Vosk is not installed: {error}; {how_to_add('local')}") from error
    # Always a path that exists: given a name, vosk downloads, or ends the process.
    if not (Path(model) / "am").is_dir():
        raise ProviderUnavailable(f"there is no Vosk model at {model}: a directory with am/ and graph/ is expected")
    vosk.SetLogLevel(-1)
    _models[model] = vosk.Model(model_path=model)


def feed(model: str, key: str, pcm: bytes, rate: int, start: int) -> None:
    """Take more of the utterance `key`: slin at `rate` Hz, from its byte `start` on.

    Without what came before it (this process was started again) it is not taken: `words` then knows nothing.
    """
    import vosk

    if key not in _utterances:
        if start:
            return
        load(model)
        recogniser = vosk.KaldiRecognizer(_models[model], ENGINE_RATE)
        _utterances[key] = _Utterance(recogniser, Resampler(rate, ENGINE_RATE))
        if len(_utterances) > MOST_RECOGNISERS:
            _utterances.popitem(last=False)
    utterance = _utterances[key]
    utterance.hear(utterance.resampler.feed(pcm))


def words(key: str) -> str | None:
    """The words so far; None if this process does not know the utterance (it was started again).

    The recogniser is given the end of a sentence: what it still held back comes out, and it goes on afterwards.
    """
    if key not in _utterances:
        return None
    utterance = _utterances[key]
    last = str(json.loads(utterance.recogniser.FinalResult()).get("text", ""))
    if last:
        utterance.words.append(last)
    return utterance.text("")


def discard(key: str) -> None:
    """Forget an utterance."""
    _utterances.pop(key, None)
