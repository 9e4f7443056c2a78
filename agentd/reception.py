"""Who gets in: turns a channel that entered our application into a call, or hands it back; and the outermost
frame of every call, the only place that catches everything."""

import attrs
import structlog
import trio

from agentd.agent import CallInfo
from agentd.ari.channel import CallerChannel, MediaSettings
from agentd.ari.client import AriClient, Route, try_leave
from agentd.ari.events import StasisStart
from agentd.audiosocket.listener import Admission
from agentd.call import Call, CallSettings
from agentd.config import Config
from agentd.conversation import Result
from agentd.dialplan import DialplanError, parse_arguments
from agentd.errors import AriRejected
from agentd.metrics import Metrics
from agentd.notify import ProgressWatch
from agentd.playback.contract import Announcement
from agentd.playback.file import FilePlayback, MediaDirectory
from agentd.roster import Entry, Roster

log = structlog.get_logger("agentd.reception")

HAND_BACK_DEADLINE = 15.0
LINE_CLOCK = "line_clock"


@attrs.define(eq=False)
class Reception:
    """Takes callers. `nursery` is where calls live, each as one task with a nursery of its own."""

    nursery: trio.Nursery
    client: AriClient
    admission: Admission
    roster: Roster
    media: MediaSettings
    directory: MediaDirectory
    metrics: Metrics
    watch: ProgressWatch
    config: Config
    draining: bool = attrs.field(default=False, init=False)
    _calls: dict[str, Call] = attrs.field(factory=dict, init=False)
    _active: int = attrs.field(default=0, init=False)
    _idle: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def active(self) -> int:
        """Calls that are being served."""
        return self._active

    def on_call(self, start: StasisStart) -> None:
        """A channel entered the application. Does not block."""
        route = self.client.route(start.channel.id)
        self.nursery.start_soon(self._receive, start, route)

    async def drain(self, patience: float, announcement_time: float) -> None:
        """Take no new calls; give running ones `patience` seconds, then announce the end to those left."""
        self.draining = True
        with trio.move_on_after(patience):
            await self._until_idle()
        for call in tuple(self._calls.values()):
            call.shut_down()
        with trio.move_on_after(announcement_time):
            await self._until_idle()

    async def _until_idle(self) -> None:
        while self._active:
            self._idle = trio.Event()
            await self._idle.wait()

    async def _receive(self, start: StasisStart, route: Route) -> None:
        """The whole of one caller's stay, from StasisStart to the last trace."""
        channel = start.channel
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(call_id=channel.id, channel=channel.name)
        result = Result.FAILED_INTERNAL
        self._active += 1
        self.metrics.calls_active.inc()
        try:
            result = await self._admit(start, route)
        except* Exception:
            log.exception("the call failed inside agentd; its channel goes on in the dialplan")
            with trio.move_on_after(HAND_BACK_DEADLINE, shield=True):
                await try_leave(self.client.rest, channel.id, str(result))
        finally:
            route.close()
            self._active -= 1
            self.metrics.calls_active.dec()
            self.metrics.calls.labels(result=str(result)).inc()
            log.info("call ended", result=str(result))
            if not self._active:
                self._idle.set()
                self.watch.rest(LINE_CLOCK)

    async def _admit(self, start: StasisStart, route: Route) -> Result:
        """Serve the caller, or hand the channel back with the reason."""
        try:
            arguments = parse_arguments(start.args)
        except DialplanError as error:
            return await self._refuse(start, Result.REFUSED_ARGUMENTS, str(error))
        name = arguments.agent or self.config.default_agent
        entry = self.roster.find(name)
        structlog.contextvars.bind_contextvars(agent=name)
        if self.draining:
            return await self._refuse(start, Result.REFUSED_DRAINING, "agentd is being stopped")
        if self._active > self.config.calls.max_calls:
            return await self._refuse(start, Result.REFUSED_BUSY, f"{self._active - 1} calls already")
        if entry is None:
            return await self._refuse(start, Result.REFUSED_AGENT, f"no agent is called {name!r}")
        if not entry.readiness.ready or entry.agent is None:
            return await self._refuse(start, Result.REFUSED_AGENT, f"{name}: {entry.readiness.detail}")
        return await self._serve(
            start,
            route,
            entry,
            CallSettings(
                greeting=entry.config.greeting,
                media=arguments.media or self.config.calls.default_media,
                reattach_tries=self.config.audiosocket.reattach_tries,
                failure=entry.announcements.get("failure") or Announcement(sound=self.config.calls.failure_sound),
                shutdown=entry.announcements.get("shutdown") or Announcement(),
                log_transcripts=self.config.logging.transcripts,
            ),
        )

    async def _refuse(self, start: StasisStart, result: Result, detail: str) -> Result:
        log.warning("caller handed back to the dialplan", result=str(result), detail=detail)
        await try_leave(self.client.rest, start.channel.id, str(result))
        return result

    async def _serve(self, start: StasisStart, route: Route, entry: Entry, settings: CallSettings) -> Result:
        caller = start.channel
        info = CallInfo(caller.id, caller.caller_number, caller.caller_name, caller.extension)
        log.info("call", extension=info.extension, media=str(settings.media))
        channel = CallerChannel(caller.id, self.client, route, self.admission, self.media)
        playback = FilePlayback(channel, self.directory, self.metrics)
        try:
            await channel.answer()
        except AriRejected as error:
            log.info("the caller was gone before the call was answered", error=str(error))
            return Result.CALLER_HUNG_UP
        async with entry.in_use() as agent:
            call = Call(info, channel, agent, playback, settings, self.metrics, self._line_moves)
            self._calls[caller.id] = call
            try:
                return await call.run()
            finally:
                del self._calls[caller.id]

    def _line_moves(self, moving: bool) -> None:
        if moving:
            self.watch.beat(LINE_CLOCK, trio.current_time())
        else:
            self.watch.rest(LINE_CLOCK)
