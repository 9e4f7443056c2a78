"""The parrot as the voice of a pipeline, whoever listens and thinks: `speak = "parrot"`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import attrs

from agentd.agent import Readiness
from agentd.config.schema import positive, text
from agentd.config.settings import AgentConfig
from agentd_providers.pipeline.rows import SpeakStage
from agentd_providers.pipeline.sound import in_one_piece
from agentd_providers.pipeline.stages import TextToSpeech, Voice
from agentd_providers.shared import SharedServices

from .sound import whistle


@attrs.frozen
class WhistleSettings:
    """Text to speech by a parrot: it whistles, a tone for each word."""

    pitch_hz: Annotated[int, text("Pitch of the tones in Hz.", positive)] = 1200


@attrs.frozen
class WhistlingVoice:
    """A call's voice. What it is for: agentd_providers.pipeline.stages.Voice."""

    settings: WhistleSettings

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        pcm = whistle(text, rate, self.settings.pitch_hz)
        async with in_one_piece(pcm) as pieces:
            yield pieces


@attrs.frozen
class Whistle:
    """The engine, for as long as its agent is open. What it is for: agentd_providers.pipeline.stages.TextToSpeech."""

    settings: WhistleSettings

    @property
    def readiness(self) -> Readiness:
        return Readiness(True)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Voice]:
        yield WhistlingVoice(self.settings)


@asynccontextmanager
async def open_whistle(
    settings: WhistleSettings, config: AgentConfig, shared: SharedServices
) -> AsyncIterator[TextToSpeech]:
    """The engine. A real one would be imported in here, so that a configuration is checked without it."""
    yield Whistle(settings)


SPEAK = SpeakStage(WhistleSettings, open_whistle, distant=False)
