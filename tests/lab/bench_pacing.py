"""How evenly the daemon serves the line while its engines are busy, and whether steady speech ever runs dry.

    python -m tests.lab.bench_pacing [--calls 10] [--seconds 60] [--steady 10]

First, so many SIP calls at once, each asking again and again, so that the engines never rest: how late the daemon
wrote its 20 ms frames (its own histogram, the p99 interpolated within a bucket), and how even that was on the network
before the callers. Then one call in which the agent speaks without a pause for `--steady` minutes (a server that tells
stories is its language model; recognition, synthesis and line are real): underruns of the playout, and the longest
silence that the caller heard inside a story. `--steady 0` leaves that out.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .calibration import reticent_agent
from .daemon import Daemon, environment, run_daemon, write_config
from .debian import find_or_unpack
from .figures import OUT, Conditions, buckets, histogram_quantile, since, total, write_report
from .hearing import speak
from .measure import speech_spans
from .prefix import Prefix
from .rtp import LineStats
from .scene import listen
from .sip import Call, CallEnded, SipCaller

RATE = 8000
LATENESS = "agentd_line_lateness_seconds"
UNDERRUNS, OVERRUNS = "agentd_playout_underruns_total", "agentd_playout_overruns_total"
SKIPPED = "agentd_line_frames_skipped_total"
QUESTIONS = ("What is the capital of France?", "Can you tell me something about the sea?", "Who are you, and where?")
PATIENCE = 15.0
"""Seconds that a caller waits for an answer before asking again."""
LISTENS = 2.5
"""Seconds that a caller listens to it."""
LOOK = 1.5
STAGGER = 0.5
STORY_SETTINGS = """[agents.default.local.llm]
base_url = "{url}"
"""
STORY_GAP = 1.5
"""A silence this long is the end of a story, not a pause in it."""
WATCH = 5.0


@attrs.frozen
class Held:
    """What one caller of many saw."""

    questions: int
    stats: LineStats


async def converse(pbx: PrivateAsterisk, questions: Sequence[bytes], begin: float, seconds: float) -> Held:
    """A call that begins `begin` seconds from now and asks until `seconds` from then have passed."""
    await trio.sleep(begin)
    asked = 0
    async with SipCaller(answer_seconds=30).call(pbx.sip_uri("7000"), caller_id=f"1{round(begin * 10):03d}") as call:
        try:
            with trio.move_on_after(seconds):
                await trio.sleep(2.0)
                for question in itertools.cycle(questions):
                    await call.play(question)
                    asked += 1
                    await answered(call)
        except CallEnded as error:
            print(f"  a call ended early: {error}", flush=True)
        end = call.now
        await call.hangup()
    return Held(asked, call.line_stats(1.0, end - 0.2))


async def answered(call: Call) -> None:
    """Wait until something was heard, and listen to it for a while; not longer than PATIENCE."""
    with trio.move_on_after(PATIENCE):
        while True:
            await trio.sleep(LOOK)
            if speech_spans(call.heard[round((call.now - LOOK + 0.1) * RATE) * 2 :]):
                break
        await trio.sleep(LISTENS)


async def crowd(prefix: Prefix, calls: int, seconds: float) -> dict[str, Any]:
    """Many calls at once; gives the report's part about them."""
    spoken = [await speak(question) for question in QUESTIONS]
    held: list[Held] = []

    async def one(number: int) -> None:
        turned = spoken[number % len(spoken) :] + spoken[: number % len(spoken)]
        held.append(await converse(pbx, turned, number * STAGGER, seconds))

    async with PrivateAsterisk(prefix) as pbx:
        config = write_config(OUT / "agent.toml", pbx, agents=reticent_agent())
        async with run_daemon(config, environment(pbx)) as daemon:
            print(f"{calls} calls at once for {seconds:g} s", flush=True)
            before = await daemon.metrics()
            async with trio.open_nursery() as nursery:
                for number in range(calls):
                    nursery.start_soon(one, number)
            after = await daemon.metrics()
            answers = len(daemon.having("answer"))
            await daemon.until_idle()
    return {"calls": calls, "seconds": seconds, "answers": answers, **crowd_figures(before, after, held)}


