"""What is to be done, by one listing and what calls own: pure."""

from collections.abc import Set

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.ari.events import Channel
from agentd.ari.reconciliation import Fate, Listing, Owned, Work, decide, fate, is_leg, leg_id

APP = "agentd"
CALLER, OTHER = "1700000000.1", "1700000000.2"


@pytest.mark.parametrize(
    ("channel", "becomes"),
    [
        (Channel("1700000000.1", application="agentd"), Fate.HAND_BACK),
        (Channel("1700000000.1", application="agentd-2"), Fate.LEAVE_ALONE),
        (Channel("1700000000.1", application=""), Fate.LEAVE_ALONE),
        (Channel("1700000000.1", application=None), Fate.LEAVE_ALONE),
        (Channel("agentd-leg-media-00ff", application="agentd"), Fate.REMOVE),
        (Channel("agentd-leg-snoop-00ff", application="agentd"), Fate.REMOVE),
        (Channel("agentd-leg-far-00ff", application=""), Fate.REMOVE),
        (Channel("agentd-2-leg-media-00ff", application="agentd-2"), Fate.LEAVE_ALONE),
        (Channel("agentd-doctor-12345678-media", application="agentd-doctor-12345678"), Fate.LEAVE_ALONE),
    ],
)
def test_callers_go_on_legs_go_and_all_else_is_left_alone(channel: Channel, becomes: Fate) -> None:
    assert fate(channel, APP) is becomes


def test_a_leg_is_known_by_its_id() -> None:
    assert is_leg(APP, leg_id(APP, "bridge", "00ff"))
    assert not is_leg(APP, leg_id("agentd-2", "bridge", "00ff"))
    assert not is_leg(APP, CALLER)


def listing(*channels: Channel, bridges: Set[str] = frozenset(), subscribed: Set[str] = frozenset()) -> Listing:
    return Listing({channel.id: channel for channel in channels}, bridges, subscribed)


def here(channel: str) -> Channel:
    return Channel(channel, application=APP)


def elsewhere(channel: str) -> Channel:
    return Channel(channel, application="")


def serving(*callers: str) -> Owned:
    return Owned(callers=frozenset(callers))


def judged(found: Listing, owned: Owned, suspects: Set[str] = frozenset()) -> Work:
    return decide(APP, found, owned, owned, suspects)


# --- callers of calls


def test_a_caller_who_is_there_and_heard_of_is_left_in_peace() -> None:
    assert judged(listing(here(CALLER), subscribed={CALLER}), serving(CALLER)) == Work()


def test_a_caller_whose_channel_is_gone_has_left() -> None:
    assert judged(listing(), serving(CALLER)).left == {CALLER}


def test_a_caller_who_is_in_no_application_has_left_once_that_was_seen_twice() -> None:
    first = judged(listing(elsewhere(CALLER)), serving(CALLER))
    assert (first.left, first.suspects) == (set(), {CALLER})
    assert judged(listing(elsewhere(CALLER)), serving(CALLER), first.suspects).left == {CALLER}
    assert judged(listing(here(CALLER), subscribed={CALLER}), serving(CALLER), first.suspects) == Work()


def test_a_caller_whose_channel_does_not_tell_is_taken_by_its_subscription() -> None:
    silent = Channel(CALLER, application=None)
    assert judged(listing(silent, subscribed={CALLER}), serving(CALLER)) == Work()
    assert judged(listing(silent), serving(CALLER)).suspects == {CALLER}


def test_a_caller_whose_events_do_not_come_is_watched_again() -> None:
    assert judged(listing(here(CALLER)), serving(CALLER)).watch == {CALLER}


def test_a_caller_who_came_while_the_listing_was_made_is_not_missed_in_it() -> None:
    assert decide(APP, listing(), Owned(), serving(CALLER)) == Work()
    assert decide(APP, listing(), serving(CALLER), Owned()) == Work(), "and one who left meanwhile is nobody's affair"


# --- what nobody owns


def test_a_caller_in_the_application_whom_no_call_owns_goes_on_once_that_was_seen_twice() -> None:
    first = judged(listing(here(CALLER)), Owned())
    assert (first.hand_back, first.suspects) == (set(), {CALLER})
    assert judged(listing(here(CALLER)), Owned(), first.suspects).hand_back == {CALLER}
    assert judged(listing(elsewhere(CALLER)), Owned(), first.suspects) == Work()


