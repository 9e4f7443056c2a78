"""What callers do while an agent speaks, to see what it does: interruptions, and sounds that are none."""

from collections.abc import Sequence

import attrs
import numpy as np

from . import distractors
from .first_sounds import PER_VOICE, Kind, Sound, sounds_of, trimmed
from .hearing import speak
from .prefix import LabUnavailable
from .speech import Prompt
from .turn_set import complete_turns, sentences
from .voices.conditions import at_level, slin
from .voices.split import Part

SPOKEN_DBFS = -21.0
BACKCHANNELS = ("Mm-hmm.", "Uh-huh.", "Okay.", "Yeah.", "Right.", "I see.")
NOISE_EACH = 3


@attrs.frozen
class Cue:
    """What the caller does while the agent speaks."""

    kind: str
    name: str
    pcm: bytes = attrs.field(repr=False)
    """Without silence before its first sound; empty for the agent's echo."""
    real: bool
    """Whether it is an interruption."""


def interruptions(prompts: Sequence[Prompt], count: int) -> list[Cue]:
    """Recorded human sentences."""
    samples = complete_turns([prompt for prompt in sentences(prompts) if "bye" not in prompt.text.lower()], count)
    return [Cue("sentence", sample.text, trimmed(sample.pcm), real=True) for sample in samples]


async def by_voices(part: Part) -> tuple[list[Cue], list[Cue]]:
    """Commands, and what is to be ignored, by the voices of a part; none where they cannot be had."""
    said = {kind: PER_VOICE[part][kind] for kind in (Kind.BACKCHANNEL, Kind.COMMAND)}
    try:
        sounds = await sounds_of(part, said, NOISE_EACH, 0, lambda text: print(text, flush=True))
    except LabUnavailable as error:
        print(f"left out: all synthetic voices: {error}")
        return [], []
    cues = [Cue(sound.kind, sound.name, _levelled(sound), sound.kind is Kind.COMMAND) for sound in sounds]
    return [cue for cue in cues if cue.real], [cue for cue in cues if not cue.real]


def _levelled(sound: Sound) -> bytes:
    if sound.kind is Kind.NOISE:
        return sound.pcm
    return slin(at_level(np.frombuffer(sound.pcm, "<i2").astype(np.float64), SPOKEN_DBFS))


def spread_out(cues: Sequence[Cue], count: int) -> list[Cue]:
    """At most `count` of them, from all over."""
    return [cues[number * len(cues) // count] for number in range(count)] if count < len(cues) else list(cues)


async def ignorable(prompts: Sequence[Prompt]) -> list[Cue]:
    """Sounds that are no interruption; the human voice where a recording exists, Piper's otherwise."""
    cues = [Cue("backchannel", text, trimmed(await speak(text)), real=False) for text in BACKCHANNELS]
    human = [prompt for prompt in prompts if prompt.path.parent.name == "digits" and prompt.name == "oh"]
    cues += [Cue("backchannel", "Oh. (human)", trimmed(prompt.pcm()), real=False) for prompt in human]
    made = {"cough": distractors.cough, "throat": distractors.throat_clearing, "noise": distractors.line_noise}
    made |= {"breath": distractors.breath, "clicks": distractors.clicks}
    instances = [("cough", 1), ("throat", 1), ("noise", 1), ("cough", 2), ("breath", 1), ("throat", 2), ("clicks", 1)]
    cues += [Cue(kind, f"{kind} {seed}", trimmed(made[kind](seed)), real=False) for kind, seed in instances]
    cues += [Cue("echo", f"own echo {number}", b"", real=False) for number in (1, 2)]
    cues += [Cue("cough", "cough 3", trimmed(distractors.cough(3)), real=False)]
    return [*cues, Cue("clicks", "clicks 2", trimmed(distractors.clicks(2)), real=False)]
