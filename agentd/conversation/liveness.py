"""When a call needs looking after: nobody speaks, the answer is slow, the time is up. Pure: told the time, no clock.

Watches the conversation's regions and says which events are due. Each is told once; a check-in again after every
further silence, until there were as many as allowed. While the caller holds, nothing is due but the end of the call's
time.
"""

import math

import attrs

from agentd.conversation import events as happens
from agentd.conversation.machine import Agent, Caller, Conversation, Hold, Line

Due = happens.CheckInDue | happens.SilenceOver | happens.AnswerSlow | happens.DurationWarningDue | happens.DurationOver


@attrs.frozen
class LivenessTimes:
    """Times in seconds; 0 switches off. See agentd.config.settings.Liveness."""

    check_in_after: float
    check_ins: int
    slow_after: float
    max_duration: float
    warn_before: float
    dead_air_after: float

    @property
    def checks_in(self) -> bool:
        """Whether a caller who keeps quiet is spoken to before the silence is dead air."""
        return 0 < self.check_in_after < self.dead_air_after


@attrs.define
class Liveness:
    """One call's. `observe` it after every step of the conversation; ask for what is `due` at `next_at`."""

    times: LivenessTimes
    _began: float = math.inf
    """When the call came to be live; it may have been with another agentd."""
    _quiet_since: float = attrs.field(default=math.inf, init=False)
    _preparing_since: float = attrs.field(default=math.inf, init=False)
    _checked: int = attrs.field(default=0, init=False)
    _warned: bool = attrs.field(default=False, init=False)
    _on_hold: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def observe(self, conversation: Conversation, now: float) -> None:
        """Take note of where the conversation stands at second `now`."""
        live = conversation.line is Line.LIVE
        if live:
            self._began = min(self._began, now)
        self._on_hold = conversation.hold is Hold.ON
        there = live and not self._on_hold
        if conversation.caller is not Caller.SILENT or conversation.agent is Agent.PREPARING:
            self._checked = 0  # somebody is there, or has pressed digits
        quiet = there and conversation.caller is Caller.SILENT and conversation.agent is Agent.IDLE
        self._quiet_since = min(self._quiet_since, now) if quiet else math.inf
        preparing = there and conversation.agent is Agent.PREPARING and conversation.caller is Caller.SILENT
        filling = self._preparing_since == -math.inf and conversation.agent is Agent.SPEAKING_ASIDE
        if not preparing and not filling:
            self._preparing_since = math.inf
        elif self._preparing_since == math.inf:
            self._preparing_since = now

    def caller_acted(self, now: float) -> None:
        """The caller has given a sign of life at second `now` of which the conversation's regions need not tell: has
        pressed a key, or come back from a hold."""
        self._checked = 0
        if self._quiet_since < math.inf:
            self._quiet_since = now

    @property
    def next_at(self) -> float:
        """When something will be due, if nothing happens before; math.inf: never."""
        return min(self._silence_at, self._slow_at, self._warning_at, self._end_at)

    def due(self, now: float) -> list[Due]:
        """The events that are due at second `now`."""
        events: list[Due] = []
        if now >= self._slow_at:
            self._preparing_since = -math.inf  # once an answer
            events.append(happens.AnswerSlow())
        if now >= self._silence_at:
            self._quiet_since = now
            self._checked += 1
            events.append(happens.CheckInDue() if self._checked <= self.times.check_ins else happens.SilenceOver())
        if now >= self._warning_at:
            self._warned = True
            events.append(happens.DurationWarningDue())
        if now >= self._end_at:
            self._over = True
            events.append(happens.DurationOver())
        return events

    @property
    def _silence_at(self) -> float:
        return self._quiet_since + self.times.check_in_after if self.times.check_in_after else math.inf

    @property
    def _slow_at(self) -> float:
        told = self._preparing_since == -math.inf
        return math.inf if told or not self.times.slow_after else self._preparing_since + self.times.slow_after

    @property
    def _warning_at(self) -> float:
        times = self.times
        off = self._warned or self._on_hold or not times.warn_before or times.warn_before >= times.max_duration
        return math.inf if off else self._began + times.max_duration - times.warn_before

    @property
    def _end_at(self) -> float:
        return math.inf if self._over or not self.times.max_duration else self._began + self.times.max_duration
