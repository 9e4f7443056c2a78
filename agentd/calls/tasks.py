"""How many tasks a call may have, whoever started them: it is looked at every second."""

from collections.abc import Callable

import trio

from agentd.budgets import TASKS
from agentd.errors import BudgetExceeded

LOOK_EVERY = 1.0


def count_tasks(nursery: trio.Nursery, most: int) -> int:
    """The tasks in a nursery and in all nurseries below it; `most` + 1 for any number beyond that."""
    count, nurseries = 0, [nursery]
    while nurseries and count <= most:
        tasks = nurseries.pop().child_tasks
        count += len(tasks)
        nurseries.extend(below for task in tasks for below in task.child_nurseries)
    return min(count, most + 1)


async def watch_tasks(nursery: trio.Nursery, exceeded: Callable[[], None]) -> None:
    """Raises BudgetExceeded, once `exceeded` was called, when there are more tasks than a call may have."""
    while count_tasks(nursery, TASKS.most) <= TASKS.most:  # noqa: ASYNC110 - nobody tells of a task that begins
        await trio.sleep(LOOK_EVERY)
    exceeded()
    raise BudgetExceeded(f"the call has more than {TASKS.most} tasks at work")
