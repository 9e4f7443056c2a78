"""Addresses, IPv6 everywhere a host can stand, and ARI below a prefix.

Sources: voipbin/monorepo PR 1209 (an advertised AudioSocket address without brackets), asterisk/node-ari-client PR 124,
ari4java 41 and phpari 24 (http.conf `prefix`), RFC 3986 section 3.2.2, RFC 3493 section 5.3, Asterisk main/netsock2.c.
"""

import errno
import socket
import tomllib

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentd.accepting import open_listeners
from agentd.addresses import canonical, collide, from_here, host_port, split_host_port
from agentd.allow_list import address_of
from agentd.ari.urls import events_url, shown_prefix
from agentd.config.file import parse_config
from agentd.config.settings import Config
from agentd.doctor.audiosocket import _as_arguments
from agentd.doctor.pbx import ari_advice, prefix_advice
from agentd.errors import AddressUnusable, AriRejected, AriUnavailable, ConfigError
from agentd.service.catalogue import installed_catalogue

AGENT = "[agents.default]\n"
CATALOGUE = installed_catalogue()
has_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")


def parsed(toml: str) -> Config:
    return parse_config(tomllib.loads(f"{toml}\n{AGENT}"), {}, CATALOGUE)


def refusal(toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(toml)
    return str(caught.value)


# --- what Asterisk is told


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "127.0.0.1:8090"),
        ("0.0.0.0", "127.0.0.1:8090"),
        ("localhost", "127.0.0.1:8090"),
        ("::", "127.0.0.1:8090"),
        ("0:0:0:0:0:0:0:0", "127.0.0.1:8090"),
        ("::1", "[::1]:8090"),
        ("0::1", "[::1]:8090"),
        ("::ffff:127.0.0.1", "127.0.0.1:8090"),
        ("::ffff:0.0.0.0", "127.0.0.1:8090"),
        ("2001:db8::7", "[2001:db8::7]:8090"),
        ("2001:DB8:0:0::7", "[2001:db8::7]:8090"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8090"),
        ("192.0.2.7", "192.0.2.7:8090"),
    ],
)
def test_asterisk_is_told_an_address_that_it_can_parse_and_reach(host: str, told: str) -> None:
    assert parsed(f'[audiosocket]\nhost = "{host}"').advertised_socket(8090) == told


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::", "http://127.0.0.1:15000"),
        ("0.0.0.0", "http://127.0.0.1:15000"),
        ("::1", "http://[::1]:15000"),
        ("2001:db8::7", "http://[2001:db8::7]:15000"),
        ("localhost", "http://127.0.0.1:15000"),
    ],
)
def test_the_health_page_is_found_from_here(host: str, url: str) -> None:
    assert parsed(f'[health]\nhost = "{host}"').health.url == url


@pytest.mark.parametrize(
    "told", ["pbx.lan:8090", "pbx_1:8090", "192.0.2.7:1", "[::1]:8090", "[fe80::1%eth0]:65535", ""]
)
def test_an_address_that_asterisk_can_parse_may_be_advertised(told: str) -> None:
    assert parsed(f'[audiosocket]\nadvertise = "{told}"').audiosocket.advertise == told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("::1:8090", "an IPv6 address stands in brackets: [::1]:8090"),
        ("2001:db8::7:8090", "an IPv6 address stands in brackets: [2001:db8::7]:8090"),
        ("2001:db8:1:2:3:4:5:6:8090", "an IPv6 address stands in brackets: [2001:db8:1:2:3:4:5:6]:8090"),
        ("fe80::1%eth0:8090", "an IPv6 address stands in brackets: [fe80::1%eth0]:8090"),
        ("[::1]", "an IPv6 address stands in brackets: [::1]:8090"),
        ("2001:db8::beef", "an IPv6 address stands in brackets: [2001:db8::beef]:8090"),
        ("[::1]8090", "must be address:port"),
        ("[::1:8090", "must be address:port"),
        ("[pbx]:8090", "must be address:port"),
        ("[127.0.0.1]:8090", "must be address:port"),
        ("pbx:0", "must be address:port"),
        ("pbx:+90", "must be address:port"),
        ("pbx:", "must be address:port"),
        ("tcp://pbx:8090", "must be address:port"),
        ("a user@pbx:8090", "must be address:port"),
        ("pbx/8090:1", "must be address:port"),
        (" pbx:8090", "must be address:port"),
        ("0.0.0.0:8090", "0.0.0.0 is no address that can be connected to"),
        ("[::]:8090", ":: is no address that can be connected to"),
    ],
)
def test_an_address_that_asterisk_cannot_parse_is_refused_with_what_is_expected(told: str, expected: str) -> None:
    assert f"audiosocket.advertise: {expected}" in refusal(f'[audiosocket]\nadvertise = "{told}"').replace(
        "must be address:port; an", "an"
    )


