"""How late the daemon's event loop wakes up while engines work, against the same loop when it idles.

    python -m tests.lab.bench_loop [--seconds 20]

Both are measured in one process and one run, alternating, so that a noisy machine spoils both alike: a task sleeps to
absolute times 5 ms apart and notes how late it woke, first with the engines loaded and idle, then while the local agent
transcribes, writes and speaks without pause. Reported are p50, p99 and max of both, and the ratio of the p99s
(aim: at most 2).
"""

import argparse
import json
import math
import sys

import attrs
import trio
import trio.lowlevel

from agentd.agent import CallInfo
from agentd.config.settings import AgentConfig
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd_providers.local.agent import open_local_agent
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.settings import LocalSettings
from agentd_providers.pipeline.agent import PipelineAgent
from agentd_providers.shared import SharedServices

from .figures import Conditions, quantile, write_report
from .hearing import speak
from .pretence import one_turn

STEP = 0.005
ROUNDS = 4


async def lag(seconds: float) -> list[float]:
    """Lateness of wake-ups in seconds, over a while."""
    late = []
    start = trio.current_time()
    for tick in range(int(seconds / STEP)):
        due = start + tick * STEP
        await trio.sleep_until(due)
        late.append(max(trio.current_time() - due, 0.0))
    return late


async def work(agent: PipelineAgent, question: bytes, busy: trio.Event) -> None:
    """One caller's conversation without a pause: transcribe, answer, speak, again."""
    while True:
        history, playout = History(), PlayoutBuffer(math.inf)
        async with agent.open(CallInfo("bench"), history, playout) as session:
            busy.set()
            await one_turn(session, question)


async def run(seconds: float) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    question = await speak("What is the capital of France?") + bytes(16000)
    conditions = Conditions.now()
    idle: list[float] = []
    working: list[float] = []
    async with trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        config = attrs.evolve(AgentConfig(), settings=LocalSettings())
        async with open_local_agent("bench", config, shared) as agent:
            for number in range(ROUNDS):
                idle += await lag(seconds / ROUNDS)
                busy = trio.Event()
                async with trio.open_nursery() as engines:
                    engines.start_soon(work, agent, question, busy)
                    await busy.wait()
                    working += await lag(seconds / ROUNDS)
                    engines.cancel_scope.cancel()
                print(f"round {number + 1} of {ROUNDS}", flush=True)
        nursery.cancel_scope.cancel()
    report = {
        name: {f"p{share * 100:g}": round(quantile(values, share) * 1000, 3) for share in (0.5, 0.99, 1.0)}
        for name, values in (("idle_ms", idle), ("working_ms", working))
    }
    ratio = quantile(working, 0.99) / quantile(idle, 0.99)
    path = write_report("loop", {**report, "p99_ratio": round(ratio, 2), "aim": 2}, conditions)
    print(json.dumps(report), f"p99 ratio {ratio:.2f} (aim: at most 2)")
    print(f"{conditions}\nwritten to {path}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="seconds of each kind (default 20)")
    return trio.run(run, parser.parse_args().seconds)


if __name__ == "__main__":
    sys.exit(main())
