"""What agentd adds between a vendor's first audio of an answer and its first frame on the line, streaming.

    python -m tests.lab.bench_overhead [--answers 40]

Vendors' fakes on loopback note when they send the first audio of an answer; a tap in the AudioSocket connection notes
when the first frame comes that is not silence. Both are in this process and on one clock, so what is measured holds the
way through two sockets, and this process's own lateness. One call at a time; the caller's turns are a recorded word.

    burst   all of an answer at once, in pieces of 100 ms: as fast as the vendor can
    ahead   in pieces of 100 ms, a quarter faster than they are heard
    paced   each piece just when the one before it has been heard, of 100 ms, or of 20 ms: what is late by a millisecond
            leaves a hole, from which the jitter buffer learns to wait longer in the rest of the call
    mixed   a pipeline, from the first speech of its voice; its model is slow, so that no answer is held

A line has a clock of 20 ms, whose next tick a frame waits for: 10 ms of it are in every mean. Always exits with 0: the
figures judge themselves.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .calibration import reticent_agent
from .daemon import Daemon, DaemonFailed, environment, run_daemon, write_config
from .debian import find_or_unpack
from .figures import OUT, Conditions, in_words, spread, total, write_report
from .line_tap import LineTap, overheads
from .proxy import Proxy, open_proxy
from .sip import CallEnded, SipCaller
from .speech import human_prompts, silence
from .vendors.deepgram_agent import Turn
from .vendors.house import CALLER_SAYS, House, open_house
from .vendors.realtime import Reply

MUST_P95 = 30
"""Milliseconds."""
ANSWERS_PER_CALL = 10
ANSWER = "Yes."
ANSWER_SECONDS = 0.4
TURN_SECONDS = 20.0
QUIET_SECONDS = 0.15
"""Without a sound on the line before the next turn."""
SLOW_MODEL = 2.2
"""Seconds until the model answers: the longest silence that ends a turn has passed by then."""


@attrs.frozen
class Way:
    """A way in which answers come: the extension and agent, how the vendors are set up for it, and when the first audio
    of each answer since a restore was sent."""

    name: str
    extension: str
    agent: str
    prepare: Callable[[House], None]
    sent: Callable[[House], list[float]]


def deepgram(house: House, piece_ms: int, *, paced: bool) -> None:
    house.deepgram.script = (Turn(CALLER_SAYS, (ANSWER,), ANSWER_SECONDS),)
    house.deepgram.paced, house.deepgram.piece_ms = paced, piece_ms


def deepgram_sent(house: House) -> list[float]:
    return [spoken.first_audio_at for session in house.deepgram.sessions for spoken in session.spoken]


def realtime(house: House, pace: float) -> None:
    house.realtime.reply = Reply(ANSWER, ANSWER_SECONDS, pace=pace)


def realtime_sent(house: House) -> list[float]:
    return [answer.first_audio_at for answer in house.realtime.answers if answer.first_audio_at]


def mixed(house: House) -> None:
    house.chat.reply, house.chat.delay = ("Certainly.",), SLOW_MODEL


WAYS = (
    Way("deepgram burst", "7400", "deepgram", lambda house: deepgram(house, 100, paced=False), deepgram_sent),
    Way("deepgram paced", "7400", "deepgram", lambda house: deepgram(house, 100, paced=True), deepgram_sent),
    Way("deepgram paced 20", "7400", "deepgram", lambda house: deepgram(house, 20, paced=True), deepgram_sent),
    Way("realtime burst", "7401", "realtime", lambda house: realtime(house, 0.0), realtime_sent),
    Way("realtime ahead", "7401", "realtime", lambda house: realtime(house, 0.8), realtime_sent),
    Way("realtime paced", "7401", "realtime", lambda house: realtime(house, 1.0), realtime_sent),
    Way("mixed", "7402", "mixed", mixed, lambda house: house.openai_speech.spoken_at),
)
DIALPLAN = "".join(
    f"exten => {extension},1,Gosub(agentd-call,${{EXTEN}},1({agent},external))\n"
    for extension, agent in {way.extension: way.agent for way in WAYS}.items()
)


async def one_call(
    pbx: PrivateAsterisk, daemon: Daemon, audio: Proxy, way: Way, word: bytes, turns: int
) -> Sequence[float]:
    """A call of some turns; gives the onsets on its line."""
    tap, since = LineTap(), len(daemon.lines)
    audio.tap = lambda data: tap.hear(data, time.monotonic())
    async with SipCaller().call(pbx.sip_uri(way.extension)) as call:
        try:
            await daemon.wait_for("state", start=since, after="live")
            await call.play(silence(0.3))
            for _ in range(turns):
                told = len(daemon.lines)
                await call.play(word)
                answer = await daemon.wait_for("answer", TURN_SECONDS, told)
                await daemon.wait_for("utterance heard", TURN_SECONDS, told, utterance=answer["utterance"])
                await trio.sleep(QUIET_SECONDS)
        except (DaemonFailed, CallEnded) as error:
            print(f"  {way.name}: {str(error).splitlines()[0]}", flush=True)
        await call.hangup()
    audio.tap = None
    await daemon.until_idle()
    return tap.onsets


async def measure(
    pbx: PrivateAsterisk, daemon: Daemon, audio: Proxy, house: House, way: Way, word: bytes, answers: int
) -> list[float]:
    """The overheads of so many answers of one way, in milliseconds."""
    house.restore()
    way.prepare(house)
    before, onsets, done = len(way.sent(house)), list[float](), 0
    while done < answers:
        turns = min(ANSWERS_PER_CALL, answers - done)
        onsets += await one_call(pbx, daemon, audio, way, word, turns)
        done += turns
    found = overheads(way.sent(house)[before:], onsets)
    if missing := found.count(None):
        print(f"  {way.name}: {missing} answers were not found on the line", flush=True)
    return [round(1000 * seconds, 2) for seconds in found if seconds is not None]


async def underruns(daemon: Daemon) -> float:
    """How often an answer has run out so far."""
    return total(await daemon.metrics(), "agentd_playout_underruns_total") or 0.0


def summary(measured: dict[str, list[float]], holes: dict[str, float]) -> dict[str, Any]:
    """The report."""
    return {
        "must_p95_ms": MUST_P95,
        "overhead_ms": {
            name: {"answers": len(values), **spread(values, 1), "underruns": holes[name]}
            for name, values in measured.items()
        },
        "load": "one call at a time",
        "all_ms": measured,
    }


async def run(answers: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    word = next(prompt.pcm() for prompt in human_prompts(prefix) if prompt.name == "vm-goodbye") + silence(0.1)
    conditions, measured, holes = Conditions.now(), dict[str, list[float]](), dict[str, float]()
    async with AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(PrivateAsterisk(prefix, extra_dialplan=DIALPLAN))
        audio = await stack.enter_async_context(open_proxy(("127.0.0.1", 0), pbx.agent_port))
        house = await stack.enter_async_context(open_house())
        still = 'greeting = ""\n[agents.{0}.liveness]\ncheck_in_after = 0\nfiller = ""'
        agents = [
            reticent_agent(),
            house.deepgram_agent("deepgram", still.format("deepgram")),
            house.realtime_agent("realtime", still.format("realtime")),
            house.mixed_agent("mixed", still.format("mixed")),
        ]
        config = write_config(OUT / "agent.toml", pbx, socket_port=0, agents="\n".join(agents))
        daemon = await stack.enter_async_context(run_daemon(config, environment(pbx) | house.environment))
        (up,) = daemon.having("AudioSocket listener is up")
        audio.target = ("127.0.0.1", up["port"])
        for way in WAYS:
            before = await underruns(daemon)
            values = measured[way.name] = await measure(pbx, daemon, audio, house, way, word, answers)
            holes[way.name] = await underruns(daemon) - before
            print(f"{way.name:18} {in_words(spread(values, 1)):44} underruns {holes[way.name]:g}", flush=True)
    path = write_report("overhead", summary(measured, holes), conditions)
    print(f"must: p95 {MUST_P95} ms\n{conditions}\nwritten to {path}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=40, help="how many of each way (default 40)")
    return trio.run(run, parser.parse_args().answers)


if __name__ == "__main__":
    sys.exit(main())
