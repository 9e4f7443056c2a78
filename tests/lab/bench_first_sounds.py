"""For how long is an agent silent for nothing, and who is heard to interrupt it? Offline, without a PBX.

    python -m tests.lab.bench_first_sounds [--part fit|choose] [--third] [--sounds 1]

Sounds of tests.lab.first_sounds, of voices and of actors, come over four kinds of line into the product's ear, with its
voice activity, the network that weighs sounds, turn taking and Moonshine; the agent speaks without end. Time is the
audio's own, and words come 160 ms after a pause, so that the figures do not depend on the machine:

    silenced    how long it was silent before it went on, or was never silent; from 300 ms on it counts as silenced
    taken       a command or a sentence stopped it for good; how long after the onset it fell silent for that

The same without the network stands beside it. With `--asked` all comes upon a question of the agent's. `--third` is the
voices that are kept apart, and the look is written down (tests/lab/voices/looks.tsv, which belongs into the commit).
"""

import argparse
import logging
import math
import sys
from collections.abc import Callable, Sequence

import attrs
import structlog
import trio

from agentd_providers.local import first_sounds
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.voice_activity import VoiceActivityEngine, load_voice_activity

from .bench_ghosts import EngineTranscriber
from .figures import Conditions, commit, quantile, write_report
from .first_sounds import LEAD, NOISE_EACH, PER_VOICE, Kind, Sound, Way, over, sounds_of, ways
from .over_agent import Course, Listener
from .voices import looks
from .voices.split import Part, speakers

SILENCED_MS = 300.0
NOTHING = (Kind.NOISE, Kind.BACKCHANNEL)
MODEL = "moonshine-tiny-en"
AIM_SILENCED, AIM_TAKEN = 0.05, 0.95


@attrs.frozen
class Heard:
    """A sound that came one way, and what became of the agent with the network and without."""

    sound: Sound
    way: Way
    weighed: Course
    by_words: Course


def row(name: str, heard: Sequence[Heard], which: Callable[[Heard], Course]) -> dict[str, object]:
    """The figures of some sounds that are nothing."""
    silent = [silence_of(which(one)) for one in heard]
    return {
        "kind": name,
        "sounds": len(heard),
        "silenced_over_300_ms": sum(one >= SILENCED_MS for one in silent),
        "silent_p50_ms": in_ms(quantile(silent, 0.5)),
        "silent_p95_ms": in_ms(quantile(silent, 0.95)),
        "stopped": sum(which(one).taken is not None for one in heard),
    }


def row_of_turns(name: str, heard: Sequence[Heard], which: Callable[[Heard], Course]) -> dict[str, object]:
    """The figures of commands, or of sentences."""
    stops = [stop - 1000 * LEAD for one in heard if (stop := which(one).stopped) is not None]
    return {
        "kind": name,
        "sounds": len(heard),
        "taken": len(stops),
        "stop_p50_ms": round(quantile(stops, 0.5)) if stops else None,
        "stop_p95_ms": round(quantile(stops, 0.95)) if stops else None,
        "stop_max_ms": round(max(stops)) if stops else None,
        "doubted": sum(which(one).doubted is not None for one in heard),
    }


def in_ms(silent: float) -> int | None:
    """None: for good."""
    return round(silent) if math.isfinite(silent) else None


def silence_of(course: Course) -> float:
    """ms; of one that was stopped there is no end."""
    return float("inf") if course.taken is not None else course.silent


def rows(heard: Sequence[Heard], which: Callable[[Heard], Course]) -> list[dict[str, object]]:
    """By kind, then by line, and those of people apart."""
    made = []
    people = {one.name for one in speakers() if one.kind == "human"}
    for kind in Kind:
        of_kind = [one for one in heard if one.sound.kind is kind]
        by_line = {line: [one for one in of_kind if one.way.line is line] for line in dict.fromkeys(
            one.way.line for one in of_kind
        )}  # fmt: skip
        figures = row if kind in NOTHING else row_of_turns
        made += [figures(kind, of_kind, which)] if of_kind else []
        made += [figures(f"{kind}, {line}", some, which) for line, some in by_line.items()]
        by_people = [one for one in of_kind if one.sound.speaker in people]
        made += [figures(f"{kind}, people", by_people, which)] if by_people else []
    return made


async def hear_all(
    sounds: Sequence[Sound], count: int, activity: VoiceActivityEngine, *, asked: bool, words: bool
) -> list[Heard]:
    """Each sound in so many ways, with the network and without."""
    transcriber = EngineTranscriber("moonshine", str(catalogue.locate(MODEL)))
    network = first_sounds.load()
    made: list[Heard] = []
    for number, sound in enumerate(sounds):
        for way in ways(number, count):
            pcm = over(sound, way)
            courses = [
                await Listener(activity, judge, transcriber, with_words=words).hear(pcm, asked=asked)
                for judge in (network, None)
            ]
            made.append(Heard(sound, way, *courses))
    return made


async def run(part: Part, count: int, asked: bool, words: bool) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    conditions = Conditions.now()
    sounds = await sounds_of(part, PER_VOICE[part], NOISE_EACH[part], 0, lambda text: print(text, flush=True))
    heard = await hear_all(sounds, count, await load_voice_activity(), asked=asked, words=words)
    report: dict[str, object] = {"set": part, "speakers": len({sound.speaker for sound in sounds} - {""})}
    for title, which in (("weighed", lambda one: one.weighed), ("words alone", lambda one: one.by_words)):
        found = rows(heard, which)
        report[title] = found
        print(f"\n{title}:")
        for one in found:
            print("  " + "  ".join(f"{name} {value}" for name, value in one.items()))
    print()
    for each in heard:
        wrong = silence_of(each.weighed) >= SILENCED_MS if each.sound.kind in NOTHING else each.weighed.taken is None
        if wrong or (each.sound.kind not in NOTHING and each.weighed.doubted is not None):
            print(f"{each.sound.kind} {each.sound.name}, {each.way.line}: {attrs.asdict(each.weighed)}")
    print(write_report("first_sounds", report, conditions))
    judged = counts(heard)
    if part is Part.THIRD:
        print(looks.note("bench-first-sounds", commit(), judged))
    silenced, taken = judged["silenced_over_300_ms"] / judged["nothing"], judged["taken"] / judged["commands"]
    return int(not asked and (silenced > AIM_SILENCED or taken < AIM_TAKEN))


def counts(heard: Sequence[Heard]) -> dict[str, int]:
    """What has to be few, and what many."""
    nothing = [each for each in heard if each.sound.kind in NOTHING]
    commands = [each for each in heard if each.sound.kind is Kind.COMMAND]
    return {
        "nothing": len(nothing),
        "silenced_over_300_ms": sum(silence_of(each.weighed) >= SILENCED_MS for each in nothing),
        "commands": len(commands),
        "taken": sum(each.weighed.taken is not None for each in commands),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    seen = (Part.FIT, Part.CHOOSE)
    parser.add_argument("--part", type=Part, default=Part.CHOOSE, choices=seen, help="whose voices (default: choose)")
    parser.add_argument("--third", action="store_true", help="the voices that are kept apart, and note the look")
    parser.add_argument("--sounds", type=int, default=1, help="how often each sound comes (default once)")
    parser.add_argument("--asked", action="store_true", help="upon a question of the agent's")
    parser.add_argument("--without-words", action="store_true", help="faster: no speech engine")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    part = Part.THIRD if arguments.third else arguments.part
    return trio.run(run, part, arguments.sounds, arguments.asked, not arguments.without_words)


if __name__ == "__main__":
    sys.exit(main())
