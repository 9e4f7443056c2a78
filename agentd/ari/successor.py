"""Who has taken the place of a caller's channel, or stands behind it now: asked of Asterisk, which tells it late.

A Local channel, as an attended transfer puts it into a bridge, learns a moment later with which party it is connected.
No event of its own tells so, and its snapshot, which events and listings show, stays as it was (Asterisk 22
main/core_local.c: `local_indicate`); functions of the channel read the channel itself.
"""

import structlog
import trio

from agentd.ari.caller_id import NAME, NUMBER, PRESENTATION, caller_name, caller_number, shown
from agentd.ari.events import Channel
from agentd.ari.hand_back import WAY_BACK_VARIABLE, judge, way_back_of
from agentd.ari.rest import AriRest
from agentd.ari.whereabouts import Origin
from agentd.conversation.commands import Destination
from agentd.errors import AriError
from agentd.party import Party

log = structlog.get_logger("agentd.channel")

ASKED_AFTER = (0.1, 0.3, 0.9, 2.7)
"""Pauses in seconds before it is asked who it is; without an answer then, nobody is known."""


async def meet(rest: AriRest, channel: str, origin: Origin | None) -> Party:
    """Who is at the other end of the channel: nobody known where Asterisk does not tell soon, or it is withheld.

    Where it has taken another one's place (`origin`), its way back is noted on it first, for an agentd after this one.
    Raises nothing; what Asterisk refuses is logged.
    """
    if origin is not None:
        await rest.note_way_back(channel, origin.place, origin.fallback)
    for asked, pause in enumerate(ASKED_AFTER, start=1):
        await trio.sleep(pause)
        try:
            party = await _party(rest, channel, last=asked == len(ASKED_AFTER))
        except AriError as error:
            if judge(error).settles:
                break
            log.info("who has taken the caller's place cannot be asked for", error=str(error))
        else:
            if party is not None:
                return party
    return Party()


async def way_back(rest: AriRest, channel: Channel) -> Destination | None:
    """Where a channel goes on of whose coming no event told, so that it may be a successor; None: where it is. Raises
    AriError.

    One that came by itself has the arguments of its Stasis(); one that took another's place is asked for the note.
    """
    if channel.arguments:
        return None
    return way_back_of(channel.place, await rest.variable(channel.id, WAY_BACK_VARIABLE))


async def _party(rest: AriRest, channel: str, *, last: bool) -> Party | None:
    """None where it is not told yet, which takes one request. A name without a number is looked for at `last`. Raises
    AriError."""
    number = await rest.variable(channel, NUMBER)
    name = await rest.variable(channel, NAME) if number or last else ""
    if not number and not name:
        return None
    presentation = await rest.variable(channel, PRESENTATION)
    return shown(caller_number(number), caller_name(name), presentation, presentation)
