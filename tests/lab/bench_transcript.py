"""How long a caller's words are waited for at a pause, by how long the caller has spoken: the ear and Moonshine.

    python -m tests.lab.bench_transcript [--count 12] [--words 60]

Recorded prompts, joined to 1, 2, 4 and 8 s of speech (tests.lab.utterances), come frame by frame in real time into the
product's ear, with its voice activity and its transcriber in its worker process. At every pause the words are asked
for, as a call does; told is the delay of the last ones, from the moment at which the pause is known. "whole" is the
same audio decoded whole, asked of the same engine after that. Then four callers speak at once, both ways one after
the other.

Of several it is told, too, what part of a core the engine had for each second of all that is said.

The word error rates are those of more utterances, which are fed faster than they are spoken, to an engine that always
has the time to decode before a pause is known: what the product's way costs in words where it is never given up.

Fails (exit status 1) if 8 s of speech wait for more than 1.5 times as long as 2 s do (p50, one caller; what is less
than 10 ms counts as these), or if the product's way has a word error rate of more than half a percent point above the
other. The whole run takes eight minutes.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import structlog
import trio
import trio.testing
from tqdm import tqdm

from agentd_providers.local import moonshine
from agentd_providers.local.engine_side import nothing
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.transcribers import MoonshineTranscriber
from agentd_providers.local.voice_activity import WINDOW_MS, VoiceActivityEngine, load_voice_activity
from agentd_providers.local.worker import EngineWorker, open_worker
from agentd_providers.pipeline.ear import Ear
from agentd_providers.pipeline.stages import PipelineSettings, Transcriber, Transcript
from agentd_providers.turns.settings import TurnSettings
from agentd_providers.turns.taker import Signal

from .debian import find_or_unpack
from .figures import Conditions, cpu_flags, in_words, spread, write_report
from .hearing import MODEL, words
from .slots import processor_seconds
from .speech import human_prompts
from .turn_set import RATE
from .utterances import Utterance, errors, utterances

FRAME = RATE // 50 * 2
FRAME_SECONDS = 0.02
LENGTHS = (1, 2, 4, 8)
WORDS_LENGTHS = (4, 6, 8, 10)
CALLERS = 4
AIM_RATIO, AIM_WER = 1.5, 0.005
SOON_MS = 10
"""Nobody can tell less from nothing: a frame of the line is 20 ms."""
LATEST = 10.0
"""Seconds after which words are not waited for any more."""
WAYS = ("product", "whole")


@attrs.define(eq=False)
class WholeTranscript:
    """A turn that is decoded whole at each pause."""

    worker: EngineWorker
    model: str
    pcm: bytearray = attrs.field(factory=bytearray, init=False)

    def feed(self, pcm: bytes) -> None:
        self.pcm += pcm

    async def words(self) -> str:
        return await self.worker.run(moonshine.transcribe, self.model, bytes(self.pcm), RATE)

    def close(self) -> None:
        pass


@attrs.frozen
class WholeTranscriber:
    """What the product's is held against."""

    worker: EngineWorker
    model: str

    def begin(self) -> Transcript:
        return WholeTranscript(self.worker, self.model)


@attrs.frozen
class Heard:
    """What became of an utterance."""

    utterance: Utterance
    words: str
    delay_ms: float


