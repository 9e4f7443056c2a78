"""A pipeline on a chat server that is strict: whatever a call went through, its prompts are such as servers take."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent import CallInfo
from agentd.history import History, ToolUse
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent, ToolRequested, UtteranceEnded
from agentd.testing.clock import until
from agentd_providers.openai import server_sentences
from agentd_providers.openai.chat_forms import chat
from agentd_providers.openai.chat_model import ChatModel, open_chat
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.answer import Answer
from agentd_providers.pipeline.session import PipelineSession, open_pipeline
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import Message, Role
from agentd_providers.shared import SharedServices
from tests.lab.vendors.chat import KEY, Asked, ChatServer, open_chat_server
from tests.lab.vendors.chat_refusals import check_messages
from tests.shell.pipeline_fakes import CLOCK, SETTINGS, FakeDetector, FakeResponder, FakeTranscriber, FakeVoice

pytestmark = pytest.mark.loopback


def session_with(responder: object, history: History) -> PipelineSession:
    output = SpeechOutput(PlayoutBuffer(), FakeVoice(seconds=0), 8000)
    return PipelineSession(
        CallInfo("1.1"), history, output, SETTINGS, FakeDetector(), FakeTranscriber(), None,
        responder, lambda _seconds: None, (CLOCK,),  # type: ignore[arg-type]
    )  # fmt: skip


texts = st.text(min_size=1, max_size=8)
tool_uses = st.builds(ToolUse, texts, st.sampled_from(["{}", '{"a": 1}', "", "no JSON", "[1]"]), st.text(max_size=8))


@given(st.lists(st.one_of(texts, tool_uses, st.tuples(texts, texts)), max_size=12), texts, st.booleans())
def test_every_history_makes_a_prompt_that_strict_servers_take(
    past: list[str | ToolUse | tuple[str, str]], words: str, committed: bool
) -> None:
    history = History()
    for utterance, turn in enumerate(past, start=1):
        match turn:
            case str():
                history.caller_said(turn)
            case ToolUse():
                history.tool_used(turn)
            case (heard, generated):
                history.agent_heard(utterance, heard, generated)
    session = session_with(FakeResponder(), history)
    check_messages(chat(session._replies.messages(Answer(1, 0.0, words, committed=committed))))


@attrs.define(eq=False)
class Caller:
    """Types to a session, and uses the tools that it asks for."""

    session: PipelineSession
    server: ChatServer
    results: dict[str, str] = attrs.field(factory=dict)
    events: list[SessionEvent] = attrs.field(factory=list)

    async def follow(self) -> None:
        async for event in self.session.events:
            self.events.append(event)
            if isinstance(event, ToolRequested) and event.name in self.results:
                self.session.tool_result(event.call, self.results[event.name])

    async def say(self, words: str, utterances: int = 1) -> None:
        before = self.ended
        self.session.feed_text(words)
        self.session.answer()
        await until(lambda: self.ended >= before + utterances)

    def asked(self) -> list[ToolRequested]:
        return [event for event in self.events if isinstance(event, ToolRequested)]

    @property
    def ended(self) -> int:
        return sum(isinstance(event, UtteranceEnded) for event in self.events)


@asynccontextmanager
async def typing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caller]:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    with trio.fail_after(20):
        async with open_chat_server() as (server, peer):
            settings = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1")
            async with trio.open_nursery() as nursery, open_chat(settings, SharedServices(nursery)) as model:
                async with model.open() as responder:
                    session = session_with(responder, History())
                    async with open_pipeline(session):
                        caller = Caller(session, server)
                        nursery.start_soon(caller.follow)
                        yield caller
                    nursery.cancel_scope.cancel()
        assert not server.refused


async def test_a_conversation_with_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    async with typing(monkeypatch) as caller:
        caller.results = {"clock": "five o'clock"}
        caller.server.replies = {
            "what is the time": ["Let me see. ", Asked("clock", {"zone": "CET"}), Asked("clock", {"zone": "EET"})],
            "five o'clock": ["It is five."],
        }
        await caller.say("what is the time", utterances=2)
        await caller.say("thank you")
        caller.session.history.agent_heard(2, "It is five.", "It is five.")
        await caller.say("and again")
        assert [turn.tool.result for turn in caller.session.history.turns if turn.tool] == ["five o'clock"] * 2
        assert len(caller.server.asked) == 4


async def test_a_caller_who_goes_on_while_a_tool_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with typing(monkeypatch) as caller:
        caller.server.replies = {"what is the time": ["Let me see. ", Asked("clock", {"zone": "CET"})]}
        await caller.say("what is the time")
        await until(caller.asked)
        (asked,) = caller.asked()
        await caller.say("never mind")
        caller.session.tool_result(asked.call, "five")
        await caller.say("what did you say")
        assert [turn.tool.result for turn in caller.session.history.turns if turn.tool] == ["five"]


# --- whether a sentence ends


@asynccontextmanager
async def warmed_up(monkeypatch: pytest.MonkeyPatch, ends: Mapping[str, float] | None) -> AsyncIterator[ChatModel]:
    """A model on a server, once it is warm and it was found out whether it tells ends."""
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    monkeypatch.setattr(server_sentences, "QUICK", 10.0)  # a busy machine is no failure
    with trio.fail_after(20):
        async with open_chat_server() as (server, peer):
            server.ends = ends
            settings = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1")
            async with trio.open_nursery() as nursery, open_chat(settings, SharedServices(nursery)) as model:
                model.begin_warm_up("Be brief.")
                await until(lambda: model.responder.served.asked_for_ends)
                await until(lambda: ends is None or (model.sentences is not None and len(server.completions) == 2))
                yield model
                nursery.cancel_scope.cancel()
        assert not server.refused


async def test_a_server_that_tells_its_tokens_probabilities_is_asked_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {server_sentences.WHOLE: 0.7, server_sentences.BROKEN_OFF: 0.01, "My number is": 0.2}
    async with warmed_up(monkeypatch, ends) as model:
        assert model.sentences is not None
        await until(lambda: model.sentences is not None and model.sentences.tells_sentence_ends)
        assert await model.sentences.sentence_end([Message(Role.USER, "My number is.")]) == pytest.approx(0.2)


async def test_a_server_without_completions_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with warmed_up(monkeypatch, None) as model:
        assert model.sentences is not None
        assert not model.sentences.tells_sentence_ends


async def test_openai_s_own_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with trio.open_nursery() as nursery, open_chat(ChatSettings(), SharedServices(nursery)) as model:
        assert model.sentences is None
