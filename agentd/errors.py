"""Everything that agentd raises on purpose. Each message says what was expected, what came, and from where."""

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def first_of(group: BaseExceptionGroup[E]) -> E:
    """The first error inside of an exception group, however deep. Nurseries raise groups; people want the error."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error  # type: ignore[return-value]  # a group of E holds nothing but E and groups of E


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


class ProviderError(AgentdError):
    """Base of what an agent's provider may raise."""


class ProviderUnavailable(ProviderError):
    """The provider cannot serve now: try again, or fall over to another agent."""


class ProviderRejected(ProviderError):
    """The provider refused what we asked of it: our request or configuration was wrong."""


class ProviderProtocolError(ProviderError):
    """The provider sent what its protocol does not allow."""
