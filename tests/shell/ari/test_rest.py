"""ARI requests: in memory, and over real sockets where httpx itself is what is tested."""

import gzip
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.ari.client import AriClient
from agentd.ari.exchange import LAST_RESORT, MAX_ANSWER, MAX_REQUESTS
from agentd.ari.rest import AriRest, open_rest
from agentd.errors import AriError, AriRejected, AriUnavailable
from agentd.media.transport import DialplanMedia, ExternalMedia
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request, basic_authorization
from agentd.testing._asterisk import FakeAsterisk

pytestmark = pytest.mark.loopback

CALLER = "1700000000.1"
DEADLINE = 5.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def asterisk() -> FakeAsterisk:
    asterisk = FakeAsterisk()
    asterisk.enter(CALLER)
    return asterisk


@pytest.fixture
def rest(asterisk: FakeAsterisk, metrics: Metrics) -> AriRest:
    return asterisk.rest(metrics)


# --- what is asked


async def test_requests_are_those_of_asterisk_s_own_documentation(asterisk: FakeAsterisk, rest: AriRest) -> None:
    await rest.answer(CALLER)
    await rest.snoop(CALLER, "agentd", "snoop-1")
    await rest.external_media(
        "media-1", "agentd", ExternalMedia("audiosocket", "tcp", "127.0.0.1:8090", "slin", data="the-uuid")
    )
    await rest.originate_local("one", "two", "agentd", DialplanMedia("00ff", "fork"))
    await rest.create_bridge("bridge-1")
    await rest.add_to_bridge("bridge-1", "media-1")
    await rest.play(CALLER, "play-1", "sound:/spool/x")
    await rest.set_variable(CALLER, "AGENTD_RESULT", "completed")
    await rest.continue_in_dialplan(CALLER)
    requests = {str(request): request.params for request in asterisk.requests}
    assert requests == {
        f"POST /channels/{CALLER}/answer": {},
        f"POST /channels/{CALLER}/snoop/snoop-1": {"spy": "in", "app": "agentd"},
        "POST /channels/externalMedia": {
            "channelId": "media-1",
            "app": "agentd",
            "external_host": "127.0.0.1:8090",
            "encapsulation": "audiosocket",
            "transport": "tcp",
            "format": "slin",
            "data": "the-uuid",
        },
        "POST /channels": {
            "endpoint": "Local/00ff@fork/n",
            "app": "agentd",
            "channelId": "one",
            "otherChannelId": "two",
            "formats": "slin",
        },
        "POST /bridges/bridge-1": {"type": "mixing", "name": "bridge-1"},
        "POST /bridges/bridge-1/addChannel": {"channel": "media-1"},
        f"POST /channels/{CALLER}/play/play-1": {"media": "sound:/spool/x"},
        f"POST /channels/{CALLER}/variable": {"variable": "AGENTD_RESULT", "value": "completed"},
        f"POST /channels/{CALLER}/continue": {},
    }


async def test_an_id_with_a_slash_stays_one_part_of_the_path(asterisk: FakeAsterisk, metrics: Metrics) -> None:
    with pytest.raises(AriRejected):
        await asterisk.rest(metrics).answer("../../asterisk/modules?x=1#y")
    assert asterisk.asked() == ["POST /channels/../../asterisk/modules?x=1#y/answer"]
    assert asterisk.requests[0].params == {}


