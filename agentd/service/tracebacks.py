"""An error as the log tells it: a plain traceback, without variables, of bounded length.

One call's failure may hold hundreds of others: groups of groups, and behind each the errors that led to it. Python's
own formatter writes out every chain, and rich's every variable of every frame.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

MAX_ERRORS = 16
"""Errors of one traceback in all."""
MAX_CHAIN = 4
"""Of the errors that led to one, the last ones."""
MAX_MEMBERS = 4
"""Of the errors in a group, the first ones."""
MAX_FRAMES = 16
"""Of an error's frames, the innermost ones."""
MAX_MESSAGE = 2000
MAX_LENGTH = 32_000
"""Characters of a message, and of the whole."""

CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def plain_traceback(error: BaseException) -> str:
    """All that is shown of an error; without a newline at its end. Raises nothing."""
    return shortened("\n".join(_chain(error, iter(range(MAX_ERRORS)))), MAX_LENGTH)


def shortened(text: str, length: int) -> str:
    """Text of at most `length` characters and a remark; an error's end tells most, so more is kept of that."""
    if len(text) <= length:
        return text
    head = length // 4
    return f"{text[:head]}\n[... {len(text) - length} characters ...]\n{text[head - length :]}"


def _chain(error: BaseException, places: Iterator[int]) -> Iterator[str]:
    """An error behind those that led to it. Each error takes one of the `places`."""
    chain = [(error, "")]
    seen = {id(error)}
    while (found := _before(chain[-1][0])) and id(found[0]) not in seen:
        seen.add(id(found[0]))
        chain.append(found)
    shown = chain[:MAX_CHAIN]
    if len(chain) > len(shown):
        yield f"[{len(chain) - len(shown)} earlier errors]{shown[-1][1] and CONTEXT}"
    for at in range(len(shown) - 1, -1, -1):
        yield from _one(shown[at][0], places)
        if at:
            yield shown[at][1]


def _before(error: BaseException) -> tuple[BaseException, str] | None:
    """What led to an error, and how."""
    if error.__cause__ is not None:
        return error.__cause__, CAUSE
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, CONTEXT
    return None


def _one(error: BaseException, places: Iterator[int]) -> Iterator[str]:
    if next(places, None) is None:
        yield f"[{_named(error)}: not shown]"
        return
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield from _frames(error.__traceback__)
    yield _message(error)
    yield from (shortened(str(note), MAX_MESSAGE) for note in getattr(error, "__notes__", [])[:MAX_MEMBERS])
    if isinstance(error, BaseExceptionGroup):
        members = error.exceptions
        for number, member in enumerate(members[:MAX_MEMBERS], 1):
            yield f"  +---- {number} of {len(members)}"
            for part in _chain(member, places):
                yield "\n".join(f"  | {line}" for line in part.split("\n"))
        if len(members) > MAX_MEMBERS:
            yield f"  +---- {len(members) - MAX_MEMBERS} more"


def _frames(frames: TracebackType) -> Iterator[str]:
    count = sum(1 for _ in traceback.walk_tb(frames))
    if count > MAX_FRAMES:
        yield f"  [{count - MAX_FRAMES} outer frames]"
    for shown in traceback.StackSummary.extract(traceback.walk_tb(frames), limit=-MAX_FRAMES).format():
        yield shown.rstrip("\n")


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as fault:  # noqa: BLE001 - whoever wrote the error's class must not end who logs it
        text = f"<its message cannot be read: {type(fault).__name__}>"
    return f"{_named(error)}: {shortened(text, MAX_MESSAGE)}" if text else _named(error)


def _named(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
