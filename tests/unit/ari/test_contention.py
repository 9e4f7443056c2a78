"""Two programs want one application: how long the loser leaves it alone. Pure."""

from itertools import pairwise

from agentd.ari.contention import FIRST_PAUSE, LONGEST_PAUSE, PEACE, Contention


def test_each_loss_without_peace_between_is_answered_with_more_patience() -> None:
    contention, now = Contention(), 0.0
    pauses = []
    for _ in range(8):
        contention.held(now)
        now += 30.0
        pauses.append(contention.lost(now))
        now += pauses[-1]
    assert pauses[0] == FIRST_PAUSE
    assert pauses[-1] == LONGEST_PAUSE
    assert all(later >= earlier for earlier, later in pairwise(pauses))


def test_two_who_do_the_same_exchange_it_a_few_times_an_hour_at_most() -> None:
    both, now, exchanges = (Contention(), Contention()), 0.0, 0
    both[0].held(now)
    while now < 24 * 3600.0:
        winner, loser = both[(exchanges + 1) % 2], both[exchanges % 2]
        winner.held(now)
        now += loser.lost(now)
        exchanges += 1
    assert exchanges < 24 * 3600 / LONGEST_PAUSE + 10


def test_after_a_long_peace_a_loss_is_the_first_one() -> None:
    contention = Contention()
    for _ in range(5):
        contention.lost(0.0)
    contention.held(0.0)
    assert contention.lost(PEACE) == FIRST_PAUSE


def test_peace_lasts_longer_than_the_other_one_s_patience() -> None:
    assert PEACE > LONGEST_PAUSE
