"""What of a conversation a model can read."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent import ToolDeclaration
from agentd_providers.openai.context import MARGIN, Fitted, ModelContext, TooLong, estimate, refused_length
from agentd_providers.pipeline.stages import Message, Role, ToolCall

SYSTEM = Message(Role.SYSTEM, "You are brief.")
GREETING = Message(Role.ASSISTANT, "Hello.")
ASKED = Message(Role.ASSISTANT, "", (ToolCall("1", "time", "{}"),))
TOLD = Message(Role.TOOL, "noon", call="1")


def talk(turns: int) -> list[Message]:
    """A conversation of so many questions, the last one to be answered."""
    messages = [SYSTEM, GREETING]
    for turn in range(turns):
        messages.append(Message(Role.USER, f"Question number {turn}: what time is it?"))
        if turn < turns - 1:
            messages.append(Message(Role.ASSISTANT, f"Answer number {turn}: it is noon."))
    return messages


def test_a_conversation_that_fits_is_left_as_it_is() -> None:
    messages = talk(3)
    fitted = ModelContext(2048).fit(messages, (), 80)
    assert (fitted.messages, fitted.left_out) == (messages, 0)


def test_where_the_context_is_not_known_nothing_is_left_out() -> None:
    assert ModelContext().fit(talk(500), (), 80).left_out == 0


def test_the_oldest_turns_go_and_the_system_s_words_and_the_caller_s_last_stay() -> None:
    messages = talk(40)
    fitted = ModelContext(512).fit(messages, (), 80)
    assert fitted.left_out > 0
    assert list(fitted.messages) == [SYSTEM, *messages[1 + fitted.left_out :]]


def test_a_tool_s_result_goes_and_stays_with_the_message_that_asked_for_it() -> None:
    for size in range(60, 400, 7):
        messages = [SYSTEM, GREETING, Message(Role.USER, "The time?"), ASKED, TOLD, *talk(8)[2:]]
        kept = ModelContext(size).fit(messages, (), 20).messages
        assert (ASKED in kept) == (TOLD in kept)


def test_the_tools_of_the_answer_in_hand_stay_whole_however_long_they_are() -> None:
    long = Message(Role.TOOL, "noon " * 1000, call="1")
    messages = [*talk(5), ASKED, long]
    fitted = ModelContext(256).fit(messages, (), 20)
    assert list(fitted.messages) == [SYSTEM, *messages[-3:]]


def test_a_prompt_begins_the_same_for_many_turns_so_that_a_server_need_not_read_it_anew() -> None:
    context = ModelContext(1024)
    beginnings = [context.fit(talk(turns), (), 80).messages[1].text for turns in range(20, 60)]
    changes = sum(before != after for before, after in pairwise(beginnings))
    assert 0 < changes <= 40 // 5


def test_the_declarations_of_tools_take_room() -> None:
    tool = ToolDeclaration("time", "Tells the time. " * 40, {"type": "object"})
    without, beside = (ModelContext(700).fit(talk(12), tools, 80) for tools in ((), (tool,)))
    assert beside.left_out > without.left_out


words = st.text(st.characters(codec="utf-8"), max_size=60)
conversations = st.lists(
    st.one_of(
        words.map(lambda text: [Message(Role.USER, text)]),
        words.map(lambda text: [Message(Role.ASSISTANT, text)]),
        words.map(lambda text: [ASKED, Message(Role.TOOL, text, call="1")]),
    ),
    max_size=30,
).map(lambda turns: [SYSTEM, *(message for turn in turns for message in turn), Message(Role.USER, "And now?")])


@given(conversations, st.integers(1, 2000), st.integers(0, 200))
def test_a_prompt_fits_or_nothing_more_can_go(messages: Sequence[Message], size: int, spare: int) -> None:
    fitted = ModelContext(size).fit(messages, (), spare)
    kept = list(fitted.messages)
    assert kept[0] == SYSTEM and kept[-1] == messages[-1]
    assert kept[1:] == list(messages[len(messages) - len(kept) + 1 :]), "the newest, in their order"
    assert fitted.tokens + spare + MARGIN <= size or kept == [SYSTEM, messages[-1]]


@given(words)
def test_an_estimate_is_no_less_than_a_quarter_of_the_characters(text: str) -> None:
    assert estimate(text) >= len(text) / 4


REFUSALS: dict[str, tuple[str, dict[str, object], TooLong]] = {
    "OpenAI": (  # https://github.com/orhanerday/ChatGPT/issues/17
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 4223 tokens. Please"
        " reduce the length of the messages.",
        {"type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"},
        TooLong(4097, 4223),
    ),
    "OpenAI, completions": (  # https://github.com/nicknochnack/LangchainDocuments/issues/2
        "This model's maximum context length is 4097 tokens, however you requested 4322 tokens (4066 in your prompt; "
        "256 for the completion). Please reduce your prompt; or completion length.",
        {"type": "invalid_request_error"},
        TooLong(4097, 4066),
    ),
    "llama.cpp": (  # https://github.com/ggml-org/llama.cpp/pull/15780
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        {"code": 500, "type": "exceed_context_size_error", "n_prompt_tokens": 1407, "n_ctx": 256},
        TooLong(256, 1407),
    ),
    "llama.cpp of 2026": (  # https://github.com/ggml-org/llama.cpp/issues/19774
        "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
        {"code": 400, "type": "exceed_context_size_error"},
        TooLong(4096, 4390),
    ),
    "llama.cpp in the middle": (  # https://github.com/ggml-org/llama.cpp/issues/19774
        "Context size has been exceeded.",
        {"code": 500, "type": "server_error"},
        TooLong(),
    ),
    "vLLM": (  # https://github.com/vllm-project/vllm/issues/20409
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the "
        "messages, 10000 in the completion). Please reduce the length of the messages or completion.",
        {"object": "error", "type": "BadRequestError", "param": None, "code": 400},
        TooLong(16384, 112946),
    ),
    "vLLM of 2026": (  # https://github.com/AIDotNet/OpenCowork/issues/82
        "This model's maximum context length is 131072 tokens. However, you requested 128000 output tokens and your "
        "prompt contains at least 3073 input tokens, for a total of at least 131073 tokens.",
        {"type": "BadRequestError"},
        TooLong(131072, 3073),
    ),
    "LM Studio": (  # https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/546
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context"
        " length of only 32768 tokens, which is not enough.",
        {},
        TooLong(32768),
    ),
    "Gemini": (  # https://github.com/google-gemini/gemini-cli/issues/6678
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        {"code": 400, "status": "INVALID_ARGUMENT"},
        TooLong(1048576, 1200293),
    ),
    "Anthropic": (  # https://github.com/docker/docker-agent/issues/569
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length or"
        " `max_tokens` and try again",
        {"type": "invalid_request_error"},
        TooLong(200000),
    ),
}


@pytest.mark.parametrize("nested", [True, False], ids=["below error", "on top"])
@pytest.mark.parametrize("server", REFUSALS)
def test_each_server_s_refusal_of_a_long_prompt_is_understood(server: str, nested: bool) -> None:
    message, more, told = REFUSALS[server]
    body = {"message": message, **more}
    assert refused_length({"error": body} if nested else body) == told


@pytest.mark.parametrize("server", REFUSALS)
def test_a_refusal_may_be_a_bare_text(server: str) -> None:
    message, more, told = REFUSALS[server]
    if "n_ctx" not in more:
        assert refused_length({"error": message}) == told


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "no",
        [],
        {},
        {"error": None},
        {"error": {"message": None, "code": None}},
        {"error": {"message": 7, "n_ctx": "many"}},
        {"error": {"message": "The model `tiny` does not exist", "code": "model_not_found"}},
        {"error": {"message": "Rate limit reached: 30000 tokens per minute", "code": "rate_limit_exceeded"}},
    ],
)
def test_another_refusal_says_nothing_of_the_length(body: object) -> None:
    assert refused_length(body) is None


def test_what_a_refusal_tells_is_learnt_and_the_next_prompt_fits() -> None:
    context = ModelContext()
    sent = context.fit(talk(40), (), 80)
    context.learn(TooLong(limit=512, asked=2 * sent.tokens), sent)
    fitted = context.fit(talk(40), (), 80)
    assert context.size == 512
    assert 0 < fitted.tokens <= 512 - 80 - MARGIN
    halves = ModelContext(512).fit(talk(40), (), 80)
    assert len(fitted.messages) < len(halves.messages), "this model's tokens are twice as many as estimated"


def test_where_a_refusal_tells_no_number_each_try_is_shorter() -> None:
    context, before = ModelContext(), 10**9
    for _ in range(5):
        sent = context.fit(talk(60), (), 80)
        assert sent.tokens < before
        before = sent.tokens
        context.learn(TooLong(), Fitted(sent.messages, sent.tokens))
