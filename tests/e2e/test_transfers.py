"""Attended transfers to an agent on a real Asterisk: a telephone calls the agent, then puts its other party through.

Asterisk puts another channel in the place of the one that called the agent. Where that one was in a bridge (streaming)
it is a Local channel, which has no dialplan of its own; where it was in none (files) it is the party's own.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.e2e.switchboard import KEPT, MEDIA, TO_AGENTS
from tests.e2e.test_containment import Host, a_host, greeted
from tests.lab.daemon import Daemon
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.sip import Call
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PATIENCE = 15.0
"""Seconds for what takes its time on a busy host."""
DIALPLAN = f"""
exten => 610,1,Answer()
 same => n,Set(GLOBAL(CUSTOMER)=${{CHANNEL}})
 same => n,Wait(120)
exten => 611,1,Answer()
 same => n,Bridge(${{CUSTOMER}})
{TO_AGENTS}{KEPT}"""


@attrs.frozen
class Transferred:
    """A customer whom a receptionist has put through to an agent."""

    host: Host
    daemon: Daemon
    customer: Call
    told: int
    """Log lines before the transfer."""

    async def answered(self) -> bytes:
        """The customer says something; gives what they heard of the agent's answer."""
        (speech,) = (one.pcm() for one in human_prompts(self.host.pbx.prefix) if one.name == "conf-onlyperson")
        began = self.customer.now
        await self.customer.play(silence(0.5) + speech + silence(0.8))
        await self.daemon.wait_for("utterance heard", start=self.told, timeout=PATIENCE)
        await trio.sleep(0.5)
        return self.customer.heard[round(began * 8000) * 2 :]

    async def kept(self) -> str:
        """What the dialplan's fallback of the extension notes of the customer."""
        log = self.host.pbx.log_path
        with trio.fail_after(PATIENCE):
            while not (noted := re.findall(r"kept (\S+ result \S+)", log.read_text("utf-8", "replace"))):
                await trio.sleep(0.1)
        return str(noted[-1])


@asynccontextmanager
async def transferred(extension: str, prefix: Prefix, directory: Path) -> AsyncIterator[Transferred]:
    async with a_host(prefix, directory, dialplan=DIALPLAN) as host, host.daemon() as daemon:
        async with host.caller("610") as customer, host.caller("611") as receptionist:
            async with host.caller(extension) as consultation:
                await greeted(daemon)
                told = len(daemon.lines)
                await receptionist.transfer(host.pbx.sip_uri(extension), consultation)
                with trio.fail_after(PATIENCE):
                    await consultation.ended.wait()
            await daemon.wait_for("another party has taken the caller's place", start=told, timeout=PATIENCE)
            await receptionist.hangup()
            yield Transferred(host, daemon, customer, told)
        await host.nothing_is_stuck()


@pytest.mark.parametrize("media", MEDIA)
async def test_a_customer_who_is_put_through_goes_on_with_the_agent_and_then_where_the_receptionist_would_have(
    media: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """In the same call, and with the fallback of the extension that the receptionist had dialled."""
    async with transferred(MEDIA[media], pbx_prefix, tmp_path) as here:
        answer = await here.answered()
        assert speech_spans(answer), "the customer hears the agent"
        assert len(here.daemon.having("call")) == 1, "it is no second call"
        assert "agentd_calls_total{" not in await here.daemon.metrics(), "and the first one has not ended"
        here.daemon.process.terminate()
        noted = await here.kept()
        assert noted.endswith("result shutdown")
        assert not here.customer.ended.is_set()
    assert [line["result"] for line in here.daemon.having("call ended")] == ["shutdown"]


@pytest.mark.parametrize("media", ["streaming", "files"])
async def test_after_a_crash_who_was_put_through_goes_on_where_the_receptionist_would_have(
    media: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """The next agentd knows of the transfer what stands on the channel, which was hung up without a word before."""
    async with transferred(MEDIA[media], pbx_prefix, tmp_path) as here:
        await here.daemon.wait_for("the caller is another one now", start=here.told, timeout=PATIENCE)
        here.daemon.process.kill()
        await here.daemon.process.wait()
        async with here.host.daemon():
            assert (await here.kept()).endswith("result failed:internal")
            assert not here.customer.ended.is_set()


async def test_a_customer_who_was_put_through_and_hangs_up_is_one_call_that_has_ended(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with transferred(MEDIA["streaming"], pbx_prefix, tmp_path) as here:
        await here.customer.hangup()
        await here.daemon.until_idle()
        counted = re.findall(r'agentd_calls_total\{result="([^"]+)"\} ([\d.]+)', await here.daemon.metrics())
        assert counted == [("caller-hung-up", "1.0")]
