"""A call that an agentd before has begun, from where it was left to its end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Audio, CallInfo
from agentd.ari.channel import CallerChannel
from agentd.ari.route import Route
from agentd.calls.begun import begin_again
from agentd.calls.call import Call
from agentd.calls.fields import set_call_fields
from agentd.calls.record import CallRecord, Course
from agentd.calls.settings import settings_of_call
from agentd.config.settings import Config
from agentd.conversation.commands import Result
from agentd.errors import AriError
from agentd.media.leg import LineFormat
from agentd.media.transport import Transport
from agentd.service.ongoing import OngoingCalls
from agentd.serving.candidates import Candidate
from agentd.serving.resumption import Resumption
from agentd.serving.roster import Entry, Roster, in_use
from agentd.tools.registry import Toolbox

log = structlog.get_logger("agentd.reception")

ADOPTION_DEADLINE = deadlines.ADOPTION.seconds


@attrs.frozen(eq=False)
class AdoptedCall:
    """One caller's. `beforehand` are words that the agentd before has left: their sounds by their text. `on_leg` is
    told of each media leg that came up, or did not; it must not block."""

    record: CallRecord
    route: Route
    beforehand: Mapping[str, tuple[Audio, ...]]
    on_leg: Callable[[object], None]

    async def serve(
        self,
        ongoing: OngoingCalls,
        transports: Mapping[str, Transport],
        config: Config,
        roster: Roster,
        toolbox: Toolbox,
    ) -> Result:
        """Serve the caller to the end of the call. The agents of `roster` may still have to be opened; the rest is as
        it is now, whatever a reload brings meanwhile."""
        record, client = self.record, ongoing.client
        set_call_fields(agent=record.serving)
        ongoing.stays.begin_call()
        try:
            with trio.move_on_after(ADOPTION_DEADLINE):
                await client.ever_connected.wait()  # without the application nothing can be made for them
            if not client.ever_connected.is_set():
                log.error("the caller is not gone on with: the event stream does not come up")
                await self.route.leave(str(Result.FAILED_INTERNAL))
                return Result.FAILED_INTERNAL
            channel = CallerChannel(client, self.route, transports[record.transport], LineFormat(record.rate))
            channel.on_leg = self.on_leg
            await _quieten(channel, record.playbacks)
            async with AsyncExitStack() as agents:
                return await self._converse(ongoing, channel, config, roster, toolbox, agents)
        finally:
            ongoing.stays.end_call()

    async def _converse(
        self,
        ongoing: OngoingCalls,
        channel: CallerChannel,
        config: Config,
        roster: Roster,
        toolbox: Toolbox,
        agents: AsyncExitStack,
    ) -> Result:
        record, agent = self.record, config.agents[self.record.agent]

        async def muster() -> Sequence[Candidate]:
            entries = await roster.opened(record.agent, record.rate)
            entries.sort(key=lambda entry: entry.name != record.serving)
            if (entry := roster.find(record.agent)) is not None:
                call.settings = settings_of_call(config, entry)  # its words are spoken now
            return await agents.enter_async_context(in_use(entries, toolbox, ari=True))

        back = agent.failover.restart_words if record.cut else ""
        resumption = Resumption(muster, back, self.beforehand, record.owed, record.repeat)
        caller = record.caller
        lasted = ongoing.clock() - record.began
        log.info("call gone on with", lasted_s=round(lasted), cut=record.cut, turns=len(record.turns))
        call = Call(
            CallInfo(record.call_id, caller.number, caller.name, record.stay.extension, record.rate),
            channel,
            (),
            ongoing.playback(channel, stream=record.streaming),
            settings_of_call(config, Entry(record.agent, agent, spoken=dict(self.beforehand))),
            ongoing.metrics,
            ongoing.stays.line_moves,
            begin_again(record, resumption, lasted, trio.current_time()),
        )
        course = Course(record.agent, record.transport, record.began, record.adoptions, record.adopted_at)
        return await ongoing.run(call, course, channel.route)


async def _quieten(channel: CallerChannel, playbacks: Iterable[str]) -> None:
    """Stop what an agentd before has playing to the caller, and have the line carry silence."""
    for playback in playbacks:
        try:
            await channel.rest.stop_playback(playback)
        except AriError as error:
            log.info("a playback of an earlier agentd goes on", error=str(error))
    await channel.carry_silence()
