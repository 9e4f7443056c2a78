"""Sound files, and recorded human speech with its words."""

import gzip
import re
import wave
from collections.abc import Iterable
from pathlib import Path

import attrs

from .prefix import Prefix

TRANSCRIPTS = (
    "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz",
    "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt",
)


class NotTelephoneAudio(ValueError):
    """A sound file is not what was asked for; the message says what it is."""


@attrs.frozen
class Prompt:
    """A recorded English sentence: 8 kHz, mono, 16-bit, and the words that are spoken in it."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.stem

    def pcm(self) -> bytes:
        """8 kHz slin."""
        return read_wav(self.path)


def read_wav(path: Path, rate: int = 8000) -> bytes:
    """The samples of a mono 16-bit wav of `rate` Hz, as slin. Raises NotTelephoneAudio otherwise."""
    with wave.open(str(path), "rb") as sound:
        found = (sound.getnchannels(), sound.getsampwidth() * 8, sound.getframerate())
        if found != (1, 16, rate):
            channels, bits, hertz = found
            raise NotTelephoneAudio(
                f"{path}: expected mono, 16 bits, {rate} Hz; got {channels} channels, {bits} bits, {hertz} Hz"
            )
        return sound.readframes(sound.getnframes())


def write_wav(path: Path, pcm: bytes, rate: int = 8000) -> None:
    """Write slin of `rate` Hz as a mono 16-bit wav."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(pcm)


def silence(seconds: float, rate: int = 8000) -> bytes:
    """Slin without a sound."""
    return bytes(2 * round(seconds * rate))


def parse_transcripts(lines: Iterable[str]) -> dict[str, str]:
    """Names and words from lines of `name: words`; comments (`;`) and sounds (`[a beep]`) are left out."""
    spoken: dict[str, str] = {}
    for line in lines:
        name, colon, words = line.strip().partition(":")
        words = words.strip()
        if colon and not name.startswith(";") and re.search(r"[A-Za-z]", words) and "[" not in words:
            spoken[name.strip()] = words
    return spoken


def human_prompts(prefix: Prefix) -> list[Prompt]:
    """The recorded English prompts of Debian's sound packages that have a transcript, by name.

    Looked for in the prefix and in the system. Empty if there are no wav prompts or no transcripts: the
    recordings are licensed CC-BY-SA-3.0, are used in place and never copied into the project.
    """
    lists = [root / name for root in (prefix.root, Path("/")) for name in TRANSCRIPTS]
    listed = next((path for path in lists if path.is_file()), None)
    if listed is None:
        return []
    text = gzip.decompress(listed.read_bytes()) if listed.suffix == ".gz" else listed.read_bytes()
    spoken = parse_transcripts(text.decode("utf-8", "replace").splitlines())
    for sounds in prefix.sounds:
        found = [(sounds / f"{name}.wav", words) for name, words in sorted(spoken.items())]
        if prompts := [Prompt(path, words) for path, words in found if path.is_file()]:
            return prompts
    return []
