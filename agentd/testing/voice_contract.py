"""The contract of a pipeline's stages that speak, whoever provides them."""

import pytest
import trio
import trio.testing

from agentd.errors import ungrouped
from agentd.testing._contract import needs
from agentd.testing._stage_contract import EXPECTED, LEAVING, StageContract, failing, opened
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd.testing.stages import Can, VoiceParty
from agentd_providers.pipeline.stages import TextToSpeech, speak_whole

TEXT = "Good morning."
TEXTS = (TEXT, "It is half past two.", "Once upon a time there was a telephone that nobody answered.")
RATE = 8000
NEARLY = 0.1
"""How much of its length a clause may be longer or shorter."""


class VoiceContract(StageContract):
    """For a stage that speaks: agentd_providers.pipeline.stages.TextToSpeech."""

    def sounds_right(self, party: VoiceParty, text: str, pcm: bytes, rate: int) -> None:
        """As far as can be told of any voice: whole samples that are no silence, as long as they are to be."""
        assert len(pcm) % 2 == 0
        assert any(pcm)
        assert len(pcm) / 2 / rate == pytest.approx(party.seconds(text), rel=NEARLY)

    async def use(self, party: VoiceParty, engine: TextToSpeech, number: int = 0) -> None:
        text = TEXTS[number % len(TEXTS)]
        async with engine.open() as voice:
            self.sounds_right(party, text, await speak_whole(voice, text, RATE), RATE)

    @pytest.mark.parametrize("rate", [8000, 16000, 24000])
    async def test_a_clause_is_spoken_at_the_line_s_rate(self, party: VoiceParty, rate: int) -> None:
        async with opened(party) as engine, engine.open() as voice:
            self.sounds_right(party, TEXT, await speak_whole(voice, TEXT, rate), rate)

    async def test_a_text_of_nothing_has_no_sound(self, party: VoiceParty) -> None:
        async with opened(party) as engine, engine.open() as voice:
            assert await speak_whole(voice, "", RATE) == b""
            self.sounds_right(party, TEXT, await speak_whole(voice, TEXT, RATE), RATE)

    async def test_the_clauses_of_a_call_do_not_meet(self, party: VoiceParty) -> None:
        async with opened(party) as engine, engine.open() as voice:
            async with voice.speak(TEXTS[0], RATE) as first, voice.speak(TEXTS[1], RATE) as second:
                later = b"".join([piece async for piece in second])
                self.sounds_right(party, TEXTS[0], b"".join([piece async for piece in first]), RATE)
                self.sounds_right(party, TEXTS[1], later, RATE)

    @needs(Can.STREAMS)
    async def test_a_piece_is_handed_on_as_soon_as_it_comes_and_holds_whole_samples(self, party: VoiceParty) -> None:
        async with opened(party) as engine, engine.open() as voice, voice.speak(TEXT, RATE) as pieces:
            first = await anext(pieces)
            assert party.at_work(), "the vendor is done: it was waited for"
            rest = [piece async for piece in pieces]
        assert rest
        assert all(len(piece) % 2 == 0 for piece in (first, *rest))
        self.sounds_right(party, TEXT, b"".join([first, *rest]), RATE)

    @needs(Can.STREAMS)
    async def test_a_listener_that_takes_its_time_is_not_the_vendor_s_fault(self, party: VoiceParty) -> None:
        async with opened(party) as engine, engine.open() as voice, voice.speak(TEXT, RATE) as pieces:
            first = await anext(pieces)
            await trio.sleep(2 * party.deadline)
            self.sounds_right(party, TEXT, b"".join([first, *[piece async for piece in pieces]]), RATE)

    async def test_a_clause_that_is_not_listened_to_is_ended_at_the_vendor_too(self, party: VoiceParty) -> None:
        async with opened(party) as engine:
            for read in (0, 1, 0):
                async with engine.open() as voice, voice.speak(TEXT, RATE) as pieces:
                    for _piece in range(read):
                        await anext(pieces)
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)

    async def test_what_the_listener_raises_is_its_own(self, party: VoiceParty) -> None:
        async with opened(party) as engine:
            with pytest.raises(ZeroDivisionError), ungrouped(ZeroDivisionError):
                async with engine.open() as voice, voice.speak(TEXT, RATE) as pieces:
                    async for _piece in pieces:
                        raise ZeroDivisionError
            await self.use(party, engine)

    @needs(Can.FAILS, Can.STREAMS)
    @pytest.mark.parametrize("fault", [Fault.MUTE, Fault.CUT, Fault.CLOSE])
    async def test_a_vendor_that_fails_in_a_clause_has_what_came_before_heard(
        self, party: VoiceParty, fault: Fault
    ) -> None:
        heard = b""
        async with opened(party) as engine:
            with failing(*EXPECTED[fault]):
                async with engine.open() as voice, voice.speak(TEXT, RATE) as pieces:
                    async for piece in pieces:
                        heard += piece
                        party.strike(fault)
            party.strike(Fault.NONE)
            await self.use(party, engine)
        assert heard
        assert len(heard) / 2 / RATE < party.seconds(TEXT)
