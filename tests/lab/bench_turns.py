"""Is a caller who pauses taken for one who has finished? The cues of an end of turn, offline, without a PBX.

    python -m tests.lab.bench_turns [--part known|fit|choose ...] [--third] [--turns 150] [--slow 2]

Turns by many voices (tests.lab.voices), finished and held up, go through the product's own ear and engines
(tests.lab.turn_evidence), and then through its turn taking in the audio's own time (tests.lab.turn_replay), with some
of the cues, all, or none: how long after the last sound a turn is found over, which share of the hesitations is
cut off, how many turns are never found over. "Silence alone" is the silence that cuts off at most one in twenty.

`known` are the recorded prompts that the product was first tuned on; weights are fitted to `fit`, and `choose` is for
choosing. `--third` judges by what is kept apart, and writes down that it did: date, commit and figures are appended to
tests/lab/voices/looks.tsv, which belongs into the commit. `--slow` lets all cues come so many times as late.

Exits with 1 where, over the third part, more than one hesitation in twenty is cut off, or the slowest of twenty turns
is found over later than after 0.9 s.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from tqdm import tqdm

from agentd_providers.local.llm_server import LlmServerSettings, open_llm_server
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.turn_head import packaged
from agentd_providers.local.voice_activity import load_voice_activity
from agentd_providers.openai.client import make_client
from agentd_providers.turns.settings import TurnSettings

from .debian import find_or_unpack
from .figures import Conditions, commit, quantile, spread, write_report
from .speech import human_prompts
from .turn_evidence import Evidence, Gatherer, Pause
from .turn_replay import SILENCE_ALONE, Cues, Delays, Ending, in_silence_alone, replay
from .turn_set import TurnSample, complete_turns, hesitations, pauses_after_a_sentence
from .voices import looks
from .voices.split import Part, speakers
from .voices.texts import Kind
from .voices.turns import turns_of

KNOWN: Final = "known"
TAKING: Final = TurnSettings().turn_taking("en")
ALL: Final = Cues(head=packaged())
CUES: Final[Mapping[str, Cues]] = {
    "all": ALL,
    "all but the sound": Cues(sound=False),
    "all but the words": Cues(words=False, head=packaged()),
    "all but the sentence": Cues(sentence=False, head=packaged()),
    "one look at the sound": Cues(looks=1, head=packaged()),
    "sound": Cues(words=False, sentence=False, head=packaged()),
}
SILENCES: Final = tuple(range(200, 2001, 50))
AIM_CUT_OFF, AIM_P95_MS = 0.05, 900
Turns = Mapping[Kind, Sequence[Evidence]]


async def gather(part: Part | str, count: int) -> Turns:
    """The evidence of at most `count` turns of each kind. Raises LabUnavailable where there is none."""
    samples = {kind: await _samples(part, kind, count) for kind in Kind}
    async with _gatherer() as gatherer:
        total = sum(map(len, samples.values()))
        with tqdm(total=total, unit="turn", desc=f"hearing {part}", disable=None) as bar:
            found: dict[Kind, list[Evidence]] = {}
            for kind, turns in samples.items():
                found[kind] = []
                for turn in turns:
                    found[kind].append(await gatherer.gather(turn))
                    bar.update()
    if any(gatherer.times.values()):
        print(f"{part}: engines, ms:", {name: spread(times) for name, times in gatherer.times.items()}, flush=True)
    return found


async def _samples(part: Part | str, kind: Kind, count: int) -> list[TurnSample]:
    made: list[TurnSample] = []
    if part in (KNOWN, Part.FIT):
        prompts = human_prompts(await find_or_unpack(_say))
        make = {Kind.FINISHED: complete_turns, Kind.HESITATION: hesitations, Kind.GOES_ON: pauses_after_a_sentence}
        made = make[kind](prompts, 200)
    return made if part == KNOWN else [*made, *await turns_of(Part(part), kind, count, _say)]


def _say(text: str) -> None:
    print(text, flush=True)


@asynccontextmanager
async def _gatherer() -> AsyncIterator[Gatherer]:
    settings = LlmServerSettings(
        str(catalogue.locate("smollm2-135m")), threads=1, threads_batch=2, context=2048, slots=4
    )
    async with open_llm_server(settings, lambda _name: None) as server:
        async with make_client(server.address, server.key) as client:
            yield Gatherer(await load_voice_activity(), client)


# --- figures


def figures(turns: Turns, how: Callable[[Evidence], Ending]) -> dict[str, Any]:
    """What becomes of the turns of a part, or of some of them."""
    finished = [how(turn) for turn in turns[Kind.FINISHED]]
    held = [how(turn) for turn in turns[Kind.HESITATION]]
    after = [how(turn) for turn in turns[Kind.GOES_ON]]
    whole = [ending for ending in held if not ending.cut_off]
    everything = [*finished, *held]
    return {
        "wait_ms": spread([ending.wait_ms for ending in finished if ending.wait_ms is not None]),
        "turns": len(finished),
        "hesitations": len(held),
        "cut_off": sum(ending.cut_off for ending in held),
        "wait_after_hesitation_ms": spread([ending.wait_ms for ending in whole if ending.wait_ms is not None]),
        "early": sum(ending.early for ending in everything),
        "never_over": sum(ending.wait_ms is None for ending in everything),
        "ended_after_a_whole_sentence": f"{sum(ending.cut_off for ending in after)} of {len(after)}",
    }


def silence_alone(turns: Turns) -> tuple[int, dict[str, Any]]:
    """The least silence that cuts off at most one hesitation in twenty, and what becomes of the turns by it."""
    for silence in SILENCES:
        found = figures(turns, by(SILENCE_ALONE, Delays(answer=0), silence))
        if found["cut_off"] <= AIM_CUT_OFF * found["hesitations"]:
            break
    return silence, found


def by(cues: Cues, delays: Delays, silence: float = 0.0) -> Callable[[Evidence], Ending]:
    """Turn taking by these cues, as the product does it, or by nothing but a silence."""
    taking = in_silence_alone(TAKING, silence) if silence else TAKING
    return lambda turn: replay(turn, taking, delays, cues)


def rows(turns: Turns, slow: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """The table's."""
    for name, cues in CUES.items():
        yield name, figures(turns, by(cues, Delays()))
    yield f"all, {slow:g} times as late", figures(turns, by(ALL, Delays().slower(slow)))
    silence, found = silence_alone(turns)
    yield f"silence alone ({silence} ms)", found
    yield "silence alone (300 ms)", figures(turns, by(SILENCE_ALONE, Delays(answer=0), 300))
    people = _people()
    of_people = only(turns, lambda turn: turn.sample.speaker in people)
    if any(of_people.values()):
        yield "all, people", figures(of_people, by(ALL, Delays()))
        others = only(turns, lambda turn: turn.sample.speaker not in people)
        yield "all, synthetic", figures(others, by(ALL, Delays()))
    for line in sorted({turn.sample.line for kind in turns.values() for turn in kind}):
        if line:
            yield f"all, {line}", figures(only(turns, _on(line)), by(ALL, Delays()))


