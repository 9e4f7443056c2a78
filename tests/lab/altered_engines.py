"""agentd with engines that are as slow as another host's, or without one of its cues: for the benches.

    python -m tests.lab.altered_engines [--slow 2] [--no-sentence] --config agent.toml

Everything after these options is agentd's own command line. `--slow` has every answer of the speech engines and of the
embedded language model come so many times as late; a speech engine is busy as long. `--no-sentence` is a language model
that cannot be asked whether the sentence ends, as most servers' cannot.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from agentd.cli import main as agentd
from agentd_providers.local.embedded import CallResponder
from agentd_providers.local.engine_process import EngineProcess


def slow_down(factor: float) -> None:
    """Have the engines of this process take so many times as long."""
    do, respond, sentence_end = EngineProcess.do, CallResponder.respond, CallResponder.sentence_end

    async def late_job(self: EngineProcess, *args: Any, **options: Any) -> Any:
        return await late(factor, do, self, *args, **options)

    async def late_sentence_end(self: CallResponder, *args: Any) -> float:
        return float(await late(factor, sentence_end, self, *args))

    @asynccontextmanager
    async def late_reply(self: CallResponder, *args: Any) -> AsyncIterator[AsyncIterator[Any]]:
        began = trio.current_time()
        async with respond(self, *args) as pieces:
            yield _late_pieces(factor, began, pieces)

    EngineProcess.do = late_job  # type: ignore[method-assign]
    CallResponder.sentence_end = late_sentence_end  # type: ignore[method-assign, assignment]
    CallResponder.respond = late_reply  # type: ignore[method-assign, assignment]


async def late(factor: float, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What the function gives, so many times as late as it would."""
    began = trio.current_time()
    found = await function(*args, **options)
    await trio.sleep((factor - 1) * (trio.current_time() - began))
    return found


async def _late_pieces(factor: float, began: float, pieces: AsyncIterator[Any]) -> AsyncIterator[Any]:
    since = began
    async for piece in pieces:
        await trio.sleep((factor - 1) * (trio.current_time() - since))
        yield piece
        since = trio.current_time()


def without_sentence_ends() -> None:
    """Have no language model tell whether a sentence ends."""
    CallResponder.tells_sentence_ends = property(lambda _self: False)  # type: ignore[method-assign, assignment]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=float, default=1.0, help="so many times as long (default 1)")
    parser.add_argument("--no-sentence", action="store_true", help="nobody tells whether a sentence ends")
    own, rest = parser.parse_known_args(arguments)
    if own.slow > 1:
        slow_down(own.slow)
    if own.no_sentence:
        without_sentence_ends()
    return agentd(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
