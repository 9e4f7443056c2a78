"""Callers whom an earlier agentd left behind are handed back before there is an event stream."""

import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.ari.orphans import AT_ONCE, hand_back_orphans
from agentd.ari.rest import AriRest
from agentd.errors import AriRejected, AriUnavailable
from agentd.metrics import Metrics
from agentd.testing._ari_server import Answer, Request
from agentd.testing._asterisk import FakeAsterisk

CALLER, OTHER = "1700000000.1", "1700000000.2"
DEADLINE = 10.0
INTERNAL = {"AGENTD_RESULT": "failed:internal"}


@pytest.fixture
def asterisk() -> FakeAsterisk:
    return FakeAsterisk()


@pytest.fixture
def rest(asterisk: FakeAsterisk) -> AriRest:
    return asterisk.rest(Metrics())


async def test_callers_go_on_and_legs_go_and_nobody_else_is_touched(asterisk: FakeAsterisk, rest: AriRest) -> None:
    asterisk.enter(CALLER)
    for leg in ("agentd-leg-media-1", "agentd-leg-snoop-1"):
        asterisk.enter(leg)
    for stranger in (OTHER, "agentd-2-leg-media-1"):
        asterisk.enter(stranger)
        asterisk.gone_on(stranger)
    asterisk.bridges = {"agentd-leg-bridge-1": {CALLER, "agentd-leg-media-1"}, "a-conference": set()}
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert asterisk.continued == [CALLER]
    assert asterisk.variables == {CALLER: INTERNAL}
    assert set(asterisk.channels) == {CALLER, OTHER, "agentd-2-leg-media-1"}
    assert set(asterisk.bridges) == {"a-conference"}


def puts_in_place(asterisk: FakeAsterisk, context: str, extension: str) -> None:
    """CALLER has taken another one's place in the application, whose arguments are gone with that one."""
    asterisk.enter(CALLER)
    asterisk.channels[CALLER]["dialplan"].update(context=context, exten=extension, priority=1)


async def test_who_was_put_through_goes_on_where_the_agentd_before_has_noted(
    asterisk: FakeAsterisk, rest: AriRest
) -> None:
    puts_in_place(asterisk, "transfer", "_attended")
    asterisk.variables[CALLER] = {"AGENTD_WAY_BACK": "agentd-call,7600,5", "AGENTD_FALLBACK": "kept,s,1"}
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert asterisk.went_to == {CALLER: "7600@agentd-call,5"}
    assert asterisk.variables[CALLER]["AGENTD_RESULT"] == "failed:internal"
    assert asterisk.variables[CALLER]["AGENTD_WAY_BACK"] == ""


async def test_who_was_put_through_while_no_agentd_was_there_hears_what_everybody_does_who_comes_back(
    asterisk: FakeAsterisk, rest: AriRest
) -> None:
    """The Local channel has no dialplan to go on with: it was hung up without a word."""
    puts_in_place(asterisk, "transfer", "_attended")
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert asterisk.went_to == {CALLER: "s@agentd-return"}


async def test_who_came_without_arguments_goes_on_in_place(asterisk: FakeAsterisk, rest: AriRest) -> None:
    puts_in_place(asterisk, "from-internal", "7000")
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert (asterisk.continued, asterisk.went_to) == ([CALLER], {})


async def test_where_nobody_was_left_behind_it_takes_two_requests(asterisk: FakeAsterisk, rest: AriRest) -> None:
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 0
    assert asterisk.asked() == ["GET /channels", "GET /bridges"]


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(503, "not booted"), Answer.refusal(400, "no")])
@pytest.mark.parametrize("request_", ["POST */variable", "POST */continue", "DELETE /channels/*", "DELETE /bridges/*"])
async def test_what_fails_is_tried_again(
    request_: str, answer: Answer, asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.enter("agentd-leg-media-1")
    asterisk.bridges = {"agentd-leg-bridge-1": set()}
    asterisk.rule(request_, answer, times=2)
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert asterisk.continued == [CALLER]
    assert set(asterisk.channels) == {CALLER}
    assert not asterisk.bridges
    assert trio.current_time() < 2.0


async def test_a_variable_that_cannot_be_set_keeps_nobody(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.rule("POST */variable", Answer(drop=True))
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 1
    assert asterisk.continued == [CALLER]


@pytest.mark.parametrize("status", [404, 409])
async def test_a_caller_who_left_meanwhile_is_no_failure(
    status: int, asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.rule("POST */continue", Answer.refusal(status, "left"))
    with structlog.testing.capture_logs() as logs:
        assert await hand_back_orphans(rest, "agentd", DEADLINE) == 0
    assert not [entry for entry in logs if entry["log_level"] == "error"]
    assert trio.current_time() == 0.0


async def test_a_user_who_may_not_write_is_told_with_its_remedy_within_the_deadline(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.enter(CALLER)
    asterisk.rule("POST *", Answer.refusal(403, "Write access denied"))
    with structlog.testing.capture_logs() as logs:
        assert await hand_back_orphans(rest, "agentd", DEADLINE) == 0
    assert trio.current_time() < DEADLINE
    (told,) = [entry for entry in logs if "stays behind" in entry["event"]]
    assert (told["log_level"], told["id"]) == ("error", CALLER)
    assert "read_only = no" in told["remedy"]


async def test_an_asterisk_that_is_not_there_is_told_at_the_deadline(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    asterisk.rule("*", Answer(drop=True))
    with pytest.raises(AriUnavailable):
        await hand_back_orphans(rest, "agentd", DEADLINE)
    assert 5.0 < trio.current_time() < DEADLINE
    asterisk.rule("*", Answer.refusal(401, "Authentication required"))
    with pytest.raises(AriRejected):
        await hand_back_orphans(rest, "agentd", DEADLINE)
    assert trio.current_time() < DEADLINE


async def test_many_are_dealt_with_some_at_a_time(
    asterisk: FakeAsterisk, rest: AriRest, autojump_clock: MockClock
) -> None:
    callers = [f"1700000000.{number}" for number in range(100)]
    at_work = most = 0

    async def slowly(_request: Request) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await trio.sleep(0.1)
        at_work -= 1

    for caller in callers:
        asterisk.enter(caller)
    asterisk.rule("POST *", slowly)
    assert await hand_back_orphans(rest, "agentd", DEADLINE) == 100
    assert sorted(asterisk.continued) == sorted(callers)
    assert most == AT_ONCE
    assert trio.current_time() < DEADLINE
