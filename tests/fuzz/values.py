"""Inputs for parsers of JSON: the values of a message that is well-formed are changed, not its letters.

Letters that are changed at random are no JSON any more, nearly always, and the parser behind never sees them.
"""

import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        255,
        -32768,
        2**31,
        2**63,
        -(2**64),
        10**18,
        10**400,
        0.5,
        -0.0,
        1e-320,
        1e308,
        -1e308,
    ),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "0", "-1", "1e999", "a", "é", "😀", "\ud83d", "\ude00", "\0", "\x1b[31m", "\u2028", "a" * 300, "."),
    *([], {}, [[]], [None], [{}], {"": None}, {"type": "error"}, ["a", "b"]),
)
"""What stands where a peer is wrong, of another version, or means harm."""
BY_LETTERS = 4
"""One input in so many is changed as any bytes are."""
MOST_CHANGES = 3

Mutate = Callable[[bytes, int], bytes]
Place = tuple[Any, Any]
"""A list or table, and the index or key in it."""


def mutated(data: bytes, max_size: int, seed: int, by_letters: Mutate) -> bytes:
    """An input that is like `data`: one of its lines has JSON of other values. What stands before the first bracket of
    a line stays; where no line is JSON, or now and then, `by_letters(data, max_size)` is the input."""
    choose = random.Random(seed)
    lines = data.split(b"\n")
    number = choose.randrange(len(lines))
    line = lines[number]
    start = min((at for at in (line.find(b"{"), line.find(b"[")) if at >= 0), default=0)
    try:
        if not choose.randrange(BY_LETTERS):
            raise ValueError("this one by its letters")
        holder = [json.loads(line[start:])]
    except (ValueError, RecursionError):
        return by_letters(data, max_size)
    for _ in range(choose.randrange(1, MOST_CHANGES + 1)):
        _change(holder, choose)
    lines[number] = line[:start] + json.dumps(holder[0], ensure_ascii=choose.random() < 0.5).encode(
        errors="surrogatepass"
    )
    if not choose.randrange(8):
        lines.insert(number, lines[number])
    changed = b"\n".join(lines)
    return changed if len(changed) <= max_size else by_letters(data, max_size)


def _odd(choose: random.Random) -> Any:
    return deepcopy(choose.choice(ODD))


def _places(value: Any) -> Iterator[Place]:
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _change(holder: list[Any], choose: random.Random) -> None:
    places = list(_places(holder))
    table, key = choose.choice(places)
    match choose.randrange(6):
        case 0 | 1:
            table[key] = _odd(choose)
        case 2 if table is not holder:
            del table[key]
        case 3:  # as another place of the message has it
            other, there = choose.choice(places)
            table[key] = deepcopy(other[there])
        case 4 if isinstance(table, dict):
            table[choose.choice([there for _, there in places if isinstance(there, str)])] = _odd(choose)
        case 4 if table is not holder:
            table.insert(key, deepcopy(table[key]))
        case _:
            table[key] = _other(table[key], choose)


def _other(value: Any, choose: random.Random) -> Any:
    """A value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return choose.choice((-value, value + 1, value * 1000, value / 3 if abs(value) < 1e300 else 0, str(value)))
        case str():
            at = choose.randrange(len(value) + 1)
            return value[:at] + choose.choice(("", "\ud83d", "é", "0", value[::-1])) + value[at + choose.randrange(2) :]
    return _odd(choose)