# --- what comes back


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 500, 503])
async def test_an_error_status_is_a_rejection_that_names_request_status_and_reason(
    asterisk: FakeAsterisk, rest: AriRest, metrics: Metrics, status: int
) -> None:
    asterisk.rule("*", Answer.refusal(status, "Channel not in Stasis application"))
    with pytest.raises(AriRejected) as caught:
        await rest.answer(CALLER)
    assert caught.value.status == status
    assert str(caught.value) == (f"ARI POST /channels/{CALLER}/answer: HTTP {status} Channel not in Stasis application")
    failures = metrics.registry.get_sample_value("agentd_ari_request_failures_total", {"method": "POST"})
    assert failures == 1


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[1]", b"null", b'"no"', b"\xff\xfe", b"[" * 9999])
async def test_a_refusal_may_have_any_body(asterisk: FakeAsterisk, rest: AriRest, body: bytes) -> None:
    asterisk.rule("*", Answer(502, body))
    with pytest.raises(AriRejected, match="HTTP 502"):
        await rest.channels()


async def test_of_external_media_only_what_is_said_is_asked_and_what_is_answered_is_told(
    asterisk: FakeAsterisk, rest: AriRest
) -> None:
    answer = {"id": "media-1", "channelvars": {"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": 10000}}
    asterisk.rule("POST /channels/externalMedia", Answer.json(answer))
    media = ExternalMedia("rtp", "udp", "127.0.0.1:4000", "slin16")
    assert await rest.external_media("media-1", "agentd", media) == {
        "UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1",
        "UNICASTRTP_LOCAL_PORT": "10000",
    }
    websocket = ExternalMedia(
        "none", "websocket", "INCOMING", "slin", connection_type="server", transport_data="f(json)"
    )
    await rest.external_media("media-1", "agentd", websocket)
    named = {"channelId", "app", "encapsulation", "transport", "external_host", "format"}
    assert [set(request.params) - named for request in asterisk.requests] == [
        set(),
        {"connection_type", "transport_data"},
    ]


@pytest.mark.parametrize("answer", [{}, {"channelvars": None}, {"channelvars": ["a"]}, [], "text"])
async def test_an_answer_about_external_media_that_tells_nothing_is_none(
    answer: object, asterisk: FakeAsterisk, rest: AriRest
) -> None:
    asterisk.rule("POST /channels/externalMedia", Answer.json(answer))
    assert await rest.external_media("m", "agentd", ExternalMedia("rtp", "udp", "127.0.0.1:4000", "slin")) == {}


async def test_a_401_says_where_to_look(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.rule("*", Answer.refusal(401, "Authentication required"))
    with pytest.raises(AriRejected, match=r"ari\.conf") as caught:
        await rest.channels()
    assert caught.value.status == 401


@pytest.mark.parametrize("body", [b"{", b"<html>", b"\xff\xfe\xfd", b"[" * 9999, b"[" * 400 + b"]" * 400])
async def test_an_answer_that_is_not_json_is_an_ari_error(asterisk: FakeAsterisk, rest: AriRest, body: bytes) -> None:
    asterisk.rule("*", Answer(200, body))
    with pytest.raises(AriError, match="GET /channels: the answer is not JSON"):
        await rest.channels()


@pytest.mark.parametrize("body", [b"", b"null", b"7", b'"x"', b'{"a": 1}', b"[null]", b'["x"]'])
@pytest.mark.parametrize("ask", [AriRest.channels, AriRest.bridges])
async def test_a_list_of_another_shape_is_an_ari_error_and_no_crash(
    asterisk: FakeAsterisk, rest: AriRest, body: bytes, ask: Callable[[AriRest], Any]
) -> None:
    asterisk.rule("*", Answer(200, body))
    with pytest.raises(AriError, match=r"ARI"):
        await ask(rest)


@pytest.mark.parametrize("body", [b"", b"null", b"7", b'["x"]', b'{"channel_ids": 7}'])
async def test_an_application_of_another_shape_is_an_ari_error_and_no_crash(
    asterisk: FakeAsterisk, rest: AriRest, body: bytes
) -> None:
    asterisk.rule("*", Answer(200, body))
    with pytest.raises(AriError, match=r"ARI"):
        await rest.application_channels("agentd")


@pytest.mark.parametrize("status", [404, 409])
async def test_what_is_gone_already_counts_as_removed(asterisk: FakeAsterisk, rest: AriRest, status: int) -> None:
    asterisk.rule("DELETE *", Answer.refusal(status, "not found"))
    await rest.hang_up(CALLER)
    await rest.destroy_bridge("b")
    await rest.stop_playback("p")


async def test_what_cannot_be_removed_is_told(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.rule("DELETE *", Answer.refusal(500, "no"))
    with pytest.raises(AriRejected):
        await rest.hang_up(CALLER)


async def test_a_playback_exists_until_asterisk_knows_it_no_more(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.playbacks["p"] = "sound:x"
    assert await rest.playback_exists("p")
    assert not await rest.playback_exists("q")
    asterisk.rule("*", Answer.refusal(500, "no"))
    with pytest.raises(AriRejected):
        await rest.playback_exists("p")


async def test_a_playback_is_paused_and_goes_on(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.playbacks["p"] = "sound:x"
    assert await rest.control_playback("p", "pause")
    assert asterisk.requests[-1] == Request("POST", "/playbacks/p/control", {"operation": "pause"})
    assert asterisk.paused == {"p"}
    assert await rest.control_playback("p", "unpause")
    assert not asterisk.paused


@pytest.mark.parametrize("status", [404, 409])
async def test_a_playback_that_has_not_begun_or_has_ended_takes_no_control(
    asterisk: FakeAsterisk, rest: AriRest, status: int
) -> None:
    asterisk.rule("POST *", Answer.refusal(status, "not now"))
    assert not await rest.control_playback("p", "pause")
    asterisk.rule("POST *", Answer.refusal(500, "no"))
    with pytest.raises(AriRejected):
        await rest.control_playback("p", "pause")


async def test_a_channel_s_variables_and_functions_are_read(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.native_format = "(g722)"
    assert await rest.variable(CALLER, "CHANNEL(audionativeformat)") == "(g722)"
    assert await rest.variable(CALLER, "NOTHING") == ""
    with pytest.raises(AriRejected):
        await rest.variable("nobody", "CHANNEL(audionativeformat)")


async def test_asterisk_tells_its_version(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.version = "certified-22.8-cert1"
    assert await rest.version() == "certified-22.8-cert1"
    assert asterisk.requests[-1] == Request("GET", "/asterisk/info", {"only": "system"})


@pytest.mark.parametrize("body", [b"", b"null", b"7", b"[]", b"{}", b'{"system": 7}', b'{"value": null}'])
async def test_facts_of_another_shape_are_unknown(asterisk: FakeAsterisk, rest: AriRest, body: bytes) -> None:
    asterisk.rule("*", Answer(200, body))
    assert await rest.version() == ""
    assert await rest.variable(CALLER, "X") in ("", "None")


async def test_silence_is_ended_also_where_none_was_begun(asterisk: FakeAsterisk, rest: AriRest) -> None:
    await rest.start_silence(CALLER)
    assert asterisk.silent == {CALLER}
    await rest.stop_silence(CALLER)
    assert not asterisk.silent
    await rest.stop_silence("nobody")


# --- deadlines and cancellation


async def test_a_connection_that_is_closed_unanswered_is_unavailability(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.rule("*", Answer(drop=True))
    with pytest.raises(AriUnavailable, match="did not answer: ReadError"):
        await rest.channels()


async def test_a_request_that_httpx_itself_never_ends_is_given_up(
    asterisk: FakeAsterisk, metrics: Metrics, autojump_clock: MockClock
) -> None:
    asterisk.slow("*", math.inf)
    with pytest.raises(AriUnavailable, match="TooSlowError"):
        await asterisk.rest(metrics, deadline=5.0).channels()
    assert trio.current_time() == 5.0 + LAST_RESORT


@pytest.mark.parametrize("part", ["caller", "dialplan"])
@pytest.mark.parametrize("value", [1, "100", ["a"], True])
async def test_a_channel_of_another_shape_is_an_ari_error_and_no_crash(
    asterisk: FakeAsterisk, rest: AriRest, part: str, value: object
) -> None:
    asterisk.rule("GET /channels", Answer.json([{"id": "1.2", part: value}]))
    with pytest.raises(AriError, match=part):
        await rest.channels()


async def test_a_cancelled_request_is_finished_first_and_then_cancelled(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.slow("*", 1.0)
    with trio.move_on_after(0.5) as scope:
        await rest.create_bridge("b")
        pytest.fail("the cancellation takes effect after the answer")  # pragma: no cover
    assert scope.cancelled_caught
    assert trio.current_time() == 1.0
    assert "b" in asterisk.bridges


async def test_a_cancelled_request_hides_no_cancellation_behind_a_refusal(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.slow("*", 1.0)
    with trio.move_on_after(0.5) as scope:
        await rest.answer("nobody")
    assert scope.cancelled_caught


# --- handing a channel back


async def test_a_channel_is_handed_back_with_its_result(asterisk: FakeAsterisk, rest: AriRest) -> None:
    await rest.hand_back(CALLER, "completed")
    assert asterisk.asked() == [f"POST /channels/{CALLER}/variable", f"POST /channels/{CALLER}/continue"]
    assert asterisk.variables[CALLER] == {"AGENTD_RESULT": "completed"}


@pytest.mark.parametrize("answer", [Answer.refusal(400, "no"), Answer.refusal(500, "no"), Answer(drop=True)])
async def test_a_result_that_cannot_be_told_keeps_nobody(asterisk: FakeAsterisk, rest: AriRest, answer: Answer) -> None:
    asterisk.rule("POST */variable", answer)
    with structlog.testing.capture_logs() as logs:
        await rest.hand_back(CALLER, "completed")
    assert asterisk.continued == [CALLER]
    assert "the dialplan is not told why the call ended" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("answer", [Answer.refusal(404, "gone"), Answer.refusal(500, "no"), Answer(drop=True)])
async def test_a_channel_that_is_not_let_go_is_told_by_the_refusal(
    asterisk: FakeAsterisk, rest: AriRest, answer: Answer
) -> None:
    asterisk.rule("*", answer)
    with pytest.raises(AriError):
        await rest.hand_back(CALLER, "completed")


async def test_a_request_that_had_no_answer_is_a_reason_to_look(asterisk: FakeAsterisk, rest: AriRest) -> None:
    doubts: list[int] = []
    rest.on_unanswered = lambda: doubts.append(1)
    with pytest.raises(AriRejected):
        await rest.answer("nobody")
    assert not doubts
    asterisk.rule("*", Answer(drop=True))
    with pytest.raises(AriUnavailable):
        await rest.answer(CALLER)
    assert doubts == [1]


async def test_an_event_of_our_own_is_asked_for_without_a_body(asterisk: FakeAsterisk, rest: AriRest) -> None:
    await rest.user_event("agentd", "ours")
    assert asterisk.requests[-1].params == {"application": "agentd"}
    with pytest.raises(AriRejected) as caught:
        await rest.user_event("another", "ours")
    assert caught.value.status == 404


# --- over real sockets


async def test_real_requests_carry_the_password_in_the_basic_auth_header_only(
    asterisk: FakeAsterisk, metrics: Metrics
) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, DEADLINE) as rest:
            assert set(await rest.channels()) == {CALLER}
            await rest.answer(CALLER)
        nursery.cancel_scope.cancel()
    assert all(PASSWORD not in f"{request.path}{request.params}" for request in asterisk.requests)


async def test_a_wrong_password_is_a_401_and_appears_nowhere(
    asterisk: FakeAsterisk, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "another-secret-word"
    caplog.set_level(logging.DEBUG)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        with structlog.testing.capture_logs() as logs:
            async with open_rest(url, USER, secret, metrics, DEADLINE) as rest:
                with pytest.raises(AriRejected) as caught:
                    await rest.channels()
                with pytest.raises(AriRejected):
                    await rest.hand_back(CALLER, "completed")
                client = AriClient(url, USER, secret, "agentd", rest, metrics, lambda start: None)
                shown = [repr(rest), str(rest), repr(client), str(client)]
        nursery.cancel_scope.cancel()
    assert caught.value.status == 401
    told: list[str] = [repr(caught.value), str(caught.value), repr(caught.value.__cause__), caplog.text, *shown]
    told += [repr(entry) for entry in logs]
    for text in told:
        assert secret not in text
        assert basic_authorization(USER, secret).removeprefix("Basic ") not in text


async def test_nothing_listening_is_unavailability_within_the_deadline(metrics: Metrics) -> None:
    async with open_rest("http://127.0.0.1:1", USER, PASSWORD, metrics, DEADLINE) as rest:
        with trio.fail_after(3), pytest.raises(AriUnavailable, match="did not answer: ConnectError") as caught:
            await rest.channels()
    assert PASSWORD not in repr(caught.value.__cause__)


async def test_an_answer_that_does_not_come_is_unavailability_after_the_deadline(
    asterisk: FakeAsterisk, metrics: Metrics
) -> None:
    asterisk.slow("*", math.inf)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, deadline=0.1) as rest:
            with trio.fail_after(3), pytest.raises(AriUnavailable, match="ReadTimeout"):
                await rest.channels()
        nursery.cancel_scope.cancel()


async def test_httpcore_issue_1093_cancelled_requests_do_not_exhaust_the_pool(
    asterisk: FakeAsterisk, metrics: Metrics
) -> None:
    """200 requests at once, each cancelled at another moment of its life; then one is answered at once, the
    pool has its places back, and every slot of it is used again."""
    asterisk.slow("GET /bridges", 0.02)
    async with trio.open_nursery() as server:
        url = await server.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, deadline=20.0) as rest:

            async def cancelled_after(seconds: float) -> None:
                with trio.move_on_after(seconds):
                    await rest.bridges()

            async with trio.open_nursery() as nursery:
                for n in range(200):
                    nursery.start_soon(cancelled_after, n * 0.0002)
            pool = rest.client._transport._pool  # type: ignore[attr-defined]
            assert not pool._requests, "no request waits for a connection that never comes"
            assert all(connection.is_idle() or connection.is_closed() for connection in pool.connections)
            with trio.fail_after(30.0):
                assert set(await rest.channels()) == {CALLER}
            with trio.fail_after(30.0):
                async with trio.open_nursery() as nursery:
                    for _ in range(80):
                        nursery.start_soon(partial(rest.channels))
        server.cancel_scope.cancel()


async def test_httpcore_issue_1093_a_frozen_asterisk_costs_the_pool_no_places(
    asterisk: FakeAsterisk, metrics: Metrics
) -> None:
    """More requests than connections while nothing is answered: each fails in time. Once Asterisk is well again
    every place of the pool is there."""
    asterisk.slow("GET /bridges", math.inf)
    failures: list[AriUnavailable] = []
    async with trio.open_nursery() as server:
        url = await server.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, deadline=0.3) as rest:

            async def unanswered() -> None:
                with pytest.raises(AriUnavailable) as caught:
                    await rest.bridges()
                failures.append(caught.value)

            with trio.fail_after(30.0):
                async with trio.open_nursery() as nursery:
                    for _ in range(200):
                        nursery.start_soon(unanswered)
            assert len(failures) == 200
            pool = rest.client._transport._pool  # type: ignore[attr-defined]
            assert not pool._requests
            assert all(connection.is_idle() or connection.is_closed() for connection in pool.connections)
            with trio.fail_after(30.0):
                for _ in range(80):
                    assert set(await rest.channels()) == {CALLER}
        server.cancel_scope.cancel()


class SlowAsterisk(FakeAsterisk):
    """Takes its time, another for each request, as long as it has a `chance`."""

    chance: random.Random | None = None

    async def handle(self, request: Request) -> Answer:
        if self.chance is not None:
            await trio.sleep(self.chance.uniform(0, 9))
        return await super().handle(request)


@pytest.mark.parametrize("seed", range(2))
async def test_300_requests_to_an_ari_that_takes_up_to_9_s_cost_the_pool_no_place(metrics: Metrics, seed: int) -> None:
    """Some are answered, some in vain, some wait for their turn in vain, and callers hang up at any moment of it. Then
    as many as may be under way at once are answered at once."""
    asterisk = SlowAsterisk()
    asterisk.chance = chance = random.Random(seed)
    ends: list[str] = []
    async with trio.open_nursery() as server:
        url = await server.start(asterisk.serve)
        async with open_rest(url, USER, PASSWORD, metrics, DEADLINE) as rest:

            async def ask(begin: float, patience: float) -> None:
                await trio.sleep(begin)
                with trio.move_on_after(patience) as scope:
                    try:
                        await rest.bridges()
                        ends.append("answered")
                    except AriUnavailable as error:
                        ends.append("too many" if "too many requests at once" in str(error) else "unanswered")
                if scope.cancelled_caught:
                    ends.append("cancelled")

            async def none_waits_in_the_pool() -> None:
                """One that gives up there at the moment when it is given a connection leaves that behind."""
                while len(ends) < 300:
                    assert not any(request.is_queued() for request in pool._requests)
                    await trio.sleep(0.5)

            pool = rest.client._transport._pool  # type: ignore[attr-defined]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(none_waits_in_the_pool)
                for _ in range(300):
                    nursery.start_soon(ask, chance.uniform(0, 3), chance.choice([math.inf, chance.uniform(0, 9)]))
            assert len(ends) == 300
            assert set(ends) == {"answered", "unanswered", "too many", "cancelled"}
            asterisk.chance = None
            assert all(connection.is_idle() or connection.is_closed() for connection in pool.connections)
            started = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(MAX_REQUESTS):
                    nursery.start_soon(rest.channels)
            assert trio.current_time() - started < 1.0
        server.cancel_scope.cancel()


async def test_one_request_too_many_is_told_for_what_it_is(
    asterisk: FakeAsterisk, metrics: Metrics, autojump_clock: MockClock
) -> None:
    asterisk.slow("GET /bridges", math.inf)
    rest = asterisk.rest(metrics, deadline=2.0)
    async with trio.open_nursery() as nursery:

        async def unanswered() -> None:
            with pytest.raises(AriUnavailable, match="TooSlowError"):
                await rest.bridges()

        for _ in range(MAX_REQUESTS):
            nursery.start_soon(unanswered)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AriUnavailable, match=f"GET /channels: too many requests at once: {MAX_REQUESTS} wait"):
            await rest.channels()
        assert trio.current_time() == 2.0


async def test_where_requests_wait_those_of_set_ups_wait_for_all_others(
    asterisk: FakeAsterisk, metrics: Metrics, autojump_clock: MockClock
) -> None:
    asterisk.slow("GET /bridges", 3.0)
    asterisk.slow("GET /asterisk/info", 1.0)
    asterisk.slow("POST */continue", 0.1)
    rest = asterisk.rest(metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest.version)
        for _ in range(MAX_REQUESTS - 1):
            nursery.start_soon(rest.bridges)
        await trio.sleep(0.1)
        nursery.start_soon(rest.setting_up.answer, CALLER)
        await trio.sleep(0.1)
        nursery.start_soon(rest.continue_in_dialplan, CALLER)
    assert asterisk.asked()[MAX_REQUESTS:] == [f"POST /channels/{CALLER}/continue", f"POST /channels/{CALLER}/answer"]


async def test_it_is_known_for_how_long_a_request_has_had_no_answer(
    asterisk: FakeAsterisk, metrics: Metrics, autojump_clock: MockClock
) -> None:
    asterisk.slow("GET /bridges", 3.0, times=1)
    asterisk.slow("GET /channels", 4.0, times=1)
    rest = asterisk.rest(metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest.setting_up.bridges)
        await trio.sleep(2.0)
        nursery.start_soon(rest.channels)
        await trio.sleep(0.5)
        assert rest.unanswered_for(trio.current_time()) == 2.5
        await trio.sleep(1.0)
        assert rest.unanswered_for(trio.current_time()) == 1.5
    assert rest.unanswered_for(trio.current_time()) == 0.0


# --- whoever answers need not be Asterisk


@asynccontextmanager
async def answering(
    say: Callable[[trio.SocketStream, bytes], Awaitable[None]], deadline: float = DEADLINE
) -> AsyncIterator[AriRest]:
    """A client of a server that does what `say(stream, head of a request)` does."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while head := bytes(await stream.receive_some(65536)):
                await say(stream, head)

    async with trio.open_nursery() as server:
        listeners = await server.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with open_rest(url, USER, PASSWORD, Metrics(), deadline) as rest:
            yield rest
        server.cancel_scope.cancel()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("status", [b"200 OK", b"500 Server Error"])
@pytest.mark.parametrize("length", [b"Content-Length: 300000000", b"X: until the connection is closed"])
async def test_an_answer_of_300_mb_took_460_mb(status: bytes, length: bytes) -> None:
    sent = 0

    async def endless(stream: trio.SocketStream, head: bytes) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n\r\n")
        while sent < 300_000_000:
            await stream.send_all(bytes(65536))
            sent += 65536

    async with answering(endless) as rest:
        with pytest.raises(AriError, match=f"an answer of more than {MAX_ANSWER} bytes"):
            await rest.channels()
        assert sent < MAX_ANSWER + (16 << 20), "and no more is read, but for what the kernel holds"


async def test_an_answer_that_grows_when_it_is_unpacked_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    heads: list[bytes] = []

    async def packed(stream: trio.SocketStream, head: bytes) -> None:
        heads.append(head.lower())
        await stream.send_all(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)

    async with answering(packed) as rest:
        with pytest.raises(AriError, match="an answer in the encoding 'gzip'; none was asked for"):
            await rest.channels()
    assert [b"accept-encoding: identity\r\n" in head for head in heads] == [True]


@pytest.mark.parametrize("begun", [OK + b"X: ", OK + b"Content-Length: 100000\r\n\r\n"], ids=["headers", "body"])
async def test_an_answer_that_trickles_in_is_given_up_and_costs_the_pool_no_place(begun: bytes) -> None:
    trickles = True

    async def trickle(stream: trio.SocketStream, head: bytes) -> None:
        if not trickles:
            await stream.send_all(OK + b"Content-Length: 2\r\n\r\n[]")
            return
        await stream.send_all(begun)
        while True:
            await trio.sleep(1)
            await stream.send_all(b"x")

    async with answering(trickle) as rest:

        async def ask() -> None:
            started = trio.current_time()
            with pytest.raises(AriUnavailable, match="TooSlowError"):
                await rest.channels()
            assert trio.current_time() - started == pytest.approx(DEADLINE + LAST_RESORT, abs=0.2)

        async with trio.open_nursery() as nursery:
            for _ in range(MAX_REQUESTS):
                nursery.start_soon(ask)
        trickles = False
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_REQUESTS):
                nursery.start_soon(rest.channels)
