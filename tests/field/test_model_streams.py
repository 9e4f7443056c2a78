"""What language models' servers stream: a reply is read to its end, and judged by it. Each row names who reported the
form: repository and number of its issue or pull request, or the page of the documentation."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agentd.errors import CallRejected, ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.openai.refusals import concealing
from agentd_providers.openai.reply import Ending, ReplyReader
from agentd_providers.pipeline.stages import Withdrawal

KEY = "sk-secret-0123456789abcdef"
DONE = "data: [DONE]\n\n"
Sent = str | Mapping[str, Any]


def chunk(delta: Any = None, finish: object = None, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def said(words: str, finish: object = None) -> dict[str, Any]:
    return chunk({"content": words}, finish)


STOP = chunk({}, "stop")


def call(index: object, name: object = None, arguments: object = None, call_id: object = None, **more: Any) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fields = {"index": index, "id": call_id, "function": function, **more}
    return {key: value for key, value in fields.items() if value is not None}


def calling(*calls: Any, finish: object = None) -> dict[str, Any]:
    return chunk({"tool_calls": list(calls)}, finish)


def body_of(sent: Sequence[Sent]) -> bytes:
    return "".join(part if isinstance(part, str) else f"data: {json.dumps(part)}\n\n" for part in sent).encode()


def read(body: bytes, size: int = 0, **settings: Any) -> tuple[str, Ending]:
    """What is spoken of an answer, and what is left at its end; it comes in pieces of so many bytes."""
    reader = ReplyReader(names={"clock", "dial"}, most_tokens=300, conceal=concealing(KEY), **settings)
    pieces: list[str | Withdrawal] = []
    for at in range(0, len(body), size or len(body) or 1):
        pieces += reader.feed(body[at : at + (size or len(body))])
    ending = reader.end()
    spoken = ""
    for piece in [*pieces, *ending.pieces]:
        spoken = "" if isinstance(piece, Withdrawal) else spoken + piece
    return spoken, ending


WHOLE: Mapping[str, tuple[Sequence[Sent], str]] = {
    # openai/openai-python#1677: Azure's asynchronous filter sends a choice without a delta
    "choice without delta": (
        [
            said("It is "),
            {"choices": [{"index": 0, "content_filter_offsets": {}, "finish_reason": None}]},
            said("five."),
            STOP,
        ],
        "It is five.",
    ),
    # langchain-ai/langchain#18977: the same with an explicit null
    "delta null": ([said("It is "), chunk(None), said("five."), STOP], "It is five."),
    # vllm-project/vllm#9693: usage in a chunk of its own
    "usage chunk": ([said("Five."), STOP, {"choices": [], "usage": {"total_tokens": 3}}, DONE], "Five."),
    "choices null": ([said("Five."), {"choices": None}, STOP], "Five."),
    "choices missing": ([{"type": "ping"}, said("Five."), STOP], "Five."),
    "choice null": ([{"choices": [None]}, said("Five."), STOP], "Five."),
    "chunk null": (["data: null\n\n", said("Five."), STOP], "Five."),
    # sgl-project/sglang#3912, ollama/ollama#4357: finish_reason "" until the end
    "empty finish_reason": ([said("It is ", ""), said("five.", ""), STOP], "It is five."),
    # DashScope's finish_reason "null"
    "finish_reason in letters": ([said("It is ", "null"), said("five.", "stop")], "It is five."),
    # alfredapp/openai-workflow#52: no finish_reason at all, but [DONE]
    "only [DONE]": ([{"choices": [{"index": 0, "delta": {"content": "Five."}}]}, DONE], "Five."),
    # oobabooga/textgen#4778: no [DONE], but a finish_reason
    "no [DONE]": ([said("Five.", "stop")], "Five."),
    "finish with the last words": ([said("It is "), said("five.", "stop"), DONE], "It is five."),
    # facebookresearch/meta-agents-research-environments#52: OpenRouter's comments
    "comments": ([": OPENROUTER PROCESSING\n\n", said("Five."), ": ping\n\n", STOP], "Five."),
    # vllm-project/vllm#42683 and others
    "CRLF": ([f"data: {json.dumps(said('Five.'))}\r\n\r\n", f"data: {json.dumps(STOP)}\r\n\r\n"], "Five."),
    "no space behind the colon": ([f"data:{json.dumps(said('Five.', 'stop'))}\n\n"], "Five."),
    "event fields": (["event: message\nid: 7\nretry: 10\n", said("Five.", "stop")], "Five."),
    "last event without its empty line": ([f"data: {json.dumps(said('Five.', 'stop'))}"], "Five."),
    "two deltas in one chunk": ([{"choices": [chunk({"content": "Five."}, "stop")["choices"][0], None]}], "Five."),
    "another choice": ([{"choices": [{"index": 1, "delta": {"content": "Six."}}]}, said("Five.", "stop")], "Five."),
    # Blaizzy/mlx-vlm#900: "tool_calls": [] in every chunk
    "no tool calls": ([chunk({"content": "Five.", "tool_calls": []}, "stop")], "Five."),
    # mistralai's thinking models: content as a list (https://docs.mistral.ai/capabilities/reasoning/)
    "content in parts": (
        [
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
            chunk({"content": [{"type": "text", "text": "Five."}]}, "stop"),
        ],
        "Five.",
    ),
    # OpenAI's reference: `refusal` beside `content`
    "refusal": ([chunk({"content": None, "refusal": "I cannot help with that."}, "stop")], "I cannot help with that."),
    # DeepSeek, vLLM; OpenRouter, Ollama, Groq: thoughts in a field of their own
    "thoughts beside": (
        [chunk({"reasoning_content": "Hm.", "content": None}), chunk({"reasoning": "Hm."}), said("Five.", "stop")],
        "Five.",
    ),
    # labring/FastGPT#3421 and others: a whole answer where a stream was asked for
    "JSON in place of a stream": (
        [
            json.dumps(
                {
                    "choices": [
                        {"index": 0, "message": {"role": "assistant", "content": "Five."}, "finish_reason": "stop"}
                    ]
                }
            )
        ],
        "Five.",
    ),
    "JSON without finish_reason": ([json.dumps({"choices": [{"message": {"content": "Five."}}]})], "Five."),
    "a whole message in an event": (
        [{"choices": [{"message": {"content": "Five."}, "finish_reason": "stop"}]}],
        "Five.",
    ),
    # MiniMax repeats the whole message in the last chunk
    "the message again": (
        [said("Five."), {"choices": [{"index": 0, "message": {"content": "Five."}, "finish_reason": "stop"}]}],
        "Five.",
    ),
    "what comes behind [DONE]": ([said("Five.", "stop"), DONE, said("And more.")], "Five."),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_reply_is_what_its_words_are_however_its_server_writes_them(case: str, size: int) -> None:
    sent, words = WHOLE[case]
    spoken, ending = read(body_of(sent), size)
    assert spoken == words
    assert not ending.calls and ending.cut is None


CLOCK, DIAL = ("clock", {"day": "Mon"}), ("dial", {"name": "Ann"})
MON, ANN = '{"day":"Mon"}', '{"name":"Ann"}'
END = chunk({}, "tool_calls")
CALLS: Mapping[str, tuple[Sequence[Sent], Sequence[tuple[str, Any]]]] = {
    # jjang-ai/vmlx#244, vercel/ai#16507 (Command A on vLLM): the name is empty first
    "empty name first": ([calling(call(0, "", "", "a")), calling(call(0, "clock", MON)), END], [CLOCK]),
    # vercel/ai#14722: arguments before the name
    "name later": ([calling(call(0, None, '{"day":', "a")), calling(call(0, "clock", '"Mon"}')), END], [CLOCK]),
    "name null first": (
        [calling({"index": 0, "id": "a", "function": {"name": None}}), calling(call(0, "clock", MON)), END],
        [CLOCK],
    ),
    "no function first": ([calling({"index": 0, "id": "a"}), calling(call(0, "clock", MON)), END], [CLOCK]),
    # sgl-project/sglang#35542, lidge-jun/opencodex#1731: id and name null in what follows
    "null afterwards": (
        [
            calling(call(0, "clock", "", "a")),
            calling({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": MON}}),
            END,
        ],
        [CLOCK],
    ),
    "empty id afterwards": ([calling(call(0, "clock", "", "a")), calling(call(0, "", MON, "")), END], [CLOCK]),
    "the name each time": (
        [calling(call(0, "clock", '{"day":', "a")), calling(call(0, "clock", '"Mon"}', "a")), END],
        [CLOCK],
    ),
    "the name in pieces": (
        [calling(call(0, "cl", "", "a")), calling(call(0, "ock", "")), calling(call(0, None, MON)), END],
        [CLOCK],
    ),
    # NousResearch/hermes-agent#62940, su-kaka/gcli2api#406: Gemini's calls all have index 0
    "index 0, no ids": ([calling(call(0, "clock", MON)), calling(call(0, "dial", ANN)), END], [CLOCK, DIAL]),
    "index 0, empty ids": (
        [calling(call(0, "clock", MON, "")), calling(call(0, "dial", ANN, "")), END],
        [CLOCK, DIAL],
    ),
    "index 0, in one chunk": ([calling(call(0, "clock", MON), call(0, "dial", ANN)), END], [CLOCK, DIAL]),
    "index 0, the same tool": (
        [calling(call(0, "clock", MON)), calling(call(0, "clock", '{"day":"Tue"}')), END],
        [CLOCK, ("clock", {"day": "Tue"})],
    ),
    "index 0, the same call twice": (
        [calling(call(0, "clock", MON)), calling(call(0, "clock", MON)), END],
        [CLOCK, CLOCK],
    ),
    # dyedd/lens#49: a head, then two whole objects
    "a head and two whole objects": (
        [calling(call(0, "clock", "", "a")), calling(call(0, None, MON)), calling(call(0, "dial", ANN)), END],
        [CLOCK, DIAL],
    ),
    # ai-dynamo/dynamo#4723, huggingface/smolagents#1958 (ollama/ollama#15457): index 0, ids of their own
    "index 0, ids": ([calling(call(0, "clock", MON, "a")), calling(call(0, "dial", ANN, "b")), END], [CLOCK, DIAL]),
    # LibreChat-AI/agents#260: the same in fragments
    "index 0, ids, in fragments": (
        [
            calling(call(0, "clock", '{"day":', "a")),
            calling(call(0, None, '"Mon"}')),
            calling(call(0, "dial", '{"name":', "b")),
            calling(call(0, None, '"Ann"}')),
            END,
        ],
        [CLOCK, DIAL],
    ),
    "two calls without arguments": (
        [calling(call(0, "clock")), calling(call(0, "dial")), END],
        [("clock", {}), ("dial", {})],
    ),
    # openai/openai-python#2806, SamSaffron/term-llm#314, davidmigloz/ai_clients_dart#64: no index
    "no index": ([calling(call(None, "clock", MON, "a")), calling(call(None, "dial", ANN, "b")), END], [CLOCK, DIAL]),
    # oracle/langchain-oracle#253: fragments with neither index nor id belong to the last
    "no index, in fragments": (
        [
            calling(call(None, "clock", "", "a")),
            calling(call(None, None, '{"day":')),
            calling(call(None, None, '"Mon"}')),
            calling(call(None, "dial", "", "b")),
            calling(call(None, None, ANN)),
            END,
        ],
        [CLOCK, DIAL],
    ),
    # mcowger/plexus#691: interleaved
    "interleaved": (
        [
            calling(call(0, "clock", '{"day":', "a"), call(1, "dial", "", "b")),
            calling(call(1, None, ANN), call(0, None, '"Mon"}')),
            END,
        ],
        [CLOCK, DIAL],
    ),
    "indices with a gap": (
        [calling(call(1, "clock", MON, "a")), calling(call(7, "dial", ANN, "b")), END],
        [CLOCK, DIAL],
    ),
    # google's compatible API, Ollama before 0.4.7: "stop" ends a stream with calls
    "ended by stop": ([calling(call(0, "clock", MON, "a")), STOP], [CLOCK]),
    "arguments as an object": ([calling(call(0, "clock", {"day": "Mon"})), END], [CLOCK]),
    # vercel/ai#6687 and others: arguments empty, or null
    "no arguments": ([calling(call(0, "clock", "", "a")), END], [("clock", {})]),
    "arguments null": ([calling(call(0, "clock", "null", "a")), END], [("clock", {})]),
    # arguments written as JSON in JSON (vllm-project/vllm, several models)
    "arguments in JSON twice": ([calling(call(0, "clock", json.dumps(MON), "a")), END], [CLOCK]),
    # vLLM sends what was complete once more at the end
    "complete, and again": ([calling(call(0, "clock", MON, "a")), calling(call(0, None, MON)), END], [CLOCK]),
    # vllm-project/vllm#32587: gpt-oss's channel in the name
    "a channel in the name": ([calling(call(0, "clock<|channel|>commentary", MON, "a")), END], [CLOCK]),
    "null among the calls": ([calling(None, call(0, "clock", MON, "a")), END], [CLOCK]),
    # OpenAI's older form
    "function_call": (
        [chunk({"function_call": {"name": "clock", "arguments": MON}}), chunk({}, "function_call")],
        [CLOCK],
    ),
    "JSON in place of a stream": (
        [
            json.dumps(
                {
                    "choices": [
                        {
                            "message": {"content": None, "tool_calls": [call(None, "clock", MON, "a")]},
                            "finish_reason": "tool_calls",
                        }
                    ]
                }
            )
        ],
        [CLOCK],
    ),
    # HKUDS/OpenHarness#338: Gemini's signature in a delta of its own, without an index
    "a signature behind": (
        [calling(call(0, "clock", MON, "a")), calling({"extra_content": {"google": {"thought_signature": "x"}}}), END],
        [CLOCK],
    ),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("size", [0, 5])
def test_a_tool_call_is_the_same_however_its_server_streams_it(case: str, size: int) -> None:
    sent, calls = CALLS[case]
    _, ending = read(body_of(sent), size)
    assert [(one.name, json.loads(one.arguments)) for one in ending.calls] == list(calls)


ERROR = {"message": f"boom for {KEY}", "type": "server_error", "code": 500}
FAILURES: Mapping[str, tuple[Sequence[Sent], type[ProviderError], str]] = {
    # NVIDIA/TensorRT-LLM#18289, BerriAI/litellm#32159, preloop/preloop#117, vercel/ai#19165, apache/maka#2297
    "cut in a sentence": ([said("It is ")], ProviderUnavailable, "before the reply was complete"),
    "cut in a tool call": ([calling(call(0, "clock", '{"day":"Mo', "a"))], ProviderUnavailable, "before the reply"),
    # anomalyco/opencode#39968, CommandCodeAI/command-code#785
    "cut before the arguments": ([calling(call(0, "clock", "", "a"))], ProviderUnavailable, "before the reply"),
    # vaadin/flow-components#9195: LM Studio, a request that is too long
    "cut before anything": ([": ping\n\n"], ProviderUnavailable, "before the reply was complete"),
    "nothing at all": ([], ProviderUnavailable, "before the reply was complete"),
    "[DONE] in half a tool call": (
        [calling(call(0, "clock", '{"day":"Mo', "a")), DONE],
        ProviderProtocolError,
        "clock",
    ),
    # the same, and the server says that it was complete (field report 07)
    "half a tool call, called whole": (
        [calling(call(0, "clock", '{"day":', "a")), END],
        ProviderProtocolError,
        "no whole JSON",
    ),
    "a tool call that is glued": (
        [calling(call(0, "clock", MON + ANN, "a")), END],
        ProviderProtocolError,
        "no whole JSON",
    ),
    "a tool call that is a list": (
        [calling(call(0, "clock", "[1]", "a")), END],
        ProviderProtocolError,
        "no whole JSON",
    ),
    "a tool call without a name": ([calling(call(0, None, MON, "a")), END], ProviderProtocolError, "without a name"),
    # ggml-org/llama.cpp#14566, coddy-project/coddy-agent#106: an SSE field `error`
    "error as a field": ([f"error: {json.dumps(ERROR)}\n\n", DONE], ProviderUnavailable, "server_error 500: boom"),
    "error as a field, in words": (["error: out of memory\n\n"], ProviderProtocolError, "out of memory"),
    "error as an event": ([f"event: error\ndata: {json.dumps(ERROR)}\n\n"], ProviderUnavailable, "boom"),
    "error behind words": ([said("It is "), f"error: {json.dumps(ERROR)}\n\n"], ProviderUnavailable, "boom"),
    # diegosouzapw/OmniRoute#8210, damianvtran/local-operator#223: OpenRouter's chunk with an error and choices
    "error in a chunk": (
        [chunk({"content": ""}, "error", error={"code": 502, "message": "Worker local total request limit reached"})],
        ProviderUnavailable,
        "502: Worker local",
    ),
    # Augustas11/macprovider#186: an error, then [DONE]
    "error and [DONE]": ([said("It "), {"error": ERROR}, DONE], ProviderUnavailable, "boom"),
    # ggml-org/llama.cpp#25332: an error frame in place of the last chunk
    "error in place of the end": ([chunk({"reasoning_content": "Hm."}), {"error": ERROR}], ProviderUnavailable, "boom"),
    # Ollama: the error is a text
    "error as text": (
        [{"error": "model runner has unexpectedly stopped"}],
        ProviderProtocolError,
        "unexpectedly stopped",
    ),
    "error as JSON": ([json.dumps({"error": ERROR})], ProviderUnavailable, "boom"),
    # Gemini: the error is in a list
    "error as a list": (
        [json.dumps([{"error": {"code": 503, "message": "overloaded"}}])],
        ProviderUnavailable,
        "overloaded",
    ),
    # dcdpr/jp#978: a prompt that is too long, told at status 200
    "too long, told in the stream": (
        [{"choices": [], "error": {"code": 400, "message": "prompt is too long: 1284668 tokens > 1000000 maximum"}}],
        CallRejected,
        "longer than the model's context",
    ),
    "a page": (["<html><body>502 Bad Gateway</body></html>"], ProviderProtocolError, "a page"),
    "JSON that is no reply": (['{"ok": true}'], ProviderProtocolError, "no reply"),
    "half of JSON": (['{"choices": [{"mess'], ProviderUnavailable, "not all of it"),
    "garbage": (["data: {]}\n\n"], ProviderProtocolError, "a chunk that is none"),
    # vLLM: the engine gave the request up
    "abort": ([said("It is ", "abort")], ProviderUnavailable, "abort"),
    # https://api-docs.deepseek.com/api/create-chat-completion
    "insufficient_system_resource": ([chunk({}, "insufficient_system_resource")], ProviderUnavailable, "insufficient"),
    # Gemini's compatible API
    "malformed_function_call": ([chunk({}, "MALFORMED_FUNCTION_CALL")], ProviderUnavailable, "malformed"),
    # codecoradev/cora-code#537, codelibs/fess#3061, mindcraft-bots/mindcraft#789
    "thinking used up all tokens": (
        [chunk({"reasoning_content": "Hm, " * 20}), chunk({"content": ""}, "length")],
        ProviderRejected,
        r"300 tokens \(max_tokens\): thinking used them up",
    ),
    "thinking in words used up all tokens": ([said("<think>Hm, "), chunk({}, "length")], ProviderRejected, "thinking"),
    # kekzl/imp#1442, elizaOS/eliza#8189: the same, called "stop"
    "thinking, and stop": (
        [chunk({"reasoning_content": "Hm."}), chunk({"content": ""}, "stop")],
        ProviderUnavailable,
        "thought",
    ),
    "length, and no word": ([chunk({}, "length")], ProviderRejected, "said nothing within its limit of 300"),
    # project-arbr/arbr-control-plane#253: Gemini's name of it
    "MAX_TOKENS, and no word": ([chunk({}, "MAX_TOKENS")], ProviderRejected, "said nothing within"),
    # livekit/agents#5808
    "content_filter, and no word": ([chunk({}, "content_filter")], CallRejected, "filter"),
    "sensitive, and no word": ([chunk({}, "sensitive")], CallRejected, "sensitive"),
    "a tool call, and length": (
        [calling(call(0, "clock", "", "a")), chunk({}, "length")],
        ProviderRejected,
        "said nothing",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("size", [0, 3])
def test_what_is_no_whole_reply_is_a_failure_that_is_told_and_never_nothing_to_say(case: str, size: int) -> None:
    sent, kind, why = FAILURES[case]
    with pytest.raises(kind, match=why) as caught:
        read(body_of(sent), size)
    assert KEY not in str(caught.value)


CUT: Mapping[str, tuple[Sequence[Sent], str]] = {
    "length": ([said("It is "), chunk({}, "length")], r"limit of 300 tokens \(max_tokens\)"),
    "thoughts and length": ([chunk({"reasoning": "Hm."}), said("It is ", "length")], "with what the model thought"),
    "model_length": ([said("It is "), chunk({}, "model_length")], "limit of 300"),
    "content_filter": ([said("It is "), chunk({}, "content_filter")], "filter"),
    "SAFETY": ([said("It is "), chunk({}, "SAFETY")], "filter"),
    "length in a tool call": ([said("It is "), calling(call(0, "clock", '{"day"', "a")), chunk({}, "length")], "limit"),
    "filter behind a tool call": (
        [said("It is "), calling(call(0, "clock", MON, "a")), chunk({}, "content_filter")],
        "filter",
    ),
}


@pytest.mark.parametrize("case", CUT)
def test_a_reply_that_was_cut_by_its_server_says_why_and_asks_for_no_tool(case: str) -> None:
    sent, why = CUT[case]
    spoken, ending = read(body_of(sent))
    assert spoken.strip() == "It is"
    assert not ending.calls
    assert ending.cut is not None
    assert re.search(why, ending.cut.reason)


def test_a_model_that_has_nothing_to_say_says_nothing() -> None:
    assert read(body_of([chunk({"content": ""}), STOP, DONE]))[0] == ""
