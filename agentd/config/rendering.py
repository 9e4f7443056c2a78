"""A settings class rendered: as the lines of a commented sample in TOML, and as JSON Schema."""

import json
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any, get_args, get_origin

import attrs

from agentd.config.schema import settings_of

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def sample(cls: type, path: str, skip: Collection[str] = ()) -> Iterator[str]:
    """The lines of a TOML table with every setting at its default, each with its description."""
    settings = [setting for setting in settings_of(cls) if setting.name not in skip and setting.unusable is None]
    leaves = [setting for setting in settings if not attrs.has(setting.type)]
    if leaves and path:
        yield ""
        yield f"[{path}]"
    for setting in leaves:
        yield f"# {setting.doc}"
        yield f"{setting.name} = {toml_value(setting.default)}"
    for setting in settings:
        if attrs.has(setting.type):
            where = f"{path}.{setting.name}" if path else setting.name
            yield ""
            yield f"# --- {_first_line(setting.type)}"
            yield from sample(setting.type, where)


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, StrEnum):
        return json.dumps(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml_key(key)} = {toml_value(value[key])}' for key in value)} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # DEL: JSON allows it, TOML does not


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else toml_value(key)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def json_schema(cls: type, skip: Collection[str] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of a settings class, for editors that complete TOML.

    Raises TypeError for a type that no setting can have (see agentd.config.schema).
    """
    properties: dict[str, Any] = {}
    for setting in settings_of(cls):
        if setting.name in skip or setting.unusable is not None:
            continue
        entry = _json_type(setting.type)
        if setting.choices is not None:
            entry["enum"] = list(setting.choices)
        if setting.doc:
            entry["description"] = setting.doc
        if not attrs.has(setting.type):
            entry["default"] = json.loads(json.dumps(setting.default, default=str))
        properties[setting.name] = entry
    return {
        "type": "object",
        "description": _first_line(cls),
        "properties": properties,
        "additionalProperties": False,
    }


def _json_type(kind: Any) -> dict[str, Any]:
    if attrs.has(kind):
        return json_schema(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if get_origin(kind) is list:
        return {"type": "array", "items": _json_type(get_args(kind)[0])}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _json_type(get_args(kind)[1])}
    if kind in _JSON_TYPES:
        return {"type": _JSON_TYPES[kind]}
    raise TypeError(f"{kind} is no type that a setting can have")
