"""Whole calls with a language model that streams what a test says: a pipeline whose stages are real and whose vendors
are fakes, on a PBX in memory."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentd.agent import Audio
from agentd.history import Speaker
from agentd.testing._understudy import tone
from agentd.testing.telephone import Telephone, talking
from tests.contract.parties import KEYS, DeepgramPipeline

ASKED, ASKED_AGAIN, GOOD = "Where are you now?", "When are you in?", "All day long."
"""What the caller asks first and then, and what the model says to the latter."""
APOLOGY = "I am sorry, could you say that again?"


def sent(delta: Any, finish: str | None = None) -> bytes:
    """A chunk of a stream."""
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


@asynccontextmanager
async def asked(
    stream: Sequence[bytes | float], monkeypatch: pytest.MonkeyPatch, *, understudy: bool = False
) -> AsyncIterator[tuple[Telephone, list[Any], DeepgramPipeline]]:
    """A call whose caller has asked, and is being answered with this stream; with the call's log."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    party = DeepgramPipeline()
    party.chat.streams[ASKED] = stream
    party.chat.replies[ASKED_AGAIN] = [GOOD]
    failover = {"apology": APOLOGY, "hold_message": ""}
    with capture_logs() as logs:
        async with (
            party.open(),
            talking(party, understudy=understudy, tools=["send_dtmf"], failover=failover) as telephone,
        ):
            spoken = telephone.candidates[0].spoken
            assert isinstance(spoken, dict)
            spoken[APOLOGY] = (Audio(0, 0, tone(0.4), 8000),)
            telephone.session.feed_text(ASKED)
            yield telephone, logs, party


def heard_turns(telephone: Telephone) -> list[str]:
    """What the history says that the caller heard."""
    return telephone.said_by(Speaker.AGENT)
