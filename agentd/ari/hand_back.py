"""Pure: what Asterisk's refusal of a hand-back means, what helps against it, and when it is tried again.

Sources: Asterisk 22 res/ari/resource_channels.c (`find_control`: 404 and 409; `channel_state_invalid`: 412),
res/res_ari.c (`ast_ari_invoke`: 401, 403, 503), main/http.c (`sessionlimit`: the connection is closed unanswered).
"""

from enum import Enum

from agentd.conversation.commands import Destination
from agentd.errors import AriError, AriRejected

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
"""Seconds between two tries of a hand-back."""
RESULT_VARIABLE = "AGENTD_RESULT"
FALLBACK_VARIABLE = "AGENTD_FALLBACK"
WAY_BACK_VARIABLE = "AGENTD_WAY_BACK"
"""What agentd notes on a channel that has taken a caller's place, for an agentd after it: where it goes on."""
WITHOUT_WAY_BACK = Destination("transfer", "_attended")
"""Where Asterisk has a Local channel begin that takes a place in a bridge; no dialplan is there (Asterisk 22
main/bridge.c, `attended_transfer_bridge`)."""
RETURN = Destination("agentd-return", "s")
"""What extensions_agentd.conf does with every caller who comes back."""
TOLD_WITHIN = 12.0
"""Seconds within which all who are to be handed back go on in the dialplan, if need be without being told why."""
TOLD_SOON = 2.0
"""The same where more callers come than can be served, for longer than a burst lasts: the requests that tell them why
are taken from those who could be served."""
NO_TIME = 1.0
"""Seconds that are worth the reason in any case."""
TRANSFER_TRIES = 3
"""Times that a transfer is tried which Asterisk cannot do now."""


class Refusal(Enum):
    """Why a request on a caller's channel was not obeyed."""

    GONE = "the channel is gone"
    NOT_OURS = "the channel is in no application any more"
    READ_ONLY = "the ARI user may not write"
    UNKNOWN_USER = "Asterisk does not know the ARI user, or the password is another one"
    REFUSED = "Asterisk refuses what was asked"
    TRY_AGAIN = "Asterisk could not be asked, or cannot do it now"

    @property
    def settles(self) -> bool:
        """Whether nothing is left to hand back."""
        return self in (Refusal.GONE, Refusal.NOT_OURS)

    @property
    def remedy(self) -> str:
        """The mending that this takes of the operator; empty where there is nothing to mend."""
        return _REMEDIES.get(self, "")


_BY_STATUS = {
    401: Refusal.UNKNOWN_USER,
    403: Refusal.READ_ONLY,
    404: Refusal.GONE,
    409: Refusal.NOT_OURS,
    408: Refusal.TRY_AGAIN,
    412: Refusal.TRY_AGAIN,  # a channel that agentd did not call: somebody's, and not answered yet
    429: Refusal.TRY_AGAIN,
}
_REMEDIES = {
    Refusal.READ_ONLY: (
        "set `read_only = no` for the user in ari.conf (and let its `acl` admit agentd), then "
        "`asterisk -rx 'module reload res_ari.so'`"
    ),
    Refusal.UNKNOWN_USER: "is the user in ari.conf, and the password the same?",
}


def noted(way_back: Destination) -> str:
    """A way back, as WAY_BACK_VARIABLE tells it."""
    return f"{way_back.context},{way_back.extension},{way_back.priority}"


def way_back_of(place: Destination | None, note: str) -> Destination | None:
    """Where a channel goes on that another agentd has left behind, by its place in the dialplan and the note that is on
    it; None: where it is."""
    context, _, rest = note.partition(",")
    extension, _, priority = rest.rpartition(",")
    if context and extension and priority.isascii() and priority.isdigit():
        return Destination(context, extension, int(priority))
    return RETURN if place == WITHOUT_WAY_BACK else None


def judge(error: AriError) -> Refusal:
    """The meaning of a request's failure for the channel that it was about."""
    if not isinstance(error, AriRejected) or error.status >= 500:
        return Refusal.TRY_AGAIN
    return _BY_STATUS.get(error.status, Refusal.REFUSED)


def pause_after(tries: int) -> float:
    """Seconds to wait after a hand-back was tried `tries` times in vain: twice as long each time, up to a bound."""
    return min(FIRST_PAUSE * 2.0 ** min(max(tries - 1, 0), 16), LONGEST_PAUSE)


def goes_untold(result: str, waited: float, lasting: float, *, overload: bool = False) -> bool:
    """Whether AGENTD_RESULT is left out, a request less, for a caller whose hand-back has been owed for `waited`
    seconds, where `lasting` are needed to set it as well for all who are owed one now. `overload`: more and more come.

    Only of who was not let in, or whose call failed: without a result the dialplan does the same for them, for an empty
    one is a failure to it. Without it a call that was completed, or is transferred, would count as one that failed.
    """
    within = TOLD_SOON if overload else TOLD_WITHIN
    return lasting > max(within - waited, NO_TIME) and result.startswith(("refused:", "failed:"))


def smoothed(before: float | None, sample: float) -> float:
    """A running average, which follows the last four samples or so."""
    return sample if before is None else before + (sample - before) / 4.0


def refuses_destination(error: AriRejected, tries: int) -> bool:
    """Whether a channel that was to go on at a destination is to go on where it came from, after `tries` tries."""
    refusal = judge(error)
    if refusal is Refusal.TRY_AGAIN:
        return tries >= TRANSFER_TRIES
    return not refusal.remedy
