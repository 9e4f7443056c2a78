"""The way out of the application: a hand-back stays owed until Asterisk says that nothing is left to hand back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, DtmfReceived, StasisEnd, StasisStart
from agentd.ari.hand_back import LONGEST_PAUSE
from agentd.ari.owed import AT_ONCE
from agentd.ari.route import LEAVE_DEADLINE, Route
from agentd.conversation.commands import Destination
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request
from agentd.testing._asterisk import FakeAsterisk

CALLER = "1700000000.1"
SALES = Destination("from-internal", "200")


@pytest.fixture
def asterisk() -> FakeAsterisk:
    asterisk = FakeAsterisk()
    asterisk.enter(CALLER)
    return asterisk


@attrs.define
class Desk:
    asterisk: FakeAsterisk
    client: AriClient

    @property
    def owed(self) -> float:
        return self.client.metrics.registry.get_sample_value("agentd_hand_backs_owed") or 0.0


@asynccontextmanager
async def paying(asterisk: FakeAsterisk) -> AsyncIterator[Desk]:
    """What is owed is paid while the block runs, and all of it is paid in the end."""
    metrics = Metrics()
    client = AriClient(
        "http://asterisk.test", USER, PASSWORD, "agentd", asterisk.rest(metrics), metrics, lambda start: None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.hand_backs.run)
        desk = Desk(asterisk, client)
        yield desk
        with trio.fail_after(3600):
            await client.hand_backs.nothing_owed()
        assert desk.owed == 0
        nursery.cancel_scope.cancel()


# --- a hand-back that goes well


async def test_a_channel_is_handed_back_with_its_result(asterisk: FakeAsterisk) -> None:
    async with paying(asterisk) as desk:
        assert await desk.client.route(CALLER).leave("completed")
        assert asterisk.asked() == [f"POST /channels/{CALLER}/variable", f"POST /channels/{CALLER}/continue"]
        assert asterisk.variables[CALLER] == {"AGENTD_RESULT": "completed"}


@pytest.mark.parametrize("handed_over_first", [True, False])
async def test_a_caller_who_is_transferred_to_an_extension_of_ours_becomes_a_call_again(
    asterisk: FakeAsterisk, handed_over_first: bool
) -> None:
    async with paying(asterisk) as desk:
        client, calls = desk.client, list[Route]()
        client.on_call = lambda start: calls.append(client.route(start.channel.id))
        first = client.route(CALLER)
        if handed_over_first:
            await first.leave("transferred", Destination("agentd", "7001"))
        client._dispatch(StasisEnd(Channel(CALLER)))
        client._dispatch(StasisStart(Channel(CALLER), ()))  # the call before has not noticed yet
        first.close()
        client._dispatch(DtmfReceived(Channel(CALLER), "5"))
        (second,) = calls
        assert await second.receive() == DtmfReceived(Channel(CALLER), "5")
        second.close()
        assert not client.routes


async def test_a_caller_is_handed_over_once_and_then_left_alone(asterisk: FakeAsterisk) -> None:
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        assert await route.leave("transferred", SALES)
        asked = asterisk.asked()
        assert not await route.leave("failed:internal")
        assert asterisk.asked() == asked
        route.close()


async def test_a_hand_over_is_whole_also_when_the_call_is_cancelled_meanwhile(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    async with paying(asterisk) as desk:
        asterisk.slow("POST */variable", 1.0)
        route = desk.client.route(CALLER)
        with trio.move_on_after(0.5):
            await route.leave("transferred", SALES)
        assert route.left
        assert asterisk.went_to == {CALLER: "200@from-internal"}
        route.close()


# --- and one that does not

FAULTS: dict[str, Answer | Callable[[FakeAsterisk], Callable[[Request], Awaitable[Answer | None]]]] = {
    "dropped": Answer(drop=True),
    **{
        f"refused with {status}": Answer.refusal(status, "no")
        for status in (400, 401, 403, 412, 422, 500, 501, 503, 504)
    },
}


async def late(_request: Request) -> Answer | None:
    await trio.sleep(30.0)
    return None


@pytest.mark.parametrize("request_", ["variable", "continue"])
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("fault", [*FAULTS, "late", "carried out but not answered"])
@pytest.mark.parametrize("destination", [None, SALES])
async def test_whatever_becomes_of_its_requests_the_caller_is_handed_back(
    destination: Destination | None,
    fault: str,
    times: int,
    request_: str,
    asterisk: FakeAsterisk,
    autojump_clock: MockClock,
) -> None:
    async def unheard(request: Request) -> Answer:
        asterisk._obey(request)
        return Answer(drop=True)

    act = {"late": late, "carried out but not answered": unheard}.get(fault) or FAULTS[fault]
    asterisk.rule(f"POST */{request_}", act, times=times)  # type: ignore[arg-type]
    async with paying(asterisk) as desk:
        await desk.client.route(CALLER).leave("completed" if destination is None else "transferred", destination)
    assert asterisk.continued == [CALLER]


async def test_a_call_that_is_cancelled_loses_no_hand_back(asterisk: FakeAsterisk, autojump_clock: MockClock) -> None:
    asterisk.rule("POST */continue", Answer.refusal(503, "not now"), times=5)
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        with trio.move_on_after(0.5):
            await route.leave("completed")
        route.close()
        assert desk.owed == 1
        assert not asterisk.continued
    assert asterisk.continued == [CALLER]


async def test_a_call_does_not_wait_for_ever_for_a_hand_back_that_stays_owed(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("POST */continue", Answer.refusal(403, "Write access denied"))
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        with structlog.testing.capture_logs() as logs:
            assert not await route.leave("completed")
        assert trio.current_time() == pytest.approx(LEAVE_DEADLINE, abs=1.0)
        assert not route.left
        route.close()
        await trio.sleep(600.0)
        assert desk.owed == 1
        told = [entry for entry in logs if "cannot be handed back yet" in entry["event"]]
        assert len(told) == 1, "once"
        assert "read_only = no" in told[0]["remedy"]
        asterisk.rules.clear()
        await trio.sleep(LONGEST_PAUSE)
        assert asterisk.continued == [CALLER]


async def test_a_call_sees_its_hand_back_through_where_nobody_else_does(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    metrics = Metrics()
    rest = asterisk.rest(metrics)
    client = AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None)
    asterisk.rule("POST */continue", Answer.refusal(503, "not now"), times=4)
    route = client.route(CALLER)
    assert await route.leave("shutdown")
    assert asterisk.continued == [CALLER]
    route.close()


async def test_whoever_asks_again_waits_for_what_is_owed_yet(asterisk: FakeAsterisk, autojump_clock: MockClock) -> None:
    asterisk.rule("POST */continue", Answer.refusal(503, "not now"), times=4)
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        with trio.move_on_after(0.1):
            await route.leave("completed")
        assert not asterisk.continued
        await route.leave("failed:internal")
        assert asterisk.variables[CALLER] == {"AGENTD_RESULT": "completed"}
        assert route.left


@pytest.mark.parametrize("status", [404, 409])
async def test_nothing_is_owed_to_a_channel_that_is_gone_or_no_longer_ours(
    status: int, asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("POST *", Answer.refusal(status, "left"))
    async with paying(asterisk) as desk:
        assert not await desk.client.route(CALLER).leave("completed")
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("event", [StasisEnd(Channel(CALLER)), ChannelDestroyed(Channel(CALLER), 16)])
async def test_nothing_is_owed_once_the_channel_has_left(
    event: StasisEnd | ChannelDestroyed, asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("POST *", Answer.refusal(403, "Write access denied"))
    async with paying(asterisk) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.client.route(CALLER).leave, "completed")
            await trio.sleep(1.0)
            assert desk.owed == 1
            desk.client._dispatch(event)
        assert trio.current_time() == 1.0, "and nobody waits for it any longer"


async def test_a_caller_who_comes_back_is_another_call_s_and_not_handed_back_for_the_first_one(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("POST */continue", Answer(drop=True))
    async with paying(asterisk) as desk:
        first = desk.client.route(CALLER)
        with trio.move_on_after(1.0):
            await first.leave("completed")
        first.close()
        assert desk.owed == 1
        asterisk.rules.clear()
        desk.client._dispatch(StasisStart(Channel(CALLER)))
        assert desk.owed == 0
        await trio.sleep(60.0)
        assert not asterisk.continued


async def test_the_oldest_are_handed_back_first_and_some_at_a_time(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    callers = [f"1700000000.{number:03}" for number in range(100)]
    at_work = most = 0

    async def slowly(_request: Request) -> None:
        nonlocal at_work, most
        at_work, most = at_work + 1, max(most, at_work + 1)
        await trio.sleep(0.1)
        at_work -= 1

    asterisk.rule("POST *", slowly)
    async with paying(asterisk) as desk:
        for caller in callers:
            asterisk.enter(caller)
            desk.client.hand_backs.owe(caller, "refused:busy")
            await trio.sleep(0.001)
        assert desk.owed > 90
    assert asterisk.continued == callers
    assert most == AT_ONCE


async def test_an_asterisk_that_is_away_for_an_hour_is_asked_now_and_then(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("*", Answer(drop=True))
    async with paying(asterisk) as desk:
        desk.client.hand_backs.owe(CALLER, "completed")
        await trio.sleep(3600.0)
        assert len(asterisk.requests) < 2 * 3600 / LONGEST_PAUSE + 50
        asterisk.rules.clear()
    assert asterisk.continued == [CALLER]


# --- transfers


@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_transfer_that_is_refused_goes_on_where_the_caller_came_from_and_says_so(
    status: int, asterisk: FakeAsterisk
) -> None:
    asterisk.rule("POST */continue", Answer.refusal(status, "No such context"), times=1)
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        with structlog.testing.capture_logs() as logs:
            assert await route.leave("transferred", SALES)
        assert route.owed is not None
        assert route.owed.ended_with == "failed:transfer"
    assert (asterisk.continued, asterisk.went_to) == ([CALLER], {})
    assert asterisk.variables == {CALLER: {"AGENTD_RESULT": "failed:transfer"}}
    assert [entry["destination"] for entry in logs if entry["event"] == "the transfer failed"] == ["200@from-internal"]
    assert "transferred" not in [entry["event"] for entry in logs]


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(503, "not now"), Answer.refusal(403, "no")])
async def test_a_transfer_that_asterisk_has_not_refused_is_tried_again(
    answer: Answer, asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("POST */continue", answer, times=2)
    async with paying(asterisk) as desk:
        assert await desk.client.route(CALLER).leave("transferred", SALES)
    assert asterisk.went_to == {CALLER: "200@from-internal"}
    assert asterisk.variables == {CALLER: {"AGENTD_RESULT": "transferred"}}


async def test_a_transfer_that_was_carried_out_but_not_answered_is_a_transfer(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    async def unheard(request: Request) -> Answer:
        asterisk._obey(request)
        return Answer(drop=True)

    asterisk.rule("POST */continue", unheard, times=1)
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        assert await route.leave("transferred", SALES)
        assert route.owed is not None
        assert route.owed.ended_with == "transferred"
    assert asterisk.went_to == {CALLER: "200@from-internal"}
    assert asterisk.variables == {CALLER: {"AGENTD_RESULT": "transferred"}}


async def test_a_caller_who_hangs_up_before_the_transfer_was_not_transferred(asterisk: FakeAsterisk) -> None:
    asterisk.gone(CALLER)
    async with paying(asterisk) as desk:
        route = desk.client.route(CALLER)
        assert not await route.leave("transferred", SALES)
        await wait_all_tasks_blocked()
        assert route.owed is not None
        assert route.owed.ended_with == "caller-hung-up"
