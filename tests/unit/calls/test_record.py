"""A record of a call is read back as it was written, and nothing else is taken for one."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.calls.record import (
    MOST_BYTES,
    VERSION,
    CallRecord,
    RecordRefused,
    Stay,
    ToolAtWork,
    WayBack,
    WrittenTurns,
    from_bytes,
    to_bytes,
)
from agentd.conversation.commands import Destination
from agentd.history import Sealed, Speaker, ToolUse, Turn
from agentd.party import Party

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

RECORD = CallRecord(
    call_id="1700000000.1",
    stay=Stay("1700000000.1", ("agent=front", "media=external"), "600"),
    agent="front",
    serving="front",
    transport="external",
    streaming=True,
    rate=16000,
    caller=Party("100", "Alice"),
    began=1.7e9,
    turns=(
        Turn(Speaker.CALLER, "When do you open?"),
        Turn(Speaker.TOOL, "", tool=ToolUse("hours", "{}", "nine to five")),
        Turn(Speaker.AGENT, "We open at", "We open at nine.", 3),
    ),
    agent_spoke=True,
)

words = st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda text: "(pressed" not in text)
names = words.filter(bool)
times = st.floats(0, 1e10)
destinations = st.builds(Destination, names, names, st.integers(1, 99))
tools = st.builds(ToolUse, words, words, words, st.none() | st.builds(Sealed, words, words, words, words))
turns = st.one_of(
    st.builds(lambda text: Turn(Speaker.CALLER, text), words),
    st.builds(lambda text, whole, number: Turn(Speaker.AGENT, text, whole, number), words, words, st.integers(0, 999)),
    st.builds(lambda tool: Turn(Speaker.TOOL, "", tool=tool), tools),
)
records = st.builds(
    CallRecord,
    call_id=names,
    stay=st.builds(
        Stay, names, st.lists(words, max_size=4).map(tuple), words, st.none() | st.builds(WayBack, destinations, words)
    ),
    agent=names,
    serving=names,
    transport=names,
    streaming=st.booleans(),
    rate=st.sampled_from([8000, 16000]),
    caller=st.builds(Party, words, words),
    began=times,
    turns=st.lists(turns, max_size=8).map(tuple),
    caller_spoke=st.booleans(),
    agent_spoke=st.booleans(),
    answer_due=st.booleans(),
    repeat=words,
    at_work=st.lists(st.builds(ToolAtWork, words, words), max_size=3).map(tuple),
    playbacks=st.lists(words, max_size=3).map(tuple),
    adoptions=st.integers(0, 9),
    adopted_at=times,
)


@unhurried
@given(records)
def test_what_was_written_is_read_back(record: CallRecord) -> None:
    assert from_bytes(to_bytes(record)) == record


@unhurried
@given(records, st.integers(0, 10_000))
def test_a_record_that_was_cut_is_refused(record: CallRecord, at: int) -> None:
    whole = to_bytes(record)
    with pytest.raises(RecordRefused):
        from_bytes(whole[: at % len(whole)])


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@unhurried
@given(st.data(), json_values)
def test_a_field_that_is_something_else_is_taken_as_one_of_its_kind_or_refused(data: st.DataObject, value: Any) -> None:
    fields = json.loads(to_bytes(RECORD))
    fields[data.draw(st.sampled_from(sorted(fields)))] = value
    try:
        read = from_bytes(json.dumps(fields).encode())
    except RecordRefused:
        return
    assert from_bytes(to_bytes(read)) == read


@unhurried
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RecordRefused):
        from_bytes(data)


@pytest.mark.parametrize("field", sorted(set(json.loads(to_bytes(RECORD))) - {"kind", "version"}))
def test_a_record_without_one_of_its_fields_is_refused_by_its_name(field: str) -> None:
    fields = json.loads(to_bytes(RECORD))
    del fields[field]
    with pytest.raises(RecordRefused, match=field):
        from_bytes(json.dumps(fields).encode())


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", True, None])
def test_a_record_of_another_version_is_refused_and_says_so(version: object) -> None:
    fields = json.loads(to_bytes(RECORD))
    fields["version"] = version
    with pytest.raises(RecordRefused, match="another version"):
        from_bytes(json.dumps(fields).encode())


@pytest.mark.parametrize("rate", [0, 7, 8001, 1 << 30])
def test_a_rate_that_no_line_has_is_refused(rate: int) -> None:
    with pytest.raises(RecordRefused, match="rate"):
        from_bytes(to_bytes(attrs.evolve(RECORD, rate=rate)))


def test_a_file_of_another_program_is_refused() -> None:
    with pytest.raises(RecordRefused, match="no record of a call"):
        from_bytes(b'{"kind": "something else", "version": 1}')


def test_a_refusal_quotes_nothing_of_what_was_said() -> None:
    fields = json.loads(to_bytes(RECORD))
    fields["turns"][0]["caller"] = ["my secret"]
    with pytest.raises(RecordRefused) as refused:
        from_bytes(json.dumps(fields).encode())
    assert "secret" not in str(refused.value)


def test_no_file_is_longer_than_the_bound_and_the_last_turns_are_kept() -> None:
    long = tuple(Turn(Speaker.CALLER, f"{number} " + "word " * 500) for number in range(200))
    written = to_bytes(attrs.evolve(RECORD, turns=long))
    assert len(written) <= MOST_BYTES
    read = from_bytes(written).turns
    assert 20 < len(read) < 200
    assert read == long[-len(read) :]
    with pytest.raises(RecordRefused, match="longer"):
        from_bytes(written + b" " * MOST_BYTES)


def test_what_a_server_has_us_keep_goes_before_a_turn_does() -> None:
    sealed = Sealed("server", "reply", "{}", "x" * MOST_BYTES)
    use = ToolUse("hours", "{}", "nine to five", sealed)
    [read] = from_bytes(to_bytes(attrs.evolve(RECORD, turns=(Turn(Speaker.TOOL, "", tool=use),)))).turns
    assert read.tool == attrs.evolve(use, sealed=None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("(pressed 1)", "(pressed 1)"),
        ("(pressed 1 #)", "(pressed 1 #)"),
        ("my PIN is (pressed 1 2 3 4) there", "my PIN is (pressed 4 keys) there"),
        ("(pressed 4 9 2 7 1 *)", "(pressed 6 keys)"),
    ],
)
def test_of_a_long_entry_of_keys_only_their_count_is_kept(said: str, kept: str) -> None:
    written = to_bytes(attrs.evolve(RECORD, turns=(Turn(Speaker.CALLER, said),)))
    assert [turn.text for turn in from_bytes(written).turns] == [kept]


@unhurried
@given(st.lists(records, min_size=1, max_size=4))
def test_what_is_known_of_the_record_before_changes_nothing(records: list[CallRecord]) -> None:
    known: WrittenTurns = {}
    for record in records:
        assert to_bytes(record, known) == to_bytes(record)
        assert len(known) <= len(record.turns)


def test_half_a_character_is_written_as_the_sign_for_it() -> None:
    [turn] = from_bytes(to_bytes(attrs.evolve(RECORD, turns=(Turn(Speaker.CALLER, "a\ud83d"),)))).turns
    assert turn.text == "a�"


def test_whether_something_was_cut_and_whether_an_answer_is_owed() -> None:
    rest = attrs.evolve(RECORD, agent_spoke=False)
    assert not rest.cut
    assert not rest.owed
    assert attrs.evolve(rest, caller_spoke=True).cut
    assert not attrs.evolve(rest, caller_spoke=True).owed
    assert attrs.evolve(rest, repeat="Hello!").cut
    assert not attrs.evolve(rest, repeat="Hello!").owed
    for standing in ({"agent_spoke": True}, {"answer_due": True}, {"at_work": (ToolAtWork("hours", "{}"),)}):
        assert attrs.evolve(rest, **standing).cut
        assert attrs.evolve(rest, **standing).owed
