"""How long a caller waits for an answer, measured at the caller's ear on the private Asterisk.

    python -m tests.lab.bench_latency [--turns 44] [--hesitations 42]

Recorded human speech is what is said: finished sentences, and among them sentences that are held up for 0.9 to 1.2 s
in their middle. The delay of a turn is from the last sound the caller sent to the first sound of the answer in what
the caller received, both read off the call's two recordings on one axis. A call to Asterisk's Echo() in the same run
measures the lab's own share, which is taken off. A turn counts as answered only if the daemon's log has an answer to
it: fillers and canned phrases are none, and this configuration has none. A hesitation is cut off if anything was
heard before the caller resumed; such turns, and those that were answered before their end, are reported apart. The
parts are the daemon's own log of the same turns.

Fails (exit status 1) if fewer than nine of ten turns were answered.
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
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .daemon import Daemon, Line, environment, run_daemon, write_config
from .debian import find_or_unpack
from .figures import OUT, Conditions, buckets, histogram_quantile, in_words, spread, write_report
from .measure import Span, speech_spans
from .pictures import PARTS, waterfall
from .scene import NothingHeard, listen
from .sip import Call, CallEnded, SipCaller
from .speech import human_prompts, silence
from .turn_set import TurnSample, complete_turns, hesitations
from .turn_taking import Reaction, Spoken, react

RATE = 8000
TURNS_PER_CALL = 6
JUDGEMENTS = ("the turn is over", "the caller goes on")
EVIDENCE = ("silence_ms", "needed_ms", "sound", "words", "sentence", "long_pauses")
ANSWER_SECONDS = 20.0
QUIET = 1.0
"""Seconds without a sound after which an answer is over."""
QUIET_AFTER_CUT_OFF = 4.0
"""The same where a reply was heard already: the one to the whole turn may be still to come."""
POLL = 0.25

Turn = dict[str, Any]
"""A turn as the report lists it."""


@attrs.frozen
class Take:
    """A turn as it was played in a call, with the daemon's log lines of it."""

    sample: TurnSample
    spoken: Spoken
    lines: Sequence[Line]


async def speak_turn(call: Call, sample: TurnSample) -> Spoken:
    """Say it; gives when it was said. Raises CallEnded."""
    sent = await call.play(sample.pcm)
    (sound,) = speech_spans(sample.pcm, join_seconds=10.0)
    pause = sample.pause and Span(sent.start + sample.pause.start, sent.start + sample.pause.end)
    return Spoken(Span(sent.start + sound.start, sent.start + sound.end), pause)


async def answer_over(call: Call, daemon: Daemon, spoken: Spoken) -> None:
    """Wait until the turn's answer was heard to its end; for at most ANSWER_SECONDS if none begins."""
    start, end = spoken.span.start, spoken.span.end
    while not call.ended.is_set():
        await trio.sleep(POLL)
        heard = speech_spans(call.heard[int(start * RATE) * 2 :], join_seconds=QUIET)
        last_sound = start + heard[-1].end if heard else start
        interrupted = bool(heard) and start + heard[0].start < end
        quiet = call.now - last_sound >= (QUIET_AFTER_CUT_OFF if interrupted else QUIET)
        if quiet and last_sound > end and not preparing(daemon):
            return
        if quiet and call.now > end + ANSWER_SECONDS:
            return


def preparing(daemon: Daemon) -> bool:
    """Whether the daemon's log says that more is about to be heard."""
    state = next((line["state"] for line in reversed(daemon.lines) if line.get("event") == "state"), "")
    return str(state).lower() in ("processing", "speaking")


async def one_call(
    pbx: PrivateAsterisk, daemon: Daemon, samples: Sequence[TurnSample], offset: float, extension: str = "7000"
) -> list[Turn]:
    """A call with a few turns; gives them as the report lists them. One that ends the call is its last."""
    takes: list[Take] = []
    failure = ""
    async with SipCaller().call(pbx.sip_uri(extension)) as call:
        try:
            await listen(call, 0.0, quiet=QUIET)
            for sample in samples:
                since = len(daemon.lines)
                await call.play(silence(0.1))
                spoken = await speak_turn(call, sample)
                await answer_over(call, daemon, spoken)
                takes.append(Take(sample, spoken, daemon.lines[since:]))
                if call.ended.is_set():
                    break
        except (CallEnded, NothingHeard) as error:
            failure = str(error)
        await call.hangup()
    heard = speech_spans(call.heard)
    untils = [*(take.spoken.span.start for take in takes[1:]), float("inf")][: len(takes)]
    turns = [turn_of(take, react(take.spoken, heard, until, offset)) for take, until in zip(takes, untils, strict=True)]
    if failure:
        lost = Take(samples[len(takes)], Spoken(Span(0, 0)), [])
        turns.append({**turn_of(lost, Reaction(None, None, cut_off=False, early=False)), "failure": failure})
    return turns


def turn_of(take: Take, reaction: Reaction) -> Turn:
    """A turn as the report lists it; without an answer in the daemon's log, what was heard was none."""
    answers = [line for line in take.lines if line.get("event") == "answer"]
    answered = reaction.delay is not None and bool(answers)
    parts = {key[:-3]: value for key, value in answers[-1].items() if key.endswith("_ms")} if answers else {}
    return {
        "name": take.sample.name,
        "said": take.sample.text,
        "heard_as": " ".join(line["text"] for line in take.lines if line.get("event") == "caller said"),
        "hesitation": take.sample.pause is not None,
        "delay_ms": round((reaction.delay or 0.0) * 1000) if answered else None,
        "cut_off": reaction.cut_off,
        "early": reaction.early,
        "parts_ms": parts,
        "judged": [
            {key: line.get(key) for key in EVIDENCE} | {"as": line["event"]}
            for line in take.lines
            if line.get("event") in JUDGEMENTS
        ],
        "answer": " ".join(line["text"] for line in take.lines if line.get("event") == "agent says"),
    }


