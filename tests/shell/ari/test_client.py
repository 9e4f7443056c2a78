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

from agentd.ari.client import LOOK_INTERVAL, AriClient
from agentd.ari.contention import FIRST_PAUSE
from agentd.ari.events import Channel, DtmfReceived, Event, Other, StasisEnd, StasisStart
from agentd.ari.possession import PROOF_DEADLINE
from agentd.ari.rest import open_rest
from agentd.ari.route import ROUTE_QUEUE
from agentd.errors import AriRejected, WebSocketError
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request, basic_authorization
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing.clock import until
from agentd.websocket import WebSocket

pytestmark = pytest.mark.loopback

CALLER, OTHER = "1700000000.1", "1700000000.2"
PATIENCE = 5.0
"""Real seconds until a test that hangs is given up."""


def channel(channel_id: str = CALLER) -> dict[str, object]:
    return {"id": channel_id, "name": "PJSIP/alice-1", "state": "Up"}


def digit(pressed: str, channel_id: str = CALLER) -> DtmfReceived:
    return DtmfReceived(Channel(channel_id), pressed)


def digits(events: list[Event]) -> list[str]:
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


async def test_an_overflow_is_counted_and_asterisk_is_asked_after_what_was_kept(asterisk: FakeAsterisk) -> None:
    client = in_memory(asterisk)
    route = client.route(CALLER)
    for n in range(ROUTE_QUEUE + 7):
        client._dispatch(digit(str(n)))
    await client.reconciler.look(ours=True)
    received = [await route.receive() for _ in range(ROUTE_QUEUE + 1)]
    assert received == [*(digit(str(n)) for n in range(ROUTE_QUEUE)), StasisEnd(Channel(CALLER))], "told, though full"
    assert sample(client, "ari_events_dropped_total") == 7
    assert client._doubt.is_set()
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
    with trio.move_on_after(20):  # eight pauses may take 12.7 s
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
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        async with running_at(asterisk, url, **settings) as agentd:
            yield agentd
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_at(asterisk: FakeAsterisk, url: str, **settings: Any) -> AsyncIterator[Running]:
    metrics = Metrics()
    calls: list[StasisStart] = []
    async with open_rest(url, USER, PASSWORD, metrics, 2.0) as rest:
        settings = {"first_delay": 0.01, "longest_delay": 0.05, **settings}
        client = AriClient(url, USER, PASSWORD, "agentd", rest, metrics, calls.append, **settings)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            yield Running(asterisk, client, calls)
            nursery.cancel_scope.cancel()


async def connected(agentd: Running) -> None:
    with trio.fail_after(PATIENCE):
        await agentd.client.ever_connected.wait()


