"""The contract of a pipeline's stages that think, whoever provides them."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from agentd.agent import ToolDeclaration
from agentd.errors import ungrouped
from agentd.testing._contract import needs
from agentd.testing._stage_contract import EXPECTED, LEAVING, StageContract, failing, opened
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd.testing.stages import Can, ResponderParty
from agentd_providers.pipeline.stages import LanguageModel, Message, Role, ToolCall

PIECES = ("It is ", "half past", " two.")
CLOCK = ToolDeclaration(
    "clock", "Tells the time.", {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
)


def prompt(said: str) -> list[Message]:
    """A prompt that ends with what the caller said."""
    return [
        Message(Role.SYSTEM, "You are\nbrief."),
        Message(Role.ASSISTANT, "Hello."),
        Message(Role.USER, said),
    ]


def question(number: int = 0) -> str:
    """The caller's question: another one for each number."""
    return f"What is the time in town {number}?"


class ResponderContract(StageContract):
    """For a stage that thinks: agentd_providers.pipeline.stages.LanguageModel."""

    async def use(self, party: ResponderParty, engine: LanguageModel, number: int = 0) -> None:
        pieces = [*PIECES, f" In town {number}."]
        party.expect(question(number), pieces)
        async with engine.open() as responder, responder.respond(prompt(question(number))) as reply:
            assert "".join([str(piece) async for piece in reply]) == "".join(pieces)

    async def half_read(self, party: ResponderParty, engine: LanguageModel) -> None:
        """Leave a reply in the middle."""
        party.expect(question(), PIECES)
        async with engine.open() as responder, responder.respond(prompt(question())) as reply:
            await anext(reply)

    @needs(Can.STREAMS)
    async def test_a_piece_is_handed_on_as_soon_as_it_comes(self, party: ResponderParty) -> None:
        party.expect(question(), PIECES)
        async with opened(party) as engine, engine.open() as responder:
            async with responder.respond(prompt(question())) as reply:
                first = await anext(reply)
                assert party.at_work(), "the vendor is done: it was waited for"
                rest = [piece async for piece in reply]
        assert rest
        assert "".join([first, *rest]) == "".join(PIECES)

    @needs(Can.USES_TOOLS)
    async def test_its_words_come_first_and_then_the_tools_that_it_asks_for_each_whole(
        self, party: ResponderParty
    ) -> None:
        party.expect(question(), ["Let me ", "see."], [("clock", {"zone": "CET"})])
        async with opened(party) as engine, engine.open() as responder:
            async with responder.respond(prompt(question()), [CLOCK]) as reply:
                pieces: Sequence[str | ToolCall] = [piece async for piece in reply]
        *words, call = pieces
        assert "".join(str(word) for word in words) == "Let me see."
        assert isinstance(call, ToolCall)
        assert (call.name, call.arguments.replace(" ", "")) == ("clock", '{"zone":"CET"}')
        assert call.call

    async def test_it_tells_how_likely_a_sentence_ends_or_that_it_cannot(self, party: ResponderParty) -> None:
        async with opened(party) as engine, engine.open() as responder:
            assert responder.tells_sentence_ends is (Can.TELLS_SENTENCE_ENDS in party.abilities)
            if responder.tells_sentence_ends:
                assert 0 <= await responder.sentence_end(prompt(question())) <= 1

    @needs(Can.STREAMS)
    async def test_a_listener_that_takes_its_time_is_not_the_vendor_s_fault(self, party: ResponderParty) -> None:
        party.expect(question(), PIECES)
        async with opened(party) as engine, engine.open() as responder:
            async with responder.respond(prompt(question())) as reply:
                first = await anext(reply)
                await trio.sleep(2 * party.deadline)  # to speak it takes longer than the vendor may be silent
                assert "".join([first, *[piece async for piece in reply]]) == "".join(PIECES)

    async def test_a_reply_that_is_left_half_read_is_ended_at_the_vendor_too(self, party: ResponderParty) -> None:
        async with opened(party) as engine:
            for _ in range(3):
                await self.half_read(party, engine)
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)

    async def test_what_the_listener_raises_is_its_own(self, party: ResponderParty) -> None:
        party.expect(question(), PIECES)
        async with opened(party) as engine:
            with pytest.raises(ZeroDivisionError), ungrouped(ZeroDivisionError):
                async with engine.open() as responder, responder.respond(prompt(question())) as reply:
                    async for _piece in reply:
                        raise ZeroDivisionError
            await self.use(party, engine)

    @needs(Can.FAILS, Can.STREAMS)
    @pytest.mark.parametrize("fault", [Fault.MUTE, Fault.CUT, Fault.CLOSE])
    async def test_a_vendor_that_fails_in_a_reply_has_what_came_before_heard(
        self, party: ResponderParty, fault: Fault
    ) -> None:
        party.expect(question(), PIECES)
        heard = ""
        async with opened(party) as engine:
            with failing(*EXPECTED[fault]):
                async with engine.open() as responder, responder.respond(prompt(question())) as reply:
                    async for piece in reply:
                        heard += piece if isinstance(piece, str) else ""
                        party.strike(fault)
            party.strike(Fault.NONE)
            await self.use(party, engine)
        assert heard
        assert "".join(PIECES).startswith(heard)
