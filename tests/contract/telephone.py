"""A call on a PBX in memory with a real agent, and a caller with a mouth and ears, all in real time."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import attrs
import numpy as np
import trio

from agentd.agent import Agent, AgentSession, CallInfo
from agentd.ari.channel import CallerChannel, MediaSettings
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, StasisEnd
from agentd.audiosocket.listener import Admission
from agentd.calls.call import Call
from agentd.calls.settings import settings_of_call
from agentd.config.settings import Config
from agentd.conversation.commands import Result
from agentd.conversation.machine import Line as LineState
from agentd.dialplan import MediaWay
from agentd.history import Speaker
from agentd.metrics import Metrics
from agentd.playback.downstream import Downstream
from agentd.playback.stream import StreamPlayback
from agentd.serving.candidates import Candidate
from agentd.serving.roster import Entry
from agentd.testing._asterisk import PASSWORD, USER, FakeAsterisk
from agentd.testing._lines import Lines, audio_frame, dtmf_frame
from agentd.testing._playback import FakePlayback
from agentd.tools.registry import Toolbox
from agentd_providers.registry import find_provider
from agentd_providers.shared import SharedServices
from tests.contract.parties import RATE, Party
from tests.installed import parse_config

CALLER = "1700000000.1"
PATIENCE = 30.0
"""Seconds within which everything has to happen that a test waits for, on however busy a host."""
FRAME = RATE // 50 * 2
FRAME_SECONDS = 0.02
AUDIBLE = 100.0
"""Root mean square of a frame that is no silence."""
WHOSE: ContextVar[object] = ContextVar("WHOSE", default=None)
"""The call that a task was begun for: a task has the context of the one that began it."""


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that must come to be so."""
    with trio.fail_after(patience):
        while not condition():
            await trio.sleep(0.01)


def configuration(party: Party, *, fallback: bool = False, **agent: Any) -> Config:
    """A configuration with the party's agent, "tested", whose settings are also `agent`, and maybe a fallback."""
    liveness = {"slow_after": 0, "check_in_after": 0}
    tested = {
        "provider": party.provider,
        "greeting": "",
        "liveness": liveness,
        "fallback": ["polly"] if fallback else [],
        party.provider: dict(party.settings),
        **agent,
    }
    polly = {"provider": "parrot", "greeting": "", "liveness": liveness, "parrot": {"quiet_ms": 300}}
    return parse_config({"agents": {"tested": tested, **({"polly": polly} if fallback else {})}}, {})


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Mapping[str, Agent]]:
    """The agents of a configuration, by name."""
    async with trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        async with AsyncExitStack() as stack:
            yield {
                name: await stack.enter_async_context(find_provider(agent.provider).open(name, agent, shared))
                for name, agent in config.agents.items()
            }
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Telephone:
    """One call, and its caller."""

    asterisk: FakeAsterisk
    client: AriClient
    lines: Lines
    file: FakePlayback
    call: Call
    result: Result | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _mouth: deque[bytes] = attrs.field(factory=deque)

    async def run(self) -> None:
        """The call, from its begin to its end."""
        WHOSE.set(self)
        with self.scope:
            self.result = await self.call.run()

    async def use(self) -> None:
        """Speak what is to be said, and silence, until cancelled."""
        due = trio.current_time()
        while True:
            if self.lines.all:
                pcm = self._mouth.popleft() if self._mouth else bytes(FRAME)
                self.lines.all[-1].say(audio_frame(pcm))
            due += FRAME_SECONDS
            await trio.sleep_until(due)

    # --- the caller

    def say(self, pcm: bytes) -> None:
        """Say something, after what is still being said."""
        self._mouth.extend(pcm[at : at + FRAME].ljust(FRAME, b"\0") for at in range(0, len(pcm), FRAME))

    def press(self, digit: str) -> None:
        self.lines.all[-1].say(dtmf_frame(digit))

    def hang_up(self) -> None:
        self.asterisk.gone(CALLER)
        if route := self.client.routes.get(CALLER):
            route.put(StasisEnd(Channel(CALLER)))
            route.put(ChannelDestroyed(Channel(CALLER), 16))

    def heard(self, since: float = 0.0, before: float = float("inf")) -> float:
        """Seconds of sound that the caller has heard in a time."""
        frames = [pcm for line in self.lines.all for at, pcm in line.frames if since <= at < before]
        return FRAME_SECONDS * sum(
            np.sqrt(np.mean(np.frombuffer(pcm, "<i2").astype(float) ** 2)) > AUDIBLE for pcm in frames if any(pcm)
        )

    # --- what came of it

    @property
    def live(self) -> bool:
        return self.call.conversation.line is LineState.LIVE

    @property
    def session(self) -> AgentSession:
        session = self.call._keeper.session
        assert session is not None, "nobody serves the call"
        return session

    @property
    def turns(self) -> list[tuple[Speaker, str]]:
        """The history's turns that are complete."""
        return [(turn.speaker, turn.text) for turn in self.call.history.turns if turn.text]

    def said_by(self, speaker: Speaker) -> list[str]:
        return [text for whose, text in self.turns if whose is speaker]

    @property
    def ended_with(self) -> str | None:
        """AGENTD_RESULT of a channel that was handed back to the dialplan."""
        return self.asterisk.variables[CALLER]["AGENTD_RESULT"] if CALLER in self.asterisk.continued else None

    def nothing_is_left_in_asterisk(self) -> None:
        assert set(self.asterisk.channels) <= {CALLER}
        assert not self.asterisk.bridges
        assert all(line.released for line in self.lines.all)
        assert not self.lines.admission._expected


