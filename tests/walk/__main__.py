"""The fault walk, by hand: see --help."""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from pathlib import Path

import attrs
from tqdm import tqdm

from tests.walk.faults import Course, Fault, Where, of_legs
from tests.walk.kinds import KINDS, Kind
from tests.walk.life import IDLE, Outcome
from tests.walk.walk import Share, Walked, clean, live_all, shares, steps

HELP = """\
The fault walk: a whole agentd around a call, on virtual time, against an Asterisk and agents that are none and strict.
In each life one thing goes wrong at one place, while another caller talks and must notice nothing. Ten minutes later
the caller must be served, in the dialplan, or gone, and nothing of the call may be left anywhere. Lives of a kind
branch off, each a process, from the one to which nothing happens; what breaks the walk itself is told as BROKEN.

A life is the same each time, and has a name, KIND/PLACE-NUMBER/HOW, such as fork-stream-full-none/request-7/dropped:

  request-N/HOW     the N-th request to Asterisk's HTTP interface is dropped (the connection closed, nothing done),
                    refused (403, 404, 409, 500, 503), late (done after the deadline) or unanswered (done, no answer)
  event-N/HOW       the N-th event is lost, doubled, or swapped with the next
  http-N/hangs      Asterisk's HTTP interface hangs from the N-th request on, for a minute
  events-N/hangs    the event stream does, from the N-th event on
  listen-N, think-N, speak-N, agent-N/hangs
                    the peer hangs from its N-th step on, for good
  leg-N/HOW         something happens to each media leg of the call at the N-th of five stages (it does not come up; at
                    once; after 5 ms, 0.5 s, 3 s): it hangs for a minute. One that comes by RTP also falls silent for
                    good, gets a stranger's voice too (stranger), begins anew (renumbered), holds up a second and sends
                    it at once (burst), ends on the PBX (dies), or Asterisk does not tell its end (unnamed).
                    One that comes by chan_websocket also falls silent, dies or is unnamed; its WebSocket is cut or not
                    opened (dropped, 404; 403 where it is Asterisk that opens it), never says what it carries
                    (unstarted), speaks plain text (plain), says that a command failed (error), says stop and never go
                    on (stopped), reports no marks (unmarked), or is not read (deaf)
  step-N/hang-up    the caller hangs up just before the N-th step of the call's tasks
  step-N/stop       the daemon is told to stop there, with no patience for calls
"""
EXAMPLES = """\
examples:
  just walk                                                  all of it: about half an hour on two cores
  just walk --steps none                                     all but the steps: some minutes
  just walk --kind external-stream-pipeline-tool             one kind
  just walk --fault 'request-*/403' --fault 'event-*'        some faults
  just walk --life fork-stream-full-none/request-7/dropped   one life, with the daemon's log
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Status 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        prog="just walk", description=HELP, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", metavar="KIND", help="only this kind (a pattern); repeatable")
    parser.add_argument("--fault", action="append", metavar="FAULT", help="only such faults (a pattern); repeatable")
    parser.add_argument("--life", metavar="NAME", help="one life, with its log and what it was made of")
    parser.add_argument("--steps", default="all", metavar="N", help="all (the default), none, or so many a kind")
    parser.add_argument("--seed", type=int, default=1, help="of the steps, and of the order of tasks (1)")
    parser.add_argument(
        "--idle", type=float, default=IDLE, metavar="S", help=f"seconds until a life is judged ({IDLE:g})"
    )
    parser.add_argument("--processes", type=int, help="at a time (one a core)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what went wrong: one life a line")
    options = parser.parse_args(arguments)
    if options.life:
        return _one(Walked(options.life, options.seed, options.idle))
    began = time.monotonic()
    chosen = _chosen(options)
    lives = sum(len(share.faults) for share in chosen)
    print(f"{lives} lives, seed {options.seed}", flush=True)
    outcomes = list[Outcome]()
    bar = tqdm(live_all(chosen, options.processes), total=lives, unit="life", disable=not sys.stderr.isatty())
    with options.save.open("w", encoding="utf-8") if options.save else nullcontext() as file:
        for outcome in bar:
            outcomes.append(outcome)
            if outcome.wrong:
                tqdm.write(f"{outcome.name}: {outcome}")
                sys.stdout.flush()
                if file is not None:
                    print(f"{outcome.name}: {outcome}", file=file, flush=True)
    print(_table(outcomes))
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    print(f"{len(outcomes)} of {lives} lives in {time.monotonic() - began:.0f} s: {failed} went wrong")
    return bool(failed) or len(outcomes) < lives


def _one(walked: Walked) -> int:
    life = walked.life()
    life.log = print
    outcome = life.run()
    assert outcome.course is not None
    for number, request in enumerate(outcome.course.requests, 1):
        print(f"request-{number}  {request}")
    for number, event in enumerate(outcome.course.events, 1):
        print(f"event-{number}  {event}")
    for stage, times in outcome.course.asked.items():
        print(f"{stage}: asked {times} times")
    print(
        f"{outcome.course.steps} steps\n{outcome.name}: {outcome.main}" + "".join(f"\n  {it}" for it in outcome.wrong)
    )
    return bool(outcome.wrong)


def _chosen(options: argparse.Namespace) -> list[Share]:
    chosen: list[Share] = []
    for kind in KINDS:
        if options.kind and not any(fnmatchcase(str(kind), pattern) for pattern in options.kind):
            continue
        course = clean(kind, options.seed)
        faults = [
            fault
            for fault in _faults(course, options, kind)
            if not options.fault or any(fnmatchcase(str(fault), pattern) for pattern in options.fault)
        ]
        chosen += shares(kind, faults, options.seed, options.idle)
    return chosen


def _faults(course: Course, options: argparse.Namespace, kind: Kind) -> list[Fault]:
    found = [*course.of_requests(), *course.of_events(), *course.of_peers(), *of_legs(kind.carriage)]
    if options.steps != "none":
        few = None if options.steps == "all" else int(options.steps)
        found += steps(course, few, options.seed, str(kind))
    return found


@attrs.define
class _Row:
    lives: int = 0
    wrong: Counter[str] = attrs.field(factory=Counter)


def _table(outcomes: Sequence[Outcome]) -> str:
    """How many went wrong, by what was done to them."""
    rows: dict[str, _Row] = defaultdict(_Row)
    for outcome in outcomes:
        fault = Fault.parse(outcome.name.partition("/")[2])
        group = f"{fault.where}/{fault.how}" if fault.where is not Where.REQUEST else f"request/{fault.how}"
        for row in (rows[group], rows["in all"]):
            row.lives += 1
            for sort in {it.split()[0] for it in outcome.wrong}:
                row.wrong[sort] += 1
            row.wrong["wrong"] += bool(outcome.wrong)
    total = rows.pop("in all", _Row())
    columns = ("STRANDED", "UNHEARD", "LEFT", "OTHER", "DAEMON", "BROKEN", "wrong")
    lines = [f"{'':24}{'lives':>8}" + "".join(f"{column:>10}" for column in columns)]
    for group, row in [*sorted(rows.items()), ("in all", total)]:
        lines.append(f"{group:24}{row.lives:8}" + "".join(f"{row.wrong[column]:10}" for column in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
