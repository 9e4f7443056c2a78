"""What each transport does to a conversation, measured in one run, and what loss and jitter do where it has them.

    python -m tests.lab.bench_transports [--transports external,rtp] [--said 8] [--turns 6] [--interruptions 3]
                                         [--calls 20] [--loss 1] [--jitter 20]

On one private Asterisk, one after the other and by turns, so that whatever else this host does strikes all alike:

    said back   from the caller's last sound to the first of an agent that says back what it heard once that is over
                (tests/parrot), at the caller's ear: it has no engines, so what differs is the line's share
    response    the same of the local agent's answer (see bench_latency), with all that its engines take. Both with the
                same recorded sentences over each line
    stop        from the onset of a caller's sentence to the agent's falling silent (see bench_barge_in)
    a call      per cent of a core with --calls calls at once, by SIPp, of agentd with the example provider and of
                Asterisk (see bench_load)
    later by    the median of how much later the same sentence was said back with loss than without
    steps       samples further than 0.15 of full scale from the one before, three times as far as any other within
                2.5 ms, in what an agent hears of 25 s of a human voice: what a lost packet leaves that is not concealed

RTP is measured once more through a network that loses --loss per cent of the packets and delays the others by up to
--jitter ms, both ways and by a seed (tests/lab/lossy.py).

Fails (exit status 1) where fewer than nine of ten sentences were answered over a line, loss made it more than 40 ms
later, or there was a step. Writes build/bench/transports.json and transports.png, and prints a table for the documents.
`--turns 0 --interruptions 0` leaves out what needs the engines.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from agentd.transports import transport_names
from agentd_providers.local.models.commands import cli_fetch

from . import bench_load
from .asterisk import PrivateAsterisk
from .bench_barge_in import TEXT, TRIES, into_the_text, one_event, record_text
from .bench_latency import QUIET, TURNS_PER_CALL, one_call, speak_turn
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .cues import Cue, interruptions
from .daemon import ROOT, Daemon, environment, run_daemon, write_config
from .debian import find_or_unpack
from .ear import PROMPT_DIALPLAN, open_ear
from .figures import OUT, Conditions, write_report
from .load_servers import SPARE_CALLS, dialplan, extensions, open_agentd
from .load_step import Scene, measure
from .lossy import ASTERISK_SENDS_TO, LossyNetwork, Weather, open_lossy_network
from .measure import clicks
from .packages import PARROT, install, parrot_agent
from .pictures import side_by_side
from .scene import NothingHeard, listen
from .sip import CallEnded, SipCaller
from .speech import human_prompts
from .transport_rows import Line, Seen, row, table, wrong
from .turn_set import TurnSample, complete_turns

TALKING = {"default": "77", "talker": "78"}
"""What extensions of an agent begin with."""
OF_UDP = ("rtp",)
"""Transports that a network can lose packets of."""
CPU_SECONDS = 12.0
SETTLED_SECONDS = 1.0
"""After which a call's leg is up."""
HEARD_SECONDS = 25.0
SEED = 20


def talking(agent: str, medias: Sequence[str]) -> dict[str, str]:
    """An agent's extension over each transport."""
    return {media: f"{TALKING[agent]}{number:02d}" for number, media in enumerate(medias)}


def whole_dialplan(medias: Sequence[str]) -> str:
    """For PrivateAsterisk's extra_dialplan."""
    calls = "".join(
        f"exten => {to},1,Gosub(agentd-call,${{EXTEN}},1({agent},{media}))\n"
        for agent in TALKING
        for media, to in talking(agent, medias).items()
    )
    return ECHO_DIALPLAN + PROMPT_DIALPLAN + calls + dialplan(medias, 1)


def agents() -> str:
    """One that says nothing by itself, and one that is to be interrupted."""
    return reticent_agent() + reticent_agent(TEXT).replace("agents.default", "agents.talker")


