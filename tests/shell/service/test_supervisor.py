"""The daemon as a whole: what may end it, and what signals do, in whatever phase it is."""

import signal
from pathlib import Path

import attrs
import httpx
import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.config.settings import Asterisk, AudioSocket, Calls, Config, Health
from agentd.service.leaving import Leaving, leave_mark
from agentd.service.stays import LEAVING_TIME
from agentd.testing.clock import until
from tests.shell.service.daemon_scene import QUIET, DaemonScene, daemon_scene, free_port, raise_in

pytestmark = pytest.mark.loopback

WHILE_UP = 30.0
"""Seconds within which a part that raised has to be up again."""


async def a_caller_talks(scene: DaemonScene) -> None:
    await scene.call()
    await until(lambda: scene.agent.sessions and scene.agent.session.begun)


async def is_served(scene: DaemonScene) -> None:
    """The caller's voice still comes to the agent, and the line still carries to the caller."""
    fed, heard = len(scene.agent.session.fed), dict(scene.heard)
    await until(lambda: len(scene.agent.session.fed) > fed + 5)
    await until(lambda: any(scene.heard[leg] > before for leg, before in heard.items()))
    assert scene.left_with() is None
    assert scene.agent.opened == 1


async def test_whatever_part_raises_the_daemon_lives_and_a_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        await a_caller_talks(scene)
        names = [task.name for task in scene.parts()]
        assert len(names) >= 9, names
        await until(lambda: scene.report.healthy)
        for name in names:
            with structlog.testing.capture_logs() as logs:
                (task,) = [task for task in scene.parts() if task.name == name]
                await raise_in(task, RuntimeError("injected"))
                await until(lambda: not scene.report.healthy)
                assert not scene.ended.is_set()
                await until(lambda: scene.report.healthy, WHILE_UP)
                await is_served(scene)
            assert len([log for log in logs if log.get("exc_info")]) == 1, (name, logs)
            if not name.startswith(
                "agent "
            ):  # which has a frame of its own within: what it serves is tried again later
                assert scene.restarts(name) == 1, name
        async with httpx.AsyncClient(trust_env=False) as client:
            page = await client.get(f"http://127.0.0.1:{scene.config.health.port}/health")
        assert page.status_code == 200
        await scene.hang_up()
        await until(lambda: not scene.report.active_calls)


