"""From one agentd to the next: whose calls are gone on with, whose are not, and what is left of either."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from agentd import session_events as tells
from agentd.calls.record import CallRecord, from_bytes, to_bytes
from agentd.config.settings import AgentConfig, Calls, Failover, Liveness
from agentd.history import Speaker, Turn
from agentd.service import record_files
from agentd.service.adoptable import MOST_ADOPTIONS
from agentd.service.leaving import leave_mark
from agentd.service.record_files import RecordFiles
from agentd.service.supervisor import Supervisor
from agentd.testing.clock import until
from tests.shell.fakes import FakeAgent
from tests.shell.service.daemon_scene import CALLER, QUIET, DaemonScene, daemon_scene

pytestmark = pytest.mark.loopback


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that systemd would have made, as if it were in memory."""
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(path))
    monkeypatch.setattr(record_files, "lives_in_memory", lambda *_: True)
    return path


def records(runtime: Path) -> list[CallRecord]:
    """Those that are there; a daemon may be at work on them."""
    found = []
    for path in runtime.glob("*.call"):
        with suppress(FileNotFoundError):
            found.append(from_bytes(path.read_bytes()))
    return found


async def recorded(runtime: Path, condition: Callable[[CallRecord], object]) -> CallRecord:
    await until(lambda: any(condition(record) for record in records(runtime)))
    return next(record for record in records(runtime) if condition(record))


async def a_caller_talks(scene: DaemonScene) -> None:
    await scene.call()
    await until(lambda: scene.agent.sessions and scene.agent.session.begun)


async def another_agentd(scene: DaemonScene) -> FakeAgent:
    """The daemon is over, and started again; gives the agent that it opens."""
    agent = scene.provider.agents["default"] = FakeAgent()
    assert scene.supervisor is not None
    first = scene.supervisor
    scene.supervisor = Supervisor(scene.config, first.ari_password, lambda: scene.config, scene.notifier)
    scene.notifier.told.clear()
    scene.ended = trio.Event()
    scene.nursery.start_soon(scene.run)
    return agent


def told(scene: DaemonScene, name: str, **labels: str) -> float:
    return scene.supervisor.metrics.registry.get_sample_value(f"agentd_{name}", labels) or 0.0


@attrs.frozen
class Host:
    """The host on which one agentd follows another."""

    path: Path
    monkeypatch: pytest.MonkeyPatch
    runtime: Path

    def daemon(
        self, agents: dict[str, AgentConfig] | None = None, **config: Any
    ) -> AbstractAsyncContextManager[DaemonScene]:
        """A daemon that is to be started."""
        return daemon_scene(self.path, self.monkeypatch, agents, **config)

    @asynccontextmanager
    async def after_a_crash(
        self, record: CallRecord, agents: dict[str, AgentConfig] | None = None
    ) -> AsyncIterator[DaemonScene]:
        """The same, where one that was killed has left the caller of this record."""
        async with self.daemon(agents) as scene:
            left_by_a_crash(scene, self.runtime, record)
            yield scene


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path) -> Host:
    return Host(tmp_path, monkeypatch, runtime)


@pytest.fixture
async def record(host: Host, runtime: Path) -> CallRecord:
    """What a daemon writes down of a call in which the agent is in the middle of an answer."""
    async with host.daemon() as scene:
        await scene.up()
        await a_caller_talks(scene)
        session = scene.agent.session
        await until(lambda: session.reports)
        session.history.caller_said("When do you open?")
        session.emit(tells.CallerSpeechEnded(0.0, 0.0))
        await session.utter("We open at nine", "and close at five.", seconds=5.0)
        record = await recorded(runtime, lambda record: record.agent_spoke and record.turns[-1].text)
        await over(scene)
        await until(lambda: records(runtime) == [])
    return record


async def over(scene: DaemonScene) -> None:
    """The caller hangs up, and the call ends."""
    await scene.hang_up()
    await until(lambda: not scene.report.active_calls)


def left_by_a_crash(scene: DaemonScene, runtime: Path, record: CallRecord, caller: str = CALLER) -> None:
    """A caller whom an agentd that was killed has left, with a leg of its own, and its record."""
    scene.asterisk.enter(caller)
    scene.asterisk.enter("agentd-leg-media-1", "AudioSocket/media")
    scene.asterisk.bridges["agentd-leg-bridge-1"] = {caller, "agentd-leg-media-1"}
    record = attrs.evolve(record, call_id=caller, stay=attrs.evolve(record.stay, channel=caller))
    RecordFiles(runtime, "agentd").write(caller, to_bytes(record))


