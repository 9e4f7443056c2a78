"""Replies that are cut on their way, in whole calls: what the caller hears, and what history, log and figures hold. A
failure is never "nothing to say". Each row names who reported the form: repository and number of its issue or pull
request. (How each form is read: test_model_streams.py.)"""

from collections.abc import Sequence

import attrs
import pytest

from agentd.history import Speaker
from agentd.session_events import Cut
from agentd.testing._understudy import ANSWER
from agentd.testing.clock import until
from agentd.testing.telephone import UNDERSTUDY, Telephone
from tests.field.whole_calls import APOLOGY, ASKED, ASKED_AGAIN, GOOD, asked, heard_turns, sent

pytestmark = pytest.mark.loopback

FIRST, HALF = "In the shop. ", "And we are open unt"
"""The first is a clause that is spoken while the second is still being written."""


def dial(arguments: str) -> bytes:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "send_dtmf", "arguments": arguments}}
    return sent({"tool_calls": [call]})


DONE = b"data: [DONE]\n\n"
WORDS = [sent({"content": FIRST}), sent({"content": HALF})]
THOUGHT = sent({"reasoning_content": "Hm, where am I? " * 20})
ERROR = b'error: {"code": 500, "message": "CUDA error: out of memory", "type": "server_error"}\n\n'


@attrs.frozen
class Case:
    """`spoken`: what the caller hears of the reply. `told`: words of the log's line. `fails`: the turn has no answer,
    and the caller hears an apology, or the next agent; else what was said is the answer."""

    stream: Sequence[bytes]
    cause: Cut
    spoken: str
    told: str
    fails: bool = True


CASES = {
    # NVIDIA/TensorRT-LLM#18289, BerriAI/litellm#32159, preloop/preloop#117
    "no finish_reason, no [DONE]": Case(WORDS, Cut.BROKEN, FIRST, "before the reply was complete"),
    # vercel/ai#19165: before a clause was whole
    "the same in the first clause": Case([sent({"content": HALF})], Cut.BROKEN, "", "before the reply was complete"),
    # ggml-org/llama.cpp#14566, coddy-project/coddy-agent#106
    "an error after half a reply": Case([*WORDS, ERROR], Cut.BROKEN, FIRST, "out of memory"),
    # vllm-project/vllm: the engine gave the request up
    "abort": Case([*WORDS, sent({}, "abort")], Cut.BROKEN, FIRST, "broke the reply off: abort"),
    # livekit/agents#5808
    "length": Case([*WORDS, sent({}, "length"), DONE], Cut.LENGTH, FIRST + HALF, "max_tokens", fails=False),
    "content_filter": Case([*WORDS, sent({}, "content_filter"), DONE], Cut.FILTER, FIRST + HALF, "filter", fails=False),
    "content_filter, no word": Case([sent({}, "content_filter"), DONE], Cut.FILTER, "", "said nothing: "),
    # codecoradev/cora-code#537, codelibs/fess#3061, mindcraft-bots/mindcraft#789
    "thinking used up all": Case([THOUGHT, sent({}, "length"), DONE], Cut.THINKING, "", "thinking used them up"),
    # apache/maka#2297
    "a tool call cut in half": Case([dial('{"digits": "')], Cut.BROKEN, "", "before the reply was complete"),
    # anomalyco/opencode#39968: a tool whose arguments had not begun was run with none
    "a tool call without its arguments": Case([dial("")], Cut.BROKEN, "", "before the reply was complete"),
    "words, and half a tool call": Case(
        [*WORDS, dial('{"digits": "')], Cut.BROKEN, FIRST, "before the reply was complete"
    ),
    "half a tool call, called whole": Case(
        [dial('{"digits": "'), sent({}, "tool_calls"), DONE], Cut.BROKEN, "", "no whole JSON"
    ),
}


def cuts(telephone: Telephone) -> dict[str, float]:
    (family,) = telephone.call.metrics.replies_cut.collect()
    return {
        sample.labels["cause"]: sample.value
        for sample in family.samples
        if sample.value and sample.name.endswith("_total")
    }


@pytest.mark.parametrize("case", CASES)
async def test_the_caller_hears_the_words_there_are_and_an_apology_and_the_call_goes_on(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = CASES[case]
    words = one.spoken.strip()
    expected = [*filter(None, [words]), *([APOLOGY] if one.fails else [])]
    async with asked(one.stream, monkeypatch) as (telephone, logs, _party):
        await until(lambda: len(heard_turns(telephone)) == len(expected))
        assert heard_turns(telephone) == expected, "and nothing else is in the history"
        assert telephone.heard() > 0.3
        told = [line for line in logs if one.told in f"{line.get('error')} {line.get('reason')}"]
        assert [line["event"] for line in told] == ["an answer failed" if one.fails else "the agent is degraded"]
        assert cuts(telephone) == {one.cause: 1.0}
        assert not telephone.asterisk.pressed, "half a tool call is none"
        telephone.session.feed_text(ASKED_AGAIN)
        await until(lambda: heard_turns(telephone)[-1] == GOOD)
        assert telephone.said_by(Speaker.CALLER) == [ASKED, ASKED_AGAIN]
        assert cuts(telephone) == {one.cause: 1.0}


@pytest.mark.parametrize("case", [name for name, one in CASES.items() if one.fails])
async def test_where_there_is_another_agent_it_answers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = CASES[case]
    async with asked(one.stream, monkeypatch, understudy=True) as (telephone, logs, _party):
        await until(lambda: ANSWER in heard_turns(telephone))
        assert telephone.served_by == UNDERSTUDY
        assert heard_turns(telephone) == [*filter(None, [one.spoken.strip()]), ANSWER]
        assert cuts(telephone) == {one.cause: 1.0}
        assert [line for line in logs if one.told in str(line)]
