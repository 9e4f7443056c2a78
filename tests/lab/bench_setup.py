"""How soon the media leg of a call is up on a busy host, and how many calls come up without streaming.

    python -m tests.lab.bench_setup [--calls 120] [--busy 3]

One SIP call after the other, with externalMedia and with the fork by turns, to an agent of a vendor's (a fake: it costs
no computing), while `--busy` processes do nothing but compute.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import trio

from .asterisk import PrivateAsterisk
from .daemon import Daemon, environment, run_daemon, write_config
from .debian import find_or_unpack
from .figures import OUT, Conditions, in_words, spread, write_report
from .sip import SipCaller
from .vendors.house import open_house

WAYS = {"external": "7500", "fork": "7501"}
DIALPLAN = "".join(
    f"exten => {extension},1,Gosub(agentd-call,${{EXTEN}},1(deepgram,{way}))\n" for way, extension in WAYS.items()
)
SERVED_WITHIN = 30.0
FALLBACK = "streaming failed: the call goes on with file playback"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Have so many processes compete for the processor."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def measure(pbx: PrivateAsterisk, daemon: Daemon, way: str) -> tuple[float, bool]:
    """One call: milliseconds from the first request for its leg until it was up, and whether it streams."""
    since = len(daemon.lines)
    async with SipCaller().call(pbx.sip_uri(WAYS[way])) as call:
        bound = await daemon.wait_for("media leg bound", start=since, timeout=SERVED_WITHIN)
        await call.hangup()
    await daemon.until_idle()
    return float(bound["after_ms"]), not any(line.get("event") == FALLBACK for line in daemon.lines[since:])


async def run(calls: int, processes: int) -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    conditions = Conditions.now()
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    fallen = dict.fromkeys(WAYS, 0)
    async with AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(PrivateAsterisk(prefix, extra_dialplan=DIALPLAN))
        house = await stack.enter_async_context(open_house())
        config = write_config(OUT / "agent.toml", pbx, agents=house.deepgram_agent("deepgram", 'greeting = ""'))
        daemon = await stack.enter_async_context(run_daemon(config, environment(pbx) | house.environment))
        stack.enter_context(busy(processes))
        for number in range(calls):
            way = list(WAYS)[number % len(WAYS)]
            milliseconds, streams = await measure(pbx, daemon, way)
            if streams:
                took[way].append(milliseconds)
            else:
                fallen[way] += 1
    for way in WAYS:
        print(f"{way:9} {in_words(spread(took[way])):42} without streaming: {fallen[way]}")
    report = {
        "leg_up_ms": {way: {"calls": len(took[way]) + fallen[way], **spread(took[way])} for way in WAYS},
        "without_streaming": fallen,
        "load": f"one call at a time, {processes} processes that compute",
        "all_ms": took,
    }
    path = write_report("setup", report, conditions)
    print(f"{conditions}\nwritten to {path}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=120, help="how many (default 120)")
    parser.add_argument("--busy", type=int, default=3, help="processes that compute meanwhile (default 3)")
    options = parser.parse_args()
    return trio.run(run, options.calls, options.busy)


if __name__ == "__main__":
    sys.exit(main())