async def test_nothing_is_published_to_our_application_before_asterisk_reads_its_stream(
    asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asterisk takes our application in before it has the WebSocket, and warns of what it must keep in between (seen on
    22.10): res/ari/ari_websockets.c, `session_send_or_queue`. It answers a ping once it reads."""
    published: list[list[str]] = []
    ping = WebSocket.ping

    async def answered_late(socket: WebSocket) -> None:
        await trio.sleep(0.05)
        published.append(asterisk.asked("POST /events/user/*"))
        await ping(socket)

    monkeypatch.setattr(WebSocket, "ping", answered_late)
    async with running(asterisk) as agentd:
        await connected(agentd)
    assert published == [[]]
    assert asterisk.asked("POST /events/user/*")


async def test_a_call_arrives_and_its_events_follow_in_order(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.enter(CALLER)
        await asterisk.push("StasisStart", channel=channel(), args=["agent=default"])
        await agentd.until(lambda: agentd.calls)
        route = agentd.client.route(CALLER)
        for pressed in "0123456789" * 5:
            await asterisk.push("ChannelDtmfReceived", channel=channel(), digit=pressed)
        with trio.fail_after(PATIENCE):
            received = [await route.receive() for _ in range(50)]
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
            assert await gone.receive() == StasisEnd(Channel(OTHER))
        await agentd.until(lambda: sample(agentd.client, "ari_reconnects_total") == 1)
        assert agentd.client.connected
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
    asterisk.enter(CALLER)
    asterisk.enter(OTHER)
    async with running(asterisk) as agentd:
        await connected(agentd)
        busy, quiet = agentd.client.route(CALLER), agentd.client.route(OTHER)
        for n in range(ROUTE_QUEUE * 2):
            await asterisk.push("ChannelDtmfReceived", channel=channel(), digit=str(n % 10))
        await asterisk.push("ChannelDtmfReceived", channel=channel(OTHER), digit="*")
        with trio.fail_after(PATIENCE):
            assert digits([await quiet.receive()]) == ["*"]
            received = [await busy.receive() for _ in range(ROUTE_QUEUE)]
        assert len(digits(received)) == ROUTE_QUEUE
        assert sample(agentd.client, "ari_events_dropped_total") == ROUTE_QUEUE
        busy.close()
        quiet.close()


async def test_the_end_of_the_daemon_closes_the_event_stream(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
    await until(lambda: not asterisk.sockets)


# --- whose the application is


async def down(agentd: Running) -> None:
    await agentd.until(lambda: not agentd.client.connected)


@pytest.mark.parametrize("request_for_it", ["GET /applications/agentd", "POST /events/user/*"])
async def test_it_waits_until_asterisk_knows_the_application(asterisk: FakeAsterisk, request_for_it: str) -> None:
    """It may even be destroyed between the two."""
    asked = 0

    async def not_yet(_request: Request) -> Answer | None:
        nonlocal asked
        asked += 1
        return Answer.refusal(404, "Application not found") if asked < 7 else None

    asterisk.rule(request_for_it, not_yet)
    async with running(asterisk) as agentd:
        await connected(agentd)
        assert asterisk.connections == 1
        assert asked >= 7


async def test_no_event_is_asked_for_of_an_application_that_asterisk_does_not_know(asterisk: FakeAsterisk) -> None:
    """Asterisk writes a warning into its log for each."""
    asterisk.rule("GET /applications/agentd", Answer.refusal(404, "Application not found"), times=5)
    async with running(asterisk) as agentd:
        await connected(agentd)
        ours = [request for request in asterisk.asked() if "/events/" in request or "/applications/" in request]
        assert [request.partition(" ")[0] for request in ours[:7]] == ["GET"] * 6 + ["POST"]


async def test_an_application_that_never_appears_ends_the_attempt(asterisk: FakeAsterisk) -> None:
    asterisk.rule("POST /events/user/*", Answer.refusal(404, "Application not found"))
    with structlog.testing.capture_logs() as logs:
        async with running(asterisk) as agentd:
            await agentd.until(lambda: asterisk.connections == 3)
            assert not agentd.client.connected
    assert "does not know the application 'agentd'" in logs[0]["error"]


async def test_a_user_who_may_not_write_gets_no_application_that_callers_could_enter(asterisk: FakeAsterisk) -> None:
    asterisk.rule("[PD]*", Answer.refusal(403, "Write access denied"))
    with structlog.testing.capture_logs() as logs:
        async with running(asterisk) as agentd:
            await agentd.until(lambda: len(asterisk.asked("DELETE /playbacks/*")) >= 3)
            assert not asterisk.asked("POST *")
            assert asterisk.connections == 0, "callers go on to the dialplan's fallback at once"
            assert "read_only = no" in agentd.client.trouble
            asterisk.rules.clear()
            await connected(agentd)
            assert agentd.client.trouble == ""
    told = [entry for entry in logs if entry["log_level"] == "error"]
    assert ["read_only = no" in entry["trouble"] for entry in told] == [True], "once"


async def test_a_user_who_is_made_read_only_while_agentd_runs_takes_no_more_callers(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.rule("[PD]*", Answer.refusal(403, "Write access denied"))
        with trio.fail_after(LOOK_INTERVAL + PATIENCE):
            while agentd.client.connected:
                await trio.sleep(0.5)
        assert "read_only = no" in agentd.client.trouble
        await agentd.until(lambda: not asterisk.sockets)
        asterisk.rules.clear()
        await agentd.until(lambda: agentd.client.connected)


async def test_the_first_request_that_a_user_may_not_make_ends_the_application_at_once(asterisk: FakeAsterisk) -> None:
    """Callers of the next half minute would have waited in it for the one who mends the user."""
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.enter(CALLER)
        asterisk.rule("[PD]*", Answer.refusal(403, "Write access denied"))
        refused = trio.current_time()
        with pytest.raises(AriRejected):
            await agentd.client.rest.answer(CALLER)
        await agentd.until(lambda: not asterisk.sockets)
        assert trio.current_time() - refused < 1


async def test_a_stream_on_which_nothing_comes_back_is_opened_again(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.rule("POST /events/user/*", Answer())  # taken, and never sent
        with trio.fail_after(LOOK_INTERVAL + PROOF_DEADLINE + PATIENCE):
            while agentd.client.connected:
                await trio.sleep(0.5)
        asterisk.rules.clear()
        await agentd.until(lambda: agentd.client.connected)
        assert asterisk.connections > 1


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(503, "not booted")])
async def test_a_proof_that_cannot_be_asked_for_costs_no_stream(asterisk: FakeAsterisk, answer: Answer) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        asterisk.rule("POST /events/user/*", answer)
        await trio.sleep(2.5 * LOOK_INTERVAL)
        assert agentd.client.connected
        assert asterisk.connections == 1


@asynccontextmanager
async def another_program(asterisk: FakeAsterisk, url: str) -> AsyncIterator[None]:
    """It asks for the same application."""
    async with trio.open_nursery() as nursery:
        headers = (("Authorization", basic_authorization()),)
        socket = WebSocket(f"{url.replace('http', 'ws')}/ari/events?app=agentd", headers)
        await nursery.start(socket.run)
        yield
        nursery.cancel_scope.cancel()
    await until(lambda: len(asterisk.sockets) <= 1)


async def test_an_application_that_was_taken_for_half_a_second_is_ours_again_once_it_is_free(
    asterisk: FakeAsterisk,
) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        async with another_program(asterisk, agentd.client.url):
            await down(agentd)
            assert "another program" in agentd.client.trouble
            await trio.sleep(0.5)
            assert not agentd.client.connected
        with trio.fail_after(PATIENCE):
            while not agentd.client.connected:
                await trio.sleep(0.1)
        assert agentd.client.trouble == ""
        await asterisk.push("StasisStart", channel=channel(OTHER))
        await agentd.until(lambda: agentd.calls)


async def test_two_programs_of_one_name_do_not_take_it_from_each_other_in_turn(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as first:
        await connected(first)
        async with running_at(asterisk, first.client.url) as second:
            await connected(second)
            await trio.sleep(400.0)
            taken = asterisk.connections - 2
            assert 1 <= taken <= 6, "rarely, and more and more so"
            assert first.client.trouble or second.client.trouble


async def test_callers_of_the_program_that_has_taken_the_application_are_left_alone(asterisk: FakeAsterisk) -> None:
    async with running(asterisk) as agentd:
        await connected(agentd)
        async with another_program(asterisk, agentd.client.url):
            await down(agentd)
            asterisk.enter(CALLER)
            asterisk.enter("agentd-leg-media-1")
            asterisk.bridges["agentd-leg-bridge-1"] = {CALLER}
            await trio.sleep(FIRST_PAUSE - 5.0)
            assert not asterisk.continued
            assert set(asterisk.channels) == {CALLER, "agentd-leg-media-1"}
            assert asterisk.bridges


async def test_while_another_program_has_the_application_a_caller_who_hangs_up_is_noticed(
    asterisk: FakeAsterisk,
) -> None:
    asterisk.enter(CALLER)
    async with running(asterisk) as agentd:
        await connected(agentd)
        route = agentd.client.route(CALLER)
        async with another_program(asterisk, agentd.client.url):
            await down(agentd)
            asterisk.gone(CALLER)
            with trio.fail_after(LOOK_INTERVAL + PATIENCE):
                assert await route.receive() == StasisEnd(Channel(CALLER))
        route.close()
