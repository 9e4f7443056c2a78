"""Two agentd beside one Asterisk, as docs/instances.md has them: each serves its own callers, whatever becomes of the
other, and new callers go to the one that is there."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import Daemon, environment, run_daemon, write_config
from tests.lab.ports import PortClaims
from tests.lab.prefix import Prefix
from tests.lab.sip import Call, SipCaller
from tests.lab.vendors.house import House, open_house

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PAGE = Path(__file__).parents[2] / "docs/instances.md"
PATIENCE = 30.0
MOST_CALLS = 30
"""Calls within which chance has taken each of two: all but once in half a thousand million times."""
BOTH = ("1", "2")


def dialplan() -> str:
    """The page's own, let in for the lab's callers; nobody's is a place that can be seen."""
    (block,) = re.findall(r"^```\n(\[agents\]\n.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return f"""
include => agents

{block}
[queue-sales]
exten => s,1,Verbose(1,for nobody ${{AGENTD_RESULT}})
 same => n,Answer()
 same => n,Hangup()
"""


@attrs.define(eq=False)
class Pair:
    """An Asterisk with two agentd."""

    pbx: PrivateAsterisk
    house: House
    daemons: dict[str, Daemon]

    async def call(self, stack: AsyncExitStack) -> tuple[str, Call]:
        """A caller who is greeted, and by whom."""
        since = {name: len(daemon.lines) for name, daemon in self.daemons.items()}
        call = await stack.enter_async_context(SipCaller(answer_seconds=PATIENCE).call(self.pbx.sip_uri("7010")))
        with trio.fail_after(PATIENCE):
            while True:
                for name, daemon in self.daemons.items():
                    if any(line["event"] == "utterance heard" for line in daemon.lines[since[name] :]):
                        return name, call
                await trio.sleep(0.05)

    async def until_both_serve(self, stack: AsyncExitStack) -> dict[str, list[Call]]:
        """Call until each has a call; gives the calls of each."""
        calls: dict[str, list[Call]] = {name: [] for name in BOTH}
        for _ in range(MOST_CALLS):
            name, call = await self.call(stack)
            calls[name].append(call)
            if all(calls.values()):
                return calls
        raise AssertionError(f"of {MOST_CALLS} calls, {calls} came to each")


async def is_heard(call: Call) -> None:
    """The line still carries something, be it silence."""
    before = len(call.heard)
    with trio.fail_after(PATIENCE):
        while len(call.heard) < before + 8000:  # half a second
            await trio.sleep(0.05)
    assert not call.ended.is_set()


@asynccontextmanager
async def pair(prefix: Prefix, directory: Path) -> AsyncIterator[Pair]:
    claims = PortClaims()
    async with AsyncExitStack() as stack:
        stack.callback(claims.release)
        pbx = await stack.enter_async_context(PrivateAsterisk(prefix, extra_dialplan=dialplan()))
        house = await stack.enter_async_context(open_house())
        daemons = {}
        for name in BOTH:
            config = write_config(
                directory / f"{name}.toml",
                pbx,
                asterisk=f'app = "agentd-{name}"',
                extra="[calls]\ndrain_timeout = 1.0",
                agents=house.deepgram_agent("default", 'greeting = "Good day, how can I help you?"'),
            )
            text, port = config.read_text(), claims.tcp()
            config.write_text(text.replace(str(pbx.agent_port), str(port)))
            daemons[name] = await stack.enter_async_context(run_daemon(config, environment(pbx) | house.environment))
        yield Pair(pbx, house, daemons)


async def test_each_serves_its_own_callers_and_new_ones_go_to_the_one_that_is_there(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with pair(pbx_prefix, tmp_path) as two, AsyncExitStack() as calling:
        calls = await two.until_both_serve(calling)
        one, other = (two.daemons[name] for name in BOTH)
        await trio.sleep(0.5)

        one.process.kill()  # as the kernel does
        await one.process.wait()
        for call in calls["2"]:
            await is_heard(call)
        for _ in range(3):
            name, call = await two.call(calling)
            assert name == "2"
            calls["2"].append(call)
        assert not other.having("media leg lost")

        # The next one finds what the dead one has left, and leaves the other's alone.
        again = await calling.enter_async_context(
            run_daemon(tmp_path / "1.toml", environment(two.pbx) | two.house.environment)
        )
        two.daemons["1"] = again
        for call in calls["2"]:
            await is_heard(call)
        assert (await other.health())[1]["active_calls"] == len(calls["2"])
        await two.until_both_serve(calling)
        assert not other.having("call ended")


async def test_where_none_is_there_callers_go_where_the_page_says(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=dialplan()) as pbx:
        async with SipCaller(answer_seconds=PATIENCE).call(pbx.sip_uri("7010")) as call:
            with trio.fail_after(PATIENCE):
                await call.ended.wait()
        log = pbx.log_path.read_text("utf-8", "replace")
        assert "for nobody failed:unavailable" in log
        entered = re.findall(r'Stasis\("[^"]+", "([^,"]+),', log)
        assert sorted(entered) == ["agentd-1", "agentd-2"], "each was asked once"
