"""Whether the agent stops when it is interrupted, how soon, and whether it talks on through what is no interruption.

    python -m tests.lab.bench_barge_in [--third] [--interruptions 20] [--commands 40] [--distractors 70]

On the private Asterisk the agent speaks a long text, always the same audio; a call in which nobody speaks records it.
In a call each, a recorded human sentence begins 2 to 5 s into it (its onset is known to 5 ms), or a command ("stop",
"no", "wait", "hello?"), or a sound that must be ignored: a backchannel, a filler, a cough, noise, the agent's own echo.
Commands and most backchannels are said by voices that nothing was fitted to: those that choose, or with `--third` those
that are kept apart, and the look is written down (tests/lab/voices/looks.tsv, which belongs into the commit).
What the caller heard is compared with the text's audio (tests/lab/interruption.py):

    stop        silence of 500 ms and more that the text has not got itself; its delay counts from the caller's onset
    interrupted stopped, and the text did not go on afterwards
    distracted  a distractor stopped it, or it did not go on, or it went on with words lost; being quieter for a while,
                or a shorter pause that is made up for, is none
    silenced    by a distractor, for 300 ms and more that the text has not got itself, however it went on

Asterisk's Echo() measures the lab's own delay in the same run, which is taken off. Always exits with 0: the figures
judge themselves.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .cues import Cue, by_voices, ignorable, interruptions, spread_out
from .daemon import environment, run_daemon, write_config
from .debian import find_or_unpack
from .distractors import echo_of
from .figures import OUT, Conditions, commit, in_words, spread, write_report
from .first_sounds import Kind
from .interruption import Outcome, judge, sounds_at
from .measure import Span, speech_spans
from .pictures import Moment, envelopes
from .scene import NothingHeard, listen
from .sip import Call, CallEnded, SipCaller
from .speech import human_prompts
from .voices import looks
from .voices.split import Part

RATE = 8000
TEXT = (
    "Thank you for calling the city library, and let me tell you what we have for you this week. "
    "On Monday evening the reading circle meets in the large room on the second floor, where everybody is welcome. "
    "On Wednesday we show a film about the rivers of the north, and afterwards the director answers your questions. "
    "On Friday children between six and ten can build small boats from paper and wood with our carpenter. "
    "On Saturday the book market opens at nine in the morning, and every book costs no more than two dollars. "
    "And on Sunday the reading rooms stay open until late at night for all who have an examination next month."
)
LEAD = 0.05
"""Seconds of what is heard before the text's first sound that are kept with it."""
EARLIEST, LATEST = 2.0, 5.0
AFTER_SENTENCE, AFTER_DISTRACTOR = 2.5, 4.0
"""Seconds that are watched after the caller's last sound."""
LOST_MS = 60.0
"""Less than this was not lost: no word is as short."""
SILENCED_MS = 300.0
COMMANDS, DISTRACTORS = 40, 70
NOTED = (
    "stop_ms",
    "interruptions",
    "ignored_wrongly",
    "commands",
    "commands_taken",
    "distractors",
    "silenced_over_300_ms",
)
"""Of the report, what is written down of a look at the third part."""
PANELS = 48
"""Events in the picture, at most: those that went wrong come first."""
ECHO_SECONDS, ECHO_DELAY, ECHO_LUMP = 7.0, 0.12, 0.04
FRAME = 0.02
TRIES = 2


async def record_text(pbx: PrivateAsterisk, extension: str = "7000") -> bytes:
    """The agent's text as it is heard when nobody speaks."""
    async with SipCaller().call(pbx.sip_uri(extension)) as call:
        start, end = await listen(call, 0.0, timeout=90, quiet=1.2)
        await call.hangup()
    return call.heard[round((start - LEAD) * RATE) * 2 : round((end + 0.2) * RATE) * 2]


async def text_begins(call: Call) -> float:
    """The second of the axis at which the recorded text would have begun. Raises NothingHeard."""
    with trio.move_on_after(20):
        while not call.ended.is_set():
            await trio.sleep(0.05)
            if spans := speech_spans(call.heard):
                return spans[0].start - LEAD
    raise NothingHeard("the agent did not begin to speak")


