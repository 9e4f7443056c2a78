"""What the language model expects after a caller's words, and what its server may answer instead."""

import math
from types import SimpleNamespace

import httpx2
import openai
import pytest
import trio

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.local.sentence_end import DEADLINE, ask, broken_off, end_probability
from agentd_providers.openai.chat_forms import transcript
from agentd_providers.pipeline.stages import Message, Role

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/completions")


def token(text: str, probability: float) -> dict[str, object]:
    return {"token": text, "logprob": math.log(probability)}


def client(create) -> SimpleNamespace:
    return SimpleNamespace(completions=SimpleNamespace(create=create))


def answer(most_likely: object) -> SimpleNamespace:
    logprobs = SimpleNamespace(content=[{"top_logprobs": most_likely}])
    return SimpleNamespace(choices=[SimpleNamespace(logprobs=logprobs)])


def test_the_model_is_asked_to_go_on_after_the_callers_last_word():
    prompt = transcript([Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "My number is...")])
    assert broken_off(prompt).endswith("\nCaller: My number is")
    assert prompt.startswith(broken_off(prompt))


@pytest.mark.parametrize("end", [".", "?", "!", "\n", ".\n", " .", "", "<|im_end|>"])
def test_what_ends_a_sentence_counts(end):
    assert end_probability([token(end, 0.25), token(" the", 0.5)]) == pytest.approx(0.25)


@pytest.mark.parametrize("going_on", [" the", ",", "...", "..", ":", ".5"])
def test_what_goes_on_does_not(going_on):
    assert end_probability([token(going_on, 0.9)]) == 0.0


@pytest.mark.parametrize("logarithm", [1e308, 10**400, 1, math.inf, math.nan])
def test_the_logarithm_of_no_probability_is_refused(logarithm):
    with pytest.raises(ValueError, match="no probability"):
        end_probability([{"token": ".", "logprob": logarithm}])


async def test_the_ends_share_is_the_answer():
    asked = {}

    async def create(**request):
        asked.update(request)
        return answer([token(".", 0.5), token("?", 0.25), token(" to", 0.2)])

    assert await ask(client(create), "m", "Caller: Hello.\nAssistant:") == pytest.approx(0.75)
    assert (asked["prompt"], asked["max_tokens"]) == ("Caller: Hello", 1)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (openai.APIConnectionError(request=REQUEST), ProviderUnavailable),
        (openai.BadRequestError("no", response=httpx2.Response(400, request=REQUEST), body=None), ProviderRejected),
        (openai.OpenAIError("odd"), ProviderProtocolError),
    ],
)
async def test_the_clients_errors_become_the_providers_own(error, becomes):
    async def create(**request):
        raise error

    with pytest.raises(becomes):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


@pytest.mark.parametrize("most_likely", [None, [{"token": "."}], [{"token": 1, "logprob": 0.0}], [{}], 7])
async def test_an_answer_without_probabilities_is_an_error(most_likely):
    async def create(**request):
        return answer(most_likely)

    with pytest.raises(ProviderProtocolError, match="no probabilities"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


async def test_a_late_answer_is_not_waited_for(autojump_clock):
    async def create(**request):
        await trio.sleep_forever()

    start = trio.current_time()
    with pytest.raises(ProviderUnavailable, match="in time"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")
    assert trio.current_time() - start == pytest.approx(DEADLINE)
