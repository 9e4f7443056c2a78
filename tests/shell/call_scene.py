"""ONE call and everything around it: a PBX in memory, an agent and file playback that are none.

The channel handle, the media legs, the AudioSocket connections, streaming playback, the conversation and the wiring are
the real ones.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs
import trio

from agentd.agent import Audio, CallInfo
from agentd.ari.channel import CallerChannel, MediaSettings
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, StasisEnd
from agentd.audiosocket.listener import Admission
from agentd.calls.call import Call, CallSettings
from agentd.conversation.commands import Phrase, Result
from agentd.conversation.liveness import LivenessTimes
from agentd.dialplan import MediaWay
from agentd.history import Speaker
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement
from agentd.playback.downstream import Downstream
from agentd.playback.stream import StreamPlayback
from agentd.serving.candidates import Candidate
from agentd.serving.failover import FailoverTimes
from agentd.testing._asterisk import PASSWORD, USER, FakeAsterisk
from agentd.testing._lines import Line, Lines
from agentd.testing._playback import FakePlayback
from agentd.testing.sound import RATE, voice
from tests.shell.fakes import FakeAgent, FakeSession

CALLER = "1700000000.1"
GREETING = "Hello there my friend"
HOLD_MESSAGE = "One moment please"
HOLD_MESSAGES = (voice(0.6, seed=101), voice(0.6, seed=102), voice(0.6, seed=103))
"""The hold message as the first, the second and the third agent say it."""
NAMES = ("first", "second", "third")
SETTINGS = CallSettings(
    media=MediaWay.EXTERNAL,
    reattach_tries=3,
    phrases={Phrase.GREETING: GREETING},
    announcements={
        Result.FAILED_MEDIA: Announcement(sound="sound:sorry"),
        Result.FAILED_AGENT: Announcement(sound="sound:sorry"),
        Result.SHUTDOWN: Announcement(sound="sound:goodbye"),
        Result.CALLER_SILENT: Announcement(sound="sound:nobody"),
        Result.MAX_DURATION: Announcement(sound="sound:time"),
    },
    uninterruptible=(),
    liveness=LivenessTimes(check_in_after=0.0, check_ins=0, slow_after=0.0, max_duration=0.0, warn_before=0.0),
    failover=FailoverTimes(open_within=1.5, mute_after=1.2, hold_message="", apology=""),
    log_transcripts=False,
)


class Mode(StrEnum):
    """How the agent's voice goes to the caller."""

    FILE = "file"
    STREAM = "stream"


@attrs.define(eq=False)
class Scene:
    """A call and everything around it. `agents` can serve it, in the order in which they are asked."""

    asterisk: FakeAsterisk
    client: AriClient
    lines: Lines
    agents: Sequence[FakeAgent]
    file: FakePlayback
    stream: StreamPlayback | None
    call: Call
    line_moves: list[bool]
    sessions: list[FakeSession] = attrs.field(factory=list)
    """Every session that was opened, whoever's."""
    result: Result | None = None

    @property
    def line(self) -> Line:
        return self.lines.all[-1]

    @property
    def agent(self) -> FakeAgent:
        return self.agents[0]

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

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

    @property
    def announced(self) -> list[str]:
        return [entry.removeprefix("announce ") for entry in self.file.log if entry.startswith("announce ")]

    def sample(self, name: str, **labels: str) -> float:
        return self.call.metrics.registry.get_sample_value(f"agentd_{name}", labels) or 0.0

    def event(self, event: Any) -> None:
        self.client.routes[CALLER].put(event)

    def hang_up(self) -> None:
        """The caller hangs up: Asterisk tells it in this order."""
        self.asterisk.gone(CALLER)
        if route := self.client.routes.get(CALLER):
            route.put(StasisEnd(Channel(CALLER)))
            route.put(ChannelDestroyed(Channel(CALLER), 16))

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
        with trio.fail_after(120):
            while not condition():
                await trio.sleep(0.005)

    async def run(self) -> None:
        self.result = await self.call.run()

    def nothing_is_left(self) -> None:
        assert set(self.asterisk.channels) <= {CALLER}
        assert not self.asterisk.bridges
        assert set(self.client.routes) <= {CALLER}
        assert all(line.released for line in self.lines.all)
        assert not self.lines.admission._expected
        assert not self.lines.admission._unnamed
        assert all(agent.closed == agent.opened for agent in self.agents)
        assert self.file.playing == 0
        if self.stream is not None:
            assert self.stream._speaking is None
            assert self.stream._announcing is None

    @property
    def left_with(self) -> str | None:
        """AGENTD_RESULT of a channel that was handed back to the dialplan."""
        if CALLER not in self.asterisk.continued:
            return None
        return self.asterisk.variables[CALLER]["AGENTD_RESULT"]


def make_scene(mode: Mode = Mode.STREAM, agents: Sequence[FakeAgent] = (), **settings: Any) -> Scene:
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    asterisk.enter(CALLER)
    lines = Lines(admission, metrics)
    asterisk.on_media = lambda uuid, request: lines.connect(UUID(uuid))
    rest = asterisk.rest(metrics)
    client = AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None)
    route = client.route(CALLER)
    channel = CallerChannel(CALLER, client, route, admission, MediaSettings("127.0.0.1:8090"))
    agents, file, line_moves = agents or (FakeAgent(),), FakePlayback(), list[bool]()
    channel.on_playback = file.on_event
    stream = StreamPlayback(RATE, metrics) if mode is Mode.STREAM else None
    call = Call(
        CallInfo(CALLER, "100", "Alice", "600"),
        channel,
        [
            Candidate(name, agent, agent.breaker, spoken={HOLD_MESSAGE: (Audio(0, 0, hold, RATE),)})
            for name, agent, hold in zip(NAMES, agents, HOLD_MESSAGES, strict=False)
        ],
        Downstream(stream, file),  # type: ignore[arg-type]
        attrs.evolve(SETTINGS, **settings),
        metrics,
        line_moves.append,
    )
    scene = Scene(asterisk, client, lines, agents, file, stream, call, line_moves)
    for agent in agents:
        agent.on_session = scene.sessions.append
    return scene


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
