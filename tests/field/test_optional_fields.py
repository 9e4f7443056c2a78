"""Optional is optional: whatever a vendor, or a server that speaks its language, leaves out, has null or adds, the turn
goes through and the session stays.

Each event of a turn in its published form loses each of its fields in turn, then any of them at once. Only what a turn
cannot do without has to be there: the type, the audio, the words, and when in the audio words were said.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd import session_events as tells
from agentd.errors import ProviderProtocolError
from agentd_providers.deepgram import listen_messages
from agentd_providers.deepgram.voice_agent import events as deepgram_events
from agentd_providers.deepgram.voice_agent.reader import EventReader as DeepgramReader
from agentd_providers.openai.realtime.reader import EventReader
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from tests.unit.deepgram.test_machine import Playbook as DeepgramPlaybook
from tests.unit.openai.realtime_playbook import Playbook

Path = tuple[str | int, ...]

# https://platform.openai.com/docs/api-reference/realtime-server-events; openai 3.57, types/realtime
TURN: Sequence[dict[str, Any]] = (
    {"type": "input_audio_buffer.speech_started", "event_id": "e1", "audio_start_ms": 1000, "item_id": "item_1"},
    {"type": "input_audio_buffer.speech_stopped", "event_id": "e2", "audio_end_ms": 2000, "item_id": "item_1"},
    {"type": "input_audio_buffer.committed", "event_id": "e3", "previous_item_id": None, "item_id": "item_1"},
    {
        "type": "response.created",
        "event_id": "e4",
        "response": {
            "object": "realtime.response", "id": "resp_1", "status": "in_progress", "status_details": None,
            "output": [], "metadata": None, "conversation_id": "conv_1", "output_modalities": ["audio"],
            "max_output_tokens": "inf", "audio": {"output": {"format": {"type": "audio/pcm"}, "voice": "marin"}},
            "usage": None,
        },
    },
    {
        "type": "conversation.item.input_audio_transcription.completed", "event_id": "e5", "item_id": "item_1",
        "content_index": 0, "transcript": "What time is it?", "logprobs": None,
        "languages": [{"code": "en"}],
        "usage": {"type": "tokens", "total_tokens": 48, "input_tokens": 38, "output_tokens": 10},
    },
    {
        "type": "response.output_item.added", "event_id": "e6", "response_id": "resp_1", "output_index": 0,
        "item": {"id": "item_2", "object": "realtime.item", "type": "message", "status": "in_progress",
                 "role": "assistant", "content": []},
    },
    {
        "type": "response.output_audio_transcript.delta", "event_id": "e7", "response_id": "resp_1",
        "item_id": "item_2", "output_index": 0, "content_index": 0, "delta": "Five o'clock.",
    },
    {
        "type": "response.output_audio.delta", "event_id": "e8", "response_id": "resp_1", "item_id": "item_2",
        "output_index": 0, "content_index": 0, "delta": "AAAA" * 16,
    },
    {
        "type": "response.output_item.done", "event_id": "e9", "response_id": "resp_1", "output_index": 0,
        "item": {"id": "item_2", "object": "realtime.item", "type": "message", "status": "completed",
                 "role": "assistant", "phase": "final_answer",
                 "content": [{"type": "output_audio", "transcript": "Five o'clock."}]},
    },
    {
        "type": "response.done",
        "event_id": "e10",
        "response": {
            "object": "realtime.response", "id": "resp_1", "status": "completed", "status_details": None,
            "output": [{"id": "item_2", "object": "realtime.item", "type": "message", "status": "completed",
                        "role": "assistant", "content": [{"type": "output_audio", "transcript": "Five o'clock."}]}],
            "usage": {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121},
            "metadata": None,
        },
    },
    {
        "type": "rate_limits.updated", "event_id": "e11",
        "rate_limits": [{"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 60}],
    },
)  # fmt: skip
NEEDED = {"type", "delta", "transcript"}
FUNCTION_CALL = {
    "id": "item_3", "object": "realtime.item", "type": "function_call", "status": "completed", "name": "look_up",
    "call_id": "call_1", "arguments": '{"day": "Monday"}',
}  # fmt: skip


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Where something may be missing in a message."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        if above or key not in NEEDED:
            yield (*above, key)
        yield from paths(below, (*above, key))


def without(message: dict[str, Any], *missing: tuple[Path, bool]) -> dict[str, Any]:
    """The message with nothing at some paths: null (true), or not even the name."""
    changed = copy.deepcopy(message)
    for path, null in missing:
        place: Any = changed
        *above, last = path
        for key in above:
            place = place[key] if isinstance(key, int) else place.get(key)
            if not place:
                break
        else:
            if isinstance(last, int) or null:
                place[last] = None
            else:
                place.pop(last, None)
    return changed


def said(play: Playbook, messages: Sequence[dict[str, Any]]) -> list[do.Command]:
    """What the session does about messages as they come over the wire."""
    unknown: list[str] = []
    reader = EventReader(unknown.append, opening=True)
    done: list[do.Command] = []
    for message in messages:
        if (event := reader.read(json.dumps(message))) is not None:
            done += play.on(event)
    return done


def assert_served(done: list[do.Command]) -> None:
    told = [command.event for command in done if isinstance(command, do.Tell)]
    assert any(isinstance(event, tells.CallerTakesTurn) for event in told), "the caller cannot barge in"
    assert any(isinstance(event, tells.CallerSpeechEnded) for event in told)
    assert [command.text for command in done if isinstance(command, do.RecordCaller)] == ["What time is it?"]
    assert b"".join(command.audio for command in done if isinstance(command, do.Speak))
    assert any(isinstance(command, do.Finish) for command in done)
    assert not any(isinstance(command, do.End) for command in done)


ONE_MISSING = [
    pytest.param(
        number, path, null, id=f"{message['type']}: {'.'.join(map(str, path))} {'null' if null else 'missing'}"
    )
    for number, message in enumerate(TURN)
    for path in paths(message)
    for null in (True, False)
]


@pytest.mark.parametrize(("number", "path", "null"), ONE_MISSING)
def test_a_realtime_turn_goes_through_without_any_one_field(number: int, path: Path, null: bool) -> None:
    messages = [without(message, (path, null)) if at == number else message for at, message in enumerate(TURN)]
    assert_served(said(Playbook(), messages))


@st.composite
def poor_turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A turn in which any fields are missing, others stand that nobody knows, and events come that nobody knows."""
    found: list[dict[str, Any]] = []
    for message in TURN:
        missing = draw(st.lists(st.tuples(st.sampled_from(list(paths(message))), st.booleans()), max_size=6))
        extra = draw(st.dictionaries(st.sampled_from(["x_new", "phase", "sequence_number"]), st.none() | st.integers()))
        found.append({**extra, **without(message, *missing)})
        if draw(st.booleans()):
            # xAI: https://docs.x.ai/docs/guides/voice/agent has events of its own
            kind = draw(st.sampled_from(["ping", "conversation.item.hologram", "response.thinking.delta"]))
            found.append({"type": kind, "event_id": None})
    return found


