"""The URL of a request: whatever the arguments are, scheme, host, port and the shape of the path are the template's."""

from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.contract import ToolError
from agentd.tools.http_request import _url, fill

TEMPLATE = "https://crm.example:8443/v1/customers/{id}/orders?state={state}&limit=5"


def test_placeholders_are_filled_from_the_arguments() -> None:
    url = fill(TEMPLATE, {"id": 17, "state": "open"})
    assert url == "https://crm.example:8443/v1/customers/17/orders?state=open&limit=5"


def test_everything_that_means_something_to_a_url_is_encoded() -> None:
    url = fill(TEMPLATE, {"id": "a b;?#&%@:é", "state": "x&admin=1#/../"})
    assert url == (
        "https://crm.example:8443/v1/customers/a%20b%3B%3F%23%26%25%40%3A%C3%A9/orders"
        "?state=x%26admin%3D1%23%2F..%2F&limit=5"
    )


@pytest.mark.parametrize(("value", "word"), [(True, "true"), (False, "false"), (1.5, "1.5"), (-3, "-3")])
def test_a_number_is_written_as_json_writes_it(value: object, word: str) -> None:
    assert fill("http://h/{x}", {"x": value}) == f"http://h/{word}"


@pytest.mark.parametrize("value", ["", ".", "..", "../x", "a/b", "a\\b", "/", "x\n", "\x00", None, [], {}])
def test_what_would_leave_its_segment_of_the_path_is_refused(value: object) -> None:
    with pytest.raises(ToolError):
        fill(TEMPLATE, {"id": value, "state": "open"})


def test_dots_are_seen_also_when_two_placeholders_make_them() -> None:
    with pytest.raises(ToolError, match=r"\. and \.\."):
        fill("http://h/{x}{y}/z", {"x": ".", "y": "."})


texts = st.text(st.characters(codec="utf-8"))
ATTACKS = st.sampled_from(
    [
        "..",
        "%2e%2e",
        "@evil.example",
        "//evil.example",
        "evil.example:80",
        "?",
        "#",
        "%",
        "\r\nHost: evil",
        ";",
        ":8080",
    ]
)


@given(texts | ATTACKS, texts | ATTACKS)
def test_no_argument_reaches_another_endpoint(identity: str, state: str) -> None:
    try:
        url = fill(TEMPLATE, {"id": identity, "state": state})
    except ToolError:
        return
    for parts in (urlsplit(url), urlsplit(str(httpx.URL(url)))):  # as it is written, and as the HTTP library reads it
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "crm.example:8443", "")
        before, version, collection, segment, last = parts.path.split("/")
        assert [before, version, collection, last] == ["", "v1", "customers", "orders"]
        assert unquote(segment) == identity
        assert parse_qsl(parts.query, keep_blank_values=True) == [("state", state), ("limit", "5")]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:8000/x",
        "https://crm.example/{a}/x?b={b}",
        "https://crm.example?q={q}",
        "http://[::1]:9/{a}",
        "http://crm.example/settings?key=opening_hours",
        "http://crm.example/settings?key={name}&token={token}",
    ],
)
def test_templates_that_are_good(url: str) -> None:
    assert _url(url) is None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://crm.example/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("http://{host}/x", "must name its host"),
        ("http://crm.{zone}/x", "must name its host"),
        ("http://crm.example:{port}/x", "must be a URL"),
        ("http://ada:pw@crm.example/", "must hold no user or password"),
        ("http://crm.example/x?api_key=abc", "must hold no key (api_key=)"),
        ("http://crm.example/x?key=A1b2C3d4&y={y}", "must hold no key (key=)"),
        ("http://crm.example/{a", "belongs to no {placeholder}"),
        ("http://crm.example/{a b}", "must be a URL"),
        ("http://crm.example/{0}", "belongs to no {placeholder}"),
        ("http://crm.example/a/../{b}", "no . or .."),
        ("http://crm.example/%2e%2e/{b}", "no . or .."),
        ("http://crm.example/x#{b}", "without # and"),
        ("http://crm.example\\x", "without # and"),
        ("http://crm.example/ü", "must be ASCII"),
    ],
)
def test_templates_that_are_not(url: str, complaint: str) -> None:
    assert complaint in (_url(url) or "")
