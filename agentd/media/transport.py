"""The contract of transports, which carry media legs: what one asks of Asterisk, and how it gets its connection. Pure.

A transport is a room of its own that meets `Transport` and `agentd.media.leg.MediaConnection`, and a row in
agentd.transports. The maker of a leg (agentd.ari.channel) has the transport expect it, asks Asterisk for what the
expected leg wants, and waits for the connection.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

import attrs

from agentd.media.leg import LineFormat, MediaConnection


@attrs.frozen
class ExternalMedia:
    """A channel of ARI's externalMedia, in the words of its parameters; an empty one is left out.

    Source: Asterisk 22 rest-api/api-docs/channels.json, POST /channels/externalMedia.
    """

    encapsulation: str
    transport: str
    external_host: str
    format: str
    data: str = ""
    connection_type: str = ""
    transport_data: str = ""


@attrs.frozen
class DialplanMedia:
    """A pair of Local channels whose far half runs this extension of the dialplan, which brings the audio."""

    extension: str
    context: str


class ExpectedLeg(Protocol):
    """A leg that a transport is ready for: Asterisk can be asked for it."""

    @property
    def request(self) -> ExternalMedia | DialplanMedia:
        """The request to Asterisk."""
        ...

    def told(self, variables: Mapping[str, str]) -> None:
        """Take note of variables of the leg's own channels: those that Asterisk's answer to the request names, and each
        one that is set. Most are of no interest. It does not block, and takes values that are nonsense."""
        ...

    async def connection(self, deadline: float) -> MediaConnection:
        """The connection that Asterisk brings, or is brought, after the request; it may have come before.

        Raises MediaTimeout if there is none within `deadline` seconds. Cancelling it gives back what had come.
        """
        ...


class Transport(Protocol):
    """One way of carrying media legs, for all calls."""

    @property
    def name(self) -> str:
        """Its name in the dialplan and in the configuration: `media=NAME`."""
        ...

    @property
    def bind_timeout(self) -> float:
        """Seconds that a leg may take to come up in all."""
        ...

    @property
    def way(self) -> str:
        """How its connections come about, for a message about one that did not: "Asterisk connects to ..."."""
        ...

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        """Whether it carries audio of `rate` Hz with an Asterisk of this version; None: with any."""
        ...

    def expect(self, leg: UUID, line: LineFormat) -> AbstractContextManager[ExpectedLeg]:
        """Be ready for a leg that carries `line`, for as long as the block runs. Leaving it gives up what has come and
        nobody took; a connection that was taken is released by who took it. Raises MediaTimeout where there is nothing
        left that could carry it.

        `leg` is new, and nobody outside knows it: it may serve as the secret by which the connection is recognised.
        """
        ...
