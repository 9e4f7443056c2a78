"""What systemd is told while the daemon runs: what is so, when it changes; and to be patient."""

import attrs
import trio
from trio.testing import MockClock

from agentd.agent import Readiness
from agentd.service.notify import Notifier
from agentd.service.report import AgentHealth, HealthReport, Phase
from agentd.service.status import EXTEND_EVERY, EXTENSION, LONGEST_START, tell_status

WELL = HealthReport(True, {"audiosocket": True}, 0, {"default": AgentHealth(Readiness(True))}, 0.0)


@attrs.define(eq=False)
class Systemd(Notifier):
    """What it was told, and when."""

    lines: list[tuple[float, str]] = attrs.field(factory=list)
    extensions: list[float] = attrs.field(factory=list)

    def status(self, text: str) -> None:
        self.lines.append((trio.current_time(), text))

    def extend(self, seconds: float) -> None:
        assert seconds == EXTENSION
        self.extensions.append(trio.current_time())


@attrs.define(eq=False)
class Daemon:
    report: HealthReport = WELL

    def change(self, **change: object) -> None:
        self.report = attrs.evolve(self.report, **change)


async def test_the_line_is_written_when_it_changes_and_at_no_other_time(autojump_clock: MockClock) -> None:
    systemd, daemon = Systemd(), Daemon()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_status, systemd, lambda: daemon.report)
        await trio.sleep(100.5)
        daemon.change(active_calls=1)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert systemd.lines == [(0.0, "serving 0 calls"), (101.0, "serving 1 call")]
    assert systemd.extensions == []


async def test_it_says_since_when_ari_is_down_and_takes_it_back(autojump_clock: MockClock) -> None:
    systemd, daemon = Systemd(), Daemon()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_status, systemd, lambda: daemon.report)
        await trio.sleep(0.5)
        daemon.change(ari_connected=False)
        await trio.sleep(100)
        daemon.change(ari_connected=True)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    lines = [line for _, line in systemd.lines]
    assert len(lines) == 3, "the time is that of the loss, and stays"
    assert lines[1].startswith("no new calls: ARI is down since 20")
    assert lines[2] == lines[0]


async def test_more_time_is_asked_for_while_it_starts_and_drains_and_never_for_good(autojump_clock: MockClock) -> None:
    systemd, daemon = Systemd(), Daemon(attrs.evolve(WELL, phase=Phase.STARTING))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_status, systemd, lambda: daemon.report)
        await trio.sleep(LONGEST_START * 2)
        assert systemd.extensions[0] == 0.0
        pauses = [later - earlier for earlier, later in zip(systemd.extensions, systemd.extensions[1:], strict=False)]
        assert set(pauses) == {EXTEND_EVERY}
        assert LONGEST_START - EXTEND_EVERY <= systemd.extensions[-1] < LONGEST_START
        systemd.extensions.clear()
        daemon.change(phase=Phase.SERVING)
        await trio.sleep(100)
        assert systemd.extensions == []
        daemon.change(phase=Phase.DRAINING)
        await trio.sleep(35)
        assert len(systemd.extensions) == 4
        nursery.cancel_scope.cancel()
    assert EXTENSION > 2 * EXTEND_EVERY
