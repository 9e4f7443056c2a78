"""Text to speech by Piper. The functions below run in the engine's worker process."""

from pathlib import Path
from typing import Any

from agentd.audio.resample import convert
from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add
from agentd.parsing import load_json

_voices: dict[tuple[str, int], Any] = {}


def load(voice: str, threads: int) -> None:
    """Load the voice in this process, and have it speak once so that the first caller does not wait for it."""
    synthesise(voice, threads, 1.0, "Hello.", 8000)


def synthesise(voice: str, threads: int, length_scale: float, text: str, rate: int) -> bytes:
    """Speak `text`: slin at `rate` Hz. Raises ProviderUnavailable when the voice cannot be loaded."""
    loaded = _voices.get((voice, threads))
    if loaded is None:
        loaded = _voices[(voice, threads)] = _load(voice, threads)
    from piper import SynthesisConfig

    chunks = list(loaded.synthesize(text, syn_config=SynthesisConfig(length_scale=length_scale)))
    if not chunks:
        return b""
    return convert(b"".join(chunk.audio_int16_bytes for chunk in chunks), chunks[0].sample_rate, rate)


def _load(voice: str, threads: int) -> Any:
    try:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig
    except ImportError as error:
        raise ProviderUnavailable(f"Piper is not installed: {error}; {how_to_add('local')}") from error
    try:
        config = PiperConfig.from_dict(load_json(Path(f"{voice}.json").read_text(encoding="utf-8")))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would take the cores from the line and the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(voice, sess_options=options, providers=["CPUExecutionProvider"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ProviderUnavailable(f"the Piper voice {voice} cannot be loaded: {error}") from error
    return PiperVoice(session=session, config=config)
