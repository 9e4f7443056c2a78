"""ONE call: its nursery, its parts, and how they are wired. Read this first.

    media leg ──▶ echo guard ──▶ keeper ──▶ session.feed    (the caller's voice, never blocked)
    session events ─────▶ inbox ─┐
    caller's line ──────▶ inbox ─┼─▶ conversation.step ─▶ commands ─▶ carried out here
    playback, leg, time ▶ inbox ─┘
    session ▶ playout ──▶ downstream ──▶ media leg, or files            (the agent's voice)

Everything below lives in the call's nursery. When the conversation ends, or anything raises, the nursery is
cancelled and with it every part: the session, the media leg with its channels, bridge and socket, the playback with
its file. The agent, the caller's line and the playback come in as arguments; no provider and no transport is
known here by name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import structlog
import trio

from agentd import budgets
from agentd import session_events as tells
from agentd.agent import AgentSession, CallInfo
from agentd.audio.echo import EchoGuard
from agentd.budgets import Budget
from agentd.calls.begun import Begun
from agentd.calls.caller_identity import CallerIdentity
from agentd.calls.callers_end import CallersEnd, CallersLine
from agentd.calls.fields import set_call_fields
from agentd.calls.figures import CallFigures
from agentd.calls.inbox import Inbox
from agentd.calls.last_words import LastWords
from agentd.calls.record import ToolAtWork
from agentd.calls.snapshot import Snapshot, Speech
from agentd.calls.tasks import watch_tasks
from agentd.calls.timekeeper import Timekeeper
from agentd.calls.voice import AgentVoice
from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.commands import Command, Phrase, Result
from agentd.conversation.dead_air import Ears
from agentd.conversation.liveness import LivenessTimes
from agentd.conversation.machine import AUDIBLE, Caller, Conversation, Hold, Line
from agentd.conversation.machine import Agent as AgentState
from agentd.history import History, ToolUse
from agentd.media.caller import CallerMedia
from agentd.media.dtmf import DigitSource
from agentd.media.leg import LegKind, LineFormat
from agentd.metrics import Metrics
from agentd.party import Party
from agentd.playback.contract import Announcement
from agentd.playback.downstream import Downstream
from agentd.playout import PlayoutBuffer
from agentd.serving.candidates import Candidate
from agentd.serving.failover import FailoverTimes
from agentd.serving.keeper import SessionKeeper
from agentd.session_events import SessionEvent
from agentd.tools.runner import CallContext, CallTools

log = structlog.get_logger("agentd.call")

CONVERSATION_EVENTS = (
    tells.CallerSpeechStarted,
    tells.CallerSpeechConfirmed,
    tells.CallerSpeechDoubted,
    tells.CallerTakesTurn,
    tells.CallerSpeechDismissed,
    tells.CallerPaused,
    tells.CallerSpeechResumed,
    tells.CallerSpeechEnded,
    tells.NothingToSay,
    tells.Withdrawn,
    tells.Ended,
)
"""The events of a session that concern the conversation; the others are for logs and figures."""


@attrs.frozen
class CallSettings:
    """The settings of this call.

    `phrases` are spoken by the agent; one that is missing or empty is not said. `announcements` are heard before the
    call ends with their result. Segments that contain a text of `uninterruptible` are heard to their end.
    """

    reattach_tries: int
    phrases: Mapping[Phrase, str]
    announcements: Mapping[Result, Announcement]
    uninterruptible: tuple[str, ...]
    liveness: LivenessTimes
    failover: FailoverTimes
    log_transcripts: bool


@attrs.define(eq=False)
class Call:
    """One caller's call. `run` is the whole of its life."""

    info: CallInfo
    caller: CallersLine
    candidates: Sequence[Candidate]
    """The agents that can serve it, in the order in which they are asked."""
    playback: Downstream
    settings: CallSettings
    metrics: Metrics
    line_moves: Callable[[bool], None]
    """Told True with every beat of the line, False when no leg is up: the watchdog's line clock."""
    begun: Begun | None = None
    """The call was begun by another agentd, which has ended; its `candidates` are known later."""
    conversation: Conversation = attrs.field(factory=Conversation, init=False)
    history: History = attrs.field(factory=History, init=False)
    playout: PlayoutBuffer = attrs.field(init=False)
    result: Result | None = attrs.field(default=None, init=False)
    _figures: CallFigures = attrs.field(init=False)
    _timekeeper: Timekeeper = attrs.field(init=False)
    _identity: CallerIdentity = attrs.field(init=False)
    _callers_end: CallersEnd = attrs.field(init=False)
    _echo: EchoGuard = attrs.field(init=False)
    _keeper: SessionKeeper = attrs.field(init=False)
    _tools: CallTools = attrs.field(init=False)
    _nursery: trio.Nursery = attrs.field(init=False, repr=False)
    _inbox: Inbox = attrs.field(init=False, repr=False)
    _voice: AgentVoice = attrs.field(init=False)
    _last_words: LastWords = attrs.field(init=False)
    _media: CallerMedia = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inbox = Inbox(self.metrics)
        begun = self.begun
        if begun is not None:
            self.conversation, self.history = begun.conversation, begun.history
        numbered = 0 if begun is None else begun.utterances
        self.playout = PlayoutBuffer(overran=self.metrics.playout_overruns.inc, numbered=numbered)
        self._figures = CallFigures(self.metrics)
        self._voice = AgentVoice(
            self.playout,
            self.playback,
            self.history,
            self._figures,
            self.settings.uninterruptible,
            self.settings.log_transcripts,
            tell=self._inbox.post,
        )
        self._last_words = LastWords(self.playout, self.playback, self._voice)
        self._keeper = SessionKeeper(
            self.info,
            self.history,
            self.playout,
            self.candidates,
            self.settings.failover,
            self.metrics,
            call=self,
            deliver=self._deliver,
            tell=self._inbox.post,
            on_change=self._session_changed,
            off_record=self._voice.leave_off_record,
            resumption=None if begun is None else begun.resumption,
        )
        self._tools = CallTools(
            self.candidates[0].tools if self.candidates else {},
            CallContext(self.info, self.caller),
            self.metrics,
            tell=self._inbox.post,
            log_transcripts=self.settings.log_transcripts,
        )
        self._identity = CallerIdentity(
            Party(self.info.caller_number, self.info.caller_name),
            ask=self.caller.meet_successor,
            become=self._set_caller,
            learned=self._keeper.renew,
        )
        self._timekeeper = Timekeeper(
            self.conversation,
            self.settings.liveness,
            self._ears,
            tell=self._inbox.post,
            live_since=math.inf if begun is None else begun.live_since,
        )
        self._callers_end = CallersEnd(
            self.caller,
            self._identity,
            tell=self._inbox.post,
            acted=self._timekeeper.sign_of_life,
            pressed=self._tools.callers_turn,
            unbridged=lambda: self._media.doubt(),
        )
        self._echo = EchoGuard(self.info.rate)
        self._media = CallerMedia(
            self.caller,
            LegKind.STREAMING if self.playback.streaming else LegKind.LISTENING,
            self.settings.reattach_tries,
            LineFormat(self.info.rate),
            self.metrics,
            tell=self._inbox.post,
            on_up=self._connect,
            hear=self._hear,
            press=partial(self._callers_end.digit, DigitSource.MEDIA),
            next_frame=self.playback.next_frame,
            fall_back=self.playback.fall_back,
            line_moves=self._line_moves,
            lost=begun is not None,
        )
        self.playback.attach(lambda: self._media.lead, self._echo.spoke)

    async def run(self) -> Result:
        """Serve the call to its end; gives the result that AGENTD_RESULT was set to.

        Everything that was made for the call is gone when this returns, or raises, or is cancelled.
        """
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery
            nursery.start_soon(self._callers_end.follow)
            nursery.start_soon(self._identity.run)
            nursery.start_soon(self._media.keep)
            nursery.start_soon(self._keeper.run)
            nursery.start_soon(self._voice.run)
            nursery.start_soon(self._timekeeper.run)
            nursery.start_soon(watch_tasks, nursery, self._exceeded(budgets.TASKS))
            await self._converse(nursery)
            nursery.cancel_scope.cancel()
        self._figures.conclude()
        assert self.result is not None
        return self.result

    @property
    def answer_due(self) -> bool:
        """See agentd.serving.keeper.CallView.answer_due."""
        waiting = self.conversation.agent in (AgentState.PREPARING, AgentState.WITHHOLDING)
        return waiting and not self.closing and not self._tools.busy and not self.on_hold

    @property
    def on_hold(self) -> bool:
        """Whether the caller has put the call on hold."""
        return self.conversation.hold is Hold.ON

    @property
    def closing(self) -> bool:
        """Whether the call is ending: nothing is waited for any more but the last words."""
        return self.conversation.line not in (Line.CONNECTING, Line.LIVE, Line.LOST)

    @property
    def caller_speaks(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self.conversation.caller is not Caller.SILENT

    @property
    def at_rest(self) -> bool:
        """Whether nobody speaks, and nothing is on its way."""
        return not self.caller_speaks and self.conversation.agent is AgentState.IDLE and self.playout.empty

    @property
    def snapshot(self) -> Snapshot:
        """The call as it stands, for its record."""
        candidate, speech = self._keeper.candidate, None
        if (playing := self._voice.so_far) is not None:
            utterance, heard = playing
            aside = self._figures.is_aside(utterance)
            speech = Speech(utterance, heard, aside, heard.generated if aside else "")
        return Snapshot(
            self.info,
            self.conversation,
            self.history.turns,
            self._figures.agent if candidate is None else candidate.name,
            self.playback.streaming,
            speech,
            tuple(ToolAtWork(request.name, request.arguments) for request in self._tools.at_work),
            self.playback.playbacks,
        )

    def shut_down(self) -> None:
        """The daemon's patience is over: announce the end and leave; a call that is ending already has to be quick."""
        self._last_words.hurry()
        self._inbox.post(happens.ShutdownDue())

    # --- the conversation: events in, commands out

    async def _converse(self, nursery: trio.Nursery) -> None:
        while self.conversation.line is not Line.ENDED:
            await self._take(await self._inbox.receive(), nursery)

    async def _take(self, event: object, nursery: trio.Nursery) -> None:
        audible = self.conversation.agent in AUDIBLE
        step = self.conversation.step(event)
        for change in step.transitions:
            set_call_fields(state=str(self.conversation.state))
            log.info("state", region=change.region, before=change.before, after=change.after, cause=change.event)
        for command in step.commands:
            self._figures.on_command(command, audible=audible)
            await self._carry_out(command, nursery)
        self._timekeeper.on_step(event)

    async def _carry_out(self, command: Command, nursery: trio.Nursery) -> None:
        session = self._keeper.session
        match command:
            case do.Say(phrase):
                if text := self.settings.phrases.get(phrase):
                    nursery.start_soon(self._keeper.say, text)
            case do.FeedDigit(digit):
                if session is not None and session.capabilities.takes_digits:
                    session.feed_digits(digit)
            case do.Answer():
                if session is not None:
                    session.answer()
            case do.Withhold():
                if session is not None:
                    session.withhold()
            case do.Attenuate():
                await self.playback.attenuate()
            case do.Pause():
                await self.playback.pause()
            case do.Restore():
                await self.playback.restore()
            case do.Hold():
                await self._voice.hold()
            case do.Unhold():
                await self._voice.unhold()
            case do.Interrupt():
                if session is not None:
                    session.interrupt()
                self.playout.interrupt()
                await self.playback.stop()
            case do.Withdraw(utterance):
                if self._voice.is_playing(utterance):
                    await self.playback.stop()
            case do.Leave():
                self.result = command.result
                nursery.start_soon(self._leave, command)
            case do.End(result):
                self.result = self.result or result

    # --- the end

    async def _leave(self, command: do.Leave) -> None:
        log.info("leaving", result=str(command.result), detail=command.detail)
        await self._last_words.say(command, self.settings.announcements.get(command.result))
        await self.caller.leave(str(command.result), command.destination)
        self._inbox.post(happens.Left())

    # --- the caller's end

    def _set_caller(self, party: Party) -> None:
        self.info = self._keeper.info = self.info.with_caller(party)
        self._tools.context = CallContext(self.info, self.caller)

    def _ears(self) -> Ears:
        excused = self._callers_end.held or self._tools.busy
        return Ears(self._keeper.caller_heard_at, self.playback.heard_at, excused)

    # --- the agent

    def _connect(self) -> None:
        """The call is live once it has both: a media leg and a session."""
        if self._media.ever_up and self._keeper.session is not None:
            self._inbox.post(happens.Connected())

    def _hear(self, pcm: bytes, at: float) -> None:
        if self.playback.streaming and self._echo.is_echo(pcm):  # what files say is not known by the frame
            self.metrics.echoes_suppressed.inc(len(pcm) / 2 / self.info.rate)
            pcm = bytes(len(pcm))  # the session keeps its time by the audio
        if self.closing or self._callers_end.held:
            # A session that takes turns itself would break off its farewell; and music on hold is nobody's speech.
            pcm = bytes(len(pcm))
        self._keeper.feed(pcm, at)

    def _line_moves(self, moving: bool) -> None:
        self.line_moves(moving)
        self.playback.line_moves(moving)

    def _session_changed(self, session: AgentSession | None, candidate: Candidate | None) -> None:
        self._voice.session = session
        if candidate is not None:
            self._tools.tools, self._figures.agent = candidate.tools, candidate.name
            set_call_fields(agent=candidate.name)
        self._connect()

    async def _deliver(self, event: SessionEvent) -> None:
        """Take an event of a session."""
        self._on_session_event(event)
        if isinstance(event, tells.ToolRequested) and (session := self._keeper.session) is not None:
            self._nursery.start_soon(self._tools.run, event, partial(self._tool_answered, session, event))
        if isinstance(event, tells.Withdrawn) and not self._voice.is_playing(event.utterance):
            return  # nothing of it is heard, and nothing will be
        if isinstance(event, CONVERSATION_EVENTS):
            await self._inbox.send(event)

    def _exceeded(self, budget: Budget) -> Callable[[], None]:
        return self.metrics.call_budget_exceeded.labels(budget=budget.name).inc

    def _tool_answered(self, session: AgentSession, request: tells.ToolRequested, result: str) -> None:
        """Hand a tool's result to the session that asked; where another one serves meanwhile, the history has it."""
        if not self._tools.spent:  # a model that only asks on and on is dead air
            self._timekeeper.sign_of_life()
        if session is self._keeper.session:
            session.tool_result(request.call, result)
        else:
            self.history.tool_used(ToolUse(request.name, request.arguments, result))
            log.info("a tool's result came after its session", tool=request.name)

    def _on_session_event(self, event: object) -> None:
        """Figures and logs, for which the conversation machine has no use."""
        self._timekeeper.on_session_event(event)
        self._figures.on_session(event)
        self._tools.on_session_event(event)
        self._voice.on_session_event(event)
        if isinstance(event, tells.AgentText):
            self._voice.on_words(event.utterance, event.text)
        match event:
            case tells.Degraded(reason):
                log.warning("the agent is degraded", reason=reason)
            case tells.CallerText(text, final) if final and self.settings.log_transcripts:
                log.info("caller said", text=text)
            case tells.AgentText(utterance, text) if self.settings.log_transcripts:
                log.info("agent says", utterance=utterance, text=text)
