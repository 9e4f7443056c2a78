"""Between the agent and the caller's ear: bounded in seconds, and emptied by an interruption."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.agent import Audio, Chunk, SegmentStart, UtteranceEnd
from agentd.playout import PlayoutBuffer, UtteranceStream

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

RATE = 8000


def audio(seconds: float, utterance: int = 1, generation: int = 0) -> Audio:
    return Audio(generation, utterance, bytes(int(seconds * RATE) * 2), RATE)


async def read(stream: UtteranceStream) -> list[Chunk]:
    chunks: list[Chunk] = []
    while (chunk := await stream.next()) is not None:
        chunks.append(chunk)
    return chunks


async def put_all(buffer: PlayoutBuffer, *chunks: Chunk) -> None:
    for chunk in chunks:
        await buffer.put(chunk)


async def test_an_utterance_comes_out_as_it_went_in_without_its_end_mark() -> None:
    buffer = PlayoutBuffer()
    spoken: list[Chunk] = [SegmentStart(0, 1, "Hello,"), audio(0.5), SegmentStart(0, 1, "there."), audio(0.25)]
    await put_all(buffer, *spoken, UtteranceEnd(0, 1))
    stream = await buffer.next_utterance()
    assert (stream.utterance, stream.generation) == (1, 0)
    assert await read(stream) == spoken
    assert buffer.empty
    assert not stream.interrupted


async def test_utterances_come_out_one_after_the_other() -> None:
    buffer = PlayoutBuffer()
    for utterance in (1, 2, 3):
        await put_all(buffer, audio(0.1, utterance), UtteranceEnd(0, utterance))
    for utterance in (1, 2, 3):
        assert await read(await buffer.next_utterance()) == [audio(0.1, utterance)]


async def test_an_utterance_may_be_heard_while_it_is_still_being_made() -> None:
    buffer = PlayoutBuffer()
    heard: list[Chunk] = []

    async def listen() -> None:
        heard.extend(await read(await buffer.next_utterance()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        await buffer.put(SegmentStart(0, 1, "Well,"))
        await wait_all_tasks_blocked()
        await buffer.put(audio(0.1))
        await wait_all_tasks_blocked()
        await buffer.put(UtteranceEnd(0, 1))
    assert heard == [SegmentStart(0, 1, "Well,"), audio(0.1)]


async def test_an_utterance_that_brought_nothing_is_passed_over() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, UtteranceEnd(0, 1), audio(0.1, 2), UtteranceEnd(0, 2))
    assert (await buffer.next_utterance()).utterance == 2


async def test_an_utterance_without_an_end_mark_ends_where_the_next_begins() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, audio(0.1, 1), audio(0.2, 2), UtteranceEnd(0, 2))
    assert await read(await buffer.next_utterance()) == [audio(0.1, 1)]
    assert await read(await buffer.next_utterance()) == [audio(0.2, 2)]


# --- bounded in seconds


async def test_a_session_that_is_ahead_waits_until_some_of_it_is_heard(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    await put_all(buffer, audio(0.6), audio(0.6))
    assert buffer.buffered == pytest.approx(1.2)
    with trio.move_on_after(3600) as patience:
        await buffer.put(audio(0.1))
    assert patience.cancelled_caught
    assert buffer.buffered == pytest.approx(1.2), "a cut put must leave nothing behind"

    stream = await buffer.next_utterance()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.put, audio(0.3))
        await wait_all_tasks_blocked()
        assert buffer.buffered == pytest.approx(1.2)
        assert await stream.next() == audio(0.6)
    assert buffer.buffered == pytest.approx(0.9)


async def test_a_mark_needs_no_room(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    await buffer.put(audio(1.0))
    with trio.fail_after(1):
        await buffer.put(UtteranceEnd(0, 1))
    assert await read(await buffer.next_utterance()) == [audio(1.0)]


async def test_a_vendor_s_burst_never_exceeds_the_bound_by_more_than_one_chunk() -> None:
    buffer = PlayoutBuffer(seconds=2.0)
    heard: list[Chunk] = []
    most = 0.0

    async def burst() -> None:
        for _ in range(100):
            await buffer.put(audio(0.5))
        await buffer.put(UtteranceEnd(0, 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(burst)
        stream = await buffer.next_utterance()
        while (chunk := await stream.next()) is not None:
            heard.append(chunk)
            most = max(most, buffer.buffered)
            await wait_all_tasks_blocked()
            most = max(most, buffer.buffered)
    assert len(heard) == 100
    assert most <= 2.5
    assert buffer.buffered == pytest.approx(0)


async def test_several_who_wait_for_room_do_not_overfill_it() -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    await buffer.put(audio(1.0))
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(buffer.put, audio(1.0))
        stream = await buffer.next_utterance()
        await wait_all_tasks_blocked()
        for _ in range(5):
            assert await stream.next() == audio(1.0)
            await wait_all_tasks_blocked()
            assert buffer.buffered == pytest.approx(1.0)


async def test_a_session_that_gets_too_far_ahead_is_counted_once_until_half_is_heard() -> None:
    overruns: list[None] = []
    buffer = PlayoutBuffer(seconds=1.0, overran=lambda: overruns.append(None))

    async def speak() -> None:
        for _ in range(20):
            await buffer.put(audio(0.25))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        stream = await buffer.next_utterance()
        for taken in range(16):
            await wait_all_tasks_blocked()
            assert len(overruns) == 1, f"it has waited all along, {taken} were heard"
            await stream.next()
    await stream.next()
    await stream.next()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        await wait_all_tasks_blocked()
        assert len(overruns) == 2
        buffer.interrupt()


# --- interruption


async def test_an_interruption_can_be_waited_for() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, audio(1.0))
    stream = await buffer.next_utterance()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.until_interrupted)
        await wait_all_tasks_blocked()
        await put_all(buffer, audio(1.0))
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        buffer.interrupt()
    with trio.fail_after(1):
        await stream.until_interrupted()


async def test_an_interruption_drops_everything_that_waits() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, audio(5.0), audio(5.0, 2))
    buffer.interrupt()
    assert buffer.empty
    assert buffer.buffered == 0
    assert buffer.generation == 1


async def test_an_interruption_ends_the_stream_that_is_being_heard() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, audio(0.1), audio(0.1))
    stream = await buffer.next_utterance()
    await stream.next()
    buffer.interrupt()
    assert await stream.next() is None
    assert stream.interrupted


async def test_an_interruption_wakes_a_listener_that_waits_for_more() -> None:
    buffer = PlayoutBuffer()
    await buffer.put(SegmentStart(0, 1, "Well,"))
    stream = await buffer.next_utterance()
    rest: list[list[Chunk]] = []

    async def listen() -> None:
        rest.append(await read(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        buffer.interrupt()
    assert rest == [[SegmentStart(0, 1, "Well,")]]
    assert stream.interrupted


async def test_an_interruption_lets_a_waiting_session_go_on_and_drops_what_it_held() -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    await buffer.put(audio(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.put, audio(1.0))
        nursery.start_soon(buffer.put, UtteranceEnd(0, 1))
        await wait_all_tasks_blocked()
        buffer.interrupt()
    assert buffer.empty


async def test_what_an_older_generation_still_brings_is_dropped_even_when_the_buffer_is_full() -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    buffer.interrupt()
    await buffer.put(audio(1.0, 2, generation=1))
    await put_all(buffer, SegmentStart(0, 1, "old"), audio(1.0, 1, generation=0), UtteranceEnd(0, 1))
    stream = await buffer.next_utterance()
    assert stream.utterance == 2
    assert buffer.buffered == pytest.approx(1.0)


async def test_a_listener_that_waits_for_an_utterance_gets_that_of_the_new_generation() -> None:
    buffer = PlayoutBuffer()
    found: list[int] = []

    async def listen() -> None:
        found.append((await buffer.next_utterance()).utterance)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        buffer.interrupt()
        await wait_all_tasks_blocked()
        await buffer.put(audio(1.0, 1, generation=0))
        await wait_all_tasks_blocked()
        assert found == []
        await buffer.put(audio(1.0, 2, generation=1))
    assert found == [2]


async def test_an_interrupted_stream_does_not_eat_the_next_generation() -> None:
    buffer = PlayoutBuffer()
    await buffer.put(audio(0.1))
    old = await buffer.next_utterance()
    buffer.interrupt()
    await put_all(buffer, audio(0.1, 1, generation=1), UtteranceEnd(1, 1))
    assert await old.next() is None
    assert await read(await buffer.next_utterance()) == [audio(0.1, 1, generation=1)]


async def test_a_listener_that_gives_up_loses_nothing(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer()
    with trio.move_on_after(1):
        await buffer.next_utterance()
    await buffer.put(SegmentStart(0, 1, "Well,"))
    stream = await buffer.next_utterance()
    assert await stream.next() is not None
    with trio.move_on_after(1):
        await stream.next()
    await buffer.put(audio(0.1))
    assert await stream.next() == audio(0.1)


async def test_each_utterance_has_a_number_of_its_own_whoever_speaks() -> None:
    buffer = PlayoutBuffer()
    assert [buffer.number() for _ in range(3)] == [1, 2, 3]
    buffer.interrupt()
    assert buffer.number() == 4


async def test_how_much_of_an_utterance_has_come_is_known_until_another_one_comes() -> None:
    buffer = PlayoutBuffer()
    assert buffer.brought(1) == 0
    await put_all(buffer, audio(0.5), SegmentStart(0, 1, "and"), audio(0.25))
    assert buffer.brought(1) == pytest.approx(0.75)
    await read_some(buffer)
    assert buffer.brought(1) == pytest.approx(0.75), "also when it has been heard"
    await put_all(buffer, UtteranceEnd(0, 1), audio(0.1, 2))
    assert (buffer.brought(1), buffer.brought(2)) == (0, pytest.approx(0.1))


async def read_some(buffer: PlayoutBuffer) -> None:
    stream = await buffer.next_utterance()
    for _ in range(3):
        await stream.next()


async def test_when_audio_came_last_is_known(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer()
    assert buffer.fed_at == -math.inf
    await trio.sleep(2.0)
    await buffer.put(audio(0.1))
    await trio.sleep(3.0)
    await put_all(buffer, SegmentStart(0, 1, "Well,"), UtteranceEnd(0, 1), audio(0.1, 2, generation=-2))
    assert buffer.fed_at == 2.0, "a mark is no audio, and what is dropped was not there"


async def test_closed_it_takes_nothing_and_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer(seconds=1.0)
    await buffer.put(audio(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.put, audio(1.0))
        await wait_all_tasks_blocked()
        buffer.close()
    await buffer.put(audio(1.0, 2, generation=buffer.generation))
    assert buffer.empty


actions = st.lists(st.sampled_from(["put", "put", "put", "end", "take", "take", "interrupt", "late"]), max_size=40)


@unhurried
@given(actions)
def test_what_is_buffered_is_always_what_was_put_less_what_was_taken(script: list[str]) -> None:
    """One task that never has to wait: a model of the buffer beside the buffer."""

    async def follow() -> None:
        buffer = PlayoutBuffer(seconds=1000.0)
        model: list[Chunk] = []
        utterance = 1
        for action in script:
            generation = buffer.generation
            match action:
                case "put":
                    model.append(audio(0.3, utterance, generation))
                    await buffer.put(model[-1])
                case "end":
                    model.append(UtteranceEnd(generation, utterance))
                    await buffer.put(model[-1])
                    utterance += 1
                case "late":
                    await buffer.put(audio(0.3, utterance, generation - 1))
                case "interrupt":
                    buffer.interrupt()
                    model.clear()
                case "take" if model:
                    assert await buffer.take(model[0].utterance, generation) == model.pop(0)
            assert buffer.empty is (not model)
            assert buffer.buffered == pytest.approx(
                sum(chunk.seconds for chunk in model if isinstance(chunk, Audio)), abs=1e-9
            )

    trio.run(follow)


# --- one utterance is taken back


async def test_an_utterance_that_is_withdrawn_is_dropped_and_others_are_not() -> None:
    buffer = PlayoutBuffer()
    await put_all(buffer, audio(0.1, 1), UtteranceEnd(0, 1), audio(0.2, 2), audio(0.3, 3), UtteranceEnd(0, 3))
    buffer.withdraw(2)
    await put_all(buffer, audio(0.4, 2), UtteranceEnd(0, 2))
    assert buffer.buffered == pytest.approx(0.4)
    assert await read(await buffer.next_utterance()) == [audio(0.1, 1)]
    assert await read(await buffer.next_utterance()) == [audio(0.3, 3)]
    assert buffer.empty
    assert buffer.generation == 0


async def test_who_reads_waits_for_and_brings_what_is_withdrawn_goes_on_at_once(autojump_clock: MockClock) -> None:
    buffer = PlayoutBuffer(seconds=0.1)
    await buffer.put(audio(0.1, 1))
    stream = await buffer.next_utterance()
    assert await stream.next() == audio(0.1, 1)
    done: list[str] = []

    async def goes_on(what: str, wait: Callable[[], Awaitable[object]]) -> None:
        await wait()
        done.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(goes_on, "the end", stream.until_interrupted)
        nursery.start_soon(goes_on, "nothing more", stream.next)
        await wait_all_tasks_blocked()
        await buffer.put(audio(0.1, 2))
        nursery.start_soon(goes_on, "no room", lambda: buffer.put(audio(0.1, 1)))
        await wait_all_tasks_blocked()
        assert done == ["nothing more"], "another utterance has begun"
        buffer.withdraw(1)
    assert sorted(done) == ["no room", "nothing more", "the end"]
    assert stream.interrupted
    assert not buffer.empty
