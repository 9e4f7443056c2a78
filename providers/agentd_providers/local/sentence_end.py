"""Whether a sentence ends after a caller's words: the embedded language model is asked.

The question is the beginning of the prompt that the reply will be made from. The server reads the new words once and
has them in its cache when the reply is asked for, which is then sooner by what this took; but only one after the
other: of two at once, one is served without the cache (agentd_providers.local.slots).
"""

import openai

from agentd_providers.openai import llama_cpp, sentence_end

MOST_LIKELY = 40
"""Tokens asked for; the rest share too little to matter."""


async def ask(
    client: openai.AsyncOpenAI,
    model: str,
    transcript: str,
    slot: int = llama_cpp.ANY_SLOT,
    *,
    deadline: float = sentence_end.DEADLINE,
) -> float:
    """See agentd_providers.openai.sentence_end.ask. `transcript` is the prompt of the reply, `slot` the server's that
    is asked."""
    own = {
        "extra_headers": llama_cpp.ONCE,
        "extra_body": {**llama_cpp.CACHED, **llama_cpp.WATCHED, **llama_cpp.at_slot(slot)},
    }
    return await sentence_end.ask(client, model, transcript, most_likely=MOST_LIKELY, own=own, deadline=deadline)