def tasks_of(telephone: Telephone) -> list[str]:
    """Tasks that were begun for a call, wherever they run, and still do."""
    found, waiting = [], [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        assert task is not None
        if task.context.get(WHOSE) is telephone:
            found.append(task.name)
        waiting.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found


def connect(config: Config, agents: Mapping[str, Agent]) -> Telephone:
    """A call to the agents of a configuration, which has still to be run."""
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    asterisk.enter(CALLER)
    lines = Lines(admission, metrics)
    asterisk.on_media = lambda uuid, request: lines.connect(UUID(uuid))
    client = AriClient(
        "http://asterisk.test", USER, PASSWORD, "agentd", asterisk.rest(metrics), metrics, lambda start: None
    )
    channel = CallerChannel(CALLER, client, client.route(CALLER), admission, MediaSettings("127.0.0.1:8090"))
    toolbox, file = Toolbox.of(config), FakePlayback(seconds=0.2)
    call = Call(
        CallInfo(CALLER, "100", "Alice", "600", RATE),
        channel,
        [Candidate(name, agent, tools=toolbox.of_agent(config.agents[name])) for name, agent in agents.items()],
        Downstream(StreamPlayback(RATE, metrics), file),  # type: ignore[arg-type]
        settings_of_call(config, Entry("tested", config.agents["tested"]), MediaWay.EXTERNAL),
        metrics,
        lambda moving: None,
    )
    return Telephone(asterisk, client, lines, file, call)


@asynccontextmanager
async def talking(party: Party, **agent: Any) -> AsyncIterator[Telephone]:
    """A call to the party, live. After the block the caller hangs up, if the call has not ended by then, and nothing of
    it is left."""
    config = configuration(party, **agent)
    async with opened(config) as agents:
        telephone = connect(config, agents)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(telephone.use)
            async with trio.open_nursery() as calls:
                calls.start_soon(telephone.run)
                await until(lambda: telephone.live)
                assert tasks_of(telephone)
                yield telephone
                telephone.hang_up()
            nursery.cancel_scope.cancel()
        await nothing_is_left(party, [telephone])


async def nothing_is_left(party: Party, telephones: Sequence[Telephone]) -> None:
    """Of calls that are over."""
    for telephone in telephones:
        telephone.nothing_is_left_in_asterisk()
        await until(lambda telephone=telephone: not tasks_of(telephone), 2.0)  # type: ignore[misc]
    await until(lambda: not party.at_work(), 2.0)