async def test_a_record_follows_its_call_and_goes_with_it(record: CallRecord) -> None:
    assert record.call_id == record.stay.channel == CALLER
    assert (record.agent, record.serving, record.transport, record.streaming) == (
        "default",
        "default",
        "external",
        True,
    )
    assert [turn.speaker for turn in record.turns] == [Speaker.AGENT, Speaker.CALLER, Speaker.AGENT]
    answer = record.turns[-1]
    assert "We open at nine".startswith(answer.text)
    assert 0 < len(answer.text) <= len(answer.generated)


async def test_after_a_crash_the_call_goes_on_with_what_was_said_and_heard(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    async with host.after_a_crash(record) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions and "resume" in scene.agent.session.told)
        assert scene.agent.histories[0][-2:] == ["When do you open?", record.turns[-1].text]
        assert scene.left_with() is None
        assert "agentd-leg-media-1" not in scene.asterisk.channels, "the leg of the one before is gone"
        assert "agentd-leg-bridge-1" not in scene.asterisk.bridges
        await until(lambda: scene.heard)
        assert told(scene, "calls_adopted_total") == 1
        assert scene.report.active_calls == 1
        await over(scene)
        await until(lambda: records(runtime) == [])
        assert scene.left_with() is None


async def test_who_was_greeted_is_not_greeted_again_and_hears_first_that_we_are_back(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    async with host.daemon() as scene:
        await scene.up()  # the words of the agent are kept for the next one
        await until(lambda: len(list(runtime.glob("*.words"))) == 2)
        leave_mark(runtime)
        scene.supervisor._life.cancel()
        await scene.ended.wait()
        gate = trio.Event()
        left_by_a_crash(scene, runtime, record)
        scene.provider.opening = gate.wait
        with structlog.testing.capture_logs() as logs:
            agent = await another_agentd(scene)
            await until(lambda: any(line["event"] == "utterance heard" for line in logs))
        assert not agent.sessions, "the agent is still being loaded"
        gate.set()
        await until(lambda: agent.sessions and "resume" in agent.session.told)
        assert agent.session.said == []
        await over(scene)


async def test_words_that_nobody_has_left_are_said_by_the_session(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    for words in runtime.glob("*.words"):
        words.unlink()
    async with host.after_a_crash(record) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions and scene.agent.session.said == ["Sorry, I am back."])
        await scene.hang_up()


async def test_a_call_in_which_nothing_was_cut_goes_on_without_a_word(host: Host, record: CallRecord) -> None:
    record = attrs.evolve(record, agent_spoke=False)
    async with host.after_a_crash(record) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions and len(scene.agent.session.fed) > 20)
        assert scene.agent.session.said == []
        assert "resume" not in scene.agent.session.told
        await scene.hang_up()


async def test_words_that_were_no_answer_are_said_again(host: Host, record: CallRecord) -> None:
    record = attrs.evolve(record, agent_spoke=False, repeat="Hello, how can I help you?", turns=())
    async with host.after_a_crash(record) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions and "Hello, how can I help you?" in scene.agent.session.said)
        await scene.hang_up()


@pytest.mark.parametrize("found", ["nothing", "rubbish", "cut", "an old version", "another caller's", "of no agent"])
async def test_whom_no_good_record_names_is_handed_back_at_once(
    found: str, host: Host, record: CallRecord, runtime: Path
) -> None:
    files = RecordFiles(runtime, "agentd")
    async with host.after_a_crash(record) as scene:
        whole = to_bytes(record)
        wrong = {
            "nothing": None,
            "rubbish": b"\x00rubbish",
            "cut": whole[:-20],
            "an old version": whole.replace(b'"version":1', b'"version":0'),
            "another caller's": to_bytes(attrs.evolve(record, stay=attrs.evolve(record.stay, channel="17.2"))),
            "of no agent": to_bytes(attrs.evolve(record, agent="gone")),
        }[found]
        if wrong is None:
            files.remove([files.path(CALLER)])
        else:
            files.write(CALLER, wrong)
        scene.provider.opening = trio.Event().wait  # no agent is ever there
        scene.nursery.start_soon(scene.run)
        await until(lambda: scene.left_with() == "failed:internal")
        await until(lambda: files.read() == {})
        assert told(scene, "calls_adopted_total") == 0


