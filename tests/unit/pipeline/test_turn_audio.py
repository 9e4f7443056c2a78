"""What of a turn's audio its judge hears: the end of it, without the long pauses."""

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.pipeline.turn_audio import JUDGED_SECONDS, KEPT_MS, TurnAudio

RATE = 8000
MS = RATE // 1000 * 2


def spoken(ms: int, mark: int) -> bytes:
    return bytes([mark]) * (ms * MS)


def test_a_pause_in_a_turn_is_shortened_to_a_breath_on_either_side() -> None:
    turn = TurnAudio(RATE)
    turn.feed(spoken(500, 1) + bytes(96 * MS))
    turn.pause()
    turn.feed(bytes(1000 * MS) + spoken(64, 2))
    turn.resume(64)
    turn.feed(spoken(300, 2))
    assert turn.pcm == spoken(500, 1) + bytes((96 + KEPT_MS) * MS) + spoken(364, 2)


def test_a_short_pause_stays_as_it_was() -> None:
    turn = TurnAudio(RATE)
    turn.feed(spoken(500, 1))
    turn.pause()
    turn.feed(bytes(60 * MS) + spoken(64, 2))
    turn.resume(64)
    assert turn.pcm == spoken(500, 1) + bytes(60 * MS) + spoken(64, 2)


def test_a_new_turn_begins_with_nothing() -> None:
    turn = TurnAudio(RATE)
    turn.feed(spoken(500, 1))
    turn.clear()
    assert turn.pcm == b""


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(97, 6000)), max_size=6))
def test_it_never_holds_more_than_the_judge_hears_nor_half_a_sample(parts: list[tuple[int, int]]) -> None:
    turn = TurnAudio(RATE)
    for speech, pause in parts:
        turn.feed(spoken(speech, 1))
        turn.pause()
        turn.feed(bytes(pause * MS) + spoken(64, 1))
        turn.resume(64)
        assert len(turn.pcm) <= JUDGED_SECONDS * RATE * 2
        assert len(turn.pcm) % 2 == 0
        assert turn.pcm.endswith(spoken(64, 1)), "what was just said is there"
