"""Everything that agentd raises on purpose. Each message says what was expected, what came, and from where."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


Failure = Exception | SystemExit
"""An error that is some code's failure. A stranger's code that calls for the end ends itself, not the daemon."""


def contained(failed: Callable[[Failure], bool | None]) -> "_Contained":
    """The outermost frame of what may raise anything: `failed` is told the first error, which then goes no further,
    unless it gives False. A cancellation, and whatever else is nobody's failure, goes on in any case."""
    return _Contained(failed)


@attrs.frozen
class _Contained(AbstractContextManager[None, bool]):
    _failed: Callable[[Failure], bool | None]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        failed: BaseException | None = error
        rest: BaseException | None = None
        if isinstance(error, BaseExceptionGroup):
            failed, rest = error.split((Exception, SystemExit))
            failed = None if failed is None else first_of(failed)
        if not isinstance(failed, Failure) or self._failed(failed) is False:
            return False
        if rest is not None:
            raise rest
        return True


@contextmanager
def naming_address(host: str, port: int, table: str) -> Iterator[None]:
    """Around the opening of listeners at an address that a table of the configuration has: where it cannot be had,
    AddressUnusable is raised in place of OSError."""
    refused: OSError | None = None
    try:
        yield
    except* OSError as group:
        refused = first_of(group)
    if refused is not None:
        raise AddressUnusable(refused, host, port, table) from refused


class AddressUnusable(OSError):
    """An address at which we are to listen cannot be had; `table` of the configuration has it as `host` and `port`."""

    def __init__(self, error: OSError, host: str, port: int, table: str) -> None:
        why = error.strerror or str(error)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__(error.errno, f"{place}, as [{table}] host and port say: {why}")
        self.host, self.port, self.table = host, port, table

    def __str__(self) -> str:
        return str(self.strerror)


class AgentdError(Exception):
    """Base of all of agentd's own errors."""


class ConfigError(AgentdError):
    """The configuration cannot be used; the message lists every problem found, one a line."""


class BudgetExceeded(AgentdError):
    """A call uses up more than it may (agentd.budgets), by a defect: it has to end."""


class MediaProtocolError(AgentdError):
    """A peer's bytes on an AudioSocket connection broke the protocol."""


class MediaTimeout(AgentdError):
    """The media leg of a call did not come up within its deadline, or there is nothing left that could carry it."""


class AriError(AgentdError):
    """An ARI request failed or an ARI peer misbehaved."""


class AriUnavailable(AriError):
    """Asterisk could not be reached or did not answer within the deadline; trying again may help."""


class AriRejected(AriError):
    """Asterisk answered a request with an error status; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ApplicationLost(AriError):
    """Another program has taken over our ARI application: its events no longer come to us."""


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
    """No file could be written for Asterisk to play; `reason` is the name of errno's value, as ENOSPC, or "hung"."""

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