async def test_who_has_hung_up_meanwhile_leaves_nothing(host: Host, record: CallRecord, runtime: Path) -> None:
    async with host.after_a_crash(record) as scene:
        scene.asterisk.gone(CALLER)
        await scene.up()
        await until(lambda: records(runtime) == [])
        assert scene.report.active_calls == 0
        assert not scene.asterisk.bridges


async def test_who_hangs_up_before_anybody_listens_is_found_gone(host: Host, record: CallRecord, runtime: Path) -> None:
    """Between the listing and the event stream no event is told."""
    async with host.after_a_crash(record) as scene:

        async def leave(_request: object) -> None:
            scene.asterisk.gone(CALLER)
            await trio.lowlevel.checkpoint()

        scene.asterisk.rule("GET /bridges", leave, times=1)
        await scene.up()
        await until(lambda: told(scene, "calls_total", result="caller-hung-up") == 1)
        await until(lambda: not scene.report.active_calls and records(runtime) == [])
        assert not scene.asterisk.bridges


async def test_a_call_that_ends_the_daemon_again_and_again_is_handed_back(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    async with host.after_a_crash(attrs.evolve(record, adoptions=MOST_ADOPTIONS - 1)) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions)
        [kept] = records(runtime)
        assert kept.adoptions == MOST_ADOPTIONS
        await over(scene)
    async with host.after_a_crash(kept) as scene:
        await scene.up()
        await until(lambda: scene.left_with() == "failed:internal")
        assert told(scene, "adoptions_refused_total", reason="too_often") == 1


