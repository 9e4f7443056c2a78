"""Finds backchannels, commands and beginnings of sentences in the lines of a play, and writes `interjections.tsv`.

    python -m tests.lab.voices.find_interjections [--longer 500] [--sentences 500]

The first two seconds of each short file are transcribed (Moonshine), and of so many longer ones that a digest picks. A
short one of three words at most is heard a second time, said more slowly: only what comes out the same counts. What is
a backchannel and what a command are the product's own lists. All of these are kept, and so many sentences. It takes ten
minutes on two cores.
"""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import trio
from tqdm import tqdm

from agentd_providers.turns.settings import BACKCHANNELS, COMMANDS
from agentd_providers.turns.words import plain_words
from tests.lab.first_sounds import Kind, begins_with_backchannel

from .conditions import RATE, at_tempo
from .dialogues import HERO, OTHERS, SOURCE, Archive, open_archive, speaker_of
from .fetching import bring
from .find_dialogues import transcribed
from .interjections import TABLE, Interjection, written
from .sources import SOURCES

SHORT, HEARD = 1.6, 2.0
"""Seconds: of a file that may be an interjection, and of any that are transcribed."""
MOST_WORDS, FEWEST_OF_A_SENTENCE = 3, 2
SLOWER: Final = 0.85
SHARE_OF_THE_HERO: Final = 0.3
"""How many of his longer files are looked at to one of the others': who chooses needs fewer than who is fitted to."""


def kind_of(text: str) -> Kind | None:
    """Of a whole file in which that was heard; None: it is none of them, or how it goes on nobody can know."""
    words = plain_words(text)
    if " ".join(words) in COMMANDS or (words and all(word in COMMANDS for word in words)):
        return Kind.COMMAND
    if words and (" ".join(words) in BACKCHANNELS or all(word in BACKCHANNELS for word in words)):
        return Kind.BACKCHANNEL
    return Kind.SENTENCE if len(words) >= FEWEST_OF_A_SENTENCE and not begins_with_backchannel(text) else None


def fewer(rows: Iterable[Interjection], sentences: int) -> list[Interjection]:
    """All interjections, and at most so many sentences of the others' and a share of that of the hero's; a digest
    picks them."""
    kept: list[Interjection] = []
    left = {OTHERS: sentences, HERO: round(SHARE_OF_THE_HERO * sentences)}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.file.encode()).digest()):
        if row.kind == Kind.SENTENCE:
            left[row.speaker] -= 1
        if row.kind != Kind.SENTENCE or left[row.speaker] >= 0:
            kept.append(row)
    return sorted(kept, key=lambda row: (row.kind, row.file))


def chosen(archive: Archive, longer: int) -> tuple[list[str], list[str]]:
    """The short files, and so many of the longer ones."""
    seconds = {file: len(archive.samples(file)) / RATE for file in tqdm(archive.lines, unit="file", disable=None)}
    short = [file for file, lasts in seconds.items() if lasts <= SHORT]
    rest = sorted(set(seconds) - set(short), key=lambda file: hashlib.sha256(file.encode()).digest())
    others = [file for file in rest if speaker_of(file) == OTHERS]
    hero = [file for file in rest if speaker_of(file) != OTHERS]
    return short, others[:longer] + hero[: round(SHARE_OF_THE_HERO * longer)]


def find(archive: Archive, short: Sequence[str], longer: Sequence[str]) -> Iterator[Interjection]:
    """Blocking, and long. Tells how far it is."""
    for file in tqdm([*short, *longer], unit="file", disable=None):
        samples = archive.samples(file)
        text = transcribed(samples[: round(HEARD * RATE)])
        kind, words = kind_of(text), plain_words(text)
        if kind is None or (kind is not Kind.SENTENCE and file not in short):
            continue
        if len(words) <= MOST_WORDS and (
            file not in short or plain_words(transcribed(at_tempo(samples, SLOWER))) != words
        ):
            continue
        yield Interjection(speaker_of(file), kind, file, "" if kind is Kind.SENTENCE else " ".join(words))


async def run(longer: int, sentences: int) -> int:
    root = await bring(SOURCES[SOURCE], partial(print, flush=True))
    archive = await trio.to_thread.run_sync(open_archive, root)
    short, rest = await trio.to_thread.run_sync(chosen, archive, longer)
    found = fewer(await trio.to_thread.run_sync(lambda: list(find(archive, short, rest))), sentences)
    for (speaker, kind), count in sorted(Counter((row.speaker, row.kind) for row in found).items()):
        print(f"{speaker}, {kind}: {count}")
    await trio.Path(TABLE).write_text(written(found), "utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longer", type=int, default=500, help="longer files of the others' (default 500)")
    parser.add_argument("--sentences", type=int, default=500, help="of the others' that are kept (default 500)")
    asked = parser.parse_args()
    return trio.run(run, asked.longer, asked.sentences)


if __name__ == "__main__":
    sys.exit(main())
