"""One event twice, in any order, or not at all; and channels that take another's place."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, DtmfReceived, Event, PlaybackFinished, StasisEnd, StasisStart
from agentd.ari.route import Route
from agentd.conversation.commands import Destination
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request
from agentd.testing._asterisk import FakeAsterisk

ALICE, BOB, CAROL = "1700000000.1", "1700000000.2", "1700000000.3"
PLACE = Destination("agentd-call", "7002", 2)
ARGS = ("agent=sales", "fallback=queue-sales|s|1")
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def enters(channel: str = ALICE, at: float = 10.0) -> StasisStart:
    return StasisStart(Channel(channel, extension="7002", place=PLACE, arguments=ARGS), ARGS, at)


def takes_place(channel: str = BOB, replaced: str = ALICE, at: float = 20.0) -> StasisStart:
    return StasisStart(Channel(channel, place=Destination("transfer", "_attended")), (), at, enters(replaced).channel)


@attrs.define
class House:
    """A client whose calls are what the reception would make of its callers: each with a route."""

    asterisk: FakeAsterisk
    client: AriClient = attrs.field(init=False)
    calls: list[tuple[StasisStart, Route]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        metrics = Metrics()
        self.client = AriClient(
            "http://asterisk.test", USER, PASSWORD, "agentd", self.asterisk.rest(metrics), metrics, self.on_call
        )

    def on_call(self, start: StasisStart) -> None:
        self.calls.append((start, self.client.route(start.channel.id)))

    def hears(self, *events: Event) -> None:
        for event in events:
            self.client._dispatch(event)

    def sample(self, name: str) -> float:
        return self.client.metrics.registry.get_sample_value(f"agentd_{name}") or 0.0


@pytest.fixture
def house() -> House:
    asterisk = FakeAsterisk()
    for channel in (ALICE, BOB):
        asterisk.enter(channel)
    return House(asterisk)


async def told(route: Route) -> list[Event]:
    """The events that wait for a call."""
    events: list[Event] = []
    with trio.move_on_after(0.01):
        while True:
            events.append(await route.receive())
    return events


def ends(events: Sequence[Event]) -> list[str]:
    return [event.channel.id for event in events if isinstance(event, StasisEnd | ChannelDestroyed)]


@asynccontextmanager
async def paying(house: House) -> AsyncIterator[None]:
    """What is owed is paid while the block runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.client.hand_backs.run)
        yield
        nursery.cancel_scope.cancel()


# --- a second start


async def test_a_start_that_is_told_twice_was_two_calls_on_one_channel(house: House) -> None:
    house.hears(enters(), enters())
    assert len(house.calls) == 1
    assert house.sample("ari_events_ignored_total") == 1


async def test_a_call_whose_caller_came_back_without_an_end_went_on_for_ever(
    house: House, autojump_clock: object
) -> None:
    """The end of the first stay was lost."""
    house.hears(enters(), enters(at=12.0), DtmfReceived(Channel(ALICE), "5"))
    (_, first), (_, second) = house.calls
    assert ends(await told(first)) == [ALICE]
    assert await told(second) == [DtmfReceived(Channel(ALICE), "5")]
    first.close()
    assert house.client.routes == {ALICE: second}


async def test_the_late_end_of_the_stay_before_has_asterisk_asked(house: House, autojump_clock: object) -> None:
    house.hears(enters(), enters(at=12.0), StasisEnd(Channel(ALICE), 11.5))
    assert not await told(house.calls[1][1])
    assert house.client._doubt.is_set()


# --- another channel takes the caller's place


async def test_the_call_goes_on_with_the_channel_that_took_the_place(house: House, autojump_clock: object) -> None:
    house.hears(enters(), takes_place(), StasisEnd(Channel(ALICE), 21.0), ChannelDestroyed(Channel(ALICE)))
    ((_, route),) = house.calls
    assert (route.caller, list(house.client.routes)) == (BOB, [BOB])
    (event,) = await told(route)
    assert isinstance(event, StasisStart)
    assert event.args == ARGS
    house.hears(DtmfReceived(Channel(BOB), "1"), StasisEnd(Channel(BOB), 30.0))
    assert await told(route) == [DtmfReceived(Channel(BOB), "1"), StasisEnd(Channel(BOB), 30.0)]


