"""What we tell OpenAI's Realtime API is what is published, and what it tells us is read with care.

The examples of server events are those of https://platform.openai.com/docs/api-reference/realtime-server-events, cut to
what matters. What we send is checked by the types that OpenAI publishes in its own library.
"""

import base64
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, TypeAdapter

from agentd.agent import ToolDeclaration
from agentd.audio.g711 import slin_to_alaw, slin_to_ulaw
from agentd.config.schema import Problem, build
from agentd.errors import ProviderProtocolError
from agentd.history import History, ToolUse
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import RealtimeAudio, SentAudio
from agentd_providers.openai.realtime.events import (
    IGNORED,
    AudioDelta,
    FunctionCall,
    ItemDone,
    RateLimit,
    RateLimits,
    ResponseCreated,
    ResponseDone,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    TranscriptDelta,
    TranscriptionFailed,
    Unknown,
    VendorError,
    parse,
    shown,
)
from agentd_providers.openai.realtime.settings import (
    Detection,
    Eagerness,
    NoiseReduction,
    RealtimeAudioFormat,
    RealtimeSettings,
    RealtimeTranscriptionSettings,
    RealtimeTurnSettings,
    Reasoning,
    credentials,
)

SETTINGS = RealtimeSettings()
TOOL = ToolDeclaration("get_weather", "Tells the weather.", {"type": "object", "properties": {"city": {}}})
published: TypeAdapter[BaseModel] = TypeAdapter(RealtimeClientEvent)


def surplus(value: object) -> list[str]:
    """The fields of a message that its published type does not have."""
    if isinstance(value, BaseModel):
        inner = [name for field in type(value).model_fields for name in surplus(getattr(value, field))]
        return [*(value.model_extra or {}), *inner]
    return [name for entry in value for name in surplus(entry)] if isinstance(value, list) else []


def history() -> History:
    history = History()
    history.caller_said("How warm is it in Bern?")
    history.tool_used(ToolUse("get_weather", '{"city": "Bern"}', '{"celsius": 7}'))
    history.agent_heard(1, "It is seven", "It is seven degrees.")
    history.agent_speaks(2)
    return history


ALL_SETTINGS = [
    SETTINGS,
    attrs.evolve(
        SETTINGS,
        audio=RealtimeAudioFormat.G711_ULAW,
        noise_reduction=NoiseReduction.FAR_FIELD,
        max_output_tokens=400,
        reasoning=Reasoning.LOW,
        turn=RealtimeTurnSettings(Detection.SEMANTIC_VAD, eagerness=Eagerness.HIGH, vendor_answers=False),
        transcription=RealtimeTranscriptionSettings(""),
    ),
    attrs.evolve(SETTINGS, audio=RealtimeAudioFormat.G711_ALAW),
]
SENT = [
    *(messages.session_update(settings, "Be kind.", "de-CH", [TOOL]) for settings in ALL_SETTINGS),
    messages.probe(),
    messages.audio_append(b"\x00\x01"),
    *messages.history_items(history()),
    messages.item_truncate("item_1", 700),
    messages.item_delete("item_1"),
    messages.response_create("answer-1"),
    messages.response_create("answer-2", "Go on."),
    messages.say_create("Good morning.", "say-1"),
    messages.response_cancel("resp_1"),
]


@pytest.mark.parametrize("message", SENT, ids=lambda message: message["type"])
def test_what_is_sent_is_what_is_published(message: Any) -> None:
    assert surplus(published.validate_python(message)) == []


def test_the_settings_of_a_session() -> None:
    session = messages.session_update(SETTINGS, "Be kind.", "de-CH", [TOOL])["session"]
    assert session["instructions"] == "Be kind."
    assert session["max_output_tokens"] == "inf"
    assert session["tools"] == [
        {"type": "function", "name": TOOL.name, "description": TOOL.description, "parameters": TOOL.parameters}
    ]
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "noise_reduction": None,
        "transcription": {"model": "gpt-transcribe", "languages": ["de"]},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
        },
    }


