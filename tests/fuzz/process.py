"""Targets under Atheris, each in a process of its own: `python -m tests.fuzz.process`.

It reads lines of JSON, [target, file, arguments of libFuzzer], and answers each with a line: the status that the
target's process ended with, once it has. What that said is in the file. A target's process ends with the first input
that is neither taken nor refused. It is forked from here, for to load and instrument all that is fuzzed takes longer
than fifty thousand inputs.
"""

import json
import os
import sys
import time
from pathlib import Path

import atheris
import structlog

from tests.fuzz.values import mutated

SLOWEST = 2.0
"""Seconds of the processor's that one input may take."""


class TookLong(Exception):
    """An input was taken or refused too late."""


def _load() -> None:
    structlog.configure(
        processors=[structlog.dev.ConsoleRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    with atheris.instrument_imports(include=["agentd", "agentd_providers", "h11"], enable_loader_override=False):
        import tests.fuzz.targets  # noqa: F401


def _fuzz(name: str, arguments: list[str]) -> None:
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]

    def take(data: bytes) -> None:
        began = time.process_time()  # on a busy host it may be long before it is let go on
        try:
            target.take(data)
        except target.refuses:
            pass
        if (took := time.process_time() - began) > SLOWEST:
            raise TookLong(f"{took:.1f} s for {len(data)} bytes")

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        return mutated(data, max_size, seed, atheris.Mutate)

    atheris.Setup([sys.argv[0], *arguments], take, **({"custom_mutator": change} if target.is_json else {}))
    atheris.Fuzz()


def main() -> None:
    _load()
    for line in sys.stdin:
        name, file, arguments = json.loads(line)
        if not (child := os.fork()):
            with Path(os.devnull).open() as nothing, Path(file).open("wb") as told:
                for descriptor, source in enumerate((nothing, told, told)):
                    os.dup2(source.fileno(), descriptor)
            _fuzz(name, arguments)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
