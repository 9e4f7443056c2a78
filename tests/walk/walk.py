"""Which lives there are, and how many of them at a time are lived."""

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import attrs

from tests.walk.branches import live_branches
from tests.walk.faults import OF_STEPS, Course, Fault, Where
from tests.walk.kinds import BY_NAME, Kind
from tests.walk.life import IDLE, Life, Outcome

SHARE = 100
"""Lives that one process branches off from a life."""


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


@attrs.frozen
class Share:
    """So many lives of one kind, for one process."""

    kind: Kind
    faults: tuple[Fault, ...]
    seed: int = 1
    idle: float = IDLE

    def live(self) -> list[Outcome]:
        """Live them, in the order of their places."""
        return live_branches(self.kind, self.faults, self.seed, self.idle)


def shares(kind: Kind, faults: Iterable[Fault], seed: int = 1, idle: float = IDLE) -> Iterator[Share]:
    """Lives of a kind, each once, in shares."""
    each = list(dict.fromkeys(faults))
    for first in range(0, len(each), SHARE):
        yield Share(kind, tuple(each[first : first + SHARE]), seed, idle)


def live_all(lives: Sequence[Share], processes: int | None = None) -> Iterator[Outcome]:
    """Live them, a process a core."""
    with ProcessPoolExecutor(processes or os.cpu_count() or 1) as pool:
        for outcomes in pool.map(Share.live, lives):
            yield from outcomes
