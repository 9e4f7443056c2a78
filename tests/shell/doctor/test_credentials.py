"""The doctor on keys: where each comes from, what is missing, whether it lets us in; and no key is ever seen."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.doctor import Finding, State, credentials, host, render, servers
from agentd.doctor.agents import examine_agents
from agentd.doctor.credentials import examine_credentials, needed
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.secrets import is_handed_over
from agentd.doctor.servers import SHORTEST_PART, SHOWN, judge, reason
from agentd.tools.http_request import HttpRequestSettings
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.local.settings import LlmSettings, LocalSettings
from agentd_providers.registry import Provider

KEY = "sk-the-right-key-and-nobody-else's"
NAME, WHAT = "PARROT_KEY", "the parrot's key"


@attrs.frozen
class Settings:
    """Of a provider from elsewhere, that needs what a test says."""

    needs: tuple[Credential, ...] = ()


def never_opened(*_: object) -> Any:
    raise AssertionError("the doctor opens no agent")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    third_party = Provider(Settings, never_opened, lambda settings: settings.needs)

    class Point:
        value = "agentd_parrot:PROVIDER"

        @staticmethod
        def load() -> Provider:
            return third_party

    monkeypatch.setattr("agentd.plugins.installed", lambda _group: {"parrot": Point()})


pytestmark = pytest.mark.usefixtures("provider")


def agents(**needs: Sequence[Credential]) -> Config:
    return Config(agents={name: AgentConfig("parrot", settings=Settings(tuple(each))) for name, each in needs.items()})


async def found(
    needs: Sequence[Credential], environ: Mapping[str, str], directory: Path = Path("/nowhere")
) -> list[Finding]:
    findings = (await examine_credentials(agents(polly=needs), environ, directory)).get("agent polly", [])
    assert KEY not in repr(findings)
    assert KEY not in render(findings, colour=False)
    return findings


def said(finding: Finding) -> str:
    return "\n".join([finding.found, *finding.advice])


@contextmanager
def vendor(
    *,
    status: int = 401,
    body: bytes = b"",
    header: str = "Authorization",
    good: str = f"Bearer {KEY}",
    slow: float = 0.0,
) -> Iterator[tuple[str, list[str]]]:
    """A server that lets one key in, and answers all others with this status and body. Gives its URL, and the list of
    the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            time.sleep(slow)
            let_in = self.headers[header] == good
            text = b"{}" if let_in else body
            self.send_response(200 if let_in else status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/models", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def raw_server(answer: bytes, *, holds: bool = False) -> Iterator[str]:
    """A server that reads a request, sends these bytes and closes, or never does."""
    over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                over.wait(timeout=30 if holds else 0)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


# --- where a key comes from -----------------------------------------------------------------------------------


async def test_a_key_that_is_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    (finding,) = await found([Credential(NAME, WHAT, "http://127.0.0.1:1/")], {}, tmp_path)
    assert finding.failed
    assert "the parrot's key is missing" in finding.found
    assert f"install -m 600 /dev/stdin {tmp_path}/parrot-key" in said(finding)
    assert f"LoadCredential=parrot-key:{tmp_path}/parrot-key" in said(finding)
    assert f"export {NAME}=..." in said(finding)


@pytest.mark.parametrize("place", ["environment", "credential", "service"])
async def test_where_a_key_comes_from_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "parrot-key").write_text(f"{KEY}\n")
    environ, directory, told = {
        "environment": ({NAME: KEY}, Path("/nowhere"), f"in the environment variable {NAME} of this shell"),
        "credential": ({"CREDENTIALS_DIRECTORY": str(tmp_path)}, Path("/nowhere"), f"credential {tmp_path}/parrot-key"),
        "service": ({}, tmp_path, f"credential {tmp_path}/parrot-key"),
    }[place]
    (finding,) = await found([Credential(NAME, WHAT)], environ, directory)
    assert finding.state is State.OK
    assert told in finding.found


async def test_a_credential_that_is_empty_or_holds_something_else_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "parrot-key").touch()
    (empty,) = await found([Credential(NAME, WHAT)], {}, tmp_path)
    (tmp_path / "parrot-key").write_text("-----BEGIN\nABCD")
    (other,) = await found([Credential(NAME, WHAT)], {}, tmp_path)
    assert empty.failed
    assert "holds 0 characters" in empty.found
    assert other.failed
    assert "characters that no key has" in other.found
    assert "ABCD" not in said(other)


