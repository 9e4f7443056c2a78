"""What is done about news of a channel, whatever is known of it: each row of the table, and the events that lead there.

The events are Asterisk 22.10.1's, as they came of attended transfers in the lab (tests/e2e/test_transfers.py).
"""

from itertools import product

import pytest

from agentd.ari.events import (
    Channel,
    ChannelDestroyed,
    DtmfReceived,
    Event,
    Hold,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
    VarSet,
)
from agentd.ari.hand_back import RETURN
from agentd.ari.whereabouts import REMEMBERED, TABLE, Decision, Deed, Known, News, Origin, Whereabouts
from agentd.conversation.commands import Destination

ALICE, BOB, CAROL = "1700000000.1", "1700000000.2", "1700000000.3"
SALES = ("agent=sales", "media=fork", "fallback=queue-sales|s|1")
BEGIN, INHERIT, TAKE_OVER, END, TELL, SUCCESSOR, IGNORE, ASK = Deed


def caller(channel: str = ALICE, extension: str = "7002") -> Channel:
    """A channel that runs Stasis(agentd,...) at priority 2 of the subroutine."""
    return Channel(
        channel,
        extension=extension,
        application="agentd",
        place=Destination("agentd-call", extension, 2),
        arguments=SALES,
    )


def local(channel: str = BOB) -> Channel:
    """The channel that Asterisk makes for an attended transfer of a bridged one."""
    return Channel(
        channel,
        "Local/_attended@transfer-00000000;2",
        extension="",
        application="agentd",
        place=Destination("transfer", "_attended", 1),
    )


def enters(channel: str = ALICE, at: float | None = 10.0) -> StasisStart:
    return StasisStart(caller(channel), SALES, at)


def takes_place(channel: str = BOB, replaced: str = ALICE, at: float | None = 20.0) -> StasisStart:
    return StasisStart(local(channel), (), at, caller(replaced))


def leaves(channel: str = ALICE, at: float | None = 21.0) -> StasisEnd:
    return StasisEnd(caller(channel), at)


def is_destroyed(channel: str = ALICE) -> ChannelDestroyed:
    return ChannelDestroyed(caller(channel), 16)


def presses(channel: str = ALICE) -> DtmfReceived:
    return DtmfReceived(Channel(channel), "5")


def is_played(channel: str = ALICE) -> PlaybackFinished:
    return PlaybackFinished("agentd-play-1", Channel(channel), "done")


def after(*events: Event) -> Whereabouts:
    whereabouts = Whereabouts()
    for event in events:
        whereabouts.take(event)
    return whereabouts


SO_FAR: dict[Known, tuple[Event, ...]] = {
    Known.NOTHING: (),
    Known.IN: (enters(),),
    Known.OUT: (enters(), leaves()),
    Known.REPLACED: (enters(), takes_place(BOB), leaves()),
}
"""What leads to each thing that may be known of Alice."""
ROWS: dict[News, tuple[Event, tuple[Deed | None, Deed | None, Deed | None, Deed | None]]] = {
    # news: an event of Alice's with that news, and what is done about it as long as she is not known, in, out, replaced
    News.ENTERED: (enters(at=30.0), (BEGIN, BEGIN, BEGIN, BEGIN)),
    News.TOOK_PLACE: (takes_place(CAROL, at=30.0), (INHERIT, TAKE_OVER, INHERIT, INHERIT)),
    News.REPEATED: (enters(), (None, IGNORE, IGNORE, IGNORE)),
    News.OUTDATED: (leaves(at=9.0), (None, ASK, ASK, ASK)),
    News.LEFT: (leaves(at=30.0), (END, END, IGNORE, IGNORE)),
    News.DESTROYED: (is_destroyed(), (END, END, END, IGNORE)),
    News.PLAYED: (is_played(), (TELL, TELL, TELL, SUCCESSOR)),
    News.OTHER: (presses(), (TELL, TELL, IGNORE, IGNORE)),
}


@pytest.mark.parametrize(("news", "known"), list(product(News, Known)))
def test_each_row_of_the_table(news: News, known: Known) -> None:
    event, deeds = ROWS[news]
    deed = dict(zip(Known, deeds, strict=True))[known]
    whereabouts = after(*SO_FAR[known])
    assert whereabouts.known(ALICE) is known
    if deed is None:  # nothing can be repeated or out of date of which nothing is known
        assert whereabouts.take(event).deed in (BEGIN, END)
    else:
        assert TABLE[news][known] is deed
        assert whereabouts.take(event).deed is deed


def test_the_table_has_all_rows() -> None:
    assert set(TABLE) == set(News) == set(ROWS)
    assert all(set(row) == set(Known) for row in TABLE.values())


@pytest.mark.parametrize(
    "event",
    [
        presses(),
        Hold(Channel(ALICE), True),
        VarSet(Channel(ALICE), "X", "y"),
        PlaybackStarted("agentd-play-1", Channel(ALICE)),
    ],
)
def test_what_a_channel_tells_reaches_the_call_that_has_it(event: Event) -> None:
    assert after(enters()).take(event) == Decision(TELL, event, ALICE)


# --- twice, and in another order


def test_the_same_start_twice_is_one_call() -> None:
    whereabouts = after(enters())
    assert whereabouts.take(enters()).deed is IGNORE
    assert whereabouts.known(ALICE) is Known.IN


