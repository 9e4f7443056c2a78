"""What one call may use up, in one table. Pure.

Whoever a call has to do with (a vendor, a model, a package's code, Asterisk) can make it work: log lines, uses of
tools, tasks, events that wait. Each has a budget here, and `over` says what becomes of what is over it: nothing that
the caller suffers from, or else the way back to the dialplan. It is counted (agentd_call_budget_exceeded_total), and
the budgets are a gauge (agentd_call_budget).

What knows nothing of metrics, because it is a provider's or shared by calls and others, counts by `count_exceeded`.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar

import attrs


@attrs.frozen(eq=False)
class Budget:
    """`most` of a kind for each call. `name` is the label of the metrics."""

    name: str
    most: int
    why: str
    over: str


@attrs.define(eq=False)
class Allowance:
    """One call's share of a budget."""

    budget: Budget
    used: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)

    @property
    def spent(self) -> bool:
        """Whether something more than there is was asked for."""
        return self.refused > 0

    def take(self) -> bool:
        """Take one; false where none is left."""
        if self.used >= self.budget.most:
            self.refused += 1
            return False
        self.used += 1
        return True


LOG_LINES = Budget(
    "log_lines",
    10_000,
    "A turn is about ten lines, so that an hour's call has half of them left.",
    "counted; the call's last line tells how many were left out",
)
TOOL_CALLS = Budget(
    "tool_calls",
    500,
    "Eight a minute for an hour.",
    "refused to the model, which is told why",
)
TURN_TOOL_CALLS = Budget(
    "turn_tool_calls",
    24,
    "Between two turns of the caller. A model that only looks things up is done after a few; one that goes round in a"
    " circle is never done, and its caller hears nothing.",
    "refused to the model, which is told why; its answer is no sign of life",
)
TOOLS_AT_ONCE = Budget(
    "tools_at_once",
    4,
    "A request to somebody's server each.",
    "refused to the model, which is told to wait",
)
TASKS = Budget(
    "tasks",
    300,
    "A call has about thirty, and one more for each tool that a model asks for at one moment.",
    "a defect: the call ends, and its caller goes on in the dialplan",
)
INBOX = Budget(
    "inbox",
    128,
    "What the call's own parts tell it, where a session's events fill the queue, which wait themselves.",
    "dropped and logged",
)
EVENTS = Budget(
    "events",
    128,
    "Asterisk's events of the call's channels; the call takes them at once.",
    "dropped, and Asterisk is asked what has happened",
)
SESSION_EVENTS = Budget(
    "session_events",
    512,
    "What an agent's session tells. The call takes it at once; a vendor's burst of words may bring hundreds between two"
    " looks.",
    "dropped; the session's end, for which a place is kept, logs how many",
)
VENDOR_INBOX = Budget(
    "vendor_inbox",
    1024,
    "Messages of a vendor's that wait for the session, which takes them at once.",
    "dropped, and the session tells that it is degraded",
)
VENDOR_OUTBOX = Budget(
    "vendor_outbox",
    512,
    "Messages to a vendor: ten seconds of audio in frames of 20 ms.",
    "dropped where it is audio, for which 64 places less are there; a message that finds no place ends the session",
)
VENDOR_VOICE = Budget(
    "vendor_voice",
    8192,
    "Pieces of a vendor's voice that wait for the playout, 300 s of audio at the most: a vendor makes it faster than it"
    " is heard.",
    "left out, and the session tells that it is degraded",
)
HELD_ANSWERS = Budget(
    "held_answers",
    4096,
    "Messages of answers of a Realtime server's that have to wait for the voice, 300 s of audio at the most; the last"
    " 512 are for what ends answers.",
    "left out, and the session tells that it is degraded; where not even ends find a place, the session ends",
)

TABLE: Mapping[str, Budget] = {name: value for name, value in tuple(globals().items()) if isinstance(value, Budget)}

_counted: ContextVar[Callable[[Budget], None] | None] = ContextVar("agentd_call_budgets", default=None)


def exceeded_counted_by(count: Callable[[Budget], None]) -> None:
    """From now on `count` is told of what this task, and those that it starts, want beyond a budget: they are a
    call's. It must not block."""
    _counted.set(count)


def count_exceeded(budget: Budget) -> None:
    """The call that this task is of wanted one more than the budget has. Out of a call, nothing is counted."""
    if (count := _counted.get()) is not None:
        count(budget)
