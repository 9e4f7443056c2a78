"""Many synthetic speakers: the network Kokoro-82M, with espeak's phonemes, and where in what it says a word ends.

Of the network's inner values one is made an output of it, in memory: how long it means each phoneme to last. So a
pause can be put between two words without listening for where they part.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from agentd.parsing import load_json
from agentd_providers.local.onnx_graph import with_output

NATIVE_RATE: Final = 24000
RATE: Final = 8000
LASTING: Final = 600
"""Samples of 24 kHz that a phoneme of the length 1 lasts."""
LENGTHS: Final = "/encoder/Clip_output_0"
STYLES, STYLE = 510, 256
"""A voice has a style for each number of phonemes up to 510, of 256 numbers."""
ACCENTS: Final = {"a": "en-us", "b": "en-gb-x-rp"}
"""What espeak calls the accent that a voice's first letter stands for."""
_PUNCTUATION = ".,!?;:"
_OTHERWISE = str.maketrans({"r": "ɹ", "x": "k", "ʲ": "j", "ɬ": "l"})
"""Phonemes that espeak has and the network was not taught."""

Samples = npt.NDArray[np.float64]


@attrs.frozen
class Said:
    """What a voice said: samples of 8 kHz, full scale 32768, and the sample at which the words before the pause end."""

    samples: Samples
    at: int | None


def tokens(phonemes: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The network's numbers of phonemes; what it does not know is left out."""
    return [vocabulary[phoneme] for phoneme in phonemes if phoneme in vocabulary]


def place(lengths: npt.NDArray[np.float64], before: int) -> tuple[int, int]:
    """The samples of 8 kHz between which the gap lies that follows the first `before` tokens.

    `lengths` has one for each token, and one each for the silence before and after them. Punctuation belongs to the
    gap: `before` counts the phonemes only.
    """
    ends = np.cumsum(lengths) * LASTING * RATE // NATIVE_RATE
    return int(ends[before]), int(ends[before + 1])


def quietest(samples: Samples, first: int, last: int, step: int = 40) -> int:
    """The middle of the quietest 10 ms between two samples, or the middle of what lies between them if that is less."""
    width = 2 * step
    places = range(max(0, first), min(last, len(samples)) - width + 1, step)
    if not places:
        return (first + last) // 2
    return min(places, key=lambda at: float(np.sum(samples[at : at + width] ** 2))) + step


class Kokoro:
    """The network, loaded. Blocking, and for one thread at a time."""

    def __init__(self, network: Path, vocabulary: Path, voices: Path, threads: int = 2) -> None:
        import onnxruntime
        from piper.phonemize_espeak import EspeakPhonemizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = with_output(network.read_bytes(), LENGTHS)
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._vocabulary: Mapping[str, int] = load_json(vocabulary.read_text("utf-8"))["vocab"]
        self._espeak = EspeakPhonemizer()
        self._voices = voices
        self._styles: dict[str, npt.NDArray[np.float32]] = {}

    def say(self, voice: str, before: str, after: str = "", speed: float = 1.0) -> Said:
        """The words of both in one breath; `voice` is a name such as af_heart, or two of them with a plus between: a
        voice that lies midway."""
        accent = ACCENTS[voice[0]]
        first = self._tokens(before, accent)
        gap = self._tokens(before[-1] + " " if before[-1] in _PUNCTUATION else " ", None) if after else []
        second = self._tokens(after, accent)
        sequence = [*first, *gap, *second]
        if not after and before[-1] in _PUNCTUATION:
            sequence += self._tokens(before[-1], None)
        if after and after[-1] in _PUNCTUATION:
            sequence += self._tokens(after[-1], None)
        sound, lengths = self._run(voice, sequence, speed)
        samples = 32768 * np.asarray(resample_poly(sound, RATE, NATIVE_RATE), np.float64)
        if not after:
            return Said(samples, None)
        start = place(lengths, len(first))[0]
        end = place(lengths, len(first) + len(gap) - 1)[1]
        return Said(samples, quietest(samples, start - RATE // 50, end + RATE // 50))

    def _tokens(self, text: str, accent: str | None) -> list[int]:
        """Of words, or with no accent of punctuation as it stands; the last punctuation of words is left out. What
        stands between slashes are phonemes."""
        if accent is None:
            return tokens(text, self._vocabulary)
        if not text:
            return []
        if text.startswith("/"):
            return tokens(text.rstrip(_PUNCTUATION).strip("/"), self._vocabulary)
        sentences = self._espeak.phonemize(accent, text)
        phonemes = " ".join("".join(sentence).strip() for sentence in sentences).rstrip(_PUNCTUATION + " ")
        return tokens(unicodedata.normalize("NFC", phonemes).translate(_OTHERWISE), self._vocabulary)

    def _run(
        self, voice: str, sequence: list[int], speed: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        style = self._style(voice)[min(len(sequence), STYLES - 1)]
        given = {
            "tokens": np.array([[0, *sequence, 0]], np.int64),
            "style": style.reshape(1, STYLE),
            "speed": np.array([speed], np.float32),
        }
        sound, lengths = self._session.run([self._outputs[0], LENGTHS], given)
        return np.asarray(sound, np.float64).ravel(), np.asarray(lengths, np.float64).ravel()

    def _style(self, voice: str) -> npt.NDArray[np.float32]:
        if voice not in self._styles:
            files = [self._voices / f"{name}.bin" for name in voice.split("+")]
            styles = [np.fromfile(file, np.float32).reshape(STYLES, STYLE) for file in files]
            self._styles[voice] = np.mean(styles, axis=0, dtype=np.float32)
        return self._styles[voice]
