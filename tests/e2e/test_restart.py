"""Calls outlive the daemon on a real Asterisk: it is killed, or started again, and every call goes on.

The runtime directory that systemd would make is on the host's own memory.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from agentd.service.leaving import leave_mark
from agentd.service.record_files import lives_in_memory
from tests.e2e.conftest import STORY, show
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import Daemon, environment, run_daemon, write_config
from tests.lab.hearing import confirms, speak
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.pulse import feeling
from tests.lab.scene import ask, silence_after, words_heard
from tests.lab.sip import Call, SipCaller
from tests.lab.vendors.house import open_house

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]

MEMORY = "/dev/shm"
BACK_WITHIN = 15.0
"""Seconds from the end of the daemon to the first sound at a caller, on a host that may be busy; 6 is the promise, and
what it was is printed."""
PATIENCE = 60.0
WAYS = {
    "7600": ("local", "external"),
    "7601": ("localfile", "external"),
    "7602": ("local", "fork"),
    "7603": ("local", "rtp"),
    "7604": ("local", "websocket"),
    "7610": ("vendor", "external"),
    "7611": ("vendorfile", "external"),
}
"""The extensions: agent and transport."""
DIALPLAN = "\n" + "".join(
    f"exten => {extension},1,Gosub(agentd-call,${{EXTEN}},1({agent},{media}))\n"
    for extension, (agent, media) in WAYS.items()
)
BACK = "Sorry, I am back."


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory in memory."""
    if not Path(MEMORY).is_dir() or not lives_in_memory(Path("/proc/self/mountinfo").read_text(), MEMORY):
        pytest.skip(f"{MEMORY} does not live in memory here")
    directory = Path(tempfile.mkdtemp(prefix="agentd-run-", dir=MEMORY))
    yield directory
    shutil.rmtree(directory)


@attrs.define
class Host:
    """A PBX, the vendor of some agents, and what a daemon for both is started with."""

    pbx: PrivateAsterisk
    config: Path
    environ: Mapping[str, str]
    runtime: Path

    def daemon(self) -> AbstractAsyncContextManager[Daemon]:
        return run_daemon(self.config, self.environ, show)

    def caller(self, extension: str) -> AbstractAsyncContextManager[Call]:
        return SipCaller(answer_seconds=PATIENCE).call(self.pbx.sip_uri(extension))

    @property
    def records(self) -> list[Path]:
        return list(self.runtime.glob("*.call"))


@asynccontextmanager
async def a_host(prefix: Prefix, directory: Path, runtime: Path) -> AsyncIterator[Host]:
    async with PrivateAsterisk(prefix, extra_dialplan=DIALPLAN) as pbx, open_house() as house:
        story = f'greeting = "{STORY}"\n'
        files = 'downstream_mode = "file"\n'
        prompt = 'prompt = "You are a friendly telephone assistant. Answer in one short sentence."\n'
        agents = (
            f"[agents.local]\n{story}{prompt}[agents.localfile]\n{story}{prompt}{files}"
            + house.deepgram_agent("vendor", story)
            + house.deepgram_agent("vendorfile", story + files)
        )
        config = write_config(directory / "agent.toml", pbx, agents=agents, extra='[calls]\ndefault_agent = "local"')
        environ = environment(pbx) | house.environment | {"RUNTIME_DIRECTORY": str(runtime)}
        yield Host(pbx, config, environ, runtime)


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.02)


def sound_after(call: Call, second: float) -> float | None:
    """When the caller heard something again after this second of the call."""
    starts = [span.start for span in speech_spans(call.heard, join_seconds=0.2)]
    return next((start for start in starts if start > second + 0.1), None)


async def all_talked_to(calls: list[Call]) -> None:
    """Each of them is in the middle of the story."""
    await until(lambda: all(speech_spans(call.heard, join_seconds=2.0) for call in calls))
    await trio.sleep(1.5)


async def kill(daemon: Daemon, _host: Host) -> None:
    daemon.process.kill()
    await daemon.process.wait()


async def restart(daemon: Daemon, host: Host) -> None:
    leave_mark(host.runtime)
    daemon.process.terminate()
    with trio.fail_after(PATIENCE):
        assert await daemon.process.wait() == 0


ENDS = {"killed": kill, "restarted": restart}


