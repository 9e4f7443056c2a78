"""One look at the PBX for all calls: what does not fit is put right, whatever events were lost."""

from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.ari.client import AriClient
from agentd.ari.events import Channel, StasisEnd, StasisStart
from agentd.ari.reconciler import LOOK_DEADLINE, MOST_AT_A_LOOK, SURE_AFTER
from agentd.conversation.commands import Destination
from agentd.errors import AriRejected
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer
from agentd.testing._asterisk import FakeAsterisk

CALLER, OTHER = "1700000000.1", "1700000000.2"


@pytest.fixture
def asterisk() -> FakeAsterisk:
    return FakeAsterisk()


@pytest.fixture
def client(asterisk: FakeAsterisk) -> AriClient:
    metrics = Metrics()
    return AriClient(
        "http://asterisk.test", USER, PASSWORD, "agentd", asterisk.rest(metrics), metrics, lambda start: None
    )


async def twice(client: AriClient) -> None:
    await client.reconciler.look(ours=True)
    await trio.sleep(SURE_AFTER)
    await client.reconciler.look(ours=True)


async def told(client: AriClient, caller: str) -> bool:
    """Whether the call was told that its caller has left."""
    with trio.move_on_after(0.1):
        return await client.routes[caller].receive() == StasisEnd(Channel(caller))
    return False


