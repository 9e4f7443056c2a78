"""The language model of an agent on an OpenAI-compatible server, for as long as the agent is open.

One model on one server is known to the whole daemon: what it takes is learnt once, and it is warmed up once, whatever
the number of agents and calls. While there are calls, one connection to it is kept open for all of them.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import CallInfo, Readiness
from agentd.errors import ProviderError, ProviderRejected
from agentd_providers.model_names import served_by
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_settings import DOMAIN, ChatSettings
from agentd_providers.openai.client import KEPT_OPEN
from agentd_providers.openai.served import Served
from agentd_providers.openai.server_sentences import ServerSentences
from agentd_providers.pipeline.stages import Message, Responder, Role, fill_in
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.access import find_key

log = structlog.get_logger("agentd_providers.openai")

KEEP_WARM_INTERVAL = KEPT_OPEN - 10.0
"""Seconds without a request after which the server is greeted, if there are calls."""


@attrs.define(eq=False)
class ChatModel:
    """See agentd_providers.pipeline.stages.LanguageModel."""

    responder: ChatResponder
    unready: Callable[[], str] = lambda: ""
    """Why it cannot answer now; empty: it can."""
    keeps_warm: bool = True
    for_call: Callable[[], Responder] | None = None
    """What one call asks by; None: all by the same."""
    sentences: ServerSentences | None = None
    """Who is asked whether a sentence ends, beside the replies; None: nobody."""
    _calls: int = attrs.field(default=0, init=False)
    _called: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def readiness(self) -> Readiness:
        if why := self.unready():
            return Readiness(False, why)
        responder = self.responder
        if responder.served.is_loading(trio.current_time(), responder.patience):
            return Readiness(False, "the language model's server is loading it")
        return responder.access.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Responder]:
        """See agentd_providers.pipeline.stages.LanguageModel.open."""
        self._calls += 1
        self._called.set()
        self._find_out_about_sentences()
        try:
            yield self.responder if self.for_call is None else self.for_call()
        finally:
            self._calls -= 1

    def _find_out_about_sentences(self) -> None:
        background, served = self.responder.background, self.responder.served
        if self.sentences is None or background is None or served.asked_for_ends:
            return
        if not served.is_cold(trio.current_time()):
            background.start_soon(self.sentences.find_out)

    async def keep_warm(self) -> None:
        """Have a connection to the server open for as long as there are calls; runs until cancelled."""
        while True:
            if not self._calls:
                self._called = trio.Event()
                await self._called.wait()
            due = self.responder.connected_at + KEEP_WARM_INTERVAL
            if due <= trio.current_time():
                await self.responder.greet()
            else:
                await trio.sleep_until(due)

    def begin_warm_up(self, prompt: str) -> None:
        """Have the model loaded, and the ways of its server learnt, before the first caller waits for it; nobody waits
        for that. Once for a model on its server."""
        served, background = self.responder.served, self.responder.background
        if background is not None and not served.warm_up_begun:
            served.warm_up_begun = True
            background.start_soon(self._warm_up, prompt)

    async def _warm_up(self, prompt: str) -> None:
        began = trio.current_time()
        try:
            await self.responder.warm_up(warm_up_prompt(prompt))
        except ProviderError as error:
            log.warning("the language model could not be warmed up", model=self.responder.name, error=str(error))
            if isinstance(error, ProviderRejected):
                self.responder.access.refused(str(error))
            return
        log.info("the language model is warm", model=self.responder.name, after_s=round(trio.current_time() - began, 2))
        self._find_out_about_sentences()


def warm_up_prompt(prompt: str) -> Sequence[Message]:
    """What a model reads before its first caller: an agent's prompt, and a word of nobody's."""
    return (Message(Role.SYSTEM, fill_in(prompt, CallInfo("warm-up"))), Message(Role.USER, "Hello."))


@asynccontextmanager
async def open_chat(
    settings: ChatSettings, shared: SharedServices, *, transcript_style: bool = False
) -> AsyncIterator[ChatModel]:
    """The language model on the server that is configured; whether it is there shows with the first call, or when it is
    warmed up.

    Raises ConfigError where its key is missing.
    """
    key = find_key(settings.api_key_name, "the language model's server")
    served = shared.known(("chat", settings.base_url, settings.model), Served)
    responder = ChatResponder(
        settings, lambda: (settings.base_url, key), transcript_style, on_left_out=shared.on_left_out, served=served
    )
    try:
        async with trio.open_nursery() as nursery:
            responder.background = nursery
            own = served_by(DOMAIN, settings.base_url)  # its chat models answer no completions
            sentences = None if own else ServerSentences(settings.model, served, responder.connected)
            model = ChatModel(responder, sentences=sentences)
            nursery.start_soon(model.keep_warm)
            try:
                yield model
            finally:
                nursery.cancel_scope.cancel()
    finally:
        await responder.aclose()  # once nobody asks by it any more
