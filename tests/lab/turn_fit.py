"""Fits the weights of the cues for the end of a turn to turns of the part `fit`.

    python -m tests.lab.turn_fit [--turns 150] [--curves 300] [--write]

 1. The head on Smart Turn's encoder (agentd_providers.local.turn_head): for each look a logistic regression over what
    the encoder comes to, and what Smart Turn says.
 2. The rows of agentd_providers.turns.weights: for each look, with and without the sentence's end.
 3. The curve from what the rows come to to a silence: of many, by chance, that which costs least, which is the wait
    after finished turns (p50 and p95, in ms) and COST for each hesitation in a hundred that is cut off.

Callers are strangers to the head. So how much its large weights cost, the rows and the curve are found by heads that
were fitted without the voices that they hear: without all that were recorded, or made, in the same way. By heads that
know their voices it seems that the sound tells more than it does.

`--write` writes the head's file. The rows and the curve are printed for weights.py; `just bench-turns` says what all of
it is worth, by the turns of `choose`.
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt
import trio
from scipy.optimize import minimize
from tqdm import tqdm

from agentd_providers.local.turn_head import FILE, LEAST, Head
from agentd_providers.turns import weights
from agentd_providers.turns.marks import Marks, marks_of
from agentd_providers.turns.settings import LOOKS_MS
from agentd_providers.turns.taker import TurnTaking
from agentd_providers.turns.word_ends import Told
from agentd_providers.turns.word_tables import open_word_ends

from .bench_turns import TAKING, Turns, figures, gather
from .figures import Conditions, in_words
from .turn_evidence import Evidence, Look
from .turn_replay import Cues, Delays, Ending, replay
from .voices.split import Part, speakers

PENALTIES: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
ROW_PENALTY: Final = 0.02
COST: Final = 40.0
SEED: Final = 7
WORD_ENDS: Final = open_word_ends("en")

Floats = npt.NDArray[np.float64]
Rows = dict[tuple[int | None, bool], weights.Weights]


@attrs.frozen(eq=False)
class Example:
    """One look at one pause."""

    look: int
    heard: Look
    words: float
    sentence: float | None
    complete: bool
    marks: Marks
    group: str

    @property
    def numbers(self) -> Floats:
        """What the head weighs: the encoder's, what Smart Turn says, and 1."""
        return np.array([*self.heard.pooled, weights.log_odds(self.heard.smart, LEAST), 1.0])


def examples(turns: Sequence[Evidence]) -> Iterator[Example]:
    """All looks at the pauses of these turns that have words."""
    for turn in turns:
        last = len(turn.pauses) - 1
        for number, pause in enumerate(turn.pauses):
            if not pause.words:
                continue
            complete = number == last and len(pause.looks) == len(LOOKS_MS)
            for look, heard in enumerate(pause.looks):
                sentence = None if WORD_ENDS.told(pause.words) is Told.SPELLED else pause.sentence
                yield Example(
                    look,
                    heard,
                    WORD_ENDS.complete(pause.words),
                    sentence,
                    complete,
                    marks_of(pause.words),
                    group_of(turn.sample.speaker),
                )


def group_of(speaker: str) -> str:
    """Voices that were recorded, or made, in the same way: to all others these are strangers."""
    source = next((voice.source for voice in speakers() if voice.name == speaker), "prompts")
    return f"{source} {hashlib.sha256(speaker.encode()).digest()[0] % 2}" if source == "kokoro" else source


def regression(rows: Floats, complete: npt.NDArray[np.bool_], penalty: Floats, *, positive: bool = False) -> Floats:
    """Weights of a logistic regression in which both kinds count the same."""
    yes, no = rows[complete], rows[~complete]

    def loss(given: Floats) -> tuple[float, Floats]:
        ahead, behind = yes @ given, no @ given
        value = np.logaddexp(0, -ahead).mean() + np.logaddexp(0, behind).mean() + float(penalty @ given**2)
        slope = -(yes.T @ _share(-ahead)) / len(yes) + (no.T @ _share(behind)) / len(no) + 2 * penalty * given
        return float(value), slope

    bounds = [(0.0, None)] * (rows.shape[1] - 1) + [(None, None)] if positive else None
    return np.asarray(minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x)