@attrs.define(eq=False)
class Caller:
    """One caller's ear, which asks for the words at every pause and ends no turn."""

    activity: VoiceActivityEngine
    transcriber: Transcriber
    words: str = attrs.field(default="", init=False)
    delay_ms: float = attrs.field(default=float("nan"), init=False)
    _asked: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def hear(self, utterance: Utterance, hurry: EngineWorker | None = None) -> Heard:
        """Let an utterance come in real time; or in a hurry, where only the engine that is given is waited for."""
        taking = TurnSettings()
        settings = PipelineSettings("", taking.turn_taking("en"), WINDOW_MS, taking.pre_roll_ms)
        async with trio.open_nursery() as nursery:
            detector, start = self.activity.detector(RATE), trio.current_time()

            def decided(signal: Signal, _at: float) -> None:
                if signal in (Signal.PAUSED, Signal.RESUMED):
                    self._asked.cancel()
                if signal is Signal.PAUSED and ear.transcript is not None:
                    self._asked = trio.CancelScope()
                    nursery.start_soon(self._ask, ear.transcript, self._asked)

            ear = Ear(RATE, settings, detector, self.transcriber, None, decided, lambda _event: None)
            for number, at in enumerate(range(0, len(utterance.pcm) - FRAME + 1, FRAME)):
                if hurry is None:
                    await trio.sleep_until(start + number * FRAME_SECONDS)
                else:
                    await trio.testing.wait_all_tasks_blocked()
                    await hurry.run(nothing)
                ear.hear(utterance.pcm[at : at + FRAME], trio.current_time(), agent_audible=False)
        ear.close()
        return Heard(utterance, self.words, self.delay_ms)

    async def _ask(self, transcript: Transcript, scope: trio.CancelScope) -> None:
        start = trio.current_time()
        with scope, trio.fail_after(LATEST):
            self.words = await transcript.words()
            self.delay_ms = 1000 * (trio.current_time() - start)


@attrs.frozen
class Bench:
    """The engine, and what is said to it."""

    worker: EngineWorker
    activity: VoiceActivityEngine
    model: str

    def transcriber(self, way: str) -> Transcriber:
        if way == "product":
            return MoonshineTranscriber(self.worker, self.model, RATE)
        return WholeTranscriber(self.worker, self.model)

    async def one_by_one(self, said: Sequence[Utterance], way: str, bar: "tqdm[Any]", *, hurry: bool) -> list[Heard]:
        heard = []
        for utterance in said:
            caller = Caller(self.activity, self.transcriber(way))
            heard.append(await caller.hear(utterance, self.worker if hurry else None))
            bar.update(utterance.seconds)
        return heard

    async def at_once(self, said: Sequence[Utterance], way: str, bar: "tqdm[Any]") -> list[Heard]:
        """As many callers as may speak at once, each with a share of the utterances."""
        heard: list[Heard] = []

        async def speak(share: Sequence[Utterance], late: float) -> None:
            await trio.sleep(late)
            heard.extend(await self.one_by_one(share, way, bar, hurry=False))

        async with trio.open_nursery() as nursery:
            for number in range(CALLERS):
                nursery.start_soon(speak, said[number::CALLERS], number * said[0].seconds / CALLERS / 4)
        return heard


def delays(heard: Sequence[Heard]) -> dict[str, float | None]:
    return spread([turn.delay_ms for turn in heard])


def error_rate(heard: Sequence[Heard]) -> float:
    counts = [errors(turn.utterance.text, turn.words) for turn in heard]
    return round(sum(wrong for wrong, _ in counts) / sum(expected for _, expected in counts), 4)


def ratio(rows: Mapping[str, Mapping[str, Mapping[str, float | None]]], way: str, share: str) -> float | None:
    """How many times as long as 2 s of speech 8 s wait."""
    long, short = rows["8"][way][share], rows["2"][way][share]
    return round(max(long, SOON_MS) / max(short, SOON_MS), 2) if long is not None and short is not None else None


def _row(found: Mapping[str, float | None]) -> str:
    times = in_words({name: value for name, value in found.items() if name != "core"})
    return f"{times}  core {found['core']}" if "core" in found else times


