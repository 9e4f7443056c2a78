"""Which requests the embedded model's server computes at once, and which one begins next. Pure.

Requests that are computed together share a host's few cores: each of them comes the later for all the others. So only
some are let in, those first that have to be there first. What is wanted at once is what a caller may already be waiting
for in silence: whether a sentence ends, and the first words after it. What can wait is the rest of an answer, while its
first clause is being heard, and an answer to words after which nobody expects an end; these leave a place free for what
is wanted at once.
"""

from collections.abc import Callable

import attrs

AT_ONCE = 3
"""Requests of a server on two cores: with fewer some wait that would cost the others little."""


@attrs.define(eq=False)
class Request:
    """One that was let in, or waits. `begin` is called once, when it is let in."""

    due: float
    """Second of the monotonic clock up to which it can wait; others whose time comes earlier go first."""
    begin: Callable[[], None]
    begun: bool = False


@attrs.define(eq=False)
class Admission:
    """At most `most` requests at a time; those that can wait take one place less, where there is more than one."""

    most: int
    _begun: set[Request] = attrs.field(factory=set, init=False)
    _waiting: list[Request] = attrs.field(factory=list, init=False)
    """In the order in which they came."""

    def ask(self, now: float, begin: Callable[[], None], *, leeway: float = 0.0) -> Request:
        """A request is to be made, and can wait for `leeway` seconds. Whoever asks leaves in the end."""
        request = Request(now + leeway, begin)
        self._waiting.append(request)
        self._let_in(now)
        return request

    def leave(self, request: Request, now: float) -> None:
        """It is done, was given up, or will never be made."""
        if request in self._begun:
            self._begun.remove(request)
        else:
            self._waiting.remove(request)
        self._let_in(now)

    def _let_in(self, now: float) -> None:
        for request in sorted(self._waiting, key=_due):
            kept_free = self.most > 1 and request.due > now
            if len(self._begun) < self.most - kept_free:
                self._waiting.remove(request)
                self._begun.add(request)
                request.begun = True
                request.begin()


def _due(request: Request) -> float:
    return request.due