@given(st.lists(poor_turns(), min_size=1, max_size=3))
def test_realtime_turns_go_through_without_any_of_their_fields_and_among_unknown_ones(
    turns: list[list[dict[str, Any]]],
) -> None:
    play = Playbook()
    for turn in turns:
        assert_served(said(play, turn))


def test_a_server_that_tells_the_least_is_talked_with_for_twenty_turns() -> None:
    """response.done without output and status ended the session at the ninth answer; speech_started without
    audio_start_ms was no turn: https://docs.x.ai/docs/guides/voice/agent, and other servers that speak Realtime."""
    play = Playbook()
    for _ in range(20):
        least = [without(message, *((path, False) for path in paths(message))) for message in TURN]
        assert_served(said(play, least))


def test_the_names_of_audio_before_general_availability_are_known() -> None:
    """Servers that were built for the beta have kept them: https://github.com/vllm-project/vllm-omni (realtime),
    https://learn.microsoft.com/azure/ai-foundry/openai/realtime-audio-reference."""
    renamed = [{**message, "type": message["type"].replace("output_audio", "audio")} for message in TURN]
    assert_served(said(Playbook(), renamed))


TOOL_TURN: Sequence[dict[str, Any]] = (
    *TURN[:4],
    {
        "type": "response.output_item.done", "event_id": "e9", "response_id": "resp_1", "output_index": 0,
        "item": FUNCTION_CALL,
    },
    {
        "type": "response.done", "event_id": "e10",
        "response": {"object": "realtime.response", "id": "resp_1", "status": "completed", "output": [FUNCTION_CALL]},
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("item", "done"),
    [
        ([], []),
        ([], [("response", "output")]),
        ([], [("response", "status")]),
        ([], [("response", "id")]),
        ([("item",)], []),
        ([("response_id",)], [("response", "output"), ("response", "status")]),
        ([], [("response", "output", 0, "call_id")]),  # openai 3.57: call_id is optional, id stands for it
        ([("item", "call_id")], [("response", "output")]),
        ([], [("response", "output", 0, "id"), ("response", "output", 0, "status")]),
    ],
)
@pytest.mark.parametrize("null", [True, False])
def test_a_tool_is_used_though_its_response_tells_little(item: list[Path], done: list[Path], null: bool) -> None:
    *before, item_done, response_done = TOOL_TURN
    messages = [
        *before,
        without(item_done, *((path, null) for path in item)),
        without(response_done, *((path, null) for path in done)),
    ]
    asked = [
        command.event
        for command in said(Playbook(), messages)
        if isinstance(command, do.Tell) and isinstance(command.event, tells.ToolRequested)
    ]
    assert [(event.name, event.arguments) for event in asked] == [("look_up", '{"day": "Monday"}')]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"message": "Out of breath", "code": None}},
        {"type": "error", "error": {"code": "out_of_breath"}},
        {"type": "error", "message": "Out of breath"},  # without an object of its own
        {"type": "error", "error": None, "code": "out_of_breath"},
        {"type": "error", "error": {}},
        {"type": "error"},
    ],
    ids=str,
)
def test_an_error_that_says_little_is_told_and_ends_nothing(error: dict[str, Any]) -> None:
    play = Playbook()
    done = said(play, [error])
    assert [type(command) for command in done] == [do.Degrade]
    assert "breath" in str(done) or "breath" not in str(error)
    assert_served(said(play, TURN))