async def test_a_key_that_the_service_is_not_given_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unit() -> str:
        return "[Service]\nLoadCredential=ari-password:/etc/agentd/credentials/ari-password\n"

    monkeypatch.setattr(credentials, "unit_text", unit)
    (tmp_path / "parrot-key").write_text(KEY)
    (finding,) = await found([Credential(NAME, WHAT)], {}, tmp_path)
    assert finding.state is State.WARN
    assert "the service is not given it" in finding.found
    assert f"LoadCredential=parrot-key:{tmp_path}/parrot-key" in said(finding)


async def test_the_unit_is_what_systemd_says_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\n[ $1 = cat ] && echo LoadCredential=parrot-key:/x\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert await host.unit_text() == "" or host.SYSTEMD.is_dir()
    monkeypatch.setattr(host, "SYSTEMD", tmp_path)
    assert is_handed_over(NAME, await host.unit_text())
    systemctl.write_text("#!/bin/sh\nexit 1\n")
    assert await host.unit_text() == ""


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("LoadCredential=parrot-key:/etc/agentd/credentials/parrot-key", True),
        ("LoadCredentialEncrypted=parrot-key:/etc/parrot.cred", True),
        ("  SetCredential=parrot-key:abc", True),
        ("ImportCredential=parrot-*", True),
        ("LoadCredential=parrot:/x", False),
        ("# LoadCredential=parrot-key:/x", False),
        ("", False),
    ],
)
def test_a_unit_is_read_for_the_credentials_that_it_hands_over(line: str, given: bool) -> None:
    assert is_handed_over(NAME, f"[Service]\n{line}\n") is given


async def test_secrets_of_tools_are_looked_up_and_only_warned_of() -> None:
    headers = HttpRequestSettings(url="http://127.0.0.1:1/", secret_headers={"authorization": "CRM_TOKEN"})
    config = attrs.evolve(agents(polly=[]), tools={"crm": ToolConfig("http_request", settings=headers)})
    missing = (await examine_credentials(config, {}, Path("/nowhere")))["tool crm"]
    there = (await examine_credentials(config, {"CRM_TOKEN": KEY}, Path("/nowhere")))["tool crm"]
    assert [finding.state for finding in missing + there] == [State.WARN, State.OK]
    assert "CRM_TOKEN" in said(missing[0])
    assert KEY not in repr(there)


def test_the_local_agent_needs_the_key_of_its_server_which_is_tried_elsewhere() -> None:
    llm = LlmSettings(base_url="http://127.0.0.1:1/v1", api_key_name="LLM_KEY")
    needs, findings = needed(Config(agents={"default": AgentConfig(settings=LocalSettings(llm=llm))}))
    assert not findings
    assert [(need.check, need.credential.secret, need.credential.check_url) for need in needs] == [
        ("agent default", "LLM_KEY", "")
    ]


# --- whether it lets us in --------------------------------------------------------------------------------------


async def test_a_good_key_is_let_in() -> None:
    with vendor() as (url, _):
        there, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert (there.state, tried.state) == (State.OK, State.OK)
    assert f"{WHAT}: {url} takes the key" in tried.found


@pytest.mark.parametrize(
    ("scheme", "header", "good"),
    [
        (Scheme.TOKEN, "Authorization", f"Token {KEY}"),
        (Scheme.PLAIN, "X-Api-Key", KEY),
    ],
)
async def test_a_key_is_sent_as_its_vendor_wants_it(scheme: Scheme, header: str, good: str) -> None:
    with vendor(header=header, good=good) as (url, _):
        _, tried = await found([Credential(NAME, WHAT, url, scheme, header)], {NAME: KEY})
    assert tried.state is State.OK


async def test_a_refused_key_is_a_failure_and_what_the_server_says_is_told() -> None:
    body = json.dumps({"error": {"message": "The project\nis archived."}}).encode()
    with vendor(body=body) as (url, _):
        there, tried = await found([Credential(NAME, WHAT, url)], {NAME: "another"})
    assert there.state is State.OK
    assert tried.failed
    assert "the server refuses the key" in tried.found
    assert "HTTP 401 (The project is archived.)" in tried.found
    assert NAME in said(tried)


