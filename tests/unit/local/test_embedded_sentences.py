"""The embedded model as a cue alone: it reads the last words, and no prompt of the agent's."""

import trio

from agentd_providers.local.embedded_sentences import EmbeddedSentences
from agentd_providers.pipeline.stages import Message, Role
from tests.shell.pipeline_fakes import FakeResponder


async def test_it_is_asked_for_the_end_of_the_last_words_alone(autojump_clock: trio.testing.MockClock) -> None:
    responder = FakeResponder(tells_sentence_ends=True, ends=0.25)
    sentences = EmbeddedSentences(responder)
    asked = [Message(Role.ASSISTANT, "Your number?"), Message(Role.USER, "It is")]
    assert sentences.tells_sentence_ends
    assert await sentences.sentence_end([Message(Role.SYSTEM, "Be brief."), *asked]) == 0.25
    assert responder.asked_for_ends == [asked]
