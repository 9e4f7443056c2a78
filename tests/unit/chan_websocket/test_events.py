"""Events of chan_websocket: those of Asterisk's source are read, and whatever else comes is refused or passed over."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.chan_websocket.events import (
    LONGEST_EVENT,
    LONGEST_TEXT,
    CommandFailed,
    DigitEnded,
    Event,
    GoOnSending,
    MarkProcessed,
    MediaStart,
    OtherEvent,
    QueueDrained,
    StopSending,
    parse_event,
)
from agentd.errors import MediaProtocolError

START = {
    "event": "MEDIA_START",
    "connection_id": "2c3e1f0a-2ed9-4d5a-8f0f-a60f5d6a7d11",
    "channel": "WebSocket/INCOMING/0x7f32",
    "channel_id": "agentd-media-1",
    "format": "slin16",
    "optimal_frame_size": 640,
    "ptime": 20,
    "channel_variables": {"MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE": "640"},
}


@pytest.mark.parametrize(
    "fields, event",
    [
        (START, MediaStart("slin16", 640, 20)),
        (START | {"optimal_frame_size": 0, "format": "opus"}, MediaStart("opus", 0, 20)),
        ({"event": "MEDIA_XON", "channel_id": "1"}, GoOnSending()),
        ({"event": "MEDIA_XOFF", "channel_id": "1"}, StopSending()),
        ({"event": "QUEUE_DRAINED", "channel_id": "1"}, QueueDrained()),
        ({"event": "MEDIA_MARK_PROCESSED", "channel_id": "1", "correlation_id": "0.7"}, MarkProcessed("0.7")),
        ({"event": "DTMF_END", "channel_id": "1", "digit": "#"}, DigitEnded("#")),
        ({"event": "ERROR", "channel_id": "1", "error_text": "no"}, CommandFailed("no")),
        ({"event": "STATUS", "channel_id": "1", "queue_length": 3}, OtherEvent("STATUS")),
        ({"event": "MEDIA_BUFFERING_COMPLETED", "correlation_id": ""}, OtherEvent("MEDIA_BUFFERING_COMPLETED")),
        ({"event": "OF_A_LATER_ASTERISK"}, OtherEvent("OF_A_LATER_ASTERISK")),
    ],
)
def test_every_event_of_asterisk_s_is_read(fields: dict[str, Any], event: Event) -> None:
    assert parse_event(json.dumps(fields)) == event


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "should be JSON"),
        ("{", "should be JSON"),
        ("[" * 100_000, "at most 65536"),
        ("[" * 1000, "nested in each other"),
        ("[]", "a JSON object"),
        ('"MEDIA_START"', "a JSON object"),
        ("{}", "event of an event should be a text, not None"),
        ('{"event":7}', "event of an event should be a text, not 7"),
        ('{"event":"MEDIA_START"}', "format of an event"),
        (json.dumps(START | {"optimal_frame_size": "640"}), "optimal_frame_size of an event"),
        (json.dumps(START | {"optimal_frame_size": True}), "optimal_frame_size of an event"),
        (json.dumps(START | {"optimal_frame_size": -1}), "optimal_frame_size of an event"),
        (json.dumps(START | {"ptime": 1 << 40}), "ptime of an event"),
        ('{"event":"DTMF_END","digit":"12"}', "DTMF_END should name one key, not '12'"),
        ('{"event":"DTMF_END","digit":"٣"}', "DTMF_END should name one key"),
        ('{"event":"DTMF_END","digit":"\\n"}', "DTMF_END should name one key"),
        ('{"event":"MEDIA_MARK_PROCESSED"}', "correlation_id of an event should be a text"),
    ],
)
def test_what_is_no_event_is_refused_in_few_words(text: str, complaint: str) -> None:
    with pytest.raises(MediaProtocolError, match=complaint) as refused:
        parse_event(text)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("text", ["MEDIA_START connection_id:a format:slin", "MEDIA_XON", "DTMF_END digit:1"])
def test_plain_text_tells_of_an_asterisk_that_knows_no_json(text: str) -> None:
    with pytest.raises(MediaProtocolError, match=r"plain text, not JSON .* from Asterisk 20\.18, 22\.8 and 23\.2 on"):
        parse_event(text)


def test_no_more_of_a_peer_s_text_is_kept_than_is_of_use() -> None:
    event = parse_event(json.dumps({"event": "ERROR", "error_text": "x" * (LONGEST_EVENT // 2)}))
    assert event == CommandFailed("x" * LONGEST_TEXT)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5).map(json.dumps))
def test_any_text_is_an_event_or_refused(text: str) -> None:
    try:
        parse_event(text)
    except MediaProtocolError:
        pass


@given(
    st.sampled_from(["MEDIA_START", "MEDIA_MARK_PROCESSED", "DTMF_END", "ERROR", "MEDIA_XON"]),
    st.dictionaries(
        st.sampled_from(["format", "optimal_frame_size", "ptime", "correlation_id", "digit", "error_text"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ),
)
def test_an_event_with_any_fields_is_read_or_refused(name: str, fields: dict[str, Any]) -> None:
    try:
        parse_event(json.dumps({"event": name} | fields))
    except MediaProtocolError:
        pass
