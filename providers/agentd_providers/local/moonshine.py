"""Speech to text by Moonshine. The functions below run in the engine's worker process."""

from collections.abc import Sequence

import attrs
import numpy as np

from agentd.audio.resample import convert
from agentd_providers.local.moonshine_model import BEGIN, END, RATE, Floats, MoonshineModel, load_model, longest_text
from agentd_providers.local.speculative import decode

SHORTEST = 0.2
"""Seconds below which there is no word to be found, and the model invents one."""
EDGE_SECONDS = 0.1
"""Of silence before and after: without it a first or last word is cut."""

_models: dict[str, MoonshineModel] = {}


@attrs.frozen
class Heard:
    """The words of an utterance, and the tokens as which they were written."""

    words: str = ""
    tokens: Sequence[int] = ()


def load(model: str) -> None:
    """Load the model in this process, and run it once so that the first caller does not wait for it."""
    transcribe(model, bytes(16000), 8000)


def transcribe(model: str, pcm: bytes, rate: int) -> str:
    """The words of an utterance: slin at `rate` Hz. Raises ProviderUnavailable when the model cannot be loaded."""
    return hear(model, pcm, rate).words


def hear(model: str, pcm: bytes, rate: int, guess: Sequence[int] = ()) -> Heard:
    """Hear an utterance, slin at `rate` Hz. `guess` are the tokens of what was heard of its beginning, if it was: they
    make it quicker (agentd_providers.local.speculative), and change no more than rounding does: the network's integers
    are scaled by all that is reckoned at once.

    Raises ProviderUnavailable when the model cannot be loaded.
    """
    if len(pcm) / 2 / rate < SHORTEST:
        return Heard()
    network = _models.get(model)
    if network is None:
        network = _models[model] = load_model(model)
    frames = network.encode(samples(pcm, rate))
    tokens = decode(network.decoder_of(frames), BEGIN, END, longest_text(frames), guess)
    return Heard(network.text(tokens), tokens)


def samples(pcm: bytes, rate: int) -> Floats:
    """The encoder's input: slin at `rate` Hz as samples at RATE, of -1 to 1, between silences."""
    heard = np.frombuffer(convert(pcm, rate, RATE), dtype="<i2").astype(np.float32) / np.float32(32768.0)
    return np.pad(heard, int(EDGE_SECONDS * RATE))
