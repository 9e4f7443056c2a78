"""The reception turns a channel that entered our application, or a connection without ARI, into a call, or hands it
back."""

import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Audio, CallInfo
from agentd.ari.caller_id import PRESENTATION, shown
from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import StasisStart
from agentd.ari.hand_back import judge
from agentd.ari.route import Route
from agentd.ari.whereabouts import Entrance, Origin
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.headless import HeadlessLine
from agentd.calls.call import Call
from agentd.calls.fields import set_call_fields
from agentd.calls.record import Course
from agentd.calls.settings import settings_of_call
from agentd.config.settings import Config, DownstreamMode, Headless
from agentd.conversation.commands import Result
from agentd.conversation.events import CallerHungUp
from agentd.dialplan import DialplanError, StasisArguments, parse_arguments
from agentd.errors import AriError
from agentd.media.leg import LineFormat
from agentd.media.transport import Transport
from agentd.media.wideband import NARROW, WIDE, is_wideband
from agentd.metrics import Metrics
from agentd.party import Party
from agentd.playback.directory import MediaDirectory
from agentd.playback.downstream import Downstream
from agentd.playback.file import takes_files
from agentd.playback.stream import StreamPlayback
from agentd.service.admittance import Arrival, Cause, Refusal, refusal
from agentd.service.adopted_call import AdoptedCall
from agentd.service.adoption import Adopted
from agentd.service.ongoing import OngoingCalls
from agentd.service.recorder import Recorder
from agentd.service.stays import Stays
from agentd.service.waiting import Place, WaitingLine
from agentd.service.watchdog import ProgressWatch
from agentd.serving.candidates import Candidate
from agentd.serving.roster import Entry, Roster, in_use
from agentd.tools.registry import Toolbox

log = structlog.get_logger("agentd.reception")

