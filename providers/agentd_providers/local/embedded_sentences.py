"""The embedded language model as a cue alone: it is asked whether a sentence ends, and another writes the replies."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs

from agentd_providers.local.embedded import open_embedded
from agentd_providers.local.settings import EmbeddedSettings
from agentd_providers.openai.chat_forms import last_words
from agentd_providers.pipeline.stages import Message, Responder
from agentd_providers.shared import SharedServices


@attrs.frozen
class EmbeddedSentences:
    """See agentd_providers.pipeline.stages.SentenceJudge."""

    responder: Responder

    @property
    def tells_sentence_ends(self) -> bool:
        return self.responder.tells_sentence_ends

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See agentd_providers.pipeline.stages.SentenceJudge.sentence_end."""
        return await self.responder.sentence_end(last_words(messages))


@asynccontextmanager
async def open_embedded_sentences(language: str, shared: SharedServices) -> AsyncIterator[EmbeddedSentences]:
    """Its server is running; the same one that the local agent's embedded model has by its defaults. Raises
    ProviderError when it cannot be started."""
    async with open_embedded(EmbeddedSettings(), language, shared) as model, model.open() as responder:
        yield EmbeddedSentences(responder)
