"""ONE call and everything around it: a PBX in memory, and file playback that is none.

The channel handle, the media legs, the AudioSocket connections, streaming playback, the conversation and the wiring are
the real ones.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import attrs
import trio

from agentd.agent import CallInfo
from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, StasisEnd
from agentd.audiosocket.listener import Admission
from agentd.calls.call import Call, CallSettings
from agentd.conversation.commands import Result
from agentd.history import Speaker
from agentd.media.transport import Transport
from agentd.metrics import Metrics
from agentd.playback.downstream import Downstream
from agentd.playback.stream import StreamPlayback
from agentd.serving.candidates import Candidate
from agentd.testing._ari_server import PASSWORD, USER, Request
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import Line, Lines
from agentd.testing._playback import FakePlayback
from agentd.testing.sound import RATE

CALLER = "1700000000.1"
"""The caller's channel."""


@attrs.define(eq=False)
class StagedCall:
    """A call that `candidates` can serve, in the order in which they are asked, and everything around it. It has still
    to be run. `streams`: whether the agent's voice is streamed, or all of it played as files."""

    candidates: Sequence[Candidate]
    settings: CallSettings
    streams: bool = attrs.field(default=True, kw_only=True)
    transport: Callable[[Lines], Transport] = attrs.field(default=Lines.transport, kw_only=True)
    """The transport of its media legs."""
    file: FakePlayback = attrs.field(factory=FakePlayback, kw_only=True)
    asterisk: FakeAsterisk = attrs.field(factory=FakeAsterisk, init=False)
    client: AriClient = attrs.field(init=False)
    lines: Lines = attrs.field(init=False)
    stream: StreamPlayback | None = attrs.field(init=False)
    call: Call = attrs.field(init=False)
    line_moves: list[bool] = attrs.field(factory=list, init=False)
    """The beats that the watchdog's line clock was told."""
    result: Result | None = attrs.field(default=None, init=False)
    """Once it is over."""

    def __attrs_post_init__(self) -> None:
        metrics, admission = Metrics(), Admission()
        self.asterisk.enter(CALLER)
        self.lines = Lines(admission, metrics)
        self.asterisk.on_media = self._connect
        rest = self.asterisk.rest(metrics)
        self.client = AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None)
        channel = CallerChannel(self.client, self.client.route(CALLER), self.transport(self.lines))
        channel.on_playback = self.file.on_event
        self.stream = StreamPlayback(RATE, metrics) if self.streams else None
        self.call = Call(
            CallInfo(CALLER, "100", "Alice", "600", RATE),
            channel,
            self.candidates,
            Downstream(self.stream, self.file),  # type: ignore[arg-type]
            self.settings,
            metrics,
            self.line_moves.append,
        )

    def _connect(self, uuid: str, _request: Request) -> None:
        self.lines.connect(UUID(uuid))

    async def run(self) -> None:
        """The call, from its begin to its end."""
        async with trio.open_nursery() as daemon:
            daemon.start_soon(self.client.hand_backs.run)
            self.result = await self.call.run()
            daemon.cancel_scope.cancel()

    @property
    def line(self) -> Line:
        """The media leg that came last."""
        return self.lines.all[-1]

    def event(self, event: Any) -> None:
        """Asterisk tells the call an event."""
        self.client.routes[CALLER].put(event)

    def hang_up(self) -> None:
        """The caller hangs up: Asterisk tells it in this order."""
        self.asterisk.gone(CALLER)
        if route := self.client.routes.get(CALLER):
            route.put(StasisEnd(Channel(CALLER)))
            route.put(ChannelDestroyed(Channel(CALLER), 16))

    # --- what came of it

    @property
    def turns(self) -> list[tuple[Speaker, str]]:
        """The history's turns that have words: what the caller said, and what the caller heard."""
        return [(turn.speaker, turn.text) for turn in self.call.history.turns if turn.text]

    def said_by(self, speaker: Speaker) -> list[str]:
        """The words of one of the two."""
        return [text for whose, text in self.turns if whose is speaker]

    @property
    def announced(self) -> list[str]:
        """The files that agentd has played itself."""
        return [entry.removeprefix("announce ") for entry in self.file.log if entry.startswith("announce ")]

    @property
    def left_with(self) -> str | None:
        """AGENTD_RESULT of a channel that was handed back to the dialplan."""
        return self.asterisk.variables[CALLER]["AGENTD_RESULT"] if CALLER in self.asterisk.continued else None

    def nothing_is_left(self) -> None:
        """Of a call that is over, in Asterisk and on the lines."""
        assert set(self.asterisk.channels) <= {CALLER}
        assert not self.asterisk.bridges
        assert set(self.client.routes) <= {CALLER}
        assert all(line.released for line in self.lines.all)
        assert not self.lines.admission._expected
        assert not self.lines.admission._unnamed
        assert self.file.playing == 0
        if self.stream is not None:
            assert self.stream._speaking is None
            assert self.stream._announcing is None
