"""A key press that is reported twice counts once."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.media.dtmf import AT_ONCE, DIGITS, PER_SECOND, DigitFilter, DigitSource

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

SIGNALLING, MEDIA = DigitSource
keys = st.text("0123456789*#ABCD", max_size=12)


def accepted(reports: list[tuple[DigitSource, str, float]], digits: DigitFilter | None = None) -> str:
    digits = digits or DigitFilter()
    return "".join(digit for source, digit, at in reports if digits.accept(source, digit, at))


@unhurried
@given(keys, st.data())
def test_any_interleaving_of_both_sources_gives_the_keys_as_they_were_pressed(
    pressed: str, data: st.DataObject
) -> None:
    waiting = {SIGNALLING: list(pressed), MEDIA: list(pressed)}
    reports = []
    now = 0.0
    while sources := [source for source in DigitSource if waiting[source]]:
        source = data.draw(st.sampled_from(sources))
        now += data.draw(st.floats(0, 2.0 / 24))  # so that all reports fall into one window
        reports.append((source, waiting[source].pop(0), now))
    assert accepted(reports) == pressed


@unhurried
@given(keys, st.sampled_from(DigitSource), st.floats(0, 3))
def test_where_only_one_source_reports_every_key_counts(pressed: str, source: DigitSource, pause: float) -> None:
    assert accepted([(source, key, index * pause) for index, key in enumerate(pressed)]) == pressed


@unhurried
@given(keys, st.sampled_from(DigitSource), st.floats(0, 1.9))
def test_the_second_source_may_be_late_by_less_than_the_window(pressed: str, first: DigitSource, late: float) -> None:
    second = MEDIA if first is SIGNALLING else SIGNALLING
    reports = [(first, key, index * 5.0) for index, key in enumerate(pressed)]
    reports += [(second, key, index * 5.0 + late) for index, key in enumerate(pressed)]
    assert accepted(sorted(reports, key=lambda report: report[2])) == pressed


def test_the_same_key_twice_in_quick_succession_is_two_digits() -> None:
    assert accepted([(SIGNALLING, "5", 0.00), (SIGNALLING, "5", 0.15), (MEDIA, "5", 0.16), (MEDIA, "5", 0.17)]) == "55"


def test_the_third_report_of_a_digit_is_a_key_press_of_its_own() -> None:
    assert accepted([(SIGNALLING, "5", 0.0), (MEDIA, "5", 0.1), (MEDIA, "5", 0.2)]) == "55"


def test_a_report_after_the_window_is_a_key_press_of_its_own() -> None:
    assert accepted([(SIGNALLING, "5", 0.0), (MEDIA, "5", 2.0)]) == "5"
    assert accepted([(SIGNALLING, "5", 0.0), (MEDIA, "5", 2.01)]) == "55"


def test_the_window_can_be_chosen() -> None:
    assert accepted([(SIGNALLING, "5", 0.0), (MEDIA, "5", 0.3)], DigitFilter(window=0.2)) == "55"


@pytest.mark.parametrize("nonsense", ["", "E", "55", "é", "\n"])
def test_what_is_no_digit_is_not_accepted_and_pairs_with_nothing(nonsense: str) -> None:
    digits = DigitFilter()
    assert not digits.accept(SIGNALLING, nonsense, 0.0)
    assert not digits.accept(MEDIA, nonsense, 0.0)


def test_the_sixteen_digits_of_dtmf_are_known() -> None:
    assert len(DIGITS) == 16


def test_reports_without_a_partner_are_forgotten_with_the_window() -> None:
    digits = DigitFilter()
    for tick in range(1000):
        assert digits.accept(SIGNALLING, "5", tick * 0.5)
    assert sum(map(len, digits._unpaired.values())) <= 5


@pytest.mark.parametrize("sources", [(MEDIA,), (SIGNALLING,), (SIGNALLING, MEDIA)])
def test_a_flood_of_digits_gave_another_call_a_gap_of_864_ms(sources: tuple[DigitSource, ...]) -> None:
    """Each report went through all of the last two seconds' reports."""
    digits, keys = DigitFilter(), "0123456789"
    taken = 0
    for tick in range(20_000):  # a second
        taken += digits.accept(sources[tick % len(sources)], keys[tick * 7 // 3 % 10], tick / 20_000)
        assert sum(map(len, digits._unpaired.values())) <= AT_ONCE + 2 * PER_SECOND
    assert taken <= AT_ONCE + PER_SECOND


def test_a_long_number_that_a_machine_dials_is_taken_whole() -> None:
    number = "0049301234567890123456789012345678901234"
    assert accepted([(MEDIA, digit, at * 0.02) for at, digit in enumerate(number)]) == number


def test_keys_go_on_to_count_after_a_flood() -> None:
    digits = DigitFilter()
    for _ in range(1000):
        digits.accept(MEDIA, "1", 0.0)
    assert not digits.accept(MEDIA, "5", 0.01)
    assert digits.accept(MEDIA, "5", 0.2)