ADOPTION_DEADLINE = deadlines.ADOPTION.seconds


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
    recorder: Recorder
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    transports: Mapping[str, Transport] = attrs.field(factory=dict, init=False)
    """Their opener puts them here, before there is a call."""
    stays: Stays = attrs.field(init=False)
    line: WaitingLine = attrs.field(init=False)
    ongoing: OngoingCalls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stays = Stays(self.client.hand_backs, self.metrics, self.watch)
        self.line = WaitingLine(self.client, self.stays, self.metrics)
        self.ongoing = OngoingCalls(self.client, self.directory, self.metrics, self.stays, self.recorder, self.clock)

    def on_call(self, start: StasisStart) -> None:
        """A channel entered the application. Does not block."""
        route = self.client.route(start.channel.id, trio.current_time())
        self.nursery.start_soon(self.stays.contain, self._receive, start, route)

    def adopt(
        self, adopted: Adopted, beforehand: Mapping[str, tuple[Audio, ...]], on_leg: Callable[[object], None]
    ) -> None:
        """Go on with the call of a caller whom an agentd before has left. Does not block. `beforehand` are words that
        it has left, too: their sounds by their text. `on_leg` is told of each media leg that came up, or did not."""
        record, channel = adopted.record, adopted.channel
        way_back = record.stay.way_back
        origin = None if way_back is None else Origin(way_back.place, way_back.fallback)
        self.client.whereabouts.adopt(channel, Entrance(record.stay.arguments, record.stay.extension, origin))
        route = self.client.route(channel.id, trio.current_time())
        self.metrics.calls_adopted.inc()
        here = AdoptedCall(adopted.record, route, beforehand, on_leg)
        self.nursery.start_soon(self.stays.contain, self._receive_adopted, adopted.channel.name, here)

    def on_stranger(self, uuid: UUID, connection: AudioSocketConnection) -> bool:
        """A connection that no call expects: true if it becomes a call of its own. Does not block."""
        if self.config.audiosocket.headless is not Headless.ACCEPT:
            return False
        admitted = self.line.headless_refusal() or self._ask(self.config.headless_agent, self.stays.active)
        if isinstance(admitted, Refusal):
            self.metrics.callers_refused.labels(cause=admitted.cause).inc()
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
                lambda: self.ongoing.leave_here(route),
            )
        finally:
            route.close()

    async def _receive_adopted(self, name: str, here: AdoptedCall) -> None:
        """The same of a caller whom an agentd before has left."""
        record, route = here.record, here.route
        try:
            with self.recorder.inheriting(record.call_id, route.caller):
                await self.stays.attend(
                    record.call_id,
                    name,
                    lambda: here.serve(self.ongoing, self.transports, self.config, self.roster, self.toolbox),
                    lambda result: route.leave(str(result)),
                    lambda: route.owed,
                    lambda: self.ongoing.leave_here(route),
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
            return await self._refuse(route, Refusal(Result.REFUSED_ARGUMENTS, str(error), Cause.ARGUMENTS))
        name = arguments.agent or self.config.default_agent
        set_call_fields(agent=name)
        transport = self.transports[arguments.media or self.config.calls.default_media]
        channel = CallerChannel(self.client, route, transport)
        with Place(self.line, route.since, lambda: self._ask(name, self.stays.active)) as place:
            channel.on_leg = place.on_leg
            if not await self._turn(place, channel):
                return Result.CALLER_HUNG_UP
            admitted = place.refused or self._ask(name, self.stays.active - 1)
            if isinstance(admitted, Refusal):
                return await self._refuse(route, admitted)
            # From now on: a reload may come at any await.
            async with in_use(self.roster.chain(name), self.toolbox, ari=True) as candidates:
                try:
                    await channel.answer()
                except AriError as error:
                    place.on_leg(error)
                    not_answered = error
                else:
                    return await self._serve(start, arguments, channel, admitted, candidates)
        return await self._not_answered(channel, not_answered)  # however long it takes: it is the next one's turn

    async def _turn(self, place: Place, channel: CallerChannel) -> bool:
        """Wait until it is decided what becomes of a caller; false where they leave meanwhile."""
        here = True

        async def watch() -> None:
            nonlocal here
            while not isinstance(await channel.next_event(), CallerHungUp):
                pass
            here = False
            nursery.cancel_scope.cancel()

        if place.waits:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await place.turn()
                nursery.cancel_scope.cancel()
        return here

    def _ask(self, agent: str, others: int) -> Entry | Refusal:
        """The agent that a caller asks for, or why they do not get in beside `others`, as things stand now."""
        entry = self.roster.find(agent)
        refused = refusal(
            Arrival(
                agent=agent,
                known=entry is not None or agent in self.config.agents,
                ready=any(candidate.readiness.ready for candidate in self.roster.chain(agent)),
                trouble=entry.readiness.detail if entry is not None else "it is being opened",
                others=others,
                max_calls=self.config.calls.max_calls,
                draining=self.stays.draining,
            )
        )
        if refused is not None:
            return refused
        assert entry is not None
        return entry

    async def _refuse(self, route: Route, refused: Refusal) -> Result:
        self.metrics.callers_refused.labels(cause=refused.cause).inc()
        log.warning("caller handed back to the dialplan", result=str(refused.result), detail=refused.detail)
        await route.leave(str(refused.result))
        return refused.result

    async def _serve(
        self,
        start: StasisStart,
        arguments: StasisArguments,
        channel: CallerChannel,
        entry: Entry,
        candidates: Sequence[Candidate],
    ) -> Result:
        course = Course(entry.name, channel.transport.name, self.clock())
        party = await self._party(start, arguments, channel)
        rate = await self._rate(channel, candidates)
        channel.line = LineFormat(rate)
        info = CallInfo(start.channel.id, party.number, party.name, start.channel.extension, rate)
        stream = entry.config.downstream_mode is DownstreamMode.STREAM or not await takes_files(self.directory)
        playback = self.ongoing.playback(channel, stream=stream)
        log.info("call", extension=info.extension, media=channel.transport.name, rate=rate, streaming=stream)
        settings = settings_of_call(self.config, entry)
        call = Call(info, channel, candidates, playback, settings, self.metrics, self.stays.line_moves)
        if start.replaces is not None:
            channel.route.put(start)
        return await self.ongoing.run(call, course, channel.route)

    async def _party(self, start: StasisStart, arguments: StasisArguments, channel: CallerChannel) -> Party:
        """Who calls, without what they withhold."""
        number, name = start.channel.caller_number, start.channel.caller_name
        if start.replaces is not None:  # it is met in the call: its number comes later
            return Party()
        if arguments.num_pres or arguments.name_pres or not (number or name):
            return shown(number, name, arguments.num_pres, arguments.name_pres)
        try:
            presentation = await channel.rest.variable(channel.id, PRESENTATION)
        except AriError as error:
            log.info("whether the caller withholds the number cannot be told: it is shown", error=str(error))
            presentation = ""
        return shown(number, name, presentation, presentation)

    async def _not_answered(self, channel: CallerChannel, error: AriError) -> Result:
        """A caller whom Asterisk did not let us answer goes on in the dialplan, if they are there."""
        meaning = judge(error)
        if meaning.settles:
            log.info("the caller was gone before the call was answered", error=str(error))
            return Result.CALLER_HUNG_UP
        log.error("the caller cannot be answered", error=str(error), remedy=meaning.remedy)
        await channel.leave(str(Result.FAILED_INTERNAL))
        return Result.FAILED_INTERNAL

    async def _rate(self, channel: CallerChannel, candidates: Sequence[Candidate]) -> int:
        """16 kHz where everybody on the way has it, else 8."""
        transport = channel.transport
        heard_wide = all(WIDE in candidate.agent.rates for candidate in candidates)
        if not heard_wide or not transport.carries(WIDE):
            return NARROW
        try:
            if not transport.carries(WIDE, await channel.rest.version()):
                return NARROW
            native = await channel.rest.variable(channel.id, "CHANNEL(audionativeformat)")
        except AriError as error:
            log.info("whether the call is wideband cannot be told: 8 kHz", error=str(error))
            return NARROW
        return WIDE if is_wideband(native) else NARROW

    async def _serve_headless(self, uuid: UUID, connection: AudioSocketConnection) -> Result:
        name = self.config.headless_agent
        set_call_fields(agent=name)
        admitted = self._ask(name, self.stays.active)  # again: several may have come at one moment
        if isinstance(admitted, Refusal):
            self.metrics.callers_refused.labels(cause=admitted.cause).inc()
            log.warning("headless call refused", detail=admitted.detail)
            return admitted.result
        self.stays.begin_call()
        try:
            return await self._converse_headless(uuid, connection, admitted)
        finally:
            self.stays.end_call()

    async def _converse_headless(self, uuid: UUID, connection: AudioSocketConnection, entry: Entry) -> Result:
        line = HeadlessLine(uuid, connection)
        log.info("headless call", peer=connection.peer)
        async with in_use(self.roster.chain(entry.name), self.toolbox, ari=False) as candidates:
            playback = Downstream(StreamPlayback(NARROW, self.metrics))
            settings = settings_of_call(self.config, entry)
            call = Call(CallInfo(str(uuid)), line, candidates, playback, settings, self.metrics, self.stays.line_moves)
            with self.stays.running(call):
                return await call.run()
