"""What was loaded is no affair of Python's collector: a full collection is a pause of every call."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agentd.service.collector import freeze_loaded

FULL = 2


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_loaded_is_looked_at_no_more() -> None:
    loaded = [Circle() for _ in range(1000)]
    freeze_loaded()
    assert not {id(each) for each in loaded} & {id(each) for each in gc.get_objects()}


def test_what_was_dead_by_then_is_freed_first() -> None:
    before = sum(isinstance(each, Circle) for each in gc.get_objects())
    for _ in range(1000):
        Circle()
    freeze_loaded()
    gc.unfreeze()
    assert sum(isinstance(each, Circle) for each in gc.get_objects()) <= before


def test_a_full_collection_after_it_has_next_to_nothing_to_look_at() -> None:
    program = (
        "import gc, agentd.service.supervisor\n"
        "from agentd.service.collector import freeze_loaded\n"
        "before = len(gc.get_objects())\n"
        "freeze_loaded()\n"
        "print(before, len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 30_000
    assert after < before / 100
