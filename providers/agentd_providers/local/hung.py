"""When an engine is hung, and when it is tried again. Pure: told what was seen, no clock.

An engine that is asked something and answers is alive, one that has ended is dead: that is easy. One that does not
answer is either at work or hung. So each job has a limit that follows its work, and meanwhile its process is looked at:
one that has a job and uses no processor at all is stopped, or waits for something that does not come, and no limit
needs to be waited for. A process that waits for its disk does not count as hung: it has page faults. Nor does one that
the host gives no processor, which wants one: to kill it and load its model anew would make the host slower still.

The sums: a hung job, the loading of the model by a fresh process and the job that waited for both have to be over
before a call takes its agent for mute (agentd.deadlines.SESSION_STUCK).
"""

import attrs

from agentd import deadlines
from agentd.deadlines import Deadline

LOOK_EVERY = 0.5
"""Seconds between two looks at a process that has a job."""
IDLE_LOOKS = 5
"""Looks in a row at which it had done nothing since the one before. They are counted, not timed: where it is the daemon
that stood still, or the whole host, nothing was seen."""
ASK_EVERY = 5.0
"""Seconds without a job after which the process is asked whether it is there."""
ANSWER_WITHIN = deadlines.ENGINE_ANSWER.seconds
SMALL_JOB = deadlines.ENGINE_JOB.seconds
"""Seconds for a job whose work is always the same."""
START_WITHIN = deadlines.ENGINE_START.seconds
LOAD_WITHIN = deadlines.ENGINE_LOAD.seconds
PATIENCE = deadlines.ENGINE_WAIT.seconds
STARVED = deadlines.ENGINE_STARVED.seconds
FAIR_SHARE = 0.5
"""Of a job's limit, for which the process must have had a processor before the limit counts."""
CHARACTERS_PER_SECOND = 15.0
"""Of speech."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


def hearing_limit(audio_seconds: float, job: Deadline = deadlines.ENGINE_JOB) -> float:
    """Seconds that an engine may take to transcribe so much audio."""
    return job.of(min(audio_seconds, job.longest_work))


def speaking_limit(text: str, job: Deadline = deadlines.ENGINE_JOB) -> float:
    """Seconds that an engine may take to speak a text."""
    return job.of(min(len(text) / CHARACTERS_PER_SECOND, job.longest_work))


def pause_before_start(fruitless: int) -> float:
    """Seconds to wait before a process is started again, when so many in a row have ended without having done a job."""
    return min(FIRST_PAUSE * 2.0 ** (fruitless - 1), LONGEST_PAUSE) if fruitless else 0.0


@attrs.frozen
class Seen:
    """What can be seen of a process: seconds that it has ever had a processor, its major page faults, and whether it
    has one now or wants one."""

    processor: float
    faults: int
    runnable: bool


@attrs.define
class Vigil:
    """One job's process, looked at every LOOK_EVERY seconds. The job may take `limit` seconds."""

    limit: float
    _first: Seen | None = attrs.field(default=None, init=False)
    _last: Seen | None = attrs.field(default=None, init=False)
    _idle: int = attrs.field(default=0, init=False)

    def look(self, elapsed: float, seen: Seen | None) -> str:
        """Take a look, `elapsed` seconds after the job's begin; `seen` is None where nothing can be seen. Gives why the
        process is hung, empty while it is not."""
        if self._first is None:
            self._first = seen
        idle = seen is not None and seen == self._last and not seen.runnable
        self._idle, self._last = self._idle + 1 if idle else 0, seen
        if self._idle >= IDLE_LOOKS:
            return "it did nothing"
        if elapsed >= self.limit and not self._starved(seen):
            return f"not done within {self.limit:g} s"
        return ""

    def _starved(self, seen: Seen | None) -> bool:
        if seen is None or self._first is None or not seen.runnable:
            return False
        return seen.processor - self._first.processor < self.limit * FAIR_SHARE