@pytest.mark.parametrize("table", ["audiosocket", "health"])
@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_an_address_to_listen_on_has_no_brackets_and_the_refusal_says_so(table: str, host: str) -> None:
    assert "an IPv6 address stands without brackets here" in refusal(f'[{table}]\nhost = "{host}"')


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(1, 65535))
def test_what_is_told_can_be_taken_apart_again(address: object, port: int) -> None:
    assert split_host_port(host_port(str(address), port)) == (str(address), port)


@given(st.text(max_size=30))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    try:
        host, port = split_host_port(text)
    except ValueError as error:
        assert "must be address:port" in str(error)
    else:
        assert host_port(host, port).rpartition(":")[0] == text.rpartition(":")[0]


# --- who collides with whom


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::", "localhost", True),
        ("0::0", "0.0.0.0", True),
        ("localhost", "::1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("127.0.0.1", "::1", False),
        ("::1", "2001:db8::1", False),
    ],
)
def test_two_listeners_collide_where_the_kernel_says_so(one: str, other: str, together: bool) -> None:
    assert collide(one, other) is collide(other, one) is together
    toml = f'[health]\nhost = "{one}"\nport = 9000\n[audiosocket]\nhost = "{other}"\nport = 9000'
    if together:
        assert "health.port: port 9000 is audiosocket.port already" in refusal(toml)
    else:
        parsed(toml)


# --- listening


async def reached(listeners: list[trio.SocketListener], host: str) -> str:
    """From which address a connection to `host` is seen to come; empty where it cannot be made."""
    port = listeners[0].socket.getsockname()[1]
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return ""
    async with stream:
        for listener in listeners:
            with trio.move_on_after(0.2):
                async with await listener.accept() as accepted:
                    return address_of(accepted)
    return ""


@has_ipv6
@pytest.mark.parametrize(
    ("host", "by_ipv4", "by_ipv6"),
    [
        ("::", "127.0.0.1", "::1"),
        ("0::0", "127.0.0.1", "::1"),
        ("localhost", "127.0.0.1", "::1"),
        ("0.0.0.0", "127.0.0.1", ""),
        ("127.0.0.1", "127.0.0.1", ""),
        ("::ffff:127.0.0.1", "127.0.0.1", ""),
        ("::1", "", "::1"),
    ],
)
async def test_a_listener_serves_the_families_of_its_host_on_one_port(host: str, by_ipv4: str, by_ipv6: str) -> None:
    listeners = await open_listeners(host, 0)
    try:
        assert len({listener.socket.getsockname()[1] for listener in listeners}) == 1
        assert (await reached(listeners, "127.0.0.1"), await reached(listeners, "::1")) == (by_ipv4, by_ipv6)
    finally:
        for listener in listeners:
            await listener.aclose()


@has_ipv6
@pytest.mark.parametrize(
    ("taken", "wanted"), [("0.0.0.0", "::"), ("::", "0.0.0.0"), ("::1", "localhost"), ("::", "::1")]
)
async def test_a_port_that_is_taken_in_one_family_is_refused_and_nothing_stays_open(taken: str, wanted: str) -> None:
    (held,) = await open_listeners(taken, 0)
    port = held.socket.getsockname()[1]
    async with held:
        with pytest.raises(OSError, match=r"98|in use"):
            await open_listeners(wanted, port)
    for listener in await open_listeners(wanted, port):
        await listener.aclose()


async def test_a_host_without_ipv6_still_has_its_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = trio.open_tcp_listeners

    async def without_ipv6(port: int, *, host: str, backlog: int | None = None) -> list[trio.SocketListener]:
        if ":" in host:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return await genuine(port, host=host, backlog=backlog)

    monkeypatch.setattr(trio, "open_tcp_listeners", without_ipv6)
    (only,) = await open_listeners("localhost", 0)
    async with only:
        assert only.socket.getsockname()[0] == "127.0.0.1"


def test_the_refusal_of_an_address_names_it_as_it_is_written() -> None:
    assert str(AddressUnusable(OSError(98, "in use"), "::1", 8090, "audiosocket")).startswith("[::1]:8090, as ")


@pytest.mark.parametrize(("host", "here"), [("::", "127.0.0.1"), ("::1", "::1"), ("pbx", "pbx")])
def test_from_here(host: str, here: str) -> None:
    assert from_here(host) == here
    assert canonical(here) == here


# --- ARI: its address and its prefix


