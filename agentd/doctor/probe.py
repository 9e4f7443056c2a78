"""The doctor's own Stasis application: what it makes on the PBX to try things out, and that all of it goes.

A name of its own keeps it apart from a running agentd, which neither sees these channels nor answers them.
"""

import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from uuid import uuid4

import attrs
import trio

from agentd import deadlines
from agentd.ari.events import PlaybackFinished, parse_event
from agentd.ari.rest import AriRest
from agentd.ari.urls import events_url
from agentd.config.secrets import Secret
from agentd.config.settings import Config
from agentd.errors import AriError, AriRejected, WebSocketError
from agentd.websocket import WebSocket

REGISTRATION_DEADLINE: Final = deadlines.DOCTOR_REGISTRATION.seconds
GONE_DEADLINE: Final = deadlines.DOCTOR_GONE.seconds
LONGEST_EXAMINATION: Final = deadlines.DOCTOR_EXAMINATION.seconds
POLL: Final = 0.05


@attrs.define(eq=False)
class Probe:
    """One examination on the PBX. Every id of it begins with `app`, which no other run has."""

    rest: AriRest
    app: str
    socket: WebSocket
    _stream: trio.CancelScope
    _channels: list[str] = attrs.field(factory=list, init=False)
    _bridges: list[str] = attrs.field(factory=list, init=False)

    def channel(self, part: str) -> str:
        """The id for a channel to be made; `clear` removes it."""
        self._channels.append(f"{self.app}-{part}")
        return self._channels[-1]

    async def bridge(self, part: str = "bridge") -> str:
        """A new bridge whose events come to us. Raises AriError."""
        bridge = f"{self.app}-{part}"
        self._bridges.append(bridge)
        await self.rest.create_bridge(bridge)
        await self.rest.subscribe(self.app, f"bridge:{bridge}")
        return bridge

    async def play(self, bridge: str, media: str, deadline: float) -> str:
        """Play on a bridge; gives how that ended: "done" or "failed".

        Raises AriError if Asterisk refuses, or nothing is heard of the end within `deadline` seconds.
        """
        playback = f"{self.app}-playback"
        await self.rest.request("POST", f"/bridges/{bridge}/play/{playback}", {"media": media})
        with trio.move_on_after(deadline):
            while True:
                try:
                    event = parse_event(await self.socket.receive())
                except WebSocketError as error:
                    raise AriError(f"the event stream broke: {error}") from error
                if isinstance(event, PlaybackFinished) and event.playback == playback:
                    return event.state
        raise AriError(f"Asterisk did not tell within {deadline:g} s how a playback ended")

    async def clear(self) -> list[str]:
        """Remove all that was made; gives the ids that may still be there. The caller shields and bounds it,
        and calls `close` afterwards."""
        left = await self._removed(self._channels, self.rest.hang_up)
        left += await self._removed(self._bridges, self._unsubscribe)
        left += await self._removed(self._bridges, self.rest.destroy_bridge)
        try:
            return [*left, *await self._still_there(left)]
        except AriError as error:
            return [*left, str(error)]

    def close(self) -> None:
        """End the event stream, and with it the application."""
        self._stream.cancel()

    async def _unsubscribe(self, bridge: str) -> None:
        """Asterisk ends the subscription with the bridge, but later, and an application whose stream ends
        before that stays (seen on 22.10)."""
        await self.rest.unsubscribe(self.app, f"bridge:{bridge}")

    async def _removed(self, ids: Iterable[str], remove: Callable[[str], Awaitable[None]]) -> list[str]:
        left = []
        for each in ids:
            try:
                await remove(each)
            except AriError:
                left.append(each)
        return left

    async def _still_there(self, known: list[str]) -> list[str]:
        ours: set[str] = set()
        with trio.move_on_after(GONE_DEADLINE):
            while True:
                there = {*await self.rest.channels(), *await self.rest.bridges()}
                ours = {each for each in there if each.startswith(self.app)}
                if not ours:
                    return []
                await trio.sleep(POLL)
        return sorted(ours - set(known))


async def open_probe(config: Config, password: Secret, rest: AriRest, nursery: trio.Nursery) -> Probe:
    """Open an event stream with an application of its own; it is served in `nursery` until `close`.

    Raises WebSocketError if it cannot be opened, AriError if Asterisk does not register the application.
    """
    app = f"{config.asterisk.app}-doctor-{uuid4().hex[:8]}"
    token = base64.b64encode(f"{config.asterisk.username}:{password.reveal()}".encode()).decode()
    socket = WebSocket(
        events_url(config.asterisk.url, app),
        (("Authorization", f"Basic {token}"),),
    )
    stream = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - passed on
        with stream:
            await socket.run(task_status=task_status)

    await nursery.start(serve)
    await _registered(rest, app)
    # Asterisk keeps an application whose stream ends while it is still subscribed to something (seen on
    # 22.10), so the stream has to outlive a cancelled examination until all is cleared.
    stream.shield, stream.deadline = True, trio.current_time() + LONGEST_EXAMINATION
    return Probe(rest, app, socket, stream)


async def _registered(rest: AriRest, app: str) -> None:
    with trio.move_on_after(REGISTRATION_DEADLINE):
        while True:
            try:
                await rest.application_channels(app)
            except AriRejected as error:
                if error.status != 404:
                    raise
                await trio.sleep(POLL)
            else:
                return
    raise AriError("Asterisk opened an event stream but did not register its application")
