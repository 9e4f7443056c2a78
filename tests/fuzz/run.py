"""Runs the fuzzer on targets."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.fuzz.targets import TARGETS

HUNG = 120
"""Seconds after which an input that is still being taken is given up."""
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


@attrs.define(eq=False)
class Fuzzer:
    """Runs one target after the other (tests.fuzz.process). Made by `open_fuzzer`."""

    _process: "subprocess.Popen[str]"
    _loading: Path
    """What the process itself has said."""
    _told: Path

    def fuzz(self, target: str, inputs: int, seed: int, below: Path) -> Fuzzed:
        """Try so many inputs. What was worth keeping of earlier runs, and inputs that failed, are in a folder
        `below`."""
        corpus, faults = below / target / "corpus", below / target / "faults"
        for folder in (corpus, faults):
            folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(TARGETS[target].seeds):
            (corpus / f"seed-{number}").write_bytes(data)
        arguments = [
            *(f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={HUNG}"),
            *(f"-rss_limit_mb={MOST_MEMORY}", f"-artifact_prefix={faults}/", "-print_final_stats=0", str(corpus)),
        ]
        began = time.monotonic()
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([target, str(self._told), arguments]), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline().strip()
        told = (self._told if status else self._loading).read_text("utf-8", "replace")
        done = _DONE.search(told)
        fault = "" if status == "0" and done else "\n".join(told.splitlines()[-SHOWN:])
        tried, edges = (int(done[1]), int(done[2])) if done else (0, 0)
        return Fuzzed(target, tried, edges, time.monotonic() - began, fault)


@contextmanager
def open_fuzzer() -> Iterator[Fuzzer]:
    """A process that fuzzes, for as long as the block is entered."""
    command = [sys.executable, "-m", "tests.fuzz.process"]
    with tempfile.TemporaryDirectory() as directory:
        loading = Path(directory) / "loading"
        with (
            loading.open("w") as said,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True) as process,
        ):
            yield Fuzzer(process, loading, Path(directory) / "told")