async def give_back(call: Call, seconds: float) -> Span:
    """Send the caller what is heard, ECHO_DELAY later and 25 dB down, for so long; gives from when to when."""
    begun, lump = call.now, round(ECHO_LUMP * RATE) * 2
    position = round((begun + FRAME - ECHO_DELAY) * RATE) * 2
    first = call.play_nowait(echo_of(call.heard[position : position + 2 * lump]))
    position += 2 * lump
    last = first
    for number in range(1, round(seconds / ECHO_LUMP)):
        await trio.sleep(begun + number * ECHO_LUMP - call.now)
        last = call.play_nowait(echo_of(call.heard[position : position + lump]))
        position += lump
    return Span((await first.wait()).start, (await last.wait()).end)


async def one_event(
    pbx: PrivateAsterisk, text: bytes, cue: Cue, wanted: float, offset: float, extension: str = "7000"
) -> tuple[Moment, Outcome]:
    """A call in which the agent speaks its text and the caller does one thing. Raises NothingHeard, CallEnded."""
    at = wanted
    while not sounds_at(text, at):
        at += 0.05
    failure: Exception | None = None
    async with SipCaller().call(pbx.sip_uri(extension)) as call:
        try:
            begins = await text_begins(call)
            await trio.sleep(max(begins + at - FRAME / 2 - call.now, 0))
            if cue.pcm:
                sent = await call.play(cue.pcm)
                done = Span(sent.start, sent.end)
            else:
                done = await give_back(call, ECHO_SECONDS)
            until = done.end + (AFTER_SENTENCE if cue.real else AFTER_DISTRACTOR)
            await trio.sleep(until - call.now)
            if call.ended.is_set():
                raise CallEnded("the call ended while it was watched")
        except (NothingHeard, CallEnded) as error:
            failure = error
        await call.hangup()
    if failure is not None:
        raise failure
    said, heard = call.said, call.heard
    outcome = await trio.to_thread.run_sync(judge, text, heard, done.start, until, offset)
    good = outcome.gave_way if cue.real else not distracted(outcome)
    title = f"{cue.name[:46]}: {verdict(cue, outcome)}"
    return Moment(title, good, said, heard, done.start + offset, outcome.attenuate_ms, outcome.stop_ms), outcome


def into_the_text(number: int) -> float:
    """Seconds into the text at which the event of this number is to begin: spread from EARLIEST to LATEST."""
    return EARLIEST + (LATEST - EARLIEST) * (number * 0.618 % 1)


def distracted(outcome: Outcome) -> bool:
    """Whether the agent acted upon a sound that it should have ignored."""
    return outcome.stop_ms is not None or not outcome.resumed or outcome.lost_ms > LOST_MS


def verdict(cue: Cue, outcome: Outcome) -> str:
    """In a few words, for the picture and the terminal."""
    stop = "" if outcome.stop_ms is None else f" after {outcome.stop_ms:.0f} ms"
    if cue.real:
        return f"stopped{stop}" if outcome.gave_way else f"stopped{stop}, went on" if stop else "NOT STOPPED"
    if stop:
        return f"STOPPED{stop}" + (", went on" if outcome.resumed else "")
    if not outcome.resumed:
        return "DID NOT GO ON"
    if outcome.lost_ms > LOST_MS:
        return f"LOST {outcome.lost_ms:.0f} ms"
    return "went on" if outcome.attenuate_ms is None else "quieter for a while"


