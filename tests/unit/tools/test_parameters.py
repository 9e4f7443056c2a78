"""A model's arguments: only what meets the schema passes, and whatever comes, nothing but ToolError is raised."""

import json
import re
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.exceptions import ValidationError

from agentd.tools.contract import ToolError
from agentd.tools.parameters import MAX_ARGUMENTS, MOST_VALUES, Arguments, parse_schema, schema_problem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"order": {"type": "string", "pattern": "^[0-9]{4}$"}, "copies": {"type": "integer", "maximum": 3}},
    "required": ["order"],
    "additionalProperties": False,
}
ORDER = Arguments.of(SCHEMA)
ANYTHING = Arguments.of({"type": "object"})


def test_arguments_that_meet_the_schema_are_given_as_they_are() -> None:
    assert ORDER.parse('{"order": "1234", "copies": 2}') == {"order": "1234", "copies": 2}


def test_no_text_at_all_is_an_empty_object() -> None:
    assert ANYTHING.parse("") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "The arguments are wrong: $: 'order' is a required property"),
        ('{"order": 1234}', "The arguments are wrong: $.order: 1234 is not of type 'string'"),
        ('{"order": "12"}', "The arguments are wrong: $.order: '12' does not match"),
        ('{"order": "1234", "copies": 7}', "$.copies: 7 is greater than the maximum of 3"),
        ('{"order": "1234", "rm": "-rf"}', "Additional properties are not allowed"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('"order"', "must be a JSON object"),
        ("{", "must be a JSON object"),
        ("order=1234", "must be a JSON object"),
    ],
)
def test_the_model_is_told_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ToolError) as caught:
        ORDER.parse(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"x": NaN}',
        '{"x": -Infinity}',
        '{"x": 1e999}',
        '{"x": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * 8000,
        '{"x": ' + "[" * 4000 + "]" * 4000 + "}",
        '{"x": ' + "[" * 100 + "]" * 100 + "}",
    ],
    ids=[
        "nan",
        "infinity",
        "overflow",
        "surrogate",
        "surrogate key",
        "digits",
        "open depth",
        "depth",
        "too deep by our own count",
    ],
)
def test_json_that_no_service_could_be_given_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="must be a JSON object"):
        ANYTHING.parse(text)


@pytest.mark.parametrize("filling", ["x", "é", "\ud800"])
def test_arguments_are_bounded_in_bytes(filling: str) -> None:
    fits = '{"x": "' + "x" * (MAX_ARGUMENTS - 9) + '"}'
    assert len(ANYTHING.parse(fits)["x"]) == MAX_ARGUMENTS - 9
    with pytest.raises(ToolError, match="too long"):
        ANYTHING.parse('{"x": "' + filling * MAX_ARGUMENTS + '"}')


def test_a_complaint_does_not_grow_with_what_it_is_about() -> None:
    with pytest.raises(ToolError) as caught:
        ORDER.parse(json.dumps({"order": "x" * 10_000}))
    assert len(str(caught.value)) < 400


class EndlessErrors:
    """Checks as a schema does that finds one more thing wrong for ever."""

    def iter_errors(self, value: object) -> Iterator[ValidationError]:
        return repeat(ValidationError("it is wrong"))


def test_of_many_things_that_are_wrong_only_some_are_looked_for() -> None:
    with pytest.raises(ToolError, match="it is wrong"):
        Arguments(EndlessErrors()).parse("{}")


@pytest.mark.parametrize(
    "value",
    [[1] * 600, [[]] * 600, {"y": [[1] * 300] * 2}, dict.fromkeys(map(str, range(600)))],
    ids=["scalars", "lists", "nested", "members"],
)
def test_the_values_that_are_checked_are_bounded(value: object) -> None:
    with pytest.raises(ToolError, match=f"too many values: at most {MOST_VALUES}"):
        ANYTHING.parse(json.dumps({"x": value}))
    assert ANYTHING.parse(json.dumps({"x": [1] * (MOST_VALUES - 2)}))


@given(st.text())
def test_any_text_is_an_object_or_a_tool_error(text: str) -> None:
    try:
        assert isinstance(ANYTHING.parse(text), dict)
    except ToolError as error:
        assert str(error)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"))
    )
)
def test_any_object_comes_through_as_it_was(value: dict[str, object]) -> None:
    assert ANYTHING.parse(json.dumps(value)) == value


# --- schemas


def test_a_schema_of_an_object_is_good() -> None:
    assert schema_problem(SCHEMA) is None
    assert parse_schema(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("7", "must be the JSON Schema of an object"),
        ('{"type": "string"}', "must be the JSON Schema of an object"),
        ('{"type": "object", "properties": {"x": {"type": "strin"}}}', "$.properties.x.type: 'strin'"),
        ('{"type": "object", "required": "x"}', "$.required: 'x' is not of type 'array'"),
        ('{"type": "object", "properties": {"x": {"pattern": "("}}}', "$.properties.x.pattern: '(' is not a 'regex'"),
        ('{"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1/secret"}}}', "$ref is not followed"),
        ('{"type": "object", "anyOf": [{"$ref": "#/$defs/x"}]}', "$ref is not followed"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_schema(text)
