"""The tables of a Realtime session's answers: who makes the next one, and what became of the one that was asked for.
Pure.

Theory first. Only one response at a time answers the conversation, and the server refuses to begin another one
meanwhile (https://platform.openai.com/docs/guides/realtime-conversations). Three regions, each in one state at a time:

* the *turn*, the last one of the caller's: answered, or open (it is over, and nothing of an answer has been heard);
* the *next answer*: due from nobody; owed (agentd asks for it at the call's `answer`); wanted (agentd asks for it as
  soon as nothing else is in progress); expected (the server begins it by itself); or expected, then another one wanted;
* the *request*, the last one that was sent for an answer: none that matters any more; asked (it will be heard); void
  (nobody wants it, unless the sound that made it void turns out to be no turn of the caller's); stale (the caller has
  said more since, which it may not know of); or refused, because the server is at work on another one, of which we may
  not have heard yet.

Each happening is looked up in the table of every region; a region without a row for it stays as it is. A few rows
depend on who answers the caller by default: the server by itself (`vendor_answers`), or agentd asks for each answer.

Impossible by construction: two requests at once (only `none` is asked from); an answer that is owed and wanted, for
what is owed is to everything so far, a tool's result with it; one that is owed and expected, for the server's own is to
everything so far; and, where agentd asks for each, any that is expected.
"""

from collections.abc import Mapping
from enum import StrEnum

import attrs


class Turn(StrEnum):
    ANSWERED = "answered"
    OPEN = "open"


class Next(StrEnum):
    NOBODY = "nobody"
    OWED = "owed"
    WANTED = "wanted"
    EXPECTED = "expected"
    EXPECTED_THEN_WANTED = "expected, then wanted"


EXPECTING = frozenset({Next.EXPECTED, Next.EXPECTED_THEN_WANTED})
"""The states in which the server may be about to answer by itself."""


class Request(StrEnum):
    NONE = "none"
    ASKED = "asked"
    VOID = "void"
    STALE = "stale"
    REFUSED = "refused"


IN_FLIGHT = frozenset({Request.ASKED, Request.VOID, Request.STALE})
"""The states in which the server has been asked, and has said nothing to it."""


class Happening(StrEnum):
    """The happenings that the tables know."""

    CALLER_BEGINS = "the caller speaks"
    TURN_OVER = "the caller's turn is over, by voice"
    CALLER_WROTE = "the caller's turn came as text, which no server answers by itself"
    DISMISSED = "what was taken for a turn was none"
    RECOVERS = "the answer that this has stopped, or that does not come, is due again"
    LAPSED = "the server did not begin its own answer in time"
    LET_GO = "the call says that the agent may speak"
    INTERRUPTED = "the call stops everything"
    LOST = "an answer to the turn that is open was lost by that"
    CALLED_FOR = "somebody has something to be answered: a tool's result, another session's legacy"
    LEFT_OPEN = "a turn of the caller's turns out to be unanswered"
    SENT = "an answer was asked for"
    OURS_BEGUN = "the answer that was asked for begins"
    ANSWER_BEGUN = "an answer begins that is wanted, to the last turn"
    HEARD = "the caller begins to hear an answer"
    GIVEN_UP = "the call was told that its turn gets no answer: an answer had no words, or was not made"
    FAILED = "the server does not make the answer that was asked for"
    COLLIDED = "the server is at work on another answer"
    ENDED = "a response has ended"
    ENDED_INSTEAD = "the response has ended that came in place of what was asked for"


_H, _N, _R = Happening, Next, Request

TURN: Mapping[tuple[Turn, Happening], Turn] = {
    (Turn.ANSWERED, _H.TURN_OVER): Turn.OPEN,
    (Turn.ANSWERED, _H.CALLER_WROTE): Turn.OPEN,
    (Turn.ANSWERED, _H.LEFT_OPEN): Turn.OPEN,
    (Turn.OPEN, _H.HEARD): Turn.ANSWERED,
    (Turn.OPEN, _H.GIVEN_UP): Turn.ANSWERED,
}

NEXT: Mapping[tuple[Next, Happening], Next] = {
    (_N.NOBODY, _H.CALLED_FOR): _N.WANTED,
    (_N.NOBODY, _H.COLLIDED): _N.WANTED,  # the one in progress may not know of a tool's result
    (_N.NOBODY, _H.LOST): _N.OWED,
    (_N.OWED, _H.LET_GO): _N.WANTED,
    (_N.OWED, _H.RECOVERS): _N.NOBODY,
    (_N.WANTED, _H.SENT): _N.NOBODY,
    (_N.WANTED, _H.INTERRUPTED): _N.NOBODY,
    (_N.EXPECTED, _H.CALLED_FOR): _N.EXPECTED_THEN_WANTED,
    (_N.EXPECTED, _H.COLLIDED): _N.EXPECTED_THEN_WANTED,
    (_N.EXPECTED, _H.CALLER_BEGINS): _N.NOBODY,
    (_N.EXPECTED, _H.ANSWER_BEGUN): _N.NOBODY,
    (_N.EXPECTED, _H.LAPSED): _N.NOBODY,
    (_N.EXPECTED_THEN_WANTED, _H.INTERRUPTED): _N.EXPECTED,
    (_N.EXPECTED_THEN_WANTED, _H.CALLER_BEGINS): _N.WANTED,
    (_N.EXPECTED_THEN_WANTED, _H.ANSWER_BEGUN): _N.WANTED,
    (_N.EXPECTED_THEN_WANTED, _H.LAPSED): _N.WANTED,
}

