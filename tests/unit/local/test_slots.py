"""Which slot of the embedded model's server a call asks, so that its conversation is not read anew."""

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.slots import Slots
from agentd_providers.openai.llama_cpp import ANY_SLOT


def ask(slots: Slots, call: str) -> int:
    """A request from its beginning to its end."""
    with slots.asking(call) as slot:
        return slot


def test_a_call_asks_the_slot_that_has_read_its_conversation() -> None:
    slots = Slots(4)
    alice, bob = ask(slots, "alice"), ask(slots, "bob")
    assert alice != bob
    assert [ask(slots, "alice"), ask(slots, "bob"), ask(slots, "alice")] == [alice, bob, alice]


def test_a_request_that_was_given_up_does_not_cost_the_call_its_slot() -> None:
    slots = Slots(2)
    cue = slots.asking("alice")
    first = cue.__enter__()
    cue.__exit__(None, None, None)  # its server may not have noticed yet
    assert ask(slots, "alice") == first


def test_a_second_request_beside_one_that_is_waited_for_asks_another_slot() -> None:
    slots = Slots(2)
    with slots.asking("alice") as answer:
        assert ask(slots, "alice") != answer


def test_one_caller_more_than_slots_takes_the_slot_that_was_asked_longest_ago() -> None:
    slots = Slots(3)
    alice, bob, carol = (ask(slots, call) for call in ("alice", "bob", "carol"))
    assert ask(slots, "alice") == alice
    assert ask(slots, "dave") == bob
    assert ask(slots, "carol") == carol
    assert ask(slots, "bob") == alice


def test_where_answers_are_waited_for_in_all_slots_the_server_chooses() -> None:
    slots = Slots(1)
    with slots.asking("alice"):
        assert ask(slots, "bob") == ANY_SLOT
        assert ask(slots, "alice") == ANY_SLOT
    assert ask(slots, "bob") == 0


def test_without_slots_the_server_chooses() -> None:
    assert ask(Slots(0), "alice") == ANY_SLOT


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=30))
def test_nobody_is_sent_to_a_slot_where_an_answer_is_waited_for_and_with_enough_slots_nobody_loses_theirs(
    count: int, requests: list[tuple[str, bool]]
) -> None:
    slots, first, busy = Slots(count), dict[str, int](), set[int]()
    with ExitStack() as waiting:
        for call, stays in requests:
            slot = slots.choose(call)
            assert slot not in busy
            assert (slot == ANY_SLOT) is (len(busy) == count)
            if len({asked for asked, _ in requests}) <= count and not busy:
                assert first.setdefault(call, slot) == slot
            if stays:
                waiting.enter_context(slots.asking(call))
                busy |= {slot} - {ANY_SLOT}
            else:
                ask(slots, call)
