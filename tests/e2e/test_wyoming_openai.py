"""wyoming-openai as it is published: a Wyoming server in front of servers that speak OpenAI's language. agentd is its
client, and the lab's fake of OpenAI's speech services is behind it.

Source: https://github.com/roryeckel/wyoming_openai (0.8.0).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.testing.sound import silence, voice
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming import watch
from agentd_providers.wyoming.listen import open_wyoming_listen
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings
from agentd_providers.wyoming.speak import open_wyoming_speak
from tests.lab.foreign import Foreign, interpreter_or_skip, running
from tests.lab.ports import PortClaims
from tests.lab.vendors.http_peer import open_http_peer
from tests.lab.vendors.openai_speech import COMPATIBLE, OpenAiSpeech
from tests.lab.vendors.scripted_words import Script

pytestmark = [pytest.mark.e2e, pytest.mark.network, pytest.mark.long]

WYOMING_OPENAI = Foreign("wyoming-openai==0.8.0", (3, 12))
RATE = 8000
WORDS = "I would like to order two pizzas"
CLAUSE = "Good day to you, how can I help?"
PATIENCE = 20.0


@pytest.fixture(scope="module")
def python() -> Path:
    return interpreter_or_skip(WYOMING_OPENAI)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(watch, "LONGEST_DELAY", 0.2)


@attrs.define
class Front:
    """wyoming-openai at `uri`, and what is behind it."""

    uri: str
    behind: OpenAiSpeech

    @asynccontextmanager
    async def clients(
        self, language: str = "en-US", voice: str = "", model: str = ""
    ) -> AsyncIterator[tuple[SpeechToText, TextToSpeech]]:
        async with trio.open_nursery() as nursery:
            shared = SharedServices(nursery)
            listen = open_wyoming_listen(WyomingListenSettings(self.uri, model, timeout=10), language, shared)
            speak = open_wyoming_speak(WyomingSpeakSettings(self.uri, voice, timeout=10), language, shared)
            with trio.fail_after(PATIENCE):
                async with listen as hearing, speak as speaking:
                    yield hearing, speaking
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def front(python: Path, *more: str, port: int = 0) -> AsyncIterator[Front]:
    behind = OpenAiSpeech(Script((WORDS,)), key="")
    claims = PortClaims()
    port = port or claims.tcp()
    async with open_http_peer(behind.answer) as peer:
        url = f"{peer.url}/v1"
        command = [
            *(str(python), "-m", "wyoming_openai", "--uri", f"tcp://127.0.0.1:{port}", "--languages", "en"),
            *("--stt-openai-url", url, "--stt-backend", "OPENAI", "--tts-openai-url", url),
            *("--tts-backend", "OPENAI", "--tts-models", COMPATIBLE, "--tts-voices", "alloy", "nova"),
            *(more or ("--stt-models", "whisper-1")),
        ]
        async with running(command, port, STT_OPENAI_KEY="none", TTS_OPENAI_KEY="none"):
            yield Front(f"tcp://127.0.0.1:{port}", behind)
    claims.release()


async def heard(hearing: SpeechToText, pcm: bytes) -> str:
    async with hearing.open(RATE) as transcriber:
        turn = transcriber.begin()
        for start in range(0, len(pcm), 320):
            turn.feed(pcm[start : start + 320])
        return await turn.words()


async def test_what_a_caller_says_comes_back_as_words_turn_by_turn(python: Path) -> None:
    async with front(python) as there, there.clients() as (hearing, _):
        assert hearing.readiness.ready
        for _ in range(3):
            assert await heard(hearing, voice(1.5) + silence(0.5)) == WORDS
        seconds = [round(seconds, 1) for _, seconds, _ in there.behind.heard]
        assert seconds == [2.0, 2.0, 2.0], "all that was said, and nothing else"


async def test_a_turn_that_goes_on_after_a_pause_is_understood_as_a_whole(python: Path) -> None:
    async with front(python) as there, there.clients() as (hearing, _), hearing.open(RATE) as transcriber:
        turn = transcriber.begin()
        turn.feed(voice(1.5))
        assert await turn.words() == WORDS
        turn.feed(silence(0.5) + voice(1.5))
        assert await turn.words() == f"{WORDS} {WORDS}"
        assert [round(seconds, 1) for _, seconds, _ in there.behind.heard] == [1.5, 3.5]


async def test_a_model_that_streams_its_words_is_heard_to_its_end(python: Path) -> None:
    """transcript-start, transcript-chunk and transcript-stop come beside the transcript."""
    models = ("--stt-models", "whisper-1", "--stt-streaming-models", "gpt-4o-transcribe")
    async with front(python, *models) as there, there.clients(model="gpt-4o-transcribe") as (hearing, _):
        assert await heard(hearing, voice(1.5) + silence(0.5)) == WORDS


async def test_it_speaks_clause_by_clause_over_one_connection(python: Path) -> None:
    async with front(python) as there, there.clients() as (_, speaking), speaking.open() as mouth:
        for text in (CLAUSE, "Yes.", "One sentence. And another one! And a third?"):
            sound = await speak_whole(mouth, text, RATE)
            asked = "".join(text for _, text in there.behind.texts[1:])
            assert len(sound) / 2 / RATE > 0.04 * len(text), asked
        spoken = "".join(text for _, text in there.behind.texts[1:]).replace(" ", "")
        assert spoken == f"{CLAUSE}Yes.One sentence. And another one! And a third?".replace(" ", "")


async def test_a_clause_that_is_given_up_does_not_keep_the_next_one_waiting(python: Path) -> None:
    async with front(python) as there, there.clients() as (_, speaking), speaking.open() as mouth:
        there.behind.pause = 0.05
        async with mouth.speak(" ".join([CLAUSE] * 10), RATE) as pieces:
            await anext(aiter(pieces))
        there.behind.pause = 0.0
        with trio.fail_after(5):
            assert await speak_whole(mouth, CLAUSE, RATE)


async def test_a_text_without_a_word_is_no_failure(python: Path) -> None:
    async with front(python) as there, there.clients() as (_, speaking), speaking.open() as mouth:
        for text in ("", " ", "…", "😀"):
            with trio.fail_after(10):
                await speak_whole(mouth, text, RATE)
                assert await speak_whole(mouth, CLAUSE, RATE)


async def test_a_voice_that_it_does_not_have_is_refused_at_once(python: Path) -> None:
    async with front(python) as there:
        async with there.clients(voice="nova") as (_, speaking), speaking.open() as mouth:
            assert await speak_whole(mouth, CLAUSE, RATE)
        with pytest.RaisesGroup(pytest.RaisesExc(ProviderRejected, match="onyx"), flatten_subgroups=True):
            async with there.clients(voice="onyx"):
                pass


async def test_what_fails_behind_it_is_told_and_the_next_turn_is_served(python: Path) -> None:
    """Its models are refused behind it, as where a key is wrong."""
    async with front(python) as there, there.clients() as (hearing, speaking), speaking.open() as mouth:
        there.behind.key = "another"
        told = pytest.RaisesExc(ProviderUnavailable, match="the server says: ")
        with trio.fail_after(10), pytest.RaisesGroup(told, flatten_subgroups=True, allow_unwrapped=True):
            await heard(hearing, voice(1.5) + silence(0.5))
        with trio.fail_after(10), pytest.RaisesGroup(told, flatten_subgroups=True, allow_unwrapped=True):
            await speak_whole(mouth, CLAUSE, RATE)
        there.behind.key = ""
        assert await heard(hearing, voice(1.5) + silence(0.5)) == WORDS
        assert await speak_whole(mouth, CLAUSE, RATE)
