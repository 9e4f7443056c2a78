"""Whether a sentence ends after a caller's words: what a language model expects next, asked of its server.

https://platform.openai.com/docs/api-reference/completions: one token is asked for, with the likeliest ones and their
probabilities. Servers tell these in two forms: OpenAI's and vLLM's `top_logprobs` has an object for each token, and
llama.cpp's `content` those of a chat (tools/server/README.md in its repository).
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import httpx2
import openai
import trio

from agentd import deadlines
from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.parsing import load_json
from agentd_providers.openai.answer import Answer
from agentd_providers.openai.event_stream import ERROR, EventReader, ServerEvent
from agentd_providers.openai.refusals import SHOWN

DEADLINE = deadlines.SENTENCE_END.seconds
MOST_LIKELY = 20
"""Tokens asked for: vLLM refuses to tell more (its --max-logprobs), and the rest share little."""
LARGEST_LOGARITHM = 0.01
"""Of a probability: 0, and what a sum of many floats comes to beyond it."""
_NOTHING: Mapping[str, Any] = {}
_ENDS = re.compile(r"\s*[.?!。？！]+\s*|\s*\n\s*|<\|.*\|>|")
_ANSWERED = "\nAssistant:"
_PUNCTUATION = " \t\n.,!?;:…-"


async def ask(
    client: openai.AsyncOpenAI,
    model: str,
    transcript: str,
    *,
    most_likely: int = MOST_LIKELY,
    own: Mapping[str, Any] = _NOTHING,
    deadline: float = DEADLINE,
) -> float:
    """The probability that the sentence ends where the caller's last line in `transcript` does.

    Args:
        client: of the server.
        model: its name for the model.
        transcript: a dialogue that is due for an answer (`agentd_providers.openai.chat_forms.transcript`).
        most_likely: how many tokens are to be told.
        own: what else is asked of a server that is agentd's own, as arguments of the client's.

    Raises:
        ProviderUnavailable: no connection, or no answer within `deadline` seconds.
        ProviderRejected: the server refused.
        ProviderProtocolError: the answer has no probabilities.

    Cancelling closes the request's connection.
    """
    try:
        with trio.fail_after(deadline):
            raw: Any = await client.completions.with_raw_response.create(
                model=model,
                prompt=broken_off(transcript),
                max_tokens=1,
                temperature=0.0,
                logprobs=most_likely,
                stream=True,  # a server that is given up notices when it sends
                **own,
            )
            async with aclosing(Answer(raw.http_response)) as answer:
                return await _read(answer)
    except trio.TooSlowError as error:
        raise ProviderUnavailable("the language model did not say in time whether the sentence ends") from error
    except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError, httpx2.HTTPError) as error:
        raise ProviderUnavailable(f"the language model's server: {error}") from error
    except openai.APIStatusError as error:
        raise ProviderRejected(f"the language model's server refused: HTTP {error.status_code}") from error
    except (openai.OpenAIError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProviderProtocolError(f"the language model's server sent no probabilities: {error}") from error


async def _read(answer: Answer) -> float:
    """The probability, as soon as it has come. Raises what is not told, see `ask`."""
    events = EventReader()
    while data := await answer.more():
        for event in events.feed(data):
            if (told := most_likely_next(event)) is not None:
                return end_probability(told)
    raise ValueError("its answer ended before")


def most_likely_next(event: ServerEvent) -> list[tuple[str, float]] | None:
    """The next tokens, each with the logarithm of its probability, where an event of the stream tells them. Raises
    ValueError, TypeError, AttributeError or LookupError if it tells of a failure, or is no chunk of a completion."""
    if event.data.startswith("[DONE]"):
        return None
    chunk = load_json(event.data)
    if event.name == ERROR or "error" in chunk:
        raise ValueError(event.data[:SHOWN])
    choices = chunk["choices"]
    if not choices or (logprobs := choices[0].get("logprobs")) is None:
        return None
    if "content" in logprobs:
        return [(token["token"], token["logprob"]) for token in logprobs["content"][0]["top_logprobs"]]
    if not logprobs["top_logprobs"]:
        return None
    return list(logprobs["top_logprobs"][0].items())


def broken_off(transcript: str) -> str:
    """The prompt up to the caller's last word: no answer is due yet, and the speech engine's punctuation is a guess."""
    return transcript.removesuffix(_ANSWERED).rstrip(_PUNCTUATION)


def end_probability(most_likely: Sequence[tuple[str, float]]) -> float:
    """The share of the next tokens that end a sentence: a full stop, a question mark, the line's or text's end.

    Three dots do not: they break a sentence off. Raises ValueError or TypeError if these are no tokens, or what is said
    of one is the logarithm of no probability.
    """
    ends = [
        _probability(logarithm)
        for token, logarithm in most_likely
        if _ENDS.fullmatch(token) and not token.strip().startswith("..")
    ]
    return min(math.fsum(ends), 1.0)


def _probability(logarithm: float) -> float:
    if not logarithm <= LARGEST_LOGARITHM:
        raise ValueError("the logarithm of no probability")
    return math.exp(logarithm)
