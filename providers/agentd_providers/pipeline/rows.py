"""The stages that a pipeline can be made of, as rows: a vendor's stand beside its engines (see
agentd_providers.local.stages), those of an installed package behind its entry points. Imports no engine.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import attrs

from agentd.config.settings import AgentConfig
from agentd_providers.credentials import Credential
from agentd_providers.needs import Need
from agentd_providers.pipeline.stages import LanguageModel, SentenceJudge, SpeechToText, TextToSpeech
from agentd_providers.shared import SharedServices

E = TypeVar("E")


@attrs.frozen
class Stage(Generic[E]):
    """One who does a stage. Make one of ListenStage, ThinkStage and SpeakStage.

    `settings` is an attrs class as agentd.config.schema describes. Its method `impossible(language)`, where it has one,
    yields what cannot work together as (setting, why).

    `open(settings, config, shared)` gives the engine for as long as its block is entered; `config` is that of the agent
    which the stage is a part of. It raises ProviderError where the engine cannot be opened, ConfigError where a key is
    missing. Import what the engine needs in there, not with the row.

    `credentials(settings)` is what it needs to be let in, `needs(settings)` what it needs on this host, for the doctor.
    `prepare(engine, config)` is what is left to do before the first call; that of all stages is done at once.
    """

    settings: type
    open: Callable[[Any, AgentConfig, SharedServices], AbstractAsyncContextManager[E]]
    credentials: Callable[[Any], Sequence[Credential]] = attrs.field(default=lambda _settings: (), kw_only=True)
    needs: Callable[[Any], Sequence[Need]] = attrs.field(default=lambda _settings: (), kw_only=True)
    prepare: Callable[[Any, AgentConfig], Awaitable[None]] | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class ListenStage(Stage[SpeechToText]):
    """Speech to text."""


@attrs.frozen
class ThinkStage(Stage[LanguageModel]):
    """A language model. `takes_tools(settings)` tells whether it can use tools. `sentences(engine)` gives who may be
    asked, beside the replies, whether a sentence ends; None: nobody."""

    takes_tools: Callable[[Any], bool] = attrs.field(default=lambda _settings: True, kw_only=True)
    sentences: Callable[[Any], SentenceJudge | None] = attrs.field(default=lambda _engine: None, kw_only=True)


@attrs.frozen
class SpeakStage(Stage[TextToSpeech]):
    """Text to speech. `distant` tells that the voice is another machine's, and may come later than the agent.

    What the voice is given is plain text as it is spoken (agentd_providers.text_normalisation): no markup, addresses
    and codes in words. `reads_numbers`: it reads amounts, times, dates and units well by itself, in its own language,
    and gets them as they are written. `takes_ipa`: it takes IPA in double brackets.
    """

    distant: bool = attrs.field(default=True, kw_only=True)
    reads_numbers: bool = attrs.field(default=False, kw_only=True)
    takes_ipa: bool = attrs.field(default=False, kw_only=True)


S = TypeVar("S", bound=Stage[Any])


@attrs.frozen
class Chosen(Generic[S]):
    """A stage that an agent is to have, with its settings. `name` is for messages."""

    name: str
    stage: S
    settings: Any
