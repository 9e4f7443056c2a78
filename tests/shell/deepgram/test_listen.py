"""Deepgram's live speech to text, against its fake on a real WebSocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd_providers.deepgram import live as module
from agentd_providers.deepgram.listen import DeepgramSpeechToText, open_deepgram_listen
from agentd_providers.deepgram.live import DeepgramLine
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.shared import SharedServices
from tests.lab.vendors.deepgram_speech import KEY, DeepgramListen
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.scripted_words import Script
from tests.shell.vendor_engine import PATIENCE, RATE, feed, loud, silence

pytestmark = pytest.mark.loopback


async def hang_up(peer: WebSocketPeer) -> None:
    """Close the connection that there is, and be as willing as before."""
    (connection,) = peer.open
    await connection.close(1011, "as vendors do")
    await until(lambda: connection not in peer.open)


@attrs.define(eq=False)
class ServedEngine:
    fake: DeepgramListen
    peer: WebSocketPeer
    engine: DeepgramSpeechToText
    unknown: list[str]

    @asynccontextmanager
    async def call(self, rate: int = RATE) -> AsyncIterator[DeepgramLine]:
        async with self.engine.open(rate) as line:
            assert isinstance(line, DeepgramLine)
            yield line


@asynccontextmanager
async def an_engine(*phrases: str, fake: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[ServedEngine]:
    """The engine and its vendor; when it is closed no connection and no task is left."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    vendor = DeepgramListen(Script(phrases or ("one", "two", "three", "four")), **(fake or {}))
    unknown: list[str] = []
    with trio.fail_after(PATIENCE):
        async with open_peer(vendor.run, WebSocketPeer(delay=0.1), admit=vendor.admit) as peer:
            wanted = DeepgramListenSettings(base_url=peer.url.replace("ws", "http", 1), **settings)
            async with trio.open_nursery() as nursery:
                shared = SharedServices(nursery, on_unknown=unknown.append)
                async with open_deepgram_listen(wanted, "en-US", shared) as engine:
                    yield ServedEngine(vendor, peer, engine, unknown)
                nursery.cancel_scope.cancel()
            await until(
                lambda: peer.fault is Fault.MUTE or not peer.open
            )  # who is mute at an upgrade sees nobody leave
        assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)


# --- what is asked


@pytest.mark.parametrize("rate", [8000, 16000])
async def test_a_call_is_a_connection_for_raw_audio_at_the_call_s_rate(rate: int) -> None:
    async with an_engine(keyterms=["agentd", "Trio nursery"]) as talk, talk.call(rate):
        (query,) = talk.fake.queries
    assert query == [
        ("model", "nova-3"),
        ("language", "en-US"),
        ("encoding", "linear16"),
        ("sample_rate", str(rate)),
        ("channels", "1"),
        ("interim_results", "true"),
        ("punctuate", "true"),
        ("endpointing", "false"),
        ("keyterm", "agentd"),
        ("keyterm", "Trio nursery"),
    ]


# --- words


async def test_at_a_pause_the_words_so_far_are_finished_and_known() -> None:
    async with an_engine("My number is five.") as talk, talk.call() as line:
        transcript, said = line.begin(), loud(0.9) + silence(0.1)
        feed(transcript, said)
        assert await transcript.words() == "My number is five."
        assert talk.fake.count("Finalize") == 1
        assert talk.fake.audio.endswith(said)


async def test_what_is_finished_is_not_asked_for_again() -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.2))
        assert [await transcript.words() for _ in range(3)] == ["one"] * 3
        assert talk.fake.count("Finalize") == 1


async def test_where_finalize_has_no_answer_what_was_heard_by_then_is_given_in_time() -> None:
    async with an_engine("one two", fake={"answers_finalize": False}, timeout=0.2) as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(1.0))  # after 0.5 s of a sound that begins or ends faintly there is one word yet
        await until(lambda: transcript.words_so_far.text == "one two")  # the interim results have come
        began = trio.current_time()
        assert await transcript.words() == "one two"
        assert 0.15 < trio.current_time() - began < 1.0


async def test_closed_is_closed() -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        for _ in range(2):
            transcript.close()
        feed(transcript, loud(0.5))
        await until(lambda: talk.fake.count("audio"))
        assert len(talk.fake.audio) == len(silence(module.OPENING_SILENCE))


# --- the connection


async def test_between_turns_the_connection_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.1)
    async with an_engine(fake={"idle": 0.4}) as talk, talk.call() as line:
        await until(lambda: talk.fake.count("KeepAlive") == 6)
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.1))
        assert await transcript.words() == "one"
        assert (talk.peer.connections, talk.fake.ends) == (1, [])


async def test_a_connection_that_dies_between_turns_is_replaced_before_the_next() -> None:
    async with an_engine() as talk, talk.call() as line:
        for word in ("one", "two"):
            transcript = line.begin()
            feed(transcript, loud(0.5) + silence(0.1))
            assert await transcript.words() == word
            transcript.close()
            if word == "one":
                await hang_up(talk.peer)
                await until(lambda: line.is_connected)


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.CUT])
async def test_a_connection_that_dies_in_a_turn_is_replaced_and_hears_the_rest_of_it_again(fault: Fault) -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.4))
        assert await transcript.words() == "one"
        feed(transcript, loud(0.5))
        old = next(iter(talk.peer.open))
        talk.peer.strike(fault)
        await until(lambda: old not in talk.peer.open)
        talk.peer.strike(Fault.NONE)
        feed(transcript, silence(0.4) + loud(0.5) + silence(0.1))
        assert await transcript.words() == "one two three"


