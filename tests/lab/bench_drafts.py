"""What drafts that are thrown away cost the next answer, at the embedded language model: no speech engines, no PBX.

    python -m tests.lab.bench_drafts [--callers 5] [--calls 3] [--turns 6] [--slots N]

Callers are scripted (tests.lab.scripted_callers): each hesitates twice in every turn, and at every pause its words are
known at once, the model is asked whether the sentence ends there, and then for an answer, which is thrown away when the
caller goes on. All but the model's server is the product's own pipeline with nothing that computes.

 1. A request that reads a long prompt, writes, or asks for a sentence's end is cancelled: how long its slot stays busy.
 2. Each caller's call alone: the first token after the last pause of a turn. That is the yardstick.
 3. The same calls at once, several times.

A turn's first token is counted where the turn was not cut off; how many were is told beside it. Told as well, and not
judged, is when the first clause was there, and how long after that was let go the second one.

Passes where a slot is idle within 50 ms (p95), and the first tokens of several callers are at most 1.5 times as late as
one caller's (p95).
"""

import argparse
import logging
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import structlog
import trio
from tqdm import tqdm

from agentd_providers.local.embedded import open_embedded
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.settings import EmbeddedSettings
from agentd_providers.openai.chat_model import ChatModel, warm_up_prompt
from agentd_providers.pipeline.stages import Message, Responder, Role
from agentd_providers.shared import SharedServices

from .figures import Conditions, in_words, spread, write_report
from .scripted_callers import CONFIG, TURNS, Outcome, ScriptedCaller
from .slots import until_idle

LONG_WORDS = 700
"""Words of a prompt that takes its time to be read."""
CANCELS = 12
READS_FOR = 0.1
"""Seconds after which a request that reads is cancelled."""
PIECES = 3
"""Pieces of a reply after which it is."""
CALLERS_APART = 0.7
"""Seconds between one caller and the next."""
AIM_IDLE_MS, AIM_RATIO = 50.0, 1.5
VOCABULARY = (
    *("the", "a", "caller", "wants", "to", "book", "table", "for", "two", "people", "on", "friday", "evening"),
    *("please", "tell", "me", "about", "your", "opening", "hours", "and", "price"),
)


# --- what a request that is cancelled leaves


def unread(number: int) -> list[Message]:
    """A conversation of which the server has read no more than its first words."""
    words = random.Random(number).choices(VOCABULARY, k=LONG_WORDS)
    return [Message(Role.SYSTEM, CONFIG.prompt), Message(Role.USER, " ".join(words))]


def short(number: int) -> list[Message]:
    """One whose beginning it has read."""
    words = random.Random(number).choices(VOCABULARY, k=8)
    return [Message(Role.SYSTEM, CONFIG.prompt), Message(Role.USER, f"Tell me a long story about {' '.join(words)}.")]


async def _read(responder: Responder, number: int) -> None:
    with trio.move_on_after(READS_FOR):
        async with responder.respond(unread(number)) as pieces:
            async for _ in pieces:
                pass


async def _write(responder: Responder, number: int) -> None:
    async with responder.respond(short(number)) as pieces:
        left = PIECES
        async for _ in pieces:
            left -= 1
            if not left:
                break


async def _ask(responder: Responder, number: int) -> None:
    with trio.move_on_after(READS_FOR):
        await responder.sentence_end(unread(number))


CANCELLED: dict[str, Callable[[Responder, int], Awaitable[None]]] = {"reading": _read, "writing": _write, "cue": _ask}


async def cancel_all(model: ChatModel, step: Callable[[], None]) -> dict[str, list[float]]:
    """Milliseconds that slots worked on after a request was cancelled, by what it was doing."""
    idle: dict[str, list[float]] = {name: [] for name in CANCELLED}
    for number in range(CANCELS):
        for place, (name, request) in enumerate(CANCELLED.items()):
            await request(model.responder, len(CANCELLED) * number + place)
            idle[name].append(await until_idle(*model.responder.endpoint()))
            step()
    return idle


# --- calls


async def talk(model: ChatModel, caller: int, turns: int, step: Callable[[], None]) -> Outcome:
    """One call by this caller, who always says the same."""
    async with model.open() as responder:
        scripted = ScriptedCaller(f"caller {caller}", responder, step)
        await scripted.call([TURNS[(caller + place) % len(TURNS)] for place in range(turns)])
        return scripted.outcome


