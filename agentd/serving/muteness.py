"""Whether a session has fallen mute: it is its turn, and nothing comes of it. Pure: told the time, no clock.

It is a session's turn in three cases: an answer is due; an utterance that it has begun and not ended has been heard as
far as it came; or the caller has said something and the session, which takes the turns itself, has said nothing to it.

A provider that can be probed is: one that does not even answer that is given up within seconds, while one that is only
slow, or rightly takes no notice of a cough, is left alone. Progress, such as a word or a piece of audio, is more than a
sign of life: without any a session is given up in the end, however well its provider answers probes.
"""

import math

import attrs

from agentd import deadlines

STUCK_SECONDS = deadlines.SESSION_STUCK.seconds


@attrs.define
class Muteness:
    """One session's. `after` are the seconds without a sign of life in which a probed provider may still be alive;
    `longest_pause` those that it may wait for the caller to go on (see agentd.agent.Capabilities)."""

    after: float
    takes_turns: bool
    answers_probes: bool
    longest_pause: float = 0.0
    _alive_at: float = attrs.field(default=-math.inf, init=False)
    _progress_at: float = attrs.field(default=-math.inf, init=False)
    _turn_since: float = attrs.field(default=math.inf, init=False)
    _unheard_since: float = attrs.field(default=math.inf, init=False)

    def alive(self, now: float) -> None:
        """The provider has answered a probe."""
        self._alive_at = max(self._alive_at, now)

    def progress(self, now: float) -> None:
        """The session has said something, or brought audio."""
        self._progress_at = max(self._progress_at, now)

    def noticed(self, moment: float) -> bool:
        """Whether the session has said anything since second `moment`."""
        return self._progress_at >= moment

    def observe(self, now: float, *, its_turn: bool, caller_spoke_until: float | None) -> None:
        """How the call stands. `its_turn`: an answer is due and no tool is at work on it, or an open utterance has run
        dry. `caller_spoke_until`: when the caller's last speech ended by agentd's own ear; None while it lasts."""
        self._turn_since = min(self._turn_since, now) if its_turn else math.inf
        unheard = self.takes_turns and caller_spoke_until is not None and self._progress_at < caller_spoke_until
        self._unheard_since = caller_spoke_until + self.longest_pause if unheard and caller_spoke_until else math.inf

    @property
    def probe_at(self) -> float:
        """When the provider should be asked for a sign of life; math.inf: there is no reason to."""
        since = min(self._turn_since, self._unheard_since)
        if not self.answers_probes or since == math.inf:
            return math.inf
        return max(since, self._alive_at, self._progress_at) + self.after / 2

    @property
    def mute_at(self) -> float:
        """When the session is to be given up if nothing happens before; math.inf: nothing speaks against it."""
        stuck_at = math.inf
        if self._turn_since < math.inf:
            stuck_at = max(self._turn_since, self._progress_at) + STUCK_SECONDS
        return min(stuck_at, self.probe_at + self.after / 2)