async def talk(
    pbx: PrivateAsterisk,
    daemon: Daemon,
    network: LossyNetwork,
    seen: dict[Line, Seen],
    samples: Sequence[TurnSample],
    cues: Sequence[Cue],
) -> None:
    """Have the sentences said and the interruptions made over each line, by turns."""
    medias = list(dict.fromkeys(line.media for line in seen))
    asking, interrupting = talking("default", medias), talking("talker", medias)
    offset = await echo_offset(pbx, samples[0].pcm if samples else cues[0].pcm)
    for first in range(0, len(samples), TURNS_PER_CALL):
        batch = samples[first : first + TURNS_PER_CALL]
        for line, found in seen.items():
            network.set(line.weather)
            found.delays_ms |= dict.fromkeys(sample.name for sample in batch)
            turns = await one_call(pbx, daemon, batch, offset, asking[line.media])
            await daemon.until_idle()
            for turn in turns:
                found.delays_ms[turn["name"]] = turn["delay_ms"]
            print(f"{line}: {', '.join(str(turn['delay_ms']) for turn in turns)} ms", flush=True)
    if not cues:
        return
    network.set(Weather())
    text = await record_text(pbx, interrupting[medias[0]])
    for number, cue in enumerate(cues, 1):
        for line, found in seen.items():
            network.set(line.weather)
            for _ in range(TRIES):
                await daemon.until_idle()
                try:
                    moment, outcome = await one_event(
                        pbx, text, cue, into_the_text(number), offset, interrupting[line.media]
                    )
                except (NothingHeard, CallEnded) as error:
                    print(f"{line}: void: {error}", flush=True)
                    continue
                found.interruptions.append(outcome)
                print(f"{line}: {moment.title}", flush=True)
                break


async def say_back(
    pbx: PrivateAsterisk,
    config: Path,
    parrot: Path,
    network: LossyNetwork,
    seen: dict[Line, Seen],
    samples: Sequence[TurnSample],
) -> None:
    """Have the sentences said back over each line, by turns."""
    asking = talking("default", list(dict.fromkeys(line.media for line in seen)))
    offset = await echo_offset(pbx, samples[0].pcm)
    environ = {**environment(pbx), "PYTHONPATH": os.pathsep.join([str(parrot), str(ROOT)])}
    async with run_daemon(config, environ) as daemon:
        for first in range(0, len(samples), TURNS_PER_CALL):
            for line, found in seen.items():
                network.set(line.weather)
                batch = samples[first : first + TURNS_PER_CALL]
                had = await one_repeating_call(pbx, asking[line.media], batch, offset)
                await daemon.until_idle()
                found.repeats_ms |= had
                print(f"{line}: said back after {', '.join(map(str, had.values()))} ms", flush=True)


async def one_repeating_call(
    pbx: PrivateAsterisk, extension: str, samples: Sequence[TurnSample], offset: float
) -> dict[str, float | None]:
    """By the sentence, after how many ms it was said back."""
    found: dict[str, float | None] = dict.fromkeys(sample.name for sample in samples)
    async with SipCaller().call(pbx.sip_uri(extension)) as call:
        await trio.sleep(SETTLED_SECONDS)
        for sample in samples:
            try:
                end = (await speak_turn(call, sample)).span.end
                start, _ = await listen(call, end, quiet=QUIET)
            except (NothingHeard, CallEnded) as error:
                print(f"{sample.name}: {error}", flush=True)
            else:
                found[sample.name] = round((start - end - offset) * 1000)
        await call.hangup()
    return found


async def cost(
    pbx: PrivateAsterisk, scene: Scene, parrot: Path, seen: dict[Line, Seen], calls: int, directory: Path
) -> None:
    """What a call costs over each transport."""
    without_loss = [line for line in seen if not line.lossy]
    for media, extension in extensions([line.media for line in without_loss]).items():
        async with open_agentd(pbx, extension, calls, parrot, directory) as server:
            step, complaints = await measure(pbx, server, scene, calls, CPU_SECONDS, directory)
        for complaint in complaints:
            print(f"{media}: {complaint}", flush=True)
        found = seen[Line(media)]
        found.agentd_cpu = round(step.percent("server") / calls, 2)
        found.asterisk_cpu = round(step.percent("asterisk") / calls, 2)


