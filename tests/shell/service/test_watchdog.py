"""The watchdog is fed for as long as everything moves."""

import attrs
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from agentd.service.notify import Notifier
from agentd.service.watchdog import ProgressWatch, feed_watchdog


@attrs.define(eq=False)
class Watchdog(Notifier):
    """One that wants to be fed every 15 s: the seconds, from the start, at which it was."""

    watchdog_interval: float | None = 15.0
    start: float = attrs.field(factory=trio.current_time)
    fed: list[float] = attrs.field(factory=list)

    def watchdog(self) -> None:
        self.fed.append(trio.current_time() - self.start)


async def test_it_is_fed_at_its_interval_while_all_move(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    with trio.move_on_after(61):
        await feed_watchdog(watchdog, ProgressWatch({"ari_pump": 1000.0}, started=trio.current_time()))
    assert watchdog.fed == [0.0, 15.0, 30.0, 45.0, 60.0]


async def test_it_starves_while_something_is_stale_and_that_is_said_once(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    watch = ProgressWatch({"ari_pump": 20.0, "listener": 1000.0}, started=trio.current_time())
    with capture_logs() as logs, trio.move_on_after(100):
        await feed_watchdog(watchdog, watch)
    assert watchdog.fed == [0.0, 15.0]
    assert [(entry["log_level"], entry["stale"]) for entry in logs] == [("error", ["ari_pump"])]


async def test_recovery_is_logged_and_feeds_again(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    watch = ProgressWatch({"listener": 20.0}, started=trio.current_time())
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed_watchdog, watchdog, watch)
            await trio.sleep(40)
            watch.beat("listener", trio.current_time())
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    assert watchdog.fed == [0.0, 15.0, 45.0]