def summary(events: Sequence[tuple[Cue, Outcome]], void: int, offset: float, text: bytes) -> dict[str, Any]:
    """The report on all events."""
    real = [outcome for cue, outcome in events if cue.real]
    commands = [outcome for cue, outcome in events if cue.kind == Kind.COMMAND]
    other = [outcome for cue, outcome in events if not cue.real]
    gave_way = [outcome for outcome in real if outcome.gave_way]
    return {
        "stop_ms": spread([outcome.stop_ms for outcome in gave_way if outcome.stop_ms is not None]),
        "attenuate_ms": spread([outcome.attenuate_ms for outcome in gave_way if outcome.attenuate_ms is not None]),
        "interruptions": len(real),
        "ignored_wrongly": len(real) - len(gave_way),
        "commands": len(commands),
        "commands_taken": len([outcome for outcome in commands if outcome.gave_way]),
        "distractors": len(other),
        "false_interruptions": len([outcome for outcome in other if distracted(outcome)]),
        "silenced_over_300_ms": len([outcome for outcome in other if outcome.silent_ms >= SILENCED_MS]),
        "silent_ms": spread([outcome.silent_ms for outcome in other]),
        "attenuated_by_distractors": len([outcome for outcome in other if outcome.attenuate_ms is not None]),
        "lost_by_distractors_ms": spread([outcome.lost_ms for outcome in other if not distracted(outcome)]),
        "void": void,
        "text_seconds": round(len(text) / 2 / RATE, 1),
        "echo_offset_ms": round(offset * 1000, 2),
        "load": "one call at a time",
        "events": [
            {
                "kind": cue.kind,
                "name": cue.name,
                "interruption": cue.real,
                "right": outcome.gave_way if cue.real else not distracted(outcome),
                **attrs.asdict(outcome),
            }
            for cue, outcome in events
        ],
    }


async def run(part: Part, real: int, commands: int, other: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    prompts = human_prompts(prefix)
    commanding, nothing = await by_voices(part)
    cues = interruptions(prompts, real) + spread_out(commanding, commands)
    cues += spread_out([*await ignorable(prompts), *nothing], other)
    conditions, void = Conditions.now(), 0
    events: list[tuple[Cue, Outcome]] = []
    moments: list[Moment] = []
    async with PrivateAsterisk(prefix, extra_dialplan=ECHO_DIALPLAN) as pbx:
        config = write_config(OUT / "agent.toml", pbx, agents=reticent_agent(TEXT))
        async with run_daemon(config, environment(pbx)) as daemon:
            offset = await echo_offset(pbx, cues[0].pcm)
            text = await record_text(pbx)
            print(f"Echo() offset {offset * 1000:.1f} ms; a text of {len(text) / 2 / RATE:.0f} s; {len(cues)} events")
            for number, cue in enumerate(cues, 1):
                wanted = into_the_text(number)
                for _ in range(TRIES):
                    await daemon.until_idle()
                    try:
                        moment, outcome = await one_event(pbx, text, cue, wanted, offset)
                    except (NothingHeard, CallEnded) as error:
                        void += 1
                        print(f"{number:3d}/{len(cues)}  void: {error}", flush=True)
                        continue
                    events.append((cue, outcome))
                    moments.append(moment)
                    mark = " " if moment.good else "!"
                    quieter = "" if outcome.attenuate_ms is None else f"  quieter after {outcome.attenuate_ms:.0f} ms"
                    print(f"{number:3d}/{len(cues)} {mark} {cue.kind:11} {moment.title}{quieter}", flush=True)
                    break
    report = {**summary(events, void, offset, text), "set": part}
    path = write_report("barge_in", report, conditions)
    shown = sorted(moments, key=lambda moment: moment.good)[:PANELS]
    await trio.to_thread.run_sync(envelopes, OUT / "barge_in.png", [one for one in moments if one in shown])
    print(f"stop after onset: {in_words(report['stop_ms'])}; quieter after: {in_words(report['attenuate_ms'])}")
    print(f"interruptions ignored: {report['ignored_wrongly']} of {report['interruptions']}")
    print(f"commands taken: {report['commands_taken']} of {report['commands']}")
    print(f"silenced for 300 ms and more: {report['silenced_over_300_ms']} of {report['distractors']}")
    print(f"false interruptions: {report['false_interruptions']} of {report['distractors']}; void: {void}")
    print(f"{conditions}\nwritten to {path} and barge_in.png")
    if part is Part.THIRD:
        print(looks.note("bench-barge-in", commit(), {name: report[name] for name in NOTED}))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--third", action="store_true", help="by the voices that are kept apart, and note the look")
    parser.add_argument("--interruptions", type=int, default=20, help="how many sentences (default 20)")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="how many commands (default all 40)")
    parser.add_argument(
        "--distractors", type=int, default=DISTRACTORS, help="how many sounds to be ignored (default 70)"
    )
    arguments = parser.parse_args()
    part = Part.THIRD if arguments.third else Part.CHOOSE
    return trio.run(run, part, arguments.interruptions, arguments.commands, arguments.distractors)


if __name__ == "__main__":
    sys.exit(main())
