"""How long a caller waits for an answer, measured at the caller's ear on the private Asterisk.

    python -m tests.lab.bench_latency [--turns 20]

Real recorded human speech is the question; the delay of a turn is from the last sound the caller sent to the first
sound of the answer in what the caller received, both read off the call's two recordings on one axis. A call to
Asterisk's Echo() in the same run measures the lab's own share, which is taken off. The parts are the daemon's own
log of the same turns. Fails (exit status 1) if fewer than nine of ten turns were answered.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import trio

from providers.local.models import cli_fetch

from .asterisk import PrivateAsterisk
from .daemon import Daemon, environment, run_daemon, write_config
from .debian import find_or_unpack
from .measure import calibrate_echo
from .scene import NothingHeard, ask, listen
from .sip import SipCaller
from .speech import Prompt, human_prompts

OUT = Path("build/bench")
TURNS_PER_CALL = 5
AIM_P95_MS = 2000
ECHO = "exten => 600,1,Answer()\n same => n,Echo()\n"
SHORTEST, LONGEST = 1.5, 5.0


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]


def questions(prompts: list[Prompt], count: int) -> list[Prompt]:
    """Prompts of a caller's usual length, spread over all there are."""
    fitting = [
        prompt
        for prompt in prompts
        if len(prompt.text.split()) >= 5
        and SHORTEST <= len(prompt.pcm()) / 16000 <= LONGEST
        and "(" not in prompt.text
        and "bye" not in prompt.text.lower()
    ]
    step = max(1, len(fitting) // count)
    return fitting[::step][:count]


async def echo_offset(pbx: PrivateAsterisk, sample: Prompt) -> float:
    """Seconds by which the lab hears itself late."""
    async with SipCaller().call(pbx.sip_uri("600")) as call:
        await trio.sleep(0.5)
        await call.play(sample.pcm())
        await trio.sleep(0.5)
        await call.hangup()
    return calibrate_echo(call.said, call.heard).at


async def one_call(pbx: PrivateAsterisk, daemon: Daemon, prompts: list[Prompt], offset: float) -> list[dict[str, Any]]:
    """A call with a few turns."""
    turns: list[dict[str, Any]] = []
    async with SipCaller().call(pbx.sip_uri("7000")) as call:
        await listen(call, 0.0)
        for prompt in prompts:
            since = len(daemon.lines)
            turn: dict[str, Any] = {"question": prompt.text, "delay_ms": None}
            try:
                answer = await ask(call, bytes(4000) + prompt.pcm(), timeout=25)
                turn["delay_ms"] = round((answer.delay - offset) * 1000)
            except NothingHeard as error:
                turn["missed"] = str(error)
            lines = daemon.lines[since:]
            turn["heard_as"] = " ".join(line["text"] for line in lines if line.get("event") == "caller said")
            for line in lines:
                if line.get("event") == "answer":
                    turn["parts_ms"] = {k[:-3]: v for k, v in line.items() if k.endswith("_ms")}
            turns.append(turn)
            shown = "no answer" if turn["delay_ms"] is None else f"{turn['delay_ms']:5d} ms"
            print(f"  {shown}  {turn.get('parts_ms', {})}  {prompt.text}", flush=True)
        await call.hangup()
    return turns


async def run(count: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    prompts = questions(human_prompts(prefix), count)
    turns: list[dict[str, Any]] = []
    async with PrivateAsterisk(prefix, extra_dialplan=ECHO) as pbx:
        async with run_daemon(write_config(OUT / "agent.toml", pbx), environment(pbx)) as daemon:
            offset = await echo_offset(pbx, prompts[0])
            print(f"Echo() offset {offset * 1000:.1f} ms; {len(prompts)} turns, one call at a time, file mode")
            for first in range(0, len(prompts), TURNS_PER_CALL):
                turns += await one_call(pbx, daemon, prompts[first : first + TURNS_PER_CALL], offset)
            await daemon.until_idle()
            metrics = await daemon.metrics()
    report = summary(turns, offset, metrics)
    (OUT / "latency.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    delays = report["response_delay_ms"]
    print(f"response delay at the caller's ear: p50 {delays['p50']} ms, p95 {delays['p95']} ms, max {delays['max']} ms")
    print(f"parts (median): {report['parts_ms']}")
    print(f"caller audio to engine: p99 at most {report['audio_to_engine_p99_ms']} ms")
    print(f"{report['machine']}; written to {OUT / 'latency.json'}")
    return 0 if report["answered"] >= 0.9 * len(turns) else 1


def summary(turns: list[dict[str, Any]], offset: float, metrics: str) -> dict[str, Any]:
    delays = [float(turn["delay_ms"]) for turn in turns if turn["delay_ms"] is not None]
    parts: dict[str, list[float]] = {}
    for turn in turns:
        for name, value in turn.get("parts_ms", {}).items():
            parts.setdefault(name, []).append(value)
    return {
        "mode": "file",
        "response_delay_ms": {
            "p50": round(quantile(delays, 0.5)),
            "p95": round(quantile(delays, 0.95)),
            "max": round(max(delays)),
        }
        if delays
        else {"p50": None, "p95": None, "max": None},
        "aim_p95_ms": AIM_P95_MS,
        "parts_ms": {name: round(statistics.median(values)) for name, values in parts.items()},
        "audio_to_engine_p99_ms": histogram_quantile_ms(metrics, "agentd_caller_audio_delay_seconds", 0.99),
        "answered": len(delays),
        "echo_offset_ms": round(offset * 1000, 2),
        "load": "one call at a time",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "turns": turns,
    }


def histogram_quantile_ms(metrics: str, name: str, share: float) -> float | None:
    """The upper bound of the bucket that holds the quantile, in ms; None without observations."""
    buckets: list[tuple[float, float]] = []
    for line in metrics.splitlines():
        if line.startswith(f"{name}_bucket{{le="):
            bound, value = line.split('le="')[1].split('"} ')
            buckets.append((float(bound), float(value)))
    if not buckets or not buckets[-1][1]:
        return None
    wanted = buckets[-1][1] * share
    return next(bound * 1000 for bound, count in buckets if count >= wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="how many questions to ask (default 20)")
    return trio.run(run, parser.parse_args().turns)


if __name__ == "__main__":
    sys.exit(main())
