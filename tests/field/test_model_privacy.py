"""What a model writes for itself or for machines is not spoken, and not in the history. Each row names who reported the
form: repository and number of its issue or pull request, or the model whose template has it."""

from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd_providers.openai.private_words import PrivateWords
from agentd_providers.pipeline.stages import Withdrawal


def spoken(text: str, size: int = 0, *, waits: bool = False, complete: bool = True) -> tuple[list[str], PrivateWords]:
    """What is said, up to each withdrawal; the reply comes in pieces of so many characters."""
    words = PrivateWords(waits)
    pieces = [piece for at in range(0, len(text), size or 1) for piece in words.feed(text[at : at + (size or 1)])]
    said = [""]
    for piece in pieces + words.end(complete=complete):
        if isinstance(piece, Withdrawal):
            said.append("")
        else:
            said[-1] += piece
    return said, words


FORMS: Mapping[str, tuple[str, str]] = {
    # semperai/amica#174
    "think": ("<think>The caller wants the time.</think>It is five o'clock.", "It is five o'clock."),
    "think, lines": ("<think>\nHm.\n</think>\n\nIt is five.", "It is five."),
    "think, empty": ("<think>\n\n</think>\n\nIt is five.", "It is five."),
    "think behind words": ("Let me see. <think>Hm.</think>It is five.", "Let me see. It is five."),
    "think twice": ("<think>a</think>It is <think>b</think>five.", "It is five."),
    # gptme/gptme#3332: interrupted
    "think, unclosed": ("Let me see. <think>The caller", "Let me see. "),
    "think, unclosed from the beginning": ("<think>The caller wants", ""),
    # openclaw/openclaw#9456: one closing tag too many
    "think, closed twice": ("<think>a</think>It is </think>five.", "It is five."),
    "only a closing tag at the end": ("It is five.</think>", "It is five."),
    "only a closing tag at the beginning": ("</think>\n\nIt is five.", "It is five."),
    # NousResearch/hermes-agent#34354, #77079; aj47/SpeakMCP#996; ephraimduncan/opencode-cursor#12
    "thinking": ("<thinking>Hm.</thinking>Five.", "Five."),
    "THINK": ("<THINK>Hm.</THINK>Five.", "Five."),
    "reasoning": ("<reasoning>Hm.</reasoning>Five.", "Five."),
    "thought": ("<thought>Hm.</thought>Five.", "Five."),
    "think_intent": ("<think_intent>Hm.</think_intent>Five.", "Five."),
    "REASONING_SCRATCHPAD": ("<REASONING_SCRATCHPAD>Hm.</REASONING_SCRATCHPAD>Five.", "Five."),
    "attributes": ('<thinking duration="3">Hm.</thinking>Five.', "Five."),
    "antThinking": ("<antThinking>Hm.</antThinking>Five.", "Five."),
    # ByteDance Seed-OSS; Magistral; Kimi-VL; Cohere Command A Reasoning; OpenThinker
    "seed:think": ("<seed:think>Hm.</seed:think>Five.", "Five."),
    "[THINK]": ("[THINK]Hm.[/THINK]Five.", "Five."),
    "◁think▷": ("◁think▷Hm.◁/think▷Five.", "Five."),
    "START_THINKING": ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Five.<|END_RESPONSE|>", "Five."),
    "begin_of_thought": (
        "<|begin_of_thought|>Hm.<|end_of_thought|><|begin_of_solution|>Five.<|end_of_solution|>",
        "Five.",
    ),
    # R1-style training: answers in tags (open-r1)
    "answer": ("<think>Hm.</think><answer>Five.</answer>", "Five."),
    # waybarrios/vllm-mlx#53, InternLM/lmdeploy#3954: gpt-oss's channels
    "harmony": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Five.<|return|>",
        "Five.",
    ),
    "harmony, from its start": (
        "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Five.<|return|>",
        "Five.",
    ),
    "harmony, no end between": ("<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>Five.", "Five."),
    "harmony, cut in its thoughts": ("<|channel|>analysis<|message|>Hm, the caller", ""),
    "harmony, a tool": (
        "<|channel|>commentary to=functions.clock <|constrain|>json<|message|>{}<|call|>",
        "",
    ),
    # mudler/LocalAI#11135, Blaizzy/mlx-vlm#1477: Gemma 4
    "gemma's channel": ("<|channel>thought\nHm.\n<channel|>Five.", "Five."),
    "gemma's empty channel": ("<|channel>thought\n<channel|>Five.", "Five."),
    "gemma's tool call": ("One moment. <|tool_call>call:clock{day:Mon}<tool_call|>", "One moment. "),
    "gemma's turns": ("Five.<turn|>", "Five."),
    # vllm-project/vllm#47903, #58105; jundot/omlx#103: Hermes, Qwen
    "tool_call": ('One moment. <tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>', "One moment. "),
    "tool_call, cut": ('One moment. <tool_call>\n{"name": "clo', "One moment. "),
    # raullenchai/Rapid-MLX#978: Qwen Coder
    "function=": ("<function=clock>\n<parameter=day>\nMon\n</parameter>\n</function>", ""),
    # MiniMax M2
    "minimax:tool_call": ('<minimax:tool_call><invoke name="clock"></invoke></minimax:tool_call>', ""),
    "function_calls": ('<function_calls><invoke name="clock"></invoke></function_calls>', ""),
    # Mistral without its parser (vLLM: --tool-call-parser mistral)
    "[TOOL_CALLS]": ('[TOOL_CALLS][{"name": "clock", "arguments": {}}]', ""),
    "[TOOL_CALLS] behind words": ('One moment.[TOOL_CALLS]clock{"day": "Mon"}', "One moment."),
    # Llama 3
    "python_tag": ('<|python_tag|>{"name": "clock", "parameters": {}}<|eom_id|>', ""),
    # DeepSeek V3, V3.2
    "tool▁calls": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>clock\n```json\n{}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
    ),
    "DSML": ('<｜DSML｜function_calls><｜DSML｜invoke name="clock"></｜DSML｜invoke></｜DSML｜function_calls>', ""),
    # Kimi K2
    "tool_calls_section": (
        "One moment.<|tool_calls_section_begin|><|tool_call_begin|>functions.clock:0<|tool_call_argument_begin|>{}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        "One moment.",
    ),
    # vllm-project/vllm#51701: GigaChat
    "function_call": ('I\'ll check.<|function_call|>{"name": "clock"}', "I'll check."),
    "message_sep": ('I\'ll check.<|message_sep|>\n\nfunction call<|role_sep|>\n{"name": "clock"}', "I'll check."),
    # Granite 3
    "tool_call, special": ('<|tool_call|>[{"name": "clock"}]', ""),
    # InternLM 2
    "action_start": ('One moment.<|action_start|><|plugin|>{"name": "clock"}<|action_end|>', "One moment."),
    # Command R
    "START_ACTION": ('<|START_ACTION|>[{"tool_name": "clock"}]<|END_ACTION|>', ""),
    # ends of turns that a wrong template lets through (ggml-org/llama.cpp, Ollama): what follows is no reply
    "im_end": ("Five.<|im_end|>\n<|im_start|>user\nAnd what day?", "Five."),
    "eot_id": ("Five.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?", "Five."),
    "</s>": ("Five.</s> [INST] And?", "Five."),
    "end_of_turn": ("Five.<end_of_turn>\n<start_of_turn>user\nAnd?", "Five."),
    "endoftext": ("Five.<|endoftext|>Human: And?", "Five."),
    "deepseek's end": ("Five.<｜end▁of▁sentence｜>", "Five."),
    "phi's end": ("Five.<|end|><|user|>And?", "Five."),
    "a header of its own": ("<|im_start|>assistant\nFive.<|im_end|>", "Five."),
    "llama's header": ("<|start_header_id|>assistant<|end_header_id|>\n\nFive.<|eot_id|>", "Five."),
    "gemma's header": ("<start_of_turn>model\nFive.<end_of_turn>", "Five."),
    "the caller's words written on": ("Five.<|user|>And what day?<|assistant|>Monday.", "Five."),
    # GLM-4.5V
    "begin_of_box": ("<|begin_of_box|>Five.<|end_of_box|>", "Five."),
    "pad": ("<pad><pad>Five.<unk>", "Five."),
}


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_only_what_is_for_ears_is_spoken(case: str, size: int) -> None:
    text, said = FORMS[case]
    assert spoken(text, size)[0] == [said]


@pytest.mark.parametrize(
    "text",
    [
        "Press 1 if 3 < 5, or 5 > 3.",
        "a<b and b<c",
        "I <3 you.",
        "Use <b>bold</b> [or not].",
        "[1] The first [TO be sure] is [T",
        "It costs <unknown amount>.",
        "if x <",
        "<",
        "<thinker>",
        "Is 4<y|x> a formula?"[:10],
        "mail <ann@example.com>",
        "The sign ◁ points left.",
        "< think >",
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_words_with_brackets_stay(text: str, waits: bool) -> None:
    for size in (1, 3, 100):
        assert spoken(text, size, waits=waits)[0] == [text]


# --- thoughts whose opening tag is a part of the prompt: nbramia/LifeOS#568, openclaw/openclaw#9456 (Nemotron)


def test_the_first_time_what_was_said_is_withdrawn_as_soon_as_the_answer_comes() -> None:
    for size in (1, 4, 100):
        said, words = spoken("The caller wants the time.\n</think>\n\nIt is five.", size)
        assert said == ["The caller wants the time.\n", "It is five."]
        assert words.unopened


def test_once_it_is_known_its_words_wait_for_the_closing_tag() -> None:
    for size in (1, 4, 100):
        said, words = spoken("The caller wants the time.\n</think>\n\nIt is five.", size, waits=True)
        assert said == ["It is five."]
        assert words.thought


def test_an_answer_without_thoughts_comes_when_it_is_complete_and_no_half_of_a_thought_does() -> None:
    assert spoken("It is five.", waits=True)[0] == ["It is five."]
    said, words = spoken("The caller wants", waits=True, complete=False)
    assert said == [""]
    assert words.thought


def test_a_model_that_opens_its_thoughts_after_all_is_not_waited_for() -> None:
    assert spoken("<think>Hm.</think>It is five.", waits=True)[0] == ["It is five."]


def test_a_tool_call_behind_the_end_of_unopened_thoughts_withdraws_them_too() -> None:
    words = PrivateWords()
    assert words.feed("Hm.</think>\n") == ["Hm."]
    assert words.acts() == [Withdrawal()]


@given(
    st.lists(
        st.sampled_from([text for text, _ in FORMS.values()] + ["It is five. ", "</think>", "<", "[", "|>", "\n"]),
        max_size=4,
    ).map("".join),
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.booleans(),
)
@example("<l| >", [1], False)
def test_cut_anywhere_the_words_are_the_same(text: str, sizes: list[int], waits: bool) -> None:
    words, at, turn = PrivateWords(waits), 0, 0
    said = [""]
    pieces: list[str | Withdrawal] = []
    while at < len(text):
        pieces += words.feed(text[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    for piece in pieces + words.end():
        if isinstance(piece, Withdrawal):
            said.append("")
        else:
            said[-1] += piece
    assert said == spoken(text, 1000, waits=waits)[0]
