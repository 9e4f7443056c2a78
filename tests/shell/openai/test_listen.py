"""Speech to text by an OpenAI-compatible server, against a fake on a real socket."""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.errors import ProviderError, ProviderProtocolError, ProviderUnavailable
from agentd.testing.faults import Fault
from agentd_providers.openai import listen as module
from agentd_providers.openai.listen import SETTLED_SECONDS, OpenAiSpeechToText, open_openai_listen
from agentd_providers.openai.speech_settings import OpenAiListenSettings
from agentd_providers.shared import SharedServices
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, HttpPeer
from tests.lab.vendors.openai_speech import KEY, OpenAiSpeech
from tests.lab.vendors.scripted_words import Script
from tests.shell.vendor_engine import RATE, TIMEOUT, faulty, feed, loud, served, silence

pytestmark = pytest.mark.loopback


@attrs.define(eq=False)
class Scene:
    fake: OpenAiSpeech
    peer: HttpPeer
    engine: OpenAiSpeechToText


@asynccontextmanager
async def scene(
    *phrases: str, handler: HttpHandler | None = None, language: str = "en-US", **settings: Any
) -> AsyncIterator[Scene]:
    """The engine and its server; when it is closed no connection and no task is left."""
    fake = OpenAiSpeech(Script(phrases or ("yes please",)))

    def opener(url: str, shared: SharedServices) -> AbstractAsyncContextManager[OpenAiSpeechToText]:
        return open_openai_listen(OpenAiListenSettings(base_url=f"{url}/v1", **settings), language, shared)

    async with served(handler or fake.answer, opener) as (peer, engine):
        yield Scene(fake, peer, engine)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def test_a_turn_is_sent_as_the_reference_has_it() -> None:
    async with scene(language="de-DE", prompt="Agentd.") as talk, talk.engine.open(RATE) as transcriber:
        transcript, said = transcriber.begin(), loud(0.5) + silence(0.2)
        feed(transcript, said)
        assert await transcript.words() == "yes please"
        (request,) = talk.peer.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/audio/transcriptions", f"Bearer {KEY}")
    form = request.form()
    assert {name: part.text for name, part in form.items() if name != "file"} == {
        "model": "gpt-4o-mini-transcribe",
        "language": "de",
        "response_format": "json",
        "prompt": "Agentd.",
    }
    with wave.open(io.BytesIO(form["file"].content)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE)
        assert wav.readframes(wav.getnframes()) == said


async def test_at_every_pause_the_words_so_far_are_known() -> None:
    async with scene("my number", "is five") as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5) + silence(0.4))
        assert await transcript.words() == "my number"
        feed(transcript, loud(0.5) + silence(0.4))
        assert await transcript.words() == "my number is five"


async def test_the_settled_part_of_a_long_turn_is_not_sent_again() -> None:
    async with scene("one", "two", "three", "four") as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        for number in range(4):
            feed(transcript, loud(SETTLED_SECONDS - 1) + silence(0.4))
            assert await transcript.words() == " ".join(["one", "two", "three", "four"][: number + 1])
        lengths = [seconds for _at, seconds, _text in talk.fake.heard]
    assert lengths == pytest.approx([4.4, 8.8, 4.4, 8.8])


async def test_turns_do_not_know_each_other_s_words() -> None:
    async with scene("one", "two") as talk, talk.engine.open(RATE) as transcriber:
        for word in ("one", "two"):
            transcript = transcriber.begin()
            feed(transcript, loud(0.5))
            assert await transcript.words() == word
            transcript.close()


async def test_a_sound_too_short_for_a_word_is_not_sent() -> None:
    async with scene() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        assert await transcript.words() == ""
        feed(transcript, loud(0.18))
        assert await transcript.words() == ""
        assert talk.peer.requests == []


async def test_of_a_turn_without_end_the_beginning_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 2)
    async with scene() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(1.5) + silence(0.5) + loud(0.5))
        assert await transcript.words() == "yes please yes please"
        ((_at, seconds, _text),) = talk.fake.heard
    assert seconds == 2


async def test_what_is_known_is_not_asked_again() -> None:
    async with scene() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        assert [await transcript.words() for _ in range(2)] == ["yes please"] * 2
        assert len(talk.peer.requests) == 1


async def test_more_may_be_fed_while_the_words_are_on_their_way() -> None:
    asked, go_on = trio.Event(), trio.Event()

    async def slow(exchange: HttpExchange) -> None:
        asked.set()
        await go_on.wait()
        await talk.fake.answer(exchange)

    async with scene("one", "two", handler=slow) as talk, talk.engine.open(RATE) as transcriber:
        transcript, words = transcriber.begin(), []
        feed(transcript, loud(0.5) + silence(0.4))

        async def ask() -> None:
            words.append(await transcript.words())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await asked.wait()
            feed(transcript, loud(0.5))
            go_on.set()
        assert [*words, await transcript.words()] == ["one", "one two"]


async def test_words_that_were_given_up_are_asked_for_again_at_the_next_pause() -> None:
    async with scene("one", "two") as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5) + silence(0.4))
        for after in (0.0, 0.001, 0.002, 0.004):
            with trio.move_on_after(after):
                await transcript.words()
        feed(transcript, loud(0.5) + silence(0.4))
        assert await transcript.words() == "one two"


@faulty((Fault.GARBAGE, ProviderProtocolError, "expected JSON"))
async def test_each_fault_is_an_error_and_the_turn_can_be_asked_for_again(
    fault: Fault, error: type[ProviderError], says: str
) -> None:
    async with scene(timeout=TIMEOUT) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        talk.peer.strike(fault)
        with pytest.raises(error, match=says) as caught:
            await transcript.words()
        assert len(str(caught.value)) < 400 and KEY not in str(caught.value)
        assert talk.engine.readiness.ready is (fault is not Fault.REFUSED)
        talk.peer.strike(Fault.NONE)
        assert await transcript.words() == "yes please"
        assert talk.engine.readiness.ready


@pytest.mark.parametrize("body", [b"[]", b'{"text": 7}', b"{}", b"\xff\xfe", b'{"text": "' + b"x" * 300_000])
async def test_an_answer_that_makes_no_sense_is_an_error(body: bytes) -> None:
    async def other(exchange: HttpExchange) -> None:
        await exchange.answer(200, body)

    async with scene(handler=other) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        with pytest.raises(ProviderProtocolError) as caught:
            await transcript.words()
        assert len(str(caught.value)) < 400


async def test_an_answer_that_repeats_the_key_shows_nothing_of_it() -> None:
    async def repeat(exchange: HttpExchange) -> None:
        await exchange.answer(200, f"<p>no such key: {KEY}</p>".encode())

    async with scene(handler=repeat) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        with pytest.raises(ProviderProtocolError, match=r"no such key: \*\*\*") as caught:
            await transcript.words()
        assert KEY not in str(caught.value)


async def test_words_that_end_in_half_a_character_hold_whole_ones_only() -> None:
    async def halved(exchange: HttpExchange) -> None:
        await exchange.answer(200, rb'{"text": "yes \ud83d\ude00 please\ud83d"}')

    async with scene(handler=halved) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        assert await transcript.words() == "yes 😀 please\ufffd"


async def test_an_answer_that_trickles_is_given_up_at_the_deadline() -> None:
    async def trickle(exchange: HttpExchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(b" ")
            await trio.sleep(0.02)

    async with scene(handler=trickle, timeout=0.2) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        began = trio.current_time()
        with pytest.raises(ProviderUnavailable, match="no answer within"):
            await transcript.words()
        assert trio.current_time() - began < 1.0
