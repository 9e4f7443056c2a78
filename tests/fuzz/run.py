"""Runs the fuzzer on one target, in a process of its own."""

import re
import subprocess
import sys
import time
from pathlib import Path

import attrs

from tests.fuzz.targets import TARGETS

SLOWEST = 5
"""Seconds that one input may take: what is slower is a fault."""
MOST_MEMORY = 2048
"""MiB of the process."""
LONGEST = 1 << 14
"""Bytes of an input."""
SHOWN = 40
"""Lines of a fault that are shown."""
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+)")


@attrs.frozen
class Fuzzed:
    """What a run of a target came to. `edges`: how many ways through the code its inputs have gone; `fault`: the
    error that was none of its own, with the input, or empty."""

    target: str
    inputs: int
    edges: int
    seconds: float
    fault: str


def fuzz(target: str, inputs: int, seed: int, below: Path) -> Fuzzed:
    """Try so many inputs. What was worth keeping of earlier runs, and inputs that failed, are in a folder `below`."""
    corpus, faults = below / target / "corpus", below / target / "faults"
    for folder in (corpus, faults):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(TARGETS[target].seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    began = time.monotonic()
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.process", target),
            *(f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}"),
            *(f"-rss_limit_mb={MOST_MEMORY}", f"-artifact_prefix={faults}/", "-print_final_stats=0", str(corpus)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    told = ran.stdout + ran.stderr
    done = _DONE.search(told)
    fault = "" if ran.returncode == 0 and done else "\n".join(told.splitlines()[-SHOWN:])
    tried, edges = (int(done[1]), int(done[2])) if done else (0, 0)
    return Fuzzed(target, tried, edges, time.monotonic() - began, fault)