def test_where_the_end_of_a_turn_has_no_time_our_own_ear_tells_it() -> None:
    play = Playbook()
    play.on(inputs.CallerAudio(b"\x00\x40" * 160, play.now, 0))
    done = said(play, [TURN[0]])
    play.now += 0.5
    done = said(play, [without(TURN[1], (("audio_end_ms",), True))])
    ended = next(c.event for c in done if isinstance(c, do.Tell) and isinstance(c.event, tells.CallerSpeechEnded))
    assert ended.last_speech_at < play.now


# --- Deepgram's speech to text: https://developers.deepgram.com/docs/live-streaming-audio; deepgram-sdk 7.17,
#     listen/v1/types/listen_v1results*.py

RESULTS: dict[str, Any] = {
    "type": "Results",
    "channel_index": [0, 1],
    "duration": 1.98,
    "start": 5.99,
    "is_final": True,
    "speech_final": True,
    "channel": {
        "alternatives": [
            {
                "transcript": "Tell me.",
                "confidence": 0.99,
                "languages": ["en"],
                "languages_hinted": None,
                "words": [
                    {"word": "tell", "start": 6.0, "end": 6.3, "confidence": 0.99, "punctuated_word": "Tell"},
                    {"word": "me", "start": 6.4, "end": 6.6, "confidence": 0.9, "punctuated_word": "me.", "speaker": 0},
                ],
            }
        ]
    },
    "metadata": {
        "request_id": "r",
        "model_info": {"name": "nova", "version": "v", "arch": "nova-3"},
        "model_uuid": "m",
    },
    "from_finalize": False,
    "entities": None,
}
PLACED = {("start",), ("duration",)}
"""Without these nobody knows of which audio a result is."""
RESULT_PATHS = [path for path in paths(RESULTS) if path not in PLACED]


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("path", RESULT_PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_result_of_deepgrams_is_read_without_any_one_field(path: Path, null: bool) -> None:
    """A word with punctuated_word null had the whole result thrown away."""
    results = listen_messages.parse(json.dumps(without(RESULTS, (path, null))))
    assert results is not None
    assert results.is_final, "its words are never settled"
    if "transcript" not in path and path not in {
        ("channel",),
        ("channel", "alternatives"),
        ("channel", "alternatives", 0),
    }:
        assert results.transcript == "Tell me."
        assert results.between(5.9, 8.0) == "Tell me."


@given(st.lists(st.tuples(st.sampled_from(RESULT_PATHS), st.booleans()), max_size=12))
def test_a_result_of_deepgrams_is_read_whatever_it_lacks(missing: list[tuple[Path, bool]]) -> None:
    assert listen_messages.parse(json.dumps({**without(RESULTS, *missing), "x_new": {"a": None}})) is not None


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ({"word": "tell", "punctuated_word": None}, "tell"),
        ({"word": "tell", "punctuated_word": "Tell"}, "Tell"),
        ({"word": None, "punctuated_word": "Tell"}, "Tell"),
    ],
)
def test_a_word_is_what_is_written_of_it(word: dict[str, Any], written: str) -> None:
    message = {**RESULTS, "channel": {"alternatives": [{"transcript": "x", "words": [{**word, "start": 6, "end": 7}]}]}}
    results = listen_messages.parse(json.dumps(message))
    assert results is not None
    assert [each.text for each in results.words] == [written]


