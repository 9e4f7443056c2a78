"""A PBX with telephones, whose users and programs put calls through to agents and away from them."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.e2e.test_containment import Host, a_host, greeted
from tests.lab.ami import Manager, manager
from tests.lab.daemon import Daemon
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import human_prompts, silence

PATIENCE = 15.0
"""Seconds for what takes its time on a busy host."""
PROMPT = 'prompt = "You speak with {caller_name}, {caller_number}, who dialled {extension}."'
STREAMING, FILES, FORK = "7600", "7601", "7602"
ADA, BOB, CAROL = ("4711", "Ada"), ("4712", "Bob"), ("4713", "Carol")
"""Numbers and names of those who telephone."""
MEDIA = {"streaming": STREAMING, "files": FILES, "fork": FORK}
TO_AGENTS = "".join(
    f"""
exten => {extension},1,Set(AGENTD_FALLBACK=kept,s,1)
 same => n,Gosub(agentd-call,${{EXTEN}},1({agent},{media}))
"""
    for extension, agent, media in (
        (STREAMING, "default", "external"),
        (FILES, "files", "external"),
        (FORK, "default", "fork"),
    )
)
"""Extensions of agents, whose callers go on in the context `KEPT` opens where a call has failed."""
DIALPLAN = f"""
; 8 and a telephone's port: it rings there. 88: who is called, and who calls, may transfer by keys. 89: the number is
; withheld.
exten => _8[2-7]!,1,Dial(PJSIP/caller/sip:bob@127.0.0.1:${{EXTEN:1}},20)
exten => _88!,1,Dial(PJSIP/caller/sip:bob@127.0.0.1:${{EXTEN:2}},20,tT)
exten => _89!,1,Set(CALLERID(pres)=prohib)
 same => n,Dial(PJSIP/caller/sip:bob@127.0.0.1:${{EXTEN:2}},20)
{TO_AGENTS}"""
KEPT = """
[kept]
exten => s,1,Verbose(1,kept ${CHANNEL} result ${AGENTD_RESULT})
 same => n,Answer()
 same => n,Echo()
