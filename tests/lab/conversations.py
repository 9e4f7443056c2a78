"""How many callers one host talks with at once before they wait too long: `bench_load --conversations`.

Each caller is one of `bench_latency`, with the same sentences, the same judgement of what was answered, and the same
echo taken off; here more of them call from step to step, each at an extension of its own, by which the daemon's log
lines are told apart.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio
from tqdm import tqdm

from .asterisk import PrivateAsterisk
from .bench_latency import one_call
from .calibration import ECHO_DIALPLAN, echo_offset, reticent_agent
from .daemon import Daemon, Line, environment, run_daemon, write_config
from .figures import OUT, quantile, spread
from .latency_report import Turn
from .prefix import LabUnavailable, Prefix
from .sip import CallRefused
from .speech import human_prompts
from .turn_set import TurnSample, complete_turns

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
LONGEST_P95_MS = 1200
FEWEST_TURNS = 12
"""Of a step."""
FEWEST_OF_A_CALLER = 4
APART = 1.3
"""Seconds between two callers' first rings: nobody calls in step."""
FIRST_EXTENSION = 7700
DIALPLAN = "exten => _77XX,1,Gosub(agentd-call,${EXTEN},1(default,external))\n" + ECHO_DIALPLAN

Row = dict[str, Any]


def judged(calls: int, turns: Sequence[Turn]) -> Row:
    """A step of the report. A turn that was not answered was waited for without end; one that the agent took before
    its end, or cut off, has no delay and is left out."""
    whole = [turn for turn in turns if not turn["early"] and not turn["cut_off"]]
    delays = [float("inf") if turn["delay_ms"] is None else float(turn["delay_ms"]) for turn in whole]
    answered = [delay for delay in delays if delay != float("inf")]
    p95 = quantile(delays, 0.95) if delays else float("inf")
    return {
        "calls": calls,
        "turns": len(turns),
        "left_out": len(turns) - len(whole),
        "unanswered": len(delays) - len(answered),
        "response_ms": {**spread(answered), "p95": None if p95 == float("inf") else round(p95)},
        "held": p95 <= LONGEST_P95_MS,
    }


def verdict(rows: Sequence[Row]) -> str:
    """What the steps say, in a sentence."""
    held = max((row["calls"] for row in rows if row["held"]), default=0)
    beyond = next((f"{row['calls']} were too many" for row in rows if not row["held"]), "more were not tried")
    limit = f"p95 of the answer's delay at the callers' ears at most {LONGEST_P95_MS / 1000:g} s"
    return f"this host holds {held} conversation{'s' * (held != 1)} at once ({limit}); {beyond}"


@attrs.define(eq=False)
class Switchboard:
    """Hands the daemon's log lines to whom they are about: `of` gives a caller's daemon, which has no other lines."""

    daemon: Daemon | None = None
    _views: dict[str, Daemon] = attrs.field(factory=dict, init=False)
    _extensions: dict[str, str] = attrs.field(factory=dict, init=False)
    """Who was called, by call."""

    def of(self, extension: str) -> Daemon:
        """The daemon as the caller of this extension sees it."""
        assert self.daemon is not None
        view = self._views[extension] = Daemon(self.daemon.process, self.daemon.health_port)
        return view

    def take(self, line: Mapping[str, Any]) -> None:
        """A line of the log."""
        call = str(line.get("call_id"))
        if line.get("event") == "call":
            self._extensions[call] = str(line.get("extension"))
        if view := self._views.get(self._extensions.get(call, "")):
            view.lines.append(dict(line))


async def hold(
    pbx: PrivateAsterisk, board: Switchboard, calls: int, samples: Sequence[TurnSample], offset: float
) -> list[Turn]:
    """So many callers at once; gives their turns. One that is refused has one turn, without an answer."""
    turns: list[Turn] = []
    each = max(FEWEST_OF_A_CALLER, -(-FEWEST_TURNS // calls))
    sentences = itertools.cycle(samples)
    shares = [[next(sentences) for _ in range(each)] for _ in range(calls)]

    async def one(number: int) -> None:
        await trio.sleep(number * APART)
        extension = str(FIRST_EXTENSION + number)
        try:
            turns.extend(await one_call(pbx, board.of(extension), shares[number], offset, extension))
        except CallRefused as error:
            turns.append({"delay_ms": None, "early": False, "cut_off": False, "failure": str(error)})

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
    return turns


async def converse_in_steps(prefix: Prefix, steps: Sequence[int]) -> dict[str, Any]:
    """The report: a row a step, up to the first that is too much. Raises LabUnavailable without recorded speech."""
    samples = complete_turns(human_prompts(prefix), 40)
    if not samples:
        raise LabUnavailable("no recorded speech; Debian has it in asterisk-core-sounds-en-wav")
    rows: list[Row] = []
    board = Switchboard()

    def on_line(line: Line) -> None:
        board.take(line)

    async with PrivateAsterisk(prefix, extra_dialplan=DIALPLAN) as pbx:
        config = write_config(OUT / "agent.toml", pbx, extra='level = "debug"', agents=reticent_agent())
        async with run_daemon(config, environment(pbx), on_line) as board.daemon:
            offset = await echo_offset(pbx, samples[0].pcm)
            for calls in tqdm(steps, disable=None, unit="step"):
                turns = await hold(pbx, board, calls, samples, offset)
                await board.daemon.until_idle()
                rows.append({**judged(calls, turns), "turn_list": turns})
                if not rows[-1]["held"]:
                    break
    return {"verdict": verdict(rows), "limit_p95_ms": LONGEST_P95_MS, "rows": rows}
