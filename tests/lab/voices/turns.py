"""The turns of a part of the split, as a line carries them: planned, spoken or recorded, and put together.

What a voice has said once is kept below the user's cache, by a digest of the words, the voice and the network; the rest
is computed anew each time, and comes out the same.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import attrs
import numpy as np
import trio

from tests.lab.debian import Progress, cache
from tests.lab.measure import Span, speech_spans
from tests.lab.prefix import LabUnavailable
from tests.lab.turn_set import TurnSample

from . import conditions
from .conditions import RATE, Line, Samples
from .dialogues import SOURCE, Archive, Dialogue, dialogues, open_archive
from .fetching import NETWORK_SHA256, bring, bring_network, bring_what_there_is
from .kokoro import ACCENTS, Kokoro, Said
from .plans import Plan, plan_of_recording, plans
from .recordings import Recording, recordings
from .sources import SOURCES
from .split import Part, speakers
from .texts import Kind, texts_of

LEAD, TAIL = 0.2, 2.0
"""Seconds on the line before and after the turn: street noise does not end with the words."""
NOMINAL_DBFS = -23.0
"""At which it is looked where the speech is."""
HISS = 8.0
"""RMS of the line's own noise, in 16-bit steps."""
DRAWN_SECONDS, DRAWN_FACTOR = 0.2, 1.9
PLAYED: Final = 3
"""How many times as many turns there may be of a play as of all others."""
FADE: Final = 64
"""Samples over which sound ends and begins at a cut."""
_EVERY = 20


class Speaks(Protocol):
    """Who can say something: Kokoro, or a test's stand-in."""

    def say(self, voice: str, before: str, after: str = "", speed: float = 1.0) -> Said: ...


@attrs.frozen
class Kept:
    """Says it, and keeps what it said in `folder`. Blocking."""

    speaks: Speaks
    folder: Path

    def say(self, voice: str, before: str, after: str, speed: float) -> Said:
        what = json.dumps([NETWORK_SHA256, SOURCES["kokoro-js"].sha256, voice, before, after, speed])
        path = self.folder / f"{hashlib.sha256(what.encode()).hexdigest()}.npz"
        if path.is_file():
            with np.load(path) as kept:
                return Said(kept["samples"].astype(np.float64), int(kept["at"]) if after else None)
        said = self.speaks.say(voice, before, after, speed)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, samples=np.frombuffer(conditions.slin(said.samples), "<i2"), at=np.array(said.at or 0))
        unfinished.rename(path)
        # As it will be read: a set that is made anew is the same.
        return Said(np.frombuffer(conditions.slin(said.samples), "<i2").astype(np.float64), said.at)


def composed(said: Said, plan: Plan) -> TurnSample:
    """The turn as it arrives: held up where it is to be, in its manner, at its level, over its line."""
    samples = conditions.at_pitch(conditions.at_level(said.samples, NOMINAL_DBFS), plan.pitch)
    at = said.at
    if at is not None and plan.text.drawn_out:
        longer = conditions.drawn_out(samples, at, DRAWN_SECONDS, DRAWN_FACTOR)
        samples, at = longer, at + len(longer) - len(samples)
    if at is not None:
        samples, at = _held_up(samples, at, plan.pause)
    samples = np.concatenate((np.zeros(round(LEAD * RATE)), samples, np.zeros(round(TAIL * RATE))))
    (spoken,) = speech_spans(conditions.slin(samples), join_seconds=10.0)
    pause = None if at is None else _pause_around(samples, at + round(LEAD * RATE))
    hiss = np.random.default_rng(plan.seed).normal(0, HISS, len(samples))
    heard = conditions.through(plan.line, samples * 10 ** ((plan.dbfs - NOMINAL_DBFS) / 20) + hiss, plan.seed)
    return TurnSample(
        plan.name,
        plan.text.words,
        conditions.slin(heard),
        pause,
        spoken=spoken,
        speaker=plan.speaker.name,
        manner=plan.text.manner,
        line=plan.line.value,
    )


def _held_up(samples: Samples, at: int, seconds: float) -> tuple[Samples, int]:
    """With silence at sample `at`, until nothing is heard for so many seconds in all; and its middle."""
    fade = np.linspace(1.0, 0.0, FADE)
    before, after = samples[:at].copy(), samples[at:].copy()
    before[-FADE:] *= fade[-len(before) :]
    after[:FADE] *= fade[::-1][: len(after)]
    quiet = _quiet_at_the_end(before) + _quiet_at_the_end(after[::-1])
    silence = np.zeros(max(0, round(seconds * RATE) - quiet))
    return np.concatenate((before, silence, after)), at + len(silence) // 2


def _quiet_at_the_end(samples: Samples) -> int:
    spans = speech_spans(conditions.slin(samples), join_seconds=10.0)
    return len(samples) - round(spans[-1].end * RATE) if spans else len(samples)


