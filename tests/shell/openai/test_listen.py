"""Speech to text by an OpenAI-compatible server, against a fake on a real socket."""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.errors import ProviderProtocolError, ProviderUnavailable
from agentd_providers.openai import listen as module
from agentd_providers.openai.listen import SETTLED_SECONDS, OpenAiSpeechToText, open_openai_listen
from agentd_providers.openai.speech_settings import OpenAiListenSettings
from agentd_providers.shared import SharedServices
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, HttpPeer
from tests.lab.vendors.openai_speech import KEY, OpenAiSpeech
from tests.lab.vendors.scripted_words import Script
from tests.shell.vendor_engine import RATE, feed, loud, served, silence

pytestmark = pytest.mark.loopback


@attrs.define(eq=False)
class ServedEngine:
    fake: OpenAiSpeech
    peer: HttpPeer
    engine: OpenAiSpeechToText


@asynccontextmanager
async def an_engine(
    *phrases: str, handler: HttpHandler | None = None, language: str = "en-US", **settings: Any
) -> AsyncIterator[ServedEngine]:
    """The engine and its server; when it is closed no connection and no task is left."""
    fake = OpenAiSpeech(Script(phrases or ("yes please",)))

    def opener(url: str, shared: SharedServices) -> AbstractAsyncContextManager[OpenAiSpeechToText]:
        return open_openai_listen(OpenAiListenSettings(base_url=f"{url}/v1", **settings), language, shared)

    async with served(handler or fake.answer, opener) as (peer, engine):
        yield ServedEngine(fake, peer, engine)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def test_a_turn_is_sent_as_the_reference_has_it() -> None:
    async with an_engine(language="de-DE", prompt="Agentd.") as talk, talk.engine.open(RATE) as transcriber:
        transcript, said = transcriber.begin(), loud(0.5) + silence(0.2)
        feed(transcript, said)
        assert await transcript.words() == "yes please"
        (request,) = talk.peer.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/audio/transcriptions", f"Bearer {KEY}")
    form = request.form()
    assert {name: part.text for name, part in form.items() if name != "file"} == {
        "model": "gpt-transcribe",
        "languages[]": "de",
        "response_format": "json",
        "prompt": "Agentd.",
    }
    with wave.open(io.BytesIO(form["file"].content)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE)
        assert wav.readframes(wav.getnframes()) == said


async def test_the_settled_part_of_a_long_turn_is_not_sent_again() -> None:
    async with an_engine("one", "two", "three", "four") as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        for number in range(4):
            feed(transcript, loud(SETTLED_SECONDS - 1) + silence(0.4))
            assert await transcript.words() == " ".join(["one", "two", "three", "four"][: number + 1])
        lengths = [seconds for _at, seconds, _text in talk.fake.heard]
    assert lengths == pytest.approx([4.4, 8.8, 4.4, 8.8])


async def test_a_sound_too_short_for_a_word_is_not_sent() -> None:
    async with an_engine() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        assert await transcript.words() == ""
        feed(transcript, loud(0.18))
        assert await transcript.words() == ""
        assert talk.peer.requests == []


async def test_of_a_turn_without_end_the_beginning_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 2)
    async with an_engine() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(1.5) + silence(0.5) + loud(0.5))
        assert await transcript.words() == "yes please yes please"
        ((_at, seconds, _text),) = talk.fake.heard
    assert seconds == 2


async def test_what_is_known_is_not_asked_again() -> None:
    async with an_engine() as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        assert [await transcript.words() for _ in range(2)] == ["yes please"] * 2
        assert len(talk.peer.requests) == 1


@pytest.mark.parametrize("body", [b"[]", b'{"text": 7}', b"{}", b"\xff\xfe", b'{"text": "' + b"x" * 300_000])
async def test_an_answer_that_makes_no_sense_is_an_error(body: bytes) -> None:
    async def other(exchange: HttpExchange) -> None:
        await exchange.answer(200, body)

    async with an_engine(handler=other) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        with pytest.raises(ProviderProtocolError) as caught:
            await transcript.words()
        assert len(str(caught.value)) < 400


async def test_an_answer_that_repeats_the_key_shows_nothing_of_it() -> None:
    async def repeat(exchange: HttpExchange) -> None:
        await exchange.answer(200, f"<p>no such key: {KEY}</p>".encode())

    async with an_engine(handler=repeat) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        with pytest.raises(ProviderProtocolError, match=r"no such key: \*\*\*") as caught:
            await transcript.words()
        assert KEY not in str(caught.value)


async def test_words_that_end_in_half_a_character_hold_whole_ones_only() -> None:
    async def halved(exchange: HttpExchange) -> None:
        await exchange.answer(200, rb'{"text": "yes \ud83d\ude00 please\ud83d"}')

    async with an_engine(handler=halved) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        assert await transcript.words() == "yes 😀 please\ufffd"


async def test_an_answer_that_trickles_is_given_up_at_the_deadline() -> None:
    async def trickle(exchange: HttpExchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(b" ")
            await trio.sleep(0.02)

    async with an_engine(handler=trickle, timeout=0.2) as talk, talk.engine.open(RATE) as transcriber:
        transcript = transcriber.begin()
        feed(transcript, loud(0.5))
        began = trio.current_time()
        with pytest.raises(ProviderUnavailable, match="no answer within"):
            await transcript.words()
        assert trio.current_time() - began < 1.0
