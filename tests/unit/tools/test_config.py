"""[tools.NAME] of agent.toml: what is read, and every problem with its path."""

import tomllib

import pytest

from agentd.config.settings import Config, ToolConfig
from agentd.errors import ConfigError
from agentd.tools.hang_up import HangUpSettings
from agentd.tools.http_request import HttpRequestSettings, Method
from agentd.tools.registry import Toolbox, find_kind, kind_names
from agentd.tools.transfer import TransferSettings
from tests.installed import parse_config

SHOP = """
[agents.shop]
tools = ["hang_up", "operator", "order"]

[tools.operator]
kind = "transfer"
description = "To a person."
[tools.operator.transfer]
destinations = { sales = "200@from-internal", "the boss" = "201@from-internal" }

[tools.order]
kind = "http_request"
deadline = 3
[tools.order.http_request]
url = "https://shop.example/orders/{number}"
parameters = '{"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}'
secret_headers = { Authorization = "SHOP_TOKEN" }
"""


def config(toml: str) -> Config:
    return parse_config(tomllib.loads(toml), {})


def problems(tools: str, names: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(f"[agents.shop]\ntools = [{names}]\n{tools}")
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_the_tools_of_a_shop() -> None:
    read = config(SHOP)
    assert read.agents["shop"].tools == ["hang_up", "operator", "order"]
    assert read.tools["hang_up"] == ToolConfig("hang_up", settings=HangUpSettings())
    assert read.tools["operator"] == ToolConfig(
        "transfer",
        "To a person.",
        settings=TransferSettings({"sales": "200@from-internal", "the boss": "201@from-internal"}),
    )
    order = read.tools["order"]
    assert order.deadline == 3.0
    assert isinstance(order.settings, HttpRequestSettings)
    assert order.settings.method is Method.GET
    assert order.settings.secret_headers == {"Authorization": "SHOP_TOKEN"}


def test_a_kind_that_works_by_itself_needs_no_table() -> None:
    assert set(config("[agents.a]\ntools = ['hang_up', 'send_dtmf']").tools) == {"hang_up", "send_dtmf"}


def test_a_tool_that_no_agent_has_is_checked_and_left_out() -> None:
    assert config("[agents.a]\n[tools.bye]\nkind = 'hang_up'").tools == {}
    assert problems("[tools.bye]\nkind = 'hangup'") != []


def test_a_table_may_be_called_as_its_kind() -> None:
    read = config("[agents.a]\ntools = ['hang_up']\n[tools.hang_up]\ndescription = 'Bye.'")
    assert read.tools == {"hang_up": ToolConfig("hang_up", "Bye.", settings=HangUpSettings())}


GOOD = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'
HTTP = "[tools.ask]\nkind = 'http_request'\n[tools.ask.http_request]\n"


@pytest.mark.parametrize(
    ("tools", "names", "complaint"),
    [
        ("", "'hangup'", "agents.shop.tools: there is no tool 'hangup'; did you mean 'hang_up'?"),
        ("", "'weather'", "agents.shop.tools: there is no tool 'weather'; there are: hang_up, send_dtmf"),
        (
            "",
            "'transfer'",
            "agents.shop.tools: there is no tool 'transfer'; it needs settings: [tools.transfer.transfer]",
        ),
        (
            "[tools.x]\nkind = 'transfr'",
            "",
            "tools.x.kind: there is no kind of tools 'transfr'; did you mean 'transfer'?",
        ),
        ("[tools.x]", "", "tools.x.kind: there is no kind of tools 'x'; there are: hang_up, http_request"),
        ("[tools.x]\nkind = 7", "", "tools.x.kind: must be a string, not 7"),
        ("[tools.'x y']\nkind = 'hang_up'", "", "tools.x y: a tool's name has 1 to 64 of the characters"),
        (f"[tools.{'x' * 65}]\nkind = 'hang_up'", "", "a tool's name has 1 to 64 of the characters"),
        ("[tools.hang_up]\nkind = 'send_dtmf'", "", "tools.hang_up.kind: a tool called hang_up is of that kind"),
        ("[tools.transfer]", "", "tools.transfer.transfer.destinations: must name at least one"),
        ("[tools.hang_up]\ndeadline = 0", "", "tools.hang_up.deadline: must be greater than 0, not 0"),
        ("[tools.hang_up]\ndeadlin = 1", "", "tools.hang_up.deadlin: unknown; did you mean 'deadline'?"),
        ("[tools]\nhang_up = 7", "", "tools: must be tables: [tools.NAME]"),
        ("[tools.hang_up]\nhang_up = 7", "", "tools.hang_up.hang_up: must be a table: [tools.hang_up.hang_up]"),
        (
            "[tools.transfer.transfer]\ndestinations = { sales = '200' }",
            "",
            'tools.transfer.transfer.destinations: sales: a destination is "extension@context"',
        ),
        (
            "[tools.transfer.transfer]\ndestinations = { sales = 200 }",
            "",
            "tools.transfer.transfer.destinations: sales: must be a string, not 200",
        ),
        (
            "[tools.transfer.transfer]\ndestinations = { a = '1@x' }\ndescriptions = { b = 'B' }",
            "",
            "tools.transfer.transfer.descriptions: there is no destination 'b'",
        ),
        ("[tools.http_request]", "", "tools.http_request.http_request.url: must be the URL of the endpoint"),
        (f"{HTTP}url = 'http://{{host}}/'", "", "tools.ask.http_request.url: must name its host"),
        (
            f"{HTTP}url = 'http://h/{{b}}'\nmethod = 'PUT'\nparameters = '{GOOD}'",
            "",
            "{b} must be one of the parameters, and required",
        ),
        (f"{HTTP}url = 'http://h/'\nparameters = '{GOOD}'", "", "a goes nowhere: a GET request needs {a} in its url"),
        (f"{HTTP}url = 'http://h/'\nparameters = '{{'", "", "tools.ask.http_request.parameters: must be JSON"),
        (f"{HTTP}url = 'http://h/'\nmethod = 'PATCH'", "", "must be one of GET, POST, PUT, DELETE"),
        (f"{HTTP}url = 'http://h/'\nmax_response = 9000", "", "must be from 1 to 8000"),
        (
            f"{HTTP}url = 'http://h/'\nheaders = {{ Host = 'x' }}",
            "",
            "headers: Host is not for the configuration to set",
        ),
        (f"{HTTP}url = 'http://h/'\nheaders = {{ 'X y' = 'x' }}", "", "'X y' is no name of a header"),
        (f"{HTTP}url = 'http://h/'\nheaders = {{ X = \"a\\r\\nb\" }}", "", "X: a header's value is printable ASCII"),
    ],
)
def test_problems_are_told_with_their_path(tools: str, names: str, complaint: str) -> None:
    (problem,) = problems(tools, names)
    assert complaint in problem


@pytest.mark.parametrize(
    "setting", ["headers = { Authorization = 'hunter2' }", "secret_headers = { Authorization = 'hunter2' }"]
)
def test_a_secret_in_the_file_is_refused_and_not_shown(setting: str) -> None:
    (problem,) = problems(f"{HTTP}url = 'http://h/'\n{setting}")
    assert "Authorization" in problem
    assert "hunter2" not in problem


KEY = "f81d4fae7dec11d0a76500a0c91e6bf6"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Shop", f"Bearer {KEY}"),
        ("X-Shop", "Basic YWRhOmxvdmVsYWNl"),
        ("X-Shop", f"sk-{KEY}"),
        ("X-Shop", KEY),
        ("X-Auth-Token", "hunter2"),
        ("Api-Key", "hunter2"),
    ],
)
def test_a_header_whose_value_looks_like_a_secret_is_taken_with_a_note_and_not_shown(header: str, value: str) -> None:
    read = config(f"[agents.a]\ntools = ['ask']\n{HTTP}url = 'http://h/'\nheaders = {{ {header} = '{value}' }}")
    (note,) = read.notes
    assert note == (
        f"tools.ask.http_request.headers: the value of {header} looks like a secret: it belongs into secret_headers"
    )
    tool = Toolbox.of(read).tools["ask"].tool
    assert value not in note + repr(read) + str(read) + repr(tool)
    assert header in repr(tool)


