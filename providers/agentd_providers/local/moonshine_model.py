"""Moonshine's networks, run by onnxruntime: an encoder of sound, and a decoder that writes what was said.

The encoder makes a frame of 288 numbers of every 24 ms, and looks at all of the audio for each. The decoder reads the
frames and the text so far, and tells the next token. (N. Jeffries et al., "Moonshine: Speech Recognition for Live
Transcription and Voice Commands", 2024; the files are those of the package moonshine-voice.)

They are run here and not by that package, which decodes an utterance from its first token to its last each time; and
one thread of onnxruntime with its weights packed takes less than half of the time that the package's two take.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add

Floats = npt.NDArray[np.float32]

RATE = 16000
HOP, REACH = 384, 511
"""A frame comes every HOP samples, and `n` of them are made of `n * HOP + REACH`: the strides and kernels of the
encoder's three convolutions (127 by 64, 7 by 3, 3 by 2)."""
BEGIN, END = 1, 2
TOKENS_PER_SECOND = 6.5
"""No text is longer: beyond it the decoder repeats itself."""
ENCODER, DECODER, TOKENS = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"


@attrs.frozen(eq=False)
class MoonshineModel:
    """The networks as loaded by `load_model`, and the bytes of each token."""

    encoder: Any
    decoder: Any
    tokens: Sequence[bytes]

    def encode(self, samples: Floats) -> Floats:
        """The frames of samples at RATE, of -1 to 1: shape (frames, width)."""
        heard = samples[np.newaxis]
        mask = np.ones(heard.shape, dtype=np.int64)
        (frames,) = self.encoder.run(None, {"input_values": heard, "attention_mask": mask})
        return np.asarray(frames[0])

    def decoder_of(self, frames: Floats) -> "MoonshineDecoder":
        """A decoder that is to write what was said in `frames`."""
        return MoonshineDecoder(self.decoder, frames)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are none, such as <unk>."""
        written = [self.tokens[token] for token in tokens]
        words = b"".join(piece for piece in written if not (piece[:1] == b"<" and piece[-1:] == b">" and piece[2:]))
        return words.decode("utf-8", "replace").replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()


def longest_text(frames: Floats) -> int:
    """Tokens that what was said in `frames` can have."""
    return int(np.ceil((len(frames) * HOP + REACH) / RATE * TOKENS_PER_SECOND))


@attrs.define(eq=False)
class MoonshineDecoder:
    """See agentd_providers.local.speculative.Decoder. What it has read it keeps as the network's keys and values."""

    _network: Any
    _frames: Floats
    _past: dict[str, npt.NDArray[Any]] = attrs.field(factory=dict, init=False)

    def read(self, tokens: Sequence[int]) -> Sequence[int]:
        begun = bool(self._past)
        given = {
            "input_ids": np.array([tokens], dtype=np.int64),
            "encoder_hidden_states": self._frames[np.newaxis],
            "encoder_attention_mask": np.ones((1, len(self._frames) * HOP + REACH), dtype=np.int64),
            "use_cache_branch": np.array([begun]),
        }
        past = self._past or _nothing_read(self._network)
        logits, *present = self._network.run(None, {**given, **past})
        # The keys and values of the frames are worked out at the first run, and not given again at the others.
        kept = {name: value for name, value in zip(past, present, strict=True) if not begun or ".decoder." in name}
        self._past = {**past, **kept}
        return [int(token) for token in logits[0].argmax(axis=-1)]

    def forget(self, count: int) -> None:
        if count:
            self._past = {
                name: np.ascontiguousarray(value[:, :, :-count]) if ".decoder." in name else value
                for name, value in self._past.items()
            }


def load_model(directory: str) -> MoonshineModel:
    """Load the model in a directory. Raises ProviderUnavailable when onnxruntime or the model is not there."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderUnavailable(f"Moonshine cannot be run: {error}; {how_to_add('local')}") from error
    missing = [name for name in (ENCODER, DECODER, TOKENS) if not (Path(directory) / name).is_file()]
    if missing:
        raise ProviderUnavailable(
            f"there is no Moonshine model at {directory}: {', '.join(missing)} is missing; "
            "agentd models fetch moonshine-tiny-en"
        )
    # One thread: the judge of turns is at work beside it, and more of them wait for one another on a busy host.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1

    def session(name: str) -> Any:
        return onnxruntime.InferenceSession(str(Path(directory) / name), options, providers=["CPUExecutionProvider"])

    return MoonshineModel(session(ENCODER), session(DECODER), read_tokens((Path(directory) / TOKENS).read_bytes()))


def read_tokens(data: bytes) -> list[bytes]:
    """The tokens of a tokenizer.bin: each its length and its bytes. A length from 128 on takes two bytes, of which the
    first has the lower seven bits."""
    tokens, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * data[at], at + 1
        tokens.append(data[at : at + length])
        at += length
    return tokens


def _nothing_read(network: Any) -> dict[str, npt.NDArray[Any]]:
    """The past of a decoder that has read nothing. It is not looked at, but has to be of the right shape."""
    past = [given for given in network.get_inputs() if given.name.startswith("past_key_values.")]
    return {given.name: np.zeros((1, given.shape[1], 1, given.shape[3]), dtype=np.float32) for given in past}