def show(turn: Turn) -> str:
    """A turn on one line."""
    delay = "no answer" if turn["delay_ms"] is None else f"{turn['delay_ms']:6d} ms"
    what = "cut off" if turn["cut_off"] else "early" if turn["early"] else "held up" if turn["hesitation"] else ""
    parts = " ".join(f"{name} {turn['parts_ms'][name]}" for name in PARTS if name in turn["parts_ms"])
    parts = turn.get("failure", parts)
    return f"  {delay:>9}  {what:7}  {turn['said'][:44]:44}  {parts}"


def mixed(complete: Sequence[TurnSample], held_up: Sequence[TurnSample]) -> list[TurnSample]:
    """Both kinds in turn, the longer list's rest at the end."""
    pairs = itertools.zip_longest(complete, held_up)
    return [sample for pair in pairs for sample in pair if sample is not None]


def summary(turns: Sequence[Turn], offset: float, metrics: str) -> dict[str, Any]:
    """The report on all turns."""
    clean = [turn for turn in turns if turn["delay_ms"] is not None and not turn["cut_off"] and not turn["early"]]
    apart = [turn for turn in turns if turn["delay_ms"] is not None and (turn["cut_off"] or turn["early"])]
    parts: dict[str, list[float]] = {}
    for turn in clean:
        for name, value in turn["parts_ms"].items():
            parts.setdefault(name, []).append(value)
        if "response" in turn["parts_ms"]:
            parts.setdefault("beyond_the_daemon", []).append(turn["delay_ms"] - turn["parts_ms"]["response"])
    delay = histogram_quantile(buckets(metrics, "agentd_caller_audio_delay_seconds"), 0.99)
    return {
        "response_delay_ms": spread([turn["delay_ms"] for turn in clean]),
        "response_delay_complete_ms": spread([turn["delay_ms"] for turn in clean if not turn["hesitation"]]),
        "response_delay_hesitation_ms": spread([turn["delay_ms"] for turn in clean if turn["hesitation"]]),
        "parts_ms": {name: spread(values) for name, values in parts.items()},
        "turns": len(turns),
        "answered": len([turn for turn in turns if turn["delay_ms"] is not None]),
        "hesitations": len([turn for turn in turns if turn["hesitation"]]),
        "cut_off": len([turn for turn in turns if turn["cut_off"]]),
        "answered_before_the_end": len([turn for turn in turns if turn["early"]]),
        "delay_of_those_ms": spread([turn["delay_ms"] for turn in apart]),
        "audio_to_engine_p99_ms": None if delay is None else round(delay * 1000, 3),
        "echo_offset_ms": round(offset * 1000, 2),
        "load": "one call at a time",
        "turn_list": list(turns),
    }


async def run(complete: int, held_up: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    prompts = human_prompts(prefix)
    samples = mixed(complete_turns(prompts, complete), hesitations(prompts, held_up))
    conditions = Conditions.now()
    turns: list[Turn] = []
    async with PrivateAsterisk(prefix, extra_dialplan=ECHO_DIALPLAN) as pbx:
        config = write_config(OUT / "agent.toml", pbx, extra='level = "debug"', agents=reticent_agent())
        async with run_daemon(config, environment(pbx)) as daemon:
            offset = await echo_offset(pbx, samples[0].pcm)
            print(f"Echo() offset {offset * 1000:.1f} ms; {len(samples)} turns, one call at a time", flush=True)
            while len(turns) < len(samples):
                had = await one_call(pbx, daemon, samples[len(turns) : len(turns) + TURNS_PER_CALL], offset)
                for number, turn in enumerate(had, len(turns) + 1):
                    print(f"{number:3d}/{len(samples)}{show(turn)}", flush=True)
                turns += had
            await daemon.until_idle()
            metrics = await daemon.metrics()
    report = summary(turns, offset, metrics)
    path = write_report("latency", report, conditions)
    await trio.to_thread.run_sync(waterfall, OUT / "latency.png", turns, report["response_delay_ms"])
    for name in ("response_delay_ms", "response_delay_complete_ms", "response_delay_hesitation_ms"):
        print(f"{name[:-3].replace('_', ' '):28} {in_words(report[name])}")
    for name, values in report["parts_ms"].items():
        print(f"  {name.replace('_', ' '):26} {in_words(values)}")
    print(f"cut off: {report['cut_off']} of {report['hesitations']} hesitations")
    print(f"answered before the end of the sentence: {report['answered_before_the_end']}")
    print(f"answered: {report['answered']} of {len(turns)}; {conditions}\nwritten to {path} and latency.png")
    return 0 if report["answered"] >= 0.9 * len(turns) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=44, help="how many finished sentences to say (default 44)")
    parser.add_argument("--hesitations", type=int, default=42, help="how many held-up ones to say (default 42)")
    arguments = parser.parse_args()
    return trio.run(run, arguments.turns, arguments.hesitations)


if __name__ == "__main__":
    sys.exit(main())
