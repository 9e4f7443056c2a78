"""Finds turns in the lines of a play, and writes `dialogues.tsv`.

    python -m tests.lab.voices.find_dialogues [--finished 450] [--held 450] [--on 250]

Each file is transcribed (Moonshine), and each place in it where the level is low: that is a cut between two words where
the transcriber hears, up to there, the words that it hears at the beginning of the whole file. Files whose names differ
in the last digit alone follow each other; the first of such a pair is a turn that is held up at its end. Where the
whole has a mark at the cut (`,` as well as `.`), it is taken for a sentence that goes on. It takes twenty minutes on
two cores.
"""

import argparse
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import attrs
import trio
from tqdm import tqdm

from agentd_providers.local import moonshine
from agentd_providers.local.models import catalogue
from tests.lab.measure import Span, speech_spans

from .conditions import RATE, Samples, at_level, slin
from .dialogues import OTHERS, SOURCE, TABLE, Archive, Dialogue, open_archive, speaker_of, written
from .fetching import bring
from .foreign_prompts import cuts
from .sources import SOURCES
from .texts import Kind
from .turns import NOMINAL_DBFS

SHORTEST, LONGEST = 0.5, 7.0
"""Seconds of a turn's speech."""
FEWEST_BEFORE, FEWEST_AFTER = 2, 1
"""Words around a cut."""
SHARE_OF_THE_HERO: Final = 0.4
"""How many of his turns there are to one of the others' voices: who chooses needs fewer than who is fitted to."""
_WORD: Final = re.compile(r"[\w']+")
_ENDS: Final = re.compile(r"[.!?]$")
_MARKED: Final = re.compile(r"[^\w\s']")


@attrs.frozen
class Line:
    """A file as it was heard."""

    file: str
    samples: Samples = attrs.field(repr=False)
    spoken: Span
    text: str

    @property
    def words(self) -> list[str]:
        return words_of(self.text)


def words_of(text: str) -> list[str]:
    """In small letters, without marks."""
    return _WORD.findall(text.lower())


def kind_at(whole: str, before: str) -> Kind | None:
    """Of a cut after what was heard `before` it. None where the two do not agree, or too little is there."""
    found, expected = words_of(before), words_of(whole)
    after = len(expected) - len(found)
    if len(found) < FEWEST_BEFORE or after < FEWEST_AFTER or expected[: len(found)] != found:
        return None
    (*_, last) = (match for number, match in enumerate(_WORD.finditer(whole)) if number < len(found))
    rest = whole[last.end() :]
    return Kind.GOES_ON if _MARKED.match(rest.lstrip()) else Kind.HESITATION


def follow(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The pairs of files of which the second goes on where the first ends."""
    for first, second in pairwise(sorted(files)):
        if first[:-4] == second[:-4] and second[-4:-3].isdigit() and int(second[-4]) == _digit(first) + 1:
            yield first, second


def _digit(file: str) -> int:
    return int(file[-4]) if file[-4].isdigit() else -1


def in_no_order(rows: Iterable[Dialogue]) -> list[Dialogue]:
    """By a digest, so that any beginning of the list is a fair share of it."""
    return sorted(rows, key=lambda row: hashlib.sha256(row.name.encode()).digest())


def transcribed(samples: Samples) -> str:
    """What Moonshine hears in 8 kHz samples, at a usual level; blocking."""
    pcm = slin(at_level(samples, NOMINAL_DBFS))
    return moonshine.transcribe(str(catalogue.locate("moonshine-tiny-en")), pcm, RATE).strip()


def _heard(archive: Archive, file: str) -> Line | None:
    samples = archive.samples(file)
    spans = speech_spans(slin(at_level(samples, NOMINAL_DBFS)), join_seconds=10.0)
    if len(spans) != 1 or not SHORTEST <= spans[0].end - spans[0].start <= LONGEST:
        return None
    text = transcribed(samples)
    return Line(file, samples, spans[0], text) if text.isascii() and words_of(text) else None


def _inside(line: Line) -> Dialogue | None:
    """The file held up at the first of its low places that is between two words."""
    if len(line.words) < FEWEST_BEFORE + FEWEST_AFTER or line.spoken.end - line.spoken.start < 2 * SHORTEST:
        return None
    for cut in cuts(line.samples, line.spoken):
        kind = kind_at(line.text, transcribed(line.samples[: round(cut * RATE)]))
        if kind is not None:
            return Dialogue(speaker_of(line.file), kind, cut, (line.file,))
    return None


def _between(archive: Archive, first: Line, second: Line) -> Dialogue | None:
    """Two files, held up between them."""
    pair = (first.file, second.file)
    joined = Dialogue(speaker_of(first.file), Kind.HESITATION, len(first.samples) / RATE, pair)
    kind = kind_at(transcribed(joined.samples(archive)), first.text)
    return None if kind is None else attrs.evolve(joined, kind=kind)


def find(archive: Archive, files: Sequence[str]) -> Iterator[Dialogue]:
    """All turns that these files make; blocking, and long. Tells how far it is."""
    heard: dict[str, Line] = {}
    for file in tqdm(files, unit="file", disable=None):
        line = _heard(archive, file)
        if line is None:
            continue
        heard[file] = line
        if (row := _inside(line)) is not None:
            yield row
    goes_on = {first for first, _ in follow(files)}
    for file, line in heard.items():
        if file not in goes_on and _ENDS.search(line.text):
            yield Dialogue(speaker_of(file), Kind.FINISHED, None, (file,))
    for first, second in follow(files):
        if first in heard and second in heard and (row := _between(archive, heard[first], heard[second])) is not None:
            yield row


async def run(wanted: dict[Kind, int], step: int) -> int:
    root = await bring(SOURCES[SOURCE], partial(print, flush=True))
    archive = await trio.to_thread.run_sync(open_archive, root)
    found = await trio.to_thread.run_sync(lambda: list(find(archive, archive.lines[::step])))
    grouped: dict[tuple[str, Kind], list[Dialogue]] = defaultdict(list)
    for row in in_no_order(found):
        grouped[row.speaker, row.kind].append(row)
    chosen: list[Dialogue] = []
    for (speaker, kind), rows in sorted(grouped.items()):
        count = wanted[kind] if speaker == OTHERS else round(SHARE_OF_THE_HERO * wanted[kind])
        print(f"{speaker}, {kind}: {len(rows)} found, {min(count, len(rows))} taken")
        chosen += rows[:count]
    await trio.Path(TABLE).write_text(written(chosen), "utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=450, help="turns of the others at most (default 450)")
    parser.add_argument("--held", type=int, default=450, help="hesitations of the others at most (default 450)")
    parser.add_argument("--on", type=int, default=250, help="sentences of the others that go on at most (default 250)")
    parser.add_argument("--every", type=int, default=1, help="look at every so many'th file only (default 1)")
    asked = parser.parse_args()
    wanted = {Kind.FINISHED: asked.finished, Kind.HESITATION: asked.held, Kind.GOES_ON: asked.on}
    return trio.run(run, wanted, asked.every)


if __name__ == "__main__":
    sys.exit(main())