async def test_the_root_nursery_has_parts_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a part would have no frame, and end the daemon."""
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        await a_caller_talks(scene)
        await wait_all_tasks_blocked()
        assert {task.name for task in scene.parts()} == {*scene.report.parts}
        await scene.hang_up()


async def test_a_connection_that_fails_ends_itself_and_its_call_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        await a_caller_talks(scene)
        assert scene.task is not None
        calls = scene.task.child_nurseries[0]
        (connection,) = [task for task in calls.child_tasks if "accepting" in task.name]
        await raise_in(connection, RuntimeError("injected"))
        await until(lambda: len(scene.heard) == 2)
        await is_served(scene)
        assert not scene.ended.is_set()
        registry = scene.supervisor.metrics.registry
        assert registry.get_sample_value("agentd_audiosocket_refused_total", {"reason": "failed"}) == 1
        await scene.hang_up()


async def test_a_call_that_fails_is_handed_back_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        await a_caller_talks(scene)
        assert scene.task is not None
        (call,) = [task for task in scene.task.child_nurseries[0].child_tasks if "accepting" not in task.name]
        await raise_in(call, RuntimeError("injected"))
        await until(lambda: scene.left_with() == "failed:internal")
        await scene.call("1700000000.2")
        await until(lambda: len(scene.agent.sessions) == 2 and scene.agent.session.begun)
        await scene.hang_up("1700000000.2")
        assert not scene.ended.is_set()


async def test_a_listener_that_fails_for_long_has_no_call_ended_by_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        scene.notifier.watchdog_interval = 5.0
        await a_caller_talks(scene)

        async def refuse(*_args: object, **_more: object) -> None:
            await trio.lowlevel.checkpoint()
            raise OSError("no descriptors")

        monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
        (task,) = [task for task in scene.parts() if task.name == "audiosocket"]
        await raise_in(task, RuntimeError("injected"))
        await until(lambda: not scene.report.listening["audiosocket"])
        fed = scene.notifier.told.count("WATCHDOG=1")
        await trio.sleep(45.0)
        assert scene.notifier.told.count("WATCHDOG=1") >= fed + 8
        await is_served(scene)
        await scene.hang_up()


@pytest.mark.parametrize("table", ["health", "audiosocket"])
async def test_an_address_that_is_taken_at_the_start_ends_the_daemon_and_is_named(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = other.socket.getsockname()[1]
    settings = {"health": Health("127.0.0.1", port), "audiosocket": AudioSocket("127.0.0.1", port)}
    async with other, daemon_scene(tmp_path, monkeypatch, **{table: settings[table]}) as scene:
        with pytest.RaisesGroup(
            pytest.RaisesExc(OSError, match=rf"^127\.0\.0\.1:{port}, as \[{table}\] host and port say: "),
            flatten_subgroups=True,
        ):
            await scene.run()


# --- signals, in every phase


async def is_told(scene: DaemonScene, number: signal.Signals, within: float) -> None:
    """The daemon ends within so many seconds after a signal, and without an error."""
    signal.raise_signal(number)
    await until(scene.ended.is_set, within)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_daemon_that_loads_agents_ends_when_it_is_told(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        scene.provider.opening = trio.sleep_forever
        scene.nursery.start_soon(scene.run)
        await until(lambda: scene.pages)
        await trio.sleep(1.0)
        await is_told(scene, number, 2.0)
        assert "READY=1" not in scene.notifier.told
        assert "STOPPING=1" in scene.notifier.told


async def test_a_daemon_that_waits_for_asterisk_ends_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Asterisk(url=f"http://127.0.0.1:{free_port()}", require_at_start=True)
    async with daemon_scene(tmp_path, monkeypatch, asterisk=nowhere) as scene:
        scene.nursery.start_soon(scene.run)
        await trio.sleep(30.0)
        assert "READY=1" not in scene.notifier.told
        await is_told(scene, signal.SIGTERM, 10.0)


async def test_a_daemon_that_reloads_ends_when_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        scene.provider.opening = trio.sleep_forever
        scene.supervisor.reload = lambda: attrs.evolve(scene.config, agents={"default": QUIET, "new": QUIET})
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "RELOADING=1" in scene.notifier.told)
        await trio.sleep(1.0)
        await is_told(scene, signal.SIGTERM, 2.0)


async def test_a_daemon_with_a_call_drains_and_hands_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon_scene(tmp_path, monkeypatch, calls=Calls(drain_timeout=5.0)) as scene:
        await scene.up()
        await a_caller_talks(scene)
        await is_told(scene, signal.SIGTERM, 5.0 + 15.0 + LEAVING_TIME)
        assert scene.left_with() == "shutdown"


@pytest.mark.parametrize(
    ("number", "marked", "leaving"),
    [
        (signal.SIGTERM, True, Leaving.RESTART),
        (signal.SIGTERM, False, Leaving.STOP),
        (signal.SIGINT, True, Leaving.STOP),
    ],
)
async def test_a_daemon_knows_whether_another_one_takes_its_place(
    number: signal.Signals, marked: bool, leaving: Leaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        await scene.up()
        assert scene.supervisor.leaving is None
        if marked:
            leave_mark(tmp_path)
        await is_told(scene, number, 5.0)
        assert scene.supervisor.leaving is leaving


async def test_a_reload_that_is_asked_for_while_the_daemon_starts_comes_once_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        loaded, reloads = trio.Event(), list[str]()
        scene.provider.opening = loaded.wait

        def reload() -> Config:
            reloads.append("asked")
            return scene.config

        scene.supervisor.reload = reload
        scene.nursery.start_soon(scene.run)
        await until(lambda: scene.pages)
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(5.0)
        assert reloads == []
        assert not scene.ended.is_set()
        loaded.set()
        await until(lambda: reloads == ["asked"])
        await is_told(scene, signal.SIGTERM, 10.0)


# --- what it loads


async def test_what_was_loaded_is_frozen_before_a_caller_comes_and_after_each_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        loaded: list[bool] = []

        async def load() -> None:
            loaded.append(not scene.frozen)

        scene.provider.opening = load
        await scene.up()
        assert loaded == [True]
        assert scene.frozen == [0]
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: scene.notifier.told.count("READY=1") == 2)
        assert scene.frozen == [0, 1]


# --- who was there before


async def test_callers_whom_a_crash_left_are_handed_back_before_any_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_scene(tmp_path, monkeypatch) as scene:
        scene.asterisk.enter("1700000000.7")
        scene.provider.opening = trio.sleep_forever
        scene.nursery.start_soon(scene.run)
        await until(lambda: scene.left_with("1700000000.7") == "failed:internal")
        assert not scene.agent.opened


async def test_an_asterisk_that_is_not_there_yet_holds_up_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Asterisk(url=f"http://127.0.0.1:{free_port()}")
    async with daemon_scene(tmp_path, monkeypatch, asterisk=nowhere) as scene:
        began = trio.current_time()
        scene.nursery.start_soon(scene.run)
        await until(lambda: "READY=1" in scene.notifier.told)
        assert trio.current_time() - began <= 10.0
        await until(lambda: any("ARI is down since" in line for line in scene.notifier.told))
