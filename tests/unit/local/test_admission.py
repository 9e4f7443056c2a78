"""Which requests the embedded model's server computes at once, and which begins next."""

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.admission import Admission, Request


@attrs.define(eq=False)
class Asking:
    """Requests by name, and which of them were let in, one after the other."""

    admission: Admission
    let_in: list[str] = attrs.field(factory=list)
    asked_to_leave: list[str] = attrs.field(factory=list)
    requests: dict[str, Request] = attrs.field(factory=dict)

    def ask(self, name: str, *, now: float = 0.0, leeway: float = 0.0) -> None:
        self.requests[name] = self.admission.ask(
            now, now + leeway, self._noting(name), lambda: self.asked_to_leave.append(name)
        )

    def leave(self, name: str, *, now: float = 0.0) -> None:
        self.admission.leave(self.requests.pop(name), now)

    def _noting(self, name: str) -> Callable[[], None]:
        return lambda: self.let_in.append(name)


def asking(most: int) -> Asking:
    return Asking(Admission(most))


def test_requests_begin_at_once_while_there_is_room_and_then_in_their_order() -> None:
    model = asking(2)
    for name in "abcd":
        model.ask(name)
    assert model.let_in == ["a", "b"]
    model.leave("b")
    model.leave("a")
    assert model.let_in == ["a", "b", "c", "d"]


def test_what_is_wanted_at_once_goes_before_what_can_wait_though_it_came_later() -> None:
    model = asking(1)
    model.ask("computed")
    model.ask("rest", leeway=0.3)
    model.ask("first words", now=0.1)
    model.leave("computed", now=0.2)
    assert model.let_in == ["computed", "first words"]
    model.leave("first words", now=0.25)
    assert model.let_in == ["computed", "first words", "rest"]


def test_what_has_waited_for_as_long_as_it_can_goes_before_what_came_after_that() -> None:
    model = asking(1)
    model.ask("computed")
    model.ask("rest", leeway=0.3)
    model.ask("first words", now=0.4)
    model.leave("computed", now=0.5)
    assert model.let_in == ["computed", "rest"]


def test_what_can_wait_leaves_a_place_for_what_is_wanted_at_once() -> None:
    model = asking(2)
    model.ask("rest", leeway=0.3)
    model.ask("doubtful", leeway=0.4)
    assert model.let_in == ["rest"]
    model.ask("first words", now=0.1)
    assert model.let_in == ["rest", "first words"]
    model.leave("first words", now=0.2)
    assert model.let_in == ["rest", "first words"]
    model.leave("rest", now=0.3)
    assert model.let_in == ["rest", "first words", "doubtful"]


def test_what_cannot_wait_any_longer_takes_the_last_place_too() -> None:
    model = asking(2)
    model.ask("rest", leeway=0.3)
    model.ask("doubtful", leeway=0.4)
    model.ask("another", now=0.5)
    assert model.let_in == ["rest", "doubtful"]


def test_what_can_wait_steps_aside_for_what_is_wanted_at_once_though_there_is_a_place() -> None:
    model = asking(3)
    model.ask("rest", leeway=0.3)
    model.ask("doubtful", leeway=0.4)
    assert model.asked_to_leave == []
    model.ask("first words", now=0.1)
    assert model.let_in == ["rest", "doubtful", "first words"]
    assert sorted(model.asked_to_leave) == ["doubtful", "rest"]
    model.ask("others", now=0.2)
    assert len(model.asked_to_leave) == 2, "it has been told"


def test_what_can_wait_no_longer_stays_where_it_is() -> None:
    model = asking(3)
    model.ask("rest", leeway=0.3)
    model.ask("doubtful", leeway=0.4)
    model.ask("first words", now=0.35)
    assert model.asked_to_leave == ["doubtful"]


def test_what_can_wait_is_not_computed_beside_what_is_wanted_at_once_until_it_can_wait_no_longer() -> None:
    model = asking(3)
    model.ask("first words")
    model.ask("doubtful", leeway=0.4)
    model.admission.look(now=0.3)
    assert model.let_in == ["first words"]
    model.admission.look(now=0.4)
    assert model.let_in == ["first words", "doubtful"]
    assert model.asked_to_leave == []


def test_a_request_that_is_given_up_while_it_waits_is_never_let_in() -> None:
    model = asking(1)
    for name in "abc":
        model.ask(name)
    model.leave("b")
    model.leave("a")
    assert model.let_in == ["a", "c"]


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0, 0.2), st.sampled_from([0.0, 0.0, 0.3, 0.4]), st.booleans()), max_size=30),
)
def test_never_more_than_so_many_are_let_in_and_all_are_in_the_end(
    most: int, steps: list[tuple[float, float, bool]]
) -> None:
    model, now = asking(most), 0.0
    for number, (pause, leeway, somebody_leaves) in enumerate(steps):
        now += pause
        model.ask(str(number), now=now, leeway=leeway)
        if somebody_leaves:
            model.leave(next(name for name in model.let_in if name in model.requests), now=now)
        computed = [name for name in model.requests if model.requests[name].begun]
        assert len(computed) <= most
        waiting = [request for request in model.requests.values() if not request.begun]
        if len(computed) < most:
            assert all(request.due > now - pause for request in waiting), "a place is free for who cannot wait"
    while model.requests:
        model.leave(next(name for name in model.let_in if name in model.requests), now=now)
    assert sorted(model.let_in, key=int) == [str(number) for number in range(len(steps))]
    assert len(set(model.let_in)) == len(model.let_in)
