"""Who gets in, and what a call is made of: the reception, from StasisStart to the last trace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd import session_events as tells
from agentd.agent import Agent, Readiness
from agentd.calls.figures import CallFigures
from agentd.calls.last_words import LastWords
from agentd.config.settings import AgentConfig, AudioSocket, Calls, DownstreamMode, Failover
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination, Result
from agentd.errors import ProviderUnavailable
from agentd.playback.directory import MediaDirectory
from agentd.service import reception
from agentd.service.stays import LEAVING_TIME
from agentd.serving.breaker import FAILURES
from agentd.serving.failover import FailoverTimes
from agentd.testing._ari_server import Answer, Request
from agentd.testing.sound import voice
from tests.shell.fakes import failing, stand_still
from tests.shell.front_desk import CALLER, QUIET, FrontDesk, open_for_callers

FILES = attrs.evolve(QUIET, downstream_mode=DownstreamMode.FILE)
WIDEBAND = (16000, 8000)
WITH_FALLBACK = {"default": attrs.evolve(QUIET, fallback=["night"]), "night": attrs.evolve(QUIET, greeting="Night")}


async def begun(desk: FrontDesk) -> None:
    await desk.until(lambda: desk.agent.sessions and desk.session.begun)


async def test_where_no_file_can_be_written_a_call_in_file_mode_is_streamed(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_for_callers(tmp_path, {"default": FILES}) as desk:

        async def takes_files(directory: MediaDirectory) -> bool:  # the real one asks a thread
            await trio.lowlevel.checkpoint()
            assert directory is desk.reception.directory
            return False

        monkeypatch.setattr(reception, "takes_files", takes_files)
        desk.call()
        await begun(desk)
        await trio.sleep(1.5)
        assert b"".join(pcm for _, pcm in desk.lines.all[0].frames if any(pcm)) == voice(1.0)
        assert not desk.asterisk.asked("*/snoop/*"), "what a leg that only listens begins with"
        desk.hang_up()


# --- who gets in


async def test_a_caller_is_answered_and_served_by_the_agent_that_the_dialplan_names(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    agents = {"default": QUIET, "sales": attrs.evolve(QUIET, greeting="Sales")}
    async with open_for_callers(tmp_path, agents) as desk:
        desk.call("agent=sales")
        await desk.until(lambda: desk.agents["sales"].sessions and desk.agents["sales"].session.begun)
        assert desk.asterisk.asked()[:2] == [f"POST /channels/{CALLER}/answer", f"POST /channels/{CALLER}/silence"]
        assert desk.agents["sales"].session.said == ["Sales"]
        assert desk.agent.opened == 0
        desk.hang_up()
    assert desk.results("caller-hung-up") == 1


@pytest.mark.parametrize(
    ("arguments", "result"),
    [(("agent=nobody",), "refused:agent"), (("agent",), "refused:arguments"), (("media=pigeon",), "refused:arguments")],
)
async def test_a_caller_whose_dialplan_asks_for_what_is_not_there_goes_on_with_the_reason(
    arguments: tuple[str, ...], result: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call(*arguments)
        await desk.over()
        assert desk.left_with() == result
        assert desk.results(result) == 1
        assert not desk.asterisk.asked("*/answer"), "the dialplan may still play a ring tone"


async def test_a_caller_whose_agent_cannot_be_opened_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_for_callers(tmp_path, shut=("default",)) as desk:
            desk.call()
            await desk.over()
            assert desk.left_with() == "refused:agent"
    assert [log["detail"] for log in logs if "handed back" in log["event"]] == [
        "agent 'default' is not ready: the model is missing"
    ]


async def test_a_caller_whose_agent_is_not_ready_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.agent.readiness = Readiness(False, "the engine is being restarted")
        desk.call()
        await desk.over()
        assert desk.left_with() == "refused:agent"


async def test_callers_beyond_the_limit_go_on_also_when_they_come_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path, calls=Calls(max_calls=2)) as desk:
        callers = [f"1700000000.{number}" for number in range(5)]
        for caller in callers:
            desk.call(caller=caller)
        await trio.sleep(1.0)
        assert sorted(str(desk.left_with(caller)) for caller in callers) == ["None"] * 2 + ["refused:busy"] * 3
        assert desk.agent.opened == 2
        for caller in callers:
            desk.hang_up(caller)


async def test_while_agentd_is_being_stopped_callers_go_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call()
        await begun(desk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.reception.stays.drain, 5.0, 10.0)
            await trio.sleep(1.0)
            desk.call(caller="1700000000.2")
            await trio.sleep(1.0)
            assert desk.left_with("1700000000.2") == "refused:draining"
            assert desk.left_with() is None, "who is there already is served on"
        assert desk.left_with() == "shutdown"


async def test_a_caller_whose_farewell_does_not_end_is_handed_back_all_the_same(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(*_given: object, **_more: object) -> None:
        await trio.sleep_forever()

    async with open_for_callers(tmp_path) as desk:
        desk.call()
        await begun(desk)
        monkeypatch.setattr(LastWords, "say", say)
        began = trio.current_time()
        await desk.reception.stays.drain(5.0, 10.0)
        assert desk.left_with() == "shutdown"
        assert trio.current_time() - began == pytest.approx(15.0, abs=0.5)
    assert desk.results("shutdown") == 1


async def test_a_caller_who_is_still_being_answered_at_the_end_is_handed_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.slow("POST /channels/*/answer", 1000.0)
        desk.call()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await desk.reception.stays.drain(1.0, 1.0)
        assert desk.left_with() == "shutdown"
        assert trio.current_time() - began <= 2.0 + LEAVING_TIME
    assert desk.results("shutdown") == 1


async def test_a_caller_who_was_being_answered_when_the_patience_ended_is_told_as_well(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.slow("POST /channels/*/answer", 3.0)
        desk.call()
        await wait_all_tasks_blocked()
        await desk.reception.stays.drain(1.0, 100.0)
        assert desk.left_with() == "shutdown"
        assert desk.results("shutdown") == 1
        assert trio.current_time() < 60.0, "told, not waited for"


async def test_callers_of_a_daemon_that_is_cancelled_are_handed_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call()
        await begun(desk)
        async with trio.open_nursery() as calls:
            desk.reception.nursery = calls
            desk.call(caller="1700000000.2")
            await desk.until(lambda: len(desk.agent.sessions) == 2)
            calls.cancel_scope.cancel()
        assert desk.left_with("1700000000.2") == "failed:internal"
        assert desk.left_with() is None
        desk.hang_up()


async def test_a_reload_while_a_caller_is_answered_does_not_close_their_agent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        roster, open_agents = desk.reception.roster, list[str]()

        @asynccontextmanager
        async def open_agent(_name: str, config: AgentConfig) -> AsyncIterator[Agent]:
            await trio.lowlevel.checkpoint()
            open_agents.append(config.greeting)
            yield desk.agent
            open_agents.remove(config.greeting)

        async def reload(_request: Request) -> None:
            await roster.replace({"default": attrs.evolve(QUIET, greeting="the next one")})
            await trio.sleep(1.0)

        roster.open_agent = open_agent
        await roster.replace({"default": attrs.evolve(QUIET, greeting="theirs")})
        desk.asterisk.rule("POST /channels/*/answer", reload)
        desk.call()
        await begun(desk)
        assert desk.session.said == ["theirs"]
        assert open_agents == ["theirs", "the next one"]
        desk.hang_up()
        await desk.over()
        await wait_all_tasks_blocked()
        assert open_agents == ["the next one"]


@pytest.mark.parametrize("status", [404, 409])
async def test_a_caller_who_was_gone_before_the_answer_is_no_failure(
    status: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST /channels/*/answer", Answer.refusal(status, "not there"))
        desk.call()
        await desk.over()
        assert desk.results("caller-hung-up") == 1
        assert desk.agent.opened == 0
        assert not desk.asterisk.continued


@pytest.mark.parametrize("status", [400, 401, 403, 412, 500, 503])
async def test_a_caller_whom_asterisk_does_not_let_us_answer_is_not_taken_for_gone(
    status: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST /channels/*/answer", Answer.refusal(status, "Write access denied"))
        with structlog.testing.capture_logs() as logs:
            desk.call()
            await desk.over()
        assert desk.left_with() == "failed:internal"
        assert desk.results("failed:internal") == 1
    (told,) = [entry for entry in logs if entry["event"] == "the caller cannot be answered"]
    assert told["log_level"] == "error"
    assert ("read_only = no" in told["remedy"]) is (status == 403)


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(503, "not now")])
async def test_an_answer_that_fails_once_is_asked_for_again(
    answer: Answer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST /channels/*/answer", answer, times=1)
        desk.call()
        await begun(desk)
        desk.hang_up()
    assert desk.results("caller-hung-up") == 1


async def test_a_caller_who_cannot_be_sent_silence_is_served_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST /channels/*/silence", Answer(drop=True))
        desk.call()
        await begun(desk)
        desk.hang_up()


@pytest.mark.parametrize("request_", ["variable", "continue"])
@pytest.mark.parametrize(
    "answer", [Answer(drop=True), *(Answer.refusal(status, "no") for status in (400, 401, 403, 412, 500, 503))]
)
async def test_a_caller_who_is_refused_goes_on_whatever_becomes_of_the_requests(
    answer: Answer, request_: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule(f"POST */{request_}", answer, times=3)
        desk.call("agent=nobody")
        await desk.until(lambda: desk.asterisk.continued)
        await desk.over()
        assert desk.results("refused:agent") == 1


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.5, 5.0])
@pytest.mark.parametrize("fault", [None, Answer(drop=True), Answer.refusal(503, "not now")])
async def test_a_call_that_is_cancelled_hands_its_caller_back(
    fault: Answer | None, moment: float, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        for request in ("answer", "silence"):
            desk.asterisk.slow(f"POST */{request}", 0.1)
        if fault is not None:
            desk.asterisk.rule("POST */continue", fault, times=2)
        async with trio.open_nursery() as calls:
            desk.reception.nursery = calls
            desk.call()
            await trio.sleep(moment)
            calls.cancel_scope.cancel()
        assert desk.left_with() == "failed:internal"
        assert desk.results("failed:internal") == 1
        assert not desk.client.hand_backs.channels


async def test_a_daemon_that_is_stopped_waits_for_what_is_owed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST */continue", Answer.refusal(503, "not now"), times=6)
        desk.call("agent=nobody")
        await trio.sleep(1.0)
        await desk.reception.stays.drain(20.0, 15.0)
        assert desk.asterisk.continued


async def test_a_call_counts_as_ended_once_its_caller_is_handed_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST */continue", Answer.refusal(403, "Write access denied"))
        with structlog.testing.capture_logs() as logs:
            desk.call("agent=nobody")
            await desk.over()
            assert desk.results("refused:agent") == 0
            assert [entry["hand_back"] for entry in logs if entry["event"] == "call ended"] == ["owed"]
            desk.asterisk.rules.clear()
            await desk.until(lambda: desk.asterisk.continued)
            await wait_all_tasks_blocked()
        assert desk.results("refused:agent") == 1


async def test_a_transfer_that_was_refused_counts_as_a_failure(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("POST */continue", Answer.refusal(400, "no"), times=1)
        desk.call()
        await begun(desk)
        (call,) = desk.reception.stays._calls
        call._inbox.post(happens.DepartureRequested(Result.TRANSFERRED, Destination("from-internal", "200")))
        await desk.over()
        assert desk.left_with() == "failed:transfer"
        assert (desk.results("transferred"), desk.results("failed:transfer")) == (0, 1)


async def test_a_defect_in_a_call_hands_its_caller_back_and_ends_no_other(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call(caller="1700000000.2")
        await begun(desk)
        monkeypatch.setattr(CallFigures, "began", lambda _figures, _utterance: 1 / 0)
        with structlog.testing.capture_logs() as logs:
            desk.call()
            await desk.until(lambda: desk.left_with())
        assert desk.left_with() == "failed:internal"
        assert [log["event"] for log in logs if log["log_level"] == "error"] == [
            "the call failed inside agentd; its channel goes on in the dialplan"
        ]
        assert desk.reception.stays.active == 1
        desk.hang_up("1700000000.2")


async def test_the_watchdog_expects_the_line_s_clock_only_while_there_are_calls(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        assert not desk.playing_clock
        desk.call()
        await begun(desk)
        assert desk.playing_clock
        desk.hang_up()
        await desk.over()
        assert not desk.playing_clock


async def test_a_hang_up_while_the_agent_opens_leaves_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.agent.opening = stand_still
        desk.call()
        await trio.sleep(1.0)
        desk.hang_up()
        await desk.over()
        desk.nothing_is_left()


# --- how the agent's voice goes back


async def test_a_call_streams_by_default(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call()
        await begun(desk)
        await trio.sleep(1.5)
        assert b"".join(pcm for _, pcm in desk.lines.all[0].frames if any(pcm)) == voice(1.0)
        assert not desk.asterisk.asked("*/play/*")
        assert not desk.asterisk.asked("*/snoop/*")
        desk.hang_up()


async def test_a_call_in_file_mode_plays_files_and_streams_nothing(tmp_path: Path) -> None:
    """Files are written in threads: on the real clock."""
    async with open_for_callers(tmp_path, {"default": FILES}) as desk:
        desk.call()
        await desk.until(lambda: desk.asterisk.playbacks)
        (media,) = desk.asterisk.playbacks.values()
        assert Path(media.removeprefix("sound:") + ".sln").read_bytes() == voice(1.0)
        assert desk.asterisk.asked("*/snoop/*")
        assert not any(any(pcm) for _, pcm in desk.lines.all[0].frames)
        desk.hang_up()
    assert not list(tmp_path.iterdir())


async def test_what_an_agent_says_at_its_end_is_heard_and_the_caller_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.call()
        await begun(desk)
        desk.session.emit(tells.Ended())
        await desk.over()
        assert desk.left_with() == "completed"
        assert b"".join(pcm for _, pcm in desk.lines.all[0].frames if any(pcm)) == voice(1.0)


# --- wideband


async def rate_of(
    desk: FrontDesk, native_format: str = "(g722)", version: str = "22.10.1", *arguments: str
) -> tuple[int, str]:
    """The rate of a call's audio in Hz, and what its leg was asked to carry."""
    desk.asterisk.native_format, desk.asterisk.version = native_format, version
    desk.agent.rates = WIDEBAND
    desk.call(*arguments)
    await begun(desk)
    legs = [request for request in desk.asterisk.requests if str(request) == "POST /channels/externalMedia"]
    desk.hang_up()
    await desk.over()
    return desk.agent.calls[-1].rate, legs[-1].params["format"] if legs else "fork"


