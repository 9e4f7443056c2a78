"""Turns in other languages, for the sound cue alone: prompts that people recorded for Asterisk, whole and held up.

Nobody here reads their words, so there are none in them, and nothing is judged by them. A finished turn is a prompt
that is one stretch of speech. A hesitation is one that is held up where its level is low between two words, or so one
hopes: a dip may be a consonant, or the end of a clause that could stand alone. So what is fitted to these has labels
that are wrong now and then. The part is the speaker's (tests.lab.voices.split); the third has no such turns.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from tests.lab.debian import Progress
from tests.lab.measure import Span, speech_spans
from tests.lab.turn_set import FOLDERS, FRAGMENTS, TurnSample

from .conditions import RATE, Line, Samples, at_level, slin
from .fetching import bring_what_there_is
from .plans import plan_of_recording
from .recordings import Recording
from .split import Part, Speaker, speakers
from .texts import Kind
from .turns import NOMINAL_DBFS, composed, from_recording

ALSO: Final[Mapping[str, tuple[str, str]]] = {"asterisk-core-sounds-es": ("allison-smith", "es")}
"""Sources by somebody whom the table has under another one, and their language."""
PLACE: Final = "usr/share/asterisk/sounds"
TONES: Final = frozenset({"ascending-2tone", "beep", "beeperr", "descending-2tone", "tt-monkeys"})
SHORTEST, LONGEST = 1.2, 6.0
"""Seconds of a prompt's speech."""
JOINED = 0.35
"""Seconds; around a longer silence there may be two sentences."""
EARLIEST, LATEST = 0.25, 0.75
"""Shares of the speech between which it is cut."""
LOW = 0.12
"""Seconds of a silence that is taken for one between two words."""
CLOSURE = 0.05
"""Seconds that are quiet within a word as well."""
APART = 0.35
"""Seconds between two cuts of one prompt."""
MOST_CUTS = 2
STEP: Final = 80
"""Samples of one step of the level (10 ms)."""

_Prompt = tuple[Speaker, Recording, Path]


async def foreign_turns(part: Part, kind: Kind, count: int, progress: Progress) -> list[TurnSample]:
    """At most `count` turns, spread over all prompts by speakers of the part; fewer where sources cannot be had.

    `progress` hears what is fetched, and what is left out and why. Raises ValueError for the third part, and for turns
    that go on after a whole sentence: who does not know the words cannot tell.
    """
    if part is Part.THIRD or kind is Kind.GOES_ON:
        raise ValueError(f"expected fit or choose, finished or held up; got {part.value}, {kind.value}")
    who = {source: speaker for source, speaker in by_source().items() if speaker.part is part}
    roots = await bring_what_there_is(list(who), progress)
    found = [(who[source], row, root) for source, root in roots.items() for row in prompts(who[source], root, kind)]
    lines = list(Line)
    return [
        _turn(speaker, row, root, kind, lines[number % len(lines)])
        for number, (speaker, row, root) in enumerate(_spread(found, count))
    ]


def by_source() -> dict[str, Speaker]:
    """Who speaks in which source, with the language that is spoken there."""
    table = speakers()
    named = {speaker.name: speaker for speaker in table}
    found = {
        speaker.source: speaker
        for speaker in table
        if speaker.kind == "human" and speaker.language != "en" and speaker.part is not Part.THIRD
        # The other prompts in Debian are GSM: a codec that no line here has.
        if speaker.source.startswith(("asterisk-core-sounds-", "asterisk-prompt-it-"))
    }
    return found | {
        source: attrs.evolve(named[name], source=source, language=language) for source, (name, language) in ALSO.items()
    }


def prompts(speaker: Speaker, root: Path, kind: Kind) -> Iterator[Recording]:
    """The prompts below a source's root that make such a turn, each as often as it can be cut."""
    for path in sorted(path for folder in ("", *FOLDERS) for path in root.glob(f"{PLACE}/*/{folder}/*.wav")):
        if path.stem in FRAGMENTS | TONES:
            continue
        file = path.relative_to(root).as_posix()
        whole = Recording(speaker.name, speaker.source, file, RATE, 0.0, 60.0, None, path.stem)
        samples = whole.samples(root)
        if (spoken := speech(samples)) is None:
            continue
        for cut in cuts(samples, spoken) if kind is Kind.HESITATION else [None]:
            told = path.stem if cut is None else f"{path.stem} at {cut:.2f} s"
            yield attrs.evolve(whole, end=len(samples) / RATE, cut=cut, text=told)


def speech(samples: Samples) -> Span | None:
    """Of the one stretch of speech, where there is one of the length of a turn."""
    spans = speech_spans(slin(at_level(samples, NOMINAL_DBFS)), join_seconds=JOINED)
    if len(spans) != 1 or not SHORTEST <= spans[0].end - spans[0].start <= LONGEST:
        return None
    return spans[0]


def cuts(samples: Samples, spoken: Span) -> list[float]:
    """Seconds at which speech can be held up: in the middle of its longest silences, else in its deepest dip."""
    length = spoken.end - spoken.start
    first, last = spoken.start + EARLIEST * length, spoken.start + LATEST * length
    sounds = speech_spans(slin(at_level(samples, NOMINAL_DBFS)), join_seconds=CLOSURE)
    silences = [Span(before.end, after.start) for before, after in pairwise(sounds)]
    chosen: list[float] = []
    for silence in sorted(silences, key=_seconds, reverse=True):
        middle = (silence.start + silence.end) / 2
        apart = all(abs(middle - other) >= APART for other in chosen)
        if apart and _seconds(silence) >= LOW and first <= middle <= last:
            chosen.append(middle)
    chosen = chosen[:MOST_CUTS]
    return sorted(chosen) or [_deepest(samples, first, last)]


def _seconds(span: Span) -> float:
    return span.end - span.start


def _deepest(samples: Samples, first: float, last: float) -> float:
    power = np.mean(samples[: len(samples) // STEP * STEP].reshape(-1, STEP) ** 2, axis=1)
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    start = round(first * RATE) // STEP
    step = start + int(np.argmin(smooth[start : round(last * RATE) // STEP]))
    return (step + 0.5) * STEP / RATE


def _turn(speaker: Speaker, row: Recording, root: Path, kind: Kind, line: Line) -> TurnSample:
    sample = composed(from_recording(row, root), plan_of_recording(speaker, row.text, kind, line))
    return attrs.evolve(sample, text="", language=speaker.language)


def _spread(items: list[_Prompt], count: int) -> list[_Prompt]:
    return items if len(items) <= count else [items[number * len(items) // count] for number in range(count)]