def test_the_same_start_again_when_the_stay_is_over_is_no_call() -> None:
    whereabouts = after(enters(), leaves())
    assert whereabouts.take(enters()).deed is IGNORE
    assert whereabouts.known(ALICE) is Known.OUT


def test_a_second_start_without_an_end_is_another_stay() -> None:
    whereabouts = after(enters())
    assert whereabouts.take(enters(at=12.0)).deed is BEGIN


def test_the_end_of_the_stay_before_does_not_end_this_one() -> None:
    """Transferred to an extension of agentd's: end and start in the wrong order."""
    whereabouts = after(enters(), enters(at=12.0))
    assert whereabouts.take(leaves(at=11.9)).deed is ASK
    assert whereabouts.known(ALICE) is Known.IN
    assert whereabouts.take(leaves(at=14.0)).deed is END


def test_a_start_from_before_this_stay_begins_none() -> None:
    whereabouts = after(enters(at=12.0))
    assert whereabouts.take(enters(at=10.0)).deed is ASK
    assert whereabouts.known(ALICE) is Known.IN


def test_events_without_a_time_are_taken_at_their_word() -> None:
    whereabouts = after(enters(at=None))
    assert whereabouts.take(enters(at=None)).deed is BEGIN
    assert whereabouts.take(leaves(at=None)).deed is END


# --- an attended transfer


def test_the_channel_that_takes_the_place_inherits_arguments_extension_and_way_back() -> None:
    whereabouts = after(enters())
    decision = whereabouts.take(takes_place())
    assert (decision.deed, decision.channel, decision.replaced) == (TAKE_OVER, BOB, ALICE)
    assert isinstance(decision.event, StasisStart)
    assert decision.event.args == SALES
    assert decision.event.channel.extension == "7002"
    assert whereabouts.origin(BOB) == Origin(Destination("agentd-call", "7002", 3), "queue-sales,s,1")


def test_a_channel_that_came_by_itself_goes_on_where_asterisk_knows() -> None:
    assert after(enters()).origin(ALICE) is None


@pytest.mark.parametrize("before", [(), (enters(), leaves())])
def test_the_place_of_one_that_is_gone_is_taken_by_a_call_of_its_own_that_inherits(before: tuple[Event, ...]) -> None:
    """Also where nothing is known: agentd was not there when the other one entered."""
    whereabouts = after(*before)
    decision = whereabouts.take(takes_place())
    assert isinstance(decision.event, StasisStart)
    assert (decision.deed, decision.event.args) == (INHERIT, SALES)
    assert decision.event.channel.extension == "7002"
    assert whereabouts.origin(BOB) == Origin(Destination("agentd-call", "7002", 3), "queue-sales,s,1")


def test_the_one_that_was_replaced_leaves_without_touching_the_one_that_goes_on() -> None:
    whereabouts = after(enters(), takes_place())
    for event in (leaves(), is_destroyed(), presses()):
        assert whereabouts.take(event).deed is IGNORE
    assert whereabouts.known(BOB) is Known.IN
    assert whereabouts.take(presses(BOB)).deed is TELL


def test_the_same_transfer_twice_is_one() -> None:
    whereabouts = after(enters(), takes_place())
    assert whereabouts.take(takes_place()).deed is IGNORE
    assert whereabouts.known(BOB) is Known.IN


def test_transferred_once_more_it_is_still_the_first_one_s_way_back() -> None:
    whereabouts = after(enters(), takes_place(), leaves())
    decision = whereabouts.take(StasisStart(local(CAROL), (), 40.0, local(BOB)))
    assert (decision.deed, decision.replaced) == (TAKE_OVER, BOB)
    assert isinstance(decision.event, StasisStart)
    assert decision.event.args == SALES
    assert whereabouts.origin(CAROL) == Origin(Destination("agentd-call", "7002", 3), "queue-sales,s,1")
    assert whereabouts.take(is_played(ALICE)) == Decision(SUCCESSOR, is_played(ALICE), CAROL)


def test_who_takes_the_place_of_a_successor_that_was_not_told_of_goes_on_as_all_who_come_back() -> None:
    """It was sent on to the place after that of the Local channel, where no dialplan is, and hung up."""
    whereabouts = Whereabouts()
    assert whereabouts.take(StasisStart(local(CAROL), (), 40.0, local(BOB))).deed is INHERIT
    assert whereabouts.origin(CAROL) == Origin(RETURN, "")


def test_a_channel_that_comes_back_by_itself_has_no_way_back_but_its_own() -> None:
    whereabouts = after(enters(), takes_place(), StasisEnd(local(BOB), 30.0), enters(BOB, 50.0))
    assert whereabouts.origin(BOB) is None


def test_two_that_took_each_other_s_place_are_no_endless_chain() -> None:
    whereabouts = after(
        enters(), takes_place(BOB, ALICE, 20.0), takes_place(ALICE, BOB, 30.0), takes_place(BOB, ALICE, 40.0)
    )
    assert whereabouts.take(is_played(ALICE)).channel == BOB


def test_a_channel_that_replaces_itself_is_one_that_enters() -> None:
    assert Whereabouts().take(takes_place(ALICE, ALICE)).deed is BEGIN


def test_what_is_known_is_bounded() -> None:
    whereabouts = Whereabouts()
    for number in range(REMEMBERED + 10):
        whereabouts.take(enters(f"1700000000.{number}"))
    assert whereabouts.known("1700000000.9") is Known.NOTHING
    assert whereabouts.known("1700000000.10") is Known.IN
    assert len(whereabouts._stays) == REMEMBERED
