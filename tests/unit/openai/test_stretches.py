"""A reply in two stretches is the reply in one, and no more of it is asked for than its first clause."""

import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ProviderError
from agentd.session_events import Cut
from agentd_providers.openai.reply import ReplyReader
from agentd_providers.openai.stretches import Stretches
from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.pipeline.stages import CutShort, Piece

PROMPT = "Caller: Hello.\nAssistant:"
WORDS = st.sampled_from(
    [
        *(
            " Certainly",
            ",",
            ".",
            " we",
            " are",
            " open",
            "ing",
            " until",
            " ten",
            "!",
            " Dr",
            " – ",
            " né",
            "e",
            " 🙂",
        ),
        *(" 🙂", "?", "<think>", " hm.", "</think>", " 3", ".5", ' "', '"', " "),
    ]
)


@attrs.define(eq=False)
class Server:
    """Writes the same reply whenever it is asked to go on with it, a token a chunk, `at_once` chunks in a piece."""

    tokens: Sequence[str]
    at_once: int = 1
    asked: list[dict[str, Any]] = attrs.field(factory=list)

    def answer(self, asked: dict[str, Any]) -> list[bytes]:
        """The pieces of the body."""
        self.asked.append(asked)
        said = asked["prompt"].removeprefix(PROMPT)
        left, whole = list(self.tokens), "".join(self.tokens)
        assert whole.startswith(said)
        while said:
            said = said.removeprefix(left.pop(0))
        tokens = left[: asked["max_tokens"]]
        finish = "stop" if len(tokens) == len(left) else "length"
        chunks = [self._chunk(token) for token in tokens] + [self._chunk("", finish), b"data: [DONE]\n\n"]
        return [b"".join(chunks[at : at + self.at_once]) for at in range(0, len(chunks), self.at_once)]

    def _chunk(self, text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "finish_reason": finish}
        return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def read(server: Server, reply: Stretches, most: int = 80) -> tuple[list[Piece], int]:
    """One stretch: its pieces, and how many pieces of the body were taken."""
    taken, pieces = 0, list[Piece]()
    body = server.answer(reply.asked({"prompt": PROMPT, "max_tokens": most}))
    reply.go_on()
    while not (reply.reader.done or reply.pauses):
        for piece in reply.reader.feed(body[taken]):
            reply.take(piece)
            pieces.append(piece)
        taken += 1
    if not reply.pauses:
        ending = reply.reader.end()
        pieces += ending.pieces
        pieces += [ending.cut] if ending.cut is not None else []
        reply.over = True
    return pieces, taken


def in_stretches(most: int = 80) -> Stretches:
    return Stretches(ReplyReader(written=True, most_tokens=most), first=ClauseCutter())


def whole(server: Server, reply: Stretches, most: int = 80) -> list[Piece]:
    pieces = list[Piece]()
    while not reply.over:
        pieces += read(server, reply, most)[0]
    return pieces


def test_the_first_stretch_ends_with_the_first_clause() -> None:
    server, reply = Server([" Certainly", ",", " we", " are", " open", " until", " ten", "."]), in_stretches()
    pieces, taken = read(server, reply)
    assert (pieces, taken) == ([" Certainly", ",", " we"], 3)
    assert not reply.over
    pieces, _ = read(server, reply)
    assert pieces == [" are", " open", " until", " ten", "."]
    assert reply.over
    assert [asked["prompt"].removeprefix(PROMPT) for asked in server.asked] == ["", " Certainly, we"]


def test_a_reply_of_one_clause_is_asked_for_once() -> None:
    server, reply = Server([" It", " is", " noon", " now", "."]), in_stretches()
    assert whole(server, reply) == [" It", " is", " noon", " now", "."]
    assert len(server.asked) == 1


def test_a_reply_that_is_known_to_be_complete_with_its_first_clause_is_not_asked_for_again() -> None:
    server, reply = Server([" Certainly", ",", " yes", "."], at_once=6), in_stretches()
    assert "".join(map(str, whole(server, reply))) == " Certainly, yes."
    assert len(server.asked) == 1


def test_the_limit_is_that_of_both_stretches_together() -> None:
    server, reply = Server([" Certainly", ",", *[" more"] * 30]), in_stretches(10)
    pieces = whole(server, reply, 10)
    assert [asked["max_tokens"] for asked in server.asked] == [10, 7]
    cut = pieces[-1]
    assert isinstance(cut, CutShort)
    assert (cut.cause, "10 tokens" in cut.reason) == (Cut.LENGTH, True)
    assert len(pieces) == 11


def test_a_reply_that_is_over_after_its_first_clause_is_whole() -> None:
    server, reply = Server([" Certainly", ",", " "]), in_stretches()
    assert whole(server, reply) == [" Certainly", ",", " "]


def test_thoughts_that_begin_in_one_stretch_end_in_the_other() -> None:
    server, reply = Server([" Certainly", ",", " we", "<th", "ink>", " hm.", "</think>", " do", "."]), in_stretches()
    assert "".join(map(str, whole(server, reply))) == " Certainly, we do."


def test_what_was_held_back_at_the_end_of_a_stretch_comes_with_the_next() -> None:
    server, reply = Server([" Certainly", ", a <", " b", "."]), in_stretches()
    pieces, _ = read(server, reply)
    assert pieces == [" Certainly", ", a "]
    assert read(server, reply)[0] == ["<", " b", "."]


@given(st.lists(WORDS, max_size=40), st.integers(1, 5))
def test_the_text_of_both_stretches_is_the_text_of_one(tokens: list[str], at_once: int) -> None:
    try:
        one = whole(Server(tokens, at_once), Stretches(ReplyReader(written=True, most_tokens=80)))
    except ProviderError as error:
        with pytest.raises(type(error)):
            whole(Server(tokens, at_once), in_stretches())
        return
    server = Server(tokens, at_once)
    assert "".join(map(str, whole(server, in_stretches()))) == "".join(map(str, one))
    assert len(server.asked) <= 2
