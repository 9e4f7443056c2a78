"""Deepgram's text to speech, against its fake on a real socket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from agentd.errors import (
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderUnavailable,
)
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd_providers.deepgram.speak import LONGEST_TEXT, DeepgramVoice, open_deepgram_speak
from agentd_providers.deepgram.speech_settings import DeepgramSpeakSettings
from agentd_providers.shared import SharedServices
from agentd_providers.vendor import access as vendor_access
from tests.lab.vendors.deepgram_speech import KEY, DeepgramSpeak
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler
from tests.lab.vendors.peer import PeerGone
from tests.lab.vendors.scripted_words import tone
from tests.shell.vendor_engine import ServedVoice, served

pytestmark = pytest.mark.loopback

TEXT = "Good morning."


@asynccontextmanager
async def an_engine(
    handler: HttpHandler | None = None, fake: DeepgramSpeak | None = None, **settings: Any
) -> AsyncIterator[ServedVoice]:
    """The engine and its vendor; when it is closed no connection and no task is left."""
    fake = fake or DeepgramSpeak()

    def opener(url: str, shared: SharedServices) -> AbstractAsyncContextManager[DeepgramVoice]:
        return open_deepgram_speak(DeepgramSpeakSettings(base_url=url, **settings), "en-US", shared)

    async with served(handler or fake.answer, opener) as (peer, engine):
        yield ServedVoice(peer, engine)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)


# --- what is asked, and what comes


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_a_clause_is_spoken_at_the_line_s_rate(rate: int) -> None:
    async with an_engine() as talk:
        assert await talk.say(TEXT, rate=rate) == tone(TEXT, rate)
        (request,) = talk.peer.requests
    assert request.query == (
        ("model", "aura-2-thalia-en"),
        ("encoding", "linear16"),
        ("container", "none"),
        ("sample_rate", str(rate)),
    )
    assert request.json() == {"text": TEXT}


async def test_a_rate_that_deepgram_does_not_have_is_made_of_one_that_it_has() -> None:
    async with an_engine() as talk:
        pcm = await talk.say(TEXT, rate=22050)
    assert len(pcm) == round(len(tone(TEXT, 22050)) / 2) * 2


async def test_a_long_text_is_spoken_in_parts_one_after_the_other() -> None:
    fake = DeepgramSpeak()
    async with an_engine(fake=fake) as talk:
        pcm = await talk.say("This is one sentence of many. " * 30)
        parts = [part for _at, part in fake.texts]
    assert len(parts) == 2 and all(len(part) <= LONGEST_TEXT for part in parts)
    assert pcm == b"".join(tone(part, 8000) for part in parts)


async def test_text_without_words_is_silence_that_nobody_is_asked_for() -> None:
    async with an_engine() as talk:
        assert await talk.say("...") == b""
        assert talk.peer.requests == []


async def test_clauses_and_calls_share_a_connection() -> None:
    async with an_engine() as talk:
        for _ in range(3):
            await talk.say(TEXT)
        assert (talk.peer.connections, len(talk.peer.requests)) == (1, 3)


async def test_a_kept_connection_that_deepgram_has_closed_meanwhile_is_replaced() -> None:
    async with an_engine() as talk:
        await talk.say(TEXT)
        for stream in list(talk.peer.open):
            await trio.aclose_forcefully(stream)
        assert await talk.say(TEXT) == tone(TEXT, 8000)


async def test_a_connection_that_ends_before_an_answer_is_replaced_once() -> None:
    fake = DeepgramSpeak()

    async def closing(exchange: HttpExchange) -> None:
        if len(talk.peer.requests) == 1:
            raise PeerGone("as servers do that have waited for long")
        await fake.answer(exchange)

    async with an_engine(closing) as talk:
        assert await talk.say(TEXT) == tone(TEXT, 8000)
        assert talk.peer.connections == 2


async def test_a_server_of_one_s_own_needs_no_key() -> None:
    async def keyless(exchange: HttpExchange) -> None:
        assert "authorization" not in exchange.request.headers
        await exchange.answer(200, tone(TEXT, 8000), "audio/l16;rate=8000")

    async with an_engine(keyless, api_key_name="") as talk:
        assert await talk.say(TEXT) == tone(TEXT, 8000)


# --- what goes wrong


@pytest.mark.parametrize(
    ("error", "statuses"), [(ProviderRejected, (301, 400, 402, 403, 413, 422)), (ProviderUnavailable, (408, 425, 500))]
)
async def test_error_statuses_tell_whether_we_were_wrong_or_trying_again_may_help(
    error: type[ProviderError], statuses: tuple[int, ...]
) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        await exchange.answer(status, f"no {KEY} ".encode() * 10_000)

    async with an_engine(refuse) as talk:
        for status in statuses:
            with pytest.raises(error, match=str(status)) as caught:
                await talk.say(TEXT)
            assert len(str(caught.value)) < 400 and KEY not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"ok": true}', b""])
async def test_what_is_no_audio_is_no_audio(body: bytes) -> None:
    async def other(exchange: HttpExchange) -> None:
        await exchange.answer(200, body, "application/json" if body else "audio/l16;rate=8000")

    async with an_engine(other) as talk:
        with pytest.raises(ProviderProtocolError, match="audio"):
            await talk.say(TEXT)


# --- readiness


async def test_after_a_while_a_refused_key_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_engine() as talk:
        talk.peer.strike(Fault.REFUSED)
        with pytest.raises(ProviderRejected):
            await talk.say(TEXT)
        assert not talk.engine.readiness.ready
        monkeypatch.setattr(vendor_access, "REFUSED_FOR", 0.0)
        assert talk.engine.readiness.ready


# --- cancellation


async def test_many_calls_that_come_and_go_leave_the_connections_in_order() -> None:
    """httpcore issue 1093: cancelled at random, requests would leave connections that can never be used again."""
    async with an_engine(fake=DeepgramSpeak(piece=2000)) as talk:

        async def caller(number: int) -> None:
            for turn in range(15):
                with trio.move_on_after((number * 7 + turn * 3) % 11 / 1000):
                    await talk.say(TEXT)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(caller, number)
        assert await talk.say(TEXT) == tone(TEXT, 8000)
        pool = talk.engine._http._client._transport._pool  # type: ignore[attr-defined]
        await until(lambda: all(connection.is_idle() for connection in pool.connections))
        assert len(pool.connections) <= 64