async def test_who_put_the_call_through_is_let_go_and_not_handed_back(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    """A blind transfer by the caller's telephone: Asterisk puts a Local channel in its place, and leaves its own in the
    application (measured on 22.10.1). It went to the fallback, as the caller of a call that had failed."""
    asterisk.enter(CALLER)
    client._dispatch(StasisStart(Channel(CALLER), (), 10.0))
    with_call = client.route(CALLER)
    asterisk.enter(OTHER)
    client._dispatch(StasisStart(Channel(OTHER), (), 20.0, Channel(CALLER)))
    assert client._doubt.is_set(), "it is looked at soon"
    await twice(client)
    assert set(asterisk.channels) == {OTHER}
    assert not asterisk.continued
    assert not client.hand_backs.channels
    with_call.close()


def puts_in_place(asterisk: FakeAsterisk) -> None:
    """OTHER has taken a caller's place, where Asterisk has a Local channel begin that has no dialplan."""
    asterisk.enter(OTHER)
    asterisk.channels[OTHER]["dialplan"].update(context="transfer", exten="_attended", priority=1)


@pytest.mark.parametrize(("note", "goes_on"), [("agentd-call,7600,5", "7600@agentd-call,5"), ("", "s@agentd-return")])
async def test_a_successor_whose_start_was_lost_goes_on_where_there_is_a_dialplan(
    note: str, goes_on: str, asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    """It went on in place, which was its end."""
    puts_in_place(asterisk)
    asterisk.variables[OTHER] = {"AGENTD_WAY_BACK": note} if note else {}
    await hand_backs(client)
    assert asterisk.went_to == {OTHER: goes_on}
    assert asterisk.variables[OTHER] == {"AGENTD_RESULT": "failed:internal", "AGENTD_WAY_BACK": ""}


async def test_a_successor_that_cannot_be_asked_for_its_note_goes_on_as_all_who_come_back(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    puts_in_place(asterisk)
    asterisk.rule("GET */variable", Answer.refusal(503, "busy"), times=1)
    await hand_backs(client)
    assert asterisk.went_to == {OTHER: "s@agentd-return"}


async def hand_backs(client: AriClient) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.hand_backs.run)
        await twice(client)
        await client.hand_backs.nothing_owed()
        nursery.cancel_scope.cancel()


async def test_calls_that_are_gone_end_and_calls_that_live_go_on(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    asterisk.enter(OTHER)
    gone, alive = client.route(CALLER), client.route(OTHER)
    await client.reconciler.look(ours=True)
    assert await told(client, CALLER)
    assert not await told(client, OTHER)
    assert asterisk.subscribed == [], "Asterisk counts subscriptions, and ends only its own when the caller leaves"
    gone.close()
    alive.close()


async def test_a_caller_who_went_on_elsewhere_has_left_whatever_events_were_lost(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    route = client.route(CALLER)
    asterisk.gone_on(CALLER)
    await client.reconciler.look(ours=True)
    await client.reconciler.look(ours=True)
    assert not await told(client, CALLER), "not after two looks in one moment"
    await trio.sleep(SURE_AFTER)
    await client.reconciler.look(ours=True)
    assert await told(client, CALLER)
    route.close()


async def test_a_hundred_calls_take_one_listing(asterisk: FakeAsterisk, client: AriClient) -> None:
    routes = []
    for number in range(100):
        asterisk.enter(f"1700000000.{number}")
        routes.append(client.route(f"1700000000.{number}"))
    await client.reconciler.look(ours=True)
    assert asterisk.asked() == ["GET /channels", "GET /applications/agentd", "GET /bridges"]
    for route in routes:
        route.close()


@pytest.mark.parametrize("gone", [False, True])
async def test_calls_that_asterisk_forgot_with_the_application_are_watched_again(
    gone: bool, asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.in_app.clear()
    if gone:  # between two requests
        asterisk.rule("POST /applications/*", Answer.refusal(422, "no such channel"))
    route = client.route(CALLER)
    await client.reconciler.look(ours=True)
    assert asterisk.subscribed == ([] if gone else [f"channel:{CALLER}"])
    assert not await told(client, CALLER)
    route.close()


async def test_leg_channels_and_bridges_that_nobody_owns_are_removed(asterisk: FakeAsterisk, client: AriClient) -> None:
    owned = [client.leg_id(part, "00") for part in ("bridge", "snoop", "media")]
    left = [client.leg_id(part, "ff") for part in ("bridge", "snoop", "media")]
    asterisk.enter(CALLER)
    for channel_id in (owned[1], owned[2], left[1], left[2]):
        asterisk.enter(channel_id)
    for stranger in ("agentd-2-leg-media-1", "PJSIP-bob"):
        asterisk.enter(stranger)
        asterisk.gone_on(stranger)
    for bridge in (owned[0], left[0], "a-conference"):
        asterisk.bridges[bridge] = set()
    route = client.route(CALLER)
    for part in owned:
        route.owns(part)
    await client.reconciler.look(ours=True)
    assert set(asterisk.channels) == {CALLER, owned[1], owned[2], "agentd-2-leg-media-1", "PJSIP-bob"}
    assert set(asterisk.bridges) == {owned[0], "a-conference"}
    route.close()


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(500, "no")])
async def test_what_cannot_be_removed_is_tried_again_before_the_next_look_and_keeps_nothing_else(
    answer: Answer, asterisk: FakeAsterisk, client: AriClient, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    legs = [client.leg_id("media", str(number)) for number in range(3)]
    for leg in legs:
        asterisk.enter(leg)
    asterisk.rule(f"DELETE /channels/{legs[0]}", answer, times=1)
    await client.reconciler.look(ours=True)
    assert set(asterisk.channels) == {legs[0]}
    await client.reconciler.look(ours=True)
    assert len(asterisk.asked(f"DELETE /channels/{legs[0]}")) == 1, "a look leaves it to who tries it again"
    nursery.start_soon(client.removals.run)
    await trio.sleep(0.5)
    assert not asterisk.channels
    assert not client.removals.ids


async def test_a_call_that_ends_while_it_is_being_reconciled_does_not_end_the_daemon(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.enter(OTHER)
    asterisk.slow("GET *", 1.0)
    routes = [client.route(CALLER), client.route(OTHER), client.route("a third")]

    async def end_calls() -> None:
        await trio.sleep(0.5)
        for route in routes:
            route.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_calls)
        await client.reconciler.look(ours=True)


async def test_a_caller_that_no_call_owns_is_handed_back_after_a_moment(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    late = "1700000000.3"
    for channel_id in (CALLER, OTHER, late, client.leg_id("media", "00")):
        asterisk.enter(channel_id)
    routes = [client.route(OTHER)]

    async def start_late() -> None:
        await trio.sleep(SURE_AFTER / 2)
        routes.append(client.route(late))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start_late)
        nursery.start_soon(client.hand_backs.run)
        await twice(client)
        await client.hand_backs.nothing_owed()
        nursery.cancel_scope.cancel()
    assert asterisk.continued == [CALLER]
    assert asterisk.variables == {CALLER: {"AGENTD_RESULT": "failed:internal"}}
    for route in routes:
        route.close()


async def test_a_caller_who_was_handed_over_is_nobody_s_to_watch(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    route = client.route(CALLER)
    route.owns("agentd-leg-media-1")
    assert await route.leave("transferred", Destination("from-internal", "200"))
    client._dispatch(StasisEnd(Channel(CALLER)))
    await twice(client)
    assert asterisk.subscribed == []
    assert not asterisk.asked("DELETE *")
    assert asterisk.went_to == {CALLER: "200@from-internal"}
    route.close()


async def test_what_is_owed_to_a_channel_that_is_gone_is_forgotten(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    debt = client.hand_backs.owe(CALLER, "completed")
    await client.reconciler.look(ours=True)
    assert debt.settled.is_set()
    assert not client.hand_backs.channels


async def test_an_asterisk_that_cannot_be_asked_has_not_said_that_anybody_is_gone(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    route = client.route(CALLER)
    asterisk.rule("GET /bridges", Answer.refusal(500, "no"), times=1)
    with pytest.raises(AriRejected):
        await client.reconciler.look(ours=True)
    assert not await told(client, CALLER)
    route.close()


async def test_a_look_is_bounded_in_time_and_requests_and_beats_meanwhile(
    asterisk: FakeAsterisk, client: AriClient, autojump_clock: MockClock
) -> None:
    beats: list[float] = []
    client.beat = lambda: beats.append(trio.current_time())
    for number in range(200):
        asterisk.enter(client.leg_id("media", str(number)))
    asterisk.slow("DELETE *", 0.1)
    await client.reconciler.look(ours=True)
    assert len(asterisk.asked("DELETE *")) == MOST_AT_A_LOOK
    asterisk.slow("DELETE *", 4.0)
    started = trio.current_time()
    with structlog.testing.capture_logs() as logs:
        await client.reconciler.look(ours=True)
    assert trio.current_time() - started <= LOOK_DEADLINE + 5.0, "the last request is waited for"
    assert "Asterisk takes too long to be looked at" in [entry["event"] for entry in logs]
    assert max(later - earlier for earlier, later in pairwise(beats)) <= 5.0