async def alone(model: ChatModel, callers: int, turns: int, step: Callable[[], None]) -> list[Outcome]:
    """One call by each caller, one after the other."""
    return [await talk(model, caller, turns, step) for caller in range(callers)]


async def at_once(model: ChatModel, calls: int, callers: int, turns: int, step: Callable[[], None]) -> list[Outcome]:
    """So many calls by each of so many callers, who all call at once."""
    outcomes: list[Outcome] = []

    async def one(caller: int) -> None:
        await trio.sleep(caller * CALLERS_APART)
        outcomes.extend([await talk(model, caller, turns, step) for _ in range(calls)])

    async with trio.open_nursery() as nursery:
        for caller in range(callers):
            nursery.start_soon(one, caller)
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What became of the turns of several calls."""
    answers = [answer for outcome in outcomes for answer in outcome.answers]
    tokens = [answer.first_token_ms for answer in answers]
    seconds = [answer.second_clause_ms for answer in answers if answer.second_clause_ms is not None]
    return {
        "first_token_ms": spread(tokens),
        "first_clause_ms": spread([answer.first_clause_ms for answer in answers]),
        "second_clause_ms": spread(seconds),
        "turns": sum(outcome.turns for outcome in outcomes),
        "unanswered": sum(outcome.unanswered for outcome in outcomes),
        "hesitations": sum(outcome.hesitations for outcome in outcomes),
        "cut_off": sum(outcome.cut_off for outcome in outcomes),
        "failures": [failure for outcome in outcomes for failure in outcome.failures],
        "all_ms": [round(token) for token in tokens],
    }


async def run(callers: int, calls: int, turns: int, settings: EmbeddedSettings) -> int:
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        return status
    conditions = Conditions.now()
    steps = CANCELS * len(CANCELLED) + (1 + calls) * callers * turns
    async with trio.open_nursery() as nursery:
        with tqdm(total=steps, unit="step", disable=None) as bar:
            async with open_embedded(settings, CONFIG.language, SharedServices(nursery)) as model:
                prompt = warm_up_prompt(CONFIG.prompt)
                await model.responder.warm_up(prompt, slot=0)
                await model.read_in_other_slots(prompt)  # else beside the first requests that are measured
                idle = await cancel_all(model, bar.update)
                one = figures(await alone(model, callers, turns, bar.update))
                many = figures(await at_once(model, calls, callers, turns, bar.update))
        nursery.cancel_scope.cancel()
    yardstick, under_load = one["first_token_ms"]["p95"], many["first_token_ms"]["p95"]
    ratio = round(under_load / yardstick, 2) if yardstick and under_load else None
    busy = {name: spread(values, 1) for name, values in idle.items()}
    print(conditions)
    for name, values in busy.items():
        print(f"slot busy after a cancel, {name:8}  {in_words(values)}")
    for count, told in ((1, one), (callers, many)):
        print(
            f"first token, {count} at once: {in_words(told['first_token_ms'])}  ({told['turns']} turns, "
            f"{told['unanswered']} unanswered, {told['cut_off']} of {told['hesitations']} hesitations cut off)"
        )
        print(f"  first clause {in_words(told['first_clause_ms'])};  second {in_words(told['second_clause_ms'])} later")
    print(f"p95 of {callers} over p95 of one (the yardstick): {ratio}")
    report = {
        "settings": attrs.asdict(settings),
        "slot_busy_ms": busy,
        "yardstick": one,
        "callers": callers,
        "under_load": many,
        "ratio_p95": ratio,
    }
    print(write_report("drafts", report, conditions))
    soon = all(values["p95"] is not None and values["p95"] <= AIM_IDLE_MS for values in busy.values())
    return 0 if soon and ratio is not None and ratio <= AIM_RATIO and not many["unanswered"] else 1


def main() -> int:
    usual = EmbeddedSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=5, help="at once")
    parser.add_argument("--calls", type=int, default=3, help="of each caller, one after the other")
    parser.add_argument("--turns", type=int, default=6, help="of each call")
    parser.add_argument("--slots", type=int, default=usual.slots, help="of the model's server")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return trio.run(run, asked.callers, asked.calls, asked.turns, attrs.evolve(usual, slots=asked.slots))


if __name__ == "__main__":
    sys.exit(main())
