"""Text to speech by a Wyoming server: on a loopback socket, against a peer with faults."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog.testing
import trio

from agentd.audio.resample import convert
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.pipeline.stages import TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming import speak, watch
from agentd_providers.wyoming.settings import WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.shell.wyoming_peer import RATE, SOUND, Fault, WyomingPeer, frame, wyoming_peer

pytestmark = pytest.mark.loopback

IN_TIME = 3.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 0.05)
    monkeypatch.setattr(watch, "ANSWER_DEADLINE", 0.5)


@attrs.define(eq=False)
class ServedEngine:
    peer: WyomingPeer
    engine: TextToSpeech


@asynccontextmanager
async def engine_of(
    uri: str, language: str = "en-US", voice: str = "", speaker: str = "", timeout: float = 0.4
) -> AsyncIterator[TextToSpeech]:
    """The engine with what it shares; it leaves no task."""
    async with trio.open_nursery() as nursery:
        settings = WyomingSpeakSettings(uri, voice, speaker, timeout, connect_timeout=0.3)
        async with open_wyoming_speak(settings, language, SharedServices(nursery)) as engine:
            yield engine
        assert not nursery.child_tasks


@asynccontextmanager
async def an_engine(**how: object) -> AsyncIterator[ServedEngine]:
    async with wyoming_peer(**how) as peer, engine_of(peer.uri) as engine:  # type: ignore[arg-type]
        await peer.until(lambda: peer.open == 0)
        peer.requests.clear()
        peer.connections = 0
        with trio.fail_after(20):
            yield ServedEngine(peer, engine)
        await peer.until(lambda: peer.open == 0)
        assert peer.violations == []


# --- clauses


async def test_a_clause_is_spoken_at_the_rate_that_is_wanted() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        assert await speak_whole(voice, "Hello.", RATE) == SOUND
        assert await speak_whole(voice, "Hello.", 8000) == convert(SOUND, RATE, 8000)


@pytest.mark.parametrize("rate", [8000, 22050, 24000])
async def test_every_rate_of_a_voice_is_taken(rate: int) -> None:
    async with an_engine(rate=rate) as at, at.engine.open() as voice:
        assert await speak_whole(voice, "Hello.", 8000) == convert(SOUND, rate, 8000)


async def test_the_clauses_of_a_call_share_a_connection() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        for clause in ("One.", "Two.", "Three."):
            await speak_whole(voice, clause, 8000)
        assert [asked["text"] for asked in at.peer.asked("synthesize")] == ["One.", "Two.", "Three."]
        assert at.peer.connections == 1
        assert at.peer.open == 1


async def test_each_call_has_a_connection_of_its_own() -> None:
    async with an_engine() as at, at.engine.open() as one, at.engine.open() as other:
        await speak_whole(one, "One.", 8000)
        await speak_whole(other, "Two.", 8000)
        assert at.peer.connections == 2


async def test_clauses_at_the_same_time_do_not_meet() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        async with voice.speak("One.", RATE) as first, voice.speak("Two.", RATE) as second:
            assert await anext(aiter(second)) == await anext(aiter(first))
            assert b"".join([piece async for piece in first]) == b"".join([piece async for piece in second])
        await at.peer.until(lambda: at.peer.open == 1)  # one of the two is kept


async def test_a_text_of_nothing_has_no_sound() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        assert await speak_whole(voice, "", 8000) == b""
        assert await speak_whole(voice, "Hello.", RATE) == SOUND
        assert at.peer.connections == 1


async def test_the_voice_that_is_configured_is_asked_for() -> None:
    async with wyoming_peer() as peer, engine_of(peer.uri, voice="en_US-joe-medium", speaker="7") as engine:
        async with engine.open() as voice:
            await speak_whole(voice, "Hi.", 8000)
        assert peer.asked("synthesize")[-1] == {"text": "Hi.", "voice": {"name": "en_US-joe-medium", "speaker": "7"}}


async def test_without_one_the_server_chooses_for_the_language_as_it_spells_it() -> None:
    async with wyoming_peer() as peer, engine_of(peer.uri, language="de") as engine:
        async with engine.open() as voice:
            await speak_whole(voice, "Hallo.", 8000)
        assert peer.asked("synthesize")[-1]["voice"] == {"language": "de_DE"}


async def test_the_server_loads_its_voice_before_the_first_caller() -> None:
    async with wyoming_peer() as peer, engine_of(peer.uri):
        assert [asked["text"] for asked in peer.asked("synthesize")] == ["Hello."]


STOP = frame("audio-stop", {"timestamp": None})


@pytest.mark.parametrize("stray", [STOP, STOP[:10], frame("ping")], ids=["stop", "half a stop", "ping"])
async def test_what_comes_after_an_answer_belongs_to_no_later_clause(stray: bytes) -> None:
    async with an_engine() as at, at.engine.open() as voice:
        at.peer.surplus = [stray]
        await speak_whole(voice, "One.", 8000)
        await until(lambda: not at.peer.surplus)
        await trio.sleep(0.02)  # on its way to us
        assert await speak_whole(voice, "Two.", RATE) == SOUND
        assert await speak_whole(voice, "Three.", RATE) == SOUND
        assert at.peer.connections == 2


async def test_a_stop_that_comes_late_is_not_taken_for_a_clause_without_sound() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        await speak_whole(voice, "One.", 8000)
        at.peer.gate = trio.Event()
        got: list[bytes] = []

        async def ask() -> None:
            got.append(await speak_whole(voice, "Two.", RATE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await at.peer.until(lambda: len(at.peer.asked("synthesize")) == 2)
            await at.peer.streams[-1].send_all(STOP)
            await at.peer.until(lambda: at.peer.connections == 2)
            at.peer.gate.set()
        assert got == [SOUND]
        assert await speak_whole(voice, "Three.", RATE) == SOUND


async def test_a_big_chunk_is_converted_in_slices() -> None:
    async with (
        an_engine(piece=len(SOUND)) as at,
        at.engine.open() as voice,
        voice.speak("Hello.", 8000) as pieces,
    ):
        got = [piece async for piece in pieces]
        assert max(map(len, got)) <= speak.SLICE
        assert b"".join(got) == convert(SOUND, RATE, 8000)


# --- faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.MUTE, ProviderUnavailable),
        (Fault.CLOSES, ProviderUnavailable),
        (Fault.RESETS, ProviderUnavailable),
        (Fault.CUT, ProviderProtocolError),
        (Fault.GARBAGE, ProviderProtocolError),
        (Fault.OVERSIZE, ProviderProtocolError),
        (Fault.ERROR, ProviderRejected),
        (Fault.BUSY, ProviderUnavailable),
        (Fault.WRONG_FORMAT, ProviderProtocolError),
        (Fault.CHANGES_RATE, ProviderProtocolError),
        (Fault.FLOODS, ProviderProtocolError),
        (Fault.TRICKLES, ProviderUnavailable),
        (Fault.EMPTY_CHUNKS, ProviderUnavailable),
        (Fault.EMPTY_STARTS, ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first clause", "later clause"])
async def test_a_fault_is_raised_in_time_and_the_next_clause_is_spoken(
    fault: Fault, error: type[ProviderError], first: bool
) -> None:
    async with an_engine() as at, at.engine.open() as voice:
        if not first:
            await speak_whole(voice, "Hello.", 8000)
        at.peer.fault = fault
        began = trio.current_time()
        with pytest.raises(error, match=at.peer.uri):
            await speak_whole(voice, "Hello.", 8000)
        assert trio.current_time() - began < IN_TIME
        at.peer.fault = Fault.NONE
        assert await speak_whole(voice, "Hello.", RATE) == SOUND


async def test_a_connection_that_the_server_closed_meanwhile_is_opened_again() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        await speak_whole(voice, "One.", 8000)
        at.peer.drop_clients()
        assert await speak_whole(voice, "Two.", RATE) == SOUND
        assert at.peer.connections == 2


async def test_a_clause_that_ends_after_its_voice_was_closed_leaves_no_connection() -> None:
    """A call whose end came while the agent's own words were spoken kept one for good."""
    async with an_engine() as at:
        async with at.engine.open() as voice:
            speaking = voice.speak("One.", RATE)
            pieces = await speaking.__aenter__()
            async for _piece in pieces:
                pass
        await speaking.__aexit__(None, None, None)
        await at.peer.until(lambda: at.peer.open == 0)


