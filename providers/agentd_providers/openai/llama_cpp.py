"""What llama.cpp's server is asked beside what OpenAI's is, where it is agentd's own. Pure.

tools/server/README.md in its repository. It finds out that nobody waits for an answer any more when it has something to
send, and looks by itself once a second only: one that is given up while its prompt is read would be read on. So it is
asked to tell of every batch that it has read.
"""

from collections.abc import Mapping
from typing import Any

ONCE = {"Connection": "close"}
"""It closes the connection of a stream without saying so: the next request on it would find it broken. A new one costs
nothing on a Unix socket."""
WATCHED: Mapping[str, Any] = {"return_progress": True}
"""Part of a request that streams: chunks come as the prompt is read, each with a field `PROGRESS`."""
CACHED: Mapping[str, Any] = {"cache_prompt": True}
"""Part of a request: what a slot has read already is not read again."""
UNREPEATED: Mapping[str, Any] = {
    "dry_multiplier": 1.0,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 96,
    "dry_sequence_breakers": [":"],
}
"""Part of a request for words: a small model that has said "no no no" goes on with it for ever, and from one answer to
the next. What would go on with a sequence that the last tokens have had becomes the less likely the longer that is.

A sequence begins after the colon of "Assistant:". The server's own list has four marks after which one may begin, and
before a request it looks each of them up in every token of the vocabulary (llama.cpp, src/llama-sampler.cpp:
llama_sampler_init_dry): for SmolLM2's 49,152 that takes 4 ms a mark, in which no other request is computed either."""
PROGRESS = "prompt_progress"
ANY_SLOT = -1


def at_slot(slot: int) -> Mapping[str, Any]:
    """Part of a request: it waits for this slot, and takes no other; `ANY_SLOT`: the server chooses."""
    return {} if slot == ANY_SLOT else {"id_slot": slot}