def _share(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def fit_look(given: Sequence[Example], penalty: float) -> Floats:
    """The head's row for one look: weights of the encoder's numbers, of what Smart Turn says, and the constant."""
    rows = np.array([example.numbers for example in given])
    middle, size = rows[:, :-2].mean(axis=0), rows[:, :-2].std(axis=0) + 1e-6
    rows[:, :-2] = (rows[:, :-2] - middle) / size
    costs = np.array([penalty] * (rows.shape[1] - 2) + [0.002, 0.0])
    found = regression(rows, np.array([example.complete for example in given]), costs)
    found[:-2] /= size
    found[-1] -= found[:-2] @ middle
    return found


def misses(given: Sequence[Example], row: Floats) -> float:
    """The mean logarithmic loss, both kinds counting the same."""
    odds = np.array([example.numbers @ row for example in given])
    return _loss(odds, np.array([example.complete for example in given]))


def _loss(odds: Floats, complete: npt.NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0, -odds[complete]).mean() + np.logaddexp(0, odds[~complete]).mean())


def fit_heads(fit: Sequence[Example], choose: Sequence[Example]) -> tuple[Head, Mapping[str, Head]]:
    """The head, and for each group of voices one that was fitted without it; told as it goes.

    How much large weights cost is what these cost least: the callers of a telephone are no voices of `fit`.
    """
    groups = sorted({example.group for example in fit})
    whole: list[Floats] = []
    apart: dict[str, list[Floats]] = {group: [] for group in groups}
    for look in range(len(LOOKS_MS)):
        mine = [example for example in fit if example.look == look]
        other = [example for example in choose if example.look == look]
        tried = {penalty: _fit_apart(mine, groups, penalty) for penalty in PENALTIES}
        scores = {penalty: _misses_apart(mine, rows) for penalty, rows in tried.items()}
        best = min(scores, key=scores.__getitem__)
        whole.append(fit_look(mine, best))
        alone = np.array([*np.zeros(len(whole[-1]) - 2), *_smart_alone(mine)])
        held = sum(not example.complete for example in mine)
        print(
            f"look {look} ({LOOKS_MS[look]:.0f} ms): {len(mine) - held} complete, {held} not; loss on strangers "
            f"{scores[best]:.3f} at penalty {best:g}, on `choose` {misses(other, whole[-1]):.3f}, Smart Turn alone "
            f"{misses(other, alone):.3f}",
            flush=True,
        )
        for group in groups:
            apart[group].append(tried[best][group])
    return _head(whole), {group: _head(rows) for group, rows in apart.items()}


def _fit_apart(mine: Sequence[Example], groups: Sequence[str], penalty: float) -> dict[str, Floats]:
    return {group: fit_look([example for example in mine if example.group != group], penalty) for group in groups}


def _misses_apart(mine: Sequence[Example], rows: Mapping[str, Floats]) -> float:
    odds = np.array([example.numbers @ rows[example.group] for example in mine])
    return _loss(odds, np.array([example.complete for example in mine]))


def _smart_alone(given: Sequence[Example]) -> Floats:
    rows = np.array([[weights.log_odds(example.heard.smart, LEAST), 1.0] for example in given])
    return regression(rows, np.array([example.complete for example in given]), np.array([0.002, 0.0]))


def _head(rows: Sequence[Floats]) -> Head:
    table = np.array(rows, np.float32)
    return Head(table[:, :-2], table[:, -2], table[:, -1])


def fit_rows(fit: Sequence[Example], apart: Mapping[str, Head]) -> Rows:
    """The rows of agentd_providers.turns.weights: how much a cue counts that knows the words, and not the voice."""
    found: Rows = {}
    for look in (None, *range(len(LOOKS_MS))):
        mine = [example for example in fit if example.look == (look or 0)]
        for sentence in (False, True):
            given = [example for example in mine if not sentence or example.sentence is not None]
            rows = np.array([_cues(example, look, apart[example.group], sentence=sentence) for example in given])
            costs = np.array([ROW_PENALTY] * (rows.shape[1] - 1) + [0.0])
            complete = np.array([example.complete for example in given])
            *weighed, constant = np.round(regression(rows, complete, costs, positive=True), 2).tolist()
            found[look, sentence] = weights.Weights(constant, *weighed)
    return found


