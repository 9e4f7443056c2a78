"""From attrs classes to checked settings. (The sample and the JSON Schema of them: agentd.config.rendering.)

A settings class is a frozen attrs class whose fields have a default and a type
`Annotated[T, text("What it is for.", check, ...)]`; T is bool, int, float, str, an enum, a list or dict of
these, or another settings class. A check takes the value and gives None, or what is wrong with it. Provider
modules, third-party ones too, describe their settings the same way. `text(choices=...)` and `Tables` describe what
installed packages add to a class's own settings.
"""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import attrs
import cattrs

from agentd.addresses import is_address
from agentd.errors import AgentdError
from agentd.telltales import HIDDEN, looks_secret, names_secret, secret_in_url, without_secrets

Check = Callable[[Any], str | None]
T = TypeVar("T")


class Unshown(str):
    """A check's complaint about a value that must not be repeated: it may be a secret in the wrong place."""

    __slots__ = ()


@attrs.frozen
class Text:
    """A setting's purpose, and the checks that its values must satisfy."""

    doc: str
    checks: tuple[Check, ...] = ()
    formerly: str = ""
    """The name that the setting had before: it is taken, with a note, for one release."""
    choices: Callable[[], Sequence[str]] | None = None
    """Gives the names that a string may be, where they depend on what is installed."""


def text(doc: str, *checks: Check, formerly: str = "", choices: Callable[[], Sequence[str]] | None = None) -> Text:
    """Describe a setting; see the module's docstring."""
    return Text(doc, checks, formerly, choices)


@attrs.frozen
class Tables:
    """Describes a field that holds tables of settings by their names, which stand beside the class's other settings.

    `known` gives their settings classes, or why one cannot be used: it is refused where the file has it, and neither
    the sample nor the schema shows it. A table that the file does not have is not in the field.
    """

    known: Callable[[], Mapping[str, type | AgentdError]]


def positive(value: float) -> str | None:
    """A check: more than nothing."""
    return None if value > 0 else "must be greater than 0"


def not_negative(value: float) -> str | None:
    """A check: nothing or more."""
    return None if value >= 0 else "must not be negative"


def is_number(value: str) -> bool:
    """Whether a text is a number of at most nine digits."""
    return value.isascii() and value.isdigit() and len(value) < 10


def port_number(value: int) -> str | None:
    """A check: a port to listen on; 0 is any that is free."""
    return None if 0 <= value <= 65535 else "a port is a number from 0 to 65535"


def address(value: str) -> str | None:
    """A check: an address to listen on."""
    if is_address(value) or value == "localhost":
        return None
    bare = "; an IPv6 address stands without brackets here" if is_address(value.strip("[]")) else ""
    return f"must be an IP address (or localhost){bare}"


def networks(value: list[str]) -> str | None:
    """A check: networks that may connect."""
    for network in value:
        try:
            ip_network(network)
        except ValueError as error:
            return f"{error} (networks look like 10.0.0.0/8)"
    return None


def http_url(value: str) -> str | None:
    """A check: an http or https URL with a host, and nothing secret in it."""
    if found := secret_in_url(value):
        return Unshown(
            f"must hold no {found.removeprefix('a ')}, which would reach logs: name the environment variable or"
            " credential that holds it, in api_key_name"
        )
    return web_url(value)


def web_url(value: str) -> str | None:
    """A check: an http or https URL with a host; what else is in it, others look at."""
    if not value.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    try:
        parts = urlsplit(value)
        good = bool(parts.hostname) and parts.port != 0 and value.isprintable() and " " not in value
    except ValueError:  # a port that is no port, an unclosed bracket
        good = False
    if good:
        return None
    netloc = value.partition("//")[2].partition("/")[0]
    bracketed = " (an IPv6 address in brackets: http://[::1]:8088)" if netloc.count(":") > 1 else ""
    return f"must be a URL like http://host:port{bracketed}"


def secret_name(value: str) -> str | None:
    """A check: empty, or the name of an environment variable that holds a secret."""
    if value and not re.fullmatch("[A-Z][A-Z0-9_]{0,63}", value):
        return Unshown("must be the name of an environment variable, such as LLM_API_KEY, never the key itself")
    return None


def not_among(value: object, choices: Collection[str]) -> str | None:
    """None for one of the choices; else what is wrong, with the nearest of them."""
    if value in choices:
        return None
    return f"must be one of {', '.join(choices)}, not {_shown(value)}{_near(value, choices)}"