def only(turns: Turns, fits: Callable[[Evidence], bool]) -> Turns:
    """Those that fit."""
    return {kind: [turn for turn in mine if fits(turn)] for kind, mine in turns.items()}


def _on(line: str) -> Callable[[Evidence], bool]:
    return lambda turn: turn.sample.line == line


def _people() -> frozenset[str]:
    """The names of those who are no synthetic voices; the prompts' speaker has none."""
    return frozenset({"", *(speaker.name for speaker in speakers() if speaker.kind == "human")})


def table(title: str, turns: Turns, slow: float) -> dict[str, Any]:
    """Print and give a part's figures."""
    print(f"\n{title}")
    print(f"{'':30}{'wait p50':>9}{'p95':>7}{'max':>7}   {'cut off':>14}{'then p95':>9}{'early':>6}{'never':>6}  whole")
    told: dict[str, Any] = {}
    for name, found in rows(turns, slow):
        told[name] = found
        waits = "".join(f"{_ms(found['wait_ms'][key]):>{width}}" for key, width in (("p50", 9), ("p95", 7), ("max", 7)))
        held = found["hesitations"]
        share = f"{found['cut_off']} of {held} {100 * found['cut_off'] / max(held, 1):3.0f} %"
        then = _ms(found["wait_after_hesitation_ms"]["p95"])
        print(
            f"{name:30}{waits}   {share:>14}{then:>9}{found['early']:>6}{found['never_over']:>6}"
            f"  {found['ended_after_a_whole_sentence']}"
        )
    return told


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def wrong(turns: Turns) -> list[dict[str, Any]]:
    """The hesitations that were cut off, and the finished turns that are found over last: for who looks for causes."""
    held = [(turn, by(ALL, Delays())(turn)) for turn in turns[Kind.HESITATION]]
    done = [(turn, by(ALL, Delays())(turn)) for turn in turns[Kind.FINISHED]]
    late = quantile([ending.wait_ms or 9e9 for _, ending in done], 0.95) if done else 0
    found = [turn for turn, ending in held if ending.cut_off]
    found += [turn for turn, ending in done if (ending.wait_ms or 9e9) > late]
    return [
        {
            "turn": turn.sample.name,
            "manner": turn.sample.manner,
            "line": turn.sample.line,
            "held_up": turn.sample.pause is not None,
            "words": [pause.words for pause in turn.pauses],
            "sentence": [pause.sentence for pause in turn.pauses],
            "looks": [_looks(pause) for pause in turn.pauses],
        }
        for turn in found
    ]


