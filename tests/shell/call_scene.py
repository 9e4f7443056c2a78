"""A call that is staged (agentd.testing._call) with agents that are none."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import attrs
import trio

from agentd.agent import Audio
from agentd.audio.level import ramp
from agentd.audiosocket.transport import EXTERNAL
from agentd.calls.call import CallSettings
from agentd.conversation.commands import Phrase, Result
from agentd.conversation.liveness import LivenessTimes
from agentd.history import Speaker
from agentd.media.transport import Transport
from agentd.playback.contract import Announcement
from agentd.playback.stream import ATTENUATED
from agentd.serving.candidates import Candidate
from agentd.serving.contained import ContainedSession
from agentd.serving.failover import FailoverTimes
from agentd.testing._call import StagedCall
from agentd.testing._lines import Lines
from agentd.testing.clock import until
from agentd.testing.sound import RATE, voice
from tests.shell.fakes import FakeAgent, FakeSession

GREETING = "Hello there my friend"
HOLD_MESSAGE = "One moment please"
HOLD_MESSAGES = (voice(0.6, seed=101), voice(0.6, seed=102), voice(0.6, seed=103))
"""The hold message as the first, the second and the third agent say it."""
NAMES = ("first", "second", "third")
SETTINGS = CallSettings(
    reattach_tries=3,
    phrases={Phrase.GREETING: GREETING},
    announcements={
        Result.FAILED_MEDIA: Announcement(sound="sound:sorry"),
        Result.FAILED_AGENT: Announcement(sound="sound:sorry"),
        Result.FAILED_SILENCE: Announcement(sound="sound:sorry"),
        Result.SHUTDOWN: Announcement(sound="sound:goodbye"),
        Result.CALLER_SILENT: Announcement(sound="sound:nobody"),
        Result.MAX_DURATION: Announcement(sound="sound:time"),
    },
    uninterruptible=(),
    liveness=LivenessTimes(
        check_in_after=0.0, check_ins=0, slow_after=0.0, max_duration=0.0, warn_before=0.0, dead_air_after=0.0
    ),
    failover=FailoverTimes(open_within=1.5, mute_after=1.2, hold_message="", apology=""),
    log_transcripts=False,
)


class Mode(StrEnum):
    """How the agent's voice goes to the caller."""

    FILE = "file"
    STREAM = "stream"


@attrs.define(eq=False)
class Scene(StagedCall):
    """A call whose agents are none: their sessions say what the test tells them to. They are asked in their order."""

    agents: Sequence[FakeAgent] = attrs.field(kw_only=True)
    sessions: list[FakeSession] = attrs.field(factory=list, init=False)
    """Every session that was opened, whoever's."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for agent in self.agents:
            agent.on_session = self.sessions.append

    @property
    def agent(self) -> FakeAgent:
        return self.agents[0]

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

    @property
    def seated(self) -> FakeSession | None:
        """The session that serves the call now."""
        contained = self.call._keeper.session
        assert contained is None or isinstance(contained, ContainedSession)
        return None if contained is None else contained.session  # type: ignore[return-value]

    @property
    def said(self) -> list[str]:
        return self.session.said

    @property
    def agent_turns(self) -> list[str]:
        """What the history says that the caller heard."""
        return [turn.text for turn in self.call.history.turns if turn.speaker is Speaker.AGENT]

    @property
    def fed(self) -> list[bytes]:
        """The sounds of the caller that the session was fed; the silence around them is left out."""
        return [pcm for pcm in self.session.fed if any(pcm)]

    def sample(self, name: str, **labels: str) -> float:
        return self.call.metrics.registry.get_sample_value(f"agentd_{name}", labels) or 0.0

    async def live(self) -> None:
        """Until the caller has begun to hear the greeting."""
        await self.until(lambda: self.sessions and self.session.begun == [1])

    async def greeted(self) -> None:
        """Until the caller has heard the greeting."""
        await self.until(lambda: self.sessions and self.session.reports)

    async def speaking(self, *segments: str, seconds: float = 2.0) -> bytes:
        """Until the caller has begun to hear these segments; gives their voice. (A file takes its own time.)"""
        spoken = await self.session.utter(*segments, seconds=seconds / len(segments))
        await self.until(lambda: self.session.utterances in self.session.begun)
        return spoken

    async def until(self, condition: Callable[[], object]) -> None:
        """Until it is so, and a moment longer: what else is done at that moment has been done then."""
        await until(condition, patience=120)
        await trio.sleep(0.003)

    def nothing_is_left(self) -> None:
        """Of a call that is over, at its agents too."""
        super().nothing_is_left()
        assert all(agent.closed == agent.opened for agent in self.agents)


def make_scene(
    mode: Mode = Mode.STREAM,
    agents: Sequence[FakeAgent] = (),
    media: str = EXTERNAL,
    transport: Callable[[Lines], Transport] | None = None,
    **settings: Any,
) -> Scene:
    agents = agents or (FakeAgent(),)
    candidates = [
        Candidate(name, agent, agent.breaker, spoken={HOLD_MESSAGE: (Audio(0, 0, hold, RATE),)})
        for name, agent, hold in zip(NAMES, agents, HOLD_MESSAGES, strict=False)
    ]
    return Scene(
        candidates,
        attrs.evolve(SETTINGS, **settings),
        streams=mode is Mode.STREAM,
        transport=transport or (lambda lines: lines.transport(media)),
        agents=agents,
    )


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[Scene]:
    """The call runs beside the block; after the block it must come to its own end and leave nothing."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.run)
            yield scene
    scene.nothing_is_left()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


def frame_numbers(spoken: Sequence[bytes]) -> Mapping[bytes, int]:
    """The numbers of the frames that were spoken, by how the caller may hear them: in full, attenuated, and changing
    from the one to the other. Silence and fades are none of them."""
    levels = ((1.0, 1.0), (ATTENUATED, ATTENUATED), (1.0, ATTENUATED), (ATTENUATED, 1.0))
    return {ramp(frame, *ends): number for number, frame in reversed(list(enumerate(spoken))) for ends in levels}
