"""A call on a PBX in memory with a real agent, and a caller with a mouth and ears."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import attrs
import trio

from agentd.agent import Agent, AgentSession
from agentd.audio.level import rms_dbfs
from agentd.calls.settings import settings_of_call
from agentd.config.file import parse_config
from agentd.config.settings import Config
from agentd.conversation.machine import Line as LineState
from agentd.service.catalogue import installed_catalogue
from agentd.serving.candidates import Candidate
from agentd.serving.roster import Entry
from agentd.testing._call import StagedCall
from agentd.testing._lines import audio_frame, dtmf_frame
from agentd.testing._playback import FakePlayback
from agentd.testing._understudy import Understudy
from agentd.testing.agents import AgentParty
from agentd.testing.clock import until
from agentd.testing.sound import RATE
from agentd.tools.registry import Toolbox
from agentd_providers.registry import find_provider
from agentd_providers.shared import SharedServices

TESTED = "tested"
"""The name of the agent under test in its configuration."""
UNDERSTUDY = "understudy"
"""That of the agent which stands in for it."""
FRAME = RATE // 50 * 2
FRAME_SECONDS = 0.02
AUDIBLE_DBFS = -50.0
"""Level of a frame that is no silence."""
LEAVING = 2.0
"""Seconds within which nothing of a call that is over is left."""
WHOSE: ContextVar[object] = ContextVar("WHOSE", default=None)
"""The call that a task was begun for: a task has the context of the one that began it."""


@lru_cache(maxsize=4096)
def _audible(pcm: bytes) -> bool:
    """Whoever waits until so much was heard asks about all frames of a call again and again."""
    return rms_dbfs(pcm) > AUDIBLE_DBFS


def configuration(party: AgentParty, **agent: Any) -> Config:
    """A configuration with the party's agent, TESTED, whose settings are also `agent`."""
    tested = {
        "provider": party.provider,
        "greeting": "",
        "liveness": {"slow_after": 0, "check_in_after": 0},
        party.provider: dict(party.settings),
        **agent,
    }
    return parse_config({"agents": {TESTED: tested}}, {}, installed_catalogue())


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Agent]:
    """The agent of a configuration."""
    (settings,) = config.agents.values()
    async with trio.open_nursery() as nursery:
        async with find_provider(settings.provider).open(TESTED, settings, SharedServices(nursery)) as agent:
            yield agent
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Telephone(StagedCall):
    """One call, and its caller."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Cancelled, the call is cut off, as at a shutdown that waits no longer."""
    _mouth: deque[bytes] = attrs.field(factory=deque, init=False)

    async def run(self) -> None:
        """The call, from its begin to its end."""
        WHOSE.set(self)
        with self.scope:
            await super().run()

    async def use(self) -> None:
        """Speak what is to be said, and silence, until cancelled."""
        due = trio.current_time()
        while True:
            if self.lines.all:
                pcm = self._mouth.popleft() if self._mouth else bytes(FRAME)
                self.line.say(audio_frame(pcm))
            due += FRAME_SECONDS
            await trio.sleep_until(due)

    # --- the caller

    def say(self, pcm: bytes) -> None:
        """Say something (8 kHz slin), after what is still being said."""
        self._mouth.extend(pcm[at : at + FRAME].ljust(FRAME, b"\0") for at in range(0, len(pcm), FRAME))

    def press(self, digit: str) -> None:
        """Press a key of the telephone: 0 to 9, * or #."""
        self.line.say(dtmf_frame(digit))

    def heard(self, since: float = 0.0, before: float = float("inf")) -> float:
        """Seconds of sound that the caller has heard in a time (seconds of Trio's clock)."""
        frames = [pcm for line in self.lines.all for at, pcm in line.frames if since <= at < before]
        return FRAME_SECONDS * sum(map(_audible, frames))

    # --- the agent

    @property
    def live(self) -> bool:
        """Whether an agent serves the caller."""
        return self.call.conversation.line is LineState.LIVE

    @property
    def session(self) -> AgentSession:
        """The one that serves the call now."""
        session = self.call._keeper.session
        assert session is not None, "nobody serves the call"
        return session

    @property
    def served_by(self) -> str:
        """The name of the agent whose session that is; empty while nobody serves the call."""
        candidate = self.call._keeper.candidate
        return "" if candidate is None else candidate.name

    def tasks(self) -> list[str]:
        """Tasks that were begun for the call, wherever they run, and still do."""
        found, waiting = [], [trio.lowlevel.current_root_task()]
        while waiting:
            task = waiting.pop()
            assert task is not None
            if task.context.get(WHOSE) is self:
                found.append(task.name)
            waiting.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
        return found


def connect(config: Config, agent: Agent, *, understudy: bool = False) -> Telephone:
    """A call to the agent of a configuration, and maybe to one that stands in for it. It has still to be run."""
    settings = config.agents[TESTED]
    candidates = [Candidate(TESTED, agent, tools=Toolbox.of(config).of_agent(settings))]
    if understudy:
        candidates.append(Candidate(UNDERSTUDY, Understudy()))
    call = settings_of_call(config, Entry(TESTED, settings))
    return Telephone(candidates, call, file=FakePlayback(seconds=0.2))


@asynccontextmanager
async def talking(party: AgentParty, *, understudy: bool = False, **agent: Any) -> AsyncIterator[Telephone]:
    """A call to the party, which is open, live. `agent` are more settings of [agents.NAME].

    After the block the caller hangs up, if the call has not ended by then, and nothing of it is left.
    """
    config = configuration(party, **agent)
    async with opened(config) as tested:
        telephone = connect(config, tested, understudy=understudy)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(telephone.use)
            async with trio.open_nursery() as calls:
                calls.start_soon(telephone.run)
                await until(lambda: telephone.live)
                assert telephone.tasks()
                yield telephone
                telephone.hang_up()
            nursery.cancel_scope.cancel()
        await leave_nothing(party, [telephone])


async def leave_nothing(party: AgentParty, telephones: Sequence[Telephone]) -> None:
    """Wait until nothing is left of calls that are over: in Asterisk, among the tasks, and at the party's vendor."""
    for telephone in telephones:
        telephone.nothing_is_left()
        await until(partial(_ended, telephone), LEAVING)
    await until(lambda: not party.at_work(), LEAVING)


def _ended(telephone: Telephone) -> bool:
    return not telephone.tasks()
