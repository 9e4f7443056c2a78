"""Who a call's caller is: whatever the line answers late is nobody's number but that of whom it was asked about."""

from functools import partial

import attrs
import trio
from trio.testing import MockClock

from agentd.calls.caller_identity import FIRST_PAUSE, CallerIdentity
from agentd.party import Party

ALICE, BOB, CAROL = Party("100", "Alice"), Party("4712", "Bob"), Party("4713", "Carol")


@attrs.define(eq=False)
class SlowLine:
    """It answers each question after two seconds, which cannot be cut short, by who was there when it was asked."""

    there: Party
    asked_at: list[float] = attrs.field(factory=list)

    async def ask(self) -> Party:
        party = self.there
        self.asked_at.append(trio.current_time())
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0)
        return party


async def test_an_answer_about_the_one_before_is_not_taken_for_who_has_come_since(autojump_clock: MockClock) -> None:
    line, told = SlowLine(BOB), list[Party]()
    identity = CallerIdentity(ALICE, line.ask, told.append, learned=partial(int))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(identity.run)
        identity.replaced()
        await trio.sleep(1.0)
        line.there = CAROL
        identity.replaced()
        await trio.sleep(5.0)
        nursery.cancel_scope.cancel()
    assert told == [Party(), Party(), CAROL]


async def test_while_one_question_is_under_way_at_most_one_more_is_due(autojump_clock: MockClock) -> None:
    line, told = SlowLine(ALICE), list[Party]()
    identity = CallerIdentity(ALICE, line.ask, told.append, learned=partial(int))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(identity.run)
        for _ in range(10):
            identity.changed()
            await trio.sleep(0.1)
        await trio.sleep(60.0)
        nursery.cancel_scope.cancel()
    first, second = line.asked_at
    assert (second - first, told) == (2.0 + FIRST_PAUSE, [])