async def test_a_playback_that_began_on_the_channel_before_is_still_heard_of(
    house: House, autojump_clock: object
) -> None:
    """Its target stays the channel on which it began (Asterisk 22 res/res_stasis_playback.c, `playback_create`)."""
    finished = PlaybackFinished("agentd-play-1", Channel(ALICE), "done")
    house.hears(enters(), takes_place(), StasisEnd(Channel(ALICE), 21.0), finished)
    assert (await told(house.calls[0][1]))[1:] == [finished]


@pytest.mark.parametrize("destination", [None, Destination("from-internal", "200")])
async def test_it_is_handed_back_to_where_the_other_would_have_gone_on(
    house: House, destination: Destination | None
) -> None:
    house.hears(enters(), takes_place())
    async with paying(house):
        assert await house.calls[0][1].leave("completed", destination)
    place = "7002@agentd-call,3" if destination is None else "200@from-internal"
    assert (house.asterisk.continued, house.asterisk.went_to) == ([BOB], {BOB: place})
    given = {} if destination else {"AGENTD_FALLBACK": "queue-sales,s,1"}
    assert house.asterisk.variables[BOB] == {"AGENTD_RESULT": "completed", "AGENTD_WAY_BACK": "", **given}


async def test_a_transfer_that_is_refused_sends_it_to_where_the_other_would_have_gone_on(house: House) -> None:
    house.hears(enters(), takes_place())
    house.asterisk.rule("POST /channels/*/continue", Answer.refusal(400, "no such place"), times=1)
    async with paying(house):
        assert await house.calls[0][1].leave("transferred", Destination("from-internal", "200"))
    assert house.asterisk.went_to == {BOB: "7002@agentd-call,3"}
    assert house.asterisk.variables[BOB]["AGENTD_RESULT"] == "failed:transfer"


@pytest.mark.parametrize("before_its_answer", [True, False])
async def test_what_is_owed_goes_over_to_the_channel_that_took_the_place(
    house: House, before_its_answer: bool, autojump_clock: object
) -> None:
    """Asterisk answers 404 for the one that was replaced: that settles nothing."""

    async def replaced(_request: Request) -> Answer:
        house.asterisk.gone(ALICE)
        if before_its_answer:
            house.hears(takes_place(), StasisEnd(Channel(ALICE), 21.0))
        return Answer.refusal(404, "Channel not found")

    house.hears(enters())
    house.asterisk.rule(f"POST /channels/{ALICE}/continue", replaced)
    ((_, route),) = house.calls
    async with paying(house):
        left = await route.leave("completed")
        if before_its_answer:
            assert left
            assert len(house.calls) == 1
            assert house.asterisk.continued == [BOB]
        else:  # she counts as gone; who took her place is another call, with the same agent
            assert not left
            route.close()
            house.hears(takes_place(), StasisEnd(Channel(ALICE), 21.0))
            assert [start.args for start, _ in house.calls] == [ARGS, ARGS]
        assert not house.client.hand_backs.channels


async def test_the_place_of_a_caller_whose_call_has_ended_is_taken_by_a_call_that_inherits(
    house: House, autojump_clock: object
) -> None:
    """End and start in the wrong order."""
    house.hears(enters(), StasisEnd(Channel(ALICE), 21.0), takes_place())
    (_, first), (second, route) = house.calls
    assert ends(await told(first)) == [ALICE]
    assert (second.channel.id, second.args, second.channel.extension) == (BOB, ARGS, "7002")
    async with paying(house):
        assert await route.leave("completed")
    assert house.asterisk.went_to == {BOB: "7002@agentd-call,3"}


async def test_a_reconciliation_hands_it_back_to_the_same_place(house: House) -> None:
    house.hears(enters(), takes_place())
    house.calls[0][1].close()
    async with paying(house):
        await house.client.hand_backs.see_through(house.client.hand_backs.owe(BOB, "failed:internal"))
    assert house.asterisk.went_to == {BOB: "7002@agentd-call,3"}


# --- whatever comes, however often, in whatever order


