"""The other end of a trial connection that Asterisk opens: the doctor's own stand-in, or a daemon."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import attrs
import trio

from agentd.allow_list import address_of, is_allowed
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.wire import SocketWire
from agentd.config.settings import Config
from agentd.doctor.daemon import RunningDaemon, refused_connections
from agentd.errors import MediaProtocolError
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics

POLL: Final = 0.1


@attrs.frozen
class Trial:
    """One connection that Asterisk is asked for by `connect`, which raises AriError.

    `any_uuid`: the dialplan may choose another UUID than ours. `known_to_connect`: when `connect` returns, Asterisk
    has connected.
    """

    uuid: UUID
    connect: Callable[[], Awaitable[None]]
    any_uuid: bool = False
    known_to_connect: bool = False


@attrs.frozen
class Arrival:
    """Whether a trial's connection arrived, None where that cannot be told; and what is wrong all the same."""

    arrived: bool | None
    remark: str = ""


Reach = Callable[[Trial], Awaitable[Arrival]]


@attrs.define(eq=False)
class StandIn:
    """Answers AudioSocket connections in the daemon's place; `arrived` says which UUID came from where."""

    config: Config
    arrived: dict[UUID, str] = attrs.field(factory=dict, init=False)
    strangers: list[str] = attrs.field(factory=list, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def peer(self, trial: Trial, deadline: float) -> str | None:
        """Where the trial's connection came from; None if it did not within `deadline` seconds."""
        before = set(self.arrived)
        with trio.move_on_after(deadline):
            await trial.connect()
            while True:
                fresh = self.arrived.keys() - before
                if trial.uuid in fresh or (fresh and trial.any_uuid):
                    return self.arrived[trial.uuid if trial.uuid in fresh else fresh.pop()]
                self._news = trio.Event()
                await self._news.wait()
        return None

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, served like a call's until Asterisk or the examination ends it."""
        try:
            peer = address_of(stream)
            connection = AudioSocketConnection(SocketWire(stream), peer, Metrics())
            with trio.fail_after(self.config.audiosocket.uuid_timeout):
                uuid = (await connection.handshake()).uuid
        except (trio.TooSlowError, MediaProtocolError, trio.BrokenResourceError, OSError) as error:
            self.strangers.append(f"{type(error).__name__} {error}".rstrip())
            return
        self.arrived[uuid] = peer
        self._news.set()
        await connection.serve(
            LineFormat(), lambda _pcm, _rate, _at: None, lambda _digit: None, lambda *, ahead=False: None, lambda: None
        )


async def reach_stand_in(config: Config, stand_in: StandIn, trial: Trial) -> Arrival:
    """Have the stand-in wait for the connection. Raises AriError."""
    patience = config.audiosocket.bind_timeout
    peer = await stand_in.peer(trial, patience)
    if peer is None:
        wrong = f"; instead: {stand_in.strangers[-1]}" if stand_in.strangers else ""
        return Arrival(False, f"its UUID did not come within {patience:g} s{wrong}")
    if not is_allowed(peer, config.audiosocket.allowed_networks):
        return Arrival(True, f"agentd would refuse its address {peer}")
    return Arrival(True)


async def reach_daemon(config: Config, daemon: RunningDaemon, trial: Trial) -> Arrival:
    """See whether the daemon counts one more connection that no call expects. Raises AriError."""
    before = await refused_connections(daemon)
    if before is None:
        return await reach_somebody(trial)
    await trial.connect()
    # agentd may hold a connection for bind_grace before it refuses it.
    patience = config.audiosocket.bind_grace + config.audiosocket.uuid_timeout
    with trio.move_on_after(patience):
        while True:
            now = await refused_connections(daemon) or {}
            if now.get("unexpected_uuid", 0) > before.get("unexpected_uuid", 0):
                return Arrival(True)
            if now.get("not_allowed", 0) > before.get("not_allowed", 0):
                return Arrival(True, "agentd refuses the address that it comes from")
            await trio.sleep(POLL)
    return Arrival(False, f"agentd counted no such connection within {patience:g} s")


async def reach_somebody(trial: Trial) -> Arrival:
    """Where nobody tells what arrived: only whether Asterisk connected at all. Raises AriError."""
    if not trial.known_to_connect:
        return Arrival(None)
    await trial.connect()
    return Arrival(True)
