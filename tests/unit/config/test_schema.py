"""From attrs classes to checked settings, a commented sample and a JSON Schema."""

import datetime
import tomllib
from enum import StrEnum
from typing import Annotated, Any

import attrs
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.config.rendering import json_schema, sample, toml_value
from agentd.config.schema import Problem, build, settings_of, text

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def positive(value: float) -> str | None:
    return None if value > 0 else "must be greater than 0"


@attrs.frozen
class Lid:
    """What closes it."""

    tight: Annotated[bool, text("Does it leak?")] = True


@attrs.frozen
class Box:
    """A box, for example."""

    name: Annotated[str, text("What is written on it.")] = "box"
    colour: Annotated[Colour, text("What colour it has.")] = Colour.RED
    height: Annotated[int, text("Centimetres.", positive)] = 10
    weight: Annotated[float, text("Kilograms.", positive)] = 1.5
    open: Annotated[bool, text("Can one look inside?")] = False
    things: Annotated[list[str], text("What is in it.")] = attrs.field(factory=lambda: ["a sock", "a shoe"])
    sizes: Annotated[list[int], text("What fits.")] = attrs.field(factory=list)
    labels: Annotated[dict[str, str], text("What is stuck on it.")] = attrs.field(
        factory=lambda: {"to": "Ada", "from the": '"far" side'}
    )
    lid: Lid = attrs.field(factory=Lid)


def made(raw: dict[str, Any]) -> tuple[Box, list[str]]:
    problems: list[Problem] = []
    box = build(Box, raw, "box", problems)
    return box, [str(problem) for problem in problems]


def test_an_empty_table_is_all_defaults() -> None:
    assert made({}) == (Box(), [])


def test_values_of_the_right_type_are_taken() -> None:
    raw = {
        "name": "crate",
        "colour": "green",
        "height": 3,
        "weight": 0.5,
        "open": True,
        "things": [],
        "sizes": [1, 2],
        "labels": {"to": "Bob"},
        "lid": {"tight": False},
    }
    assert made(raw) == (Box("crate", Colour.GREEN, 3, 0.5, True, [], [1, 2], {"to": "Bob"}, Lid(False)), [])


def test_a_whole_number_is_a_number_too() -> None:
    box, problems = made({"weight": 2})
    assert problems == []
    assert (box.weight, type(box.weight)) == (2.0, float)


@pytest.mark.parametrize(
    "key, value, complaint",
    [
        ("name", 5, "box.name: must be a string, not 5"),
        ("name", True, "box.name: must be a string, not true"),
        ("name", "a\0b", 'box.name: must hold no NUL character, not "a\\u0000b"'),
        ("things", ["a\0"], 'box.things: must hold no NUL character, not "a\\u0000"'),
        ("height", "5", 'box.height: must be a whole number, not "5"'),
        ("height", 5.0, "box.height: must be a whole number, not 5.0"),
        ("height", True, "box.height: must be a whole number, not true"),
        ("height", [5], "box.height: must be a whole number, not [5]"),
        ("weight", "1.5", 'box.weight: must be a number, not "1.5"'),
        ("weight", False, "box.weight: must be a number, not false"),
        ("weight", float("inf"), "box.weight: must be a finite number, not Infinity"),
        ("weight", float("nan"), "box.weight: must be a finite number, not NaN"),
        ("open", 1, "box.open: must be true or false, not 1"),
        ("open", "yes", 'box.open: must be true or false, not "yes"'),
        ("colour", "blue", 'box.colour: must be one of red, green, not "blue"'),
        ("colour", "gren", "box.colour: must be one of red, green, not \"gren\"; did you mean 'green'?"),
        ("colour", 5, "box.colour: must be one of red, green, not 5"),
        ("colour", ["red"], "box.colour: must be one of red, green, not [\"red\"]; did you mean 'red'?"),
        ("things", "a sock", 'box.things: must be a list, not "a sock"'),
        ("things", [1], "box.things: must be a string, not 1"),
        ("sizes", ["1"], 'box.sizes: must be a whole number, not "1"'),
        ("sizes", [True], "box.sizes: must be a whole number, not true"),
        ("labels", "to Ada", 'box.labels: must be a table of names and values, not "to Ada"'),
        ("labels", ["to"], 'box.labels: must be a table of names and values, not ["to"]'),
        ("labels", {"to": 5}, "box.labels: to: must be a string, not 5"),
        ("labels", {"to": {"the": "x"}}, 'box.labels: to: must be a string, not {"the": "x"}'),
        ("lid", "shut", 'box.lid: must be a table: [box.lid], not "shut"'),
        ("lid", {"tight": "no"}, 'box.lid.tight: must be true or false, not "no"'),
        ("height", 0, "box.height: must be greater than 0, not 0"),
        ("height", datetime.date(2026, 11, 23), 'box.height: must be a whole number, not "2026-11-23"'),
        ("hieght", 5, "box.hieght: unknown; did you mean 'height'?"),
        ("zzz", 5, "box.zzz: unknown"),
    ],
)
def test_what_is_wrong_is_told_with_its_path_and_the_default_stands_in(key: str, value: object, complaint: str) -> None:
    assert made({key: value}) == (Box(), [complaint])


