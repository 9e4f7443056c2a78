"""One PBX and one daemon for all calls of a test session; tests that break them bring their own."""

import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import ROOT, Daemon, environment, run_daemon, write_config
from tests.lab.prefix import Prefix
from tests.lab.proxy import Proxy, open_proxy
from tests.lab.vendors.house import House, open_house

pytest_plugins = ["tests.lab.fixtures"]

SETTLE_SECONDS = 15
VENDORS = {"deepgram": "7400", "realtime": "7401", "mixed": "7402", "wyoming": "7403"}
"""Extensions of the agents of other people's, by the agents' names."""
BREAKABLE = {
    "cut": "7410",
    "closed": "7411",
    "mute": "7412",
    "unanswering": "7413",
    "relayed": "7414",
    "refused": "7420",
    "down": "7421",
    "shut": "7422",
}
"""Those of Deepgram agents that a test breaks, each with a circuit breaker of its own and another agent behind it."""
TRANSFER_TO = "7490"
DIALPLAN = """
exten => 600,1,Answer()
 same => n,Echo()
exten => 7100,1,Gosub(agentd-call,${EXTEN},1(nobody,external))
exten => 7102,1,Gosub(agentd-call,${EXTEN},1(silent,external))
exten => 7103,1,Gosub(agentd-call,${EXTEN},1(silent,fork))
exten => 7104,1,Gosub(agentd-call,${EXTEN},1(file,external))
exten => 7105,1,Gosub(agentd-call,${EXTEN},1(talker,external))
exten => 7106,1,Gosub(agentd-call,${EXTEN},1(filetalker,external))
exten => 7107,1,Gosub(agentd-call,${EXTEN},1(notice,external))
exten => 7108,1,Gosub(agentd-call,${EXTEN},1(impatient,external))
exten => 7300,1,Answer()
 same => n,Wait(4)
 same => n,Playback(conf-onlyperson)
 same => n,Wait(8)
exten => 7110,1,Gosub(agentd-call,${EXTEN},1(default,rtp))
exten => 7111,1,Gosub(agentd-call,${EXTEN},1(talker,rtp))
exten => 7112,1,Gosub(agentd-call,${EXTEN},1(silent,rtp))
exten => 7113,1,Gosub(agentd-call,${EXTEN},1(file,rtp))
exten => 7120,1,Gosub(agentd-call,${EXTEN},1(default,websocket))
exten => 7121,1,Gosub(agentd-call,${EXTEN},1(talker,websocket))
exten => 7122,1,Gosub(agentd-call,${EXTEN},1(silent,websocket))
exten => 7123,1,Gosub(agentd-call,${EXTEN},1(file,websocket))
exten => 7200,1,Gosub(agentd-headless,s,1)
 same => n,Playback(vm-goodbye)
 same => n,Hangup()
exten => 7490,1,Playback(conf-onlyperson)
 same => n,Echo()
""" + "".join(
    f"exten => {extension},1,Gosub(agentd-call,${{EXTEN}},1({agent},external))\n"
    for agent, extension in (VENDORS | BREAKABLE).items()
)
STORY = (
    "Welcome to the long story of the telephone. Many years ago people talked over wires made of copper, and "
    "operators sat in large rooms, connecting one caller to another by hand. Then machines took over, and the dial was "
    "invented, so that everyone could call whomever they liked, at any time of the day or night."
)
NOTICE = "This call is recorded to improve our service."
AGENTS = f"""
[agents.default]
prompt = "You are a friendly telephone assistant. Answer in one short sentence."
[agents.file]
downstream_mode = "file"
[agents.talker]
greeting = "{STORY}"
[agents.filetalker]
greeting = "{STORY}"
downstream_mode = "file"
[agents.notice]
greeting = "{NOTICE}"
uninterruptible = ["{NOTICE}"]
[agents.impatient]
greeting = ""
[agents.impatient.liveness]
check_in_after = 1.0
check_ins = 1
[agents.silent]
greeting = ""
[agents.silent.local]
farewell = "Thank you for calling us, and have a good day."
[tools.other_line]
kind = "transfer"
[tools.other_line.transfer]
destinations = {{ conference = "{TRANSFER_TO}@from-lab" }}
"""
BEHIND, RELAYED = (
    'greeting = "Good day, how can I help you?"\nfallback = ["' + other + '"]' for other in ("default", "mixed")
)
TOOLS = 'tools = ["hang_up", "other_line", "send_dtmf"]'


