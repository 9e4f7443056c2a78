"""Deepgram's text to speech, against its fake on a real socket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.errors import (
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderUnavailable,
)
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd_providers.deepgram.speak import LONGEST_TEXT, DeepgramVoice, open_deepgram_speak
from agentd_providers.deepgram.speech_settings import DeepgramSpeakSettings
from agentd_providers.pipeline.stages import speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.vendor import access as vendor_access
from tests.lab.vendors.deepgram_speech import KEY, DeepgramSpeak
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, HttpPeer
from tests.lab.vendors.peer import PeerGone
from tests.lab.vendors.scripted_words import tone
from tests.shell.vendor_engine import TIMEOUT, faulty, served

pytestmark = pytest.mark.loopback

TEXT = "Good morning."
PATIENCE = 20.0


@attrs.define(eq=False)
class Scene:
    fake: DeepgramSpeak
    peer: HttpPeer
    engine: DeepgramVoice

    async def say(self, text: str = TEXT, rate: int = 8000) -> bytes:
        async with self.engine.open() as voice:
            return await speak_whole(voice, text, rate)


@asynccontextmanager
async def scene(
    handler: HttpHandler | None = None, fake: DeepgramSpeak | None = None, **settings: Any
) -> AsyncIterator[Scene]:
    """The engine and its vendor; when it is closed no connection and no task is left."""
    fake = fake or DeepgramSpeak()

    def opener(url: str, shared: SharedServices) -> AbstractAsyncContextManager[DeepgramVoice]:
        return open_deepgram_speak(DeepgramSpeakSettings(base_url=url, **settings), "en-US", shared)

    async with served(handler or fake.answer, opener) as (peer, engine):
        yield Scene(fake, peer, engine)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)


# --- what is asked, and what comes


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
async def test_a_clause_is_spoken_at_the_line_s_rate(rate: int) -> None:
    async with scene() as talk:
        assert await talk.say(rate=rate) == tone(TEXT, rate)
        (request,) = talk.peer.requests
    assert request.query == (
        ("model", "aura-2-thalia-en"),
        ("encoding", "linear16"),
        ("container", "none"),
        ("sample_rate", str(rate)),
    )
    assert request.json() == {"text": TEXT}


async def test_a_rate_that_deepgram_does_not_have_is_made_of_one_that_it_has() -> None:
    async with scene() as talk:
        pcm = await talk.say(rate=22050)
    assert len(pcm) == round(len(tone(TEXT, 22050)) / 2) * 2


async def test_a_piece_is_handed_on_as_soon_as_it_comes_and_holds_whole_samples() -> None:
    heard, spoken = trio.Event(), tone(TEXT, 8000)

    async def wait_for_the_listener(exchange: HttpExchange) -> None:
        await exchange.begin(200, "audio/l16;rate=8000")
        await exchange.send(spoken[:1001])
        await heard.wait()
        await exchange.send(spoken[1001:])
        await exchange.end()

    async with scene(wait_for_the_listener) as talk:
        async with talk.engine.open() as voice, voice.speak(TEXT, 8000) as pieces:
            assert await anext(pieces) == spoken[:1000]
            heard.set()
            assert b"".join([piece async for piece in pieces]) == spoken[1000:]


async def test_a_long_text_is_spoken_in_parts_one_after_the_other() -> None:
    text = "This is one sentence of many. " * 30
    async with scene() as talk:
        pcm = await talk.say(text)
        parts = [part for _at, part in talk.fake.texts]
    assert len(parts) == 2 and all(len(part) <= LONGEST_TEXT for part in parts)
    assert pcm == b"".join(tone(part, 8000) for part in parts)


async def test_text_without_words_is_silence_that_nobody_is_asked_for() -> None:
    async with scene() as talk:
        assert await talk.say("...") == b""
        assert talk.peer.requests == []


async def test_clauses_and_calls_share_a_connection() -> None:
    async with scene() as talk:
        for _ in range(3):
            await talk.say()
        assert (talk.peer.connections, len(talk.peer.requests)) == (1, 3)


async def test_a_kept_connection_that_deepgram_has_closed_meanwhile_is_replaced() -> None:
    async with scene() as talk:
        await talk.say()
        for stream in list(talk.peer.open):
            await trio.aclose_forcefully(stream)
        assert await talk.say() == tone(TEXT, 8000)


async def test_a_connection_that_ends_before_an_answer_is_replaced_once() -> None:
    async def closing(exchange: HttpExchange) -> None:
        if len(talk.peer.requests) == 1:
            raise PeerGone("as servers do that have waited for long")
        await talk.fake.answer(exchange)

    async with scene(closing) as talk:
        assert await talk.say() == tone(TEXT, 8000)
        assert talk.peer.connections == 2


async def test_the_key_is_in_a_header_and_nowhere_else() -> None:
    async with scene() as talk:
        await talk.say()
        (request,) = talk.peer.requests
        assert request.headers["authorization"] == f"Token {KEY}"
        assert KEY not in f"{request.path}{request.query}{talk.engine!r}"


async def test_a_server_of_one_s_own_needs_no_key() -> None:
    async def keyless(exchange: HttpExchange) -> None:
        assert "authorization" not in exchange.request.headers
        await exchange.answer(200, tone(TEXT, 8000), "audio/l16;rate=8000")

    async with scene(keyless, api_key_name="") as talk:
        assert await talk.say() == tone(TEXT, 8000)


@pytest.mark.parametrize("wrong", ["", "two\nlines", "schlüssel"])
async def test_without_a_key_there_is_no_engine(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", wrong)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConfigError, match="DEEPGRAM_API_KEY") as caught:
            async with open_deepgram_speak(DeepgramSpeakSettings(), "en", SharedServices(nursery)):
                raise AssertionError("it was opened")
    assert not wrong or wrong not in str(caught.value)


# --- what goes wrong


@faulty()
async def test_each_fault_is_an_error_and_the_next_clause_is_spoken(
    fault: Fault, error: type[ProviderError], says: str
) -> None:
    async with scene(timeout=TIMEOUT) as talk:
        talk.peer.strike(fault)
        with pytest.raises(error, match=says) as caught:
            await talk.say()
        assert len(str(caught.value)) < 400 and KEY not in str(caught.value)
        talk.peer.strike(Fault.NONE)
        assert await talk.say() == tone(TEXT, 8000)


async def test_a_slow_answer_is_waited_for() -> None:
    async with scene(fake=DeepgramSpeak(piece=100_000)) as talk:
        talk.peer.strike(Fault.SLOW)
        assert await talk.say() == tone(TEXT, 8000)


@pytest.mark.parametrize(
    ("error", "statuses"), [(ProviderRejected, (301, 400, 402, 403, 413, 422)), (ProviderUnavailable, (408, 425, 500))]
)
async def test_error_statuses_tell_whether_we_were_wrong_or_trying_again_may_help(
    error: type[ProviderError], statuses: tuple[int, ...]
) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        await exchange.answer(status, f"no {KEY} ".encode() * 10_000)

    async with scene(refuse) as talk:
        for status in statuses:
            with pytest.raises(error, match=str(status)) as caught:
                await talk.say()
            assert len(str(caught.value)) < 400 and KEY not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"ok": true}', b""])
async def test_what_is_no_audio_is_no_audio(body: bytes) -> None:
    async def other(exchange: HttpExchange) -> None:
        await exchange.answer(200, body, "application/json" if body else "audio/l16;rate=8000")

    async with scene(other) as talk:
        with pytest.raises(ProviderProtocolError, match="audio"):
            await talk.say()


@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.CUT, Fault.CLOSE])
async def test_a_vendor_that_fails_in_a_clause_has_what_came_before_heard(fault: Fault) -> None:
    heard = b""
    async with scene(fake=DeepgramSpeak(piece=1000, pause=0.05), timeout=0.3) as talk:
        with pytest.raises(ProviderUnavailable):
            async with talk.engine.open() as voice, voice.speak(TEXT, 8000) as pieces:
                async for piece in pieces:
                    heard += piece
                    talk.peer.strike(fault)
    assert heard and tone(TEXT, 8000).startswith(heard)


async def test_a_listener_that_takes_its_time_is_not_the_vendor_s_fault() -> None:
    async with scene(timeout=0.2) as talk:
        async with talk.engine.open() as voice, voice.speak(TEXT, 8000) as pieces:
            heard = await anext(pieces)
            await trio.sleep(0.4)
            heard += b"".join([piece async for piece in pieces])
    assert heard == tone(TEXT, 8000)


async def test_nothing_listening_is_unavailable() -> None:
    async with scene() as talk:
        pass
    async with trio.open_nursery() as nursery:
        settings = DeepgramSpeakSettings(base_url=talk.peer.url)
        async with open_deepgram_speak(settings, "en", SharedServices(nursery)) as engine:
            with pytest.raises(ProviderUnavailable, match="ConnectError"):
                async with engine.open() as voice:
                    await speak_whole(voice, TEXT, 8000)


# --- readiness


async def test_an_engine_is_ready_until_its_key_is_refused_and_again_once_it_is_taken() -> None:
    async with scene() as talk:
        assert talk.engine.readiness.ready
        for fault, ready in [(Fault.UNAVAILABLE, True), (Fault.REFUSED, False)]:
            talk.peer.strike(fault)
            with pytest.raises(ProviderError):
                await talk.say()
            assert talk.engine.readiness.ready is ready
        assert "credentials" in talk.engine.readiness.detail
        talk.peer.strike(Fault.NONE)
        await talk.say()
        assert talk.engine.readiness.ready


async def test_after_a_while_a_refused_key_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as talk:
        talk.peer.strike(Fault.REFUSED)
        with pytest.raises(ProviderRejected):
            await talk.say()
        assert not talk.engine.readiness.ready
        monkeypatch.setattr(vendor_access, "REFUSED_FOR", 0.0)
        assert talk.engine.readiness.ready


# --- cancellation


@pytest.mark.parametrize("after", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_who_leaves_at_any_time_leaves_at_once_and_leaves_nothing(after: float) -> None:
    async with scene(fake=DeepgramSpeak(piece=500, pause=0.01)) as talk:
        for _ in range(20):
            with trio.move_on_after(after):
                await talk.say()
        began = trio.current_time()
        with trio.move_on_after(after):
            await talk.say()
        assert trio.current_time() - began < after + 0.1
        assert await talk.say() == tone(TEXT, 8000)


async def test_a_clause_that_is_not_listened_to_is_ended_at_the_vendor_too() -> None:
    async with scene(fake=DeepgramSpeak(piece=100, pause=0.05)) as talk:
        async with talk.engine.open() as voice, voice.speak(TEXT, 8000) as pieces:
            await anext(pieces)
        await until(lambda: talk.peer.unfinished)
        assert not talk.peer.open


async def test_many_calls_that_come_and_go_leave_the_connections_in_order() -> None:
    """httpcore issue 1093: cancelled at random, requests would leave connections that can never be used again."""
    async with scene(fake=DeepgramSpeak(piece=2000)) as talk:

        async def caller(number: int) -> None:
            for turn in range(15):
                with trio.move_on_after((number * 7 + turn * 3) % 11 / 1000):
                    await talk.say()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(caller, number)
        assert await talk.say() == tone(TEXT, 8000)
        pool = talk.engine._http._client._transport._pool  # type: ignore[attr-defined]
        await until(lambda: all(connection.is_idle() for connection in pool.connections))
        assert len(pool.connections) <= 64
