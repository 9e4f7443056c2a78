"""What a target is, and the forms in which a peer's bytes come."""

from collections.abc import Callable, Iterable

import attrs

PIECES = 3
"""A stream comes in so many pieces: what is cut in the middle of something is half of the faults."""


@attrs.frozen
class Target:
    """A parser. `take` is given bytes, and raises nothing but `refuses`. `seeds` are inputs of its form; `is_json`: it
    takes JSON, so that inputs are made of values as well as of bytes (tests.fuzz.values)."""

    take: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    is_json: bool = False


def pieces(data: bytes) -> list[bytes]:
    """The bytes in the pieces in which a peer may have sent them; the first byte says where they are cut."""
    if not data:
        return [b""]
    cut, data = data[0], data[1:]
    step = max(len(data) * (cut + 1) // 256 // PIECES, 1) if data else 1
    return [data[:step], data[step : 2 * step], data[2 * step :]]


def each(reads: Iterable[Callable[[], object]], refuses: type[Exception]) -> None:
    """Try all of them: one that is refused does not keep the next from being tried."""
    for read in reads:
        try:
            read()
        except refuses:
            pass


def text(parse: Callable[[str], object], data: bytes) -> None:
    """Give a parser of text what may be none."""
    parse(data.decode(errors="surrogateescape"))
