"""`just fuzz`: see --help."""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from tests.fuzz.run import Fuzzed, open_fuzzer
from tests.fuzz.targets import TARGETS

HELP = """\
Feeds the parsers that a peer's bytes reach with inputs that Atheris (libFuzzer) makes up, guided by which code they
reach. Each input has to be taken, or refused with the parser's own error, within seconds. What failed is kept below
build/fuzz/TARGET/faults, and can be tried again: `just fuzz --target TARGET --again FILE`. Inputs that reached new code
are kept too, so that the next run goes on from there.
"""
EXAMPLES = """\
examples:
  just fuzz                                    every target, a million inputs each
  just fuzz --inputs 10000000 --target wyoming one of them, ten million inputs
  just fuzz --list                             the targets
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Status 1 where an input was neither taken nor refused."""
    parser = argparse.ArgumentParser(
        prog="just fuzz", description=HELP, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--target", action="append", choices=list(TARGETS), metavar="TARGET", help="only this; repeatable"
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="inputs a target (1000000)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (1)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try one input of one --target, with its traceback")
    parser.add_argument("--below", type=Path, default=Path("build/fuzz"), help="where inputs are kept (build/fuzz)")
    parser.add_argument("--list", action="store_true", help="list the targets")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(TARGETS))
        return 0
    names = options.target or list(TARGETS)
    if options.again is not None:
        target = TARGETS[names[0]]
        try:
            target.take(options.again.read_bytes())
        except target.refuses as error:
            print(f"refused: {type(error).__name__}: {error}")
        return 0
    failed = 0

    def one(name: str) -> Fuzzed:
        with open_fuzzer() as fuzzer:
            return fuzzer.fuzz(name, options.inputs, options.seed, options.below)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(one, name) for name in names]
        bar = tqdm(as_completed(running), total=len(running), unit="target", disable=not sys.stderr.isatty())
        for future in bar:
            fuzzed = future.result()
            a_second = fuzzed.inputs / max(fuzzed.seconds, 0.001)
            tqdm.write(
                f"{fuzzed.target:18} {fuzzed.inputs:>11} inputs, {fuzzed.edges:>5} edges, {a_second:>7.0f} a second"
                + ("" if not fuzzed.fault else f"\n{fuzzed.fault}\n{fuzzed.target}: FAILED"),
                file=sys.stdout,
            )
            failed += bool(fuzzed.fault)
    print(f"{len(names)} targets, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
