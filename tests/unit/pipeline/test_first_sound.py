"""What a judge of sounds is given."""

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.pipeline.first_sound import BEFORE_MS, LONGEST_MS, FirstSound

RATE = 8000


def ms(milliseconds: int, value: int) -> bytes:
    return bytes([value, 0]) * (RATE * milliseconds // 1000)


def test_a_sound_has_a_little_before_it() -> None:
    sound = FirstSound(RATE)
    sound.feed(ms(1000, 1))
    sound.begin()
    sound.feed(ms(200, 2))
    assert sound.pcm == ms(BEFORE_MS, 1) + ms(200, 2)
    assert sound.begun == len(ms(BEFORE_MS, 1))


def test_a_call_that_has_just_begun_has_less() -> None:
    sound = FirstSound(RATE)
    sound.feed(ms(40, 1))
    sound.begin()
    assert (sound.pcm, sound.begun) == (ms(40, 1), len(ms(40, 1)))


@given(st.lists(st.integers(0, 400), max_size=20))
def test_no_more_is_kept_than_is_needed(lengths: list[int]) -> None:
    sound = FirstSound(RATE)
    sound.begin()
    for length in lengths:
        sound.feed(ms(length, 1))
    assert len(sound.pcm) == min(sum(lengths), LONGEST_MS) * RATE // 1000 * 2


def test_the_next_sound_is_another() -> None:
    sound = FirstSound(RATE)
    sound.feed(ms(1000, 1))
    sound.begin()
    sound.feed(ms(1000, 2))
    sound.begin()
    assert sound.pcm == ms(BEFORE_MS, 2)