def _looks(pause: Pause) -> list[float]:
    """What the looks at a pause's sound say."""
    head = packaged()
    return [round(head.complete(look.smart, look.pooled, number), 3) for number, look in enumerate(pause.looks)]


def who(part: Part | str, turns: Turns) -> dict[str, int]:
    """How many voices a part has, and how many of them are people's."""
    by_name = {speaker.name: speaker for speaker in speakers()}
    names = {turn.sample.speaker for kind in turns.values() for turn in kind} - {""}
    human = sum(by_name[name].kind == "human" for name in names) + (part in (KNOWN, Part.FIT))
    return {"speakers": len(names) + (part in (KNOWN, Part.FIT)), "human": human}


async def run(parts: Sequence[str], count: int, slow: float) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    conditions = Conditions.now()
    report: dict[str, Any] = {"slow": slow, "parts": {}}
    for part in parts:
        turns = await gather(part, count)
        voices = who(part, turns)
        title = f"{part}: {voices['speakers']} voices, {voices['human']} of them people's"
        report["parts"][part] = {**voices, "rows": table(title, turns, slow), "wrong": wrong(turns)}
    print(write_report("turns", report, conditions))
    if Part.THIRD not in parts:
        return 0
    told = report["parts"][Part.THIRD]
    judged = told["rows"]["all"]
    print(looks.note("bench-turns", commit(), {**{k: told[k] for k in ("speakers", "human")}, **judged}))
    return int(judged["cut_off"] > AIM_CUT_OFF * judged["hesitations"] or judged["wait_ms"]["p95"] > AIM_P95_MS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    seen = [KNOWN, Part.FIT.value, Part.CHOOSE.value]
    parser.add_argument("--part", action="append", choices=seen, help="which turns (default: known and choose)")
    parser.add_argument("--third", action="store_true", help="the turns that are kept apart, and note the look")
    parser.add_argument("--turns", type=int, default=150, help="of each kind and part at most (default 150)")
    parser.add_argument("--slow", type=float, default=2.0, help="how late cues come in a row (default 2)")
    asked = parser.parse_args()
    parts = asked.part or ([] if asked.third else [KNOWN, Part.CHOOSE.value])
    return trio.run(run, [*parts, *([Part.THIRD.value] if asked.third else [])], asked.turns, asked.slow)


if __name__ == "__main__":
    sys.exit(main())
