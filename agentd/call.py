"""ONE call: its nursery, its parts, and how they are wired. Read this first.

    AudioSocket frames ──▶ session.feed            (the caller's voice, never blocked)
    session.events ─────▶ inbox ─┐
    ARI events ─────────▶ inbox ─┼─▶ conversation.step ─▶ commands ─▶ carried out here
    playback, media leg ▶ inbox ─┘
    session ▶ playout ──▶ playback                 (the agent's voice)

Everything below lives in the call's nursery. When the conversation ends, or anything raises, the nursery is
cancelled and with it every part: the session, the media leg with its channels, bridge and socket, the playback with
its file. The agent, the channel and the playback come in as arguments; no provider is known here by name.
"""

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs
import structlog
import trio

from agentd.agent import (
    Agent,
    AgentSession,
    AgentText,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerText,
    CallInfo,
    Degraded,
    Ended,
    History,
    NothingToSay,
    StageTiming,
)
from agentd.ari.channel import CallerChannel
from agentd.ari.client import Resync
from agentd.ari.events import (
    ChannelDestroyed,
    DtmfReceived,
    StasisEnd,
    VarSet,
)
from agentd.ari.events import PlaybackFinished as AriPlaybackFinished
from agentd.ari.events import PlaybackStarted as AriPlaybackStarted
from agentd.audiosocket.connection import LineFormat
from agentd.conversation import (
    AgentFailed,
    CallerHungUp,
    Command,
    Connected,
    Conversation,
    DigitPressed,
    DiscardAnswer,
    End,
    FeedDigit,
    Greet,
    Leave,
    Left,
    Line,
    MediaFailed,
    PlaybackFinished,
    PlaybackStarted,
    Result,
    ShutdownDue,
)
from agentd.dialplan import MediaWay
from agentd.dtmf import DigitFilter, DigitSource
from agentd.errors import AriError, PlaybackError, ProviderError
from agentd.media import CallerMedia
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement
from agentd.playback.file import FilePlayback
from agentd.playout import PlayoutBuffer

log = structlog.get_logger("agentd.call")

INBOX = 128
CONVERSATION_EVENTS = (CallerSpeechStarted, CallerSpeechEnded, NothingToSay, Ended)
"""What the conversation wants to know of a session; the rest is for logs and figures."""
FINISH_DEADLINE = 60.0
"""Seconds that a last utterance may go on for before the call leaves all the same."""
ANNOUNCEMENT_DEADLINE = 30.0
SESSION_DEADLINE = 20.0


@attrs.frozen
class CallSettings:
    """What the configuration says about this call."""

    greeting: str
    media: MediaWay
    reattach_tries: int
    failure: Announcement
    shutdown: Announcement
    log_transcripts: bool = False