NEXT_IF_SERVER_ANSWERS: Mapping[tuple[Next, Happening], Next] = {
    **{(state, _H.TURN_OVER): _N.EXPECTED for state in _N},
    (_N.NOBODY, _H.CALLER_WROTE): _N.WANTED,
    (_N.OWED, _H.CALLER_WROTE): _N.WANTED,
    (_N.EXPECTED, _H.CALLER_WROTE): _N.EXPECTED_THEN_WANTED,
}

NEXT_IF_AGENTD_ASKS: Mapping[tuple[Next, Happening], Next] = {
    (_N.NOBODY, _H.TURN_OVER): _N.OWED,
    (_N.NOBODY, _H.CALLER_WROTE): _N.OWED,
    (_N.WANTED, _H.TURN_OVER): _N.OWED,
    (_N.WANTED, _H.CALLER_WROTE): _N.OWED,
}

REQUEST: Mapping[tuple[Request, Happening], Request] = {
    (_R.NONE, _H.SENT): _R.ASKED,
    (_R.ASKED, _H.INTERRUPTED): _R.VOID,
    (_R.VOID, _H.RECOVERS): _R.ASKED,
    (_R.VOID, _H.TURN_OVER): _R.STALE,
    (_R.VOID, _H.CALLER_WROTE): _R.STALE,
    **{(state, _H.OURS_BEGUN): _R.NONE for state in IN_FLIGHT},
    **{(state, _H.FAILED): _R.NONE for state in IN_FLIGHT},
    **{(state, _H.ENDED_INSTEAD): _R.NONE for state in IN_FLIGHT},
    **{(state, _H.COLLIDED): _R.REFUSED for state in IN_FLIGHT},
    # Asking again before something has changed would be refused again, and again.
    (_R.REFUSED, _H.ENDED): _R.NONE,
    (_R.REFUSED, _H.CALLED_FOR): _R.NONE,
    (_R.REFUSED, _H.CALLER_WROTE): _R.NONE,
    (_R.REFUSED, _H.LET_GO): _R.NONE,
    (_R.REFUSED, _H.DISMISSED): _R.NONE,
    (_R.REFUSED, _H.LAPSED): _R.NONE,
}

REQUEST_IF_SERVER_ANSWERS: Mapping[tuple[Request, Happening], Request] = {
    (_R.ASKED, _H.CALLER_BEGINS): _R.VOID,
}

# Rows of two regions, which come first: what was asked for is the answer that is due, and what collided was not wanted.
TOGETHER: Mapping[tuple[Next, Request, Happening], tuple[Next, Request]] = {
    (_N.OWED, _R.VOID, _H.LET_GO): (_N.NOBODY, _R.ASKED),
    **{(state, _R.VOID, _H.COLLIDED): (state, _R.NONE) for state in _N},
    **{(state, _R.STALE, _H.COLLIDED): (state, _R.NONE) for state in _N},
}


@attrs.define
class Asking:
    """The three regions of one session; `happens` is their only way to change."""

    vendor_answers: bool
    turn: Turn = Turn.ANSWERED
    next: Next = Next.NOBODY
    request: Request = Request.NONE

    def happens(self, what: Happening) -> None:
        """Take one happening."""
        self.turn = TURN.get((self.turn, what), self.turn)
        if (both := TOGETHER.get((self.next, self.request, what))) is not None:
            self.next, self.request = both
            return
        next_by_mode = NEXT_IF_SERVER_ANSWERS if self.vendor_answers else NEXT_IF_AGENTD_ASKS
        self.next = next_by_mode.get((self.next, what)) or NEXT.get((self.next, what), self.next)
        if self.vendor_answers and (self.request, what) in REQUEST_IF_SERVER_ANSWERS:
            self.request = REQUEST_IF_SERVER_ANSWERS[self.request, what]
        else:
            self.request = REQUEST.get((self.request, what), self.request)

    @property
    def expecting(self) -> bool:
        """Whether the server may be about to answer by itself."""
        return self.next in EXPECTING

    @property
    def in_flight(self) -> bool:
        """Whether the server has been asked for an answer, and has said nothing to it."""
        return self.request in IN_FLIGHT

    @property
    def asked(self) -> bool:
        """Whether agentd has asked for an answer, or is about to."""
        return self.in_flight or self.next in (Next.WANTED, Next.EXPECTED_THEN_WANTED)