def test_a_session_that_agentd_asks_for_each_answer() -> None:
    session = messages.session_update(ALL_SETTINGS[1], "", "en-US", [])["session"]
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "high",
        "create_response": False,
        "interrupt_response": False,
    }
    assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["transcription"] is None
    assert session["reasoning"] == {"effort": "low"}


def test_the_history_as_items_in_order() -> None:
    items = [message["item"] for message in messages.history_items(history())]
    assert items == [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "How warm is it in Bern?"}],
        },
        {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"city": "Bern"}'},
        {"type": "function_call_output", "call_id": "call_2", "output": '{"celsius": 7}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is seven"}]},
    ]


def test_of_a_very_long_conversation_a_session_is_given_the_end() -> None:
    long = History()
    for number in range(1, 500):
        long.caller_said(f"Question {number}")
        long.agent_heard(number, f"Answer {number}", f"Answer {number}")
    items = messages.history_items(long)
    assert len(items) == messages.MOST_TURNS
    assert items[-1]["item"]["content"] == [{"type": "output_text", "text": "Answer 499"}]


# --- what comes

EXAMPLES: list[tuple[dict[str, Any], object]] = [
    ({"type": "session.created", "session": {"id": "sess_C9G5", "expires_at": 1756324625}}, SessionCreated(1756324625)),
    ({"type": "session.created", "session": {"id": "sess_C9G5"}}, SessionCreated(0)),
    ({"type": "session.updated", "session": {"id": "sess_C9G8"}}, SessionUpdated()),
    (
        {
            "type": "error",
            "event_id": "event_890",
            "error": {
                "type": "invalid_request_error",
                "code": "invalid_event",
                "message": "The 'type' field is missing.",
                "param": None,
                "event_id": "event_567",
            },
        },
        VendorError("invalid_request_error", "invalid_event", "The 'type' field is missing.", "", "event_567"),
    ),
    (
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1000, "item_id": "msg_003"},
        SpeechStarted("msg_003", 1000),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2000, "item_id": "msg_003"},
        SpeechStopped("msg_003", 2000),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_CCXGQ",
            "content_index": 0,
            "transcript": "Hey, can you hear me?",
            "usage": {"type": "tokens", "total_tokens": 22},
        },
        Transcribed("item_CCXGQ", "Hey, can you hear me?"),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "msg_003",
            "content_index": 0,
            "error": {"type": "transcription_error", "message": "The audio could not be transcribed."},
        },
        TranscriptionFailed("msg_003", "The audio could not be transcribed."),
    ),
    (
        {"type": "response.created", "response": {"id": "resp_C9G8p", "metadata": None, "output": []}},
        ResponseCreated("resp_C9G8p"),
    ),
    (
        {"type": "response.created", "response": {"id": "resp_C9G8p", "metadata": {"agentd": "say-1"}}},
        ResponseCreated("resp_C9G8p", "say-1"),
    ),
    (
        {
            "type": "response.output_audio.delta",
            "response_id": "resp_001",
            "item_id": "msg_008",
            "output_index": 0,
            "content_index": 0,
            "delta": "AAEC",
        },
        AudioDelta("resp_001", "msg_008", b"\x00\x01\x02"),
    ),
    (
        {
            "type": "response.output_audio_transcript.delta",
            "response_id": "resp_001",
            "item_id": "msg_008",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hello, how can I a",
            "obfuscation": "aLxx0jTEciOGe",
        },
        TranscriptDelta("resp_001", "msg_008", "Hello, how can I a"),
    ),
    (
        {"type": "response.output_item.done", "response_id": "resp_001", "output_index": 0, "item": {"id": "msg_007"}},
        ItemDone("resp_001", "msg_007"),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "resp_CCXH",
                "status": "completed",
                "status_details": None,
                "output": [
                    {"id": "item_CCXH", "type": "message", "role": "assistant", "content": []},
                    {"id": "fc_1", "type": "function_call", "name": "get_weather", "call_id": "c1", "arguments": "{}"},
                ],
            },
        },
        ResponseDone("resp_CCXH", "completed", calls=(FunctionCall("c1", "get_weather", "{}"),)),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "resp_1",
                "status": "failed",
                "status_details": {"type": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
                "output": [],
            },
        },
        ResponseDone("resp_1", "failed", "rate_limit_exceeded", "Slow down."),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "resp_1",
                "status": "cancelled",
                "status_details": {"type": "cancelled", "reason": "turn_detected"},
                "output": [],
            },
        },
        ResponseDone("resp_1", "cancelled", "turn_detected"),
    ),
    (
        {
            "type": "rate_limits.updated",
            "rate_limits": [{"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 60}],
        },
        RateLimits((RateLimit("requests", 1000, 999, 60),)),
    ),
]


@pytest.mark.parametrize(("message", "event"), EXAMPLES, ids=str)
def test_a_published_message_is_read(message: dict[str, Any], event: object) -> None:
    assert parse(message) == event


@pytest.mark.parametrize("kind", sorted(IGNORED))
def test_what_tells_nothing_that_is_needed_is_known_all_the_same(kind: str) -> None:
    assert parse({"type": kind, "anything": [1, 2]}) is None


def test_a_type_that_is_not_published_is_told() -> None:
    assert parse({"type": "response.hologram.delta"}) == Unknown("response.hologram.delta")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({}, "expected a message with a type"),
        ({"type": 7}, "expected a message with a type"),
        ({"type": "error", "error": "bad"}, "error: expected an object as error"),
        (
            {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "%%%"},
            "expected base64",
        ),
        ({"type": "response.output_audio.delta", "response_id": "r" * 999, "item_id": "i", "delta": ""}, "at most 128"),
        ({"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": "soon"}, "expected a number"),
        ({"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": float("inf")}, "a number"),
        ({"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": True}, "a number"),
        ({"type": "response.done", "response": {"id": "r", "status": "completed", "output": {}}}, "a list of at most"),
        (
            {
                "type": "response.done",
                "response": {
                    "id": "r",
                    "status": "completed",
                    "output": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}] * 17,
                },
            },
            "at most 16 function calls",
        ),
        (
            {
                "type": "response.output_audio_transcript.delta",
                "response_id": "r",
                "item_id": "i",
                "delta": "x" * 100_000,
            },
            "a text of at most 65536 characters",
        ),
    ],
)
def test_a_message_that_is_not_as_published_is_an_error_that_says_so(message: dict[str, Any], why: str) -> None:
    with pytest.raises(ProviderProtocolError, match=why) as caught:
        parse(message)
    assert len(str(caught.value)) < 500


