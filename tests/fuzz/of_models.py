"""The parsers of what a language model writes, and of what the server sends that it runs on."""

import re
from collections.abc import Mapping
from functools import partial

from agentd.errors import ProviderError
from agentd.parsing import load_json
from agentd.tools.contract import ToolError
from agentd.tools.http_request import fill
from agentd.tools.parameters import Arguments
from agentd_providers.model_list import UsedModel, told_of
from agentd_providers.openai.context import ModelContext, refused_length
from agentd_providers.openai.event_stream import ServerEvent
from agentd_providers.openai.private_words import PrivateWords
from agentd_providers.openai.refusals import concealing, told_by
from agentd_providers.openai.reply import ReplyReader
from agentd_providers.openai.returned import sealed_calls
from agentd_providers.openai.sentence_end import end_probability, most_likely_next
from agentd_providers.openai.ways import Ways
from agentd_providers.pipeline.clauses import LONGEST, ClauseCutter
from agentd_providers.pipeline.stages import Withdrawal
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.text_normalisation.tables import open_language
from agentd_providers.vendor.surrogates import PieceMender
from agentd_providers.vendor.text_limit import pieces_of
from tests.fuzz.target import Target, text

SCHEMA = {
    "type": "object",
    "properties": {"day": {"type": "string", "maxLength": 20}, "guests": {"type": "integer", "minimum": 1}},
    "required": ["day"],
}
ARGUMENTS = Arguments.of(SCHEMA)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
ENGLISH = TextNormaliser(open_language("en"))


def sentence_end(data: bytes) -> None:
    """A chunk of the completion by which a model is asked whether a sentence ends."""
    if (told := most_likely_next(ServerEvent(data.decode("utf-8", "replace")))) is not None:
        assert 0 <= end_probability(told) <= 1


def stream(data: bytes) -> None:
    """The body of an answer; the first byte says of which kind, and in what pieces it comes."""
    first, body = data[:1] or b"\0", data[1:]
    reader = ReplyReader(written=first[0] % 2 == 1, names={"t"}, waits=first[0] % 4 > 1)
    size = first[0] // 4 + 1
    said = ""
    try:
        pieces = [piece for at in range(0, len(body), size) for piece in reader.feed(body[at : at + size])]
        ending = reader.end()
    except ProviderError:
        return
    said += "".join(str(piece) for piece in [*pieces, *ending.pieces])
    for call in sealed_calls(ending.calls, ending.message, "here"):
        assert isinstance(load_json(call.arguments), dict)
        said += call.call + call.name + call.arguments
    said.encode()


def private(data: bytes) -> None:
    """Words and what is not for ears: cut anywhere, the same comes out."""
    text_, waits = data[1:].decode(errors="replace"), data[:1] == b"\1"

    def told(size: int) -> list[str]:
        words = PrivateWords(waits)
        given = [piece for at in range(0, len(text_), size) for piece in words.feed(text_[at : at + size])]
        parts = [""]
        for piece in given + words.end():
            if isinstance(piece, Withdrawal):
                parts.append("")
            else:
                parts[-1] += piece
        return parts

    assert told(1) == told(3) == told(max(len(text_), 1))


def refusal(data: bytes) -> None:
    body = load_json(data)
    told_by(body, concealing("key")).encode()
    Ways().learn(400, body, {"max_tokens": 1, "tools": [], "messages": [{"reasoning_content": ""}]})
    if (told := refused_length(body)) is not None:
        context = ModelContext()
        context.learn(told, context.fit((), (), 100))
        context.fit((), (), 100)


def model_list(data: bytes) -> None:
    """A server's list of its models: whatever it is, each model in use is told of once, or not at all."""
    used = [UsedModel("model", "m", kind) for kind in ("chat", "speech", "speech to text", "realtime")]
    for told in told_of("https://api.deepgram.com/v1/models", data, used, "2026-11-30"):
        assert not told.ends or _DAY.fullmatch(told.ends)
        (told.text + told.instead).encode()


def tool_url(data: bytes) -> None:
    url = fill("https://a.example/{day}/x?guests={guests}", ARGUMENTS.parse(data.decode(errors="surrogateescape")))
    url.encode("ascii")
    assert url.startswith("https://a.example/")


