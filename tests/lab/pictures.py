"""The benchmarks' pictures: where the time of a turn goes, what both sides of an interruption sounded like, and what a
load costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .measure import RATE, STEP, STEP_SECONDS

PARTS = ("pause", "transcript", "first_token", "first_audio", "held", "line")
"""The parts of a turn's delay, in their order; together they are the whole."""
COLOURS = dict(zip(PARTS, ("#9aa5b1", "#4c78a8", "#f2a541", "#e4572e", "#b279a2", "#54a24b"), strict=True))
ROW_INCHES = 0.17


def waterfall(path: Path, turns: Sequence[Mapping[str, Any]], overall: Mapping[str, float | None]) -> None:
    """Draw a row a turn: its parts one after the other, the delay at the caller's ear as a tick.

    Finished sentences left, hesitations right, each from the quickest to the slowest.
    """
    kinds = [
        ("finished sentences", [turn for turn in turns if not turn["hesitation"]]),
        ("hesitations (a pause of 0.7 to 1.2 s inside)", [turn for turn in turns if turn["hesitation"]]),
    ]
    rows = max(len(found) for _, found in kinds)
    figure = Figure(figsize=(17, 2.2 + ROW_INCHES * max(rows, 6)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    delays = [turn["delay_ms"] or 0 for turn in turns]
    right = max(1000.0, 1.06 * max([*delays, *(sum(_parts(turn).values()) for turn in turns)], default=0.0))
    for axes, (title, found) in zip(panels, kinds, strict=True):
        ordered = sorted(found, key=lambda turn: (turn["delay_ms"] is None, turn["delay_ms"] or 0))
        axes.set_title(f"{len(found)} {title}", loc="left", fontsize=11, pad=15)
        _rows(axes, ordered, right)
        for share, style in (("p50", "--"), ("p95", ":")):
            if (value := overall.get(share)) is not None:
                axes.axvline(value, color="black", linestyle=style, linewidth=1, zorder=0)
                axes.annotate(
                    f"{share} {value:.0f}", (value, 1), xycoords=("data", "axes fraction"), fontsize=8,
                    xytext=(2, 2), textcoords="offset points",
                )  # fmt: skip
    handles: list[Artist] = [Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in PARTS]
    handles += [
        Line2D([], [], color="black", marker="|", linestyle="", markersize=9, markeredgewidth=2),
        Line2D([], [], color="white", markeredgecolor="black", marker="d", linestyle="", markersize=5),
        Rectangle((0, 0), 1, 1, color="#fbd5d5"),
    ]
    figure.legend(
        handles,
        [*(name.replace("_", " ") for name in PARTS), "caller's ear", "turn judged over", "cut off or early"],
        loc="outside upper center", ncols=len(PARTS) + 3, frameon=False, fontsize=9,
    )  # fmt: skip
    figure.supxlabel("milliseconds after the caller's last sound", fontsize=10)
    figure.savefig(path, dpi=110)


def _parts(turn: Mapping[str, Any]) -> dict[str, float]:
    return {name: max(turn["parts_ms"][name], 0) for name in PARTS if name in turn["parts_ms"]}


def _rows(axes: Any, turns: Sequence[Mapping[str, Any]], right: float) -> None:
    for row, turn in enumerate(turns):
        if turn["cut_off"] or turn["early"]:
            axes.axhspan(row - 0.5, row + 0.5, color="#fbd5d5", zorder=0)
        left = 0.0
        for name, value in _parts(turn).items():
            axes.barh(row, value, left=left, height=0.72, color=COLOURS[name])
            left += value
        if "endpoint" in turn["parts_ms"]:
            axes.plot(turn["parts_ms"]["endpoint"], row, "d", color="white", markeredgecolor="black", markersize=4)
        if turn["delay_ms"] is None:
            axes.text(right * 0.01, row, "no answer", va="center", fontsize=7, color="#b00020")
        else:
            axes.plot([turn["delay_ms"]] * 2, [row - 0.45, row + 0.45], color="black", linewidth=2)
        note = "cut off" if turn["cut_off"] else "early" if turn["early"] else ""
        axes.text(right * 0.99, row, note, va="center", ha="right", fontsize=7, color="#b00020")
    axes.set_yticks(range(len(turns)), [turn["said"][:38] for turn in turns], fontsize=7)
    axes.set_ylim(len(turns) - 0.4, -0.6)
    axes.set_xlim(0, right)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


@attrs.frozen
class Moment:
    """What an interruption, or a sound that should be none, sounded like on both sides."""

    title: str
    good: bool
    said: bytes = attrs.field(repr=False)
    heard: bytes = attrs.field(repr=False)
    """Both 8 kHz slin of the whole call."""
    onset: float
    """Second of the caller's first sound."""
    attenuated: float | None
    stopped: float | None
    """Milliseconds after the onset."""


BEFORE, AFTER = 1.0, 5.0
COLUMNS = 3


def envelopes(path: Path, moments: Sequence[Moment]) -> None:
    """Draw a panel a moment: the agent's level upwards, the caller's downwards, and when the agent gave way."""
    rows = -(-len(moments) // COLUMNS)
    figure = Figure(figsize=(17, 0.7 + 1.15 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, moment in zip(panels.flat, moments, strict=False):
        for pcm, sign, colour in ((moment.heard, 1, "#4c78a8"), (moment.said, -1, "#f2a541")):
            times, level = _envelope(pcm, moment.onset)
            axes.fill_between(times, 0, sign * level, color=colour, linewidth=0)
        axes.axvline(0, color="black", linewidth=0.8)
        if moment.attenuated is not None:
            axes.axvline(moment.attenuated / 1000, color="#b279a2", linewidth=1.4, linestyle="--")
        if moment.stopped is not None:
            axes.axvline(moment.stopped / 1000, color="#d62728", linewidth=1.8)
        axes.set_title(moment.title, loc="left", fontsize=8, pad=2, color="black" if moment.good else "#b00020")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    for axes in panels.flat[len(moments) :]:
        axes.set_visible(False)
    for axes in panels.flat[max(len(moments) - COLUMNS, 0) : len(moments)]:
        axes.tick_params(labelbottom=True)
    panels[0][0].set_xlim(-BEFORE, AFTER)
    panels[0][0].set_ylim(-1, 1)
    figure.legend(
        [
            Rectangle((0, 0), 1, 1, color="#4c78a8"),
            Rectangle((0, 0), 1, 1, color="#f2a541"),
            Line2D([], [], color="black", linewidth=0.8),
            Line2D([], [], color="#b279a2", linewidth=1.4, linestyle="--"),
            Line2D([], [], color="#d62728", linewidth=1.8),
        ],
        ["agent, as heard", "caller", "caller's onset", "agent attenuated", "agent stopped"],
        loc="outside upper center", ncols=5, frameon=False, fontsize=9,
    )  # fmt: skip
    figure.supxlabel("seconds after the caller's onset; level from -60 to -10 dBFS", fontsize=9)
    figure.savefig(path, dpi=100)


def _envelope(pcm: bytes, onset: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times from the onset, and levels of 10 ms from 0 (-60 dBFS and below) to 1 (-10 dBFS)."""
    first = max(round((onset - BEFORE) * RATE), 0)
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)[first : round((onset + AFTER) * RATE)]
    steps = samples[: len(samples) // (2 * STEP) * 2 * STEP].reshape(-1, 2 * STEP)
    level = 10 * np.log10(np.mean(steps**2, axis=1) / 32768**2 + 1e-9)
    times = first / RATE - onset + np.arange(len(steps)) * 2 * STEP_SECONDS
    return np.asarray(times), np.asarray(np.clip((level + 60) / 50, 0, 1))


def takeovers(path: Path, rows: Sequence[Mapping[str, Any]], must: Mapping[str, float]) -> None:
    """Draw a row a run, by kind and from the quickest to the slowest: without a voice, the hold message, then until the
    answer. `must`: what the p95 of `voice_ms` and `answer_ms` is to stay below."""
    ordered = sorted(rows, key=lambda row: (row["kind"], row["answer_ms"] is None, row["answer_ms"] or 0))
    figure = Figure(figsize=(12, 1.6 + ROW_INCHES * max(len(ordered), 6)), layout="constrained")
    axes = figure.subplots()
    for row, run in enumerate(ordered):
        voice, answer = run["voice_ms"], run["answer_ms"]
        if voice is None or answer is None:
            axes.text(
                0, row, " no answer" if voice is not None else " no voice", va="center", fontsize=7, color="#b00020"
            )
            continue
        hold = min(run.get("hold_ms") or 0, answer - voice)
        axes.barh(row, voice, height=0.72, color="#e4572e")
        axes.barh(row, hold, left=voice, height=0.72, color="#f2a541")
        axes.barh(row, answer - voice - hold, left=voice + hold, height=0.72, color="#9aa5b1")
        axes.plot([answer] * 2, [row - 0.45, row + 0.45], color="black", linewidth=2)
    for name, colour in (("voice_ms", "#e4572e"), ("answer_ms", "black")):
        axes.axvline(must[name], color=colour, linestyle="--", linewidth=1, zorder=0)
    axes.set_yticks(range(len(ordered)), [run["kind"] for run in ordered], fontsize=7)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        [
            Rectangle((0, 0), 1, 1, color="#e4572e"),
            Rectangle((0, 0), 1, 1, color="#f2a541"),
            Rectangle((0, 0), 1, 1, color="#9aa5b1"),
            Line2D([], [], color="black", marker="|", linestyle="", markersize=9, markeredgewidth=2),
            Line2D([], [], color="black", linestyle="--", linewidth=1),
        ],
        ["no voice", "hold message", "after the hold message", "the answer begins", "what the p95 must stay below"],
        loc="outside upper center", ncols=5, frameon=False, fontsize=9,
    )  # fmt: skip
    figure.supxlabel("milliseconds after the vendor was heard last", fontsize=10)
    figure.savefig(path, dpi=110)


def costs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw what calls cost over their number, a line a transport: the processor, beside the bare echo's; how late
    frames were written, and the largest gap at a caller; memory."""
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    processor, lateness, memory = figure.subplots(1, 3)
    shades = ("#4c78a8", "#e4572e", "#54a24b", "#b279a2")

    def line(axes: Any, found: Sequence[Mapping[str, Any]], key: str, **style: Any) -> None:
        known = [(row["calls"], row[key]) for row in found if row[key] is not None]
        axes.plot([calls for calls, _ in known], [value for _, value in known], marker="o", markersize=4, **style)

    medias = list(dict.fromkeys(row["media"] for row in rows))
    for number, media in enumerate(medias):
        found = [{**row, "p99": row["lateness_ms"]["p99"]} for row in rows if row["media"] == media]
        transport, colour = found[0]["transport"], shades[number % len(shades)]
        name = transport if transport == media else f"{transport} ({media})"
        line(processor, found, "agentd_cpu", color=colour, label=f"agentd, {name}")
        line(processor, found, "asterisk_cpu", color=colour, linestyle=":", label=f"Asterisk, {name}")
        line(lateness, found, "p99", color=colour, label=f"written late, p99, {name}")
        line(lateness, found, "largest_gap_ms", color=colour, linestyle="--", label=f"largest gap heard, {name}")
        line(memory, found, "rss_mb", color=colour, label=f"agentd, {name}")
    bare = [row for row in rows if row["media"] == medias[0]]
    line(processor, bare, "yardstick_cpu", color="#9aa5b1", label="bare echo")
    line(lateness, bare, "yardstick_largest_gap_ms", color="#9aa5b1", linestyle="--", label="the same, bare echo")
    titles = ("processor, per cent of a core", "milliseconds", "memory, MB")
    for axes, title in zip((processor, lateness, memory), titles, strict=True):
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_ylim(0, 1.06 * axes.dataLim.y1)
        axes.set_xlim(0, 1.06 * axes.dataLim.x1)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.supxlabel("calls at once", fontsize=10)
    figure.savefig(path, dpi=110)


def side_by_side(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw what each transport does, a bar a line: after how long a sentence is said back, and answered (p50, p95 as a
    tick), how soon an agent that is interrupted falls silent, and the processor a call."""
    figure = Figure(figsize=(16, 1.6 + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 4, sharey=True)
    places = np.arange(len(rows))
    shown = (
        ("said back after ms (p50; tick: p95)", [row["said_back_ms"] for row in rows], "p95"),
        ("answered after ms (p50; tick: p95)", [row["response_ms"] for row in rows], "p95"),
        ("stop after a caller's onset, ms (p50; tick: max)", [row["stop_ms"] for row in rows], "max"),
    )
    for axes, (title, values, tick) in zip(panels, shown, strict=False):
        axes.barh(places, [value["p50"] or 0 for value in values], color=COLOURS["transcript"], height=0.6)
        axes.plot([value[tick] or 0 for value in values], places, "|", color="black", markersize=14)
        axes.set_title(title, loc="left", fontsize=10)
    costs_a_call = panels[3]
    for number, (key, colour) in enumerate((("agentd_cpu_a_call", "transcript"), ("asterisk_cpu_a_call", "pause"))):
        widths = [row[key] or 0 for row in rows]
        costs_a_call.barh(
            places + 0.3 * number - 0.15, widths, height=0.3, color=COLOURS[colour], label=key.split("_")[0]
        )
    costs_a_call.set_title("processor a call, per cent of a core", loc="left", fontsize=10)
    costs_a_call.legend(frameon=False, fontsize=8)
    panels[0].set_yticks(places, [row["line"] for row in rows])
    panels[0].invert_yaxis()
    for axes in panels:
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
