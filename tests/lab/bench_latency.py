"""How long a caller waits for an answer, measured at the caller's ear on the private Asterisk.

    python -m tests.lab.bench_latency [--part known|fit|choose ...] [--third] [--turns 44] [--hesitations 42]

Finished sentences are said, and among them sentences that are held up in their middle. `known` are recorded prompts, by
the voice that the product was first tuned on, held up for 0.9 to 1.2 s. The other sets are turns by many voices over
several kinds of line, held up for 0.7 to 1.2 s (tests.lab.voices): weights are fitted to `fit`, `choose` is for
choosing, and `--third` is what is kept apart. Who looks at that has it written down: date, commit and figures are
appended to tests/lab/voices/looks.tsv, which belongs into the commit.

The delay of a turn is from the last sound the caller sent to the first sound of the answer in what
the caller received, both read off the call's two recordings on one axis. A call to Asterisk's Echo() in the same run
measures the lab's own share, which is taken off. A turn counts as answered only if the daemon's log has an answer to
it: fillers and canned phrases are none, and this configuration has none. A hesitation is cut off if anything was
heard before the caller resumed; such turns, and those that were answered before their end, are reported apart. The
parts are the daemon's own log of the same turns. Beside each row stands what silence alone would have come to: worked
out of the same turns. The yardstick is what the engines need by themselves for some of these turns, in the same run.

`--slow 2` has every engine's answer come twice as late, as on another host; `--no-sentence` is a language model that
does not tell whether a sentence ends.

Fails (exit status 1) if fewer than nine of ten turns were answered.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .daemon import Daemon, Line, environment, run_daemon, write_config
from .debian import find_or_unpack
from .engines_alone import yardstick_ms
from .figures import OUT, Conditions, commit, cpu_flags, write_report
from .latency_report import Turn, summary, told
from .measure import Span, speech_spans
from .pictures import PARTS, waterfall
from .scene import NothingHeard, listen
from .sip import Call, CallEnded, SipCaller
from .speech import human_prompts, silence
from .turn_set import TurnSample, complete_turns, hesitations
from .turn_taking import Reaction, Spoken, react
from .voices import looks
from .voices.split import Part
from .voices.texts import Kind
from .voices.turns import turns_of

RATE = 8000
KNOWN = "known"
AGENTD = (sys.executable, "-m", "agentd")
TURNS_PER_CALL = 6
JUDGEMENTS = ("the turn is over", "the caller goes on")
EVIDENCE = ("silence_ms", "needed_ms", "sound", "words", "sentence", "long_pauses")
ANSWER_SECONDS = 20.0
QUIET = 1.0
"""Seconds without a sound after which an answer is over."""
QUIET_AFTER_CUT_OFF = 4.0
"""The same where a reply was heard already: the one to the whole turn may be still to come."""
POLL = 0.25


@attrs.frozen
class Take:
    """A turn as it was played in a call, with the daemon's log lines of it."""

    sample: TurnSample
    spoken: Spoken
    lines: Sequence[Line]
    set: str = "known"


async def speak_turn(call: Call, sample: TurnSample) -> Spoken:
    """Say it; gives when it was said. Raises CallEnded."""
    sent = await call.play(sample.pcm)
    sound = sample.span
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
        "set": take.set,
        "speaker": take.sample.speaker,
        "line": take.sample.line,
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


async def samples_of(part: str, complete: int, held_up: int) -> list[TurnSample]:
    """The turns of a set, both kinds in turn. Raises LabUnavailable where it cannot be had."""
    if part == KNOWN:
        prompts = human_prompts(await find_or_unpack(_say))
        return mixed(complete_turns(prompts, complete), hesitations(prompts, held_up))
    made = [await turns_of(Part(part), kind, count, _say) for kind, count in _kinds(complete, held_up)]
    return mixed(*made)


def _kinds(complete: int, held_up: int) -> Sequence[tuple[Kind, int]]:
    return ((Kind.FINISHED, complete), (Kind.HESITATION, held_up))