async def test_a_minute_of_calm_counts_the_adoptions_anew(
    host: Host, record: CallRecord, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host.after_a_crash(attrs.evolve(record, adoptions=1)) as scene:
        await scene.up()
        await until(lambda: scene.agent.sessions and records(runtime)[0].adoptions == 2)
        monkeypatch.setattr("agentd.service.adoptable.CALM_SECONDS", 0.0)
        await recorded(runtime, lambda record: record.adoptions == 0)
        await scene.hang_up()


async def test_a_restart_leaves_the_callers_to_the_next_agentd_and_is_quick(host: Host, runtime: Path) -> None:
    async with host.daemon(calls=Calls(drain_timeout=100.0)) as scene:
        await scene.up()
        await a_caller_talks(scene)
        await until(lambda: scene.agent.session.reports)
        scene.agent.session.history.caller_said("I would like a table for two.")
        leave_mark(runtime)
        told_at = trio.current_time()
        signal.raise_signal(signal.SIGTERM)
        await scene.ended.wait()
        assert trio.current_time() - told_at < 10.0
        assert scene.left_with() is None
        assert CALLER in scene.asterisk.in_app
        assert CALLER in scene.asterisk.silent, "the line carries silence meanwhile"
        assert not scene.asterisk.bridges
        [record] = records(runtime)
        assert record.turns[-1] == Turn(Speaker.CALLER, "I would like a table for two.")
        agent = await another_agentd(scene)
        await until(lambda: agent.sessions)
        assert agent.histories[0][-1] == "I would like a table for two."
        assert told(scene, "calls_adopted_total") == 1
        await over(scene)


async def test_a_stop_hands_every_caller_back_and_leaves_no_record(host: Host, runtime: Path) -> None:
    async with host.daemon(calls=Calls(drain_timeout=0.0)) as scene:
        await scene.up()
        await a_caller_talks(scene)
        await recorded(runtime, lambda _record: True)
        signal.raise_signal(signal.SIGTERM)
        await scene.ended.wait()
        assert scene.left_with() == "shutdown"
        assert records(runtime) == []


async def test_where_nothing_can_be_noted_a_restart_is_a_stop(
    host: Host, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "lives_in_memory", lambda *_: False)
    async with host.daemon(calls=Calls(drain_timeout=0.0)) as scene:
        await scene.up()
        await a_caller_talks(scene)
        leave_mark(runtime)
        signal.raise_signal(signal.SIGTERM)
        await scene.ended.wait()
        assert scene.left_with() == "shutdown"


async def test_an_asterisk_that_is_there_later_than_agentd_loses_no_caller(host: Host, record: CallRecord) -> None:
    from agentd.testing._ari_server import Answer

    async with host.after_a_crash(record) as scene:
        scene.asterisk.rule("*", Answer(drop=True))
        scene.asterisk.reject_events = 503
        scene.nursery.start_soon(scene.run)
        await until(lambda: "READY=1" in scene.notifier.told)
        scene.asterisk.rules.clear()
        scene.asterisk.reject_events = 0
        await until(lambda: scene.agent.sessions and "resume" in scene.agent.session.told)
        assert scene.left_with() is None
        await over(scene)


async def test_callers_of_another_agentd_that_is_alive_are_left_to_it(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    alive = RecordFiles(runtime, "agentd")
    alive.open()
    try:
        async with host.after_a_crash(record) as scene:
            with structlog.testing.capture_logs() as logs:
                scene.nursery.start_soon(scene.run)
                await until(lambda: any(line["event"] == "do two agentd run?" for line in logs))
                await until(lambda: scene.asterisk.sockets)
            assert scene.left_with() is None
            assert records(runtime) == [record]
            scene.asterisk.gone(CALLER)
    finally:
        alive.close()


async def test_new_callers_while_the_agents_are_being_opened_go_on_in_the_dialplan(
    host: Host, record: CallRecord
) -> None:
    """The application is there early, for the callers of the agentd before."""
    async with host.after_a_crash(record) as scene:
        gate = trio.Event()
        scene.provider.opening = gate.wait
        scene.nursery.start_soon(scene.run)
        await until(lambda: scene.heard)
        await scene.call("17.9")
        await until(lambda: scene.left_with("17.9") == "refused:agent")
        gate.set()
        await until(lambda: scene.agent.sessions)
        await over(scene)


async def test_a_caller_whose_agent_cannot_be_opened_goes_on_with_its_fallback(host: Host, record: CallRecord) -> None:
    agents = {"default": attrs.evolve(QUIET, fallback=["other"]), "other": QUIET}
    async with host.after_a_crash(record, agents) as scene:
        scene.provider.agents = {"other": FakeAgent()}
        await scene.up()
        await until(lambda: scene.provider.agents["other"].sessions)
        assert scene.left_with() is None
        await over(scene)


async def test_a_caller_whose_agent_does_not_take_the_call_s_audio_any_more_goes_on_with_one_that_does(
    host: Host, record: CallRecord
) -> None:
    """One that was changed to the telephone band before the restart was given the wide one, at half its speed."""
    record = attrs.evolve(record, rate=16000)
    agents = {"default": attrs.evolve(QUIET, fallback=["other"]), "other": QUIET}
    async with host.after_a_crash(record, agents) as scene:
        narrow, wide = FakeAgent(), FakeAgent()
        wide.rates = (8000, 16000)
        scene.provider.agents = {"default": narrow, "other": wide}
        await scene.up()
        await until(lambda: wide.sessions)
        assert not narrow.sessions
        await over(scene)


async def test_an_agent_that_could_not_be_opened_at_once_has_the_call_when_it_is(
    host: Host, record: CallRecord
) -> None:
    """As on a host that is busy with loading: an engine was late once, and the calls of its agent ended."""
    async with host.after_a_crash(record) as scene:
        agents, scene.provider.agents = scene.provider.agents, {}
        with structlog.testing.capture_logs() as logs:
            scene.nursery.start_soon(scene.run)
            await until(lambda: any(line["event"] == "agent cannot be opened" for line in logs))
        scene.provider.agents = agents
        await until(lambda: agents["default"].sessions)
        assert scene.left_with() is None
        await over(scene)


async def test_a_caller_whom_no_agent_can_serve_any_more_is_handed_back(
    host: Host, record: CallRecord, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.serving.roster.AGAIN_FOR", 0.2)
    async with host.after_a_crash(record) as scene:
        scene.provider.agents = {}
        scene.nursery.start_soon(scene.run)
        await until(lambda: "sound:sorry" in scene.asterisk.playbacks.values())
        await until(lambda: records(runtime) == [])
        await over(scene)


async def test_who_waits_for_an_agent_that_is_never_there_is_dead_air(
    host: Host, record: CallRecord, runtime: Path
) -> None:
    for words in runtime.glob("*.words"):
        words.unlink()
    quiet = AgentConfig(liveness=Liveness(check_in_after=0.0, dead_air_after=1.0), failover=Failover(restart_words=""))
    async with host.after_a_crash(record, {"default": quiet}) as scene:
        scene.provider.opening = trio.Event().wait
        with structlog.testing.capture_logs() as logs:
            scene.nursery.start_soon(scene.run)
            await until(lambda: any(line["event"] == "leaving" for line in logs))
        [left] = [line for line in logs if line["event"] == "leaving"]
        assert left["result"] == "failed:silence"
        await scene.hang_up()
