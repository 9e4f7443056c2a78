"""Which requests the embedded model's server computes at once, which one begins next, and which one makes room. Pure.

Requests that are computed together share a host's few cores: each of them comes the later for all the others. So only
some are let in, those first that have to be there first. What is wanted at once is what a caller may already be waiting
for in silence: whether a sentence ends, and the first words after it. What can wait is the rest of an answer, while its
first clause is being heard, and an answer to words after which nobody expects an end: most of these are thrown away.
They are computed while nothing is that is wanted at once, and step aside when that comes; until they can wait no more.
"""

from collections.abc import Callable

import attrs

AT_ONCE = 3
"""Requests of a server on two cores: with fewer some wait that would cost the others little."""


@attrs.define(eq=False)
class Request:
    """One that was let in, or waits. `begin` is called once, when it is let in; `step_aside` once at most, after that,
    when it is to leave and to ask again: None where it cannot."""

    due: float
    """Second of the monotonic clock up to which it can wait; others whose time comes earlier go first."""
    begin: Callable[[], None]
    step_aside: Callable[[], None] | None = None
    begun: bool = False
    _told: bool = False

    def can_wait(self, now: float) -> bool:
        return self.due > now

    def make_room(self) -> None:
        """Others are wanted at once."""
        if self.step_aside is not None and not self._told:
            self._told = True
            self.step_aside()


@attrs.define(eq=False)
class Admission:
    """At most `most` requests at a time; those that can wait take one place less, where there is more than one."""

    most: int
    _begun: set[Request] = attrs.field(factory=set, init=False)
    _waiting: list[Request] = attrs.field(factory=list, init=False)
    """In the order in which they came."""

    def ask(
        self, now: float, due: float, begin: Callable[[], None], step_aside: Callable[[], None] | None = None
    ) -> Request:
        """A request is to be made, and can wait until second `due`. Whoever asks leaves in the end."""
        request = Request(due, begin, step_aside)
        self._waiting.append(request)
        self.look(now)
        return request

    def leave(self, request: Request, now: float) -> None:
        """It is done, was given up, or will never be made."""
        if request in self._begun:
            self._begun.remove(request)
        else:
            self._waiting.remove(request)
        self.look(now)

    def look(self, now: float) -> None:
        """Let in who may begin now; to be called when the time of one that waits has come."""
        for request in sorted(self._waiting, key=_due):
            if self._has_room(request, now):
                self._waiting.remove(request)
                self._begun.add(request)
                request.begun = True
                request.begin()
        if any(not request.can_wait(now) for request in (*self._begun, *self._waiting)):
            for request in self._begun:
                if request.can_wait(now):
                    request.make_room()

    def _has_room(self, request: Request, now: float) -> bool:
        if not request.can_wait(now):
            return len(self._begun) < self.most
        return len(self._begun) < max(self.most - 1, 1) and all(other.can_wait(now) for other in self._begun)


def _due(request: Request) -> float:
    return request.due