def _say(text: str) -> None:
    print(text, flush=True)


async def take_turns(
    pbx: PrivateAsterisk, daemon: Daemon, sets: Mapping[str, Sequence[TurnSample]], offset: float
) -> list[Turn]:
    """All turns of all sets, a few a call."""
    total = sum(map(len, sets.values()))
    turns: list[Turn] = []
    for name, samples in sets.items():
        had = 0
        while had < len(samples):
            batch = await one_call(pbx, daemon, samples[had : had + TURNS_PER_CALL], offset)
            for turn in batch:
                turns.append({**turn, "set": name})
                print(f"{len(turns):3d}/{total}{show(turn)}", flush=True)
            had += len(batch)
    return turns


async def run(parts: Sequence[str], complete: int, held_up: int, command: tuple[str, ...]) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(_say)
    sets = {part: await samples_of(part, complete, held_up) for part in parts}
    every = [sample for samples in sets.values() for sample in samples]
    conditions = Conditions.now()
    alone = await yardstick_ms(every)
    async with PrivateAsterisk(prefix, extra_dialplan=ECHO_DIALPLAN) as pbx:
        config = write_config(OUT / "agent.toml", pbx, extra='level = "debug"', agents=reticent_agent())
        async with run_daemon(config, environment(pbx), command=command) as daemon:
            offset = await echo_offset(pbx, every[0].pcm)
            print(f"Echo() offset {offset * 1000:.1f} ms; {len(every)} turns, one call at a time", flush=True)
            turns = await take_turns(pbx, daemon, sets, offset)
            await daemon.until_idle()
            metrics = await daemon.metrics()
    report = {
        **summary(turns, offset, metrics),
        "set": " ".join(parts),
        "engines": " ".join(command[2:]),
        "yardstick_ms": alone,
        "cpu_flags": cpu_flags(),
    }
    path = write_report("latency", report, conditions)
    await trio.to_thread.run_sync(waterfall, OUT / "latency.png", turns, report["response_delay_ms"])
    print(told(report))
    print(f"{conditions}\nwritten to {path} and latency.png")
    if Part.THIRD in parts:
        print(looks.note("bench-latency", commit(), _look(report)))
    return 0 if report["answered"] >= 0.9 * len(turns) else 1


def _look(report: Mapping[str, Any]) -> Mapping[str, Any]:
    third = report["sets"][Part.THIRD.value]
    names = ("response_delay_ms", "response_delay_hesitation_ms", "cut_off", "hesitations", "asked", "unanswered")
    return {name: third[name] for name in names} | {name: report[name] for name in ("engines", "yardstick_ms")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    seen = [KNOWN, Part.FIT.value, Part.CHOOSE.value]
    parser.add_argument("--part", action="append", choices=seen, help="which turns (default: known)")
    parser.add_argument("--third", action="store_true", help="the turns that are kept apart, and note the look")
    parser.add_argument("--turns", type=int, help="how many finished sentences to say (default 44; of other sets 60)")
    parser.add_argument("--hesitations", type=int, help="how many held-up ones to say (default 42; of other sets 60)")
    parser.add_argument("--slow", type=float, default=1.0, help="have the engines take so many times as long")
    parser.add_argument("--no-sentence", action="store_true", help="nobody tells whether a sentence ends")
    asked = parser.parse_args()
    parts = [*(asked.part or ([] if asked.third else [KNOWN])), *([Part.THIRD.value] if asked.third else [])]
    usual = (44, 42) if parts == [KNOWN] else (60, 60)
    complete = usual[0] if asked.turns is None else asked.turns
    held_up = usual[1] if asked.hesitations is None else asked.hesitations
    altered = [*(["--slow", f"{asked.slow:g}"] if asked.slow > 1 else []), *(["--no-sentence"] * asked.no_sentence)]
    command = (sys.executable, "-m", "tests.lab.altered_engines", *altered) if altered else AGENTD
    return trio.run(run, parts, complete, held_up, command)


if __name__ == "__main__":
    sys.exit(main())
