"""Who says what, how, over which line: the turns of a part of the split, before anything is spoken. Pure.

All follows from names and words by their digests. The voices take turns, so that a few turns of a part have as many
voices as many have; each of a voice's turns is another sentence, as long as there are any.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from .conditions import Line
from .split import Part, Speaker
from .texts import Kind, Text

TEMPI: Final = (0.88, 1.18)
PITCHES: Final = (0.94, 1.06)
LEVELS: Final = (-30.0, -18.0)
PAUSES: Final = (0.7, 1.2)
"""Seconds that nobody speaks in a turn that is held up."""


@attrs.frozen
class Plan:
    """A turn to be made."""

    speaker: Speaker
    text: Text
    line: Line
    seed: int
    """Of all noise and loss in it."""
    tempo: float
    pitch: float
    dbfs: float
    pause: float
    """Seconds; nothing where the text has no pause."""

    @property
    def name(self) -> str:
        return f"{self.speaker.name}: {self.text.marked}"


def plans(part: Part, kind: Kind, speakers: Sequence[Speaker], texts: Sequence[Text], count: int) -> list[Plan]:
    """At most `count` turns of that kind, by English voices that can say anything; spread over voices and lines."""
    said = [text for text in texts if text.part is part and text.kind is kind]
    cast = [voice for voice in speakers if voice.part is part and voice.language == "en" and voice.source == "kokoro"]
    by_speaker = [sorted(said, key=lambda text: _seed(speaker, text)) for speaker in cast]
    rounds = [
        (speaker, mine[number]) for number in range(len(said)) for speaker, mine in zip(cast, by_speaker, strict=True)
    ]
    lines = list(Line)
    return [_plan(speaker, text, lines[at % len(lines)]) for at, (speaker, text) in enumerate(rounds[:count])]


def _plan(speaker: Speaker, text: Text, line: Line) -> Plan:
    seed = _seed(speaker, text)
    chance = np.random.default_rng(seed)
    tempo, pitch, dbfs, pause = (round(float(chance.uniform(*ends)), 3) for ends in (TEMPI, PITCHES, LEVELS, PAUSES))
    return Plan(speaker, text, line, seed, tempo, pitch, dbfs, pause if text.after else 0.0)


def plan_of_recording(speaker: Speaker, words: str, kind: Kind, line: Line) -> Plan:
    """The same for what was recorded: its tempo and pitch are the speaker's own."""
    held = kind is not Kind.FINISHED
    text = Text(kind, "recorded", words, "", drawn_out=False, part=speaker.part)
    plan = _plan(speaker, text, line)
    pause = float(np.random.default_rng(plan.seed + 1).uniform(*PAUSES)) if held else 0.0
    return attrs.evolve(plan, tempo=1.0, pitch=1.0, pause=pause)


def _seed(speaker: Speaker, text: Text) -> int:
    return int.from_bytes(hashlib.sha256(f"{speaker.name}: {text.marked}".encode()).digest()[:4])
