"""Is a caller who pauses taken for one who has finished? The cues of an end of turn, offline, without a PBX.

    python -m tests.lab.bench_turns [--fit]

Recorded sentences, whole and held up in their middle (tests.lab.turn_set), through the product's own transcriber,
Smart Turn, language model and `turns.end_of_turn`: how long a finished sentence would have to wait, and which
share of the hesitations would be cut off, for each cue and for all. The weights of `turns.end_of_turn` were tuned
on one half of the prompts (`--fit` prints the logistic regression); what is printed first is the other half.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

import attrs
import numpy as np
import numpy.typing as npt
import trio
from scipy.optimize import minimize

from agentd.errors import ProviderError
from agentd_providers.local import moonshine, sentence_end, smart_turn
from agentd_providers.local.llm_server import LlmServerSettings, open_llm_server
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.openai.chat_forms import transcript
from agentd_providers.openai.client import make_client
from agentd_providers.pipeline.stages import Message, Role
from agentd_providers.turns.end_of_turn import silence_needed, words_complete
from agentd_providers.turns.settings import TurnSettings

from .debian import find_or_unpack
from .figures import Conditions, quantile, spread, write_report
from .measure import speech_spans
from .speech import human_prompts
from .turn_set import RATE, TurnSample, complete_turns, hesitations, pauses_after_a_sentence, quiet

PRE_ROLL = 0.3
WORDS_MS, LOOK_MS = 100, 160
"""The silences at which the transcriber and Smart Turn are asked."""
LOOKS_MS = (100, LOOK_MS, 200, 250, 400, 800)
PATIENCE = TurnSettings().turn_taking("en").patience
SYSTEM = Message(Role.SYSTEM, "You are a friendly assistant on the telephone. Answer in one or two short sentences.")
AIM_CUT_OFF, AIM_P95_MS = 0.05, 1100


@attrs.define
class Heard:
    """A turn up to its pause or end, and what the engines made of it."""

    sample: TurnSample
    words: str
    smart: dict[int, float]
    sentence: float | None = None

    @property
    def tuned_on(self) -> bool:
        """Whether its prompt belongs to the half that the constants were tuned on."""
        return crc32(self.sample.name.encode()) % 2 == 0

    @property
    def pause_ms(self) -> float:
        return math.inf if self.sample.pause is None else 1000 * (self.sample.pause.end - self.sample.pause.start)


@attrs.define
class Timings:
    """How long the engines took, in ms."""

    transcriber: list[float] = attrs.field(factory=list)
    smart_turn: list[float] = attrs.field(factory=list)
    sentence_end: list[float] = attrs.field(factory=list)


Waiting = Callable[[Heard], float]


def waiting(*, smart: int | None = None, words: bool = False, sentence: bool = False) -> Waiting:
    """`silence_needed` with some of the cues; `smart` is the silence at which Smart Turn was asked."""
    return lambda heard: silence_needed(
        None if smart is None else heard.smart[smart],
        words_complete(heard.words) if words else None,
        (),
        PATIENCE,
        sentence=heard.sentence if sentence else None,
    )


FUSED = waiting(smart=LOOK_MS, words=True, sentence=True)
CUES: dict[str, Waiting] = {
    "smart turn": waiting(smart=LOOK_MS),
    "words": waiting(words=True),
    "sentence end": waiting(sentence=True),
    "smart turn, words": waiting(smart=LOOK_MS, words=True),
    "smart turn, sentence end": waiting(smart=LOOK_MS, sentence=True),
    "all three": FUSED,
    **{
        f"all, asked at {look} ms": waiting(smart=look, words=True, sentence=True)
        for look in LOOKS_MS
        if look != LOOK_MS
    },
}


def hear(sample: TurnSample, timings: Timings) -> Heard:
    """What the transcriber and Smart Turn make of the turn up to its pause, as the product would ask them."""
    spans = speech_spans(sample.pcm)
    end = spans[-1].end if sample.pause is None else sample.pause.start
    silent = quiet(sample.pcm, 1.0, 0) if sample.pause is None else sample.pcm[_at(end) :]
    spoken = sample.pcm[_at(max(0.0, spans[0].start - PRE_ROLL)) : _at(end)]

    def until(ms: float) -> bytes:
        return spoken + silent[: _at(ms / 1000)]

    start = time.perf_counter()
    words = moonshine.transcribe(str(catalogue.locate("moonshine-tiny-en")), until(WORDS_MS), RATE)
    timings.transcriber.append(1000 * (time.perf_counter() - start))
    smart = {}
    for look in LOOKS_MS:
        start = time.perf_counter()
        smart[look] = smart_turn.judge(str(catalogue.locate("smart-turn-v3.2")), until(look), RATE)
        timings.smart_turn.append(1000 * (time.perf_counter() - start))
    return Heard(sample, words, smart)


async def ask_for_sentence_ends(turns: Sequence[Heard], timings: Timings) -> None:
    """Put every turn's words to the language model."""
    settings = LlmServerSettings(
        str(catalogue.locate("smollm2-135m")), threads=1, threads_batch=2, context=2048, slots=4
    )
    async with open_llm_server(settings, lambda name: None) as server:
        async with make_client(server.address, server.key) as client:
            opening = transcript([SYSTEM, Message(Role.USER, "Hello.")])
            await client.completions.create(model="", prompt=opening, max_tokens=1)  # reads the system's words
            for turn in turns:
                start = time.perf_counter()
                try:
                    prompt = transcript([SYSTEM, Message(Role.USER, turn.words)])
                    turn.sentence = await sentence_end.ask(client, "", prompt, deadline=10)
                except ProviderError as error:
                    print(f"{turn.words!r}: {error}", file=sys.stderr)
                timings.sentence_end.append(1000 * (time.perf_counter() - start))


