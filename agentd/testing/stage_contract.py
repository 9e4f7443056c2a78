"""The contract of a pipeline's stages, whoever provides them: one specification for each kind."""

import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentd.agent import ToolDeclaration
from agentd.errors import (
    AgentdError,
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderUnavailable,
    ungrouped,
)
from agentd.testing._contract import Contract, hides_keys, needs
from agentd.testing.clock import PATIENCE, until
from agentd.testing.faults import Fault
from agentd.testing.plugin import pass_over
from agentd.testing.sound import silence
from agentd.testing.stages import Can, ResponderParty, StageParty, TranscriberParty, VoiceParty
from agentd_providers.pipeline.stages import (
    LanguageModel,
    Message,
    Role,
    SpeechToText,
    TextToSpeech,
    ToolCall,
    Transcriber,
    Transcript,
    speak_whole,
)
from agentd_providers.shared import SharedServices

IN_TIME = 2.0
"""Seconds after a deadline by which its error is there, and in which somebody who leaves has left."""
LEAVING = 5.0
"""Seconds within which nothing of a call that is over is left, at its vendor either."""
LONGEST_ERROR = 500
"""Characters."""
EXPECTED: Mapping[Fault, tuple[type[ProviderError], ...]] = {
    Fault.REFUSED: (ProviderRejected,),
    Fault.RATE_LIMITED: (ProviderUnavailable,),
    Fault.UNAVAILABLE: (ProviderUnavailable,),
    Fault.MUTE: (ProviderUnavailable,),
    Fault.CLOSE: (ProviderUnavailable,),
    Fault.CUT: (ProviderUnavailable, ProviderProtocolError),
    Fault.GARBAGE: (ProviderProtocolError,),
    Fault.OVERSIZED: (ProviderProtocolError,),
}
"""The error that each fault comes out as: it tells whose the fault is, and whether to try again may help."""
TIMES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
STEPS = (1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 55, 75, 100)
"""When a call ends: after seconds, and at steps of whatever task."""


@asynccontextmanager
async def opened(party: StageParty) -> AsyncIterator[Any]:
    """The engine of a party that is open. Once it is closed nothing of it is left, here and at its vendor."""
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    with ungrouped(AgentdError), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            async with party.open_engine(SharedServices(nursery)) as engine:
                yield engine
            await until(lambda: not nursery.child_tasks, LEAVING)
    await until(lambda: not party.at_work(), LEAVING)
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks, LEAVING)


@contextmanager
def failing(*errors: type[ProviderError]) -> Iterator[pytest.ExceptionInfo[ProviderError]]:
    """Around what must raise one of these errors: out of the nurseries of what is open for the call."""
    with pytest.raises(errors) as raised, ungrouped(ProviderError):
        yield raised


@attrs.define(eq=False)
class AtStep(trio.abc.Instrument):
    """Acts before the n-th step that any task takes from now on."""

    act: Callable[[], None]
    at: int
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.act()