async def test_a_server_that_repeats_the_key_is_not_quoted() -> None:
    wrong = "sk-wrong-0123456789"
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {wrong[:8]}***{wrong[-4:]}."}}).encode()
    with vendor(body=body) as (url, _):
        findings = await found([Credential(NAME, WHAT, url)], {NAME: wrong})
    assert findings[1].failed
    assert "Incorrect" not in repr(findings)
    assert wrong[:8] not in repr(findings)


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (200, State.OK, "takes the key"),
        (204, State.OK, "takes the key"),
        (401, State.FAIL, "refuses the key"),
        (403, State.FAIL, "refuses the key"),
        (402, State.WARN, "no credit left"),
        (429, State.WARN, "limit is reached"),
        (301, State.WARN, "HTTP 301"),
        (404, State.WARN, "base_url"),
        (500, State.WARN, "HTTP 500 (out of order)"),
    ],
)
def test_each_answer_is_judged(status: int, state: State, words: str) -> None:
    finding = judge(Credential(NAME, WHAT, "https://api.example/v1/models?page=1"), status, "out of order")
    assert finding.state is state
    assert words in said(finding)
    assert "page=1" not in said(finding)


async def test_a_redirect_does_not_carry_the_key_elsewhere() -> None:
    with vendor() as (elsewhere, asked), raw_server(f"HTTP/1.1 307 x\r\nLocation: {elsewhere}\r\n\r\n".encode()) as url:
        _, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert tried.state is State.WARN
    assert asked == []


async def test_one_key_for_several_things_is_tried_once() -> None:
    with vendor() as (url, asked):
        listen, think = Credential(NAME, "for listening", url), Credential(NAME, "for thinking", url)
        findings = await examine_credentials(agents(one=[listen, think], two=[think]), {NAME: KEY}, Path("/nowhere"))
    assert asked == ["/v1/models"]
    assert [finding.found.partition(":")[0] for finding in findings["agent one"]] == ["for listening; for thinking"] * 2
    assert [finding.state for finding in findings["agent two"]] == [State.OK, State.OK]


async def test_without_a_network_a_key_is_not_tried_and_nothing_fails() -> None:
    needs = [
        Credential(NAME, WHAT, f"http://127.0.0.1:{closed_port()}/"),
        Credential(NAME, WHAT, "https://no-such-host.invalid/"),
    ]
    findings = await found(needs, {NAME: KEY})
    tried = [finding for finding in findings if "tried out" in finding.found]
    assert [finding.state for finding in tried] == [State.SKIPPED, State.SKIPPED]
    assert all("Offline?" in finding.found for finding in tried)


async def test_a_slow_server_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "DEADLINE", 0.2)
    with vendor(slow=1.0) as (url, _):
        _, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert tried.state is State.SKIPPED
    assert "no answer within 0.2 s" in tried.found


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 401", f"{KEY}\r\n\r\n".encode(), f"HTTP/1.1 401 x\r\n{KEY}\r\n\r\n".encode()],
    ids=["closes", "is cut off", "is no server of HTTP", "sends no header"],
)
async def test_a_server_in_trouble_is_a_warning_that_quotes_nothing(answer: bytes) -> None:
    with raw_server(answer) as url:
        _, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert tried.state is State.WARN
    assert "came to nothing (RemoteProtocolError)" in tried.found


async def test_a_server_that_cannot_be_trusted_is_no_sign_of_being_offline() -> None:
    with vendor() as (url, asked):
        _, tried = await found([Credential(NAME, WHAT, url.replace("http:", "https:"))], {NAME: KEY})
    assert tried.state is State.WARN
    assert "cannot be talked to safely: [SSL" in tried.found
    assert asked == []


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("body", [b'{"message": "', b"x" * 100_000])
async def test_a_refusal_whose_body_never_ends_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, body: bytes, holds: bool
) -> None:
    monkeypatch.setattr(servers, "BODY_DEADLINE", 0.1)
    head = b"HTTP/1.1 401 x\r\nContent-Length: 99999999\r\n\r\n"
    with raw_server(head + body, holds=holds) as url:
        _, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert tried.failed
    assert tried.found.endswith("HTTP 401")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1", "nothing"])
