"""The daemon as a whole: what may end it, and what signals do, in whatever phase it is."""

from pathlib import Path

import httpx
import outcome
import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.config.settings import AudioSocket, Health
from agentd.testing.clock import until
from tests.shell.service.daemon_scene import DaemonScene, daemon_scene

pytestmark = pytest.mark.loopback

WHILE_UP = 30.0
"""Seconds within which a part that raised has to be up again."""


async def raise_in(task: trio.lowlevel.Task, error: Exception) -> None:
    """Have a task raise where it waits, as if what it waits for had."""
    while task._abort_func is None:  # it works just now
        await trio.lowlevel.checkpoint()
    task._attempt_abort(outcome.Error(error).unwrap)


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
        (connection,) = [task for task in calls.child_tasks if "_run_handler" in task.name]
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
        (call,) = [task for task in scene.task.child_nurseries[0].child_tasks if "_run_handler" not in task.name]
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
