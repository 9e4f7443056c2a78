"""Asterisk's chan_websocket without Asterisk: its channel, as strict as the source is, and media WebSockets in memory.

Source: Asterisk 22.10 channels/chan_websocket.c. What it drops with no more than a warning in its log is dropped here,
and noted in `warnings`.
"""

import json
import math
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import attrs
import trio

from agentd.chan_websocket.connection import ChanWebSocketConnection
from agentd.chan_websocket.transport import ID_VARIABLE, ChanWebSocket, ExpectedMedia
from agentd.config.settings import Config
from agentd.errors import WebSocketError
from agentd.media.leg import FRAME_SECONDS
from agentd.metrics import Metrics

LATENCY = 0.003
"""Seconds that a message takes from one end to the other."""
PHASE = 0.011
"""Seconds by which Asterisk's clock lags behind agentd's."""
QUEUE_MAX, XOFF_LEVEL, XON_LEVEL = 1000, 900, 800
LONGEST_TEXT = 128
FRAME_BYTES = {"slin": 320, "slin16": 640}


@attrs.frozen
class Option:
    """A control frame in the queue: the event that is sent when it is reached."""

    event: str


@attrs.define(eq=False)
class Channel:
    """A channel of chan_websocket's, behind its WebSocket. `tell(message)` sends."""

    audio_format: str = "slin"
    tell: Callable[[str | bytes], None] = lambda message: None
    queue: deque[bytes | Option] = attrs.field(factory=deque)
    length: int = 0
    full: bool = False
    paused: bool = False
    bulk: bool = False
    report_drained: bool = False
    leftover: bytes = b""
    hung_up: bool = False
    commands: list[dict[str, Any]] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    @property
    def frame_bytes(self) -> int:
        return FRAME_BYTES[self.audio_format]

    def start(self) -> None:
        """websocket_handoff_to_channel"""
        self.tell_event(
            "MEDIA_START",
            connection_id=str(uuid4()),
            channel="WebSocket/INCOMING/0x7f",
            format=self.audio_format,
            optimal_frame_size=self.frame_bytes,
            ptime=20,
            channel_variables={},
        )

    def tell_event(self, event: str, **fields: Any) -> None:
        self.tell(json.dumps({"event": event, "channel_id": "1.2", **fields}))

    def receive(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._text(message)
        else:
            self._binary(message)

    def _text(self, text: str) -> None:
        if not 0 < len(text.encode()) <= LONGEST_TEXT:
            self.warnings.append(f"TEXT message of length {len(text.encode())}")
            return
        try:
            fields = json.loads(text)
        except ValueError:
            self.tell_event("ERROR", error_text="Unable to parse JSON command")
            return
        self.commands.append(fields)
        match fields.get("command"):
            case "HANGUP":
                self.hung_up = True
            case "START_MEDIA_BUFFERING":
                self.bulk = True
            case "STOP_MEDIA_BUFFERING":
                self.bulk = False
                if self.leftover:
                    self._queue(self.leftover)
                self.leftover = b""
                self._option("MEDIA_BUFFERING_COMPLETED", fields.get("correlation_id", ""))
            case "MARK_MEDIA":
                self._option("MEDIA_MARK_PROCESSED", fields.get("correlation_id", ""))
            case "FLUSH_MEDIA":
                self.queue.clear()
                self.length, self.bulk, self.leftover = 0, False, b""
            case "REPORT_QUEUE_DRAINED":
                self.report_drained = True
            case "GET_STATUS":
                self.tell_event("STATUS", queue_length=self.length, queue_full=self.full, media_paused=self.paused)
            case "PAUSE_MEDIA":
                self.paused = True
            case "CONTINUE_MEDIA":
                self.paused = False
            case "ANSWER":
                pass
            case other:
                self.warnings.append(f"{other} command unknown")

    def _option(self, event: str, correlation_id: str) -> None:
        text = json.dumps({"event": event, "channel_id": "1.2", "correlation_id": correlation_id})
        self.queue.append(Option(text))

    def _binary(self, audio: bytes) -> None:
        if self.length >= QUEUE_MAX:
            return
        if self.bulk:
            audio, self.leftover = self.leftover + audio, b""
        whole = len(audio) // self.frame_bytes * self.frame_bytes
        for at in range(0, whole, self.frame_bytes):
            self._queue(audio[at : at + self.frame_bytes])
        if self.bulk:
            self.leftover = audio[whole:]

    def _queue(self, frame: bytes) -> None:
        self.queue.append(frame)
        self.length += 1
        if not self.full and self.length >= XOFF_LEVEL:
            self.full = True
            self.tell_event("MEDIA_XOFF")

    def tick(self) -> bytes | None:
        """dequeue_frame: what is played now; None: nothing is, and no RTP goes out."""
        if self.paused:
            return None
        if self.full and self.length < XON_LEVEL:
            self.full = False
            self.tell_event("MEDIA_XON")
        if not self.queue:
            if self.report_drained:
                self.report_drained = False
                self.tell_event("QUEUE_DRAINED")
            return None
        while self.queue and isinstance(option := self.queue[0], Option):
            self.queue.popleft()
            self.tell(option.event)
        if not self.queue:
            return None
        frame = self.queue.popleft()
        assert isinstance(frame, bytes)
        self.length -= 1
        return frame


@attrs.define(eq=False)
class MediaLine:
    """A media WebSocket in memory: what a connection uses of agentd's, the channel behind it, and the caller's ear.

    Asterisk's clock runs while somebody reads.
    """

    channel: Channel = attrs.field(factory=Channel)
    frames: list[tuple[float, bytes]] = attrs.field(factory=list)
    """When each frame began to be heard, and its slin. Where nothing was played there is none."""
    holes: list[float] = attrs.field(factory=list)
    """When a frame was due, and nothing was played."""
    sent: list[str | bytes] = attrs.field(factory=list)
    dropped: int = 0
    clogged: trio.Event | None = None
    """Messages wait for it before they leave."""
    late: float = 0.0
    """Seconds by which Asterisk's clock has fallen behind."""
    connection: ChanWebSocketConnection | None = None
    _to_asterisk: deque[tuple[float, str | bytes]] = attrs.field(factory=deque)
    _to_agentd: deque[tuple[float, str | bytes | None]] = attrs.field(factory=deque)
    _posted: trio.Event = attrs.field(factory=trio.Event)
    _tick: float = math.nan
    _gone: str = ""

    def __attrs_post_init__(self) -> None:
        self.channel.tell = self.tell

    # --- the caller's end, and Asterisk's

    def tell(self, message: str | bytes | None) -> None:
        self._to_agentd.append((trio.current_time() + LATENCY, message))
        self._posted.set()

    def speak(self, pcm: bytes) -> None:
        self.tell(pcm)

    def press(self, digit: str) -> None:
        self.channel.tell_event("DTMF_END", digit=digit)

    def say_stop(self, stop: bool) -> None:
        self.channel.tell_event("MEDIA_XOFF" if stop else "MEDIA_XON")

    def cut(self) -> None:
        """Asterisk closes."""
        self.tell(None)

    @property
    def released(self) -> bool:
        return self.connection is None or self.connection.released.is_set()

    @property
    def flushes(self) -> int:
        return sum(isinstance(message, str) and "FLUSH_MEDIA" in message for message in self.sent)

    @property
    def ahead(self) -> int:
        assert self.connection is not None
        return self.connection.ahead

    # --- agentd's, as of agentd.websocket.WebSocket

    async def send(self, message: str | bytes, deadline: float = 1.0) -> None:
        await trio.lowlevel.checkpoint()
        if self.clogged is not None:
            await self.clogged.wait()
        if self._gone:
            raise WebSocketError(self._gone)
        self.sent.append(message)
        self._to_asterisk.append((trio.current_time() + LATENCY, message))
        self._posted.set()

    async def receive(self) -> str | bytes:
        if math.isnan(self._tick):
            self._tick = trio.current_time() + PHASE
        while True:
            self._posted = trio.Event()
            due = [self._tick + self.late, *(way[0][0] for way in (self._to_asterisk, self._to_agentd) if way)]
            with trio.move_on_at(min(due)):
                await self._posted.wait()
            now = trio.current_time()
            while self._to_asterisk and self._to_asterisk[0][0] <= now:
                self.channel.receive(self._to_asterisk.popleft()[1])
            if self._tick + self.late <= now:
                self._tick += FRAME_SECONDS
                frame = self.channel.tick()
                if frame is None:
                    self.holes.append(now)
                else:
                    self.frames.append((now, frame))
            if self.channel.hung_up:
                self._gone = "closed by the peer (1000)"
            if self._to_agentd and self._to_agentd[0][0] <= now:
                message = self._to_agentd.popleft()[1]
                if message is not None:
                    return message
                self._gone = "closed by the peer (1000)"
            if self._gone:
                raise WebSocketError(self._gone)


class InMemory(ChanWebSocket):
    """The transport, whose WebSockets open at once, and in memory."""

    lines: "MediaLines"

    def _connect(self, leg: ExpectedMedia, connection_id: str) -> None:
        line = self.lines.opened.pop(connection_id)
        line.connection = ChanWebSocketConnection(line, "asterisk", leg.line, self.metrics)  # type: ignore[arg-type]
        leg._connection = line.connection
        leg._came.set()


@attrs.define(eq=False)
class MediaLines:
    """The real transport over WebSockets in memory, and Asterisk's answers about them."""

    metrics: Metrics = attrs.field(factory=Metrics)
    all: list[MediaLine] = attrs.field(factory=list)
    opened: dict[str, MediaLine] = attrs.field(factory=dict)

    def transport(self) -> ChanWebSocket:
        made = InMemory(Config, self.metrics, connections=None, asterisk="http://pbx:8088")  # type: ignore[arg-type] - no task is needed
        made.lines = self
        return made

    def asked(self, variables: dict[str, str]) -> Callable[[str, Any], None]:
        """What Asterisk does when it is asked for a leg: the answer has the id under which its channel waits."""

        def on_media(_data: str, request: Any) -> None:
            assert request.params["transport_data"] == "f(json)", "or control messages are plain text"
            connection_id = str(uuid4())
            line = MediaLine(Channel(request.params["format"]))
            self.all.append(line)
            self.opened[connection_id] = line
            variables[ID_VARIABLE] = connection_id

        return on_media
