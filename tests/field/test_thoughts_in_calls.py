"""Thoughts that a model closes and has not opened, in whole calls: the first time its words are spoken until that is
noticed. What was not heard by then is not heard, and not in the history; from then on nothing of it is. (The forms:
test_model_privacy.py; https://github.com/semperai/amica/issues/174, https://github.com/vllm-project/vllm/issues/21213.)
"""

from collections.abc import Sequence

import pytest

from agentd.history import Speaker
from agentd.testing.clock import until
from tests.field.whole_calls import ASKED, ASKED_AGAIN, asked, heard_turns, sent

pytestmark = pytest.mark.loopback

THOUGHT = "The caller wants to know the place. I should look that up. Then I will say it in a friendly way. "
ANSWER = "In the shop."
END = [sent({"content": f"</think>\n\n{ANSWER}"}), sent({}, "stop"), b"data: [DONE]\n\n"]
WORDS = [sent({"content": f"{word} "}) for word in THOUGHT.split()]


@pytest.mark.parametrize("stream", [[*WORDS, *END], [sent({"content": THOUGHT}), *END]], ids=["words", "at once"])
async def test_thoughts_of_which_nothing_was_heard_leave_no_trace(
    stream: Sequence[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(stream, monkeypatch) as (telephone, logs, party):
        await until(lambda: ANSWER in heard_turns(telephone))
        heard = heard_turns(telephone)
        assert heard[-1] == ANSWER
        assert len(" ".join(heard[:-1]).split()) <= 2, "one frame may have been on its way"
        assert telephone.heard() < party.seconds(ANSWER) + 1.0
        assert [line["event"] for line in logs if "closes thoughts" in line["event"]]


async def test_thoughts_that_are_being_heard_stop_and_the_history_has_what_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asked([*WORDS, 1.5, *END], monkeypatch) as (telephone, logs, party):
        await until(lambda: ANSWER in heard_turns(telephone))
        thought, answer = heard_turns(telephone)
        assert answer == ANSWER
        assert THOUGHT.startswith(thought)
        assert 2 < len(thought.split()) < len(THOUGHT.split()) - 5
        (turn,) = [turn for turn in telephone.call.history.turns if turn.text == thought]
        assert turn.generated == thought, "of what was not heard there is nothing"
        assert [line["being_heard"] for line in logs if line["event"] == "words are taken back"] == [True]
        party.chat.streams[ASKED_AGAIN] = [*WORDS, 0.5, *END]
        telephone.session.feed_text(ASKED_AGAIN)
        await until(lambda: len(heard_turns(telephone)) == 3)
        assert heard_turns(telephone)[2] == ANSWER, "from now on its words wait for the end of its thoughts"
        assert telephone.said_by(Speaker.CALLER) == [ASKED, ASKED_AGAIN]
        told = [message["content"] for message in party.chat.asked[-1]["messages"]]
        assert not any("look that up" in text for text in told)
