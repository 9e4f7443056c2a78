"""What so many calls at once cost, over every transport that agentd has, beside a bare echo in the same run.

    python -m tests.lab.bench_load [--calls 1,20,50,100,150,200] [--seconds 20] [--transports external,rtp]
    python -m tests.lab.bench_load --conversations [--calls 1,2,3,4]

Each step has its own server behind the same private Asterisk: first the yardstick, an asyncio program of fifty lines
that sends every AudioSocket frame back and does nothing else; then agentd, over one transport after the other, with the
example provider (tests/parrot): it hears all the while and says back what it heard, and it has no engines. So what is
measured is the line and the daemon. Callers are SIPp's, each of which streams recorded speech, and silence of the same
length, again and again; a few of the calls are the lab's own telephones, which also note when each packet came, by the
kernel's clock. `packets`, `lost`, `late` and `largest_gap_ms` are theirs; all other figures are of all calls.

    agentd %, echo %    per cent of a core, by /proc/PID/stat; `ratio` is agentd's over the echo's with as many calls
    Asterisk %          the same of Asterisk, while agentd has the calls
    others %            of what is no part of the measuring: where it is large, the figures are worth little
    late p50, p99, max  ms by which agentd wrote its frames after their time: its own histogram line_lateness_seconds,
                        interpolated within a bucket; of the maximum, the bound of its bucket
    gap ms              the longest time between two packets at a caller that listens
    lost, late          packets missing there by their numbers; packets that came after their turn in a buffer of 60 ms
    kB a call           agentd's memory with all calls, less that before the first, over the calls

`--conversations` asks another question: how many callers this host can talk with at once. There the agent is the local
one, with its engines; from step to step more callers say a sentence each as soon as the answer to the one before is
over. It ends with the first step in which the p95 of the delay at the callers' ears is above 1.2 s, and takes a minute
a step.

Whom agentd refuses because the host is too busy to set one more call up asks again a second later; `refused` in
load.json counts how often that was so.

Fails (exit status 1) where a call was not served, or not one conversation was held. Writes build/bench/load.json and
load.png; with `--conversations` conversations.json. The whole run takes eight minutes with one transport and four more
with each further one.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
from tqdm import tqdm

from agentd.audio.g711 import slin_to_ulaw
from agentd.transports import transport_names
from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .conversations import STEPS, converse_in_steps
from .debian import find_or_unpack
from .figures import OUT, Conditions, in_words, write_report
from .load import Row, Step, row, table
from .load_servers import SPARE_CALLS, Server, dialplan, extensions, open_agentd, open_yardstick
from .load_step import Scene, measure
from .packages import PARROT, install
from .pictures import costs
from .ports import PortClaims
from .prefix import LabUnavailable, Prefix
from .sipp import find_or_unpack_sipp
from .speech import human_prompts, silence

RATE = 8000
CALLS = (1, 20, 50, 100, 150, 200)
SAYS = "conf-onlyperson"
"""The recording that callers say."""
RTP_PORTS = 4
"""That Asterisk needs for a call: the caller's, and where the transport is RTP too, agentd's; two each."""
OF_AUDIOSOCKET = {"external": "audiosocket", "fork": "audiosocket"}
"""What ways into agentd that the dialplan names otherwise are."""
FORK = "fork"
PAUSE = 1.5
"""Seconds that a caller is silent for beyond what it takes to hear its words again: the parrot waits before it answers.
"""


async def scene(prefix: Prefix) -> Scene:
    """What the callers do. Raises LabUnavailable where there is no SIPp, or no recorded speech."""
    words = next((prompt.pcm() for prompt in human_prompts(prefix) if prompt.name == SAYS), None)
    if words is None:
        raise LabUnavailable(f"the recording {SAYS} is not there; Debian has it in asterisk-core-sounds-en-wav")
    pcm = words + silence(len(words) / 2 / RATE + PAUSE)
    return Scene(await find_or_unpack_sipp(tell), slin_to_ulaw(pcm), pcm)


def tell(text: str) -> None:
    print(text, flush=True)


async def run(numbers: Sequence[int], seconds: float, medias: Sequence[str]) -> int:
    """The whole run; gives the exit status."""
    prefix = await find_or_unpack(tell)
    callers = await scene(prefix)
    ports = PortClaims()
    yardstick_port = ports.tcp()
    rows: list[Row] = []
    conditions = Conditions.now()
    with (
        tempfile.TemporaryDirectory(prefix="agentd-load-") as name,
        tqdm(total=len(numbers) * (1 + len(medias)), disable=None, unit="step") as progress,
    ):
        directory = Path(name)
        parrot = await trio.to_thread.run_sync(install, PARROT, directory / "parrot")
        most = max(numbers) + SPARE_CALLS
        async with PrivateAsterisk(
            prefix, extra_dialplan=dialplan(medias, yardstick_port), rtp_ports=RTP_PORTS * most, agent_rtp_ports=most
        ) as pbx:

            async def step(server: Server, calls: int, title: str) -> Step:
                progress.set_description(f"{calls} calls, {title}")
                seen, complaints = await measure(pbx, server, callers, calls, seconds, directory)
                for complaint in complaints:
                    progress.write(f"{title}, {calls} calls: {complaint}")
                progress.update()
                return seen

            for calls in numbers:
                async with open_yardstick(yardstick_port) as server:
                    bare = await step(server, calls, "bare echo")
                for media, extension in extensions(medias).items():
                    async with open_agentd(pbx, extension, calls, parrot, directory) as server:
                        seen = await step(server, calls, media)
                    rows.append(row(OF_AUDIOSOCKET.get(media, media), media, seen, bare))
    ports.release()
    report = {"cpu_model": conditions.cpu, "seconds_each": seconds, "rows": rows}
    path = write_report("load", report, conditions)
    await trio.to_thread.run_sync(costs, OUT / "load.png", rows)
    print(f"{table(rows)}\n{conditions}\nwritten to {path} and load.png")
    return 0 if all(one["served"] == one["calls"] for one in rows) else 1


async def talk(steps: Sequence[int]) -> int:
    """The run with conversations; gives the exit status."""
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    conditions = Conditions.now()
    report = await converse_in_steps(await find_or_unpack(tell), steps)
    path = write_report("conversations", report, conditions)
    for one in report["rows"]:
        counts = f"{one['turns']} turns, {one['unanswered']} unanswered, {one['left_out']} left out"
        print(f"{one['calls']:3d} callers: {in_words(one['response_ms'])} ({counts})")
    print(f"{report['verdict']}\n{conditions}\nwritten to {path}")
    return 0 if report["rows"][0]["held"] else 1


def numbers(text: str) -> list[int]:
    """Numbers of calls, `1,20,50`. Raises argparse.ArgumentTypeError."""
    found = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of calls from 1 on, such as 1,20,50; got {text!r}")
    return found


def names(text: str) -> list[str]:
    """Transports by their names in the dialplan, `external,fork`. Raises argparse.ArgumentTypeError."""
    found = text.split(",")
    if unknown := sorted(set(found) - set(transport_names())):
        raise argparse.ArgumentTypeError(f"agentd has {', '.join(transport_names())}; got {', '.join(unknown)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = {talking: ",".join(map(str, steps)) for talking, steps in ((False, CALLS), (True, STEPS))}
    parser.add_argument(
        "--calls",
        type=numbers,
        help=f"steps (default {listed[False]}; with --conversations {listed[True]})",
    )
    parser.add_argument("--seconds", type=float, default=20, help="that each step is looked at (default 20)")
    usual = [media for media in transport_names() if media != FORK]
    parser.add_argument(
        "--transports",
        type=names,
        default=usual,
        help=f"of {', '.join(transport_names())} (default {','.join(usual)}; {FORK} is AudioSocket by another way)",
    )
    parser.add_argument("--conversations", action="store_true", help="how many conversations this host holds")
    options = parser.parse_args()
    try:
        if options.conversations:
            return trio.run(talk, options.calls or STEPS)
        return trio.run(run, options.calls or CALLS, options.seconds, options.transports)
    except LabUnavailable as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
