"""AudioSocket as a transport, in its two ways: how Asterisk is asked for a leg, and which connection is that leg.

* `external`: a channel of chan_audiosocket's, by ARI's externalMedia. It sends the UUID that it was told.
* `fork`: a Local channel whose far half runs `AudioSocket()` in the dialplan, for hosts where chan_audiosocket is not
  to be had. The dialplan uses its extension as the UUID (ours), or announces one of its own in AUDIOSOCKET_UUID.

Both connect to the one listener, which runs for as long as the daemon does.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import attrs
import structlog
import trio

from agentd.asterisk_releases import WIDEBAND, has
from agentd.audio.formats import AudioFormat, Encoding
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.listener import Admission, AudioSocketListener, Expectation
from agentd.config.settings import Config
from agentd.errors import MediaTimeout, ungrouped
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.media.transport import DialplanMedia, ExternalMedia
from agentd.media.wideband import NARROW, WIDE
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.audiosocket")

EXTERNAL, FORK = "external", "fork"
UUID_VARIABLE = "AUDIOSOCKET_UUID"


def external_media(address: str, uuid: UUID, line: LineFormat) -> ExternalMedia:
    """A channel that connects to `address` ("host:port") with this UUID. Asterisk connects before it answers."""
    audio_format = str(AudioFormat(Encoding.SLIN, line.rate))
    return ExternalMedia("audiosocket", "tcp", address, audio_format, data=str(uuid))


def fork_media(context: str, uuid: UUID) -> DialplanMedia:
    """The dialplan's fork: its extension is the UUID, as 32 hexadecimal digits."""
    return DialplanMedia(uuid.hex, context)


@attrs.frozen
class ExternalAudioSocket:
    """By externalMedia. `address` is the listener as Asterisk reaches it; `wideband()`: whether 16 kHz is wanted where
    it can be had. Meets agentd.media.transport.Transport."""

    admission: Admission
    address: str
    bind_timeout: float
    wideband: Callable[[], bool]
    name: str = EXTERNAL

    @property
    def way(self) -> str:
        return f"Asterisk connects to {self.address}"

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        """See agentd.media.transport.Transport.carries."""
        wide = rate == WIDE and self.wideband() and (asterisk is None or has(asterisk, WIDEBAND))
        return rate == NARROW or wide

    @contextmanager
    def expect(self, leg: UUID, line: LineFormat) -> Iterator["ExternalLeg"]:
        """See agentd.media.transport.Transport.expect."""
        with self.admission.expect(leg, line) as expectation:
            yield ExternalLeg(external_media(self.address, leg, line), expectation)


@attrs.frozen
class ExternalLeg:
    """Meets agentd.media.transport.ExpectedLeg."""

    request: ExternalMedia
    _expectation: Expectation

    def told(self, variables: Mapping[str, str]) -> None:
        """Nothing of them matters here."""

    async def connection(self, deadline: float) -> AudioSocketConnection:
        """See agentd.media.transport.ExpectedLeg.connection."""
        return await self._expectation.connection(deadline)


@attrs.frozen
class ForkedAudioSocket:
    """By the dialplan's fork in `context`, which carries slin at 8 kHz whatever the channel does. Meets
    agentd.media.transport.Transport."""

    admission: Admission
    address: str
    bind_timeout: float
    context: str
    name: str = FORK

    @property
    def way(self) -> str:
        return f"Asterisk connects to {self.address}"

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        """See agentd.media.transport.Transport.carries."""
        return rate == NARROW

    @contextmanager
    def expect(self, leg: UUID, line: LineFormat) -> Iterator["ForkedLeg"]:
        """See agentd.media.transport.Transport.expect."""
        with self.admission.expect(leg, line) as expectation, self.admission.expecting_unnamed():
            yield ForkedLeg(fork_media(self.context, leg), self.admission, expectation)


@attrs.define(eq=False)
class ForkedLeg:
    """A fork that may announce a UUID of its own, before or after its connection comes. Meets
    agentd.media.transport.ExpectedLeg."""

    request: DialplanMedia
    _admission: Admission
    _expectation: Expectation
    _announced: trio.Event = attrs.field(factory=trio.Event, init=False)
    _announcement: str = attrs.field(default="", init=False)

    def told(self, variables: Mapping[str, str]) -> None:
        """Take note of the UUID that the dialplan announces."""
        if UUID_VARIABLE in variables:
            self._announcement = variables[UUID_VARIABLE].strip()
            self._announced.set()

    async def connection(self, deadline: float) -> AudioSocketConnection:
        """See agentd.media.transport.ExpectedLeg.connection."""
        found: list[AudioSocketConnection] = []

        async def by_extension() -> None:
            found.append(await self._expectation.connection(deadline))
            nursery.cancel_scope.cancel()

        async def by_announcement() -> None:
            await self._announced.wait()
            ours = self._expectation.uuid
            if (own := _canonical(self._announcement)) is None:
                log.warning("the fork's dialplan announced a malformed UUID", value=self._announcement[:64])
            elif own != ours:
                log.info("the fork's dialplan chose its own UUID", uuid=str(own))
                with self._admission.expect(own, self._expectation.line) as other:
                    found.append(await other.connection(deadline))
                    nursery.cancel_scope.cancel()

        spare = found
        try:
            with ungrouped(MediaTimeout):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(by_extension)
                    nursery.start_soon(by_announcement)
            spare = found[1:]
        finally:
            for connection in spare:  # all of them where a hang-up came at the same moment
                connection.release()
        return found[0]


async def listen(
    config: Callable[[], Config],
    metrics: Metrics,
    on_stranger: Callable[[UUID, AudioSocketConnection], bool],
    start: Callable[..., Awaitable[int]],
    connections: trio.Nursery,
    clock: LineClock,
) -> tuple[AudioSocketListener, tuple[ExternalAudioSocket, ForkedAudioSocket]]:
    """Start the listener, and give the two transports that it serves.

    `config()` gives the configuration of now. `on_stranger` is asked about a connection that no call expects: see
    AudioSocketListener. `start` is a nursery's, or that of who runs the listener again when it fails; in `connections`
    the connections live on meanwhile. `clock` is that of all lines. Raises AddressUnusable.
    """
    socket, admission = config().audiosocket, Admission()
    listener = AudioSocketListener(
        socket.host,
        socket.port,
        admission,
        metrics,
        max_connections=socket.max_connections,
        allow=socket.allowed_networks,
        uuid_timeout=socket.uuid_timeout,
        bind_grace=socket.bind_grace,
        on_stranger=on_stranger,
        connections=connections,
        clock=clock,
    )
    address = config().advertised_socket(await start(listener.run, name="audiosocket"))
    external = ExternalAudioSocket(admission, address, socket.bind_timeout, lambda: config().audiosocket.wideband)
    return listener, (external, ForkedAudioSocket(admission, address, socket.bind_timeout, socket.fork_context))


def _canonical(text: str) -> UUID | None:
    """A UUID in its canonical form of 36 characters, or None: Asterisk takes no other."""
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid if len(text) == 36 else None
