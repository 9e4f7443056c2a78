"""The local agent's engines by themselves on a few turns: the yardstick of a run on a noisy host."""

from collections.abc import Sequence
from contextlib import closing
from statistics import median

import trio

from agentd_providers.local.embedded import open_embedded, read_prompt
from agentd_providers.local.engines import open_local_listen, open_local_speak
from agentd_providers.local.settings import EmbeddedSettings, SttSettings, TtsSettings
from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.pipeline.stages import Message, Responder, Role, Transcriber, Voice
from agentd_providers.shared import SharedServices

from .turn_set import RATE, TurnSample

COUNT = 12
PROMPT = "You are a friendly assistant on the telephone. Answer in one or two short sentences."
OTHERWISE = "I am sorry, could you say that again?"


async def yardstick_ms(samples: Sequence[TurnSample]) -> int:
    """The median of what a turn needs at least, in ms: all its words, then the first token of the reply to them, then
    the first clause's sound. Raises ProviderError."""
    asked = [samples[number * len(samples) // COUNT] for number in range(min(COUNT, len(samples)))]
    async with trio.open_nursery() as nursery:
        shared = SharedServices(nursery)
        async with (
            open_local_listen(SttSettings(), "en", shared) as listen,
            open_embedded(EmbeddedSettings(), "en", shared) as think,
            open_local_speak(TtsSettings(), "en", shared) as speak,
        ):
            await listen.load()
            await read_prompt(think, PROMPT)
            async with listen.open(RATE) as transcriber, think.open() as responder, speak.open() as voice:
                taken = [await _turn(sample, transcriber, responder, voice) for sample in [asked[0], *asked]]
        nursery.cancel_scope.cancel()
    return round(1000 * median(taken[1:]))


async def _turn(sample: TurnSample, transcriber: Transcriber, responder: Responder, voice: Voice) -> float:
    spoken = sample.pcm[2 * round(sample.span.start * RATE) : 2 * round((sample.span.end + 0.1) * RATE)]
    with closing(transcriber.begin()) as transcript:
        transcript.feed(spoken)
        began = trio.current_time()
        words = await transcript.words()
        async with responder.respond([Message(Role.SYSTEM, PROMPT), Message(Role.USER, words or sample.text)]) as reply:
            first, clause = 0.0, ""
            cutter = ClauseCutter()
            async for piece in reply:
                first = first or trio.current_time()
                if isinstance(piece, str) and (clause := next(iter(cutter.feed(piece)), "")):
                    break
        written = trio.current_time()
        async with voice.speak(clause or OTHERWISE, RATE) as sound:
            await anext(sound, None)
        return (first or written) - began + trio.current_time() - written
