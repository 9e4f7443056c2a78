"""What the language model expects after a caller's words, and what its server may answer instead."""

import json
import math
from types import SimpleNamespace

import httpx2
import openai
import pytest
import trio

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.openai.chat_forms import transcript
from agentd_providers.openai.sentence_end import DEADLINE, ask, broken_off, end_probability
from agentd_providers.pipeline.stages import Message, Role

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/completions")


def token(text: str, probability: float) -> dict[str, object]:
    """As llama.cpp tells of one."""
    return {"token": text, "logprob": math.log(probability)}


def client(create) -> SimpleNamespace:
    return SimpleNamespace(completions=SimpleNamespace(with_raw_response=SimpleNamespace(create=create)))


def event(chunk: object) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def told(most_likely: object) -> str:
    """The chunk that has the token."""
    return event({"choices": [{"text": ".", "logprobs": {"content": [{"top_logprobs": most_likely}]}}]})


READING = event({"choices": [{"text": "", "logprobs": None}], "prompt_progress": {"total": 20, "processed": 10}})
LAST = event({"choices": [{"text": "", "logprobs": None, "finish_reason": "length"}]})


def answer(*events: str) -> SimpleNamespace:
    """The server's stream."""

    async def body():
        for sent in events:
            yield sent.encode()

    return SimpleNamespace(http_response=httpx2.Response(200, content=body()))


def test_the_model_is_asked_to_go_on_after_the_callers_last_word():
    prompt = transcript([Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "My number is...")])
    assert broken_off(prompt).endswith("\nCaller: My number is")
    assert prompt.startswith(broken_off(prompt))


@pytest.mark.parametrize("end", [".", "?", "!", "\n", ".\n", " .", "", "<|im_end|>"])
def test_what_ends_a_sentence_counts(end):
    assert end_probability([(end, math.log(0.25)), (" the", math.log(0.5))]) == pytest.approx(0.25)


@pytest.mark.parametrize("going_on", [" the", ",", "...", "..", ":", ".5"])
def test_what_goes_on_does_not(going_on):
    assert end_probability([(going_on, math.log(0.9))]) == 0.0


@pytest.mark.parametrize("logarithm", [1e308, 10**400, 1, math.inf, math.nan])
def test_the_logarithm_of_no_probability_is_refused(logarithm):
    with pytest.raises(ValueError, match="no probability"):
        end_probability([(".", logarithm)])


async def test_the_ends_share_is_the_answer():
    asked = {}

    async def create(**request):
        asked.update(request)
        tokens = [token(".", 0.5), token("?", 0.25), token(" to", 0.2)]
        return answer(READING, READING, told(tokens), LAST, "data: [DONE]\n\n")

    assert await ask(client(create), "m", "Caller: Hello.\nAssistant:") == pytest.approx(0.75)
    assert (asked["prompt"], asked["max_tokens"]) == ("Caller: Hello", 1)


async def test_the_form_of_openai_and_vllm_is_understood_too():
    # https://docs.vllm.ai/en/latest/api/vllm/entrypoints/openai/protocol.html#CompletionLogProbs
    tokens = {".": math.log(0.5), "?": math.log(0.25), " to": math.log(0.2)}
    logprobs = {"text_offset": [0], "token_logprobs": [-0.7], "tokens": ["."], "top_logprobs": [tokens]}

    async def create(**request):
        return answer(event({"choices": [{"index": 0, "text": ".", "logprobs": logprobs}]}), "data: [DONE]\n\n")

    assert await ask(client(create), "m", "Caller: Hello.\nAssistant:") == pytest.approx(0.75)


@pytest.mark.parametrize("logprobs", [{}, {"top_logprobs": None}, {"top_logprobs": []}, {"top_logprobs": [7]}, 7, "x"])
async def test_a_form_without_the_likeliest_tokens_is_an_error(logprobs):
    async def create(**request):
        return answer(event({"choices": [{"index": 0, "text": ".", "logprobs": logprobs}]}), "data: [DONE]\n\n")

    with pytest.raises(ProviderProtocolError, match="no probabilities"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


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
        return answer(told(most_likely))

    with pytest.raises(ProviderProtocolError, match="no probabilities"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


@pytest.mark.parametrize(
    "events",
    [
        (),
        (READING, LAST, "data: [DONE]\n\n"),
        (READING, event({"error": {"message": "out of memory"}})),
        ("error: out of memory\n\n",),
        ("data: {\n\n",),
        ("data: []\n\n",),
        ("data: 7\n\n",),
        (event({"choices": {}}), event({"choices": 7})),
        (f"data: {'[' * 100_000}\n\n",),
    ],
)
async def test_a_stream_without_the_token_is_an_error(events):
    async def create(**request):
        return answer(*events)

    with pytest.raises(ProviderProtocolError, match="no probabilities"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


async def test_a_connection_that_is_lost_in_the_answer_is_a_server_that_is_unavailable():
    async def lost():
        yield READING.encode()
        raise httpx2.ReadError("reset")

    async def create(**request):
        return SimpleNamespace(http_response=httpx2.Response(200, content=lost()))

    with pytest.raises(ProviderUnavailable):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")


async def test_a_late_answer_is_not_waited_for(autojump_clock):
    async def create(**request):
        await trio.sleep_forever()

    start = trio.current_time()
    with pytest.raises(ProviderUnavailable, match="in time"):
        await ask(client(create), "m", "Caller: Hello.\nAssistant:")
    assert trio.current_time() - start == pytest.approx(DEADLINE)
