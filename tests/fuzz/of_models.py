"""The parsers of what a language model writes, and of what the server sends that it runs on."""

from collections.abc import Mapping
from functools import partial

from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from agentd.parsing import load_json
from agentd.tools.contract import ToolError
from agentd.tools.http_request import fill
from agentd.tools.parameters import Arguments
from agentd_providers.local.sentence_end import end_probability
from agentd_providers.openai.chat_forms import NO_CHUNK, ToolCalls, words_of
from agentd_providers.openai.context import ModelContext, refused_length
from agentd_providers.pipeline.clauses import LONGEST, ClauseCutter
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
ENGLISH = TextNormaliser(open_language("en"))


def stream(data: bytes) -> None:
    """The chunks of a reply, one a line, as the openai client makes them of JSON; the first byte says of which kind."""
    written = data[:1] == b"\x01"
    kind, calls, mender = Completion if written else ChatCompletionChunk, ToolCalls(), PieceMender()
    said = ""
    try:
        for line in data[1:].split(b"\n"):
            fields = load_json(line)
            said += mender.feed(
                words_of(kind.construct(**fields) if isinstance(fields, dict) else fields, calls, written)
            )
    except NO_CHUNK:
        return
    said += mender.flush()
    for call in calls.whole():
        said += call.call + call.name + call.arguments
    said.encode()


def refusal(data: bytes) -> None:
    if (told := refused_length(load_json(data))) is not None:
        context = ModelContext()
        context.learn(told, context.fit((), (), 100))
        context.fit((), (), 100)


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
            b'\x00{"choices":[{"index":0,"delta":{"content":"hi","tool_calls":null}}]}\n{"choices":[]}',
            b'\x00{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"t","arguments":"{"}}]}}]}\n'
            b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}',
            b'\x00{"choices":[{"delta":{"tool_calls":[{"id":"","function":{"name":"t","arguments":{"a":1}}}]}}]}',
            b'\x01{"choices":[{"index":0,"text":"hi","finish_reason":null}]}',
        ),
        is_json=True,
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
    "sentence-end": Target(
        lambda data: end_probability(load_json(data)),
        (ValueError, TypeError, LookupError),
        (b'[{"token":".","logprob":-0.1},{"token":" and","logprob":-3}]',),
        is_json=True,
    ),
    "clauses": Target(
        clauses, (), (b"Well, yes. That is *so*, [see](http://a.b) - e.g. Dr. No! ", "好。是吗？".encode())
    ),
    "surrogates": Target(mended_pieces, (UnicodeDecodeError,), ("a😀b".encode("utf-16-le"), b"\x3d\xd8a\x00")),
}
