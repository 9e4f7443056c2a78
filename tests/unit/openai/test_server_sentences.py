"""Whether a model's server tells sentence ends: it is asked once, and left alone where it fails in a row."""

import json
import math
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
import trio
from trio.testing import MockClock

from agentd.errors import ProviderError
from agentd_providers.openai.served import Served
from agentd_providers.openai.server_sentences import BROKEN_OFF, FAILURES_IN_A_ROW, QUICK, WHOLE, ServerSentences
from agentd_providers.pipeline.stages import Message, Role

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/completions")
REFUSED = openai.BadRequestError("no", response=httpx2.Response(400, request=REQUEST), body=None)
GONE = openai.APIConnectionError(request=REQUEST)
ASKED = (Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "Hello."))


class Model:
    """A server's, which finds sentences to end with these probabilities, after `seconds`; or fails."""

    def __init__(self, whole: float = 0.6, broken_off: float = 0.001, seconds: float = 0.05) -> None:
        self.probabilities = {WHOLE: whole, BROKEN_OFF: broken_off}
        self.seconds = seconds
        self.failure: Exception | None = None
        self.told = True
        self.prompts: list[str] = []

    async def create(self, **request: Any) -> SimpleNamespace:
        self.prompts.append(request["prompt"])
        await trio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        ends = next((p for words, p in self.probabilities.items() if request["prompt"].endswith(words)), 0.5)
        logprobs = {"top_logprobs": [{".": math.log(ends), " the": math.log(1 - ends)}]} if self.told else None
        chunk = json.dumps({"choices": [{"index": 0, "text": ".", "logprobs": logprobs}]})

        async def body() -> Any:
            yield f"data: {chunk}\n\ndata: [DONE]\n\n".encode()

        return SimpleNamespace(http_response=httpx2.Response(200, content=body()))

    def sentences(self, served: Served | None = None) -> ServerSentences:
        return ServerSentences("m", served or Served(), self.connected)

    @property
    def connected(self) -> Callable[[], Awaitable[Any]]:
        async def connect() -> Any:
            await trio.lowlevel.checkpoint()
            return SimpleNamespace(completions=SimpleNamespace(with_raw_response=self))

        return connect


async def test_a_server_that_tells_is_used(autojump_clock: MockClock) -> None:
    model = Model()
    sentences = model.sentences()
    assert not sentences.tells_sentence_ends
    await sentences.find_out()
    assert sentences.tells_sentence_ends
    assert await sentences.sentence_end(ASKED) == pytest.approx(0.5)


async def test_it_is_asked_once_whichever_agent_uses_the_model(autojump_clock: MockClock) -> None:
    model, served = Model(), Served()
    for _ in range(2):
        await model.sentences(served).find_out()
    assert len(model.prompts) == 2
    assert model.sentences(served).tells_sentence_ends


@pytest.mark.parametrize(
    "model",
    [
        Model(whole=0.3, broken_off=0.2),  # knows no English, or tells something else
        Model(seconds=QUICK + 0.1),
    ],
)
async def test_one_whose_answer_is_of_no_use_is_not(model: Model, autojump_clock: MockClock) -> None:
    sentences = model.sentences()
    await sentences.find_out()
    assert not sentences.tells_sentence_ends


async def test_one_that_refuses_or_does_not_tell_is_not_asked_again(autojump_clock: MockClock) -> None:
    # Ollama and LM Studio take "logprobs" and tell nothing: https://github.com/lmstudio-ai/lms/issues/60
    for failure, told in ((REFUSED, True), (None, False)):
        model = Model()
        model.failure, model.told = failure, told
        sentences = model.sentences()
        await sentences.find_out()
        await sentences.find_out()
        assert not sentences.tells_sentence_ends
        assert len(model.prompts) == 1


async def test_one_that_is_not_there_is_asked_another_time(autojump_clock: MockClock) -> None:
    model = Model()
    model.failure = GONE
    sentences = model.sentences()
    await sentences.find_out()
    model.failure = None
    await sentences.find_out()
    assert sentences.tells_sentence_ends


async def test_one_that_fails_in_a_row_is_left_alone_until_it_is_found_out_anew(autojump_clock: MockClock) -> None:
    model = Model()
    sentences = model.sentences()
    await sentences.find_out()

    async def fail(times: int) -> None:
        model.failure = GONE
        for _ in range(times):
            with pytest.raises(ProviderError):
                await sentences.sentence_end(ASKED)
        model.failure = None

    await fail(FAILURES_IN_A_ROW - 1)
    await sentences.sentence_end(ASKED)
    await fail(FAILURES_IN_A_ROW - 1)
    assert sentences.tells_sentence_ends
    await fail(1)
    assert not sentences.tells_sentence_ends
    await sentences.find_out()
    assert sentences.tells_sentence_ends


async def test_only_the_last_words_are_read_and_no_prompt(autojump_clock: MockClock) -> None:
    model = Model()
    long = [Message(Role.SYSTEM, "Secret."), Message(Role.USER, "Old."), Message(Role.ASSISTANT, "Older.")]
    await model.sentences().sentence_end([*long, Message(Role.USER, "My number is.")])
    (prompt,) = model.prompts
    assert prompt.endswith("\nAssistant: Older.\nCaller: My number is")
    assert "Secret" not in prompt and "Old." not in prompt
