"""Whether the agent stops when it is interrupted, how soon, and whether it talks on through what is no interruption.

    python -m tests.lab.bench_barge_in [--interruptions 20] [--distractors 18]

On the private Asterisk the agent speaks a long text, always the same audio; a call in which nobody speaks records it.
In a call each, a recorded human sentence begins 2 to 5 s into it (its onset is known to 5 ms), or a sound that must be
ignored: a backchannel, a cough, noise, the agent's own echo. What the caller heard is compared with the text's audio
(tests/lab/interruption.py):

    stop        silence of 500 ms and more that the text has not got itself; its delay counts from the caller's onset
    interrupted stopped, and the text did not go on afterwards
    distracted  a distractor stopped it, or it did not go on, or it went on with words lost; being quieter for a while,
                or a shorter pause that is made up for, is none

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

from . import distractors
from .asterisk import PrivateAsterisk
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .daemon import environment, run_daemon, write_config
from .debian import find_or_unpack
from .distractors import echo_of
from .figures import OUT, Conditions, in_words, spread, write_report
from .hearing import speak
from .interruption import Outcome, judge, sounds_at
from .measure import Span, speech_spans
from .pictures import Moment, envelopes
from .scene import NothingHeard, listen
from .sip import Call, CallEnded, SipCaller
from .speech import Prompt, human_prompts
from .turn_set import complete_turns, sentences

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
AFTER_SENTENCE, AFTER_DISTRACTOR = 2.5, 6.0
"""Seconds that are watched after the caller's last sound."""
LOST_MS = 60.0
"""Less than this was not lost: no word is as short."""
BACKCHANNELS = ("Mm-hmm.", "Uh-huh.", "Okay.", "Yeah.", "Right.", "I see.")
ECHO_SECONDS, ECHO_DELAY, ECHO_LUMP = 7.0, 0.12, 0.04
FRAME = 0.02
TRIES = 2


@attrs.frozen
class Cue:
    """What the caller does while the agent speaks."""

    kind: str
    name: str
    pcm: bytes = attrs.field(repr=False)
    """Without silence before its first sound; empty for the agent's echo."""
    real: bool
    """Whether it is an interruption."""


def trimmed(pcm: bytes) -> bytes:
    """From the first sound on, to 5 ms."""
    return pcm[round(speech_spans(pcm)[0].start * RATE) * 2 :]


def interruptions(prompts: Sequence[Prompt], count: int) -> list[Cue]:
    """Recorded human sentences."""
    samples = complete_turns([prompt for prompt in sentences(prompts) if "bye" not in prompt.text.lower()], count)
    return [Cue("sentence", sample.text, trimmed(sample.pcm), real=True) for sample in samples]


async def ignorable(prompts: Sequence[Prompt], count: int) -> list[Cue]:
    """Sounds that are no interruption; the human voice where a recording exists, Piper's otherwise."""
    cues = [Cue("backchannel", text, trimmed(await speak(text)), real=False) for text in BACKCHANNELS]
    human = [prompt for prompt in prompts if prompt.path.parent.name == "digits" and prompt.name == "oh"]
    cues += [Cue("backchannel", "Oh. (human)", trimmed(prompt.pcm()), real=False) for prompt in human]
    made = {"cough": distractors.cough, "throat": distractors.throat_clearing, "noise": distractors.line_noise}
    made |= {"breath": distractors.breath, "clicks": distractors.clicks}
    instances = [("cough", 1), ("throat", 1), ("noise", 1), ("cough", 2), ("breath", 1), ("throat", 2), ("clicks", 1)]
    cues += [Cue(kind, f"{kind} {seed}", trimmed(made[kind](seed)), real=False) for kind, seed in instances]
    cues += [Cue("echo", f"own echo {number}", b"", real=False) for number in (1, 2)]
    cues += [Cue("cough", "cough 3", trimmed(distractors.cough(3)), real=False)]
    cues += [Cue("clicks", "clicks 2", trimmed(distractors.clicks(2)), real=False)]
    return cues[:count]


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
    other = [outcome for cue, outcome in events if not cue.real]
    gave_way = [outcome for outcome in real if outcome.gave_way]
    return {
        "stop_ms": spread([outcome.stop_ms for outcome in gave_way if outcome.stop_ms is not None]),
        "attenuate_ms": spread([outcome.attenuate_ms for outcome in gave_way if outcome.attenuate_ms is not None]),
        "interruptions": len(real),
        "ignored_wrongly": len(real) - len(gave_way),
        "distractors": len(other),
        "false_interruptions": len([outcome for outcome in other if distracted(outcome)]),
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


async def run(real: int, other: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    OUT.mkdir(parents=True, exist_ok=True)
    prefix = await find_or_unpack(lambda text: print(text, flush=True))
    prompts = human_prompts(prefix)
    cues = [*interruptions(prompts, real), *await ignorable(prompts, other)]
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
    report = summary(events, void, offset, text)
    path = write_report("barge_in", report, conditions)
    await trio.to_thread.run_sync(envelopes, OUT / "barge_in.png", moments)
    print(f"stop after onset: {in_words(report['stop_ms'])}; quieter after: {in_words(report['attenuate_ms'])}")
    print(f"interruptions ignored: {report['ignored_wrongly']} of {report['interruptions']}")
    print(f"false interruptions: {report['false_interruptions']} of {report['distractors']}; void: {void}")
    print(f"{conditions}\nwritten to {path} and barge_in.png")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interruptions", type=int, default=20, help="how many sentences (default 20)")
    parser.add_argument("--distractors", type=int, default=18, help="how many sounds to be ignored (at most 18)")
    arguments = parser.parse_args()
    return trio.run(run, arguments.interruptions, arguments.distractors)


if __name__ == "__main__":
    sys.exit(main())
