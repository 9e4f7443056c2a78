"""A pipeline's stages asked for an answer by nobody: how long each of them takes here.

What a caller says comes by the clock, as in a call: a transcriber that listens along has little left to do at the end.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from statistics import median

import trio

from agentd.audio.formats import FRAME_MS
from agentd.audio.framing import Framer
from agentd.errors import ProviderError, ProviderUnavailable, ungrouped
from agentd_providers.pipeline.agent import LINE_RATE, PipelineAgent
from agentd_providers.pipeline.stages import Message, Responder, Role, Transcriber, Transcript, Voice, speak_whole
from agentd_providers.rehearsal import Rehearsal

QUESTION = "Good afternoon, can you tell me when you close today?"
CLAUSE = "We are open until six today,"
TRIES = 5
"""That count. One more goes before them: a cache that is cold is so once."""
PAUSE_MS = 100
"""Silence after which the words are asked for: see agentd_providers.turns."""


async def rehearse(agent: PipelineAgent) -> Rehearsal:
    """Have an open agent hear a sentence and begin to answer, some times over. Takes about 20 s.

    Raises ProviderError. Every wait is bounded by the stage that is waited for; who calls bounds the whole.
    """
    async with _stages_of(agent) as (transcriber, responder, voice):
        frames = _frames(await speak_whole(voice, QUESTION, LINE_RATE) + bytes(2 * LINE_RATE * PAUSE_MS // 1000))
        tries = []
        for number in range(1 + TRIES):
            with closing(transcriber.begin()) as transcript:
                tries.append(await _try(number, transcript, responder, voice, agent.settings.prompt, frames))
    return Rehearsal(*(median(seconds) for seconds in zip(*tries[1:], strict=True)))


@asynccontextmanager
async def _stages_of(agent: PipelineAgent) -> AsyncIterator[tuple[Transcriber, Responder, Voice]]:
    """What one call has of the agent's stages."""
    stages = agent.stages
    with ungrouped(ProviderError):
        async with (
            stages.listen.open(LINE_RATE) as transcriber,
            stages.think.open() as responder,
            stages.speak.open() as voice,
        ):
            yield transcriber, responder, voice


def _frames(pcm: bytes) -> Sequence[bytes]:
    framer = Framer(LINE_RATE * FRAME_MS // 1000 * 2)
    return (*framer.feed(pcm), *filter(None, [framer.flush()]))


async def _try(
    number: int, transcript: Transcript, responder: Responder, voice: Voice, prompt: str, frames: Sequence[bytes]
) -> tuple[float, float, float]:
    """The seconds to the words, to the first token and to the first sound."""
    for frame in frames:
        transcript.feed(frame)
        await trio.sleep(FRAME_MS / 1000)
    began = trio.current_time()
    words = await transcript.words()
    heard = trio.current_time()
    said = f"{number} {words or QUESTION}"  # what a model has been asked before is in its cache
    async with responder.respond([Message(Role.SYSTEM, prompt), Message(Role.USER, said)]) as reply:
        await _first(reply, "the language model has written nothing")
    written = trio.current_time()
    async with voice.speak(CLAUSE, LINE_RATE) as sound:
        await _first(sound, "the voice has said nothing")
    return heard - began, written - heard, trio.current_time() - written


async def _first(pieces: AsyncIterator[object], otherwise: str) -> None:
    if await anext(pieces, None) is None:
        raise ProviderUnavailable(otherwise)
