"""What callers say and make over an agent: backchannels, noises, commands, and the beginnings of sentences.

Voices are those of one part of the split (tests.lab.voices.split), and so are sentences; backchannels and commands are
few, and the same in all parts. A noise's part is its seed's. Actors of a play say all kinds (tests.lab.voices.
interjections), but no "mhm"; other recorded people say sentences only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Final

import attrs
import numpy as np
import trio

from agentd_providers.turns.settings import BACKCHANNELS
from agentd_providers.turns.words import plain_words

from . import distractors
from .debian import Progress, find_or_unpack
from .measure import speech_spans
from .speech import Prompt, human_prompts
from .turn_set import sentences
from .voices import conditions
from .voices.conditions import RATE, Line, Samples
from .voices.dialogues import SOURCE, open_archive
from .voices.fetching import bring_what_there_is
from .voices.interjections import interjections
from .voices.plans import plans
from .voices.split import Part, part_of_text, speakers
from .voices.texts import Kind as TurnKind
from .voices.texts import texts, texts_of
from .voices.turns import HISS, open_kokoro

LEAD, AFTER = 0.6, 1.4
"""Seconds of the line before and after a sound."""
RECORDED_SECONDS = 2.5
FIRST_WORDS = 6
_EVERY = 50


class Kind(StrEnum):
    """What a sound is."""

    NOISE = "noise"
    BACKCHANNEL = "backchannel"
    COMMAND = "command"
    SENTENCE = "sentence"


SAID: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.BACKCHANNEL: (
        "/mhˈm/.", "/mˈmhˌm/.", "/əmhˈəm/.", "/ʌhˈʌ/.", "/ˈʌhʌ/.", "/mˈmː/.", "/hˈmː/.", "Okay.", "Yeah.", "Right.",
        "I see.", "Oh.", "Sure.", "Aha.", "All right.", "Yes.", "Yep.", "Got it.", "Good.", "Great.", "Really?",
        "/ˈʌː/.", "/ˈʌm/.", "Okay?", "Ah.",
    ),
    Kind.COMMAND: (
        "Stop.", "No.", "Wait.", "Hello?", "Hold on.", "Excuse me.", "Stop!", "No!", "Wait!", "Hang on.",
        "Wait a minute.", "Stop it please.", "No, no.",
    ),
    Kind.SENTENCE: (),
}  # fmt: skip
"""Between slashes are phonemes: what espeak would spell."""
LIKE_BACKCHANNELS: Final = (
    "I think that is wrong.", "I want to ask something.", "I need a different day.", "I said Thursday.",
    "Who is that?", "What about Friday?", "How much is that?", "My name is Peter.", "Yesterday I called you.",
    "You are too fast.", "Your office is closed.", "Should I call again?", "Share it with me.", "Write it down please.",
    "Order number seven.", "Over there is fine.", "Open on Sunday?", "Only one question.", "Our table was for two.",
    "Another time please.", "Ask my wife.", "Maybe on Monday.", "Much too late.", "Hundred and five.",
    "Have you got a smaller one?", "Can I say something?", "Could you repeat that?", "But I have a question.",
    "Sorry, I did not get that.", "Show me the other one.", "Rate it again.", "Alter the date please.",
    "Gold or silver?", "Yet another question.", "Are you still there?",
    "Move it to Tuesday.", "Is it open today?", "See you on Monday then.",
)  # fmt: skip
"""Sentences that begin with sounds as backchannels do."""
NOISES: Final = {
    "cough": distractors.cough,
    "throat": distractors.throat_clearing,
    "breath": distractors.breath,
    "clicks": distractors.clicks,
    "line noise": distractors.line_noise,
}
SEEDS: Final = {Part.FIT: 1000, Part.CHOOSE: 2000, Part.THIRD: 3000}
PER_VOICE: Final[Mapping[Part, Mapping[Kind, int]]] = {
    Part.FIT: {Kind.BACKCHANNEL: 25, Kind.COMMAND: 13, Kind.SENTENCE: 0},
    Part.CHOOSE: {Kind.BACKCHANNEL: 12, Kind.COMMAND: 7, Kind.SENTENCE: 12},
    Part.THIRD: {Kind.BACKCHANNEL: 8, Kind.COMMAND: 6, Kind.SENTENCE: 6},
}
"""How much of each kind a voice says. Sentences to fit to are those of turns, and what people say and the voices
between two."""
NOISE_EACH: Final[Mapping[Part, int]] = {Part.FIT: 40, Part.CHOOSE: 12, Part.THIRD: 8}


MIDWAY: Final = " and "
"""Between the names of two voices: one that lies midway."""
PER_MIDWAY: Final[Mapping[Kind, int]] = {Kind.BACKCHANNEL: 12, Kind.COMMAND: 5, Kind.SENTENCE: 5}
"""How much of each kind the voices between two say, which are fitted to only."""


@attrs.frozen
class Sound:
    """One of them: 8 kHz slin from its first sound on."""

    kind: Kind
    name: str
    speaker: str
    pcm: bytes = attrs.field(repr=False)


@attrs.frozen
class Asked:
    """What a voice is to say."""

    kind: Kind
    speaker: str
    text: str


def asked(part: Part, per_voice: Mapping[Kind, int]) -> list[Asked]:
    """What each voice of a part says: so many of each kind, the next voice going on where the one before has ended."""
    return _all_said(cast(part), per_voice, part)


def asked_midway(per_voice: Mapping[Kind, int]) -> list[Asked]:
    """The same of voices that lie between two of the part that is fitted to: there are more of them than voices."""
    whose = cast(Part.FIT)
    pairs = [(one, whose[(number + step) % len(whose)]) for step in (1, 2) for number, one in enumerate(whose)]
    return _all_said([MIDWAY.join(pair) for pair in pairs], per_voice, Part.FIT)


def cast(part: Part) -> list[str]:
    """The English voices of a part that say whatever they are asked."""
    return [one.name for one in speakers() if one.part is part and one.language == "en" and one.source == "kokoro"]


def _all_said(whose: Sequence[str], per_voice: Mapping[Kind, int], part: Part) -> list[Asked]:
    found: list[Asked] = []
    for kind, count in per_voice.items():
        said = SAID[kind] or tuple(beginnings(part))
        found += [
            Asked(kind, speaker, said[(number * count + at) % len(said)])
            for number, speaker in enumerate(whose)
            for at in range(min(count, len(said)))
        ]
    return found


def beginnings(part: Part) -> Iterator[str]:
    """Of a part's sentences, those like backchannels and others by turns. What begins with a backchannel is left out:
    how it goes on nobody can know. So is a beginning that sentences of two parts have."""
    long = [text for text in texts() if len(text.words.split()) > 2 and not begins_with_backchannel(text.words)]
    elsewhere = {_beginning(text.words) for text in long if text.part is not part}
    mine = dict.fromkeys(_beginning(text.words) for text in long if text.part is part)
    alike = [text for text in LIKE_BACKCHANNELS if part_of_text(text) is part and text not in elsewhere]
    others = [text for text in mine if text not in elsewhere]
    for number in range(max(len(others), len(alike))):
        yield from others[number : number + 1]
        yield from alike[number : number + 1]


def _beginning(text: str) -> str:
    return " ".join(text.split()[:FIRST_WORDS]).rstrip(",;:")


def begins_with_backchannel(text: str) -> bool:
    """Whether its first words are ones that are said while listening, too."""
    words = plain_words(text)
    return any(" ".join(words[:count]) in BACKCHANNELS for count in (1, 2))


def noises(part: Part, each: int) -> list[Sound]:
    """So many of each."""
    return [
        Sound(Kind.NOISE, f"{name} {seed}", "", trimmed(make(seed)))
        for name, make in NOISES.items()
        for seed in range(SEEDS[part], SEEDS[part] + each)
    ]


def recorded(prompts: Sequence[Prompt], count: int) -> list[Sound]:
    """The beginnings of recorded sentences, spread over all that there are; their voice is of the part to fit to."""
    found = [prompt for prompt in sentences(prompts) if not begins_with_backchannel(prompt.text)]
    step = max(1, len(found) // count)
    return [
        Sound(Kind.SENTENCE, prompt.text, "allison-smith", trimmed(prompt.pcm())[: round(RECORDED_SECONDS * RATE) * 2])
        for prompt in found[::step][:count]
    ]


async def spoken(wanted: Sequence[Asked], progress: Progress) -> list[Sound]:
    """What the voices say; what they have said once is kept. Raises LabUnavailable."""
    kokoro, voices = await open_kokoro(progress)
    made: list[Sound] = []
    for number, one in enumerate(wanted, 1):
        voice = "+".join(voices[name] for name in one.speaker.split(MIDWAY))
        said = await trio.to_thread.run_sync(partial(kokoro.say, voice, one.text, "", 1.0))
        made.append(Sound(one.kind, f"{one.speaker}: {one.text}", one.speaker, trimmed(conditions.slin(said.samples))))
        if number % _EVERY == 0:
            progress(f"{number} of {len(wanted)} sounds are spoken")
    return made


async def of_turns(part: Part, each: int, progress: Progress) -> list[Sound]:
    """How the turns of tests.lab.voices.turns begin that voices say, so many of each kind. Raises LabUnavailable."""
    kokoro, voices = await open_kokoro(progress)
    wanted = [plan for kind in TurnKind for plan in plans(part, kind, speakers(), texts_of(part), each)]
    made: list[Sound] = []
    for plan in wanted:
        if not begins_with_backchannel(plan.text.words):
            say = partial(kokoro.say, voices[plan.speaker.name], plan.text.before, plan.text.after, plan.tempo)
            samples = (await trio.to_thread.run_sync(say)).samples
            made.append(Sound(Kind.SENTENCE, plan.name, plan.speaker.name, _beginning_of(samples)))
    return made


async def played(part: Part, progress: Progress, sentences: int = 10_000) -> list[Sound]:
    """What the actors of a play say, with so many sentences at most; none where their package cannot be had."""
    whose = {one.name for one in speakers() if one.part is part}
    rows = [row for row in interjections() if row.speaker in whose]
    said = [row for row in rows if row.kind == Kind.SENTENCE]
    rows = [row for row in rows if row.kind != Kind.SENTENCE] + said[:sentences]
    roots = await bring_what_there_is([SOURCE] if rows else [], progress)
    if SOURCE not in roots:
        return []
    archive = await trio.to_thread.run_sync(open_archive, roots[SOURCE])
    return [
        Sound(Kind(row.kind), f"{row.file} {row.words}".rstrip(), row.speaker, _beginning_of(archive.samples(row.file)))
        for row in rows
    ]


def _beginning_of(samples: Samples) -> bytes:
    pcm = trimmed(conditions.slin(conditions.at_level(samples, -23.0)))
    return pcm[: round(RECORDED_SECONDS * RATE) * 2]


async def sounds_of(
    part: Part, per_voice: Mapping[Kind, int], noise_each: int, recordings: int, progress: Progress
) -> list[Sound]:
    """All of a part, of the kinds that a voice says so much of; actors say all that they do. Raises LabUnavailable."""
    made = [*await spoken(asked(part, per_voice), progress), *noises(part, noise_each)]
    made += [sound for sound in await played(part, progress) if sound.kind in per_voice]
    if recordings and part is Part.FIT:
        made += recorded(human_prompts(await find_or_unpack(progress)), recordings)
    return made


def trimmed(pcm: bytes) -> bytes:
    """From the first sound on, to 5 ms."""
    spans = speech_spans(pcm)
    return pcm[round(spans[0].start * RATE) * 2 :] if spans else pcm


@attrs.frozen
class Way:
    """How a sound comes over a line."""

    line: Line
    seed: int
    tempo: float = 1.0
    pitch: float = 1.0
    decibels: float = 0.0
    """Louder than it is by itself: voices are brought to -23 dBFS before."""


def ways(seed: int, count: int, widely: bool = False) -> Iterable[Way]:
    """So many ways, over all lines by turns; `widely`: as more voices than there are would speak."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        tempo = chance.uniform(0.8, 1.25) if widely else chance.uniform(0.92, 1.1)
        pitch = chance.uniform(0.82, 1.2) if widely else chance.uniform(0.96, 1.04)
        line = list(Line)[(seed + number) % len(Line)]
        yield Way(line, seed + number, float(tempo), float(pitch), float(chance.uniform(-9, 6)))


def over(sound: Sound, way: Way) -> bytes:
    """The sound as the line brings it, `LEAD` seconds of the line before it and `AFTER` behind it."""
    samples: Samples = np.frombuffer(sound.pcm, "<i2").astype(np.float64)
    if sound.kind is not Kind.NOISE:
        samples = conditions.at_level(samples, -23.0)
    samples = conditions.at_pitch(conditions.at_tempo(samples, way.tempo), way.pitch)
    whole = np.concatenate((np.zeros(round(LEAD * RATE)), samples, np.zeros(round(AFTER * RATE))))
    hiss = np.random.default_rng(way.seed).normal(0, HISS, len(whole))
    return conditions.slin(conditions.through(way.line, whole * 10 ** (way.decibels / 20) + hiss, way.seed))