def crowd_figures(before: str, after: str, held: Sequence[Held]) -> dict[str, Any]:
    """What two readings of the metrics and the callers' network say."""
    lateness = since(buckets(before, LATENESS), buckets(after, LATENESS))
    quantiles = {share: histogram_quantile(lateness, share) for share in (0.5, 0.99, 0.999)}
    return {
        "line_lateness_ms": {
            f"p{share * 100:g}": None if value is None else round(value * 1000, 2) for share, value in quantiles.items()
        },
        "frames_written": lateness[max(lateness)] if lateness else 0,
        "frames_skipped": difference(before, after, SKIPPED),
        "underruns": difference(before, after, UNDERRUNS),
        "overruns": difference(before, after, OVERRUNS),
        "questions": sum(one.questions for one in held),
        "callers_p99_gap_ms": round(max(one.stats.p99_gap_ms for one in held), 1),
        "callers_max_gap_ms": round(max(one.stats.max_gap_ms for one in held), 1),
        "callers_packets_lost": sum(one.stats.lost for one in held),
        "callers_own_lag_ms": round(max(one.stats.max_send_lag_ms for one in held), 1),
    }


def difference(before: str, after: str, name: str) -> float | None:
    """How far a counter moved on; None if the daemon has no such counter."""
    last = total(after, name)
    return None if last is None else last - (total(before, name) or 0.0)


async def steady(prefix: Prefix, minutes: float) -> dict[str, Any]:
    """One call that listens to stories; gives the report's part about it."""
    # Imported here: h11 is needed by nothing else of the lab.
    from .storyteller import tell_stories

    request = await speak("Please tell me a long story.")
    async with PrivateAsterisk(prefix) as pbx, tell_stories() as url:
        config = write_config(OUT / "agent.toml", pbx, agents=reticent_agent(settings=STORY_SETTINGS.format(url=url)))
        async with run_daemon(config, environment(pbx)) as daemon:
            print(f"one call with {minutes:g} minutes of stories", flush=True)
            async with SipCaller().call(pbx.sip_uri("7000")) as call:
                await listen(call, 0.0)
                before = await daemon.metrics()
                started = call.now
                asked = await listen_to_stories(call, daemon, request, minutes * 60)
                after = await daemon.metrics()
                await call.hangup()
            await daemon.until_idle()
    heard = call.heard[round(started * RATE) * 2 :]
    return {
        "minutes": minutes,
        "underruns": difference(before, after, UNDERRUNS),
        "overruns": difference(before, after, OVERRUNS),
        "frames_skipped": difference(before, after, SKIPPED),
        "stories": asked,
        **steadiness(heard),
        "max_gap_ms": round(call.line_stats(started).max_gap_ms, 1),
    }


async def listen_to_stories(call: Call, daemon: Daemon, request: bytes, seconds: float) -> int:
    """Ask for a story whenever there is none; gives how often that was."""
    asked, until = 0, call.now + seconds
    while call.now < until and not call.ended.is_set():
        lately = call.heard[round((call.now - STORY_GAP) * RATE) * 2 :]
        if not speech_spans(lately):
            await call.play(request)
            asked += 1
            await daemon.wait_for("answer", timeout=30, start=max(len(daemon.lines) - 20, 0))
            print(f"  {call.now:5.0f} s: story {asked}", flush=True)
        await trio.sleep(min(WATCH, max(until - call.now, 0)))
    return asked


def steadiness(heard: bytes, gap: float = STORY_GAP) -> dict[str, Any]:
    """How much speech there was, and the longest silence that is not the end of a story."""
    spans = speech_spans(heard, join_seconds=0.05)
    silences = [after.start - before.end for before, after in itertools.pairwise(spans)]
    return {
        "speech_seconds": round(sum(span.end - span.start for span in speech_spans(heard, join_seconds=gap)), 1),
        "longest_silence_in_speech_ms": round(1000 * max((one for one in silences if one <= gap), default=0.0)),
    }


async def run(calls: int, seconds: float, minutes: float) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    conditions = Conditions.now()
    report: dict[str, Any] = {}
    if calls:
        report["crowd"] = await crowd(prefix, calls, seconds)
        show(report["crowd"])
    if minutes:
        report["steady"] = await steady(prefix, minutes)
        show(report["steady"])
    path = write_report("pacing", report, conditions)
    print(f"{conditions}\nwritten to {path}")
    return 0


def show(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        print(f"  {name.replace('_', ' '):30} {'not measured by this daemon' if value is None else value}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10, help="calls at once (default 10; 0: leave this part out)")
    parser.add_argument("--seconds", type=float, default=60, help="how long they last (default 60)")
    parser.add_argument("--steady", type=float, default=10, help="minutes of steady speech (default 10; 0: none)")
    arguments = parser.parse_args()
    return trio.run(run, arguments.calls, arguments.seconds, arguments.steady)


if __name__ == "__main__":
    sys.exit(main())
