"""Calls without ARI: `AudioSocket(uuid,host:port)` straight in the dialplan. The connection is the call."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd import session_events as tells
from agentd.agent import Readiness
from agentd.audiosocket.headless import HeadlessLine
from agentd.calls.figures import CallFigures
from agentd.config.settings import AudioSocket, Calls, Headless
from agentd.errors import AriError, MediaTimeout
from agentd.media.leg import LegKind
from agentd.metrics import Metrics
from agentd.testing._lines import audio_frame, dtmf_frame, make_line
from agentd.testing.sound import voice
from tests.shell.fakes import stand_still
from tests.shell.front_desk import QUIET, FrontDesk, open_for_callers

ACCEPT = AudioSocket(headless=Headless.ACCEPT)


def accepting(path: Path, **settings: Any) -> AbstractAsyncContextManager[FrontDesk]:
    return open_for_callers(path, **{"audiosocket": ACCEPT, **settings})


# --- who gets in


async def test_a_connection_that_nobody_expects_becomes_a_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, taken = desk.stranger()
        assert taken
        await desk.until(lambda: desk.agent.sessions and desk.session.begun == [1])
        assert desk.session.said == [QUIET.greeting]
        assert desk.agent.calls[0].call_id == str(line.uuid)
        await trio.sleep(2.0)
        assert b"".join(pcm for _, pcm in line.frames if any(pcm)) == voice(1.0)

        line.say(audio_frame(voice(0.02, seed=3)), dtmf_frame("5"))
        await trio.sleep(0.1)
        assert [pcm for pcm in desk.session.fed if any(pcm)] == [voice(0.02, seed=3)]
        assert desk.session.digits == ["5"]
        line.cut()
    assert not desk.asterisk.requests, "without ARI"


@pytest.mark.parametrize(
    ("name", "hindrance"),
    [
        ("not configured", lambda desk: setattr(desk.reception, "config", desk.reception.config.__class__())),
        ("draining", lambda desk: setattr(desk.reception.stays, "draining", True)),
        ("agent not ready", lambda desk: setattr(desk.agent, "readiness", Readiness(False, "restarting"))),
    ],
)
async def test_it_is_refused(name: str, hindrance: Any, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        hindrance(desk)
        line, taken = desk.stranger()
        await wait_all_tasks_blocked()
        assert not taken
        assert not line.near.calls
        assert desk.agent.opened == 0


async def test_it_is_taken_where_a_fallback_is_ready(tmp_path: Path, autojump_clock: MockClock) -> None:
    agents = {"default": attrs.evolve(QUIET, fallback=["night"]), "night": QUIET}
    async with accepting(tmp_path, agents=agents) as desk:
        desk.agent.readiness = Readiness(False, "restarting")
        line, taken = desk.stranger()
        assert taken
        await desk.until(lambda: desk.agents["night"].sessions)
        assert desk.agent.opened == 0
        line.cut()


async def test_it_is_refused_where_nothing_is_configured(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        assert desk.stranger()[1] is False


async def test_it_is_refused_when_its_agent_cannot_be_opened_with_a_log_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with accepting(tmp_path, shut=("default",)) as desk:
            assert desk.stranger()[1] is False
    (refusal,) = [log for log in logs if log["event"] == "headless call refused"]
    assert refusal["detail"] == "agent 'default' is not ready: the model is missing"


async def test_no_more_are_taken_than_there_may_be_also_when_they_come_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with accepting(tmp_path, calls=Calls(max_calls=2)) as desk:
        for _ in range(5):
            desk.stranger()
        await trio.sleep(3.0)
        assert desk.agent.opened == 2
        assert [line.released for line in desk.lines.all].count(False) == 2
        assert desk.results("refused:busy") == 3
        assert desk.stranger()[1] is False
        for line in desk.lines.all:
            line.cut()


async def test_the_agent_is_the_one_that_is_configured_for_them(tmp_path: Path, autojump_clock: MockClock) -> None:
    headless = AudioSocket(headless=Headless.ACCEPT, headless_agent="night")
    agents = {"default": QUIET, "night": attrs.evolve(QUIET, greeting="Good night")}
    async with open_for_callers(tmp_path, agents, audiosocket=headless) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agents["night"].sessions and desk.agents["night"].session.begun)
        assert desk.agents["night"].session.said == ["Good night"]
        line.cut()


# --- how it ends


async def test_the_end_of_the_connection_is_the_hang_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.begun)
        line.near.end()
        await desk.over()
        assert desk.results("caller-hung-up") == 1
        assert not line.hung_up, "there is nobody to tell"
        desk.nothing_is_left()


async def test_leaving_sends_a_hangup_frame_after_the_last_words(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.reports)
        spoken = await desk.session.utter("Goodbye")
        desk.session.emit(tells.Ended())
        await desk.over()
        assert line.hung_up
        assert b"".join(pcm for _, pcm in line.frames if any(pcm)) == voice(1.0) + spoken
        assert desk.results("completed") == 1


async def test_an_agent_that_fails_is_announced_in_its_own_voice(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.reports)
        since = trio.current_time()
        desk.agent.break_down("the model is gone")
        await desk.over()
        assert b"".join(pcm for pcm in line.since(since) if any(pcm)) == voice(0.5)
        assert line.hung_up
        assert desk.results("failed:agent") == 1


async def test_a_sound_of_asterisk_s_that_cannot_be_played_does_not_keep_the_caller(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    agents = {"default": attrs.evolve(QUIET, failure_announcement="")}
    async with accepting(tmp_path, agents=agents) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.reports)
        desk.agent.break_down("the model is gone")
        await desk.over()
        assert line.hung_up


async def test_the_end_of_the_daemon_is_announced_and_hung_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.reports)
        await desk.reception.stays.drain(1.0, 10.0)
        assert desk.reception.stays.active == 0
        assert line.hung_up
        assert desk.results("shutdown") == 1


async def test_an_interruption_is_heard_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.begun)
        await trio.sleep(0.3)
        onset = trio.current_time()
        desk.session.emit(tells.CallerSpeechStarted(onset), tells.CallerTakesTurn(onset))
        await trio.sleep(0.5)
        assert not any(map(any, line.since(onset + 0.04)))
        line.cut()


async def test_two_callers_whose_dialplan_gives_the_same_uuid_have_each_a_call(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Dialplans with a constant UUID are common."""
    uuid = uuid4()
    async with accepting(tmp_path) as desk:
        first, second = desk.stranger(uuid)[0], desk.stranger(uuid)[0]
        await trio.sleep(3.0)
        first.cut()
        await trio.sleep(1.0)
        assert desk.reception.stays.active == 1
        second.cut()
        await desk.over()
        assert desk.results("caller-hung-up") == 2