@pytest.mark.parametrize("end", ENDS)
async def test_ten_calls_at_once_go_on(end: str, pbx_prefix: Prefix, tmp_path: Path, runtime: Path) -> None:
    """Over every transport, streaming and with files, with an agent of this host's and with a vendor's."""
    extensions = [*WAYS, "7600", "7601", "7610"]
    in_words = [WAYS[extension][0].startswith("local") for extension in extensions]
    async with (
        a_host(pbx_prefix, tmp_path, runtime) as host,
        feeling(host.pbx) as pulse,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(host.daemon())
        await until(lambda: len(list(runtime.glob("*.words"))) >= len(("local", "localfile", "vendor", "vendorfile")))
        calls = [await stack.enter_async_context(host.caller(extension)) for extension in extensions]
        await all_talked_to(calls)
        await until(lambda: len(host.records) == len(calls))
        question = await speak("Good afternoon, is anybody there?")
        began, ended_at = trio.current_time(), [call.now for call in calls]
        await ENDS[end](first, host)
        leaving = trio.current_time() - began
        second = await stack.enter_async_context(host.daemon())
        assert len(second.having("call gone on with")) == len(calls)
        assert "agentd_calls_adopted_total 10.0" in await second.metrics()
        for call, talks in zip(calls, in_words, strict=True):
            if not talks:  # the vendor had said all that it had to: nothing was cut, and nothing need be said
                call.play_nowait(question)
        await until(
            lambda: all(sound_after(call, at) or call.ended.is_set() for call, at in zip(calls, ended_at, strict=True))
        )
        gaps = {
            f"{extension} ({call_number})": (sound_after(call, at) or 0.0) - at
            for call_number, (extension, call, at, talks) in enumerate(
                zip(extensions, calls, ended_at, in_words, strict=True)
            )
            if talks
        }
        print(f"{end}: the daemon was gone after {leaving:.2f} s; from its end to the first sound at the callers:")
        print(", ".join(f"{name} {gap:.2f} s" for name, gap in gaps.items()))
        # An Asterisk that the host leaves no processor answers nothing for seconds: that ends calls by itself.
        await pulse.answered.wait()
        starved = any(stall.starved for stall in pulse.stalls)
        assert starved or max(gaps.values()) < BACK_WITHIN, pulse
        assert starved or not any(call.ended.is_set() for call in calls), pulse
        for call in calls:
            if not call.ended.is_set():
                await call.hangup()
        await second.until_idle()
        await until(lambda: not host.records)
        with trio.fail_after(PATIENCE):
            while "0 active channels" not in await host.pbx.cli("core show channels"):
                await trio.sleep(0.1)


@pytest.mark.parametrize("extension", ["7600", "7601"])
async def test_the_agent_is_back_with_a_word_and_knows_what_was_said(
    extension: str, pbx_prefix: Prefix, tmp_path: Path, runtime: Path
) -> None:
    async with a_host(pbx_prefix, tmp_path, runtime) as host, AsyncExitStack() as stack:
        first = await stack.enter_async_context(host.daemon())
        await until(lambda: len(list(runtime.glob("*.words"))) >= 2)
        call = await stack.enter_async_context(host.caller(extension))
        await all_talked_to([call])
        killed_at = call.now
        await kill(first, host)
        second = await stack.enter_async_context(host.daemon())
        await second.wait_for("a session goes on", timeout=PATIENCE)
        await second.wait_for("utterance heard", timeout=PATIENCE)
        back = sound_after(call, killed_at)
        assert back is not None
        if extension == "7600":  # with files, Asterisk plays the sentence that it has to its end
            heard = await words_heard(call, back, back + 4.0)  # nothing else is said, and a busy host may pause in it
            assert confirms(BACK, heard), heard
        await silence_after(call, back, 1.5, timeout=PATIENCE)
        answer = await ask(call, await speak("What is the capital of France?"), timeout=PATIENCE)
        assert speech_spans(answer.pcm)
        gone_on = second.having("call gone on with")[0]
        assert gone_on["cut"]
        await call.hangup()


async def test_whose_record_is_rubbish_goes_on_in_the_dialplan_and_others_go_on_with_their_agent(
    pbx_prefix: Prefix, tmp_path: Path, runtime: Path
) -> None:
    async with a_host(pbx_prefix, tmp_path, runtime) as host, AsyncExitStack() as stack:
        first = await stack.enter_async_context(host.daemon())
        lost = await stack.enter_async_context(host.caller("7610"))
        await until(lambda: len(host.records) == 1)
        [record] = host.records
        kept = await stack.enter_async_context(host.caller("7610"))
        await until(lambda: len(host.records) == 2)
        await kill(first, host)
        record.write_bytes(os.urandom(300))
        second = await stack.enter_async_context(host.daemon())
        with trio.fail_after(PATIENCE):
            await lost.ended.wait()
        assert lost.ended_by == "remote", "the dialplan went on to its end"
        await second.wait_for("a session goes on", timeout=PATIENCE)
        assert not kept.ended.is_set()
        await kept.hangup()
        await second.until_idle()
        await until(lambda: not host.records)
