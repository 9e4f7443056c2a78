"""Forty callers at once on a real Asterisk: served up to what it and this host can bear, and the others sent on.

How many are served depends on the host. What holds on each: nobody is lost, the earlier come first, and calls that were
up go on as if nothing were.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from agentd.ari.owed import AT_ONCE
from agentd.service.pressure import LONGEST_WAIT
from tests.e2e.test_any_bytes import waited
from tests.e2e.test_containment import PATIENCE, STREAMING, Host, a_host, greeted
from tests.lab.daemon import Daemon, Line
from tests.lab.prefix import Prefix
from tests.lab.sip import Call, CallRefused, SipCaller

pytestmark = [pytest.mark.e2e]

CROWD = 40
TALKING = 2
"""Calls that are up before."""
MAX_CALLS = TALKING + 20
DECIDED = 60.0
"""Seconds until every caller is served or in the dialplan; 15 where the host is not shared."""
FROZEN = 8.0
"""Seconds: longer than who waits is patient with an Asterisk that does not answer."""
LONGEST_GAP = 0.2
"""Seconds between two frames at the ear of a call that is up, besides the time for which the host let agentd, Asterisk
and the callers wait for a processor: what a telephone's jitter buffer bears."""


@attrs.define(eq=False)
class Crowd:
    """Callers who all come at one moment, and stay until `over`. Who is sent on hears the dialplan, which hangs up."""

    host: Host
    over: trio.Event = attrs.field(factory=trio.Event)
    up: list[Call] = attrs.field(factory=list)
    """Calls that were answered: by agentd, or by the dialplan with its apology."""
    refused: Counter[int] = attrs.field(factory=Counter)

    async def come(self, number: int) -> None:
        caller = SipCaller(answer_seconds=DECIDED)
        try:
            async with caller.call(self.host.pbx.sip_uri(STREAMING), caller_id=f"caller{number}") as call:
                self.up.append(call)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_over, nursery.cancel_scope)
                    await call.ended.wait()
                    nursery.cancel_scope.cancel()
        except* CallRefused as group:
            self.refused.update(error.status for error in group.exceptions if isinstance(error, CallRefused))

    async def _until_over(self, call: trio.CancelScope) -> None:
        await self.over.wait()
        call.cancel()


def arrivals(host: Host) -> Sequence[str]:
    """The channels that came to agentd, in the order in which they did."""
    return re.findall(r'Executing \[[^\]]*\] Stasis\("([^"]+)"', host.pbx.log_path.read_text("utf-8", "replace"))


async def decided(daemon: Daemon, since: int) -> tuple[Sequence[Line], Sequence[Line]]:
    """The log lines of those whose leg came up, and of those who were sent on, once all of them are one or the other;
    both in the order in which that came about."""
    with trio.fail_after(DECIDED):
        while True:
            lines = daemon.lines[since:]
            served = [line for line in lines if line["event"] == "media leg bound"]
            ended = [line for line in lines if line["event"] == "call ended"]
            if len(served) + len(ended) >= CROWD:
                return served, ended
            await trio.sleep(0.1)


def assert_earlier_first(host: Host, order: Sequence[Line]) -> None:
    """The earlier come first, but for those who are at it side by side."""
    places = {channel: place for place, channel in enumerate(arrivals(host))}
    came = [places[line["channel"]] for line in order]
    moved = [abs(sorted(came).index(one) - place) for place, one in enumerate(came)]
    assert max(moved) <= 2 * AT_ONCE, came


def counted(metrics: str, name: str) -> Counter[str]:
    """The samples of a counter by their labels."""
    found: Counter[str] = Counter()
    for line in metrics.splitlines():
        if line.startswith(f"{name}{{"):
            labels, _, value = line.removeprefix(name).rpartition(" ")
            found[labels] += int(float(value))
    return found


