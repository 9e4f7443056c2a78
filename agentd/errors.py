"""Everything that agentd raises on purpose. Each message says what was expected, what came, and from where."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

import attrs

E = TypeVar("E", bound=BaseException)


def first_of(group: BaseExceptionGroup[E]) -> E:
    """The first error inside of an exception group, however deep. Nurseries raise groups; people want the error."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error  # type: ignore[return-value]  # a group of E holds nothing but E and groups of E


def ungrouped(*kinds: type[Exception]) -> AbstractContextManager[None]:
    """Around a nursery: an error of these kinds leaves the block as itself, where Trio would wrap it in a group.

    Of several the first is raised: they tell of one failure. Where the block was cancelled meanwhile, the cancellation
    goes on alone, for nobody waits for the error any more, and beside a cancellation it would come in a group after
    all. A group that holds any other error goes on whole.
    """
    return _Ungrouped(kinds)


@attrs.frozen
class _Ungrouped(AbstractContextManager[None]):
    _kinds: tuple[type[Exception], ...]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, BaseExceptionGroup):
            return
        ours, others = error.split(self._kinds)
        if ours is None or (others is not None and others.subgroup(Exception) is not None):
            return
        single = first_of(ours) if others is None else others
        # The error that is raised here must not lead back to the group that it was in: only the collector frees such a
        # circle.
        context = single.__context__
        try:
            raise single
        finally:
            single.__context__ = context
            del error, traceback, ours, others, single, context


class AgentdError(Exception):
    """Base of all of agentd's own errors."""


class ConfigError(AgentdError):
    """The configuration cannot be used; the message lists every problem found, one a line."""


class MediaProtocolError(AgentdError):
    """A peer's bytes on an AudioSocket connection broke the protocol."""


class MediaTimeout(AgentdError):
    """The media leg of a call did not come up within its deadline."""


class AriError(AgentdError):
    """An ARI request failed or an ARI peer misbehaved."""


class AriUnavailable(AriError):
    """Asterisk could not be reached or did not answer within the deadline; trying again may help."""


class AriRejected(AriError):
    """Asterisk answered a request with an error status; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WebSocketError(AgentdError):
    """A WebSocket connection could not be opened, broke, or missed its heartbeat.

    `status` is the HTTP status of a server that refused to open one, else 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class PlaybackError(AgentdError):
    """An utterance could not be brought to the caller."""


class MediaUnwritable(PlaybackError):
    """No file could be written for Asterisk to play; `reason` is the name of errno's value, as ENOSPC."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProviderError(AgentdError):
    """Base of what an agent's provider may raise."""


class ProviderUnavailable(ProviderError):
    """The provider cannot serve now: try again, or fall over to another agent."""


class ProviderRejected(ProviderError):
    """The provider refused what we asked of it: our request or configuration was wrong."""


class CallRejected(ProviderRejected):
    """The provider refused what this very call asked, as a prompt beyond the model's context: other calls fare better,
    and it does not count against the agent."""


class ProviderProtocolError(ProviderError):
    """The provider sent what its protocol does not allow."""
