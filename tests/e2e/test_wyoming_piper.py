"""The client against wyoming-piper as it is published: a peer that nobody here wrote."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd_providers.local.models import catalogue
from agentd_providers.pipeline.stages import TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming import watch
from agentd_providers.wyoming.settings import WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.lab.hearing import likeness, transcribe
from tests.lab.ports import PortClaims
from tests.lab.wyoming_piper import VOICE, is_installed, run_wyoming_piper

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

TEXT = "Hello, this is a telephone call, and I would like to know something."
RATE = 8000


@pytest.fixture(autouse=True)
def _wyoming_piper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip loudly without it; on a CI machine, where everything has to be there, fail."""
    if not is_installed():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("wyoming-piper is not installed")
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 0.2)


def voices() -> Path:
    return catalogue.locate(VOICE).parent


@asynccontextmanager
async def client(uri: str, voice: str = "", language: str = "en-US") -> AsyncIterator[TextToSpeech]:
    async with trio.open_nursery() as nursery:
        settings = WyomingSpeakSettings(uri, voice)
        with trio.fail_after(60):
            async with open_wyoming_speak(settings, language, SharedServices(nursery)) as engine:
                yield engine


async def test_it_speaks_clause_by_clause_and_the_first_sound_comes_soon() -> None:
    async with run_wyoming_piper(voices()) as uri, client(uri, VOICE) as engine, engine.open() as voice:
        assert engine.readiness.ready
        delays = []
        for _ in range(5):
            began = trio.current_time()
            async with voice.speak(TEXT, RATE) as pieces:
                sound = await anext(aiter(pieces))
                delays.append(trio.current_time() - began)
                async for piece in pieces:
                    sound += piece
            assert 3 < len(sound) / 2 / RATE < 8
        print("first audio, ms:", [round(1000 * delay) for delay in delays])
        assert sorted(delays)[2] < 1.0
        assert likeness(TEXT, await transcribe(bytes(RATE) + sound + bytes(RATE))) > 0.8


async def test_without_a_voice_it_chooses_for_the_language() -> None:
    async with run_wyoming_piper(voices()) as uri, client(uri) as engine, engine.open() as voice:
        assert len(await speak_whole(voice, "Hello.", RATE)) > RATE // 2
        assert await speak_whole(voice, "", RATE) == b""


async def test_a_clause_that_is_given_up_does_not_keep_the_next_one_waiting() -> None:
    async with run_wyoming_piper(voices()) as uri, client(uri, VOICE) as engine, engine.open() as voice:
        async with voice.speak(" ".join([TEXT] * 10), RATE) as pieces:
            await anext(aiter(pieces))
        with trio.fail_after(3):
            sound = await speak_whole(voice, TEXT, RATE)
        assert likeness(TEXT, await transcribe(bytes(RATE) + sound + bytes(RATE))) > 0.8


async def test_a_voice_that_it_does_not_know_is_refused_at_once() -> None:
    async with run_wyoming_piper(voices()) as uri:
        rejected = pytest.RaisesExc(ProviderRejected, match="en_US-nobody-high")
        with pytest.RaisesGroup(rejected, flatten_subgroups=True):
            async with client(uri, "en_US-nobody-high"):
                pass


async def test_its_restart_is_survived() -> None:
    claims = PortClaims()
    port = claims.tcp()
    async with client_after_start(port) as engine, engine.open() as voice:
        with pytest.raises(ProviderUnavailable, match="cannot connect"):
            await speak_whole(voice, TEXT, RATE)
        async with run_wyoming_piper(voices(), port):
            with trio.fail_after(10):
                while not engine.readiness.ready:
                    await trio.sleep(0.02)
            assert await speak_whole(voice, TEXT, RATE)
    claims.release()


@asynccontextmanager
async def client_after_start(port: int) -> AsyncIterator[TextToSpeech]:
    """A client whose server has been there, and is gone."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        settings = WyomingSpeakSettings(f"tcp://127.0.0.1:{port}", VOICE)
        async with run_wyoming_piper(voices(), port):
            engine = await stack.enter_async_context(open_wyoming_speak(settings, "en-US", SharedServices(nursery)))
        yield engine
