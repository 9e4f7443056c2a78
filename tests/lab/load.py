"""What a load costs: the sums of `bench_load`, from what /proc, the daemon's metrics and the callers told. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .figures import buckets, histogram_quantile, since, total
from .rtp import FRAME_SECONDS, LineStats

LATENESS = "agentd_line_lateness_seconds"
SKIPPED = "agentd_line_frames_skipped_total"
ANSWERED = "agentd_response_seconds_count"
REFUSED = "agentd_callers_refused_total"

Row = dict[str, Any]
"""A step of the report: one transport with so many calls."""


def processor_seconds(stat: str, ticks: int) -> float:
    """What a process, with all its threads, has had of the processor: /proc/PID/stat (proc_pid_stat(5)), whose clock
    ticks `ticks` times a second."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def busy_seconds(stat: str, ticks: int) -> float:
    """What all processes have had, of all cores: the first line of /proc/stat (proc_stat(5)), without what waits for
    I/O, and without what the host of this machine gave to others."""
    user, nice, system, _idle, _waiting, interrupts, soft = (int(field) for field in stat.split()[1:8])
    return (user + nice + system + interrupts + soft) / ticks


def resident_megabytes(status: str) -> float:
    """A process's memory: /proc/PID/status (proc_pid_status(5)). Raises ValueError for one that has ended."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("a process without VmRSS: it has ended")


def calls_up(lines: Sequence[Mapping[str, Any]]) -> int:
    """How many calls have their audio up, as the daemon's log tells."""
    bound = {line.get("call_id") for line in lines if line.get("event") == "media leg bound"}
    ended = {line.get("call_id") for line in lines if line.get("event") == "call ended"}
    return len(bound - ended)


@attrs.frozen
class Reading:
    """One look at everything; seconds of the processor's since each began."""

    at: float
    """Seconds on any clock that is the same for two readings."""
    server: float
    asterisk: float
    crowd: float
    own: float
    """This process's, with the telephones that listen."""
    machine: float
    metrics: str = ""
    """agentd's, as GET /metrics tells them; empty where the server has none, or did not tell them in time."""


@attrs.frozen
class Step:
    """What was seen of one server with so many calls."""

    calls: int
    served: int
    """Calls that were up both when the measuring began and when it ended."""
    before: Reading
    after: Reading
    heard: Sequence[LineStats]
    """By each telephone that listens."""
    idle_mb: float
    """The server's memory before the first call."""
    full_mb: float
    """And with all calls."""
    without_streaming: int = 0
    """Calls whose media leg failed."""

    def percent(self, of: str) -> float:
        """What `of`, a field of a reading, has used: per cent of a core."""
        used = getattr(self.after, of) - getattr(self.before, of)
        return round(100 * float(used) / (self.after.at - self.before.at), 1)

    @property
    def others_percent(self) -> float:
        """What processes have used that are no part of the measuring: large values spoil it."""
        ours = sum(self.percent(of) for of in ("server", "asterisk", "crowd", "own"))
        return round(max(self.percent("machine") - ours, 0.0), 1)

    @property
    def expected(self) -> int:
        """Packets that the telephones should have heard."""
        return round((self.after.at - self.before.at) / FRAME_SECONDS) * len(self.heard)

    @property
    def largest_gap_ms(self) -> float:
        return round(max((stats.max_gap_ms for stats in self.heard), default=0.0), 1)


def lateness_ms(before: str, after: str) -> dict[str, float | None]:
    """How late the daemon wrote its frames between two readings of its metrics: p50 and p99, interpolated within a
    bucket, and the bound of the bucket that the latest fell in. None where the buckets do not tell it, or a reading
    is missing."""
    counts = since(buckets(before, LATENESS), buckets(after, LATENESS)) if before and after else {}
    most = max(counts.values(), default=0.0)
    seconds = {
        "p50": histogram_quantile(counts, 0.5),
        "p99": histogram_quantile(counts, 0.99),
        "max": next((bound for bound, count in counts.items() if count == most), None) if most else None,
    }
    known = {name: value is not None and math.isfinite(value) for name, value in seconds.items()}
    return {name: round((value or 0.0) * 1000, 2) if known[name] else None for name, value in seconds.items()}


def row(transport: str, media: str, step: Step, yardstick: Step | None) -> Row:
    """The report's row. `transport` is how the audio comes, `media` the name that the dialplan gives the way."""
    agentd_cpu, before, after = step.percent("server"), step.before.metrics, step.after.metrics
    bare = yardstick and yardstick.percent("server")
    memory = (step.full_mb - step.idle_mb) * 1024 / step.served if step.served else None
    return {
        "transport": transport,
        "media": media,
        "calls": step.calls,
        "served": step.served,
        "without_streaming": step.without_streaming,
        "refused": None if not after else round(total(after, REFUSED) or 0.0),
        "agentd_cpu": agentd_cpu,
        "yardstick_cpu": bare,
        "ratio": round(agentd_cpu / bare, 2) if bare else None,
        "asterisk_cpu": step.percent("asterisk"),
        "yardstick_asterisk_cpu": yardstick and yardstick.percent("asterisk"),
        "crowd_cpu": step.percent("crowd"),
        "others_cpu": step.others_percent,
        "lateness_ms": lateness_ms(before, after),
        "frames_skipped": _risen(before, after, SKIPPED),
        "answers": _risen(before, after, ANSWERED),
        "listeners": len(step.heard),
        "packets": sum(stats.packets for stats in step.heard),
        "packets_expected": step.expected,
        "lost": sum(stats.lost for stats in step.heard),
        "late": sum(stats.late for stats in step.heard),
        "largest_gap_ms": step.largest_gap_ms,
        "yardstick_largest_gap_ms": yardstick and yardstick.largest_gap_ms,
        "listeners_own_lag_ms": round(max((stats.max_send_lag_ms for stats in step.heard), default=0.0), 1),
        "rss_mb": round(step.full_mb, 1),
        "rss_idle_mb": round(step.idle_mb, 1),
        "kb_per_call": None if memory is None else round(memory),
    }


def _risen(before: str, after: str, counter: str) -> int | None:
    if not before or not after:
        return None
    return round((total(after, counter) or 0.0) - (total(before, counter) or 0.0))


COLUMNS = (
    ("transport", "transport", "{:<11}"),
    ("media", "media", "{:<9}"),
    ("calls", "calls", "{:>5}"),
    ("served", "served", "{:>6}"),
    ("agentd_cpu", "agentd %", "{:>8}"),
    ("yardstick_cpu", "echo %", "{:>6}"),
    ("ratio", "ratio", "{:>5}"),
    ("asterisk_cpu", "Asterisk %", "{:>10}"),
    ("others_cpu", "others %", "{:>8}"),
    ("p50", "late p50", "{:>8}"),
    ("p99", "p99", "{:>6}"),
    ("max", "max", "{:>6}"),
    ("largest_gap_ms", "gap ms", "{:>6}"),
    ("lost", "lost", "{:>4}"),
    ("late", "late", "{:>4}"),
    ("kb_per_call", "kB a call", "{:>9}"),
)


def table(rows: Sequence[Row]) -> str:
    """The rows for people to read."""

    def line(values: Mapping[str, Any]) -> str:
        cells = ("-" if values[key] is None else values[key] for key, _, _ in COLUMNS)
        return "  ".join(form.format(cell) for (_, _, form), cell in zip(COLUMNS, cells, strict=True)).rstrip()

    return "\n".join(
        [line({key: title for key, title, _ in COLUMNS}), *(line(one | one["lateness_ms"]) for one in rows)]
    )
