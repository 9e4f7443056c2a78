"""The contract of a pipeline's stages that listen, whoever provides them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing

from agentd.testing._contract import needs
from agentd.testing._stage_contract import EXPECTED, IN_TIME, TIMES, StageContract, opened
from agentd.testing.faults import Fault
from agentd.testing.sound import silence
from agentd.testing.stages import Can, TranscriberParty
from agentd_providers.pipeline.stages import SpeechToText, Transcriber, Transcript

PAUSE = 0.4
"""Seconds of silence after words: a pause, at which the words so far are asked for."""
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def feed(transcript: Transcript, pcm: bytes, rate: int) -> None:
    """Frame by frame, as the line brings it, but all at once."""
    frame = rate // 50 * 2
    for begin in range(0, len(pcm), frame):
        transcript.feed(pcm[begin : begin + frame])


@asynccontextmanager
async def a_turn(engine: SpeechToText, rate: int) -> AsyncIterator[Transcript]:
    """A turn of a call's. It is closed, however it ends: so does a pipeline's session."""
    async with engine.open(rate) as transcriber:
        transcript = transcriber.begin()
        try:
            yield transcript
        finally:
            transcript.close()


class TranscriberContract(StageContract):
    """For a stage that listens: agentd_providers.pipeline.stages.SpeechToText."""

    def call(self, party: TranscriberParty, engine: SpeechToText) -> AbstractAsyncContextManager[Transcriber]:
        """One call's part of the engine."""
        return engine.open(party.rate)

    def say(self, party: TranscriberParty, transcript: Transcript, words: str) -> None:
        """The caller says these words, and pauses."""
        feed(transcript, party.speech(words, party.rate) + silence(PAUSE, party.rate), party.rate)

    async def use(self, party: TranscriberParty, engine: SpeechToText, number: int = 0) -> None:
        async with a_turn(engine, party.rate) as transcript:
            words = WORDS[number % len(WORDS)]
            self.say(party, transcript, words)
            assert await transcript.words() == words

    @pytest.mark.parametrize("rate", [8000, 16000])
    async def test_it_takes_the_line_s_rate(self, party: TranscriberParty, rate: int) -> None:
        async with opened(party) as engine, a_turn(engine, rate) as transcript:
            feed(transcript, party.speech("one", rate) + silence(PAUSE, rate), rate)
            assert await transcript.words() == "one"

    async def test_at_every_pause_there_are_the_words_of_the_whole_turn(self, party: TranscriberParty) -> None:
        async with opened(party) as engine, a_turn(engine, party.rate) as transcript:
            for said in ("one", "one two", "one two three"):
                self.say(party, transcript, said.split()[-1])
                assert await transcript.words() == said
                assert await transcript.words() == said

    async def test_a_turn_of_nothing_has_no_words(self, party: TranscriberParty) -> None:
        async with opened(party) as engine, a_turn(engine, party.rate) as transcript:
            assert await transcript.words() == ""
            feed(transcript, silence(PAUSE, party.rate), party.rate)
            assert await transcript.words() == ""

    async def test_what_is_said_while_the_words_are_on_their_way_is_not_lost(self, party: TranscriberParty) -> None:
        asked, asking = list[str](), trio.Event()
        async with opened(party) as engine, a_turn(engine, party.rate) as transcript:

            async def ask() -> None:
                asking.set()
                asked.append(await transcript.words())

            self.say(party, transcript, "one")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await asking.wait()
                self.say(party, transcript, "two")
            assert asked == ["one"]
            assert await transcript.words() == "one two"

    async def test_words_that_were_given_up_leave_the_turn_as_it_is(self, party: TranscriberParty) -> None:
        async with opened(party) as engine, a_turn(engine, party.rate) as transcript:
            for word, after in zip(WORDS, TIMES, strict=False):
                self.say(party, transcript, word)
                with trio.move_on_after(after):
                    await transcript.words()
            assert await transcript.words() == " ".join(WORDS[: len(TIMES)])

    async def test_the_turns_of_a_call_do_not_know_each_other_s_words(self, party: TranscriberParty) -> None:
        async with opened(party) as engine, engine.open(party.rate) as transcriber:
            for words in ("one", "two"):
                given_up = transcriber.begin()
                self.say(party, given_up, "nine")
                given_up.close()
                transcript = transcriber.begin()
                self.say(party, transcript, words)
                assert await transcript.words() == words
                transcript.close()

    async def test_the_words_of_a_turn_may_come_after_the_next_has_begun(self, party: TranscriberParty) -> None:
        words: dict[str, str] = {}
        async with opened(party) as engine, engine.open(party.rate) as transcriber:

            async def ask(said: str, transcript: Transcript) -> None:
                words[said] = await transcript.words()
                transcript.close()

            async with trio.open_nursery() as nursery:
                for said in WORDS[:3]:
                    transcript = transcriber.begin()
                    self.say(party, transcript, said)
                    nursery.start_soon(ask, said, transcript)
                    await trio.lowlevel.checkpoint()
        assert words == {said: said for said in WORDS[:3]}

    async def test_closed_is_closed(self, party: TranscriberParty) -> None:
        async with opened(party) as engine:
            async with engine.open(party.rate) as transcriber:
                transcript = transcriber.begin()
                self.say(party, transcript, "one")
                for _ in range(2):
                    transcript.close()
                self.say(party, transcript, "two")
            await self.use(party, engine)

    @needs(Can.FAILS)
    @pytest.mark.parametrize("fault", EXPECTED)
    async def test_a_turn_of_which_there_were_no_words_can_be_asked_for_again(
        self, party: TranscriberParty, fault: Fault
    ) -> None:
        """A connection that was open already may know nothing of a refusal: then there are words at once."""
        async with opened(party) as engine, a_turn(engine, party.rate) as transcript:
            party.strike(fault)
            self.say(party, transcript, "one")
            began = trio.current_time()
            try:
                assert await transcript.words() == "one"
            except EXPECTED[fault]:
                assert trio.current_time() - began < party.deadline + IN_TIME
            party.strike(Fault.NONE)
            feed(transcript, silence(PAUSE, party.rate), party.rate)
            assert await transcript.words() == "one"
