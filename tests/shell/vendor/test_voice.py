"""A vendor's voice on its way into the playout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentd import session_events as tells
from agentd.agent import Audio, SegmentStart
from agentd.budgets import VENDOR_VOICE
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd_providers.vendor import voice as vendor_voice
from agentd_providers.vendor.voice import MOST_CHUNKS, MOST_TEXT, MOST_UNTOLD, VendorVoice
from tests.unit.budgets_counted import counting

RATE = 8000
SECOND = bytes(range(1, 251)) * 64
assert len(SECOND) == 2 * RATE


@attrs.define(eq=False)
class SpeakingVoice:
    voice: VendorVoice
    playout: PlayoutBuffer
    events: list[SessionEvent]

    async def heard(self) -> tuple[int, list[str], bytes]:
        """The next utterance to its end: its number, its segments' words, its audio."""
        with trio.fail_after(5):
            stream = await self.playout.next_utterance()
            words: list[str] = []
            pcm = b""
            while (chunk := await stream.next()) is not None:
                if isinstance(chunk, SegmentStart):
                    words.append(chunk.text)
                elif isinstance(chunk, Audio):
                    pcm += chunk.pcm
            return stream.utterance, words, pcm


@asynccontextmanager
async def speaking() -> AsyncIterator[SpeakingVoice]:
    events: list[SessionEvent] = []
    playout = PlayoutBuffer()
    voice = VendorVoice(playout, RATE, events.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(voice.run)
        yield SpeakingVoice(voice, playout, events)
        nursery.cancel_scope.cancel()


async def test_an_utterance_comes_with_its_words_as_segments_of_the_audio_that_follows_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as mouth:
        assert mouth.voice.begin(text="One.") == 1
        mouth.voice.words("Two.")
        mouth.voice.audio(SECOND)
        mouth.voice.words("Three.")
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        assert await mouth.heard() == (1, ["One. Two.", "Three."], SECOND * 2)
        assert mouth.events == [
            tells.UtteranceStarted(1),
            tells.AgentText(1, "One."),
            tells.AgentText(1, "Two."),
            tells.AgentText(1, "Three."),
            tells.UtteranceEnded(1),
        ]


async def test_a_new_utterance_ends_the_one_before_it(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.begin(aside=True)
        mouth.voice.audio(SECOND)
        mouth.voice.begin(text="Then.")
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        assert await mouth.heard() == (1, [""], SECOND)
        assert await mouth.heard() == (2, ["Then."], SECOND)
        assert mouth.events[:2] == [tells.UtteranceStarted(1, aside=True), tells.UtteranceEnded(1)]


async def test_audio_and_words_without_an_utterance_are_nobody_s(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.words("stray")
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        await trio.testing.wait_all_tasks_blocked()
        assert mouth.playout.empty
        assert mouth.events == []


@given(st.lists(st.binary(max_size=9), max_size=12))
def test_samples_that_are_cut_in_two_come_whole(pieces: list[bytes]) -> None:
    voice = VendorVoice(PlayoutBuffer(), RATE, lambda _event: None)
    voice.begin()
    for piece in pieces:
        voice.audio(piece)
    brought = [chunk.pcm for chunk in voice._waiting if isinstance(chunk, Audio)]
    whole = b"".join(pieces)
    assert b"".join(brought) == whole[: len(whole) // 2 * 2]
    assert all(len(pcm) % 2 == 0 for pcm in brought)


async def test_the_vendor_is_never_waited_for_and_what_waits_is_bounded(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor_voice, "MOST_SECONDS", 5.0)
    async with speaking() as mouth:
        mouth.voice.begin()
        with counting() as counted:
            for _ in range(60):
                mouth.voice.audio(SECOND)
        assert counted == {VENDOR_VOICE: 55}
        mouth.voice.end()
        assert [type(event) for event in mouth.events] == [tells.UtteranceStarted, tells.Degraded, tells.UtteranceEnded]
        _, _, pcm = await mouth.heard()
        assert len(pcm) // len(SECOND) == 5


async def test_words_without_audio_are_bounded_and_that_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.begin()
        with counting() as counted:
            for _ in range(40):
                mouth.voice.words("x" * 1000)
        assert counted == {VENDOR_VOICE: 8}
        mouth.voice.end()
        assert [type(event) for event in mouth.events].count(tells.Degraded) == 1
        assert sum(len(event.text) for event in mouth.events if isinstance(event, tells.AgentText)) > MOST_TEXT - 40
        _, words, _ = await mouth.heard()
        assert len(words[0]) == MOST_TEXT
        mouth.voice.begin(text="Room again.")
        mouth.voice.end()
        assert await mouth.heard() == (2, ["Room again."], b"")


@pytest.mark.parametrize("held", [False, True])
async def test_words_with_hardly_any_audio_are_bounded(held: bool) -> None:
    events: list[SessionEvent] = []
    voice = VendorVoice(PlayoutBuffer(), RATE, events.append)
    if held:
        voice.hold()
    for _ in range(3):
        voice.begin()
        for _ in range(2 * MOST_CHUNKS):
            voice.words("x")
            voice.audio(b"\0\0")
        voice.end()
    for _ in range(200):
        voice.begin(text="x" * 30_000)
        voice.end()
    waiting = voice._waiting if voice._held is None else voice._held
    assert len(waiting) <= MOST_CHUNKS + 4
    assert sum(len(chunk.text) for chunk in waiting if isinstance(chunk, SegmentStart)) <= MOST_TEXT
    assert any(isinstance(event, tells.Degraded) for event in events)
    assert len(voice._untold) <= MOST_UNTOLD + 2


async def test_small_pieces_of_audio_go_together_while_they_wait() -> None:
    voice = VendorVoice(PlayoutBuffer(), RATE, lambda _event: None)
    voice.begin()
    for _ in range(RATE):
        voice.audio(b"\1\2")
    pieces = [chunk.pcm for chunk in voice._waiting if isinstance(chunk, Audio)]
    assert b"".join(pieces) == b"\1\2" * RATE
    assert len(pieces) <= 10


async def test_what_is_cut_is_not_brought_and_what_had_begun_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.begin()
        for _ in range(40):  # more than the playout holds
            mouth.voice.audio(SECOND)
        mouth.voice.end()  # its end waits behind what is cut now
        await trio.testing.wait_all_tasks_blocked()
        mouth.voice.cut()
        _, _, pcm = await mouth.heard()
        assert 30 <= len(pcm) // len(SECOND) < 40
        mouth.voice.begin(text="Never brought.")
        mouth.voice.audio(SECOND)
        mouth.voice.cut()
        assert mouth.events[-1] == tells.UtteranceEnded(2)
        mouth.voice.begin(text="Brought in part.")
        mouth.voice.audio(SECOND)
        await trio.testing.wait_all_tasks_blocked()
        mouth.voice.words("Without a sound.")
        mouth.voice.cut()
        assert await mouth.heard() == (3, ["Brought in part."], SECOND)


async def test_what_is_held_comes_when_it_is_let_go_in_the_generation_of_that_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as mouth:
        mouth.voice.begin()
        mouth.voice.audio(SECOND)
        await trio.testing.wait_all_tasks_blocked()
        mouth.voice.hold()
        mouth.voice.begin(text="Held.")
        mouth.voice.audio(SECOND)
        await trio.testing.wait_all_tasks_blocked()
        assert (await mouth.heard())[0] == 1
        assert mouth.voice.held
        assert mouth.playout.empty
        mouth.playout.interrupt()
        mouth.voice.release()
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        assert await mouth.heard() == (2, ["Held."], SECOND * 2)


async def test_nobody_is_told_of_an_utterance_that_is_held_before_its_generation_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as mouth:
        told: list[tuple[int, SessionEvent]] = []
        mouth.voice.emit = lambda event: told.append((mouth.playout.generation, event))
        mouth.voice.hold()
        mouth.voice.begin(text="Held.")
        mouth.voice.audio(SECOND)
        mouth.voice.words("In clauses.")
        mouth.voice.end()
        mouth.voice.begin()
        assert (told, mouth.voice.untold) == ([], True)
        mouth.playout.interrupt()
        mouth.voice.release()
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        assert not mouth.voice.untold
        assert told == [
            (1, tells.UtteranceStarted(1)),
            (1, tells.AgentText(1, "Held. In clauses.")),
            (1, tells.UtteranceEnded(1)),
            (1, tells.UtteranceStarted(2)),
            (1, tells.UtteranceEnded(2)),
        ]
        assert await mouth.heard() == (1, ["Held.", "In clauses."], SECOND)
        assert await mouth.heard() == (2, [""], SECOND)


async def test_nobody_is_ever_told_of_what_was_held_and_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.begin()
        mouth.voice.hold()
        assert mouth.events == [tells.UtteranceStarted(1), tells.UtteranceEnded(1)], "this one was begun before"
        mouth.voice.begin(text="Held.")
        mouth.voice.cut()
        mouth.voice.release()
        assert not mouth.voice.untold
        assert len(mouth.events) == 2


async def test_a_cut_forgets_what_is_held_and_holds_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as mouth:
        mouth.voice.hold()
        mouth.voice.begin(text="Held.")
        mouth.voice.audio(SECOND)
        mouth.voice.cut()
        mouth.voice.release()
        mouth.voice.begin(text="Next.")
        mouth.voice.audio(SECOND)
        mouth.voice.end()
        assert await mouth.heard() == (2, ["Next."], SECOND)