def _pause_around(samples: Samples, at: int) -> Span:
    """From the last sound before sample `at` to the first one after it."""
    first = speech_spans(conditions.slin(samples[:at]), join_seconds=10.0)
    last = speech_spans(conditions.slin(samples[at:]), join_seconds=10.0)
    if not first or not last:
        raise ValueError(f"expected speech before and after the pause at {at / RATE:.2f} s, found none")
    return Span(first[-1].end, at / RATE + last[0].start)


def from_recording(recording: Recording, root: Path) -> Said:
    """A recorded sentence, and where it can be held up."""
    samples = recording.samples(root)
    at = None if recording.cut is None else round((recording.cut - recording.start) * RATE)
    return Said(samples, at)


async def turns_of(part: Part, kind: Kind, count: int, progress: Progress) -> list[TurnSample]:
    """At most `count` turns of that kind: first what people recorded, then what synthetic voices say; and up to PLAYED
    times as many more of people who talk to each other, where the part has such.

    `progress` hears what is fetched and how far it is. What cannot be had is named and left out; raises LabUnavailable
    where that leaves nothing.
    """
    made = await _recorded(part, kind, count, progress)
    try:
        made += await _spoken(plans(part, kind, speakers(), texts_of(part), count - len(made)), progress)
    except LabUnavailable as error:
        progress(f"left out: all synthetic voices: {error}")
    made += await _played(part, kind, PLAYED * count, progress)
    if not made:
        raise LabUnavailable(f"no voice of the part {part} can be had")
    return made


async def _recorded(part: Part, kind: Kind, count: int, progress: Progress) -> list[TurnSample]:
    by_name = {speaker.name: speaker for speaker in speakers()}
    mine = [row for row in recordings() if by_name[row.speaker].part is part and _fits(row, kind)][:count]
    roots = await bring_what_there_is(list(dict.fromkeys(row.source for row in mine)), progress)
    lines = list(Line)
    return [
        composed(
            _whole(from_recording(row, roots[row.source]), kind),
            plan_of_recording(by_name[row.speaker], row.text, kind, lines[number % len(lines)]),
        )
        for number, row in enumerate(mine)
        if row.source in roots
    ]


async def _played(part: Part, kind: Kind, count: int, progress: Progress) -> list[TurnSample]:
    by_name = {speaker.name: speaker for speaker in speakers()}
    mine = [row for row in dialogues() if by_name[row.speaker].part is part and row.kind is kind][:count]
    roots = await bring_what_there_is([SOURCE] if mine else [], progress)
    lines = list(Line)
    return [
        composed(
            _of_a_play(row, await trio.to_thread.run_sync(open_archive, roots[SOURCE])),
            plan_of_recording(by_name[row.speaker], row.name, kind, lines[number % len(lines)]),
        )
        for number, row in enumerate(mine)
        if SOURCE in roots
    ]


def _of_a_play(row: Dialogue, archive: Archive) -> Said:
    return Said(row.samples(archive), None if row.cut is None else round(row.cut * RATE))


def _fits(row: Recording, kind: Kind) -> bool:
    return row.cut is not None if kind is Kind.HESITATION else kind is Kind.FINISHED and not row.again


def _whole(said: Said, kind: Kind) -> Said:
    return attrs.evolve(said, at=None) if kind is Kind.FINISHED else said


async def _spoken(wanted: Sequence[Plan], progress: Progress) -> list[TurnSample]:
    if not wanted:
        return []
    kokoro, voices = await open_kokoro(progress)
    made: list[TurnSample] = []
    for number, plan in enumerate(wanted, 1):
        voice = voices[plan.speaker.name]
        said = await trio.to_thread.run_sync(partial(kokoro.say, voice, plan.text.before, plan.text.after, plan.tempo))
        made.append(composed(said, plan))
        if number % _EVERY == 0:
            progress(f"{number} of {len(wanted)} turns are spoken")
    return made


async def open_kokoro(progress: Progress) -> tuple[Kept, Mapping[str, str]]:
    """The synthetic voices, which keep what they have said, and their files by speaker. Raises LabUnavailable."""
    network, vocabulary = await bring_network(progress)
    folder = await bring(SOURCES["kokoro-js"], progress) / "package" / "voices"
    kokoro = Kept(await trio.to_thread.run_sync(Kokoro, network, vocabulary, folder), cache(os.environ) / "voices/said")
    return kokoro, english_voices(folder)


def english_voices(folder: Path) -> Mapping[str, str]:
    """The files of English voices by the names of their speakers."""
    return {f"kokoro {path.stem[3:]}": path.stem for path in sorted(folder.glob("*.bin")) if path.stem[0] in ACCENTS}


async def _build(part: Part, counts: Mapping[Kind, int]) -> int:
    for kind, count in counts.items():
        made = await turns_of(part, kind, count, lambda text: print(text, flush=True))
        seconds = sum(len(turn.pcm) for turn in made) / 2 / RATE
        print(f"{part} {kind}: {len(made)} turns by {len({turn.speaker for turn in made})} voices, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(trio.run(_build, Part(sys.argv[1]), {kind: int(sys.argv[2]) for kind in Kind}))
