"""An Asterisk to whom something happens at one place."""

import re
from typing import Any

import attrs
import trio

from agentd.testing._ari_server import Answer, EventSocket, Request
from tests.walk.ari import Pbx
from tests.walk.faults import (
    HANGS_SECONDS,
    LATE_SECONDS,
    LEG_STAGES,
    OF_REQUESTS,
    UNHARMED,
    How,
    Mishap,
    Strike,
    Where,
    never,
)

MAIN, OTHER, SUCCESSOR = "1700000000.1", "1700000000.2", "1700000000.3"
"""The channels of the caller to whom something happens, of the other one, and of who takes the first one's place."""


@attrs.define(eq=False)
class FaultyPbx(Pbx):
    """An Asterisk to whose requests, events and connections something happens. It counts them once it is `armed`."""

    strike: Strike = never
    request_names: list[str] = attrs.field(factory=list)
    event_names: list[str] = attrs.field(factory=list)
    at_work: int = 0
    """Requests that are not answered yet."""
    _http_hangs_until: float = 0.0
    _events_hang_until: float = 0.0
    _mishap: Mishap = UNHARMED
    _held: tuple[str, dict[str, Any]] | None = None

    async def handle(self, request: Request) -> Answer:
        """See FakeAsterisk."""
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        self.at_work += 1
        try:
            return await self._answer(request)
        finally:
            self.at_work -= 1

    async def _answer(self, request: Request) -> Answer:
        if not self.armed:
            return await self.carry_out(request)
        self.request_names.append(nameless(f"{request} {request.params.get('variable', '')}".strip()))
        number = len(self.request_names)
        if self.strike(Where.HTTP, number):
            self._http_hangs_until = trio.current_time() + HANGS_SECONDS
        await trio.sleep_until(self._http_hangs_until)
        match how := self.strike(Where.REQUEST, number):
            case How.DROPPED:
                return Answer(drop=True)
            case How.LATE:
                await trio.sleep(LATE_SECONDS)
            case How.UNANSWERED:
                await self.carry_out(request)
                return Answer(drop=True)
            case None:
                pass
            case _:
                assert how in OF_REQUESTS
                return Answer.refusal(int(how), "refused on purpose")
        return await self.carry_out(request)

    async def deliver(self, kind: str, fields: dict[str, Any]) -> None:
        """See Pbx."""
        if not self.armed:
            await super().deliver(kind, fields)
            return
        channel = fields.get("channel", {}).get("id", "") or fields.get("playback", {}).get("target_uri", "")
        self.event_names.append(nameless(f"{kind} {channel}".strip()))
        number = len(self.event_names)
        if self.strike(Where.EVENTS, number):
            self._events_hang_until = trio.current_time() + HANGS_SECONDS
        await trio.sleep_until(self._events_hang_until)
        match self.strike(Where.EVENT, number):
            case How.LOST:
                return
            case How.SWAPPED:
                self._held = (kind, fields)
                self.nursery.start_soon(self._let_go_later)
                return
            case How.DOUBLED:
                await super().deliver(kind, fields)
        await super().deliver(kind, fields)
        await self._let_go()

    def mishap(self) -> Mishap:
        """See Switch."""
        if self.armed:
            for number, seconds in enumerate(LEG_STAGES, 1):
                if (how := self.strike(Where.LEG, number)) is not None:
                    self._mishap = Mishap(how, seconds)
        return self._mishap

    async def _let_go_later(self) -> None:
        await trio.sleep(1.0)  # where no other one comes it is only late
        await self._let_go()

    async def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await super().deliver(*held)

    async def _on_event(self, socket: EventSocket, event: Any) -> None:
        await trio.sleep_until(self._events_hang_until)
        await super()._on_event(socket, event)


def nameless(text: str) -> str:
    """Without what is another one in each life."""
    text = text.replace(MAIN, "CALLER").replace(OTHER, "OTHER").replace(SUCCESSOR, "SUCCESSOR")
    return re.sub(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", "ID", text)