def _cues(example: Example, look: int | None, head: Head, *, sentence: bool) -> tuple[float, ...]:
    """What a row weighs, in the order of its fields, and 1 for its constant."""
    heard = example.heard
    return (
        weights.log_odds(head.complete(heard.smart, heard.pooled, example.look)) if look is not None else 0.0,
        weights.log_odds(example.words),
        math.log((example.sentence or 0.0) + weights.SENTENCE_FLOOR) if sentence else 0.0,
        -float(example.marks.comma),
        float(example.marks.question),
        float(example.marks.sentence_before),
        1.0,
    )


def choose_curve(turns: Turns, apart: Mapping[str, Head], rows: Rows, tries: int) -> weights.Curve:
    """Of the present curve and so many others, by chance, that which costs the turns least, each heard by a head that
    does not know its voice; told as it goes."""
    groups = {
        speaker: group_of(speaker) for speaker in {turn.sample.speaker for kind in turns.values() for turn in kind}
    }
    chance = np.random.default_rng(SEED)
    best, least = weights.WEIGHING.curve, math.inf
    others = [_by_chance(chance) for _ in range(tries)]
    for curve in tqdm([best, *others], unit="curve", disable=None):
        taking = attrs.evolve(TAKING, weighing=weights.Weighing(rows, curve))
        found = figures(turns, partial(_heard_by_a_stranger, taking=taking, apart=apart, groups=groups))
        cost = found["wait_ms"]["p50"] + found["wait_ms"]["p95"] + COST * 100 * found["cut_off"] / found["hesitations"]
        if cost < least:
            best, least = curve, cost
            print(f"{curve}: wait {in_words(found['wait_ms'])}, {found['cut_off']} of {found['hesitations']} cut off")
    return best


def _by_chance(chance: np.random.Generator) -> weights.Curve:
    sure = chance.uniform(0.9, 2.0)
    unsure = sure - chance.uniform(0.05, 0.8)
    doubtful = unsure - chance.uniform(0.3, 2.0)
    points = (sure, unsure, doubtful, doubtful - chance.uniform(0.5, 4.0))
    return weights.Curve(*(round(float(point), 2) for point in points))


def _heard_by_a_stranger(
    turn: Evidence, taking: TurnTaking, apart: Mapping[str, Head], groups: Mapping[str, str]
) -> Ending:
    return replay(turn, taking, Delays(), Cues(head=apart[groups[turn.sample.speaker]]))


async def run(turns: int, tries: int, write: bool) -> int:
    print(Conditions.now())
    parts = [await gather(part, turns) for part in (Part.FIT, Part.CHOOSE)]
    fit, choose = [list(examples([turn for kind in part.values() for turn in kind])) for part in parts]
    head, apart = fit_heads(fit, choose)
    rows = fit_rows(fit, apart)
    for (look, sentence), row in rows.items():
        print(f"    ({look}, {sentence}): Weights{attrs.astuple(row)},", flush=True)
    curve = choose_curve(parts[0], apart, rows, tries)
    print(curve)
    if write:
        kept = {name: getattr(head, name).astype(np.float16) for name in ("weights", "smart", "bias")}
        np.savez_compressed(FILE, **kept)
        print(f"written: {FILE}, {FILE.stat().st_size} bytes; the rest belongs into turns/weights.py")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=150, help="of each kind and part at most (default 150)")
    parser.add_argument("--curves", type=int, default=300, help="how many are tried (default 300)")
    parser.add_argument("--write", action="store_true", help="write the head's file")
    asked = parser.parse_args()
    return trio.run(run, asked.turns, asked.curves, asked.write)


if __name__ == "__main__":
    sys.exit(main())