# --- Deepgram's agent: https://developers.deepgram.com/docs/voice-agent-outputs; deepgram-sdk 7.17, agent/v1/types

AGENT_TURN: Sequence[dict[str, Any]] = (
    {"type": "Welcome", "request_id": "r"},
    {"type": "SettingsApplied"},
    {"type": "UserStartedSpeaking"},
    {"type": "ConversationText", "role": "user", "content": "What time is it?", "languages": ["en"],
     "languages_hinted": None, "conversational_behavior": "default"},
    {"type": "AgentThinking", "content": "The caller wants the time."},
    {"type": "LatencyReport", "stt_latency": 0.1, "ttt_token_latency": 0.2, "tts_latency": 0.1, "total_latency": 0.4},
    {"type": "FrustrationDetected", "frustration": 0.1},
    {"type": "ThinkLiveUpdated"},
    {"type": "ConversationText", "role": "assistant", "content": "Five o'clock."},
    {"type": "AgentStartedSpeaking", "total_latency": 1.3, "tts_latency": 0.5, "ttt_latency": 0.8},
    {"type": "AgentAudioDone"},
)  # fmt: skip
FUNCTION_REQUEST: dict[str, Any] = {
    "type": "FunctionCallRequest",
    "functions": [
        {"id": "f1", "name": "look_up", "arguments": "{}", "client_side": True, "thought_signature": None},
    ],
}
AGENT_NEEDED = {"role", "content", "id", "name", "functions"}


def read(message: dict[str, Any]) -> deepgram_events.Event | None:
    return DeepgramReader(lambda _what: None, str).read(json.dumps(message))


@st.composite
def poor_agent_turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for message in AGENT_TURN:
        loose = [path for path in paths(message) if path[-1] not in AGENT_NEEDED]
        missing = draw(st.lists(st.tuples(st.sampled_from(loose), st.booleans()), max_size=4)) if loose else []
        found.append({"x_new": None, **without(message, *missing)})
        if draw(st.booleans()):
            found.append({"type": draw(st.sampled_from(["EndOfThought", "AgentYawned"])), "content": None})
    return found


@given(poor_agent_turns())
def test_a_turn_with_deepgrams_agent_goes_through_without_what_is_optional(turn: list[dict[str, Any]]) -> None:
    play = DeepgramPlaybook()
    done: list[do.Command] = []
    for message in turn:
        if message["type"] == "AgentAudioDone":
            done += play.on(deepgram_events.AgentAudio(bytes(320)))
        if (event := read(message)) is not None:
            done += play.on(event)
    assert "What time is it?" in [command.text for command in done if isinstance(command, do.RecordCaller)]
    assert any(isinstance(command, do.Speak) for command in done)
    assert not any(isinstance(command, do.End) for command in done)


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("field", ["arguments", "client_side", "thought_signature"])
def test_a_function_is_called_without_what_is_optional(field: str, null: bool) -> None:
    event = read(without(FUNCTION_REQUEST, (("functions", 0, field), null)))
    assert isinstance(event, deepgram_events.FunctionCallRequest)
    assert [(each.call, each.name, each.client_side) for each in event.functions] == [("f1", "look_up", True)]


@pytest.mark.parametrize(
    ("trouble", "shown"),
    [
        # https://github.com/deepgram-devs/sts-twilio/issues/6
        ({"type": "Error", "message": "Failed to think"}, "Failed to think"),
        ({"type": "Error", "code": None, "description": None, "message": "Failed to think"}, "Failed to think"),
        ({"type": "Error", "code": "FAILED_TO_THINK", "description": "Out of tokens"}, "FAILED_TO_THINK Out of tokens"),
        ({"type": "Error", "code": "X", "description": "", "message": "why"}, "X why"),
        ({"type": "Warning", "message": "slow"}, "slow"),
    ],
)
def test_a_trouble_is_shown_by_whatever_words_it_has(trouble: dict[str, Any], shown: str) -> None:
    event = read(trouble)
    assert isinstance(event, deepgram_events.VendorError | deepgram_events.VendorWarning)
    assert deepgram_events.shown(event, str) == shown


def test_what_is_there_and_no_such_thing_is_refused_still() -> None:
    with pytest.raises(ProviderProtocolError, match="expected a word"):
        listen_messages.parse(json.dumps({**RESULTS, "channel": {"alternatives": [{"transcript": "", "words": [7]}]}}))