async def test_16_khz_where_telephone_asterisk_and_agent_have_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        assert await rate_of(desk) == (16000, "slin16")
        assert {len(pcm) for _, pcm in desk.lines.all[0].frames} == {640}, "20 ms"


@pytest.mark.parametrize("native_format", ["(ulaw)", "(alaw|g722)", "", "()"])
async def test_8_khz_where_the_telephone_sends_no_more(
    native_format: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        assert await rate_of(desk, native_format) == (8000, "slin")


@pytest.mark.parametrize("version", ["18.26.0", "22.6.1", "20.16.0", "", "GIT-master"])
async def test_8_khz_where_asterisk_s_audiosocket_carries_no_more(
    version: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        assert await rate_of(desk, "(g722)", version) == (8000, "slin")


async def test_8_khz_where_the_agent_takes_no_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.native_format = "(g722)"
        desk.call()
        await begun(desk)
        assert desk.agent.calls[0].rate == 8000
        assert not desk.asterisk.asked("GET *"), "and nobody is asked"
        desk.hang_up()


async def test_8_khz_over_a_fork(tmp_path: Path, autojump_clock: MockClock) -> None:
    """AudioSocket() of the dialplan sends slin, whatever the channel carries."""
    async with open_for_callers(tmp_path) as desk:
        assert await rate_of(desk, "(g722)", "22.10.1", "media=fork") == (8000, "fork")


async def test_8_khz_where_wideband_is_switched_off(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path, audiosocket=AudioSocket(wideband=False)) as desk:
        assert await rate_of(desk) == (8000, "slin")


@pytest.mark.parametrize("question", ["GET /asterisk/info", "GET /channels/*/variable"])
async def test_8_khz_where_it_cannot_be_told(question: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule(question, Answer.refusal(500, "no"))
        assert await rate_of(desk) == (8000, "slin")


async def test_8_khz_where_a_fallback_takes_no_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path, WITH_FALLBACK) as desk:
        assert await rate_of(desk) == (8000, "slin")
    async with open_for_callers(tmp_path, WITH_FALLBACK) as desk:
        desk.agents["night"].rates = WIDEBAND
        assert await rate_of(desk) == (16000, "slin16")


# --- fallbacks


@pytest.mark.parametrize("hindrance", ["cannot be opened", "is not ready", "opens no session"])
async def test_a_caller_whose_agent_is_in_trouble_is_served_by_its_fallback(
    hindrance: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    shut = ("default",) if hindrance == "cannot be opened" else ()
    async with open_for_callers(tmp_path, WITH_FALLBACK, shut=shut) as desk:
        if hindrance == "is not ready":
            desk.agent.readiness = Readiness(False, "the engine is being restarted")
        desk.agent.opening = failing(ProviderUnavailable("no route"))
        desk.call()
        night = desk.agents["night"]
        await desk.until(lambda: night.sessions and night.session.begun)
        assert night.session.said == [QUIET.greeting], "it greets as the agent whose call this is"
        desk.hang_up()


async def test_a_caller_is_handed_back_when_the_fallbacks_are_not_ready_either(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path, WITH_FALLBACK) as desk:
        for agent in desk.agents.values():
            agent.readiness = Readiness(False, "the engine is being restarted")
        desk.call()
        await desk.over()
        assert desk.left_with() == "refused:agent"
        assert not desk.asterisk.asked("*/answer")


async def test_an_agent_that_is_down_is_not_asked_by_the_next_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path, WITH_FALLBACK) as desk:
        desk.agent.opening = failing(ProviderUnavailable("no route"))
        for count in range(1, FAILURES + 3):
            desk.call()
            await desk.until(lambda count=count: len(desk.agents["night"].sessions) == count)
            desk.hang_up()
            await desk.over()
        assert desk.agent.opened == FAILURES


async def test_what_a_call_says_and_waits_for_is_its_own_agent_s(tmp_path: Path, autojump_clock: MockClock) -> None:
    agents = {
        **WITH_FALLBACK,
        "default": attrs.evolve(WITH_FALLBACK["default"], failover=Failover(2.0, 3.0, "Wait.", "Sorry?")),
    }
    async with open_for_callers(tmp_path, agents) as desk:
        desk.call()
        await begun(desk)
        (call,) = desk.reception.stays._calls
        assert call.settings.failover == FailoverTimes(2.0, 3.0, "Wait.", "Sorry?")
        assert [candidate.name for candidate in call.candidates] == ["default", "night"]
        assert all("Wait." in candidate.spoken for candidate in call.candidates)
        desk.hang_up()


# --- settings


async def test_what_must_be_heard_and_said_comes_from_the_configuration(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    agent = attrs.evolve(AgentConfig(), greeting_interruptible=False)
    async with open_for_callers(tmp_path, {"default": agent}) as desk:
        desk.call()
        await begun(desk)
        desk.session.emit(
            tells.CallerSpeechStarted(0.1), tells.CallerTakesTurn(0.2), tells.CallerSpeechDismissed("noise")
        )
        await trio.sleep(1.5)
        assert desk.session.reports == [(1, 1000, True)], "a greeting that must not be interrupted"
        await desk.over()  # nobody says anything any more
        assert desk.session.said == [agent.greeting, *[agent.liveness.check_in] * agent.liveness.check_ins]
        assert desk.left_with() == "caller-silent"
