"""wyoming-openai-gateway as it is published: a server that speaks OpenAI's language in front of Wyoming servers.
Behind it is `agentd speech-server` with real engines; in front of it agentd's own OpenAI stages, and other clients.

Source: https://github.com/Archmonger/Wyoming-OpenAI-Gateway (0.2.1): it decodes what it is sent to 44.1 kHz stereo, and
names a foreign model.
"""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import trio

from agentd.errors import ProviderError
from agentd_providers.openai.listen import open_openai_listen
from agentd_providers.openai.speak import open_openai_speak
from agentd_providers.openai.speech_settings import OpenAiListenSettings, OpenAiSpeakSettings, SpeechFormat
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.listen import open_wyoming_listen
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.e2e.test_speech_server import TEXT, Server, heard, speech_server
from tests.e2e.test_wyoming_openai import WYOMING_OPENAI
from tests.lab.foreign import Foreign, interpreter_or_skip, running
from tests.lab.hearing import VOICE, likeness
from tests.lab.ports import PortClaims

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.network, pytest.mark.long]

GATEWAY = Foreign("wyoming-openai-gateway==0.2.1", (3, 12))
RATE = 8000


@pytest.fixture(scope="module")
def python() -> Path:
    return interpreter_or_skip(GATEWAY)


@asynccontextmanager
async def gateway(python: Path, server: Server) -> AsyncIterator[str]:
    """The gateway in front of this speech server; gives the base of its URLs."""
    claims = PortClaims()
    port, there = claims.tcp(), server.uri.rpartition(":")[2]
    place = {"STT_HOST": "127.0.0.1", "STT_PORT": there, "TTS_HOST": "127.0.0.1", "TTS_PORT": there}
    command = [str(python), "-m", "wyoming_openai_gateway"]
    async with running(command, port, HOST="127.0.0.1", PORT=str(port), **place):
        yield f"http://127.0.0.1:{port}/v1"
    claims.release()


@asynccontextmanager
async def stages(
    base: str, voice: str = VOICE, response_format: SpeechFormat = SpeechFormat.WAV
) -> AsyncIterator[tuple[SpeechToText, TextToSpeech]]:
    """agentd's own, of the kind `openai`."""
    listening = OpenAiListenSettings(api_key_name="", base_url=base, model="whisper-1", timeout=10)
    speech = OpenAiSpeakSettings(
        api_key_name="", base_url=base, model="wyoming", voice=voice, response_format=response_format, timeout=10
    )
    async with trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        async with (
            open_openai_listen(listening, "en-US", shared) as hearing,
            open_openai_speak(speech, "en-US", shared) as speaking,
        ):
            yield hearing, speaking
        nursery.cancel_scope.cancel()


async def said(speaking: TextToSpeech, text: str = TEXT) -> bytes:
    async with speaking.open() as mouth:
        return await speak_whole(mouth, text, RATE)


def stereo(pcm: bytes, rate: int) -> bytes:
    """8 kHz slin as a wav with two channels at another rate."""
    samples = np.frombuffer(pcm, "<i2")
    places = np.linspace(0, len(samples) - 1, len(samples) * rate // RATE)
    resampled = np.interp(places, np.arange(len(samples)), samples).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.repeat(resampled, 2).tobytes())
    return file.getvalue()


async def test_agentd_speaks_and_hears_through_it(python: Path, tmp_path: Path) -> None:
    async with speech_server(tmp_path) as server, gateway(python, server) as base:
        async with stages(base) as (hearing, speaking):
            sound = await said(speaking)
            assert 3 < len(sound) / 2 / RATE < 8
            assert likeness(TEXT, await heard(hearing, sound)) > 0.8
        async with stages(base, voice="nobody") as (_, speaking):
            with pytest.RaisesGroup(ProviderError, flatten_subgroups=True, allow_unwrapped=True):
                await said(speaking)
        async with httpx.AsyncClient(base_url=f"{base}/", trust_env=False, timeout=30) as client:
            voices = (await client.get("voices")).json()["voices"]
            assert [voice["id"] for voice in voices] == [VOICE]
            for rate in (8000, 16000, 44100, 48000):
                file = {"file": ("a.wav", stereo(bytes(RATE) + sound + bytes(RATE), rate), "audio/wav")}
                answer = await client.post("audio/transcriptions", files=file, data={"model": "gpt-4o-transcribe"})
                assert likeness(TEXT, answer.json()["text"]) > 0.8, (rate, answer.text)
            streamed = await client.post(
                "audio/speech", json={"input": TEXT, "voice": VOICE, "model": "tts-1", "stream": True}
            )
            assert streamed.content[:4] == b"RIFF"
            assert len(streamed.content) > 2 * RATE
        assert (await server.daemon.health())[0] == 200


async def test_both_packages_one_behind_the_other_lose_no_word(python: Path, tmp_path: Path) -> None:
    """agentd's Wyoming stages, wyoming-openai, wyoming-openai-gateway, and agentd's speech server."""
    front = interpreter_or_skip(WYOMING_OPENAI)
    claims = PortClaims()
    uri = f"tcp://127.0.0.1:{(port := claims.tcp())}"
    async with speech_server(tmp_path) as server, gateway(python, server) as base:
        command = [
            *(str(front), "-m", "wyoming_openai", "--uri", uri, "--languages", "en"),
            *("--stt-openai-url", base, "--stt-backend", "OPENAI", "--stt-models", "whisper-1"),
            *("--tts-openai-url", base, "--tts-backend", "OPENAI", "--tts-models", "tts-1", "--tts-voices", VOICE),
        ]
        async with running(command, port, STT_OPENAI_KEY="none", TTS_OPENAI_KEY="none"), trio.open_nursery() as nursery:
            shared = SharedServices(nursery)
            listen = open_wyoming_listen(WyomingListenSettings(uri, timeout=10), "en-US", shared)
            speak = open_wyoming_speak(WyomingSpeakSettings(uri, timeout=10), "en-US", shared)
            with trio.fail_after(120):
                async with listen as hearing, speak as speaking:
                    assert likeness(TEXT, await heard(hearing, await said(speaking))) > 0.8
            nursery.cancel_scope.cancel()
    claims.release()
