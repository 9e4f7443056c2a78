"""The reception turns a channel that entered our application, or a connection without ARI, into a call, or hands it
back."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import attrs
import structlog
import trio

from agentd.agent import CallInfo
from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import StasisStart
from agentd.ari.hand_back import judge
from agentd.ari.route import Route
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.headless import HeadlessLine
from agentd.calls.call import Call
from agentd.calls.fields import set_call_fields
from agentd.calls.settings import settings_of_call
from agentd.config.settings import Config, DownstreamMode, Headless
from agentd.conversation.commands import Result
from agentd.dialplan import DialplanError, StasisArguments, parse_arguments
from agentd.errors import AriError
from agentd.media.leg import LineFormat
from agentd.media.transport import Transport
from agentd.media.wideband import NARROW, WIDE, is_wideband
from agentd.metrics import Metrics
from agentd.playback.directory import MediaDirectory
from agentd.playback.downstream import Downstream
from agentd.playback.file import FilePlayback, takes_files
from agentd.playback.stream import StreamPlayback
from agentd.service.admittance import Arrival, Refusal, refusal
from agentd.service.stays import Stays
from agentd.service.watchdog import ProgressWatch
from agentd.serving.candidates import Candidate
from agentd.serving.roster import Entry, Roster, in_use
from agentd.tools.registry import Toolbox

log = structlog.get_logger("agentd.reception")


@attrs.define(eq=False)
class Reception:
    """Takes callers. `nursery` is where calls live, each as one task with a nursery of its own."""

    nursery: trio.Nursery
    client: AriClient
    roster: Roster
    directory: MediaDirectory
    metrics: Metrics
    watch: ProgressWatch
    config: Config
    toolbox: Toolbox
    transports: Mapping[str, Transport] = attrs.field(factory=dict, init=False)
    """Their opener puts them here, before there is a call."""
    stays: Stays = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stays = Stays(self.client.hand_backs, self.metrics, self.watch)

    def on_call(self, start: StasisStart) -> None:
        """A channel entered the application. Does not block."""
        route = self.client.route(start.channel.id)
        self.nursery.start_soon(self.stays.contain, self._receive, start, route)

    def on_stranger(self, uuid: UUID, connection: AudioSocketConnection) -> bool:
        """A connection that no call expects: true if it becomes a call of its own. Does not block."""
        if self.config.audiosocket.headless is not Headless.ACCEPT:
            return False
        admitted = self._ask(self.config.headless_agent, self.stays.active)
        if isinstance(admitted, Refusal):
            log.warning("headless call refused", uuid=str(uuid), detail=admitted.detail)
            return False
        self.nursery.start_soon(self.stays.contain, self._receive_headless, uuid, connection)
        return True

    async def _receive(self, start: StasisStart, route: Route) -> None:
        """The whole of one caller's stay, from StasisStart to the last trace."""
        channel = start.channel
        try:
            await self.stays.attend(
                channel.id,
                channel.name,
                lambda: self._admit(start, route),
                lambda result: route.leave(str(result)),
                lambda: route.owed,
            )
        finally:
            route.close()

    async def _receive_headless(self, uuid: UUID, connection: AudioSocketConnection) -> None:
        """The same of a caller who came without ARI."""

        async def hand_back(_result: Result) -> None:
            await trio.lowlevel.checkpoint()

        try:
            await self.stays.attend(
                str(uuid), "AudioSocket", lambda: self._serve_headless(uuid, connection), hand_back, lambda: None
            )
        finally:
            connection.release()

    async def _admit(self, start: StasisStart, route: Route) -> Result:
        """Serve the caller, or hand the channel back with the reason."""
        try:
            arguments = parse_arguments(start.args, self.transports)
        except DialplanError as error:
            return await self._refuse(route, Result.REFUSED_ARGUMENTS, str(error))
        name = arguments.agent or self.config.default_agent
        set_call_fields(agent=name)
        admitted = self._ask(name, self.stays.active - 1)
        if isinstance(admitted, Refusal):
            return await self._refuse(route, admitted.result, admitted.detail)
        chain = self.roster.chain(name)
        async with in_use(chain, self.toolbox, ari=True) as candidates:  # from now on: a reload may come at any await
            return await self._serve(start, route, admitted, candidates, arguments)

    def _ask(self, agent: str, others: int) -> Entry | Refusal:
        """The agent that a caller asks for, or why they do not get in beside `others`."""
        entry = self.roster.find(agent)
        refused = refusal(
            Arrival(
                agent=agent,
                known=entry is not None,
                ready=any(candidate.readiness.ready for candidate in self.roster.chain(agent)),
                trouble=entry.readiness.detail if entry is not None else "",
                others=others,
                max_calls=self.config.calls.max_calls,
                draining=self.stays.draining,
            )
        )
        if refused is not None:
            return refused
        assert entry is not None
        return entry

    async def _refuse(self, route: Route, result: Result, detail: str) -> Result:
        log.warning("caller handed back to the dialplan", result=str(result), detail=detail)
        await route.leave(str(result))
        return result

    async def _serve(
        self,
        start: StasisStart,
        route: Route,
        entry: Entry,
        candidates: Sequence[Candidate],
        arguments: StasisArguments,
    ) -> Result:
        caller, transport = start.channel, self.transports[arguments.media or self.config.calls.default_media]
        channel = CallerChannel(caller.id, self.client, route, transport)
        try:
            await channel.answer()
        except AriError as error:
            return await self._not_answered(channel, error)
        rate = await self._rate(caller.id, transport, candidates)
        channel.line = LineFormat(rate)
        info = CallInfo(caller.id, caller.caller_number, caller.caller_name, caller.extension, rate)
        stream = entry.config.downstream_mode is DownstreamMode.STREAM or not await takes_files(self.directory)
        playback = Downstream(
            StreamPlayback(rate, self.metrics) if stream else None,
            FilePlayback(channel, self.directory, self.metrics),
        )
        log.info("call", extension=info.extension, media=transport.name, rate=rate, streaming=stream)
        settings = settings_of_call(self.config, entry)
        call = Call(info, channel, candidates, playback, settings, self.metrics, self.stays.line_moves)
        with self.stays.running(call):
            return await call.run()

    async def _not_answered(self, channel: CallerChannel, error: AriError) -> Result:
        """A caller whom Asterisk did not let us answer goes on in the dialplan, if they are there."""
        meaning = judge(error)
        if meaning.settles:
            log.info("the caller was gone before the call was answered", error=str(error))
            return Result.CALLER_HUNG_UP
        log.error("the caller cannot be answered", error=str(error), remedy=meaning.remedy)
        await channel.leave(str(Result.FAILED_INTERNAL))
        return Result.FAILED_INTERNAL

    async def _rate(self, channel: str, transport: Transport, candidates: Sequence[Candidate]) -> int:
        """16 kHz where everybody on the way has it, else 8."""
        heard_wide = all(WIDE in candidate.agent.rates for candidate in candidates)
        if not heard_wide or not transport.carries(WIDE):
            return NARROW
        try:
            if not transport.carries(WIDE, await self.client.rest.version()):
                return NARROW
            native = await self.client.rest.variable(channel, "CHANNEL(audionativeformat)")
        except AriError as error:
            log.info("whether the call is wideband cannot be told: 8 kHz", error=str(error))
            return NARROW
        return WIDE if is_wideband(native) else NARROW

    async def _serve_headless(self, uuid: UUID, connection: AudioSocketConnection) -> Result:
        name = self.config.headless_agent
        set_call_fields(agent=name)
        admitted = self._ask(name, self.stays.active - 1)  # again: several may have come at one moment
        if isinstance(admitted, Refusal):
            log.warning("headless call refused", detail=admitted.detail)
            return admitted.result
        line = HeadlessLine(uuid, connection)
        log.info("headless call", peer=connection.peer)
        async with in_use(self.roster.chain(name), self.toolbox, ari=False) as candidates:
            playback = Downstream(StreamPlayback(NARROW, self.metrics))
            settings = settings_of_call(self.config, admitted)
            call = Call(CallInfo(str(uuid)), line, candidates, playback, settings, self.metrics, self.stays.line_moves)
            with self.stays.running(call):
                return await call.run()
