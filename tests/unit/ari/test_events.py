"""ARI's events as Asterisk 22 writes them; what agentd does not know is survived."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.ari.events import (
    Channel,
    ChannelDestroyed,
    ConnectedLine,
    DtmfReceived,
    HangupRequested,
    Hold,
    LeftBridge,
    Other,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
    VarSet,
    parse_event,
)
from agentd.conversation.commands import Destination
from agentd.errors import AriError

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

CALLER = {
    "id": "1763913912.7",
    "name": "PJSIP/caller-00000003",
    "state": "Ring",
    "protocol_id": "Mhc7vZ0aTqW2",
    "caller": {"name": "Ada Lovelace", "number": "100"},
    "connected": {"name": "", "number": ""},
    "accountcode": "",
    "dialplan": {
        "context": "from-internal",
        "exten": "700",
        "priority": 3,
        "app_name": "Stasis",
        "app_data": "agentd,agent=sales,media=external",
    },
    "creationtime": "2026-11-23T16:05:12.345+0000",
    "language": "en",
}
READ = Channel(
    "1763913912.7",
    "PJSIP/caller-00000003",
    "Ring",
    "100",
    "Ada Lovelace",
    "700",
    "agentd",
    Destination("from-internal", "700", 3),
    ("agent=sales", "media=external"),
)
AT = 1795449912.401
"""Of every event here, in seconds."""
PLAYBACK = {
    "id": "agentd-play-1",
    "media_uri": "sound:/var/spool/agentd/media/u1",
    "target_uri": "channel:1763913912.7",
    "language": "en",
    "state": "playing",
}


def event(kind: str, **fields: Any) -> str:
    """An event with what Asterisk adds to every one."""
    return json.dumps(
        {
            "type": kind,
            "application": "agentd",
            "timestamp": "2026-11-23T16:05:12.401+0000",
            "asterisk_id": "02:42:ac:11:00:02",
            **fields,
        }
    )


def test_a_caller_enters_the_application_with_the_dialplan_s_arguments() -> None:
    text = event("StasisStart", args=["agent=sales", "media=external"], channel=CALLER)
    assert parse_event(text) == StasisStart(READ, ("agent=sales", "media=external"), AT)


def test_a_caller_enters_without_arguments() -> None:
    assert parse_event(event("StasisStart", args=[], channel=CALLER)) == StasisStart(READ, (), AT)
    assert parse_event(event("StasisStart", channel=CALLER)) == StasisStart(READ, (), AT)


def test_a_channel_takes_the_place_of_another() -> None:
    """An attended transfer, as Asterisk 22.10.1 tells it."""
    local = {
        "id": "1763913915.9",
        "name": "Local/_attended@transfer-00000000;2",
        "state": "Up",
        "caller": {"name": "", "number": ""},
        "dialplan": {
            "context": "transfer",
            "exten": "_attended",
            "priority": 1,
            "app_name": "Stasis",
            "app_data": "agentd",
        },
    }
    started = parse_event(event("StasisStart", args=[], channel=local, replace_channel=CALLER))
    assert isinstance(started, StasisStart)
    assert (started.channel.id, started.args, started.replaces) == ("1763913915.9", (), READ)
    assert started.channel.place == Destination("transfer", "_attended", 1)


def test_the_hours_of_asterisk_s_time_zone_are_read_too() -> None:
    assert parse_event(
        json.dumps({"type": "StasisEnd", "timestamp": "2026-11-23T21:35:12.401+0530", "channel": CALLER})
    ) == StasisEnd(READ, AT)


@pytest.mark.parametrize("told", ["2026-13-01T16:05:12.401+0000", "2026-00-00T16:05:12.401+0000"])
def test_a_time_that_there_is_not_makes_a_malformed_event(told: str) -> None:
    with pytest.raises(AriError, match="malformed"):
        parse_event(json.dumps({"type": "StasisEnd", "timestamp": told, "channel": CALLER}))


@pytest.mark.parametrize("told", [None, "", "yesterday", 7, "2026-11-23T16:05:12"])
def test_a_time_that_cannot_be_read_is_not_told(told: object) -> None:
    text = json.dumps({"type": "StasisStart", "timestamp": told, "channel": CALLER})
    assert parse_event(text) == StasisStart(READ)


@pytest.mark.parametrize(
    "dialplan",
    [
        {},
        {"context": "c", "exten": "1"},
        {"context": "c", "exten": "1", "priority": 0},
        {"context": "c", "exten": "1", "priority": "1"},
        {"context": "", "exten": "1", "priority": 1},
        {"context": "c", "exten": None, "priority": 1},
    ],
)
def test_a_channel_that_is_nowhere_in_the_dialplan_has_no_place(dialplan: dict[str, Any]) -> None:
    assert Channel.parse({"id": "1", "dialplan": dialplan}).place is None


@pytest.mark.parametrize(
    ("runs", "application"),
    [
        ({"app_name": "Stasis", "app_data": "agentd"}, "agentd"),
        ({"app_name": "Stasis", "app_data": "agentd,agent=sales,media=external"}, "agentd"),
        ({"app_name": "Stasis", "app_data": "agentd-2,agent=sales"}, "agentd-2"),
        ({"app_name": "Stasis", "app_data": None}, ""),
        ({"app_name": "Playback", "app_data": "agentd"}, ""),
        ({"app_name": "", "app_data": ""}, ""),
        ({"app_name": None, "app_data": None}, ""),
        ({}, None),
    ],
)
def test_a_channel_tells_in_which_application_it_is(runs: dict[str, Any], application: str | None) -> None:
    assert Channel.parse({"id": "1", "dialplan": {"context": "c", "exten": "1", **runs}}).application == application


def test_a_caller_leaves_the_application() -> None:
    assert parse_event(event("StasisEnd", channel=CALLER)) == StasisEnd(READ, AT)


def test_a_channel_is_destroyed_with_its_cause() -> None:
    text = event("ChannelDestroyed", cause=16, cause_txt="Normal Clearing", tech_cause=0, channel=CALLER)
    assert parse_event(text) == ChannelDestroyed(READ, 16)


def test_a_digit_is_received() -> None:
    text = event("ChannelDtmfReceived", digit="#", duration_ms=120, channel=CALLER)
    assert parse_event(text) == DtmfReceived(READ, "#")


def test_a_caller_puts_the_call_on_hold_and_takes_it_back() -> None:
    assert parse_event(event("ChannelHold", musicclass="default", channel=CALLER)) == Hold(READ, True)
    assert parse_event(event("ChannelUnhold", channel=CALLER)) == Hold(READ, False)
    assert parse_event(event("ChannelHangupRequest", cause=16, channel=CALLER)) == HangupRequested(READ)


def test_with_whom_a_channel_is_connected_is_cleaned_as_the_caller_is() -> None:
    connected = {"number": "+49 4712", "name": 'Bob "Bee"\n'}
    told = parse_event(event("ChannelConnectedLine", channel={**CALLER, "connected": connected}))
    assert told == ConnectedLine(READ, "+494712", "Bob Bee")
    assert parse_event(event("ChannelConnectedLine", channel=CALLER)) == ConnectedLine(READ)


def test_that_a_channel_is_out_of_a_bridge_is_read() -> None:
    bridge = {"id": "agentd-leg-bridge-1", "technology": "simple_bridge", "channels": []}
    assert parse_event(event("ChannelLeftBridge", bridge=bridge, channel=CALLER)) == LeftBridge(READ, bridge["id"])


def test_a_channel_variable_is_set() -> None:
    text = event("ChannelVarset", variable="AUDIOSOCKET_UUID", value="3f0c2a7e", channel=CALLER)
    assert parse_event(text) == VarSet(READ, "AUDIOSOCKET_UUID", "3f0c2a7e")


def test_a_global_variable_is_nobody_s() -> None:
    assert parse_event(event("ChannelVarset", variable="TRUNK", value="PJSIP/x")) == Other("ChannelVarset")


def test_a_playback_on_a_channel_starts_and_finishes() -> None:
    channel = Channel("1763913912.7")
    assert parse_event(event("PlaybackStarted", playback=PLAYBACK)) == PlaybackStarted("agentd-play-1", channel)
    done = {**PLAYBACK, "state": "done"}
    assert parse_event(event("PlaybackFinished", playback=done)) == PlaybackFinished("agentd-play-1", channel, "done")


def test_a_playback_that_failed_says_so() -> None:
    finished = parse_event(event("PlaybackFinished", playback={**PLAYBACK, "state": "failed"}))
    assert isinstance(finished, PlaybackFinished)
    assert finished.state == "failed"


def test_a_playback_on_a_bridge_belongs_to_no_channel() -> None:
    started = parse_event(event("PlaybackStarted", playback={**PLAYBACK, "target_uri": "bridge:b-1"}))
    assert started == PlaybackStarted("agentd-play-1", Channel(""))


def test_an_event_that_agentd_does_not_read_keeps_its_channel() -> None:
    text = event("ChannelTalkingStarted", channel=CALLER)
    assert parse_event(text) == Other("ChannelTalkingStarted", READ)


def test_an_event_from_a_later_asterisk_is_survived() -> None:
    assert parse_event(event("ChannelTeleported", destination={"planet": "Mars"})) == Other("ChannelTeleported")


@pytest.mark.parametrize("channel", ["1763913912.7", 7, None, {}, {"name": "no id"}, ["a"]])
def test_an_unknown_event_is_survived_whatever_it_calls_a_channel(channel: object) -> None:
    assert parse_event(event("ChannelTeleported", channel=channel)) == Other("ChannelTeleported")


def test_fields_from_a_later_asterisk_are_survived() -> None:
    later = {**CALLER, "tenantid": "t1", "caller_rdnis": "", "mood": {"cheerful": True}}
    assert parse_event(event("StasisStart", args=[], channel=later, weather="fine")) == StasisStart(READ, (), AT)


def test_a_caller_without_name_and_number_is_a_caller_all_the_same() -> None:
    for caller in ({"name": "", "number": ""}, {"name": None, "number": None}, None):
        started = parse_event(event("StasisStart", args=[], channel={**CALLER, "caller": caller}))
        assert isinstance(started, StasisStart)
        assert (started.channel.caller_name, started.channel.caller_number) == ("", "")


def test_names_in_any_script_come_through() -> None:
    started = parse_event(event("StasisStart", channel={**CALLER, "caller": {"name": "Zoë 山田", "number": "+49 1"}}))
    assert isinstance(started, StasisStart)
    assert started.channel.caller_name == "Zoë 山田"


def test_bytes_are_read_as_text_is() -> None:
    assert parse_event(event("StasisEnd", channel=CALLER).encode()) == StasisEnd(READ, AT)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ("[]", "without a type"),
        ("null", "without a type"),
        ('"StasisStart"', "without a type"),
        ("{}", "without a type"),
        ('{"type": 5}', "without a type"),
        ('{"type": "StasisStart"}', "malformed ARI event StasisStart"),
        ('{"type": "StasisEnd", "channel": null}', "malformed ARI event StasisEnd"),
        ('{"type": "StasisEnd", "channel": {"name": "x"}}', "channel without an id"),
        ('{"type": "StasisEnd", "channel": {"id": "1", "caller": "100"}}', "malformed ARI event StasisEnd"),
        ('{"type": "StasisStart", "channel": {"id": "1"}, "args": 7}', "malformed ARI event StasisStart"),
        ('{"type": "ChannelDtmfReceived", "channel": {"id": "1"}}', "malformed .*'digit'"),
        ('{"type": "PlaybackFinished", "playback": []}', "malformed ARI event PlaybackFinished"),
        ('{"type": "ChannelDestroyed", "channel": {"id": "1"}, "cause": "soon"}', "malformed .* ChannelDestroyed"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(text: str | bytes, expected: str) -> None:
    with pytest.raises(AriError, match=expected):
        parse_event(text)


def test_a_cause_beyond_all_numbers_is_malformed() -> None:
    with pytest.raises(AriError, match="malformed ARI event ChannelDestroyed"):
        parse_event('{"type": "ChannelDestroyed", "channel": {"id": "1"}, "cause": 1e999}')


@pytest.mark.parametrize("end", ["", "]" * 400 + "}"])
def test_json_nested_too_deeply_is_refused_like_any_other_nonsense(end: str) -> None:
    with pytest.raises(AriError, match=r"not JSON \(more than 64 lists or tables"):
        parse_event('{"type": "x", "args": ' + "[" * 400 + end)


def test_the_error_shows_where_the_bad_event_begins_and_not_all_of_it() -> None:
    with pytest.raises(AriError) as raised:
        parse_event('{"type": "StasisEnd", "channel": ["' + "x" * 100_000 + '"]}')
    assert '{"type": "StasisEnd"' in str(raised.value)
    assert len(str(raised.value)) < 1000


any_text = st.text(st.characters(categories=None) | st.characters(categories=["Cs"]), max_size=10)
"""Also such as holds halves of characters, which JSON can name."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
KNOWN = (
    "StasisStart",
    "StasisEnd",
    "ChannelDestroyed",
    "ChannelDtmfReceived",
    "ChannelHold",
    "ChannelUnhold",
    "ChannelVarset",
    "PlaybackStarted",
    "PlaybackFinished",
    "Dial",
)
nearly_channels = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "name", "state", "caller", "dialplan"), json_values)
)
nearly_events = st.fixed_dictionaries(
    {"type": st.sampled_from(KNOWN)},
    optional={
        "channel": json_values | nearly_channels,
        "playback": json_values
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "target_uri", "state"), json_values)),
        **dict.fromkeys(("args", "cause", "digit", "variable", "value"), json_values),
    },
)


@unhurried
@given(nearly_events | json_values)
def test_json_of_any_shape_is_an_event_or_an_ari_error(raw: object) -> None:
    try:
        event = parse_event(json.dumps(raw))
    except AriError as error:
        str(error).encode()
    else:
        json.dumps(attrs.asdict(event), ensure_ascii=False).encode()


@unhurried
@given(st.text() | st.binary())
def test_text_and_bytes_of_any_kind_are_an_event_or_an_ari_error(text: str | bytes) -> None:
    try:
        parse_event(text)
    except AriError:
        pass
