"""The ARI event stream: order, loss, reconnection and reconciliation."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from agentd.ari import client as client_module
from agentd.ari.client import ORPHAN_PATIENCE, ROUTE_QUEUE, AriClient, Resync, Route
from agentd.ari.events import Channel, DtmfReceived, Event, Other, StasisEnd, StasisStart
from agentd.ari.rest import open_rest
from agentd.conversation.commands import Destination
from agentd.errors import WebSocketError
from agentd.metrics import Metrics
from agentd.testing._asterisk import PASSWORD, USER, Answer, FakeAsterisk
from agentd.testing.clock import until

pytestmark = pytest.mark.loopback

CALLER, OTHER = "1700000000.1", "1700000000.2"
PATIENCE = 5.0
"""Real seconds until a test that hangs is given up."""


def channel(channel_id: str = CALLER) -> dict[str, object]:
    return {"id": channel_id, "name": "PJSIP/alice-1", "state": "Up"}


def digit(pressed: str, channel_id: str = CALLER) -> DtmfReceived:
    return DtmfReceived(Channel(channel_id), pressed)


def digits(events: list[Event | Resync]) -> list[str]:
    return [event.digit for event in events if isinstance(event, DtmfReceived)]


def in_memory(asterisk: FakeAsterisk, **settings: Any) -> AriClient:
    metrics = Metrics()
    rest = asterisk.rest(metrics)
    return AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None, **settings)


@pytest.fixture
def asterisk() -> FakeAsterisk:
    return FakeAsterisk()


def sample(client: AriClient, name: str) -> float:
    return client.metrics.registry.get_sample_value(f"agentd_{name}") or 0.0


# --- routes, in memory


async def test_events_of_one_channel_arrive_in_order(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    route = client.route(CALLER)
    for pressed in "123456":
        client._dispatch(digit(pressed))
    assert [await route.receive() for _ in range(6)] == [digit(pressed) for pressed in "123456"]
    route.close()


async def test_a_route_gets_the_events_of_the_channels_that_it_owns_and_no_others(
    asterisk: FakeAsterisk,
) -> None:
    client = in_memory(asterisk)
    route, other = client.route(CALLER), client.route(OTHER)
    route.owns("agentd-leg-snoop-1")
    client._dispatch(digit("1", "agentd-leg-snoop-1"))
    client._dispatch(digit("2", OTHER))
    client._dispatch(digit("3", "somebody else"))
    client._dispatch(Other("PeerStatusChange"))
    assert await route.receive() == digit("1", "agentd-leg-snoop-1")
    assert await other.receive() == digit("2", OTHER)
    route.disowns("agentd-leg-snoop-1")
    client._dispatch(digit("4", "agentd-leg-snoop-1"))
    client._dispatch(digit("5"))
    assert await route.receive() == digit("5")
    route.close()
    other.close()
    assert client.routes == {}


async def test_an_overflow_is_counted_and_answered_with_one_resync_after_what_was_kept(
    asterisk: FakeAsterisk,
) -> None:
    client = in_memory(asterisk)
    route = client.route(CALLER)
    for n in range(ROUTE_QUEUE + 7):
        client._dispatch(digit(str(n)))
    received = [await route.receive() for _ in range(ROUTE_QUEUE + 1)]
    assert received == [*(digit(str(n)) for n in range(ROUTE_QUEUE)), Resync()]
    assert sample(client, "ari_events_dropped_total") == 7
    client._dispatch(digit("next"))
    assert await route.receive() == digit("next")
    route.close()


async def test_a_channel_that_is_nobody_s_becomes_a_call(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    calls: list[StasisStart] = []
    client.on_call = calls.append
    start = StasisStart(Channel(CALLER), ("agent=default",))
    client._dispatch(start)
    client._dispatch(StasisStart(Channel(client.leg_id("media", "00ff"))))
    assert calls == [start], "a leg's own channel is no caller"


async def test_a_closed_route_gets_nothing_more(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    calls: list[StasisStart] = []
    client.on_call = calls.append
    route = client.route(CALLER)
    route.close()
    client._dispatch(StasisEnd(Channel(CALLER)))
    client._dispatch(digit("1"))
    assert not calls


# --- reconciliation, in memory


async def test_calls_that_are_gone_end_and_calls_that_live_look_after_what_they_missed(asterisk: FakeAsterisk) -> None:
    asterisk.enter(OTHER)
    client = in_memory(asterisk)
    gone, alive = client.route(CALLER), client.route(OTHER)
    await client._reconcile()
    assert await gone.receive() == StasisEnd(Channel(CALLER))
    assert await alive.receive() == Resync()
    assert asterisk.subscribed == [], "Asterisk counts subscriptions, and ends only its own when the caller leaves"
    gone.close()
    alive.close()


@pytest.mark.parametrize("gone", [False, True])
async def test_calls_that_asterisk_forgot_with_the_application_are_watched_again(
    gone: bool, asterisk: FakeAsterisk
) -> None:
    asterisk.enter(CALLER)
    asterisk.in_app.clear()
    if gone:  # between two requests
        asterisk.rule("POST /applications/*", Answer.refusal(422, "no such channel"))
    client = in_memory(asterisk)
    route = client.route(CALLER)
    await client._reconcile()
    assert await route.receive() == Resync(), "which finds out whether the caller is there"
    assert asterisk.subscribed == ([] if gone else [f"channel:{CALLER}"])
    route.close()


async def test_leg_channels_and_bridges_that_nobody_owns_are_removed(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    owned = [client.leg_id(part, "00") for part in ("bridge", "snoop", "media")]
    left = [client.leg_id(part, "ff") for part in ("bridge", "snoop", "media")]
    asterisk.enter(CALLER)
    for channel_id in (owned[1], owned[2], left[1], left[2], "agentd-2-leg-media-1", "PJSIP-bob"):
        asterisk.enter(channel_id)
    for bridge in (owned[0], left[0], "a-conference"):
        asterisk.bridges[bridge] = set()
    route = client.route(CALLER)
    for part in owned:
        route.owns(part)
    await client._reconcile()
    assert set(asterisk.channels) == {CALLER, owned[1], owned[2], "agentd-2-leg-media-1", "PJSIP-bob"}
    assert set(asterisk.bridges) == {owned[0], "a-conference"}
    route.close()


async def test_a_call_that_ends_while_it_is_being_reconciled_does_not_end_the_daemon(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.enter(OTHER)
    asterisk.slow("POST /applications/*", 1.0)
    client = in_memory(asterisk)
    routes = [client.route(CALLER), client.route(OTHER), client.route("a third")]

    async def end_calls() -> None:
        await trio.sleep(0.5)
        for route in routes:
            route.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_calls)
        await client._reconcile()


async def test_a_caller_that_no_call_owns_is_handed_back_after_a_moment(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    client = in_memory(asterisk)
    late = "1700000000.3"
    for channel_id in (CALLER, OTHER, late, client.leg_id("media", "00")):
        asterisk.enter(channel_id)
    owned = client.route(OTHER)

    async def start_late() -> None:
        await trio.sleep(ORPHAN_PATIENCE / 2)
        routes.append(client.route(late))

    routes = [owned]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start_late)
        await client._hand_back_orphans()
    assert asterisk.continued == [CALLER]
    assert asterisk.variables == {CALLER: {"AGENTD_RESULT": "failed:internal"}}
    assert trio.current_time() == pytest.approx(ORPHAN_PATIENCE)
    for route in routes:
        route.close()


async def test_a_caller_who_was_handed_over_is_nobody_s_to_watch(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    asterisk.enter(CALLER)
    route = client.route(CALLER)
    route.owns("agentd-leg-media-1")
    assert await route.leave("transferred", Destination("from-internal", "200"))
    client._dispatch(StasisEnd(Channel(CALLER)))
    await client._reconcile()
    assert asterisk.subscribed == []
    assert not asterisk.asked("DELETE *")
    assert asterisk.went_to == {CALLER: "200@from-internal"}
    route.close()


@pytest.mark.parametrize("handed_over_first", [True, False])
async def test_a_caller_who_is_transferred_to_an_extension_of_ours_becomes_a_call_again(
    asterisk: FakeAsterisk, handed_over_first: bool
) -> None:
    client = in_memory(asterisk)
    asterisk.enter(CALLER)
    calls: list[Route] = []
    client.on_call = lambda start: calls.append(client.route(start.channel.id))
    first = client.route(CALLER)
    if handed_over_first:
        await first.leave("transferred", Destination("agentd", "7001"))
    client._dispatch(StasisEnd(Channel(CALLER)))
    client._dispatch(StasisStart(Channel(CALLER), ()))  # the call before has not noticed yet
    first.close()
    client._dispatch(digit("5"))
    (second,) = calls
    assert await second.receive() == digit("5")
    second.close()
    assert not client.routes


async def test_a_caller_is_handed_over_once_and_then_left_alone(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    asterisk.enter(CALLER)
    route = client.route(CALLER)
    assert await route.leave("transferred", Destination("from-internal", "200"))
    asked = asterisk.asked()
    assert not await route.leave("failed:internal")
    assert asterisk.asked() == asked
    route.close()


async def test_a_hand_over_is_whole_also_when_the_call_is_cancelled_meanwhile(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    client = in_memory(asterisk)
    asterisk.enter(CALLER)
    asterisk.slow("POST */variable", 1.0)
    route = client.route(CALLER)
    with trio.move_on_after(0.5):
        await route.leave("transferred", Destination("from-internal", "200"))
    assert route.left
    assert asterisk.went_to == {CALLER: "200@from-internal"}
    route.close()


@pytest.mark.parametrize("answer", [Answer.refusal(404, "No such context"), Answer(drop=True)])
async def test_a_transfer_that_fails_goes_on_where_the_caller_came_from(asterisk: FakeAsterisk, answer: Answer) -> None:
    client = in_memory(asterisk)
    asterisk.enter(CALLER)
    asterisk.rule("POST */continue", answer, times=1)
    with structlog.testing.capture_logs() as logs:
        assert await client.route(CALLER).leave("transferred", Destination("from-internal", "200"))
    assert asterisk.continued == [CALLER]
    assert asterisk.went_to == {}
    assert [entry["destination"] for entry in logs if entry["event"] == "the transfer failed"] == ["200@from-internal"]


async def test_it_waits_until_asterisk_knows_the_application(asterisk: FakeAsterisk, autojump_clock: MockClock) -> None:
    asterisk.rule("GET /applications/*", Answer.refusal(404, "Application not found"), times=5)
    await in_memory(asterisk)._registered()
    assert len(asterisk.requests) == 6


async def test_an_application_that_never_appears_ends_the_attempt(
    asterisk: FakeAsterisk, autojump_clock: MockClock
) -> None:
    asterisk.rule("GET /applications/*", Answer.refusal(404, "Application not found"))
    with pytest.raises(client_module.AriError, match="does not know the application 'agentd'"):
        await in_memory(asterisk)._registered()
    assert trio.current_time() < 3


async def test_a_stream_that_fails_while_the_daemon_ends_brings_no_error_of_its_own(
    asterisk: FakeAsterisk,
) -> None:
    asterisk.slow("GET /channels", 0.05)
    asterisk.rule("GET /channels", Answer.refusal(500, "shutting down"))
    asterisk.rules.reverse()
    async with running(asterisk) as agentd:
        await agentd.until(lambda: asterisk.asked("GET /channels"))


# --- back-off


async def test_reconnection_backs_off_exponentially_with_jitter_up_to_a_bound(
    asterisk: FakeAsterisk, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []
    beats: list[float] = []

    async def refuse(self: AriClient, again: bool) -> None:
        attempts.append(trio.current_time())
        raise WebSocketError("refused")

    monkeypatch.setattr(AriClient, "_connected", refuse)
    client = in_memory(asterisk, beat=lambda: beats.append(trio.current_time()), first_delay=0.1, longest_delay=15.0)
    with trio.move_on_after(300):
        await client.run()
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    for n, pause in enumerate(pauses):
        full = min(0.1 * 2**n, 15.0)
        assert full / 2 <= pause <= full, f"pause {n}"
    settled = pauses[9:]
    assert len(settled) > 10
    assert max(settled) - min(settled) > 1.0, "jitter: daemons that lost one PBX do not return in step"
    assert len(beats) == len(attempts), "the watchdog knows a pump that retries from one that is stuck"


async def test_back_off_begins_anew_after_a_connection_that_worked(
    asterisk: FakeAsterisk, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[tuple[float, bool]] = []

    async def connect_every_eighth(self: AriClient, again: bool) -> None:
        attempts.append((trio.current_time(), again))
        if len(attempts) == 8:
            self.connected = True
        raise WebSocketError("lost")

    monkeypatch.setattr(AriClient, "_connected", connect_every_eighth)
    with trio.move_on_after(12):
        await in_memory(asterisk).run()
    assert attempts[7][0] - attempts[6][0] >= 3.2
    assert attempts[8][0] - attempts[7][0] <= 0.1
    assert [again for _, again in attempts[:10]] == [False] * 8 + [True] * 2


# --- over a real socket


@attrs.define
class Running:
    asterisk: FakeAsterisk
    client: AriClient
    calls: list[StasisStart]

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)


@asynccontextmanager
async def running(asterisk: FakeAsterisk, **settings: Any) -> AsyncIterator[Running]:
    metrics = Metrics()
    calls: list[StasisStart] = []
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, 2.0) as rest:
            settings = {"first_delay": 0.01, "longest_delay": 0.05, **settings}
            client = AriClient(url, USER, PASSWORD, "agentd", rest, metrics, calls.append, **settings)
            async with trio.open_nursery() as inner:
                inner.start_soon(client.run)
                yield Running(asterisk, client, calls)
                inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def connected(agentd: Running) -> None:
    with trio.fail_after(PATIENCE):
        await agentd.client.ever_connected.wait()


async def test_a_call_arrives_and_its_events_follow_in_order(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        await asterisk.push("StasisStart", channel=channel(), args=["agent=default"])
        await agentd.until(lambda: agentd.calls)
        route = agentd.client.route(CALLER)
        for pressed in "0123456789" * 5:
            await asterisk.push("ChannelDtmfReceived", channel=channel(), digit=pressed)
        with trio.fail_after(PATIENCE):
            received: list[Event | Resync] = [await route.receive() for _ in range(50)]
        assert digits(received) == [*"0123456789" * 5]
        route.close()
    assert agentd.calls[0].args == ("agent=default",)


@pytest.mark.parametrize(
    "nonsense",
    [
        "not json",
        "[]",
        "{}",
        '{"type": 7}',
        '{"type": "StasisStart"}',
        '{"type": "StasisStart", "channel": {}}',
        '{"type": "StasisStart", "channel": 7}',
        '{"type": "ChannelDtmfReceived", "channel": {"id": "1"}}',
        '{"type": "PlaybackStarted", "playback": 7}',
        '{"type": "BrandNewEvent", "channel": {"id": "1", "colour": "blue"}, "extra": [1, 2]}',
        '{"type": "ChannelVarset", "variable": "GLOBAL", "value": "1"}',
    ],
)
async def test_unknown_and_malformed_events_are_survived(asterisk: FakeAsterisk, nonsense: str) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        await asterisk.push_text(nonsense)
        await asterisk.push("StasisStart", channel=channel())
        await agentd.until(lambda: agentd.calls)
        assert asterisk.connections == 1


async def test_after_a_cut_the_stream_comes_back_and_a_live_call_goes_on(asterisk: FakeAsterisk) -> None:
    asterisk.enter(CALLER)
    async with running(asterisk) as agentd:
        await connected(agentd)
        route, gone = agentd.client.route(CALLER), agentd.client.route(OTHER)
        await asterisk.cut_events()
        with trio.fail_after(PATIENCE):
            assert await route.receive() == Resync()
            assert await gone.receive() == StasisEnd(Channel(OTHER))
        await agentd.until(lambda: agentd.client.connected)
        assert sample(agentd.client, "ari_reconnects_total") == 1
        assert sample(agentd.client, "ari_connected") == 1
        await asterisk.push("ChannelDtmfReceived", channel=channel(), digit="7")
        with trio.fail_after(PATIENCE):
            assert digits([await route.receive()]) == ["7"]
        route.close()
        gone.close()


async def test_while_the_stream_is_down_health_says_so(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.reject_events = 503
        await asterisk.cut_events()
        await agentd.until(lambda: not agentd.client.connected)
        assert sample(agentd.client, "ari_connected") == 0
        asterisk.reject_events = 0
        await agentd.until(lambda: agentd.client.connected)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_refused_event_stream_is_tried_again_and_told_without_the_password(
    asterisk: FakeAsterisk, status: int
) -> None:
    asterisk.reject_events = status
    with structlog.testing.capture_logs() as logs:
        async with running(asterisk) as agentd:
            await agentd.until(lambda: len([log for log in logs if "is down" in log["event"]]) >= 3)
            assert not agentd.client.connected
            asterisk.reject_events = 0
            await connected(agentd)
    assert f"the server answered HTTP {status}" in logs[0]["error"]
    assert PASSWORD not in repr(logs)


async def test_requests_that_fail_after_connecting_close_the_stream_and_it_is_tried_again(
    asterisk: FakeAsterisk,
) -> None:
    asterisk.rule("GET /channels", Answer.refusal(500, "booting"), times=2)
    asterisk.rule("GET /bridges", Answer(200, b"<html>"), times=1)
    async with running(asterisk) as agentd:
        await connected(agentd)
        assert asterisk.connections == 4
        await agentd.until(lambda: len(asterisk.sockets) == 1)


async def test_a_flood_of_events_of_another_call_loses_nobody_else_s(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        busy, quiet = agentd.client.route(CALLER), agentd.client.route(OTHER)
        for n in range(ROUTE_QUEUE * 2):
            await asterisk.push("ChannelDtmfReceived", channel=channel(), digit=str(n % 10))
        await asterisk.push("ChannelDtmfReceived", channel=channel(OTHER), digit="*")
        with trio.fail_after(PATIENCE):
            assert digits([await quiet.receive()]) == ["*"]
            received = [await busy.receive() for _ in range(ROUTE_QUEUE + 1)]
        assert received[-1] == Resync()
        busy.close()
        quiet.close()


async def test_the_end_of_the_daemon_closes_the_event_stream(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
    await until(lambda: not asterisk.sockets)
