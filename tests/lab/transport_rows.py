"""What transports do to conversations, side by side: rows, table and verdict of `bench_transports`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .figures import quantile, spread
from .interruption import Outcome
from .lossy import Weather

MOST_MORE_MS = 40.0
"""By which loss may make a response later, in the median."""
FEWEST_ANSWERED = 0.9

NO_LOSS = Weather()

Row = dict[str, Any]


@attrs.frozen
class Line:
    """How a call's audio comes: over a transport, by its name in the dialplan, and through which weather."""

    media: str
    weather: Weather = NO_LOSS

    @property
    def lossy(self) -> bool:
        return self.weather != NO_LOSS

    def __str__(self) -> str:
        return f"{self.media}, {self.weather}" if self.lossy else self.media


@attrs.define
class Seen:
    """What was seen of a line. `delays_ms` and `repeats_ms` by the sentence that was said; None: no answer."""

    delays_ms: dict[str, float | None] = attrs.field(factory=dict)
    repeats_ms: dict[str, float | None] = attrs.field(factory=dict)
    """The same of an agent without engines, which says back what it heard."""
    interruptions: list[Outcome] = attrs.field(factory=list)
    agentd_cpu: float | None = None
    """Per cent of a core, a call."""
    asterisk_cpu: float | None = None
    steps: int | None = None
    """In what an agent hears: see tests.lab.measure.clicks."""


def row(line: Line, seen: Seen, plain: Seen | None) -> Row:
    """The report's row of a line; `plain` is what was seen of the same transport without loss."""
    stops = [it.stop_ms for it in seen.interruptions if it.gave_way and it.stop_ms is not None]
    answered = [delay for delay in seen.delays_ms.values() if delay is not None]
    repeated = [delay for delay in seen.repeats_ms.values() if delay is not None]
    return {
        "line": str(line),
        "media": line.media,
        "loss_percent": 100 * line.weather.loss,
        "jitter_ms": 1000 * line.weather.jitter,
        "turns": len(seen.delays_ms),
        "answered": len(answered),
        "response_ms": spread(answered),
        "response_more_ms": None if plain is None else more_ms(seen.delays_ms, plain.delays_ms),
        "said": len(seen.repeats_ms),
        "said_back": len(repeated),
        "said_back_ms": spread(repeated),
        "said_back_more_ms": None if plain is None else more_ms(seen.repeats_ms, plain.repeats_ms),
        "interruptions": len(seen.interruptions),
        "stopped": len(stops),
        "stop_ms": spread(stops),
        "agentd_cpu_a_call": seen.agentd_cpu,
        "asterisk_cpu_a_call": seen.asterisk_cpu,
        "steps": seen.steps,
    }


def more_ms(delays: Mapping[str, float | None], plain: Mapping[str, float | None]) -> int | None:
    """By how much later the same sentences were answered, in the median; None where none was over both."""
    pairs = [
        delay - without
        for name, delay in delays.items()
        if delay is not None and (without := plain.get(name)) is not None
    ]
    return round(quantile(pairs, 0.5)) if pairs else None


def wrong(rows: Sequence[Row]) -> list[str]:
    """What must not be, in words."""
    found = []
    for each in rows:
        for had, wanted in (("answered", "turns"), ("said_back", "said")):
            if each[had] < FEWEST_ANSWERED * each[wanted]:
                found.append(f"{each['line']}: {each[had]} of {each[wanted]} {had.replace('_', ' ')}")
        if each["said_back_more_ms"] is not None and each["said_back_more_ms"] > MOST_MORE_MS:
            found.append(f"{each['line']}: said back {each['said_back_more_ms']} ms later than without")
        if each["steps"]:
            found.append(f"{each['line']}: {each['steps']} steps in what an agent hears")
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a table of Markdown's."""
    titles = (
        "",
        "said back p50",
        "p95",
        "later by",
        "response p50",
        "p95",
        "stop p50",
        "max",
        "agentd, % a call",
        "Asterisk",
        "steps",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for each in rows:
        back, response, stop = each["said_back_ms"], each["response_ms"], each["stop_ms"]
        figures = (
            *(_shown(back[share], " ms") for share in ("p50", "p95")),
            _shown(each["said_back_more_ms"], " ms"),
            *(_shown(response[share], " ms") for share in ("p50", "p95")),
            *(_shown(stop[share], " ms") for share in ("p50", "max")),
            _shown(each["agentd_cpu_a_call"]),
            _shown(each["asterisk_cpu_a_call"]),
            _shown(each["steps"]),
        )
        lines.append(f"| {each['line']} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def _shown(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:g}{unit}"