@pytest.mark.parametrize(
    ("url", "events"),
    [
        ("http://127.0.0.1:8088", "ws://127.0.0.1:8088/ari/events?app=agentd"),
        ("http://[::1]:8088", "ws://[::1]:8088/ari/events?app=agentd"),
        ("http://127.0.0.1:8088/", "ws://127.0.0.1:8088/ari/events?app=agentd"),
        ("http://127.0.0.1:8088/asterisk", "ws://127.0.0.1:8088/asterisk/ari/events?app=agentd"),
        ("https://pbx.lan/asterisk/", "wss://pbx.lan/asterisk/ari/events?app=agentd"),
        ("http://[2001:db8::7]:8088/a/b", "ws://[2001:db8::7]:8088/a/b/ari/events?app=agentd"),
    ],
)
def test_the_event_stream_is_below_the_prefix(url: str, events: str) -> None:
    assert events_url(parsed(f'[asterisk]\nurl = "{url}"').asterisk.url, "agentd") == events


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://::1:8088", "an IPv6 address in brackets: http://[::1]:8088"),
        ("http://2001:db8::7:8088/asterisk", "an IPv6 address in brackets"),
        ("http://pbx:8088/ari", "without '/ari', which agentd adds itself"),
        ("http://pbx:8088/asterisk/ari/", "without '/ari', which agentd adds itself"),
        ("http://pbx:8088/../ari", "'/../ari' is none"),
        ("http://pbx:8088/a%2Fb", "is none"),
        ("http://pbx:8088/ü", "is none"),
        ("http://pbx:8088//asterisk", "is none"),
        ("http://pbx:8088/asterisk?x=1", "without 'x=1'"),
        ("http://pbx:8088/#ari", "without 'ari'"),
    ],
)
def test_what_is_no_address_of_asterisk_s_is_refused_with_what_is_expected(url: str, expected: str) -> None:
    assert expected in refusal(f'[asterisk]\nurl = "{url}"')


# --- what the doctor advises can be pasted


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://127.0.0.1:8088", "enabled = yes, bindaddr = 127.0.0.1, bindport = 8088 "),
        ("http://[::1]:8088/", "enabled = yes, bindaddr = ::1, bindport = 8088 "),
        ("http://127.0.0.1:8088/asterisk", "bindaddr = 127.0.0.1, bindport = 8088, prefix = asterisk "),
        ("http://127.0.0.1", "bindaddr = 127.0.0.1, bindport = 80 "),
        ("https://[::1]:8089", "enabled = yes, tlsenable = yes, tlsbindaddr = [::1]:8089 "),
    ],
)
def test_the_doctor_says_what_http_conf_must_say_for_this_address(url: str, settings: str) -> None:
    advice = ari_advice(AriUnavailable("no answer"), parsed(f'[asterisk]\nurl = "{url}"'))
    assert any(settings in line for line in advice)


def test_the_doctor_names_http_conf_s_prefix_where_ari_is_not_found() -> None:
    advice = ari_advice(AriRejected("HTTP 404", 404), parsed('[asterisk]\nurl = "http://[::1]:8088"'))
    assert any("http.conf" in line and "prefix" in line and "url = http://[::1]:8088/PREFIX" in line for line in advice)


STATUS = "HTTP Server Status:\nPrefix: {}\nServer: Asterisk\nServer Enabled and Bound to 127.0.0.1:8088\n"


@pytest.mark.parametrize(
    ("prefix", "url", "advised"),
    [
        ("/asterisk", "http://127.0.0.1:8088", "url = http://127.0.0.1:8088/asterisk"),
        ("/asterisk", "http://[::1]:8088/pbx", "url = http://[::1]:8088/asterisk"),
        ("", "http://127.0.0.1:8088/asterisk", "url = http://127.0.0.1:8088"),
        ("/asterisk", "http://127.0.0.1:8088/asterisk", ""),
        ("", "http://127.0.0.1:8088", ""),
    ],
)
def test_the_prefix_that_asterisk_shows_is_advised(prefix: str, url: str, advised: str) -> None:
    assert shown_prefix(STATUS.format(prefix)) == prefix
    advice = prefix_advice(STATUS.format(prefix), url)
    assert [line.endswith(advised) for line in advice] == [True] * bool(advised)
    assert prefix_advice(None, url) == ()


@pytest.mark.parametrize(
    ("told", "arguments"),
    [("[::1]:8090", "::1 8090"), ("pbx:8090", "pbx 8090"), ("127.0.0.1:8090", "127.0.0.1 8090"), ("pbx", "pbx")],
)
def test_nc_is_advised_with_arguments_that_it_takes(told: str, arguments: str) -> None:
    assert _as_arguments(told) == arguments