class StageContract(Contract):
    """The tests for stages of all kinds. Make a class of a kind below in your tests, named Test..., with one fixture,
    `stage`, that gives the party."""

    @pytest.fixture
    def declared(self, stage: StageParty) -> StageParty:
        """As the fixture `stage` made it."""
        return stage

    @pytest.fixture(autouse=True)
    def faults(self, request: pytest.FixtureRequest, declared: StageParty) -> None:
        """Pass over a fault that the party has no error for."""
        callspec = getattr(request.node, "callspec", None)
        fault = callspec.params.get("fault") if callspec else None
        if fault is not None and fault not in declared.faults:
            pass_over(request, f"{declared.name} has no error for a vendor's fault {fault.value!r}")

    def call(self, party: Any, engine: Any) -> AbstractAsyncContextManager[Any]:
        """One call's part of the engine."""
        a_call: AbstractAsyncContextManager[Any] = engine.open()
        return a_call

    async def use(self, party: Any, engine: Any, number: int = 0) -> None:
        """One call's use of the engine, from the call's begin to its end: as right as it can be told by. Each `number`
        is another. Raises ProviderError as the stage does."""
        raise NotImplementedError

    # --- a vendor that is well

    async def test_it_serves_one_call_after_the_other(self, party: StageParty) -> None:
        async with opened(party) as engine:
            for number in range(3):
                await self.use(party, engine, number)
            assert engine.readiness.ready

    async def test_calls_beside_each_other_do_not_meet(self, party: StageParty) -> None:
        async with opened(party) as engine, trio.open_nursery() as calls:
            for number in range(5):
                calls.start_soon(self.use, party, engine, number)

    @needs(Can.FAILS)
    async def test_a_slow_vendor_is_waited_for(self, party: StageParty) -> None:
        async with opened(party) as engine:
            party.strike(Fault.SLOW)
            await self.use(party, engine)

    # --- its key

    @needs(Can.NEEDS_KEY)
    async def test_the_key_is_in_a_header_and_nowhere_else(self, party: StageParty) -> None:
        async with opened(party) as engine:
            await self.use(party, engine)
            async with self.call(party, engine) as a_call:
                shown = f"{engine!r} {engine.readiness!r} {a_call!r}"
        seen = party.seen()
        assert seen
        for request in seen:
            assert any(key in value for value in request.headers.values() for key in party.keys.values())
            hides_keys(party, request.rest)
        hides_keys(party, shown)

    @needs(Can.NEEDS_KEY)
    @pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"], ids=["none", "two lines", "not ASCII"])
    async def test_without_a_key_that_can_be_one_there_is_no_engine(
        self, party: StageParty, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in party.keys:
            monkeypatch.setenv(name, key)
        with pytest.raises(ConfigError, match="|".join(party.keys)) as raised:
            async with opened(party):
                raise AssertionError("it was opened")
        assert not key or key not in str(raised.value)

    @needs(Can.NEEDS_KEY, Can.FAILS)
    async def test_it_is_ready_until_its_key_is_refused_and_again_once_it_is_taken(self, party: StageParty) -> None:
        async with opened(party) as engine:
            assert engine.readiness.ready
            for fault, ready in [(Fault.UNAVAILABLE, True), (Fault.REFUSED, False)]:
                party.strike(fault)
                with failing(ProviderError):
                    await self.use(party, engine)
                assert engine.readiness.ready is ready
            assert engine.readiness.detail
            hides_keys(party, engine.readiness.detail)
            party.strike(Fault.NONE)
            await self.use(party, engine)
            assert engine.readiness.ready

    # --- a vendor that fails

    @needs(Can.FAILS)
    @pytest.mark.parametrize("fault", EXPECTED)
    async def test_each_fault_is_an_error_in_time_and_the_next_call_is_served(
        self, party: StageParty, fault: Fault
    ) -> None:
        async with opened(party) as engine:
            party.strike(fault)
            began = trio.current_time()
            with failing(*EXPECTED[fault]) as raised:
                await self.use(party, engine)
            assert trio.current_time() - began < party.deadline + IN_TIME
            assert 0 < len(str(raised.value)) < LONGEST_ERROR
            hides_keys(party, *traceback.format_exception(raised.value))
            party.strike(Fault.NONE)
            await self.use(party, engine)

    @needs(Can.FAILS)
    async def test_nobody_at_its_vendor_s_address_is_an_error(self, declared: StageParty) -> None:
        async with declared.open():
            """From now on there is an address."""
        async with opened(declared) as engine:
            with failing(ProviderUnavailable):
                await self.use(declared, engine)

    # --- a call that ends

    @pytest.mark.parametrize("after", TIMES)
    async def test_a_call_that_ends_at_any_time_leaves_at_once_and_leaves_nothing(
        self, party: StageParty, after: float
    ) -> None:
        async with opened(party) as engine:
            for number in range(5):
                began = trio.current_time()
                with trio.move_on_after(after):
                    await self.use(party, engine, number)
                assert trio.current_time() - began < after + IN_TIME
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)

    async def test_a_call_that_ends_at_any_step_leaves_nothing(self, party: StageParty) -> None:
        async with opened(party) as engine:
            for step in STEPS:
                with trio.CancelScope() as call:
                    instrument = AtStep(call.cancel, step)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await self.use(party, engine, step)
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)


# --- a stage that listens

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


# --- a stage that thinks

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
                        heard += piece
                        party.strike(fault)
            party.strike(Fault.NONE)
            await self.use(party, engine)
        assert heard
        assert "".join(PIECES).startswith(heard)


# --- a stage that speaks

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