async def test_what_is_kept_to_be_sent_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPEATED_SECONDS", 1)
    async with an_engine("one", fake={"interim_seconds": 100}) as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(1.0) + silence(0.5) + loud(0.5))
        await until(lambda: talk.fake.count("audio") == 101)
        talk.fake.received.clear()
        await hang_up(talk.peer)
        assert await transcript.words() == "one"
        assert len(talk.fake.audio) == len(silence(module.OPENING_SILENCE + 1))


async def test_words_of_a_vendor_that_cannot_be_reached_any_more_are_an_error_at_the_deadline() -> None:
    async with an_engine(timeout=0.3) as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.1))
        await until(lambda: talk.fake.count("audio") == 31)
        (connection,) = talk.peer.open
        talk.peer.fault = Fault.MUTE  # from the next upgrade on
        await connection.stream.aclose()
        began = trio.current_time()
        with pytest.raises(ProviderUnavailable, match="no connection within"):
            await transcript.words()
        assert trio.current_time() - began < 1.0


async def test_an_earlier_turn_that_is_still_waited_for_is_heard_again_too() -> None:
    async with an_engine(fake={"latency": 0.3}) as talk, talk.call() as line:
        words: dict[int, str] = {}

        async def ask(number: int, transcript: Transcript) -> None:
            words[number] = await transcript.words()

        async with trio.open_nursery() as nursery:
            for number in range(2):
                transcript = line.begin()
                feed(transcript, loud(0.5) + silence(0.4))
                nursery.start_soon(ask, number, transcript)
            await until(lambda: talk.fake.count("Finalize"))
            await hang_up(talk.peer)
        assert words == {0: "one", 1: "two"}


async def test_words_that_are_waited_for_when_the_connection_dies_come_from_the_next_one() -> None:
    async with an_engine(fake={"latency": 0.3}) as talk, talk.call() as line:
        transcript, words = line.begin(), []
        feed(transcript, loud(0.5) + silence(0.1))

        async def ask() -> None:
            words.append(await transcript.words())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: talk.fake.count("Finalize"))
            await hang_up(talk.peer)
        assert words == ["one"]


async def test_words_without_a_vendor_are_an_error_soon_and_come_once_it_is_back() -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.1))
        await until(lambda: talk.fake.count("audio") == 31)
        talk.peer.fault = Fault.UNAVAILABLE
        await hang_up(talk.peer)
        for _ in range(3):
            began = trio.current_time()
            with pytest.raises(ProviderUnavailable, match="HTTP 503"):
                await transcript.words()
            assert trio.current_time() - began < 0.2
        talk.peer.fault = Fault.NONE
        assert await transcript.words() == "one"


async def test_attempts_to_connect_come_less_and_less_often_and_a_new_turn_is_tried_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.05)
    async with an_engine() as talk, talk.call() as line:
        talk.peer.fault = Fault.UNAVAILABLE
        await hang_up(talk.peer)
        await until(lambda: line.failure)
        connections = talk.peer.connections
        await trio.sleep(0.5)
        assert 2 <= talk.peer.connections - connections <= 4
        await until(lambda: line.failure)
        connections = talk.peer.connections
        line.begin()
        await until(lambda: talk.peer.connections == connections + 1)


async def test_a_vendor_that_says_nothing_any_more_is_an_error_at_the_deadline_and_is_connected_to_anew() -> None:
    async with an_engine(timeout=0.3) as talk, talk.call() as line:
        talk.peer.strike(Fault.MUTE)
        transcript = line.begin()
        feed(transcript, loud(1.0))
        began = trio.current_time()
        with pytest.raises(ProviderUnavailable, match=r"nothing about the last 1\.0 s of a turn within 0\.3 s"):
            await transcript.words()
        assert trio.current_time() - began < 1.0
        talk.peer.strike(Fault.NONE)
        feed(transcript, silence(0.4))
        assert await transcript.words() == "one"
        assert talk.peer.connections == 2


async def test_a_vendor_that_takes_no_audio_any_more_is_connected_to_anew() -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        feed(transcript, loud(25.0))  # at once: more than waits to be sent
        assert not line.is_connected
        await until(lambda: line.is_connected)
        feed(transcript, silence(0.4))
        assert await transcript.words() == "one"
        assert talk.peer.connections == 2


async def test_what_we_do_not_know_is_counted_and_survived() -> None:
    async with an_engine() as talk, talk.call() as line:
        talk.peer.strike(Fault.GARBAGE)
        await until(lambda: len(talk.unknown) == 3)
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.1))
        assert await transcript.words() == "one"
        assert talk.unknown == ["deepgram"] * 3


async def test_a_message_of_any_length_costs_the_connection_at_most() -> None:
    async with an_engine() as talk, talk.call() as line:
        talk.peer.strike(Fault.OVERSIZED)
        await until(lambda: talk.peer.connections == 2)
        transcript = line.begin()
        feed(transcript, loud(0.5) + silence(0.1))
        assert await transcript.words() == "one"


# --- refusals


async def test_parameters_that_deepgram_does_not_take_are_told_as_our_fault() -> None:
    async with an_engine(model="") as talk:
        with pytest.raises(ProviderRejected, match="HTTP 400"):
            async with talk.call():
                raise AssertionError("it was opened")
        assert talk.engine.readiness.ready


async def test_a_key_that_is_refused_in_a_call_ends_the_attempts() -> None:
    async with an_engine() as talk, talk.call() as line:
        transcript = line.begin()
        talk.peer.fault = Fault.REFUSED
        await next(iter(talk.peer.open)).stream.aclose()
        await until(lambda: line.failure)
        with pytest.raises(ProviderRejected, match="credentials"):
            await transcript.words()
        assert not talk.engine.readiness.ready
        connections = talk.peer.connections
        line.begin()
        await trio.sleep(0.05)
        assert talk.peer.connections == connections