async def measure(bench: Bench, said: Mapping[int, Sequence[Utterance]]) -> dict[str, Any]:
    """The delays: of one caller, and of several at once."""
    report: dict[str, Any] = {}
    pid = await bench.worker.run(os.getpid)
    total = sum(len(WAYS) * 2 * utterance.seconds for turns in said.values() for utterance in turns)
    with tqdm(total=round(total), unit="s", disable=None) as bar:
        for callers, title in ((1, "one caller"), (CALLERS, f"{CALLERS} callers at once")):
            tqdm.write(f"\n{title}{'':8}{'the product':>44}{'decoded whole':>44}")
            rows: dict[str, Any] = {}
            report["one" if callers == 1 else "at_once"] = rows
            for seconds, turns in said.items():
                row: dict[str, Any] = {}
                for way in WAYS:
                    if callers == 1:  # one that decodes whole has nothing to do before a pause
                        heard = await bench.one_by_one(turns, way, bar, hurry=way == "whole")
                        row[way] = delays(heard)
                    else:
                        before = processor_seconds(pid)
                        heard = await bench.at_once(turns, way, bar)
                        took = (processor_seconds(pid) - before) / sum(turn.utterance.seconds for turn in heard)
                        row[way] = {**delays(heard), "core": round(took, 3)}
                rows[str(seconds)] = row
                tqdm.write(f"{seconds:3} s of speech{''.join(f'{_row(row[way]):>44}' for way in WAYS)}")
    for rows in report.values():
        rows["ratio_8_over_2"] = {way: {share: ratio(rows, way, share) for share in ("p50", "p95")} for way in WAYS}
    return report


async def word_errors(bench: Bench, said: Mapping[int, Sequence[Utterance]]) -> dict[str, Any]:
    """The word error rates, by length and on the whole."""
    report: dict[str, Any] = {}
    total = sum(len(WAYS) * utterance.seconds for turns in said.values() for utterance in turns)
    everything: dict[str, list[Heard]] = {way: [] for way in WAYS}
    with tqdm(total=round(total), unit="s", disable=None) as bar:
        for seconds, turns in said.items():
            row: dict[str, Any] = {"utterances": len(turns)}
            for way in WAYS:
                heard = await bench.one_by_one(turns, way, bar, hurry=True)
                row[way] = error_rate(heard)
                everything[way] += heard
            report[str(seconds)] = row
            tqdm.write(f"{seconds:3} s: word error rate {100 * row['product']:.1f} %, whole {100 * row['whole']:.1f} %")
    report["all"] = {way: error_rate(everything[way]) for way in WAYS}
    report["differ"] = [
        {"text": one.utterance.text, "product": one.words, "whole": other.words}
        for one, other in zip(everything["product"], everything["whole"], strict=True)
        if words(one.words) != words(other.words)
    ]
    return report


async def run(count: int, more: int) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    conditions = Conditions.now()
    print(f"{conditions}\nflags: {' '.join(cpu_flags())}")
    prompts = human_prompts(await find_or_unpack(lambda text: print(text, flush=True)))
    model = str(catalogue.locate(MODEL))
    said = {seconds: utterances(prompts, seconds, count) for seconds in LENGTHS}
    many = {seconds: utterances(prompts, seconds, more) for seconds in WORDS_LENGTHS}
    async with open_worker("stt", lambda _name: None, partial(moonshine.load, model)) as worker:
        await worker.loaded()
        bench = Bench(worker, await load_voice_activity(), model)
        report = {**await measure(bench, said), "wer": await word_errors(bench, many), "cpu_flags": cpu_flags()}
    reached, wer = report["one"]["ratio_8_over_2"], report["wer"]["all"]
    for way in WAYS:
        print(f"8 s over 2 s, {way}: p50 {reached[way]['p50']}, p95 {reached[way]['p95']}; word errors {wer[way]:.2%}")
    print(write_report("transcript", report, conditions))
    return int(reached["product"]["p50"] > AIM_RATIO or wer["product"] > wer["whole"] + AIM_WER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=12, help="utterances of each length that are timed (default 12)")
    parser.add_argument("--words", type=int, default=60, help="of each length whose words are counted (default 60)")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    return trio.run(run, arguments.count, arguments.words)


if __name__ == "__main__":
    sys.exit(main())
