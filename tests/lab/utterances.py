"""Utterances of a wanted length, made of recorded prompts that follow each other quickly. Deterministic."""

import random
import re
from collections.abc import Iterator, Sequence

import attrs

from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin

from .hearing import words
from .measure import speech_spans
from .speech import Prompt
from .turn_set import FRAGMENTS, RATE, quiet

NOT_SPOKEN_SO = re.compile(r"\.\.|[()*#\d]")
"""What a transcript writes otherwise than an engine does, so that it would count as an error of both ways."""
SHORTEST_JOIN, LONGEST_JOIN = 0.04, 0.3
"""Seconds between two prompts: from no breath at all to a short one, which is no end of a turn."""
EDGE = 0.03
LEAD, AFTER = 0.5, 1.0
TOLERANCE = 0.1


@attrs.frozen
class Utterance:
    """8 kHz slin as a line carries it, speech between `LEAD` seconds of noise and `AFTER`; and its words."""

    text: str
    pcm: bytes
    seconds: float
    """Of speech."""


def utterances(prompts: Sequence[Prompt], seconds: float, count: int) -> list[Utterance]:
    """At most `count` of them, each within a tenth of `seconds`."""
    chance = random.Random(round(1000 * seconds))
    spoken = [part for prompt in _clear(prompts) if (part := _spoken(prompt)).speech]
    chance.shuffle(spoken)
    made: list[Utterance] = []
    for parts in _groups(spoken, seconds, chance):
        first, *others = parts
        speech = first.speech
        for number, part in enumerate(others):
            speech += quiet(part.recording, chance.uniform(SHORTEST_JOIN, LONGEST_JOIN), number) + part.speech
        length = len(speech) / 2 / RATE
        if abs(length - seconds) <= TOLERANCE * seconds:
            line = quiet(first.recording, LEAD, 0) + speech + quiet(parts[-1].recording, AFTER, 1)
            text = " ".join(part.text for part in parts)
            made.append(Utterance(text, ulaw_to_slin(slin_to_ulaw(line)), length))
        if len(made) == count:
            break
    return made


def errors(expected: str, heard: str) -> tuple[int, int]:
    """How many words have to be changed, left out or put in, and how many were expected: their ratio is the WER."""
    wanted, found = words(expected), words(heard)
    row = list(range(len(found) + 1))
    for number, word in enumerate(wanted, 1):
        before, row = row, [number]
        for column, other in enumerate(found, 1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (word != other)))
    return row[-1], len(wanted)


@attrs.frozen(eq=False)
class _Spoken:
    """A prompt: its words, its recording, and that from the first sound to the last."""

    text: str
    recording: bytes
    speech: bytes

    @property
    def seconds(self) -> float:
        return len(self.speech) / 2 / RATE


def _groups(spoken: Sequence[_Spoken], seconds: float, chance: random.Random) -> Iterator[list[_Spoken]]:
    """Prompts that together may be as long as wanted, each in one group of them at most."""
    left = list(spoken)
    while left:
        group = [left.pop()]
        length = group[0].seconds
        while length < (1 - TOLERANCE) * seconds:
            room = (1 + TOLERANCE) * seconds - length - LONGEST_JOIN
            fitting = [part for part in left if part.seconds <= room]
            if not fitting:
                break
            group.append(chance.choice(fitting))
            left.remove(group[-1])
            length += group[-1].seconds + SHORTEST_JOIN
        yield group


def _clear(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.name not in FRAGMENTS and not NOT_SPOKEN_SO.search(prompt.text)]


def _spoken(prompt: Prompt) -> _Spoken:
    pcm = prompt.pcm()
    if not (spans := speech_spans(pcm, join_seconds=1.0)):
        return _Spoken(prompt.text, pcm, b"")
    first, last = max(0.0, spans[0].start - EDGE), spans[-1].end + EDGE
    return _Spoken(prompt.text, pcm, pcm[2 * round(first * RATE) : 2 * round(last * RATE)])
