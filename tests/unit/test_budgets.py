"""What one call may use up."""

import contextvars
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agentd import budgets
from agentd.budgets import Allowance, Budget, count_exceeded, exceeded_counted_by


@given(st.integers(0, 50), st.integers(0, 100))
def test_no_more_is_given_than_there_is_and_each_refusal_is_counted(most: int, asked: int) -> None:
    allowance = Allowance(Budget("sweets", most, "for the teeth", "kept"))
    given_ = [allowance.take() for _ in range(asked)]
    assert given_ == [True] * min(asked, most) + [False] * max(asked - most, 0)
    assert allowance.used + allowance.refused == asked
    assert allowance.spent is (asked > most)


def test_each_budget_has_a_name_of_its_own_and_says_what_becomes_of_what_is_over_it() -> None:
    names = [row.name for row in budgets.TABLE.values()]
    assert len(set(names)) == len(names) >= 7
    assert all(row.most > 0 and row.why and row.over for row in budgets.TABLE.values())


def test_what_is_beyond_a_budget_is_counted_for_the_call_in_which_it_happens() -> None:
    counted: Counter[tuple[str, str]] = Counter()

    def call(name: str, times: int) -> None:
        exceeded_counted_by(lambda budget: counted.update([(name, budget.name)]))
        for _ in range(times):
            count_exceeded(budgets.VENDOR_INBOX)

    count_exceeded(budgets.VENDOR_INBOX)  # out of any call
    for name, times in (("first", 2), ("second", 3)):
        contextvars.copy_context().run(call, name, times)
    count_exceeded(budgets.VENDOR_INBOX)
    assert counted == {("first", "vendor_inbox"): 2, ("second", "vendor_inbox"): 3}
