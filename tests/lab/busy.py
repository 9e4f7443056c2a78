"""Runs tests again and again, in another order each time, while other processes keep every core busy.

`just test-busy` runs what needs neither engines nor Asterisk. A test that fails only here has a race: what it reads is
what another task is about to change, or it counts on the host being quick. `just test-busy --runs 1 tests/unit/ari`
looks at some.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TESTS = ("tests/unit", "tests/shell", "tests/field", "tests/contract")


@contextmanager
def busy(processes: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Other processes compute for as long as the block runs."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield burners
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def run(seed: int, tests: Sequence[str]) -> int:
    """One run in the order that `seed` stands for; gives pytest's status."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not engines and not e2e",
        "-n",
        "auto",
        "--dist",
        "worksteal",
    ]
    return subprocess.run([*command, "--shuffle", str(seed), *tests], check=False).returncode


def main() -> int:
    """Status 0 when every run has passed."""
    parser = argparse.ArgumentParser(prog="just test-busy", description="Tests on a busy host, in any order.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--burners", type=int, default=os.cpu_count(), help="processes beside them (one for each core)")
    parser.add_argument("--seed", type=int, default=1, help="the order of the first run; the next one's is one more")
    options, tests = parser.parse_known_args()
    failed = []
    with busy(options.burners):
        for seed in range(options.seed, options.seed + options.runs):
            began = time.monotonic()
            status = run(seed, tests or TESTS)
            print(f"run {seed}: status {status} after {time.monotonic() - began:.0f} s", flush=True)
            if status:
                failed.append(seed)
    for seed in failed:
        print(f"the order that failed: just test-busy --runs 1 --seed {seed}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
