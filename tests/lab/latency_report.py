"""The report on turns taken at the caller's ear: what was heard, set by set, and beside silence alone. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .figures import buckets, histogram_quantile, in_words, spread

SILENCE_ALONE_MS: Final = 1200.0
"""The longest that the turns which are held up are silent for: a shorter one would cut some of them off."""
BUSY_WITH: Final = ("pause", "transcript", "first_token", "first_audio")
"""The parts after which an answer is ready."""

Turn = dict[str, Any]
"""A turn as the report lists it."""


def summary(turns: Sequence[Turn], offset: float, metrics: str) -> dict[str, Any]:
    """The report on all turns."""
    parts: dict[str, list[float]] = {}
    for turn in _clean(turns):
        for name, value in turn["parts_ms"].items():
            parts.setdefault(name, []).append(value)
        if "response" in turn["parts_ms"]:
            parts.setdefault("beyond_the_daemon", []).append(turn["delay_ms"] - turn["parts_ms"]["response"])
    delay = histogram_quantile(buckets(metrics, "agentd_caller_audio_delay_seconds"), 0.99)
    return {
        **figures(turns),
        "parts_ms": {name: spread(values) for name, values in parts.items()},
        "audio_to_engine_p99_ms": None if delay is None else round(delay * 1000, 3),
        "echo_offset_ms": round(offset * 1000, 2),
        "load": "one call at a time",
        "sets": {name: figures(mine) for name, mine in _by(turns, "set").items()},
        "lines": {name: figures(mine) for name, mine in _by(turns, "line").items() if name},
        "turn_list": list(turns),
    }


def figures(turns: Sequence[Turn]) -> dict[str, Any]:
    """What became of turns: the delays are of those in which the caller was let finish."""
    clean = _clean(turns)
    answered = [turn for turn in turns if turn["delay_ms"] is not None]
    return {
        "response_delay_ms": spread([turn["delay_ms"] for turn in clean]),
        "response_delay_complete_ms": spread([turn["delay_ms"] for turn in clean if not turn["hesitation"]]),
        "response_delay_hesitation_ms": spread([turn["delay_ms"] for turn in clean if turn["hesitation"]]),
        "turns": len(turns),
        "asked": len(turns),
        "answered": len(answered),
        "unanswered": len(turns) - len(answered),
        "speakers": len({turn["speaker"] for turn in turns}),
        "hesitations": sum(turn["hesitation"] for turn in turns),
        "cut_off": sum(turn["cut_off"] for turn in turns),
        "answered_before_the_end": sum(turn["early"] for turn in turns),
        "delay_of_those_ms": spread([turn["delay_ms"] for turn in answered if turn["cut_off"] or turn["early"]]),
        "silence_alone": silence_alone(clean),
    }


def silence_alone(clean: Sequence[Turn], silence_ms: float = SILENCE_ALONE_MS) -> dict[str, Any]:
    """What the same answers would have taken had nothing but that silence ended the turns: worked out, not heard."""
    later = [turn["delay_ms"] + max(0.0, silence_ms - _held_until(turn["parts_ms"])) for turn in clean]
    return {"silence_ms": silence_ms, "response_delay_ms": spread(later)}


def _held_until(parts: Mapping[str, float]) -> float:
    """Milliseconds after the caller's last sound at which the answer was there and the turn over."""
    return max(sum(parts.get(name, 0.0) for name in BUSY_WITH), parts.get("endpoint", 0.0))


def _clean(turns: Sequence[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn["delay_ms"] is not None and not turn["cut_off"] and not turn["early"]]


def _by(turns: Sequence[Turn], key: str) -> dict[str, list[Turn]]:
    return {name: [turn for turn in turns if turn[key] == name] for name in dict.fromkeys(t[key] for t in turns)}


def told(report: Mapping[str, Any]) -> str:
    """The report on a few lines."""
    lines = [
        f"{name[:-3].replace('_', ' '):28} {in_words(report[name])}"
        for name in ("response_delay_ms", "response_delay_complete_ms", "response_delay_hesitation_ms")
    ]
    lines += [f"  {name.replace('_', ' '):26} {in_words(values)}" for name, values in report["parts_ms"].items()]
    if report.get("yardstick_ms"):
        lines.append(f"the engines alone            p50 {report['yardstick_ms']} ms")
    for kind in ("sets", "lines"):
        for name, row in report[kind].items():
            lines.append(f"{name:28} {in_words(row['response_delay_ms'])}; {_counts(row)}")
            alone = row["silence_alone"]
            lines.append(
                f"  silence alone, {alone['silence_ms']:.0f} ms     {in_words(alone['response_delay_ms'])} (worked out)"
            )
    lines.append(f"{'all':28} {_counts(report)}")
    return "\n".join(lines)


def _counts(row: Mapping[str, Any]) -> str:
    return (
        f"{row['answered']} of {row['asked']} turns answered, {row['cut_off']} of {row['hesitations']} hesitations cut "
        f"off, {row['answered_before_the_end']} answered before the end, {row['speakers']} speakers"
    )
