"""Calls while they run here, whoever began them: how they are played to, what is kept of them, how they are left."""

from collections.abc import Callable

import attrs
import structlog

from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.route import Route
from agentd.calls.call import Call
from agentd.calls.record import CallRecord, Course, Stay, WayBack
from agentd.conversation.commands import Result
from agentd.errors import AriError
from agentd.metrics import Metrics
from agentd.playback.directory import MediaDirectory
from agentd.playback.downstream import Downstream
from agentd.playback.file import FilePlayback
from agentd.playback.stream import StreamPlayback
from agentd.service.adoptable import calmed
from agentd.service.recorder import Recorder
from agentd.service.stays import Stays

log = structlog.get_logger("agentd.reception")


@attrs.frozen
class OngoingCalls:
    """Of callers who came by ARI. `clock` gives seconds since 1970."""

    client: AriClient
    directory: MediaDirectory
    metrics: Metrics
    stays: Stays
    recorder: Recorder
    clock: Callable[[], float]

    def playback(self, channel: CallerChannel, *, stream: bool) -> Downstream:
        """The way back to a caller: streaming with files to fall back on, or files."""
        return Downstream(
            StreamPlayback(channel.line.rate, self.metrics) if stream else None,
            FilePlayback(channel, self.directory, self.metrics),
        )

    async def run(self, call: Call, course: Course, route: Route) -> Result:
        """Run a call to its end; its record is kept for as long."""

        def look() -> CallRecord | None:
            snapshot = call.snapshot
            if not snapshot.lasting or route.owed is not None:
                return None
            entrance = self.client.whereabouts.entrance(route.caller)
            origin = entrance.origin
            way_back = None if origin is None else WayBack(origin.place, origin.fallback)
            stay = Stay(route.caller, entrance.args, entrance.extension, way_back)
            return snapshot.record(calmed(course, self.clock()), stay)

        with self.stays.running(call), self.recorder.keeping(call.info.call_id, look):
            return await call.run()

    async def leave_here(self, route: Route) -> None:
        """The next agentd goes on with a call: meanwhile its line carries silence, for some phones hang up without
        RTP."""
        try:
            await self.client.rest.start_silence(route.caller)
        except AriError as error:
            log.info("the line of a caller who is left here carries nothing", error=str(error))
