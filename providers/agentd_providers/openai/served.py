"""What the daemon knows of one model on one server, whoever of its agents uses it. Pure."""

import math

import attrs

from agentd_providers.openai.ways import Ways

STAYS_LOADED = 240.0
"""Seconds without a request after which a server may have put its model away: Ollama does after five minutes."""


@attrs.define(eq=False)
class Served:
    """One model on one server. Times are seconds of the monotonic clock."""

    ways: Ways = attrs.field(factory=Ways)
    warm_up_begun: bool = False
    answered_at: float = -math.inf
    held_since: float = math.inf
    """Since when a request is waiting for the server to load its model; infinity: none is."""

    asked_for_ends: bool = False
    """It was asked whether it tells sentence ends (agentd_providers.openai.server_sentences)."""
    tells_ends: bool = False

    def is_cold(self, now: float) -> bool:
        """Whether the server may have to load its model first."""
        return now - self.answered_at > STAYS_LOADED

    def is_loading(self, now: float, patience: float) -> bool:
        """Whether a request has waited for longer than an answer takes."""
        return now - self.held_since > patience