async def test_a_server_that_says_it_is_full_is_not_asked_twice() -> None:
    async with an_engine() as at, at.engine.open() as voice:
        await speak_whole(voice, "One.", 8000)
        at.peer.fault = Fault.BUSY
        with pytest.raises(ProviderUnavailable, match=r"full \(busy\)"):
            await speak_whole(voice, "Two.", 8000)
        assert len(at.peer.asked("synthesize")) == 2


async def test_a_clause_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speak, "MOST_SECONDS", 0.1)
    async with an_engine() as at, at.engine.open() as voice:
        with pytest.raises(ProviderProtocolError, match=r"for more than 0\.1 s"):
            await speak_whole(voice, "One.", 8000)


async def test_a_server_that_speaks_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speak, "MOST_WAITED", 0.2)
    async with an_engine() as at, at.engine.open() as voice:
        at.peer.fault = Fault.DRIPS
        with pytest.raises(ProviderUnavailable, match=r"not done with a clause after 0\.2 s"):
            await speak_whole(voice, "One.", 8000)


async def test_a_listener_who_takes_their_time_is_no_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speak, "MOST_WAITED", 0.2)
    async with an_engine() as at, at.engine.open() as voice, voice.speak("One.", RATE) as pieces:
        sound = await anext(aiter(pieces))
        await trio.sleep(0.6)
        assert sound + b"".join([piece async for piece in pieces]) == SOUND