@attrs.frozen
class Problem:
    """One thing wrong with a configuration, at a TOML path."""

    path: str
    message: str
    fatal: bool = True
    """False: a note, with which the configuration is taken all the same."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@attrs.frozen
class Setting:
    """One field of a settings class, taken apart."""

    name: str
    type: Any
    doc: str
    checks: tuple[Check, ...]
    default: Any
    formerly: str = ""
    choices: tuple[str, ...] | None = None
    field: str = ""
    """The field of Tables that holds it; empty: it has one of its own."""
    unusable: AgentdError | None = None
    """Why it cannot be set."""


NO_SETTING = {"agentd": "no setting"}
"""The metadata of a field that is not read from the file."""


def settings_of(cls: Any) -> tuple[Setting, ...]:
    """The settings of a class, in order."""
    hints = get_type_hints(cls, include_extras=True)
    found: list[Setting] = []
    for field in attrs.fields(cls):
        if field.metadata == NO_SETTING:
            continue
        hint, about = hints[field.name], Text("")
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            if isinstance(extras[0], Tables):
                found += _tables(field.name, extras[0])
                continue
            about = next((extra for extra in extras if isinstance(extra, Text)), about)
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        choices = None if about.choices is None else tuple(about.choices())
        found.append(Setting(field.name, hint, about.doc, about.checks, default, about.formerly, choices))
    return tuple(found)


def _tables(field: str, tables: Tables) -> Iterator[Setting]:
    for name, known in tables.known().items():
        if isinstance(known, AgentdError):
            yield Setting(name, dict, "", (), {}, field=field, unusable=known)
        else:
            yield Setting(name, known, "", (), None, field=field)


class _WrongType(Exception):
    pass


def _strict(expected: str, *types: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, kind: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _WrongType(f"must be {expected}, not {_shown(value)}")
        if kind is float and not _is_finite(value):
            raise _WrongType(f"must be a finite number, not {_shown(value)}")  # inf: a deadline that never comes
        if isinstance(value, str) and "\0" in value:  # in no path, no header and no argument of a process
            raise _WrongType(f"must hold no NUL character, not {_shown(value)}")
        return kind(value)

    return structure


def _is_finite(value: Any) -> bool:
    return bool(-sys.float_info.max <= value <= sys.float_info.max)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    # By class: cattrs has hooks of its own for these (int("5") and the like), which win over predicates.
    converter.register_structure_hook(str, _strict("a string", str))
    converter.register_structure_hook(bool, _strict("true or false", bool))
    converter.register_structure_hook(int, _strict("a whole number", int))
    converter.register_structure_hook(float, _strict("a number", int, float))
    converter.register_structure_hook(StrEnum, _structure_enum)
    converter.register_structure_hook_func(_is_list, _structure_list)
    converter.register_structure_hook_func(_is_dict, _structure_dict)
    return converter


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def _is_dict(kind: Any) -> bool:
    return get_origin(kind) is dict


def _structure_enum(value: Any, kind: Any) -> Any:
    if complaint := not_among(value, [member.value for member in kind]):
        raise _WrongType(complaint)
    return kind(value)


def _structure_list(value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        raise _WrongType(f"must be a list, not {_shown(value)}")
    (item,) = get_args(kind)
    return [_leaf_converter.structure(element, item) for element in value]


def _structure_dict(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise _WrongType(f"must be a table of names and values, not {_shown(value)}")
    _, item = get_args(kind)  # TOML's keys are strings
    made = {}
    for key, element in value.items():
        try:
            made[key] = _leaf_converter.structure(element, item)
        except _WrongType as error:
            raise _WrongType(f"{key}: {error}") from error
    return made


_leaf_converter = _converter()


def build(
    cls: type[T],
    raw: Mapping[str, Any],
    path: str,
    problems: list[Problem],
    skip: Collection[str] = (),
    also: Collection[str] = (),
) -> T:
    """Make settings of a TOML table; what is wrong is appended to `problems`, and the default stands in.

    Fields in `skip` are not read from the table; keys in `also` are somebody else's to read.
    """
    known = {setting.name: setting for setting in settings_of(cls) if setting.name not in skip}
    raw = _renamed(raw, known, path, problems)
    unknown = [key for key in raw if key not in known and key not in also]
    problems += [Problem(_join(path, key), f"unknown{_near(key, [*known, *also])}") for key in unknown]
    values: dict[str, Any] = {}
    for name, setting in known.items():
        if name not in raw:
            continue
        where = _join(path, name)
        if setting.unusable is not None:
            problems.append(Problem(where, str(setting.unusable)))
            continue
        if attrs.has(setting.type):
            if isinstance(raw[name], dict):
                target = values.setdefault(setting.field, {}) if setting.field else values
                target[name] = build(setting.type, raw[name], where, problems)
            else:
                problems.append(Problem(where, f"must be a table: [{where}], not {_shown(raw[name])}"))
            continue
        try:
            value = _leaf_converter.structure(raw[name], setting.type)
        except _WrongType as error:
            problems.append(Problem(where, str(error)))
            continue
        if setting.choices is not None and (complaint := not_among(value, setting.choices)):
            problems.append(Problem(where, complaint))
            continue
        complaints = [complaint for check in setting.checks if (complaint := check(value))]
        problems += [
            Problem(where, complaint if isinstance(complaint, Unshown) else f"{complaint}, not {_shown(value)}")
            for complaint in complaints
        ]
        if not complaints:
            values[name] = value
    return cls(**values)


def _renamed(
    raw: Mapping[str, Any], known: Mapping[str, Setting], path: str, problems: list[Problem]
) -> Mapping[str, Any]:
    """The table with the settings' names of today; a note for each that still has its former one."""
    former = {setting.formerly: name for name, setting in known.items() if setting.formerly in raw}
    for old, new in former.items():
        clash = new in raw
        message = f"is called {new} now" + (
            ": keep only that one" if clash else "; the old name is taken for one release"
        )
        problems.append(Problem(_join(path, old), message, fatal=clash))
    return {former.get(key, key): value for key, value in raw.items() if key not in former or former[key] not in raw}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _near(value: object, choices: Collection[str]) -> str:
    matches = get_close_matches(str(value), choices, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _shown(value: object) -> str:
    """A value for a message, without what may be a secret in it; so may be what stands before an @."""
    text = json.dumps(_without_secrets(value), ensure_ascii=False, default=str)
    shown = re.sub(r'"(\w+://)?(?:[^"\\]|\\.)*@', rf'"\1{HIDDEN}@', text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _without_secrets(value: object) -> object:
    match value:
        case str():
            if "://" in value:
                return without_secrets(value)
            return HIDDEN if looks_secret(value) else value
        case dict():
            return {key: HIDDEN if names_secret(str(key)) else _without_secrets(each) for key, each in value.items()}
        case list():
            return [_without_secrets(each) for each in value]
    return value
