"""Which lives there are, and how many of them at a time are lived."""

import gc
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import attrs

from tests.walk.faults import OF_STEPS, Course, Fault, Where
from tests.walk.kinds import BY_NAME, Kind
from tests.walk.life import IDLE, Life, Outcome


@attrs.frozen
class Walked:
    """A life that is to be lived, by its name; the seed of the order in which tasks run; seconds until it is judged."""

    name: str
    seed: int = 1
    idle: float = IDLE

    def life(self) -> Life:
        """Raises ValueError for a name that is none."""
        kind, _, fault = self.name.partition("/")
        if kind not in BY_NAME:
            raise ValueError(f"there is no kind {kind!r}; there are: {', '.join(BY_NAME)}")
        return Life(BY_NAME[kind], None if fault == "clean" else Fault.parse(fault), self.seed, self.idle)


def clean(kind: Kind, seed: int = 1) -> Course:
    """What happens in a life without a fault. Raises AssertionError where that one is not as it should be."""
    outcome = Life(kind, None, seed).run()
    assert not outcome.wrong and outcome.course is not None, f"{outcome.name}: {outcome}"
    return outcome.course


def steps(course: Course, few: int | None, seed: int, name: str) -> Iterator[Fault]:
    """The steps at which a call is cut short: `few` of them by chance, half by each way; None: all, by both."""
    if few is None:
        for number in range(1, course.steps + 1):
            for how in OF_STEPS:
                yield Fault(Where.STEP, number, how)
        return
    chance = random.Random(f"{seed} {name}")
    for number in range(few):
        yield Fault(Where.STEP, chance.randint(1, course.steps), OF_STEPS[number % len(OF_STEPS)])


def sample(faults: Sequence[Fault], few: int, seed: int, name: str) -> list[Fault]:
    """So many of them by chance, in their order."""
    chosen = random.Random(f"{seed} {name}").sample(range(len(faults)), min(few, len(faults)))
    return [faults[number] for number in sorted(chosen)]


def live(walked: Walked) -> Outcome:
    """Live one life. For a process of a pool."""
    return walked.life().run()


def live_all(lives: Sequence[Walked], processes: int | None = None) -> Iterator[Outcome]:
    """Live them, a process a core, in their order."""
    with ProcessPoolExecutor(processes or os.cpu_count() or 1, initializer=_collect_seldom) as pool:
        yield from pool.map(live, lives, chunksize=4)


def _collect_seldom() -> None:
    gc.freeze()
    gc.set_threshold(50_000)


def named(kind: Kind, faults: Iterable[Fault], seed: int = 1, idle: float = IDLE) -> list[Walked]:
    """Lives of a kind, each once."""
    return [Walked(name, seed, idle) for name in dict.fromkeys(f"{kind}/{fault}" for fault in faults)]