async def test_an_address_that_is_none_is_a_warning(url: str) -> None:
    _, tried = await found([Credential(NAME, WHAT, url)], {NAME: KEY})
    assert tried.state is State.WARN


# --- servers that want no key -----------------------------------------------------------------------------------


async def test_a_server_without_keys_is_asked_whether_it_is_there() -> None:
    with vendor(status=200) as (url, _):
        port = url.split(":")[2].partition("/")[0]
        needs = [Credential("", "the model's server", url), Credential("", "Wyoming", f"tcp://127.0.0.1:{port}")]
        model, wyoming = await found(needs, {})
    assert (model.state, model.found) == (State.OK, f"the model's server: {url} answers")
    assert (wyoming.state, wyoming.found) == (State.OK, f"Wyoming: tcp://127.0.0.1:{port} takes connections")


async def test_a_server_without_keys_that_is_not_there_or_wants_one_is_a_failure() -> None:
    port = closed_port()
    with vendor() as (url, _):
        needs = [
            Credential("", "one", url),
            Credential("", "two", f"http://127.0.0.1:{port}/"),
            Credential("", "three", f"tcp://127.0.0.1:{port}"),
        ]
        wants, *absent = await found(needs, {})
    assert wants.failed
    assert "api_key_name" in said(wants)
    assert [finding.failed for finding in absent] == [True, True]
    assert all("is it running" in said(finding) for finding in absent)


# --- what a server says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"error": {"message": "No."}}', "No."),
        ('{"error": "No."}', "No."),
        ('{"err_code": "INVALID_AUTH", "err_msg": "No."}', "No."),
        ('{"message": "No.\\u001b[31m\\nReally."}', "No. [31m Really."),
        ('{"detail": [{"loc": 1}]}', ""),
        ("<html>No.</html>", ""),
        ("[" * 100_000, ""),
        ('{"a": ' + "[" * 400 + "]" * 400 + ', "error": "no"}', ""),
        ('"' + "n" * 1000 + '"', "n" * SHOWN),
        ("", ""),
    ],
)
def test_a_reason_is_one_short_printable_line(body: str, shown: str) -> None:
    assert reason(body.encode(), "another") == shown


@given(st.text(min_size=1), st.text())
def test_no_part_of_a_key_is_in_a_reason(key: str, message: str) -> None:
    for text in (message, message + key, key[1:] + message):
        shown = reason(json.dumps({"message": text}).encode(), key)
        parts = {key[at : at + SHORTEST_PART] for at in range(max(1, len(key) - SHORTEST_PART + 1))}
        assert not [part for part in parts if part in shown]
        assert shown.isprintable()


# --- in the doctor -----------------------------------------------------------------------------------------------


async def test_an_agents_keys_and_who_stands_in_for_it_are_among_its_lines() -> None:
    polly = AgentConfig("parrot", fallback=["spare", "last"], settings=Settings((Credential(NAME, WHAT),)))
    spare = AgentConfig("parrot", settings=Settings())
    config = Config(agents={"polly": polly, "spare": spare, "last": spare})
    findings = await examine_agents(config, {NAME: KEY}, Path("/nowhere"), RunningDaemon(""))
    lines = [finding.found for finding in findings if finding.check == "agent polly"]
    assert f"{WHAT}: in the environment variable {NAME} of this shell" in lines
    assert "when it fails, its calls go to: spare, then last" in lines


async def test_a_provider_that_cannot_tell_its_keys_is_a_finding_and_the_others_are_examined() -> None:
    broken = AgentConfig("parrot", settings=None)  # its `credentials` asks for an attribute that is not there
    good = AgentConfig("parrot", settings=Settings((Credential(NAME, WHAT),)))
    config = Config(agents={"broken": broken, "good": good})
    findings = await examine_credentials(config, {NAME: KEY}, Path("/nowhere"))
    (told,) = findings["agent broken"]
    assert told.failed
    assert "the provider 'parrot' has a defect: AttributeError" in told.found
    assert not [finding for finding in findings["agent good"] if finding.failed]
