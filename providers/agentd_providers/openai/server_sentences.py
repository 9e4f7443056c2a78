"""Whether a sentence ends, asked of the server of a chat model, where it tells: llama.cpp's and vLLM do, OpenAI's own
does not. It is asked once whether it does, by two sentences, one of which ends. Where it fails in a row it is left
alone until that is found out anew, for a later call: servers are started again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
import openai
import structlog
import trio

from agentd.errors import ProviderError, ProviderUnavailable
from agentd_providers.openai import sentence_end
from agentd_providers.openai.chat_forms import last_words, transcript
from agentd_providers.openai.served import Served
from agentd_providers.pipeline.stages import Message, Role

log = structlog.get_logger("agentd_providers.openai")

WHOLE, BROKEN_OFF = "What time do you open", "I would like to book a"
"""Asked to find out whether a server tells ends: a model that knows English finds the first much likelier to end."""
LIKELIER: Final = 4.0
QUICK: Final = 0.3
"""Seconds within which it has to answer to be of use."""
FAILURES_IN_A_ROW: Final = 3


@attrs.define(eq=False)
class ServerSentences:
    """See agentd_providers.pipeline.stages.SentenceJudge. `connected` gives the client of the moment, or raises
    ProviderUnavailable."""

    model: str
    served: Served
    connected: Callable[[], Awaitable[openai.AsyncOpenAI]]
    deadline: float = sentence_end.DEADLINE
    """Seconds that an answer may take."""
    _failures: int = attrs.field(default=0, init=False)

    @property
    def tells_sentence_ends(self) -> bool:
        return self.served.tells_ends

    async def find_out(self) -> None:
        """Ask the server once whether it tells; a server that is not there is asked again another time."""
        if self.served.asked_for_ends:
            return
        self.served.asked_for_ends = True
        try:
            whole, _ = await self._timed(WHOLE)
            broken_off, seconds = await self._timed(BROKEN_OFF)
        except ProviderUnavailable as error:
            self.served.asked_for_ends = False
            log.debug("whether the language model's server tells sentence ends is not known", error=str(error))
            return
        except ProviderError as error:
            log.info("the language model's server does not tell whether a sentence ends", error=str(error))
            return
        self.served.tells_ends = whole > LIKELIER * broken_off and seconds <= QUICK
        log.info(
            "the language model's server was asked whether a sentence ends",
            used=self.served.tells_ends,
            whole=round(whole, 3),
            broken_off=round(broken_off, 3),
            after_s=round(seconds, 2),
        )

    async def _timed(self, words: str) -> tuple[float, float]:
        began = trio.current_time()
        return await self._ask((Message(Role.USER, words),)), trio.current_time() - began

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See agentd_providers.pipeline.stages.SentenceJudge.sentence_end."""
        try:
            ends = await self._ask(messages)
        except ProviderError:
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW and self.served.tells_ends:
                self._failures, self.served.tells_ends, self.served.asked_for_ends = 0, False, False
                log.warning("the language model's server is not asked for now whether a sentence ends")
            raise
        self._failures = 0
        return ends

    async def _ask(self, messages: Sequence[Message]) -> float:
        client, prompt = await self.connected(), transcript(last_words(messages))
        return await sentence_end.ask(client, self.model, prompt, deadline=self.deadline)