async def run(medias: Sequence[str], said: int, turns: int, events: int, calls: int, weather: Weather) -> int:
    """The whole run; gives the exit status."""
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(bench_load.tell)
    scene, prompts = await bench_load.scene(prefix), human_prompts(prefix)
    samples, cues = complete_turns(prompts, turns), interruptions(prompts, events)
    short = sorted(complete_turns(prompts, len(prompts)), key=lambda sample: len(sample.pcm))[:said]
    conditions = Conditions.now()
    seen = {Line(media): Seen() for media in medias}
    seen |= {Line(media, weather): Seen() for media in medias if media in OF_UDP}
    most = calls + SPARE_CALLS
    with tempfile.TemporaryDirectory(prefix="agentd-transports-") as name:
        directory = Path(name)
        parrot = await trio.to_thread.run_sync(install, PARROT, directory / "parrot")
        async with (
            PrivateAsterisk(
                prefix,
                extra_dialplan=whole_dialplan(medias),
                rtp_ports=bench_load.RTP_PORTS * most,
                agent_rtp_ports=most,
            ) as pbx,
            open_lossy_network(pbx, SEED) as (network, url),
        ):
            behind = partial(write_config, pbx=pbx, ari_url=url, rtp=f'advertise = "{ASTERISK_SENDS_TO}"')
            repeating = behind(directory / "repeating.toml", agents=parrot_agent())
            await say_back(pbx, repeating, parrot, network, seen, short)
            if samples or cues:
                config = behind(directory / "talking.toml", extra='level = "debug"', agents=agents())
                async with run_daemon(config, environment(pbx)) as daemon:
                    await talk(pbx, daemon, network, seen, samples, cues)
            network.set(Weather())
            await cost(pbx, scene, parrot, seen, calls, directory)
            for line, found in seen.items():
                if line.lossy:
                    async with open_ear(pbx, url, network) as ear:
                        found.steps = len(clicks(await ear.hear_prompt(line.weather, HEARD_SECONDS)))
    rows = [row(line, found, seen[Line(line.media)] if line.lossy else None) for line, found in seen.items()]
    report = {"calls_of_the_cost": calls, "load": "one call at a time, but for the cost", "rows": rows}
    path = write_report("transports", report, conditions)
    await trio.to_thread.run_sync(side_by_side, OUT / "transports.png", rows)
    print(f"{table(rows)}\n{conditions}\nwritten to {path} and transports.png")
    for complaint in wrong(rows):
        print(complaint)
    return 1 if wrong(rows) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [media for media in transport_names() if media != bench_load.FORK]
    parser.add_argument(
        "--transports",
        type=bench_load.names,
        default=usual,
        help=f"by their names in the dialplan (default {','.join(usual)})",
    )
    parser.add_argument("--said", type=int, default=8, help="sentences to be said back over each line (default 8)")
    parser.add_argument("--turns", type=int, default=6, help="to the local agent, over each line (default 6)")
    parser.add_argument("--interruptions", type=int, default=3, help="over each line (default 3)")
    parser.add_argument("--calls", type=int, default=20, help="at once, for the cost of one (default 20)")
    parser.add_argument("--loss", type=float, default=1.0, metavar="PERCENT", help="of the packets (default 1)")
    parser.add_argument("--jitter", type=float, default=20.0, metavar="MS", help="at most (default 20)")
    options = parser.parse_args()
    weather = Weather(loss=options.loss / 100, jitter=options.jitter / 1000)
    return trio.run(run, options.transports, options.said, options.turns, options.interruptions, options.calls, weather)


if __name__ == "__main__":
    sys.exit(main())