def test_an_error_shows_the_type_of_what_came_and_nothing_of_it() -> None:
    with pytest.raises(ProviderProtocolError) as caught:
        parse({"type": "error", "error": {"message": [{"secret": 1}] * 1000}})
    assert str(caught.value) == (
        "OpenAI Realtime: error: error: expected a text of at most 65536 characters as message, got list"
    )
    with pytest.raises(ProviderProtocolError, match=r"expected a message with a type, got dict$"):
        parse({"type": {"secret": 1}})


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "error"]), inner),
    max_leaves=6,
)
names = ["response", "session", "error", "item", "item_id", "response_id", "delta", "rate_limits", "audio_end_ms"]


@given(
    kind=st.sampled_from([message["type"] for message, _ in EXAMPLES]),
    fields=st.dictionaries(st.sampled_from(names), json_values),
)
def test_whatever_comes_is_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        assert parse({"type": kind, **fields}) is not None
    except ProviderProtocolError as error:
        assert kind in str(error)


def test_a_key_in_the_server_s_words_is_not_shown() -> None:
    assert shown("Incorrect API key provided: sk-proj-a1B2c3.") == "Incorrect API key provided: sk-***"


# --- settings


def test_the_addresses_that_the_settings_come_to() -> None:
    settings = RealtimeSettings(model="gpt realtime/2")
    assert settings.session_url == "wss://api.openai.com/v1/realtime?model=gpt%20realtime%2F2"
    assert settings.api_url == "https://api.openai.com/v1"
    own = RealtimeSettings(url="ws://10.0.0.5:8000/v1/realtime?model=mine", model="")
    assert own.session_url == own.url
    assert own.api_url == "http://10.0.0.5:8000/v1"


