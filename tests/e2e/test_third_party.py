"""A provider from a package of its own on the real PBX: the caller is heard, answered, and let interrupt."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.e2e.conftest import show
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import ROOT, Daemon, environment, run_daemon, write_config
from tests.lab.measure import find, speech_spans
from tests.lab.packages import PARROT, install, parrot_agent
from tests.lab.prefix import Prefix
from tests.lab.scene import listen
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = pytest.mark.e2e

RATE = 8000


@attrs.frozen
class Cage:
    """A PBX, and a daemon that has the parrot and no engines."""

    pbx: PrivateAsterisk
    daemon: Daemon

    def said(self, name: str) -> bytes:
        """A recorded sentence."""
        return next(prompt.pcm() for prompt in human_prompts(self.pbx.prefix) if prompt.name == name)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[Call]:
        """A call that was greeted, by a whistle."""
        async with SipCaller().call(self.pbx.sip_uri("7000")) as call:
            start, end = await listen(call, 0.0)
            assert end - start < 0.5
            yield call


@pytest.fixture
async def cage(pbx_prefix: Prefix, tmp_path: Path) -> AsyncIterator[Cage]:
    site = await trio.to_thread.run_sync(install, PARROT, tmp_path / "site")
    async with PrivateAsterisk(pbx_prefix) as pbx:
        config = write_config(tmp_path / "agent.toml", pbx, agents=parrot_agent("Hello"))
        environ = {**environment(pbx), "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
        async with run_daemon(config, environ, show) as daemon:
            yield Cage(pbx, daemon)


def heard_from(call: Call, second: float) -> bytes:
    return call.heard[int(second * RATE) * 2 :]


async def test_the_caller_hears_its_own_words_back(cage: Cage) -> None:
    words = cage.said("conf-onlyperson")
    async with cage.call() as call:
        sent = await call.play(words + silence(0.2))
        fell_silent = sent.start + speech_spans(words)[-1].end
        start, end = await listen(call, fell_silent)
        await call.hangup()
    ended = await cage.daemon.wait_for("call ended")
    match = find(words, heard_from(call, fell_silent))
    print("said back", match, "after", start - fell_silent)
    assert match.correlation > 0.9
    assert 0.6 < start - fell_silent < 1.5, "quiet_ms, by another measure of loudness"
    spoken = speech_spans(words, join_seconds=1.2)
    assert abs((end - start) - (spoken[-1].end - spoken[0].start)) < 0.1
    assert ended["result"] == "caller-hung-up"
    await cage.daemon.until_idle()


async def test_a_caller_who_speaks_over_it_is_heard_in_its_place(cage: Cage) -> None:
    first, second = cage.said("vm-intro"), cage.said("conf-onlyperson")
    async with cage.call() as call:
        await call.play(first)
        await cage.daemon.wait_for("answer")
        sent = await call.play(second + silence(0.2))
        fell_silent = sent.start + speech_spans(second)[-1].end
        await listen(call, fell_silent)
        await call.hangup()
    await cage.daemon.wait_for("interrupted")
    assert find(second, heard_from(call, fell_silent)).correlation > 0.9
    rest = first[len(first) // 4 * 2 :]
    assert find(rest, heard_from(call, sent.start)).correlation < 0.5, "the rest of the first is not said any more"
    await cage.daemon.until_idle()