def vendors_agents(house: House, speech_uri: str) -> str:
    """The tables of the agents of `VENDORS` and `BREAKABLE`."""
    places = {"down": house.nowhere}
    return "\n".join(
        [
            house.deepgram_agent("deepgram", f"{BEHIND}\n{TOOLS}"),
            house.realtime_agent("realtime", f"{BEHIND}\n{TOOLS}"),
            house.mixed_agent("mixed", BEHIND),
            house.wyoming_agent("wyoming", speech_uri, BEHIND),
            *(
                house.deepgram_agent(name, RELAYED if name == "relayed" else BEHIND, places.get(name, ""))
                for name in BREAKABLE
            ),
        ]
    )


def show(line: dict[str, Any]) -> None:
    """The daemon's log becomes part of what pytest shows of a failed test."""
    print(json.dumps(line))


@attrs.define
class Lab:
    """A running PBX and daemon, with a cable in each of their connections that a test can pull, and the vendors whose
    agents the daemon has.

    They live in a Trio of their own in another thread, so that they outlast each test's; `inside` runs
    something there.
    """

    pbx: PrivateAsterisk
    daemon: Daemon
    events: Proxy
    audio: Proxy
    house: House
    token: trio.lowlevel.TrioToken

    async def inside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function, sync or async, in the lab's own Trio."""

        async def call() -> Any:
            result = function(*args)
            return await result if isinstance(result, Awaitable) else result

        return await trio.to_thread.run_sync(lambda: trio.from_thread.run(call, trio_token=self.token))

    async def nothing_is_left(self) -> None:
        """Fails if anything of any call is still there: on the PBX, in the daemon or its files, or at a vendor."""
        await self.daemon.until_idle(SETTLE_SECONDS)
        left: dict[str, Any] = {"not looked": True}
        with trio.move_on_after(SETTLE_SECONDS):
            while left:
                left = await self._left()
                await trio.sleep(0.1)
        assert not left, left

    async def _left(self) -> dict[str, Any]:
        channels = await self.pbx.cli("core show channels concise")
        bridges = await self.pbx.cli("bridge show all")
        files = sorted(path.name for path in Path(self.pbx.media_directory).glob("*.sln"))
        metrics = await self.daemon.metrics()
        found = {
            "channels": channels.strip(),
            "bridges": "\n".join(bridges.strip().splitlines()[1:]),
            "files": files,
            "sockets": "" if "agentd_audiosocket_connections 0.0" in metrics else "open",
            "WebSockets": "" if "agentd_chan_websocket_connections 0.0" in metrics else "open",
            "calls": "" if "agentd_calls_active 0.0" in metrics else "active",
            "vendors": self.house.sessions_open,
        }
        return {what: where for what, where in found.items() if where}


@asynccontextmanager
async def speech_server(directory: Path) -> AsyncIterator[str]:
    """`agentd speech-server` in a process of its own, with real engines; gives its URI."""
    config = directory / "speech.toml"
    config.write_text('[speech_server]\nport = 0\nhealth_port = 0\n[logging]\nformat = "json"\n')
    command, env = (sys.executable, "-m", "agentd", "speech-server"), {**os.environ, "PYTHONPATH": str(ROOT)}
    async with run_daemon(config, env, show, command, up="speech server is up") as server:
        (up,) = server.having("speech server is up")
        yield f"tcp://127.0.0.1:{up['port']}"


@pytest.fixture(scope="session")
def lab(pbx_prefix: Prefix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The session's lab."""
    directory = tmp_path_factory.mktemp("lab")
    ready, stop = threading.Event(), trio.Event()
    made: list[Lab] = []
    failed: list[BaseException] = []

    async def live() -> None:
        async with AsyncExitStack() as stack:
            pbx = await stack.enter_async_context(PrivateAsterisk(pbx_prefix, extra_dialplan=DIALPLAN))
            events = await stack.enter_async_context(open_proxy(("127.0.0.1", pbx.http_port), only=b"/ari/events"))
            audio = await stack.enter_async_context(open_proxy(("127.0.0.1", 0), pbx.agent_port))
            house = await stack.enter_async_context(open_house())
            speech_uri = await stack.enter_async_context(speech_server(directory))
            config = write_config(
                directory / "agent.toml",
                pbx,
                ari_url=f"http://127.0.0.1:{events.port}",
                socket_port=0,
                audiosocket='reattach_tries = 3\nheadless = "accept"\nheadless_agent = "silent"',
                agents=AGENTS + vendors_agents(house, speech_uri),
            )
            env = environment(pbx) | house.environment
            daemon = await stack.enter_async_context(run_daemon(config, env, show))
            listener = await daemon.wait_for("AudioSocket listener is up")
            audio.target = ("127.0.0.1", listener["port"])
            made.append(Lab(pbx, daemon, events, audio, house, trio.lowlevel.current_trio_token()))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            trio.run(live)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="lab")
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    yield made[0]
    trio.from_thread.run_sync(stop.set, trio_token=made[0].token)
    thread.join()
    if failed:
        raise failed[0]
