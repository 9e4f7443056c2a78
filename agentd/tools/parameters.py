"""The arguments of a tool: what a JSON Schema of them may be, and whether a model's text meets it. Pure."""

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import attrs
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]

from agentd.parsing import load_json
from agentd.tools.contract import ToolError

MAX_ARGUMENTS = 16 * 1024
"""Bytes of the arguments of one use."""
MOST_VALUES = 500
"""Values in the arguments of one use: nobody else on the loop is served while they are checked."""
MOST_ERRORS = 20
"""Errors that the one which a model is told of is chosen from."""
MAX_COMPLAINT = 300


def schema_problem(schema: object) -> str | None:
    """The fault of the JSON Schema (2020-12) of an arguments object; None if it has none."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return 'must be the JSON Schema of an object: {"type": "object", "properties": {...}}'
    try:
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    except SchemaError as error:
        return f"is no valid JSON Schema: {error.json_path}: {error.message[:MAX_COMPLAINT]}"
    if _refers(schema):
        return "must spell everything out: $ref is not followed"
    return None


def parse_schema(text: str) -> Mapping[str, Any]:
    """The schema that a setting holds as JSON text. Raises ValueError saying what is wrong with it."""
    try:
        schema = load_json(text)
    except ValueError as error:
        raise ValueError(f"must be JSON ({error})") from error
    if problem := schema_problem(schema):
        raise ValueError(problem)
    assert isinstance(schema, dict)
    return schema


def _refers(schema: object) -> bool:
    """Whether something in a schema refers to something else, which could be anywhere."""
    if isinstance(schema, dict):
        return any(key in ("$ref", "$dynamicRef") or _refers(value) for key, value in schema.items())
    return isinstance(schema, list) and any(map(_refers, schema))


@attrs.frozen
class Arguments:
    """The schema of a tool's arguments, compiled once."""

    _validator: Any = attrs.field(repr=False)

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "Arguments":
        """Of a schema without a `schema_problem`."""
        return cls(Draft202012Validator(schema))

    def parse(self, text: str) -> Mapping[str, Any]:
        """The arguments object of a model's text; no text at all is an empty one.

        Raises ToolError, with words for the model, where it is too much, no JSON, or does not meet the schema.
        """
        if len(text) > MAX_ARGUMENTS or len(text.encode(errors="replace")) > MAX_ARGUMENTS:
            raise ToolError(f"The arguments are too long: at most {MAX_ARGUMENTS} bytes.")
        try:
            value = load_json(text or "{}", parse_constant=_no_number, parse_float=_finite, mend=False)
            if _too_many(value):
                raise ToolError(f"The arguments hold too many values: at most {MOST_VALUES}.")
            complaint = best_match(islice(self._validator.iter_errors(value), MOST_ERRORS))
        except ValueError as error:
            raise ToolError("The arguments must be a JSON object.") from error
        if not isinstance(value, dict):
            raise ToolError("The arguments must be a JSON object.")
        if complaint is not None:
            raise ToolError(f"The arguments are wrong: {complaint.json_path}: {complaint.message[:MAX_COMPLAINT]}")
        return value


def _too_many(value: object) -> bool:
    """Whether there are more than MOST_VALUES values, lists and objects included."""
    seen, waiting = 0, [value]
    while waiting and seen <= MOST_VALUES:
        seen += 1
        match waiting.pop():
            case dict(members):
                waiting.extend(members.values())
            case list(items):
                waiting.extend(items)
    return seen > MOST_VALUES


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