def test_every_problem_is_told() -> None:
    _, problems = made({"name": 5, "hieght": 1, "lid": {"thight": True, "tight": 1}, "weight": -1})
    assert len(problems) == 5


def test_a_long_value_is_shown_by_its_beginning() -> None:
    _, (problem,) = made({"height": "x" * 1000})
    assert len(problem) < 120
    assert problem.endswith("xxx...")


@pytest.mark.parametrize("url", ["http://ada:hunter2@pbx:8088", "https://hunter2@pbx", "http://a:hunter2/@x@pbx"])
def test_a_password_in_a_refused_url_is_not_repeated(url: str) -> None:
    for raw in ({"height": url}, {"sizes": [url]}, {"height": url + "x" * 100}):
        _, (problem,) = made(raw)
        assert "hunter2" not in problem
        assert "pbx" in problem


def test_a_value_under_an_unknown_key_is_not_shown_since_it_may_be_a_secret() -> None:
    _, (problem,) = made({"password": "hunter2"})
    assert "hunter2" not in problem


def test_keys_that_others_read_are_left_alone_and_skipped_fields_are_unknown() -> None:
    problems: list[Problem] = []
    build(Box, {"theirs": 1, "name": "x"}, "", problems, skip=("name",), also=("theirs",))
    assert [str(problem) for problem in problems] == ["name: unknown"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["red", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = tuple(setting.name for setting in settings_of(Box))


@unhurried
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), values, max_size=6))
def test_a_table_of_any_values_makes_settings_of_the_declared_types(raw: dict[str, Any]) -> None:
    box, problems = made(raw)
    assert isinstance(box.name, str)
    assert isinstance(box.colour, Colour)
    assert type(box.height) is int
    assert type(box.weight) is float
    assert type(box.open) is bool
    assert all(isinstance(thing, str) for thing in box.things)
    assert all(type(size) is int for size in box.sizes)
    assert all(isinstance(label, str) for label in box.labels.values())
    if not problems:
        assert {key: value for key, value in raw.items() if key != "lid"} == {
            key: getattr(box, key) for key in raw if key != "lid"
        }


# --- the sample


def test_the_sample_shows_every_setting_with_its_description_and_default() -> None:
    lines = list(sample(Box, "box"))
    assert made(tomllib.loads("\n".join(lines))["box"]) == (Box(), [])
    for setting in settings_of(Box):
        if setting.name != "lid":
            assert f"# {setting.doc}" in lines
    assert "[box.lid]" in lines
    assert "# --- What closes it." in lines
    assert lines[lines.index("height = 10") - 1] == "# Centimetres."


@unhurried
@given(st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(Colour))
def test_a_value_is_written_as_toml_reads_it(value: object) -> None:
    if not (isinstance(value, int) and abs(value) >= 2**63):
        assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


@unhurried
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_a_table_is_written_as_toml_reads_it(value: dict[str, str]) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


@unhurried
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_text_of_any_kind_is_written_as_toml_reads_it(value: list[str]) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


# --- the JSON Schema


def accepts(raw: dict[str, Any]) -> bool:
    schema = json_schema(Box)
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(raw))


def test_the_json_schema_accepts_what_build_accepts() -> None:
    assert accepts({})
    assert accepts({"name": "x", "colour": "green", "sizes": [1], "lid": {"tight": False}, "weight": 2})


@pytest.mark.parametrize(
    "raw",
    [
        {"hieght": 1},
        {"height": "5"},
        {"height": True},
        {"colour": "blue"},
        {"open": 1},
        {"things": "a sock"},
        {"sizes": ["1"]},
        {"lid": "shut"},
        {"lid": {"thight": True}},
    ],
)
def test_the_json_schema_refuses_what_build_refuses(raw: dict[str, Any]) -> None:
    assert not accepts(raw)
    assert made(raw)[1]


def test_the_json_schema_tells_an_editor_descriptions_and_defaults() -> None:
    properties = json_schema(Box)["properties"]
    assert properties["height"] == {"type": "integer", "description": "Centimetres.", "default": 10}
    assert properties["colour"]["enum"] == ["red", "green"]
    assert properties["colour"]["default"] == "red"
    assert properties["things"]["default"] == ["a sock", "a shoe"]
    assert properties["lid"]["description"] == "What closes it."


@attrs.frozen
class Renamed:
    """A table with a setting that had another name."""

    hold_message: Annotated[str, text("What is said.", formerly="bridge")] = "Wait."


def test_a_former_name_is_taken_with_a_note() -> None:
    problems: list[Problem] = []
    assert build(Renamed, {"bridge": "Moment!"}, "failover", problems) == Renamed("Moment!")
    (note,) = problems
    assert not note.fatal
    assert str(note) == "failover.bridge: is called hold_message now; the old name is taken for one release"


def test_a_former_name_beside_the_new_one_is_refused() -> None:
    problems: list[Problem] = []
    assert build(Renamed, {"bridge": "Old.", "hold_message": "New."}, "failover", problems) == Renamed("New.")
    (problem,) = problems
    assert problem.fatal
    assert str(problem) == "failover.bridge: is called hold_message now: keep only that one"


def test_a_former_name_is_in_no_sample_and_no_schema() -> None:
    assert "bridge" not in "\n".join(sample(Renamed, "failover"))
    assert list(json_schema(Renamed)["properties"]) == ["hold_message"]