def test_the_key_is_named_and_tried_out_at_the_list_of_models() -> None:
    (credential,) = credentials(SETTINGS)
    assert credential.secret == "OPENAI_API_KEY"
    assert credential.check_url == "https://api.openai.com/v1/models"
    assert credentials(RealtimeSettings(api_key_name="")) == ()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"url": "https://api.openai.com/v1/realtime"}, "must begin with ws:// or wss://"),
        ({"url": "wss://user:secret@host/realtime"}, "must hold no user or password"),
        ({"speed": 3.0}, "must be between 0.25 and 1.5"),
        ({"max_output_tokens": 5000}, "must be 1 to 4096, or 0 for no limit"),
        ({"turn": {"threshold": 1.5}}, "must be between 0 and 1"),
        ({"audio": "opus"}, "must be one of pcm16, g711_ulaw, g711_alaw"),
        ({"api_key_name": "sk-proj-secret"}, "must be the name of an environment variable"),
    ],
)
def test_settings_that_cannot_be(table: dict[str, Any], complaint: str) -> None:
    problems: list[Problem] = []
    build(RealtimeSettings, table, "", problems)
    assert [complaint in str(problem) for problem in problems] == [True]
    assert "secret" not in str(problems)


def test_what_cannot_work_together() -> None:
    assert list(SETTINGS.impossible("de-CH")) == []
    assert [where for where, _ in RealtimeSettings(model="").impossible("de")] == ["model"]
    assert [where for where, _ in SETTINGS.impossible("gsw")] == ["transcription.language"]


@pytest.mark.parametrize(("eagerness", "pause"), [(Eagerness.LOW, 8), (Eagerness.AUTO, 4), (Eagerness.HIGH, 2)])
def test_how_long_a_pause_may_be(eagerness: Eagerness, pause: float) -> None:
    assert RealtimeTurnSettings(Detection.SEMANTIC_VAD, eagerness=eagerness).longest_pause == pause
    assert RealtimeTurnSettings(silence_ms=700).longest_pause == 0.7


# --- audio

SLIN = bytes(range(256)) * 5


@pytest.mark.parametrize(
    ("audio_format", "encoded"),
    [(RealtimeAudioFormat.G711_ULAW, slin_to_ulaw(SLIN)), (RealtimeAudioFormat.G711_ALAW, slin_to_alaw(SLIN))],
)
def test_g711_goes_out_and_comes_back_at_8_khz(audio_format: RealtimeAudioFormat, encoded: bytes) -> None:
    audio = RealtimeAudio(audio_format, 8000)
    assert audio.encode(SLIN) == encoded
    assert audio.rate == 8000
    assert len(audio.decode(encoded)) == len(SLIN)
    assert audio.seconds(encoded) == len(SLIN) / 2 / 8000


@pytest.mark.parametrize("line_rate", [8000, 16000])
def test_pcm16_is_24_khz_whatever_the_line_has(line_rate: int) -> None:
    audio = RealtimeAudio(RealtimeAudioFormat.PCM16, line_rate)
    second = b"".join(audio.encode(bytes(line_rate * 2 // 50)) for _ in range(50))
    assert audio.rate == 24000
    assert audio.seconds(second) == pytest.approx(1.0, abs=0.02)
    assert audio.decode(b"\x01\x02") == b"\x01\x02"


def test_the_server_s_clock_is_the_audio_that_was_sent() -> None:
    sent = SentAudio()
    assert sent.time_of(0.0) is None
    sent.note(0.02, at=100.0)
    sent.note(0.02, at=100.02)
    sent.note(0.02, at=107.0)  # nothing came for a while
    assert sent.time_of(0.02) == 100.0
    assert sent.time_of(0.03) == pytest.approx(100.01)
    assert sent.time_of(0.06) == 107.0
    assert sent.time_of(9.0) == 107.0


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20), st.floats(0, 1))
def test_a_moment_of_even_audio_is_where_it_was(lengths: list[float], share: float) -> None:
    sent, now = SentAudio(), 0.0
    for length in lengths:
        now += length
        sent.note(length, at=now)
    assert sent.time_of(share * sent.seconds) == pytest.approx(share * now, abs=1e-9)


def test_audio_is_sent_as_base64() -> None:
    assert base64.b64decode(messages.audio_append(SLIN)["audio"]) == SLIN
