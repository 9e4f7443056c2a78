"""What every benchmark shares: quantiles, the daemon's metrics, the machine, and how a report is written."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families

OUT = Path("build/bench")
CPUINFO = Path("/proc/cpuinfo")
ROOT = Path(__file__).parents[2]
VECTOR_FLAGS = ("sse4", "avx", "fma", "f16c", "amx", "asimd", "sve")

Report = Mapping[str, Any]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank). Raises ValueError without values."""
    if not values:
        raise ValueError("no values, so no quantile")
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]


def spread(values: Sequence[float], digits: int = 0) -> dict[str, float | None]:
    """p50, p95 and max, rounded; None each where there are no values."""
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    rounded = {name: round(quantile(values, share), digits) if values else None for name, share in shares.items()}
    return {name: int(value) if value is not None and digits == 0 else value for name, value in rounded.items()}


def in_words(values: Mapping[str, float | None]) -> str:
    """What `spread` gives, in milliseconds, on one line."""
    return "  ".join(f"{name} {'-' if value is None else f'{value:g} ms'}" for name, value in values.items())


@attrs.frozen
class Conditions:
    """The machine at the beginning of a run; `describe` tells it with the load that was added until now."""

    cores: int
    cpu: str
    python: str
    load_before: tuple[float, float, float]

    @classmethod
    def now(cls) -> "Conditions":
        return cls(os.cpu_count() or 1, cpu_model(), platform.python_version(), os.getloadavg())

    def describe(self) -> dict[str, Any]:
        """For a report's `machine`."""
        return {
            "cores": self.cores,
            "cpu": self.cpu,
            "python": self.python,
            "load_average_before": [round(value, 2) for value in self.load_before],
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
        }

    def __str__(self) -> str:
        before, after = self.load_before[0], os.getloadavg()[0]
        return (
            f"{self.cores} cores, {self.cpu}, Python {self.python}; load average {before:.2f} before, {after:.2f} after"
        )


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name; the architecture where the kernel does not tell it."""
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_flags(cpuinfo: Path = CPUINFO) -> list[str]:
    """What the processor has that engines compute with: the kernel's names of its vector and matrix instructions."""
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [flag for flag in flags if flag.startswith(VECTOR_FLAGS)]


def commit() -> str:
    """The commit that is checked out, with `+changes` where the files differ from it; empty outside of git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return f"{head}+changes" if head and git("status", "--porcelain", "--untracked-files=no") else head


def write_report(name: str, report: Report, conditions: Conditions) -> Path:
    """Write build/bench/NAME.json: the figures, then the machine and the commit. Gives the path."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    whole = {**report, "machine": conditions.describe(), "commit": commit()}
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


# --- the daemon's metrics, as GET /metrics tells them


def total(metrics: str, name: str) -> float | None:
    """A counter or gauge over all its labels; None if the daemon does not export it."""
    values = [value for sample, _, value in _samples(metrics) if sample == name]
    return sum(values) if values else None


def buckets(metrics: str, name: str) -> dict[float, float]:
    """A histogram's cumulative counts by upper bound, over all its labels; empty if it is not exported."""
    counts: dict[float, float] = {}
    for sample, labels, value in _samples(metrics):
        if sample == f"{name}_bucket":
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
    return dict(sorted(counts.items()))


def since(before: Mapping[float, float], after: Mapping[float, float]) -> dict[float, float]:
    """The buckets of what was observed between two readings."""
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def histogram_quantile(counts: Mapping[float, float], share: float) -> float | None:
    """The quantile, interpolated evenly within its bucket; None without observations.

    One that lies beyond the last finite bound is infinite: the buckets do not tell it.
    """
    bounds = sorted(counts)
    if not bounds or not counts[bounds[-1]]:
        return None
    wanted = counts[bounds[-1]] * share
    lower, below = 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted and counts[bound] > below:
            return lower + (bound - lower) * (wanted - below) / (counts[bound] - below)
        lower, below = bound, counts[bound]
    raise ValueError(f"the last bucket has to hold everything: {dict(counts)}")


def _samples(metrics: str) -> Iterable[tuple[str, Mapping[str, str], float]]:
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