@attrs.define(eq=False)
class Call:
    """One caller's call. `run` is the whole of its life."""

    info: CallInfo
    channel: CallerChannel
    agent: Agent
    playback: FilePlayback
    settings: CallSettings
    metrics: Metrics
    line_moves: Callable[[bool], None]
    """Told True with every frame written, False when no leg is up: the watchdog's line clock."""
    line: LineFormat = attrs.field(factory=LineFormat)
    conversation: Conversation = attrs.field(factory=Conversation, init=False)
    history: History = attrs.field(factory=History, init=False)
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer, init=False)
    result: Result | None = attrs.field(default=None, init=False)
    _session: AgentSession | None = attrs.field(default=None, init=False)
    _leaving: bool = attrs.field(default=False, init=False)
    _playing: int = attrs.field(default=0, init=False)
    _quiet: trio.Event = attrs.field(factory=trio.Event, init=False)
    _digits: DigitFilter = attrs.field(factory=DigitFilter, init=False)
    _last_speech_at: float = attrs.field(default=math.nan, init=False)
    _stages: dict[str, float] = attrs.field(factory=dict, init=False)
    _inbox_send: trio.MemorySendChannel[object] = attrs.field(init=False, repr=False)
    _inbox: trio.MemoryReceiveChannel[object] = attrs.field(init=False, repr=False)
    _overflow: deque[object] = attrs.field(factory=deque, init=False)
    _media: CallerMedia = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inbox_send, self._inbox = trio.open_memory_channel(INBOX)
        self._media = CallerMedia(
            self.channel,
            self.settings.media,
            self.settings.reattach_tries,
            self.info.rate,
            self.line,
            self.metrics,
            tell=self._post,
            on_up=self._connect,
            hear=self._hear,
            press=partial(self._digit, DigitSource.AUDIOSOCKET),
            line_moves=self.line_moves,
        )
        self._quiet.set()

    async def run(self) -> Result:
        """Serve the call to its end; gives the result that AGENTD_RESULT was set to.

        Everything that was made for the call is gone when this returns, or raises, or is cancelled.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_channel)
            nursery.start_soon(self._media.keep)
            nursery.start_soon(self._keep_session)
            nursery.start_soon(self._speak)
            await self._converse(nursery)
            nursery.cancel_scope.cancel()
        assert self.result is not None
        return self.result

    def shut_down(self) -> None:
        """The daemon's patience is over: announce the end and leave."""
        self._post(ShutdownDue())

    # --- the conversation: events in, commands out

    async def _converse(self, nursery: trio.Nursery) -> None:
        async for event in self._inbox:
            await self._take(event, nursery)
            while self._overflow:
                await self._take(self._overflow.popleft(), nursery)
            if self.conversation.line is Line.ENDED:
                return

    async def _take(self, event: object, nursery: trio.Nursery) -> None:
        step = self.conversation.step(event)
        for change in step.transitions:
            structlog.contextvars.bind_contextvars(state=str(self.conversation.state))
            log.info("state", region=change.region, before=change.before, after=change.after, cause=change.event)
        for command in step.commands:
            await self._carry_out(command, nursery)

    async def _carry_out(self, command: Command, nursery: trio.Nursery) -> None:
        match command:
            case Greet():
                if self.settings.greeting:
                    nursery.start_soon(self._say, self.settings.greeting)
            case FeedDigit(digit):
                if self._session is not None and self._session.capabilities.takes_digits:
                    self._session.feed_digits(digit)
            case DiscardAnswer():
                if self._session is not None:
                    self._session.interrupt()
                self.playout.interrupt()
                await self.playback.stop()
            case Leave():
                self.result = command.result
                nursery.start_soon(self._leave, command)
            case End(result):
                self.result = self.result or result

    def _post(self, event: object) -> None:
        """Tell the conversation something of the call's own. A session may have filled the inbox; the news that
        the caller hung up gets through all the same."""
        try:
            self._inbox_send.send_nowait(event)
        except trio.WouldBlock:
            if len(self._overflow) < INBOX:
                self._overflow.append(event)
            else:
                log.error("an event found the call's inbox full and was dropped", event_type=type(event).__name__)

    # --- the end

    async def _leave(self, command: Leave) -> None:
        """Finish or stop what is heard, announce, and hand the channel back."""
        log.info("leaving", result=str(command.result), detail=command.detail)
        if command.finish:
            with trio.move_on_after(FINISH_DEADLINE):
                while self._playing or not self.playout.empty:
                    await self._quiet.wait()
                    await trio.sleep(0.01)
        else:
            self.playout.close()
            await self.playback.stop()
        if command.announce:
            shutdown = command.result is Result.SHUTDOWN
            await self._announce(self.settings.shutdown if shutdown else self.settings.failure)
        self._leaving = True
        await self.channel.leave(str(command.result))
        self._post(Left())

    async def _announce(self, announcement: Announcement) -> None:
        with trio.move_on_after(ANNOUNCEMENT_DEADLINE) as deadline:
            try:
                await self.playback.announce(announcement)
            except PlaybackError as error:
                log.warning("the announcement could not be played", error=str(error))
        if deadline.cancelled_caught:
            log.warning("the announcement took too long", deadline_s=ANNOUNCEMENT_DEADLINE)

    # --- the caller's channel

    async def _follow_channel(self) -> None:
        while True:
            event = await self.channel.route.receive()
            match event:
                case StasisEnd(channel) | ChannelDestroyed(channel) if channel.id == self.channel.id:
                    self._post(Left() if self._leaving else CallerHungUp())
                case DtmfReceived(channel, digit) if channel.id == self.channel.id:
                    self._digit(DigitSource.ARI, digit)
                case VarSet():
                    self.channel.on_varset(event)
                case AriPlaybackStarted() | AriPlaybackFinished():
                    self.playback.on_event(event)
                case Resync():
                    await self._resync()

    async def _resync(self) -> None:
        """Events may have been lost: ask Asterisk whether the caller is still there."""
        try:
            if not await self.channel.exists():
                self._post(CallerHungUp())
        except AriError as error:
            log.warning("cannot tell whether the channel lives", error=str(error))

    def _digit(self, source: DigitSource, digit: str) -> None:
        if self._digits.accept(source, digit, trio.current_time()):
            self._post(DigitPressed(digit))

    # --- the agent

    def _connect(self) -> None:
        """The call is live once it has both: a media leg and a session."""
        if self._media.ever_up and self._session is not None:
            self._post(Connected())

    def _hear(self, pcm: bytes, at: float) -> None:
        if self._session is not None:
            self._session.feed(pcm, at)

    async def _keep_session(self) -> None:
        try:
            with trio.fail_after(SESSION_DEADLINE) as opening:
                async with self.agent.open(self.info, self.history, self.playout) as session:
                    opening.deadline = math.inf
                    self._session = session
                    self._connect()
                    async for event in session.events:
                        self._on_session_event(event)
                        if isinstance(event, CONVERSATION_EVENTS):
                            await self._inbox_send.send(event)
                    self._post(Ended("the session ended without saying why"))
        except trio.TooSlowError:
            self._post(AgentFailed(f"the agent's session did not open within {SESSION_DEADLINE:g} s"))
        except ProviderError as error:
            self._post(AgentFailed(str(error)) if self._session is None else Ended(str(error)))
        finally:
            self._session = None

    def _on_session_event(self, event: object) -> None:
        """What the conversation machine has no use for: figures and logs."""
        match event:
            case CallerSpeechEnded(_, last_speech_at):
                self._last_speech_at = last_speech_at
                self._stages = {}
            case StageTiming(stage, seconds):
                self._stages[stage] = seconds
                self.metrics.stage_seconds.labels(stage=stage).observe(seconds)
            case Degraded(reason):
                log.warning("the agent is degraded", reason=reason)
            case CallerText(text, final) if final and self.settings.log_transcripts:
                log.info("caller said", text=text)
            case AgentText(utterance, text) if self.settings.log_transcripts:
                log.info("agent says", utterance=utterance, text=text)

    async def _say(self, text: str) -> None:
        if self._session is not None:
            await self._session.say(text)

    # --- the agent's voice

    async def _speak(self) -> None:
        """Play the agent's utterances, one after the other."""
        while True:
            stream = await self.playout.next_utterance()
            self._playing, self._quiet = stream.utterance, trio.Event()
            try:
                heard = await self.playback.play(stream, partial(self._utterance_began, stream.utterance))
            except PlaybackError as error:
                log.error("playback failed", error=str(error))
                self._post(MediaFailed(str(error)))
                return
            finally:
                self._playing = 0
                self._quiet.set()
            self.history.agent_heard(stream.utterance, heard.text, heard.generated)
            if self._session is not None:
                self._session.heard(stream.utterance, heard.milliseconds, heard.completed)
            log.info(
                "utterance heard",
                utterance=stream.utterance,
                heard_ms=heard.milliseconds,
                completed=heard.completed,
            )
            self._post(PlaybackFinished(stream.utterance, idle=self.playout.empty))

    def _utterance_began(self, utterance: int) -> None:
        self.history.agent_speaks(utterance)
        self._post(PlaybackStarted(utterance))
        if math.isnan(self._last_speech_at):
            return
        delay, self._last_speech_at = trio.current_time() - self._last_speech_at, math.nan
        self.metrics.response_seconds.observe(delay)
        stages = {f"{stage}_ms": round(seconds * 1000) for stage, seconds in self._stages.items()}
        log.info("answer", utterance=utterance, response_ms=round(delay * 1000), **stages)
