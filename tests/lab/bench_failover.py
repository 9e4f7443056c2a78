"""How long a caller waits for a voice, and for an answer, when the vendor of the agent fails in mid-sentence.

    python -m tests.lab.bench_failover [--runs 10]

On the private Asterisk a caller asks an agent whose vendor is a fake on loopback, with the local agent behind it. In
the middle of the answer, which comes no faster than it is heard, the vendor's connection is cut within a frame, or
closed with an error, or falls mute, and the vendor stays so. The vendor's voice is a tone; from its end at the caller's
ear are counted (tests/lab/takeover.py):

    voice   to the first sound of the hold message, or of the answer where there is none
    answer  to the first sound of the local agent's answer

Each run has an agent of its own, so that no circuit breaker has learned anything. Always exits with 0: the figures
judge themselves.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio

from agentd.testing.faults import Fault
from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .calibration import reticent_agent
from .daemon import Daemon, DaemonFailed, Line, environment, run_daemon, write_config
from .debian import find_or_unpack
from .figures import OUT, Conditions, in_words, spread, write_report
from .pictures import takeovers
from .sip import CallEnded, SipCaller
from .speech import human_prompts, silence
from .takeover import LOST, hold_seconds, takeover, vendors_voice
from .vendors.deepgram_agent import Turn
from .vendors.house import CALLER_SAYS, House, open_house

FAULTS = {"cut": Fault.CUT, "closed": Fault.CLOSE, "mute": Fault.MUTE}
MUST = {"voice_ms": 1500, "answer_ms": 3000}
"""Milliseconds, of the p95."""
FIRST_EXTENSION = 7400
STORY = ("I will tell you a story about a telephone.",)
STORY_SECONDS = 20.0
INTO_THE_ANSWER = 1.0
"""Seconds of the answer that are heard before the vendor fails, and up to one piece of its audio more."""
PIECE_SECONDS = 0.1
ANSWER_SECONDS = 20.0

Row = dict[str, Any]


def agent_name(number: int) -> str:
    """Of the agent of run `number`, which the extension FIRST_EXTENSION + number calls."""
    return f"vendor{FIRST_EXTENSION + number}"


DIALPLAN = "exten => _7[4-9]XX,1,Gosub(agentd-call,${EXTEN},1(vendor${EXTEN},external))\n"


async def one_run(pbx: PrivateAsterisk, daemon: Daemon, house: House, question: bytes, number: int, kind: str) -> Row:
    """A call whose vendor fails; gives it as the report lists it."""
    house.restore()
    voice = vendors_voice(STORY_SECONDS)
    house.deepgram.script, house.deepgram.paced = (Turn(CALLER_SAYS, STORY, pcm=voice),), True
    since, failure = len(daemon.lines), ""
    async with SipCaller().call(pbx.sip_uri(str(FIRST_EXTENSION + number))) as call:
        try:
            await daemon.wait_for("state", start=since, after="live")
            await call.play(silence(0.3) + question + silence(0.3))
            await daemon.wait_for("answer", start=since)
            await trio.sleep(INTO_THE_ANSWER + PIECE_SECONDS * (number * 0.618 % 1))
            house.deepgram_peer.strike(FAULTS[kind])
            said = await daemon.wait_for("agent says", ANSWER_SECONDS, since, agent="default")
            await daemon.wait_for("utterance heard", ANSWER_SECONDS, since, utterance=said["utterance"])
            await trio.sleep(0.3)
        except (DaemonFailed, CallEnded) as error:
            failure = str(error).splitlines()[0]
        await call.hangup()
    await daemon.until_idle()
    return row_of(kind, call.heard, daemon.lines[since:], failure)


def row_of(kind: str, heard: bytes, lines: Sequence[Line], failure: str = "") -> Row:
    """A run as the report lists it."""
    hold = hold_seconds(lines)
    try:
        found = takeover(heard, hold)
    except ValueError as error:
        return {"kind": kind, "voice_ms": None, "answer_ms": None, "failure": failure or str(error)}
    lost = next((line for line in lines if line.get("event") == LOST), {})
    says = [line["text"] for line in lines if line.get("event") == "agent says" and line.get("agent") == "default"]
    return {
        "kind": kind,
        "voice_ms": None if found.voice_after is None else round(1000 * found.voice_after),
        "answer_ms": None if found.answer_after is None else round(1000 * found.answer_after),
        "hold_ms": None if hold is None else round(1000 * hold),
        "lost": lost.get("error", ""),
        "taken_over_after_ms": next((line["after_ms"] for line in lines if "after_ms" in line and "by" in line), None),
        "answer": " ".join(says),
        "failure": failure,
    }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The report on all runs."""
    kinds = {"all": list(rows)} | {kind: [row for row in rows if row["kind"] == kind] for kind in FAULTS}
    figures = {
        name: {figure: spread([row[figure] for row in found if row[figure] is not None]) for figure in MUST}
        for name, found in kinds.items()
    }
    return {
        "must_p95": MUST,
        "figures": figures,
        "runs": len(rows),
        "without_voice": len([row for row in rows if row["voice_ms"] is None]),
        "without_answer": len([row for row in rows if row["answer_ms"] is None]),
        "load": "one call at a time",
        "run_list": list(rows),
    }


def show(report: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [f"{'':8}  {'to a voice again':44}  to the answer"]
    for name, figures in report["figures"].items():
        lines.append(f"{name:8}  {in_words(figures['voice_ms']):44}  {in_words(figures['answer_ms'])}")
    must = report["must_p95"]
    lines.append(f"{'must':8}  {'p95 ' + str(must['voice_ms']) + ' ms':44}  p95 {must['answer_ms']} ms")
    return "\n".join(lines)


async def run(runs: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    question = next(prompt.pcm() for prompt in human_prompts(prefix) if prompt.text == CALLER_SAYS)
    conditions, rows = Conditions.now(), list[Row]()
    kinds = [kind for _ in range(runs) for kind in FAULTS]
    async with AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(PrivateAsterisk(prefix, extra_dialplan=DIALPLAN))
        house = await stack.enter_async_context(open_house())
        behind = 'greeting = ""\nfallback = ["default"]'
        vendors = [house.deepgram_agent(agent_name(number), behind) for number in range(len(kinds))]
        config = write_config(OUT / "agent.toml", pbx, agents="\n".join([reticent_agent(), *vendors]))
        daemon = await stack.enter_async_context(run_daemon(config, environment(pbx) | house.environment))
        for number, kind in enumerate(kinds):
            row = await one_run(pbx, daemon, house, question, number, kind)
            rows.append(row)
            print(
                f"{number + 1:3d}/{len(kinds)}  {kind:7} voice after {row['voice_ms']} ms, answer after"
                f" {row['answer_ms']} ms  {row['failure'] or row.get('answer', '')[:60]}",
                flush=True,
            )
    report = summary(rows)
    path = write_report("failover", report, conditions)
    await trio.to_thread.run_sync(takeovers, OUT / "failover.png", rows, MUST)
    print(show(report))
    print(f"without a voice: {report['without_voice']}, without an answer: {report['without_answer']}")
    print(f"{conditions}\nwritten to {path} and failover.png")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="how many of each kind (default 10)")
    return trio.run(run, parser.parse_args().runs)


if __name__ == "__main__":
    sys.exit(main())