def clauses(data: bytes) -> None:
    """A reply comes in pieces and is spoken in clauses, the same ones however it was cut on its way."""
    words = data.decode(errors="replace")
    cutter = ClauseCutter(ENGLISH.language)
    spoken = [clause for at in range(0, len(words), 7) for clause in cutter.feed(words[at : at + 7])] + cutter.flush()
    assert spoken == [*cutter.feed(words), *cutter.flush()]
    assert all(0 < len(clause) <= LONGEST for clause in spoken)
    for clause in spoken:
        said = ENGLISH.spoken(clause)
        assert len(said.words) == len(clause.split())
        assert "[" not in said.text
        for piece in pieces_of(clause, 60):
            assert 0 < len(piece) <= 60


def mended_pieces(data: bytes) -> None:
    mender = PieceMender()
    words = data.decode("utf-16-le", errors="surrogatepass")
    whole = "".join(mender.feed(words[at : at + 1]) for at in range(len(words))) + mender.flush()
    whole.encode()


TARGETS: Mapping[str, Target] = {
    "tool-arguments": Target(
        partial(text, ARGUMENTS.parse),
        (ToolError,),
        (b'{"day":"Monday","guests":2}', b'{"guests":1e400}'),
        is_json=True,
    ),
    "tool-url": Target(
        tool_url, (ToolError,), (b'{"day":"Monday","guests":2}', b'{"day":"..","guests":1}'), is_json=True
    ),
    "chat-stream": Target(
        stream,
        (),
        (
            b'\x00data: {"choices":[{"index":0,"delta":{"content":"hi","tool_calls":null}}]}\n\ndata: [DONE]\n\n',
            b'\x08data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"t","arguments":"{"'
            b'}}]}}]}\n\ndata: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},'
            b'"finish_reason":"tool_calls"}]}\n\n',
            b'\x00data: {"choices":[{"delta":{"reasoning_content":"x","tool_calls":[{"id":"","function":{"name":"t",'
            b'"arguments":{"a":1}},"extra_content":{"g":1}}]},"finish_reason":"stop"}]}\r\n\r\n',
            b'\x01data: {"choices":[{"index":0,"text":"hi","finish_reason":"length"}]}\n\n',
            b'\x10error: {"message":"no","code":500}\n\n',
            b'\x00{"choices":[{"message":{"content":[{"type":"text","text":"hi"}]},"finish_reason":"stop"}]}',
        ),
    ),
    "private-words": Target(
        private,
        (),
        (
            b"\0<think>I</think>\nHi. <tool_call>{}</tool_call>",
            b"\1We</think>Hi",
            "\0<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>Hi<｜a▁b｜>".encode(),
            b"\0[TOOL_CALLS][{}]<|channel>thought\nx<channel|>a < b </s>",
        ),
    ),
    "chat-refusal": Target(
        refusal,
        (ValueError,),
        (
            b'{"error":{"message":"This model has a maximum context length of 10 tokens, you requested 12 tokens",'
            b'"code":"context_length_exceeded"}}',
            b'{"error":{"type":"exceed_context_size_error","n_ctx":10,"n_prompt_tokens":12}}',
        ),
        is_json=True,
    ),
    "model-list": Target(
        model_list,
        (),
        (
            b'{"object":"list","data":[{"id":"m","shutdown_date":"2027-01-14","aliases":["n"]}]}',
            b'{"data":[{"id":"m","lifecycle_status":"x","deprecation":{"inference":1709284527}},{"id":"a/*"}]}',
            b'{"stt":[{"canonical_name":"m-general","architecture":"m"}],"tts":[{"canonical_name":"m"}]}',
            b'{"models":["m:latest",{"name":"models/m","expiration_date":"2026-12-31T00:00:00Z"}]}',
        ),
        is_json=True,
    ),
    "sentence-end": Target(
        sentence_end,
        (ValueError, TypeError, AttributeError, LookupError),
        (
            b'{"choices":[{"logprobs":{"content":[{"top_logprobs":[{"token":".","logprob":-0.1},{"token":"a","logprob":-3}]}]}}]}',
            b'{"choices":[{"logprobs":{"top_logprobs":[{".":-0.1," and":-3}]}}]}',
        ),
        is_json=True,
    ),
    "clauses": Target(
        clauses, (), (b"Well, yes. That is *so*, [see](http://a.b) - e.g. Dr. No! ", "好。是吗？".encode())
    ),
    "surrogates": Target(mended_pieces, (UnicodeDecodeError,), ("a😀b".encode("utf-16-le"), b"\x3d\xd8a\x00")),
}
