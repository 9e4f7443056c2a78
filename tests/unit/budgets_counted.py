"""What a test's own call wants beyond its budgets."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from agentd import budgets
from agentd.budgets import Budget


@contextmanager
def counting() -> Iterator[Counter[Budget]]:
    """How often each budget was exceeded by this task, and by those that it starts, while the block runs."""
    counted: Counter[Budget] = Counter()
    before = budgets._counted.set(lambda budget: counted.update([budget]))
    try:
        yield counted
    finally:
        budgets._counted.reset(before)