async def test_of_40_callers_at_once_some_are_served_the_rest_goes_on_and_who_talks_notices_nothing(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    extra = f"[calls]\ndrain_timeout = 1.0\nmax_calls = {MAX_CALLS}"
    async with (
        a_host(pbx_prefix, tmp_path, extra=extra) as host,
        host.daemon() as daemon,
        trio.open_nursery() as nursery,
    ):
        talking, crowd = Crowd(host), Crowd(host)
        for number in range(TALKING):
            since = len(daemon.lines)
            nursery.start_soon(talking.come, number)
            await greeted(daemon, since)
        concerned = (daemon.process.pid, host.pbx.pid, os.getpid())
        waited_before, since = waited(concerned), len(daemon.lines)
        began = [call.now for call in talking.up]
        for number in range(CROWD):
            nursery.start_soon(crowd.come, number)
        served, sent_on = await decided(daemon, since)
        await trio.sleep(2.0)
        held_up = waited(concerned) - waited_before

        causes = counted(await daemon.metrics(), "agentd_callers_refused_total")
        stats = [call.line_stats(start) for call, start in zip(talking.up, began, strict=True)]
        print(f"{len(served)} served, {len(sent_on)} sent on: {+causes}; the host let us wait {held_up:.3f} s in all")
        print("largest gaps at the ear of the calls that were up:", [stat.max_gap_ms for stat in stats])
        assert {line["result"] for line in sent_on} == {"refused:busy"}
        assert sum(causes.values()) == len(sent_on) >= CROWD - 20, "no more than max_calls are served"
        assert set(+causes) <= {f'{{cause="{cause}"}}' for cause in ("max_calls", "queue", "asterisk", "lines")}
        assert served, "whatever the host bears, one set-up at a time goes on"
        assert_earlier_first(host, served)
        refusals = {line["channel"]: line["detail"] for line in daemon.having("caller handed back to the dialplan")}
        for cause in set(refusals.values()):  # who is refused later was not owed a hand-back before
            assert_earlier_first(host, [line for line in sent_on if refusals[line["channel"]] == cause])
        assert not any(call.ended.is_set() for call in talking.up)
        assert max(stat.max_gap_ms for stat in stats) / 1000 < LONGEST_GAP + held_up
        assert not [line for line in daemon.lines[since:] if line["level"] == "error"]

        await all_hang_up(host, daemon, nursery, crowd, talking)


async def test_callers_of_an_asterisk_that_does_not_answer_any_more_are_sent_on_once_it_does(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """It is frozen while the forty are set up: those who wait do so for no longer than their patience, and then for
    Asterisk only."""
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon, trio.open_nursery() as nursery:
        crowd = Crowd(host)
        for number in range(CROWD):
            nursery.start_soon(crowd.come, number)
        with trio.fail_after(DECIDED):
            while not daemon.having("media leg bound"):
                await trio.sleep(0.01)
        os.kill(host.pbx.pid, signal.SIGSTOP)
        await trio.sleep(FROZEN)
        os.kill(host.pbx.pid, signal.SIGCONT)
        thawed = trio.current_time()
        served, sent_on = await decided(daemon, 0)
        took = trio.current_time() - thawed
        causes = counted(await daemon.metrics(), "agentd_callers_refused_total")
        print(f"{len(served)} served, {len(sent_on)} sent on {took:.1f} s after Asterisk answered: {+causes}")
        assert causes['{cause="asterisk"}'] + causes['{cause="lines"}']
        assert took < LONGEST_WAIT
        await all_hang_up(host, daemon, nursery, crowd)


async def all_hang_up(host: Host, daemon: Daemon, nursery: trio.Nursery, *crowds: Crowd) -> None:
    """Everybody leaves; soon nothing of anybody is there."""
    for crowd in crowds:
        crowd.over.set()
    await daemon.until_idle(PATIENCE)
    with trio.fail_after(PATIENCE):
        while nursery.child_tasks:
            await trio.sleep(0.05)
    await host.nothing_is_stuck()
    assert not any(crowd.refused for crowd in crowds), "the dialplan answers everybody"
