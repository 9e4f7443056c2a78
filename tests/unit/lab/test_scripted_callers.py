"""Scripted callers: they hesitate as the script says, and what they tell of their answers is so."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.agent import ToolDeclaration
from agentd.errors import ProviderUnavailable
from agentd_providers.pipeline.stages import Message
from tests.lab.scripted_callers import TURNS, ScriptedCaller

CUE, FIRST_TOKEN, NEXT_TOKEN, THE_REST = 0.05, 0.2, 0.05, 2.0


@attrs.define(eq=False)
class Model:
    """Takes its time for the cue and for the first word."""

    failure: Exception | None = None
    asked: list[str] = attrs.field(factory=list)
    given_up: int = 0
    tells_sentence_ends: bool = True
    ends: float | None = None
    """What it says of every sentence; None: a whole one has its full stop."""

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[str]]:
        self.asked.append(messages[-1].text)
        try:
            async with aclosing(self._write()) as pieces:
                yield pieces
        except trio.Cancelled:
            self.given_up += 1
            raise

    async def _write(self) -> AsyncGenerator[str, None]:
        await trio.sleep(FIRST_TOKEN)
        if self.failure is not None:
            raise self.failure
        yield "Certainly. "
        await trio.sleep(NEXT_TOKEN)
        yield "That "
        await trio.sleep(THE_REST)
        yield "is no problem at all."

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        await trio.sleep(CUE)
        return self.ends if self.ends is not None else 0.9 if messages[-1].text.endswith((".", "?")) else 0.001


async def test_a_caller_hesitates_twice_a_turn_and_is_answered_to_all_of_it(autojump_clock: MockClock) -> None:
    model, steps = Model(), list[None]()
    caller = ScriptedCaller("one", model, lambda: steps.append(None))
    await caller.call(TURNS[:3])
    outcome = caller.outcome
    assert (outcome.turns, outcome.hesitations, outcome.cut_off, outcome.unanswered) == (3, 6, 0, 0)
    assert outcome.failures == []
    assert len(steps) == 3
    for answer in outcome.answers:
        assert answer.first_token_ms == pytest.approx(1000 * (CUE + FIRST_TOKEN), abs=5)
        assert answer.first_clause_ms == pytest.approx(1000 * (CUE + FIRST_TOKEN + NEXT_TOKEN), abs=5)
        assert answer.second_clause_ms == pytest.approx(1000 * THE_REST, abs=5)
    assert len(outcome.answers) == 3
    assert [turn.text for turn in caller.history.turns][::2] == [
        " ".join(words for words, _ in turn) for turn in TURNS[:3]
    ]


async def test_drafts_of_hesitations_are_given_up(autojump_clock: MockClock) -> None:
    model = Model()
    await ScriptedCaller("one", model).call(TURNS[:2])
    assert len(model.asked) == 6
    assert model.given_up == 4


async def test_a_hesitation_that_is_taken_for_an_end_is_counted(autojump_clock: MockClock) -> None:
    caller = ScriptedCaller("one", Model(ends=1.0))
    await caller.call([(("That is what I want", 1.5), ("and a glass of wine.", 0.0))])
    assert (caller.outcome.hesitations, caller.outcome.cut_off) == (1, 1)
    assert len(caller.outcome.answers) == 1


async def test_a_turn_without_an_answer_is_counted(autojump_clock: MockClock) -> None:
    caller = ScriptedCaller("one", Model(failure=ProviderUnavailable("gone")))
    await caller.call(TURNS[:1])
    assert caller.outcome.unanswered == 1
    assert caller.outcome.answers == []
    assert caller.outcome.failures
