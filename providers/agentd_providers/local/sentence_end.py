"""Whether a sentence ends after a caller's words: what the embedded language model expects next, asked of its server.

The question is the beginning of the prompt that the reply will be made from. The server reads the new words once and
has them in its cache when the reply is asked for, which is then sooner by what this took; but only one after the
other: of two at once, one is served without the cache.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import openai
import trio

from agentd import deadlines
from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable

DEADLINE = deadlines.SENTENCE_END.seconds
MOST_LIKELY = 40
"""Tokens asked for; the rest share too little to matter."""
LARGEST_LOGARITHM = 0.01
"""Of a probability: 0, and what a sum of many floats comes to beyond it."""
_ENDS = re.compile(r"\s*[.?!]+\s*|\s*\n\s*|<\|.*\|>|")
_ANSWERED = "\nAssistant:"
_PUNCTUATION = " \t\n.,!?;:…-"


async def ask(client: openai.AsyncOpenAI, model: str, transcript: str, *, deadline: float = DEADLINE) -> float:
    """The probability that the sentence ends where the caller's last line in `transcript` does.

    Args:
        client: of a llama.cpp server; others give no probabilities in this form.
        model: its name for the model.
        transcript: the prompt of the reply (`agentd_providers.openai.chat_forms.transcript`).

    Raises:
        ProviderUnavailable: no connection, or no answer within `deadline` seconds.
        ProviderRejected: the server refused.
        ProviderProtocolError: the answer has no probabilities.

    Cancelling closes the request's connection.
    """
    try:
        with trio.fail_after(deadline):
            answer = await client.completions.create(
                model=model,
                prompt=broken_off(transcript),
                max_tokens=1,
                temperature=0.0,
                logprobs=MOST_LIKELY,
                extra_body={"cache_prompt": True},
            )
        return end_probability(answer.choices[0].logprobs.content[0]["top_logprobs"])  # type: ignore[union-attr]
    except trio.TooSlowError as error:
        raise ProviderUnavailable("the language model did not say in time whether the sentence ends") from error
    except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
        raise ProviderUnavailable(f"the language model's server: {error}") from error
    except openai.APIStatusError as error:
        raise ProviderRejected(f"the language model's server refused: HTTP {error.status_code}") from error
    except (openai.OpenAIError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProviderProtocolError(f"the language model's server sent no probabilities: {error}") from error


def broken_off(transcript: str) -> str:
    """The prompt up to the caller's last word: no answer is due yet, and the speech engine's punctuation is a guess."""
    return transcript.removesuffix(_ANSWERED).rstrip(_PUNCTUATION)


def end_probability(most_likely: Sequence[Any]) -> float:
    """The share of the next tokens that end a sentence: a full stop, a question mark, the line's or text's end.

    Three dots do not: they break a sentence off. Raises ValueError, TypeError or LookupError if these are no tokens,
    or what is said of one is the logarithm of no probability.
    """
    ends = [
        _probability(token["logprob"])
        for token in most_likely
        if _ENDS.fullmatch(token["token"]) and not token["token"].strip().startswith("..")
    ]
    return min(math.fsum(ends), 1.0)


def _probability(logarithm: float) -> float:
    if not logarithm <= LARGEST_LOGARITHM:
        raise ValueError("the logarithm of no probability")
    return math.exp(logarithm)