def test_headers_that_tell_nothing_secret_are_shown_and_not_noted() -> None:
    headers = "{ Accept = 'application/vnd.github.v3+json', X-Author = 'Ada Lovelace', X-Api-Version = '2024-10-01' }"
    read = config(f"[agents.a]\ntools = ['ask']\n{HTTP}url = 'http://h/'\nheaders = {headers}")
    assert read.notes == ()
    assert "Ada Lovelace" in repr(read)


def test_a_key_in_a_url_s_path_is_noted_and_not_shown() -> None:
    read = config(f"[agents.a]\ntools = ['ask']\n{HTTP}url = 'https://hooks.example/{KEY}/send'")
    (note,) = read.notes
    assert note.startswith("tools.ask.http_request.url: looks as if it held a secret")
    assert KEY not in note + repr(read)


def test_with_a_body_every_argument_has_a_place() -> None:
    toml = f"[agents.a]\ntools = ['ask']\n{HTTP}url = 'http://h/'\nmethod = 'POST'\nparameters = '{GOOD}'"
    assert "ask" in config(toml).tools


# --- the tools that are made of it


def test_an_agent_is_offered_what_it_names() -> None:
    read = config(SHOP + "[agents.other]\ntools = ['order']")
    box = Toolbox.of(read)
    offered = box.of_agent(read.agents["shop"])
    assert list(offered) == ["hang_up", "operator", "order"]
    assert offered["operator"].tool.declaration.description == "To a person."
    assert offered["order"].deadline == 3.0
    assert list(box.of_agent(read.agents["other"])) == ["order"]


def test_without_ari_there_are_no_transfers_and_no_tones() -> None:
    read = config(SHOP.replace('"hang_up"', '"hang_up", "send_dtmf"'))
    assert list(Toolbox.of(read).of_agent(read.agents["shop"], ari=False)) == ["hang_up", "order"]


def test_every_kind_is_declared_by_a_good_schema_under_any_name() -> None:
    for kind in kind_names():
        table = f"[tools.x]\nkind = '{kind}'\n"
        if kind == "transfer":
            table += "[tools.x.transfer]\ndestinations = { a = '1@b' }\n"
        if kind == "http_request":
            table += "[tools.x.http_request]\nurl = 'http://h/'\n"
        read = config(f"[agents.a]\ntools = ['x']\n{table}")
        declaration = Toolbox.of(read).tools["x"].tool.declaration
        assert declaration.name == "x"
        assert declaration.description


def test_a_kind_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="there are: hang_up, http_request, send_dtmf, transfer"):
        find_kind("weather")
