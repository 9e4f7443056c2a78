"""Fits the networks that tell what a caller's sound is, and writes their weights into the package.

    python -m tests.lab.fit_first_sounds [--rounds 16] [--networks 4] [--quick]

Sounds of tests.lab.first_sounds, of the part that is fitted to, come over lines of all kinds, at many speeds and
pitches; the product's own ear hears them, and every second time that it would ask is an example. Of voices there are
few, so others that lie between two of them say backchannels, too. Not to hear a turn costs more than to fall silent for
nothing: turns count `TURN_COSTS` times as much. Each network begins elsewhere. `just bench-first-sounds` tells how good
they are together.
"""

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
import structlog
import trio

from agentd_providers.local.first_sounds import FirstSounds, Floats, Network, features, save
from agentd_providers.local.voice_activity import VoiceActivityEngine, load_voice_activity
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.turns.first_sound import Kinds

from .first_sounds import (
    NOISE_EACH,
    PER_MIDWAY,
    PER_VOICE,
    Kind,
    Sound,
    asked_midway,
    of_turns,
    over,
    sounds_of,
    spoken,
    ways,
)
from .over_agent import Listener
from .small_network import Examples, fitted, loss
from .voices.split import Part

RECORDINGS, TURNS_EACH = 250, 110
EVERY_LOOK = 2
WAYS: Mapping[Part, int] = {Part.FIT: 6, Part.CHOOSE: 2}
NUMBER: Mapping[Kind, int] = {Kind.NOISE: 0, Kind.BACKCHANNEL: 1, Kind.COMMAND: 2, Kind.SENTENCE: 2}
TURN_COSTS = 3.0
KIND_COSTS = (0.6, 1.0, TURN_COSTS)
_EVERY = 200


@attrs.define
class Recorder:
    """A judge that keeps what it is asked, and takes all for turns, so that it is asked as often as possible."""

    given: list[Floats] = attrs.field(factory=list)

    def kinds(self, pcm: bytes, rate: int, begun: int) -> Kinds:
        """See SoundJudge."""
        self.given.append(features(pcm, rate, begun))
        return Kinds(0.0, 0.0, 1.0)


class NoWords:
    """A transcriber that is not asked."""

    def begin(self) -> Transcript:
        """A turn of which nothing becomes known."""
        return NothingHeard()


class NothingHeard:
    """See NoWords."""

    def feed(self, pcm: bytes) -> None: ...

    async def words(self) -> str:
        await trio.lowlevel.checkpoint()
        return ""

    def close(self) -> None: ...


async def examples(sounds: Sequence[Sound], count: int, activity: VoiceActivityEngine, *, widely: bool) -> Examples:
    """What an ear would ask of the sounds, each in so many ways. Kinds count the same but for their costs, and so do
    the sounds of a kind, however often one is asked about."""
    given: list[Floats] = []
    kinds: list[int] = []
    weights: list[float] = []
    for number, sound in enumerate(sounds, 1):
        for way in ways(number * 31, count, widely):
            recorder = Recorder()
            await Listener(activity, recorder, NoWords(), with_words=False).hear(over(sound, way))
            found = recorder.given[(number + way.seed) % EVERY_LOOK :: EVERY_LOOK]
            given += found
            kinds += [NUMBER[sound.kind]] * len(found)
            weights += [1 / max(1, len(found))] * len(found)
        if number % _EVERY == 0:
            print(f"{number} of {len(sounds)} sounds are heard, {len(given)} examples", flush=True)
    kind, weight = np.array(kinds), np.array(weights, np.float32)
    for which, cost in enumerate(KIND_COSTS):
        mine = kind == which
        if mine.any():
            weight[mine] *= cost / weight[mine].sum() * len(kind) / len(KIND_COSTS)
    return Examples(np.stack(given), kind, weight.astype(np.float32))


def all_fitted(count: int, rounds: int, to: Examples, by: Examples) -> FirstSounds:
    """So many networks, fitted `to` these; told is how they do `by` others."""
    networks: list[Network] = []
    for number in range(count):
        began = time.monotonic()
        networks.append(fitted(to, np.random.default_rng(number), rounds=rounds))
        losses = f"{loss(networks[-1], to):.3f} where fitted, {loss(networks[-1], by):.3f} where chosen"
        print(f"network {number}: loss {losses} ({time.monotonic() - began:.0f} s)", flush=True)
    together = FirstSounds(tuple(networks))
    print(f"together: loss {loss(together, to):.3f} where fitted, {loss(together, by):.3f} where chosen")
    return together


async def sounds_for(part: Part, quick: bool) -> list[Sound]:
    """What is fitted to, or chosen by."""

    def progress(text: str) -> None:
        print(text, flush=True)

    per_voice = {kind: count // 4 for kind, count in PER_VOICE[part].items()} if quick else PER_VOICE[part]
    sounds = await sounds_of(part, per_voice, NOISE_EACH[part], RECORDINGS, progress)
    if part is Part.FIT and not quick:
        sounds += await spoken(asked_midway(PER_MIDWAY), progress)
        sounds += await of_turns(part, TURNS_EACH, progress)
    return sounds


async def run(rounds: int, count: int, quick: bool) -> int:
    activity = await load_voice_activity()
    made: dict[Part, Examples] = {}
    for part in (Part.FIT, Part.CHOOSE):
        sounds = await sounds_for(part, quick)
        made[part] = await examples(sounds, WAYS[part], activity, widely=part is Part.FIT)
        print(f"{part}: {len(sounds)} sounds, {len(made[part].kind)} examples", flush=True)
    save(await trio.to_thread.run_sync(all_fitted, count, rounds, made[Part.FIT], made[Part.CHOOSE]))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16, help="over all examples (default 16)")
    parser.add_argument("--networks", type=int, default=4, help="that judge together (default 4)")
    parser.add_argument("--quick", action="store_true", help="a quarter of what is said")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    return trio.run(run, arguments.rounds, arguments.networks, arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