CHANNELS = (ALICE, BOB, CAROL)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A true history of three channels that come, go, and take each other's place."""
    inside: set[str] = set()
    gone: set[str] = set()
    events: list[Event] = []
    for step in range(draw(st.integers(1, 14))):
        at = 10.0 + step
        free = sorted(set(CHANNELS) - inside - gone)
        what = draw(st.sampled_from(["enter", "leave", "replace", "digit", "destroy"]))
        if what == "enter" and free:
            channel = draw(st.sampled_from(free))
            inside.add(channel)
            events.append(enters(channel, at))
        elif what == "replace" and free and inside:
            channel, replaced = draw(st.sampled_from(free)), draw(st.sampled_from(sorted(inside)))
            inside = inside - {replaced} | {channel}
            gone.add(replaced)
            events += [takes_place(channel, replaced, at), StasisEnd(Channel(replaced), at + 0.001)]
        elif inside:
            channel = draw(st.sampled_from(sorted(inside)))
            if what == "digit":
                events.append(DtmfReceived(Channel(channel), str(step % 10)))
            else:
                inside.discard(channel)
                events.append(StasisEnd(Channel(channel), at))
                if what == "destroy":
                    gone.add(channel)
                    events.append(ChannelDestroyed(Channel(channel)))
    return events


def in_trio(test: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
    trio.run(partial(test, *args), clock=trio.testing.MockClock(autojump_threshold=0))


@unhurried
@given(histories())
def test_a_true_history_gives_each_stay_one_call_that_ends_with_it(events: list[Event]) -> None:
    in_trio(_true_history, events)


async def _true_history(events: list[Event]) -> None:
    house = House(FakeAsterisk())
    house.hears(*events)
    entered = [event for event in events if isinstance(event, StasisStart) and event.replaces is None]
    assert [(start.channel.id, start.at) for start, _ in house.calls] == [(one.channel.id, one.at) for one in entered]
    replaced = [event for event in events if isinstance(event, StasisStart) and event.replaces is not None]
    assert house.sample("ari_events_ignored_total") == len(replaced), "each one's end, of which nothing is left to end"
    inside = {route.caller for _, route in house.calls if not ends(await told(route))}
    now: set[str] = set()
    for event in events:
        if isinstance(event, StasisStart):
            now.add(event.channel.id)
        elif isinstance(event, StasisEnd):
            now.discard(event.channel.id)
    assert inside == now


@unhurried
@given(histories(), st.data())
def test_events_lost_doubled_and_out_of_order_give_no_stay_two_calls_and_no_channel_two_live_ones(
    events: list[Event], data: st.DataObject
) -> None:
    kept = [event for event in events if not data.draw(st.booleans(), label="lost")]
    doubled = [event for event in kept for _ in range(data.draw(st.integers(1, 2), label="times"))]
    in_trio(_any_order, data.draw(st.permutations(doubled)))


async def _any_order(events: list[Event]) -> None:
    house = House(FakeAsterisk())
    live: dict[int, list[Event]] = {}
    for event in events:
        house.hears(event)
        for number, (_, route) in enumerate(house.calls):
            live.setdefault(number, []).extend(await told(route))
        of_channel = Counter(route.caller for number, (_, route) in enumerate(house.calls) if not ends(live[number]))
        assert not of_channel or max(of_channel.values()) == 1, "no channel has two live calls"
        assert all(house.client.routes.get(channel) is not None for channel in of_channel), "and each hears of it"
    stays = Counter((start.channel.id, start.at) for start, _ in house.calls)
    assert not stays or max(stays.values()) == 1, "no stay has two calls"
    assert all(ends(told_of).count(channel) <= 2 for told_of in live.values() for channel in CHANNELS)


@unhurried
@given(histories(), st.data())
def test_nothing_is_handed_back_twice(events: list[Event], data: st.DataObject) -> None:
    """Each call hands its caller back as soon as it begins; events come doubled and lost meanwhile."""
    kept = [event for event in events if not data.draw(st.booleans(), label="lost")]
    in_trio(_handed_back, [event for event in kept for _ in range(data.draw(st.integers(1, 2), label="times"))])


async def _handed_back(events: list[Event]) -> None:
    house = House(FakeAsterisk())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.client.hand_backs.run)
        stays = 0
        for event in events:
            if isinstance(event, StasisStart):
                house.asterisk.enter(event.channel.id)
            house.hears(event)
            for _, route in house.calls[stays:]:
                nursery.start_soon(route.leave, "completed")
            stays = len(house.calls)
            await trio.sleep(0.01)
        with trio.fail_after(3600):
            await house.client.hand_backs.nothing_owed()
        nursery.cancel_scope.cancel()
    assert len(house.asterisk.continued) <= len(house.calls)
