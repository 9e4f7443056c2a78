"""Callers whom an earlier agentd has left behind in the application are handed back, by requests alone."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from functools import partial
from typing import TypeVar

import attrs
import structlog
import trio

from agentd.ari.events import Channel
from agentd.ari.hand_back import judge, pause_after
from agentd.ari.reconciliation import Fate, fate, is_leg
from agentd.ari.rest import AriRest
from agentd.ari.successor import way_back
from agentd.conversation.commands import Result
from agentd.errors import AriError, AriUnavailable

log = structlog.get_logger("agentd.orphans")

AT_ONCE = 8
"""Channels that are dealt with at one time."""
T = TypeVar("T")


def _nobody(_callers: Mapping[str, Channel]) -> Set[str]:
    return frozenset()


async def hand_back_orphans(
    rest: AriRest, app: str, deadline: float, adopted: Callable[[Mapping[str, Channel]], Set[str]] = _nobody
) -> int:
    """Hand every caller in the application `app` back to the dialplan, with AGENTD_RESULT `failed:internal`, and remove
    what is left of media legs; gives how many callers Asterisk let go on.

    For a time at which no agentd serves the application: every caller in it counts as left behind. It needs no event
    stream, and no application that is registered. Callers come first. What fails is tried again until `deadline`
    seconds have passed; a request that is under way then is waited for (a few seconds). Where nobody was left behind,
    it takes two requests. Callers and legs that could not be dealt with are logged.

    `adopted` is asked once, of all callers by their channels, whose calls are gone on with: they are left where they
    are. The legs that they had are removed like all others.

    Raises AriError where Asterisk could not be asked who there is: AriRejected at once if it refuses to tell,
    AriUnavailable at the deadline.
    """
    attempt = _Attempt(trio.current_time() + deadline)
    channels = (await attempt.ask(rest.channels)).values()
    found = {channel.id: channel for channel in channels if fate(channel, app) is Fate.HAND_BACK}
    stay = adopted(found)
    callers = {channel_id: channel for channel_id, channel in found.items() if channel_id not in stay}
    legs = [channel.id for channel in channels if fate(channel, app) is Fate.REMOVE]
    handed_back = await attempt.each(callers, partial(_hand_back, rest, callers))
    await attempt.each(legs, rest.hang_up)
    bridges = [bridge for bridge in await attempt.ask(rest.bridges) if is_leg(app, bridge)]
    await attempt.each(bridges, rest.destroy_bridge)
    if found or legs or bridges:
        log.warning(
            "an earlier agentd left something behind",
            callers=len(found),
            adopted=len(stay),
            handed_back=handed_back,
            legs=len(legs),
            bridges=len(bridges),
        )
    return handed_back


async def _hand_back(rest: AriRest, callers: Mapping[str, Channel], channel: str) -> None:
    goes_on_at = await way_back(rest, callers[channel])
    if goes_on_at is not None:
        await rest.forget_way_back(channel)
    await rest.hand_back(channel, Result.FAILED_INTERNAL, goes_on_at)
    log.warning("handed back a caller whom an earlier agentd left behind", channel=channel)


@attrs.frozen
class _Attempt:
    """Requests that are made again, with back-off, until they succeed, the channel is gone, or the time `ends`."""

    ends: float

    async def ask(self, listing: Callable[[], Awaitable[T]]) -> T:
        """Raises AriError, at once where Asterisk refuses to tell."""
        tries = 0
        while True:
            try:
                return await listing()
            except AriUnavailable as error:
                unanswered = error
            tries += 1
            if not await self._again(tries):
                raise unanswered

    async def each(self, ids: Iterable[str], do: Callable[[str], Awaitable[None]]) -> int:
        """Do it to all of them, some at a time; gives how often it was done."""
        done, limiter = 0, trio.CapacityLimiter(AT_ONCE)

        async def one(object_id: str) -> None:
            nonlocal done
            async with limiter:
                was_done = await self._one(object_id, do)
            done += was_done

        async with trio.open_nursery() as nursery:
            for object_id in ids:
                nursery.start_soon(one, object_id)
        return done

    async def _one(self, object_id: str, do: Callable[[str], Awaitable[None]]) -> bool:
        tries = 0
        while True:
            try:
                await do(object_id)
            except AriError as error:
                refusal = judge(error)
                if refusal.settles:
                    return False
                tries += 1
                if not await self._again(tries):
                    log.error(
                        "something of an earlier agentd's stays behind",
                        id=object_id,
                        error=str(error),
                        remedy=refusal.remedy,
                    )
                    return False
            else:
                return True

    async def _again(self, tries: int) -> bool:
        """Wait for the next try; false where it would be too late."""
        pause = pause_after(tries)
        if trio.current_time() + pause >= self.ends:
            return False
        await trio.sleep(pause)
        return True