def figures(needed: Waiting, complete: Sequence[Heard], held_up: Sequence[Heard]) -> dict[str, float]:
    """The wait after finished sentences in ms, and the share of the pauses that it does not outlast."""
    waits = [needed(turn) for turn in complete]
    cut = sum(needed(turn) < turn.pause_ms for turn in held_up) / len(held_up)
    return {
        "p50_ms": round(quantile(waits, 0.5)),
        "p90_ms": round(quantile(waits, 0.9)),
        "p95_ms": round(quantile(waits, 0.95)),
        "cut_off": round(cut, 3),
    }


def table(title: str, complete: Sequence[Heard], held_up: Sequence[Heard]) -> dict[str, dict[str, float]]:
    """Print and give the figures of every cue."""
    print(f"\n{title}: {len(complete)} complete turns, {len(held_up)} pauses")
    print(f"{'':26}{'wait p50':>10}{'p90':>9}{'p95':>9}{'cut off':>10}")
    rows = {name: figures(needed, complete, held_up) for name, needed in CUES.items()}
    for name, row in rows.items():
        waits = f"{row['p50_ms']:>7} ms{row['p90_ms']:>6} ms{row['p95_ms']:>6} ms"
        print(f"{name:26}{waits}{100 * row['cut_off']:>8.1f} %")
    return rows


def fit(complete: Sequence[Heard], held_up: Sequence[Heard]) -> dict[str, float]:
    """The weights of the cues by logistic regression (L2 0.02), both kinds counting the same."""

    def cues(turn: Heard) -> Iterator[float]:
        for probability in (turn.smart[LOOK_MS], words_complete(turn.words)):
            bounded = min(max(probability, 0.01), 0.99)
            yield math.log(bounded / (1 - bounded))
        yield math.log((turn.sentence or 0.0) + 0.003)
        yield 1.0

    yes, no = (np.array([list(cues(turn)) for turn in turns]) for turns in (complete, held_up))

    def loss(weights: npt.NDArray[np.float64]) -> float:
        misses = np.logaddexp(0, -yes @ weights).mean() + np.logaddexp(0, no @ weights).mean()
        return float(misses + 0.02 * np.square(weights[:-1]).sum())

    names = ("smart turn", "words", "sentence end", "constant")
    return dict(zip(names, np.round(minimize(loss, np.zeros(4)).x, 2).tolist(), strict=True))


async def run(show_fit: bool) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    conditions = Conditions.now()
    prompts = human_prompts(await find_or_unpack(lambda text: print(text, flush=True)))
    timings = Timings()
    kinds = [
        [hear(sample, timings) for sample in make(prompts, 200)]
        for make in (complete_turns, hesitations, pauses_after_a_sentence)
    ]
    await ask_for_sentence_ends([turn for turns in kinds for turn in turns], timings)
    complete, held_up, after_sentence = kinds
    unseen = [[turn for turn in turns if not turn.tuned_on] for turns in kinds]
    seen = [[turn for turn in turns if turn.tuned_on] for turns in kinds]
    report = {
        "held_out": table("Prompts that nothing was tuned on", unseen[0], unseen[1]),
        "tuned_on": table("Prompts of the tuning", seen[0], seen[1]),
        "all": table("All prompts", complete, held_up),
        "after_a_sentence": table("Pauses after what is a sentence already, all prompts", complete, after_sentence),
    }
    times = {name: spread(values) for name, values in attrs.asdict(timings).items()}
    print("\nms:", json.dumps(times))
    if show_fit:
        print("fit on the tuning's half:", fit(seen[0], seen[1]), " on all:", fit(complete, held_up))
    missed = [
        {"words": turn.words, "text": turn.sample.text, "needed_ms": round(FUSED(turn)), "pause_ms": turn.pause_ms}
        for turn in held_up
        if FUSED(turn) < turn.pause_ms
    ]
    for turn in missed:
        print(f"cut off after {turn['needed_ms']} ms: {turn['words']} | {turn['text']}")
    print(write_report("turns", {**report, "engines_ms": times, "cut_off": missed}, conditions))
    reached = report["held_out"]["all three"]
    return int(reached["cut_off"] >= AIM_CUT_OFF or reached["p95_ms"] > AIM_P95_MS)


def _at(seconds: float) -> int:
    """The byte of 8 kHz slin at a second."""
    return 2 * round(seconds * RATE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="print the logistic regression behind the weights")
    return trio.run(run, parser.parse_args().fit)


if __name__ == "__main__":
    sys.exit(main())
