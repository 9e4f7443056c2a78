"""Wyoming's events as bytes: however they were cut, and whatever a peer makes of them."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.wyoming.info import Info, Offer, Program, find, parse_info, same_language, spelling
from agentd_providers.wyoming.protocol import (
    LONGEST_HEADER,
    AudioFormat,
    Decoder,
    Event,
    audio_chunk,
    audio_format,
    describe,
    encode,
    error,
    failure_of,
    synthesize,
    text_of,
    transcribe,
    voice_of,
)

LIMIT = 1000

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
events = st.builds(
    Event,
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(max_size=10), json_values, max_size=3),
    st.binary(max_size=50),
)
plain_events = st.builds(
    Event,
    st.text(min_size=1, max_size=20),
    st.sampled_from([{}, {"text": "ü\n{"}, {"rate": 16000, "more": [None, 1.5, {"": []}]}]),
    st.binary(max_size=50),
)
"""Of every form that a stream may be cut in, and quick to make: what data may hold is shown one event at a time."""


def decoder() -> Decoder:
    return Decoder(1 << 20, LIMIT)


def decode(stream: bytes) -> list[Event]:
    return drain(decoder(), stream)


def drain(reader: Decoder, stream: bytes) -> list[Event]:
    reader.feed(stream)
    found = []
    while (event := reader.next_event()) is not None:
        found.append(event)
    return found


# --- framing


@given(st.lists(plain_events, max_size=4), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_events_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[Event], sizes: list[int]) -> None:
    stream = b"".join(encode(event) for event in sent)
    reader, got = decoder(), []
    for size in itertools.cycle(sizes):
        got += drain(reader, stream[:size])
        if not (stream := stream[size:]):
            break
    assert got == sent
    assert reader.between_events


@given(events)
def test_a_stream_that_ends_within_an_event_is_seen_to_and_the_rest_completes_it(event: Event) -> None:
    stream = encode(event)
    for end in {1, len(stream) // 2, len(stream) - 1}:
        reader = decoder()
        assert drain(reader, stream[:end]) == []
        assert not reader.between_events
        assert drain(reader, stream[end:]) == [event]


@given(st.binary(max_size=300))
def test_garbage_is_an_error_or_waits_for_more_and_never_anything_else(garbage: bytes) -> None:
    try:
        decode(garbage)
    except ProviderProtocolError:
        pass
    else:
        assert b"\n" not in garbage or b"{" in garbage


@given(json_values)
def test_any_json_for_a_header_is_an_event_or_an_error(header: Any) -> None:
    try:
        found = decode(json.dumps(header).encode() + b"\n")
    except ProviderProtocolError:
        found = []
    assert found == [] or isinstance(header["type"], str)


def test_bytes_as_wyoming_piper_2_5_2_and_its_client_send_them() -> None:
    start = (
        b'{"type": "audio-start", "version": "1.10.2", "data_length": 61}\n'
        b'{"rate": 22050, "width": 2, "channels": 1, "timestamp": null}'
        b'{"type": "synthesize-stopped", "version": "1.10.2"}\n'
    )
    first, second = decode(start)
    assert audio_format(first) == AudioFormat(22050)
    assert second == Event("synthesize-stopped")
    assert encode(describe()) == b'{"type": "describe"}\n'
    assert encode(synthesize("Hi.", {})) == b'{"type": "synthesize", "data_length": 15}\n{"text": "Hi."}'


def test_data_in_the_header_and_in_a_block_are_one_and_the_block_wins() -> None:
    block = b'{"text": "block"}'
    header = {"type": "synthesize", "data": {"text": "header", "text_format": "text"}, "data_length": len(block)}
    (event,) = decode(json.dumps(header).encode() + b"\n" + block)
    assert event.data == {"text": "block", "text_format": "text"}
    assert decode(b'{"type":"ping","data":null,"data_length":null,"payload_length":0}\n') == [Event("ping")]


def test_lengths_count_bytes_not_characters() -> None:
    block = '{"text": "ü"}'.encode()
    (event,) = decode(b'{"type": "transcript", "data_length": %d}\n%b' % (len(block), block))
    assert text_of(event) == "ü"


def test_a_text_with_half_a_character_in_it_is_sent_and_read_all_the_same() -> None:
    (event,) = decode(encode(synthesize("\ud800!", {})))
    assert text_of(event) == "\N{REPLACEMENT CHARACTER}!"


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r",
        b"[]",
        b"null",
        b"{}",
        b'{"type": ""}',
        b'{"type": 5}',
        b'{"type": "%b"}' % (b"x" * 200),
        b'{"type": "x", "data": []}',
        b'{"type": "x", "data_length": -1}',
        b'{"type": "x", "data_length": true}',
        b'{"type": "x", "data_length": 1.5}',
        b'{"type": "x", "data_length": "3"}',
        b'{"type": "x", "data_length": %b}' % (b"9" * 30),
        b'{"type": "x", "data_length": %b}' % (b"9" * 5000),
        b'{"type": "x", "payload_length": %d}' % (LIMIT + 1),
        b'{"type": "\xff"}',
        b"[" * 50000,
        b'{"type": "x", "data": {"a": %b}}' % (b"[" * 400 + b"]" * 400),
    ],
)
def test_a_header_that_is_none_is_told(header: bytes) -> None:
    with pytest.raises(ProviderProtocolError, match="expected"):
        decode(header + b"\n")


def test_a_header_may_be_as_long_as_peers_take_and_no_longer() -> None:
    padding = LONGEST_HEADER - len('{"type": "x", "data": {"a": ""}}\n')
    line = b'{"type": "x", "data": {"a": "%b"}}\n' % (b"a" * padding)
    assert len(line) == LONGEST_HEADER
    assert len(decode(line)) == 1
    with pytest.raises(ProviderProtocolError, match="got a longer one"):
        decode(b" " + line)
    reader = decoder()
    with pytest.raises(ProviderProtocolError, match="got a longer one"):
        for _ in range(LONGEST_HEADER):  # a line that never ends is not kept
            drain(reader, b"xx")


def test_data_that_is_no_object_is_told() -> None:
    with pytest.raises(ProviderProtocolError, match="expected a JSON object"):
        decode(b'{"type": "x", "data_length": 2}\n[]')


# --- what events mean


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"rate": 16000, "width": 2},
        {"rate": 16000, "width": 1, "channels": 1},
        {"rate": 16000, "width": 2, "channels": 0},
        {"rate": 16000, "width": 2, "channels": 9},
        {"rate": 16000, "width": 2, "channels": True},
        {"rate": 16001, "width": 2, "channels": 1},
        {"rate": "16000", "width": 2, "channels": 1},
        {"rate": True, "width": 2, "channels": 1},
        {"rate": [16000], "width": 2, "channels": 1},
    ],
)
def test_audio_in_a_format_that_nobody_converts_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(ProviderProtocolError, match="expected audio at one of"):
        audio_format(Event("audio-start", data))


def test_audio_tells_its_format_in_every_piece() -> None:
    (chunk,) = decode(encode(audio_chunk(AudioFormat(8000), b"\1\2")))
    assert (audio_format(chunk), chunk.payload) == (AudioFormat(8000), b"\1\2")


def test_a_request_names_only_what_it_wants() -> None:
    assert transcribe().data == {}
    assert transcribe("en", "tiny").data == {"language": "en", "name": "tiny"}
    assert voice_of(synthesize("Hi", {"name": "joe"})) == ("joe", "")
    assert voice_of(synthesize("Hi", {"language": "en"})) == ("", "en")
    assert voice_of(Event("synthesize", {"voice": None})) == ("", "")


@pytest.mark.parametrize("data", [{"text": 5}, {"text": ["a"]}, {"text": {}}])
def test_a_text_that_is_none_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(ProviderProtocolError, match="expected text to be a text"):
        text_of(Event("transcript", data))


@pytest.mark.parametrize("data", [{"voice": "joe"}, {"voice": {"name": 5}}, {"voice": {"language": []}}])
def test_a_voice_that_is_none_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(ProviderProtocolError, match="expected"):
        voice_of(Event("synthesize", data))


def test_an_error_says_whether_trying_again_may_help() -> None:
    assert isinstance(failure_of(error("full", "busy")), ProviderUnavailable)
    assert isinstance(failure_of(Event("error", {"text": "boom", "code": "RuntimeError"})), ProviderUnavailable)
    assert isinstance(failure_of(error("who?", "not-found")), ProviderRejected)
    rejected = failure_of(Event("error", {"text": "nope", "code": "VoiceNotFoundError"}))  # wyoming-piper 2.5.2
    assert isinstance(rejected, ProviderRejected)
    assert "nope (VoiceNotFoundError)" in str(rejected)
    assert len(str(failure_of(error("x" * 10000, "y" * 10000)))) < 500


# --- what a server says it serves


def asr(*languages: str, name: str = "m", installed: bool = True) -> dict[str, Any]:
    model = {"name": name, "languages": list(languages), "installed": installed, "attribution": {}, "version": None}
    return {"name": "p", "installed": True, "models": [model], "something": "new"}


def test_what_a_server_serves_is_told_and_read_back() -> None:
    info = Info(
        (Program("moonshine", (Offer("tiny", ("en",)),), "what", "1.0", ("who", "where")),),
        (Program("piper", (Offer("joe", ("en_US",)), Offer("any", ()))),),
    )
    (event,) = decode(encode(info.as_event()))
    read = parse_info(event)
    assert [offer.name for program in read.tts for offer in program.offers] == ["joe", "any"]
    assert read.asr[0].offers == (Offer("tiny", ("en",)),)
    assert event.data["asr"][0]["attribution"] == {"name": "who", "url": "where"}
    assert set(event.data) == {"asr", "tts", "handle", "intent", "wake", "mic", "snd"}


def test_what_is_not_installed_is_not_served() -> None:
    assert parse_info(Event("info", {"asr": [asr("en", installed=False)]})).asr[0].offers == ()
    assert parse_info(Event("info", {"asr": [{"name": "p", "installed": False}], "tts": None})) == Info()


@pytest.mark.parametrize(
    "data",
    [
        {"asr": {}},
        {"asr": ["whisper"]},
        {"asr": [{"installed": True, "name": 5}]},
        {"asr": [{"installed": True, "models": [{"installed": True, "languages": "en"}]}]},
        {"asr": [{"installed": True, "models": [{"installed": True, "languages": [5]}]}]},
        {"tts": [{"installed": True, "voices": 5}]},
        {"tts": [{}] * 6000},
        {"asr": [asr(*["en"] * 3000), asr(*["en"] * 3000)]},
        {"asr": [{"installed": True, "models": [{"installed": True}] * 3000}] * 2},
    ],
)
def test_an_info_that_is_none_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(ProviderProtocolError, match="info: expected"):
        parse_info(Event("info", data))


def test_a_language_is_found_under_the_name_that_the_server_has_for_it() -> None:
    programs = parse_info(Event("info", {"asr": [asr("de", "en_GB", "en"), asr(name="all")]})).asr
    assert (offer := find(programs, "m", "en-US")) is not None
    assert spelling(offer, "en-US") == "en"
    assert spelling(offer, "en-GB") == "en_GB"
    assert find(programs, "m", "fr") is None
    assert (anything := find(programs, "", "fr")) is not None
    assert (anything.name, spelling(anything, "fr")) == ("all", "")
    assert find(programs, "nobody", "en") is None


def test_the_best_model_for_a_language_is_the_one_that_names_it() -> None:
    programs = parse_info(Event("info", {"asr": [asr("en-GB", name="b"), asr(name="any"), asr("en-US", name="a")]})).asr
    assert (offer := find(programs, "", "en-US")) is not None
    assert offer.name == "a"


def test_varieties_are_one_language() -> None:
    assert same_language("en-US", "en_GB")
    assert same_language("EN", "en-us")
    assert not same_language("en", "de")