# --- nothing is left


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.5, 1.5, 3.0])
async def test_a_hang_up_at_any_moment_leaves_nothing(moment: float, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        desk.agent.opening = partial(trio.sleep, 1.0)
        line, _ = desk.stranger()
        await trio.sleep(moment)
        line.cut()
        await desk.over()
        desk.nothing_is_left()


async def test_an_agent_that_never_opens_is_given_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        desk.agent.opening = stand_still
        line, _ = desk.stranger()
        await desk.over()
        assert desk.results("failed:agent") == 1
        assert line.hung_up


async def test_a_defect_in_one_call_ends_that_call_only(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with accepting(tmp_path) as desk:
        other, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions and desk.session.begun)
        monkeypatch.setattr(CallFigures, "began", lambda _figures, _utterance: 1 / 0)
        with structlog.testing.capture_logs() as logs:
            line, _ = desk.stranger()
            await desk.until(lambda: line.released)
        assert [log["log_level"] for log in logs if "failed inside agentd" in log["event"]] == ["error"]
        assert desk.reception.stays.active == 1
        assert desk.results("failed:internal") == 1
        other.cut()


async def test_a_cancelled_daemon_releases_the_connection(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with accepting(tmp_path) as desk:
        line, _ = desk.stranger()
        await desk.until(lambda: desk.agent.sessions)
        desk.reception.nursery.cancel_scope.cancel()
    assert line.released


# --- the line itself


@pytest.fixture
async def line() -> AsyncIterator[HeadlessLine]:
    yield HeadlessLine(uuid4(), make_line(uuid4(), Metrics()).connection)


async def test_there_is_one_leg_and_no_other(line: HeadlessLine) -> None:
    with pytest.raises(MediaTimeout):
        async with line.media_leg(LegKind.LISTENING):
            pytest.fail("it cannot only listen")  # pragma: no cover
    async with line.media_leg(LegKind.STREAMING) as connection:
        assert connection is line.connection
        assert not connection.released.is_set()
    assert connection.released.is_set()
    with pytest.raises(MediaTimeout, match="one connection"):
        async with line.media_leg(LegKind.STREAMING):
            pytest.fail("it is gone")  # pragma: no cover


async def test_it_can_be_hung_up_and_nothing_else(line: HeadlessLine) -> None:
    with pytest.raises(AriError, match="without ARI"):
        await line.send_dtmf("1")
    with pytest.raises(AriError, match="without ARI"):
        await line.dialplan_has("from-internal", "200")


async def test_nothing_is_told_of_it_but_by_its_connection(line: HeadlessLine, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1000.0) as patience:
        await line.next_event()
    assert patience.cancelled_caught
    await line.carry_silence()
    assert line.lost_means_hang_up
