"""Text to speech by an OpenAI-compatible server, against a fake on a real socket. What both vendors have in common
(errors, deadlines, readiness, cancellation) is in tests/shell/deepgram/test_speak.py."""

import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from agentd.audio.resample import convert
from agentd.config.schema import Problem, build
from agentd.errors import ProviderProtocolError
from agentd_providers.openai.speak import LONGEST_TEXT, OpenAiVoice, open_openai_speak
from agentd_providers.openai.speech_settings import OpenAiSpeakSettings, SpeechFormat
from agentd_providers.shared import SharedServices
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler
from tests.lab.vendors.openai_speech import COMPATIBLE, KEY, OpenAiSpeech
from tests.lab.vendors.scripted_words import tone
from tests.shell.vendor_engine import ServedVoice, served

pytestmark = pytest.mark.loopback

TEXT = "Good morning."


def wav_header(rate: int, size: int) -> bytes:
    form = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return form + struct.pack("<4sI", b"data", size)


@asynccontextmanager
async def an_engine(
    handler: HttpHandler | None = None, fake: OpenAiSpeech | None = None, **settings: Any
) -> AsyncIterator[ServedVoice]:
    """The engine and its server; when it is closed no connection and no task is left."""
    fake = fake or OpenAiSpeech()

    def opener(url: str, shared: SharedServices) -> AbstractAsyncContextManager[OpenAiVoice]:
        return open_openai_speak(
            OpenAiSpeakSettings(base_url=f"{url}/v1", **{"model": COMPATIBLE, **settings}), "en-US", shared
        )

    async with served(handler or fake.answer, opener) as (peer, engine):
        yield ServedVoice(peer, engine)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def test_a_clause_is_asked_for_as_the_reference_has_it() -> None:
    async with an_engine(voice="marin", instructions="Be brisk.") as talk:
        await talk.say(TEXT)
        (request,) = talk.peer.requests
    assert request.path == "/v1/audio/speech"
    assert request.json() == {
        "model": COMPATIBLE,
        "voice": "marin",
        "instructions": "Be brisk.",
        "response_format": "wav",
        "input": TEXT,
    }


@pytest.mark.parametrize("server_rate", [16000, 22050, 24000])
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0])
async def test_a_wav_s_header_tells_its_rate_and_the_line_gets_its_own(server_rate: int, rate: int, size: int) -> None:
    async with an_engine(fake=OpenAiSpeech(rate=server_rate, wav_size=size)) as talk:
        assert await talk.say(TEXT, rate=rate) == convert(tone(TEXT, server_rate), server_rate, rate)


@pytest.mark.parametrize("pcm_rate", [16000, 24000])
async def test_pcm_is_at_the_rate_that_is_set(pcm_rate: int) -> None:
    fake = OpenAiSpeech(rate=pcm_rate)
    async with an_engine(fake=fake, response_format=SpeechFormat.PCM, pcm_rate=pcm_rate) as talk:
        assert await talk.say(TEXT) == convert(tone(TEXT, pcm_rate), pcm_rate, 8000)


def test_a_rate_that_nobody_can_convert_is_no_setting() -> None:
    problems: list[Problem] = []
    build(OpenAiSpeakSettings, {"pcm_rate": 12345}, "speak", problems)
    assert [str(problem) for problem in problems] == [
        "speak.pcm_rate: must be one of 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000,"
        " not 12345"
    ]


async def test_a_long_text_is_spoken_in_parts() -> None:
    fake = OpenAiSpeech(rate=8000, piece=50_000)
    async with an_engine(fake=fake) as talk:
        pcm = await talk.say("It goes on and on and on and on. " * 30)
        parts = [part for _at, part in fake.texts]
    assert len(parts) == 2 and all(len(part) <= LONGEST_TEXT for part in parts)
    assert pcm == b"".join(tone(part, 8000) for part in parts)


async def test_a_server_of_one_s_own_needs_no_key() -> None:
    async with an_engine(fake=OpenAiSpeech(key=""), api_key_name="") as talk:
        assert await talk.say(TEXT)
        assert "authorization" not in talk.peer.requests[0].headers


@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
async def test_what_is_neither_wav_nor_pcm_is_an_error(content_type: str) -> None:
    async def other(exchange: HttpExchange) -> None:
        await exchange.answer(200, b"anything", content_type)

    async with an_engine(other, response_format=SpeechFormat.PCM) as talk:
        with pytest.raises(ProviderProtocolError, match=f"expected audio, got '{content_type}'"):
            await talk.say(TEXT)


async def test_a_rate_that_nobody_can_convert_is_an_error() -> None:
    async with an_engine(fake=OpenAiSpeech(rate=12345)) as talk:
        with pytest.raises(ProviderProtocolError, match="audio at 12345 Hz"):
            await talk.say(TEXT)


@pytest.mark.parametrize("response_format", SpeechFormat)
async def test_what_an_audio_type_says_is_not_believed(response_format: SpeechFormat) -> None:
    spoken = OpenAiSpeech(rate=16000)

    async def mislabelled(exchange: HttpExchange) -> None:
        await exchange.answer(200, wav_header(16000, 0xFFFFFFFF) + tone(TEXT, 16000), "audio/mpeg")

    async with an_engine(mislabelled, fake=spoken, response_format=response_format) as talk:
        assert await talk.say(TEXT) == convert(tone(TEXT, 16000), 16000, 8000)


async def test_a_body_that_is_shorter_than_it_says_is_heard_and_then_told() -> None:
    whole = tone(TEXT, 8000)

    async def cut(exchange: HttpExchange) -> None:
        await exchange.answer(200, wav_header(8000, 2 * len(whole)) + whole, "audio/wav")

    async with an_engine(cut) as talk:
        with pytest.raises(ProviderProtocolError, match="the audio is cut"):
            await talk.say(TEXT)