@pytest.mark.parametrize("fault", [Fault.EMPTY_CHUNKS, Fault.EMPTY_STARTS, Fault.DRIPS])
async def test_a_server_that_never_ends_its_answer_does_not_keep_an_agent_from_being_opened(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speak, "MOST_WAITED", 0.2)
    with trio.fail_after(IN_TIME):
        async with wyoming_peer(fault=fault) as peer, engine_of(peer.uri):
            pass


async def test_a_server_that_is_gone_is_told_once_and_found_again() -> None:
    with structlog.testing.capture_logs() as logs:
        async with an_engine() as at, at.engine.open() as voice:
            assert at.engine.readiness.ready
            at.peer.serving.cancel()
            await until(lambda: at.peer.open == 0)
            with pytest.raises(ProviderUnavailable, match="cannot connect"):
                await speak_whole(voice, "One.", 8000)
            await until(lambda: not at.engine.readiness.ready)
            assert re.search(r"unreachable since .*cannot connect", at.engine.readiness.detail)
            async with wyoming_peer(at.peer.port):
                await until(lambda: at.engine.readiness.ready)
                assert await speak_whole(voice, "Two.", RATE) == SOUND
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert told == [f"Wyoming server is {how}" for how in ("reached", "unreachable", "reached")]


async def test_a_server_that_cannot_speak_at_once_is_told_and_tried_again_later() -> None:
    with structlog.testing.capture_logs() as logs:
        async with wyoming_peer(fault=Fault.MUTE) as peer, engine_of(peer.uri) as engine:
            peer.fault = Fault.NONE
            async with engine.open() as voice:
                assert await speak_whole(voice, "Hi.", RATE) == SOUND
    assert "Wyoming server could not speak at once" in [line["event"] for line in logs]


@pytest.mark.parametrize(("language", "voice"), [("fr-FR", ""), ("en-US", "en_US-nobody-high")])
async def test_a_server_without_the_voice_or_the_language_is_refused_at_once(language: str, voice: str) -> None:
    async with wyoming_peer() as peer:
        with pytest.RaisesGroup(pytest.RaisesExc(ProviderRejected, match=language), flatten_subgroups=True):
            async with engine_of(peer.uri, language, voice):
                pass


async def test_a_voice_that_the_server_lists_and_does_not_have_is_refused_at_once() -> None:
    async with wyoming_peer(fault=Fault.ERROR) as peer:
        with pytest.RaisesGroup(pytest.RaisesExc(ProviderRejected, match="nope"), flatten_subgroups=True):
            async with engine_of(peer.uri):
                pass
