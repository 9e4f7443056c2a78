"""Speech to text by a Wyoming server: on a loopback socket, against a peer with faults."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import structlog.testing
import trio
import trio.testing

from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.pipeline.stages import SpeechToText, Transcript
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming import listen, watch
from agentd_providers.wyoming.listen import open_wyoming_listen
from agentd_providers.wyoming.settings import WyomingListenSettings
from tests.shell.wyoming_peer import INFO, RATE, Fault, WyomingPeer, frame, sound_of, wyoming_peer

pytestmark = pytest.mark.loopback

FRAME = RATE // 50 * 2
IN_TIME = 3.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 0.05)
    monkeypatch.setattr(watch, "ANSWER_DEADLINE", 0.5)


@attrs.define(eq=False)
class ServedEngine:
    peer: WyomingPeer
    engine: SpeechToText

    @asynccontextmanager
    async def turn(self, rate: int = RATE) -> AsyncIterator[Transcript]:
        async with self.engine.open(rate) as transcriber:
            yield transcriber.begin()


@asynccontextmanager
async def engine_of(
    uri: str, language: str = "en-US", timeout: float = 0.4, model: str = ""
) -> AsyncIterator[SpeechToText]:
    """The engine with what it shares; it leaves no task."""
    async with trio.open_nursery() as nursery:
        settings = WyomingListenSettings(uri, model, timeout=timeout, connect_timeout=0.3)
        async with open_wyoming_listen(settings, language, SharedServices(nursery)) as engine:
            yield engine
        assert not nursery.child_tasks


@asynccontextmanager
async def an_engine(**how: object) -> AsyncIterator[ServedEngine]:
    async with wyoming_peer(**how) as peer, engine_of(peer.uri) as engine:  # type: ignore[arg-type]
        with trio.fail_after(20):
            yield ServedEngine(peer, engine)
        await peer.until(lambda: peer.open == 0)
        assert peer.violations == []


def speak(transcript: Transcript, word: str, seconds: float = 0.4) -> None:
    """Frame by frame, as the line brings it."""
    pcm = sound_of(word, seconds)
    for start in range(0, len(pcm), FRAME):
        transcript.feed(pcm[start : start + FRAME])


# --- turns


async def test_a_turn_becomes_words_in_the_order_that_wyoming_wants() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one")
        assert await turn.words() == "one"
        kinds = list(dict.fromkeys(kind for kind, _ in at.peer.requests))
        assert kinds == ["describe", "transcribe", "audio-start", "audio-chunk", "audio-stop"]
        assert at.peer.asked("transcribe") == [{"language": "en"}]  # as this server spells en-US


async def test_the_audio_is_there_before_the_caller_pauses() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one", seconds=1)
        await at.peer.until(lambda: len(at.peer.asked("audio-chunk")) > 0)
        assert at.peer.asked("audio-stop") == []


async def test_audio_of_the_telephone_reaches_the_server_at_16_khz() -> None:
    async with an_engine(transcribe=lambda pcm: str(len(pcm))) as at, at.turn(rate=8000) as turn:
        turn.feed(bytes(8000))
        assert int(await turn.words()) == pytest.approx(16000, abs=200)


async def test_a_turn_that_goes_on_after_a_pause_is_heard_as_a_whole() -> None:
    async with an_engine() as at, at.turn() as turn:
        for said, word in (("one", "one"), ("one two", "two"), ("one two three", "three")):
            speak(turn, word)
            assert await turn.words() == said
            assert await turn.words() == said  # nothing new: nobody is asked
        assert len(at.peer.utterances) == 3


async def test_what_was_understood_before_a_pause_in_a_long_turn_is_not_sent_again() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one", seconds=listen.SETTLED_SECONDS + 1)
        assert await turn.words() == "one"
        speak(turn, "two")
        assert await turn.words() == "one two"
        assert len(at.peer.utterances[1]) < len(at.peer.utterances[0]) / 4


async def test_a_caller_who_goes_on_is_sent_before_words_are_asked_for_again() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one")
        await turn.words()
        speak(turn, "two", seconds=listen.GOES_ON_SECONDS + 0.2)
        await at.peer.until(lambda: len(at.peer.asked("transcribe")) == 2)
        assert await turn.words() == "one two"
        assert len(at.peer.asked("transcribe")) == 2


async def test_a_turn_of_nothing_has_no_words() -> None:
    async with an_engine() as at, at.turn() as turn:
        assert await turn.words() == ""
        assert at.peer.utterances == []


async def test_a_monologue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "MOST_SECONDS", 2)
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one", seconds=2)
        with structlog.testing.capture_logs() as logs:
            speak(turn, "two", seconds=2)
        assert [line["event"] for line in logs] == ["a turn is too long for one utterance: the rest is left out"]
        assert await turn.words() == "one"


async def test_a_server_that_keeps_connections_open_has_them_closed() -> None:
    async with an_engine(closes_after_transcript=False) as at, at.turn() as turn:
        speak(turn, "one")
        assert await turn.words() == "one"
        await at.peer.until(lambda: at.peer.open == 0)


async def test_a_turn_that_was_none_leaves_nothing_at_the_server() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one")
        await at.peer.until(lambda: len(at.peer.asked("audio-start")) == 1)
        turn.close()
        await at.peer.until(lambda: at.peer.open == 0)
        assert at.peer.utterances == []


# --- faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RESETS, ProviderUnavailable),
        (Fault.WRONG_TEXT, ProviderProtocolError),
        (Fault.FLOODS, ProviderProtocolError),
        (Fault.TRICKLES, ProviderUnavailable),
    ],
)
async def test_a_fault_is_raised_in_time_and_the_next_turn_is_served(fault: Fault, error: type[ProviderError]) -> None:
    async with an_engine(fault=fault) as at, at.engine.open(RATE) as transcriber:
        turn = transcriber.begin()
        speak(turn, "one")
        began = trio.current_time()
        with pytest.raises(error, match=rf"{at.peer.uri}"):
            await turn.words()
        assert trio.current_time() - began < IN_TIME
        at.peer.fault = Fault.NONE
        assert await turn.words() == "one"
        turn.close()
        another = transcriber.begin()
        speak(another, "two")
        assert await another.words() == "two"


async def test_words_that_come_before_the_turn_is_complete_are_not_its_words() -> None:
    async with an_engine() as at, at.turn() as turn:
        at.peer.early = [frame("transcript", {"text": "nine"})]
        speak(turn, "one")
        await at.peer.until(lambda: at.peer.connections == 2 and at.peer.open == 0)
        assert await turn.words() == "one"


async def test_a_server_that_always_answers_too_early_is_told() -> None:
    async with an_engine() as at, at.turn() as turn:
        at.peer.early, at.peer.always_early = [frame("transcript", {"text": "nine"})], True
        speak(turn, "one", seconds=30)
        with pytest.raises(ProviderUnavailable, match="before the turn was complete"):
            await turn.words()


async def test_what_is_said_is_bounded_for_a_peer_that_says_what_it_serves_and_more_so_for_others() -> None:
    padding = "x" * (100 << 10)
    async with an_engine(info={**INFO, "padding": padding}) as at, at.turn() as turn:
        assert at.engine.readiness.ready
        at.peer.transcribe = lambda _: padding
        speak(turn, "one")
        with pytest.raises(ProviderProtocolError, match="data_length"):
            await turn.words()
    async with wyoming_peer(info={**INFO, "padding": padding * 3}) as peer, engine_of(peer.uri) as engine:
        assert "data_length" in engine.readiness.detail


async def test_a_connection_that_breaks_while_the_caller_speaks_costs_nothing() -> None:
    async with an_engine() as at, at.turn() as turn:
        speak(turn, "one")
        await at.peer.until(lambda: len(at.peer.asked("audio-chunk")) > 0)
        at.peer.drop_clients()
        await at.peer.until(lambda: at.peer.open == 0)
        speak(turn, "two")
        assert await turn.words() == "one two"


async def test_a_server_that_is_gone_is_told_once_and_found_again() -> None:
    with structlog.testing.capture_logs() as logs:
        async with an_engine() as at, at.engine.open(RATE) as transcriber:
            assert at.engine.readiness.ready
            at.peer.serving.cancel()
            await until(lambda: at.peer.open == 0)
            turn = transcriber.begin()
            speak(turn, "one")
            with pytest.raises(ProviderUnavailable, match="cannot connect"):
                await turn.words()
            await until(lambda: not at.engine.readiness.ready)
            assert re.search(r"unreachable since \d{4}-\d\d-\d\d [\d:]+: .*cannot connect", at.engine.readiness.detail)
            await trio.sleep(0.2)  # it is tried again and again meanwhile
            async with wyoming_peer(at.peer.port):
                await until(lambda: at.engine.readiness.ready)
                assert await turn.words() == "one"
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert told == [f"Wyoming server is {how}" for how in ("reached", "unreachable", "reached")]


async def test_a_server_that_comes_later_is_waited_for_and_judged_then() -> None:
    async with wyoming_peer() as peer:
        port = peer.port
    async with engine_of(f"tcp://127.0.0.1:{port}", language="fr") as engine:
        assert not engine.readiness.ready
        async with wyoming_peer(port):
            await until(lambda: "has no speech to text" in engine.readiness.detail)
            assert not engine.readiness.ready


async def test_a_mute_server_is_unreachable_too() -> None:
    async with wyoming_peer(describes=False) as peer, engine_of(peer.uri) as engine:
        assert "silent for" in engine.readiness.detail
        assert not engine.readiness.ready


async def test_a_server_that_hangs_is_found_out_by_asking_it_and_serves_again_when_it_goes_on() -> None:
    """Stopped, it takes connections as before: its kernel does."""
    async with wyoming_peer() as peer, engine_of(peer.uri) as engine:
        assert engine.readiness.ready
        peer.describes = False
        began = trio.current_time()
        await until(lambda: not engine.readiness.ready, patience=60)  # although nobody was to be served meanwhile
        assert trio.current_time() - began <= watch.INTERVAL + watch.ANSWER_DEADLINE + 1
        assert "silent for" in engine.readiness.detail
        peer.describes = True
        await until(lambda: engine.readiness.ready)


@pytest.mark.parametrize(("language", "model"), [("fr-FR", ""), ("en-US", "large")])
async def test_a_server_without_the_language_or_the_model_is_refused_at_once(language: str, model: str) -> None:
    async with wyoming_peer() as peer:
        with pytest.RaisesGroup(pytest.RaisesExc(ProviderRejected, match=language), flatten_subgroups=True):
            async with engine_of(peer.uri, language, model=model):
                pass


async def test_an_info_that_is_none_counts_as_unreachable() -> None:
    async with wyoming_peer(info={**INFO, "asr": "none"}) as peer, engine_of(peer.uri) as engine:
        assert "info: expected asr" in engine.readiness.detail


async def test_agents_with_the_same_server_look_after_it_together() -> None:
    async with wyoming_peer() as peer, trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        settings = WyomingListenSettings(peer.uri)
        async with open_wyoming_listen(settings, "en", shared), open_wyoming_listen(settings, "de", shared):
            assert len(peer.asked("describe")) == 1


async def test_tries_to_reach_a_server_become_fewer_and_are_not_in_step(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.5)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 30.0)
    tries: list[float] = []

    async def refuse(*_: object) -> None:
        tries.append(trio.current_time())
        raise ProviderUnavailable("refused")

    monkeypatch.setattr("agentd_providers.wyoming.connection.connect", refuse)
    with trio.move_on_after(200):
        async with engine_of("tcp://192.0.2.1:1"):
            await trio.sleep_forever()
    pauses = [after - before for before, after in pairwise(tries)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(15 <= pause <= 30 for pause in pauses[7:])
    assert len(pauses) < 20
    assert len({round(pause, 3) for pause in pauses[7:]}) > 1