def test_legs_that_nobody_owns_go_at_once() -> None:
    media, bridge = leg_id(APP, "media", "1"), leg_id(APP, "bridge", "1")
    work = judged(listing(here(media), bridges={bridge, "a-conference"}), Owned())
    assert (work.channels, work.bridges) == ({media}, {bridge})
    assert judged(listing(here(media), bridges={bridge}), Owned(parts={media, bridge})) == Work()


# --- what is owed


def test_nothing_is_owed_to_a_channel_that_is_gone_or_has_been_elsewhere_twice() -> None:
    owed = Owned(owed={CALLER, OTHER})
    first = judged(listing(elsewhere(OTHER)), owed)
    assert first.paid == {CALLER}
    assert judged(listing(elsewhere(OTHER)), Owned(owed={OTHER}), first.suspects).paid == {OTHER}


def test_a_caller_to_whom_a_hand_back_is_owed_is_no_orphan() -> None:
    assert judged(listing(here(CALLER)), Owned(owed={CALLER}), {CALLER}) == Work()


# --- another program's


def test_while_the_application_is_another_s_only_our_own_callers_are_looked_after() -> None:
    found = listing(here(OTHER), here(leg_id(APP, "media", "1")), bridges={leg_id(APP, "bridge", "1")})
    work = decide(APP, found, serving(CALLER), serving(CALLER), {OTHER}, ours=False)
    assert work == Work(left={CALLER})


# --- whatever there is

ids = st.sampled_from([f"1700000000.{n}" for n in range(6)] + [leg_id(APP, part, "1") for part in ("media", "far")])
some = st.frozensets(ids)
channels = st.builds(Channel, ids, application=st.sampled_from([APP, "another", "", None]))
listings = st.builds(
    lambda found, bridges, subscribed: listing(*found, bridges=bridges, subscribed=subscribed),
    st.lists(channels),
    st.frozensets(st.sampled_from([leg_id(APP, "bridge", "1"), leg_id(APP, "bridge", "2"), "a-conference"])),
    some,
)
owned = st.builds(Owned, some, st.frozensets(st.sampled_from([*(f"1700000000.{n}" for n in range(3)), "b"])), some)


@given(listings, owned, owned, some, st.booleans())
def test_what_is_accounted_for_is_never_touched_and_nothing_is_decided_by_one_doubtful_look(
    found: Listing, before: Owned, after: Owned, suspects: frozenset[str], ours: bool
) -> None:
    work = decide(APP, found, before, after, suspects, ours=ours)
    for object_id in work.hand_back | work.channels | work.bridges:
        assert object_id not in before
        assert object_id not in after
        assert ours
    assert work.hand_back <= suspects
    assert work.left <= before.callers & after.callers
    assert work.paid <= before.owed & after.owed
    for channel in work.left | work.paid:
        assert channel not in found.channels or channel in suspects
    assert not work.suspects & suspects, "what was seen twice is decided"
    assert not work.left & work.watch


@given(listings, owned)
def test_two_looks_at_the_same_leave_nothing_undecided(found: Listing, accounted: Owned) -> None:
    first = judged(found, accounted)
    second = judged(found, accounted, first.suspects)
    assert not second.suspects - first.suspects
    left = first.left | second.left | first.paid | second.paid | second.hand_back
    for caller in accounted.callers | accounted.owed:
        assert (caller in left) is not found.in_application(caller, APP)
    for channel in found.channels.values():
        if channel.id not in accounted and fate(channel, APP) is Fate.HAND_BACK:
            assert channel.id in second.hand_back


@given(listings, owned, some)
def test_an_empty_pbx_ends_all_calls_and_all_debts(found: Listing, accounted: Owned, suspects: frozenset[str]) -> None:
    work = judged(attrs.evolve(found, channels={}, bridges=frozenset()), accounted, suspects)
    assert (work.left, work.paid) == (accounted.callers, accounted.owed)
    assert not work.hand_back | work.channels | work.bridges | work.watch
