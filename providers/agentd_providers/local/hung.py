"""When an engine is hung, and when it is tried again. Pure: told what was seen, no clock.

An engine that is asked something and answers is alive, one that has ended is dead: that is easy. One that does not
answer is either at work or hung. So each job has a limit that follows its work, and meanwhile its process is looked at:
one that has a job and uses no processor at all is stopped, or waits for something that does not come, and no limit
needs to be waited for. A process that waits for its disk does not count as hung: it has page faults.

The sums: a hung job, the loading of the model by a fresh process and the job that waited for both have to be over
before a call takes its agent for mute (agentd.deadlines.SESSION_STUCK).
"""

from collections.abc import Hashable

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


@attrs.define
class Vigil:
    """One job's process, looked at every LOOK_EVERY seconds."""

    _seen: Hashable = attrs.field(default=None, init=False)
    _idle: int = attrs.field(default=0, init=False)

    def looks_hung(self, done: Hashable) -> bool:
        """Take a look: `done` stands for all that the process has ever done; None where that cannot be seen."""
        self._idle = self._idle + 1 if done is not None and done == self._seen else 0
        self._seen = done
        return self._idle >= IDLE_LOOKS
