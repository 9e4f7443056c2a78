"""The settings of one call, in the call's own terms."""

from agentd.calls.call import CallSettings
from agentd.config.settings import Config
from agentd.conversation.commands import Phrase, Result
from agentd.conversation.liveness import LivenessTimes
from agentd.playback.contract import Announcement
from agentd.serving.failover import FailoverTimes
from agentd.serving.roster import Entry


def settings_of_call(config: Config, entry: Entry) -> CallSettings:
    """The settings of a call that `entry`'s agent serves."""
    agent, liveness = entry.config, entry.config.liveness

    def spoken(text: str) -> Announcement | None:
        if text not in entry.spoken:
            return None
        return Announcement(audio=entry.spoken[text], instead=config.calls.failure_sound)

    failure = spoken(agent.failure_announcement) or Announcement(sound=config.calls.failure_sound)
    announcements = {
        Result.FAILED_MEDIA: failure,
        Result.FAILED_AGENT: failure,
        Result.FAILED_SILENCE: failure,
        Result.SHUTDOWN: spoken(agent.shutdown_announcement),
        Result.CALLER_SILENT: spoken(liveness.silence_farewell),
        Result.MAX_DURATION: spoken(liveness.duration_farewell),
    }
    protected = () if agent.greeting_interruptible or not agent.greeting else (agent.greeting,)
    return CallSettings(
        reattach_tries=config.audiosocket.reattach_tries,
        phrases={
            Phrase.GREETING: agent.greeting,
            Phrase.CHECK_IN: liveness.check_in,
            Phrase.FILLER: liveness.filler,
            Phrase.DURATION_WARNING: liveness.duration_warning,
        },
        announcements={result: heard for result, heard in announcements.items() if heard is not None},
        uninterruptible=(*protected, *agent.uninterruptible),
        liveness=LivenessTimes(
            check_in_after=liveness.check_in_after,
            check_ins=liveness.check_ins if liveness.check_in else 0,
            slow_after=liveness.slow_after if liveness.filler else 0.0,
            max_duration=liveness.max_duration,
            warn_before=liveness.warn_before if liveness.duration_warning else 0.0,
            dead_air_after=liveness.dead_air_after,
        ),
        failover=FailoverTimes(
            agent.failover.open_within, agent.failover.mute_after, agent.failover.hold_message, agent.failover.apology
        ),
        log_transcripts=config.logging.transcripts,
    )