"""


@attrs.frozen
class Switchboard:
    """The PBX, agentd, and somebody at the manager interface."""

    host: Host
    daemon: Daemon
    manager: Manager

    def call(self, extension: str, who: tuple[str, str] = ADA) -> AbstractAsyncContextManager[Call]:
        number, name = who
        return SipCaller().call(self.uri(extension), caller_id=number, name=name)

    def uri(self, extension: str) -> str:
        return self.host.pbx.sip_uri(extension)

    @property
    def told(self) -> int:
        """Log lines so far."""
        return len(self.daemon.lines)

    @property
    def prompts(self) -> list[str]:
        """What each session of an agent's was told, so far."""
        begun = [session for session in self.host.house.deepgram.sessions if session.settings]
        return [str(session.settings["agent"]["think"]["prompt"]) for session in begun]

    async def greeted(self, start: int = 0) -> dict[str, object]:
        """Wait until an agent has greeted somebody who called it; gives the log's line of the call."""
        line = await self.daemon.wait_for("call", start=start, timeout=PATIENCE)
        await greeted(self.daemon, start)
        return line

    async def knows(self, number: str, name: str, extension: str = STREAMING) -> None:
        """Wait until the newest session of an agent is told with whom it speaks: `unknown` for what it may not."""
        wanted = f"You speak with {name}, {number}, who dialled {extension}."
        with trio.move_on_after(PATIENCE):
            while self.prompts[-1:] != [wanted]:
                await trio.sleep(0.05)
        assert self.prompts[-1:] == [wanted]

    async def put_together(self, channels: int = 2) -> None:
        """Wait until so many channels are in bridges. Who answers is so a moment later: a REFER before that finds
        nobody to be put through."""
        with trio.fail_after(PATIENCE):
            while (
                sum(channel.split("!")[-2].strip("()") not in ("", "None") for channel in await self.host.channels())
                < channels
            ):
                await trio.sleep(0.05)

    async def converses(self, caller: Call) -> None:
        """The caller says something, the agent hears it, and the caller hears the agent's answer."""
        told = self.told
        began = await self._says(caller, silence(0.8))
        await self.daemon.wait_for("utterance heard", start=told, timeout=PATIENCE)
        await _heard(caller, began)

    async def hear_each_other(self, one: Call, other: Call) -> None:
        for speaker, listener in ((one, other), (other, one)):
            began = listener.now
            await self._says(speaker)
            await _heard(listener, began)

    async def _says(self, speaker: Call, then: bytes = b"") -> float:
        """Gives the second at which it began."""
        (speech,) = (one.pcm() for one in human_prompts(self.host.pbx.prefix) if one.name == "conf-onlyperson")
        sent = await speaker.play(silence(0.5) + speech + then)
        return sent.start

    async def channel(self, number: str) -> str:
        """The name of the channel of the telephone that has called with this number."""
        with trio.fail_after(PATIENCE):
            while True:
                for channel in await self.host.channels():
                    name, *_, number_shown = channel.split("!")[:8]
                    if name.startswith("PJSIP/") and number_shown == number:
                        return name
                await trio.sleep(0.1)

    async def telephones(self, count: int) -> None:
        """Soon so many channels of telephones are left."""
        with trio.move_on_after(PATIENCE):
            while len(await self._telephones()) != count:
                await trio.sleep(0.1)
        assert len(await self._telephones()) == count

    async def _telephones(self) -> list[str]:
        return [channel for channel in await self.host.channels() if channel.startswith("PJSIP/")]

    async def results(self) -> dict[str, float]:
        """How calls have ended, once none is left."""
        await self.daemon.until_idle(PATIENCE)
        counted = re.findall(r'agentd_calls_total\{result="([^"]+)"\} ([\d.]+)', await self.daemon.metrics())
        return {result: float(number) for result, number in counted if float(number)}


async def _heard(listener: Call, since: float) -> None:
    with trio.fail_after(PATIENCE):
        while not speech_spans(listener.heard[round(since * 8000) * 2 :]):
            await trio.sleep(0.1)


async def let_go(call: Call) -> None:
    """Wait until the PBX hangs up."""
    with trio.fail_after(PATIENCE):
        await call.ended.wait()
    assert call.ended_by == "remote"


@asynccontextmanager
async def a_switchboard(
    prefix: Prefix,
    directory: Path,
    *,
    dialplan: str = "",
    modules: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    lines: str = "",
    tables: str = "",
) -> AsyncIterator[Switchboard]:
    """`dialplan`: further extensions; `files`: configuration of `modules`, which are loaded beside the lab's; `lines`
    of both agents' tables, and `tables` of agent.toml.

    Once all have hung up, nothing may be left of any call.
    """
    extra = f"[calls]\ndrain_timeout = 1.0\n{tables}"
    async with a_host(
        prefix, directory, dialplan=DIALPLAN + dialplan + KEPT, lines=f"{PROMPT}\n{lines}", extra=extra
    ) as host:
        for name, text in (files or {}).items():
            (host.pbx.directory / "etc" / name).write_text(text)
        for module in modules:
            await host.pbx.cli(f"module load {module}.so")
        await host.pbx.cli("module reload features")
        async with host.daemon() as daemon, manager(host.pbx) as session:
            yield Switchboard(host, daemon, session)
            await daemon.until_idle(PATIENCE)
            await host.nothing_is_stuck()


@asynccontextmanager
async def talking(board: Switchboard, dial: str = "8") -> AsyncIterator[tuple[Call, Call]]:
    """Ada has called Bob's telephone, and they talk; `dial` stands before its port."""
    async with SipCaller().line() as line, board.call(f"{dial}{line.port}") as ada:
        bob = await line.call()
        await board.put_together()
        yield ada, bob
