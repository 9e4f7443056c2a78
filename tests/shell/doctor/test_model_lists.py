"""The models that agents use, as their servers list them: the doctor and `agentd models vendors` ask with the agents'
keys, and tell which of them end. The servers are fakes on loopback."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import trio

from agentd.cli import main
from agentd.config.settings import Config
from agentd.doctor import Finding, State, credentials, needs, render, servers
from agentd.doctor.agents import examine_agents
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.model_lists import print_rows, vendor_models
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.model_list import ModelList, UsedModel
from tests.installed import parse_config
from tests.lab.vendors.chat import KEY, ChatServer
from tests.lab.vendors.http_peer import HttpExchange, HttpHandler, HttpPeer, open_http_peer
from tests.lab.vendors.model_list import model_list

TODAY = date.today()
SOON, LATER, PAST = ((TODAY + timedelta(days)).isoformat() for days in (40, 400, -1))
ENVIRON = {"OPENAI_API_KEY": KEY}
NOWHERE = Path("/nowhere")


@pytest.fixture(autouse=True)
def engines_are_loadable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_errors(*_: object) -> Mapping[str, str]:
        return {}

    monkeypatch.setattr(needs, "import_errors", no_errors)


@asynccontextmanager
async def serving(models: Mapping[str, str | None]) -> AsyncIterator[HttpPeer]:
    """A server that lets one key in, and lists these models."""

    async def answer(exchange: HttpExchange) -> None:
        if exchange.request.headers.get("authorization") != f"Bearer {KEY}":
            await exchange.answer(401, {"error": {"message": "no"}})
        else:
            await exchange.answer(200, model_list(models))

    async with open_http_peer(answer) as peer:
        yield peer


def configured(url: str) -> Config:
    """An agent of each kind that asks OpenAI-compatible servers, all of them at `url`."""
    return parse_config(
        {
            "agents": {
                "pipe": {
                    "provider": "pipeline",
                    "pipeline": {
                        "listen": "openai",
                        "think": "openai",
                        "speak": "openai",
                        "listen_openai": {"base_url": url, "model": "ear-1"},
                        "think_openai": {"base_url": url, "model": "mind-1"},
                        "speak_openai": {"base_url": url, "model": "mouth-1"},
                    },
                },
                "talk": {
                    "provider": "openai_realtime",
                    "openai_realtime": {
                        "url": f"{url.replace('http:', 'ws:')}/realtime",
                        "model": "talk-1",
                        "transcription": {"model": "ear-1"},
                        "announcements": {"model": "mouth-1"},
                    },
                },
                "here": {
                    "provider": "local",
                    "local": {"llm": {"base_url": url, "model": "mind-1", "api_key_name": "OPENAI_API_KEY"}},
                },
            }
        },
        {},
    )


async def examined(config: Config) -> list[Finding]:
    findings = await examine_agents(config, ENVIRON, NOWHERE, RunningDaemon(""))
    assert KEY not in render(findings, colour=False)
    return findings


async def found_of(credential: Credential, environ: Mapping[str, str] = ENVIRON) -> list[Finding]:
    """What is found of one credential."""
    with patch.object(credentials, "needed", lambda _config: ([credentials.Need("agent a", credential)], {})):
        return (await credentials.examine_credentials(Config(), environ, NOWHERE))["agent a"]


def about(findings: list[Finding], agent: str, state: State) -> list[str]:
    return ["\n".join([each.found, *each.advice]) for each in findings if (each.check, each.state) == (agent, state)]


ALL: Mapping[str, str | None] = {"ear-1": None, "mind-1": None, "mouth-1": None, "talk-1": None}


async def test_models_that_are_served_are_told_in_one_line_for_each_server() -> None:
    async with serving({**ALL, "mind-1": LATER}) as peer:
        findings = await examined(configured(f"{peer.url}/v1"))
        assert [request.path for request in peer.requests] == ["/v1/models"] * 2, "one for the keys, one for the needs"
    for agent, models in {
        "agent pipe": ("listen_openai.model = 'ear-1' is served", f"'mind-1' is served until {LATER}", "'mouth-1'"),
        "agent talk": ("model = 'talk-1'", "transcription.model = 'ear-1'", "announcements.model = 'mouth-1'"),
        "agent here": ("local.llm.model = 'mind-1'",),
    }.items():
        (line,) = (line for line in about(findings, agent, State.OK) if "lists the models" in line)
        assert all(model in line for model in models)


@pytest.mark.parametrize(("day", "told"), [(SOON, f"ends on {SOON}"), (PAST, f"has ended on {PAST}")])
@pytest.mark.parametrize(
    ("model", "agents"),
    [
        ("mind-1", {"agent pipe": "think_openai.model", "agent here": "local.llm.model"}),
        ("ear-1", {"agent pipe": "listen_openai.model", "agent talk": "transcription.model"}),
        ("mouth-1", {"agent pipe": "speak_openai.model", "agent talk": "announcements.model"}),
        ("talk-1", {"agent talk": "model"}),
    ],
)
async def test_a_model_that_ends_is_warned_of_for_every_agent_that_uses_it(
    model: str, agents: Mapping[str, str], day: str, told: str
) -> None:
    async with serving({**ALL, model: day}) as peer:
        url = f"{peer.url}/v1"
        findings = await examined(configured(url))
    for agent, setting in agents.items():
        assert about(findings, agent, State.WARN) == [f"{setting}: {model!r} {told}, says {url}/models"]
    others = {"agent pipe", "agent talk", "agent here"} - agents.keys()
    assert not [line for agent in others for line in about(findings, agent, State.WARN)]


async def test_a_model_that_is_not_listed_is_warned_of_with_those_that_are() -> None:
    async with serving({"ear-1": None, "mouth-1": None, "talk-1": None, "mind-2": None}) as peer:
        findings = await examined(configured(f"{peer.url}/v1"))
    (pipe,) = about(findings, "agent pipe", State.WARN)
    assert "think_openai.model: the model 'mind-1' is not listed there" in pipe
    assert "it lists ear-1, mind-2, mouth-1, talk-1" in pipe


async def never_ends(exchange: HttpExchange) -> None:
    await exchange.begin(200)
    while True:
        await exchange.send(b" " * 65536)


def with_body(body: bytes) -> HttpHandler:
    async def answer(exchange: HttpExchange) -> None:
        await exchange.answer(200, body)

    return answer


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (never_ends, "lists more models than are looked at (4 MiB)"),
        (with_body(b"{}"), "lists none"),
        (with_body(b"<html>"), "lists none"),
        (with_body(b'{"data": []}'), "lists none"),
        (with_body(b"[" * 100_000), "lists none"),
        (with_body(b'{"data": [{"id": "mind'), "lists none"),
        (with_body(b'{"data": "\xff"}'), "lists none"),
        (with_body(json.dumps({"data": [None, 1, {"id": None}, {"id": "\x1b[2J"}]}).encode()), "lists none"),
    ],
)
async def test_an_answer_that_is_no_list_is_no_error_however_large(handler: HttpHandler, why: str) -> None:
    async with open_http_peer(handler) as peer:
        findings = await examined(configured(f"{peer.url}/v1"))
    for agent in ("agent pipe", "agent talk", "agent here"):
        assert not about(findings, agent, State.WARN)
        assert [line for line in about(findings, agent, State.SKIPPED) if why in line]
        assert [line for line in about(findings, agent, State.OK) if "takes the key" in line or "answers at" in line]


async def test_a_list_that_does_not_come_to_its_end_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (servers, needs):
        monkeypatch.setattr(module, "LIST_DEADLINE", 0.1)

    async def slow(exchange: HttpExchange) -> None:
        await exchange.begin(200)
        await exchange.send(b'{"data": [{"id": "mind-1"},')
        await trio.sleep_forever()

    async with open_http_peer(slow) as peer:
        findings = await examined(configured(f"{peer.url}/v1"))
    assert [line for line in about(findings, "agent pipe", State.OK) if "takes the key" in line], "it has let us in"


async def test_a_list_at_an_address_of_its_own_that_is_refused_is_told_beside_the_key() -> None:
    async def answer(exchange: HttpExchange) -> None:
        if exchange.request.path == "/v1/auth/token":  # as Deepgram has it
            await exchange.answer(200, {})
        else:
            await exchange.answer(403, {"err_code": "FORBIDDEN", "err_msg": "Insufficient permissions."})

    async with open_http_peer(answer) as peer:
        models = ModelList(f"{peer.url}/v1/models", (UsedModel("listen.model", "nova-3", "speech to text"),))
        key = Credential("OPENAI_API_KEY", "the key", f"{peer.url}/v1/auth/token", Scheme.TOKEN, lists=(models,))
        findings = await found_of(key)
    assert [finding.state for finding in findings] == [State.OK, State.OK, State.SKIPPED]
    assert "its models cannot be looked up: " in findings[-1].found
    assert "Insufficient permissions." in findings[-1].found


async def test_a_refused_key_is_told_once() -> None:
    async with serving(ALL) as peer:
        url = f"{peer.url}/v1/models"
        key = Credential("OPENAI_API_KEY", "the key", url, lists=(ModelList(url, (UsedModel("model", "mind-1"),)),))
        findings = await found_of(key, {"OPENAI_API_KEY": "another"})
    assert [finding.state for finding in findings] == [State.OK, State.FAIL]


# --- agentd models vendors


async def rows_of(config: Config, environ: Mapping[str, str] = ENVIRON) -> tuple[int, list[str]]:
    rows = await vendor_models(config, environ, NOWHERE, TODAY.isoformat())
    stream = io.StringIO()
    status = print_rows(rows, stream)
    assert KEY not in stream.getvalue()
    return status, [" ".join(line.split()) for line in stream.getvalue().splitlines()]


async def test_each_model_in_use_is_a_row() -> None:
    async with serving({**ALL, "mind-1": LATER, "talk-1": SOON}) as peer:
        status, rows = await rows_of(configured(f"{peer.url}/v1"))
        host = peer.url.removeprefix("http://")
        assert len(peer.requests) == 1, "one server and one key: one request"
    assert status == 1
    assert rows == [
        "AGENT SETTING MODEL SERVER STATE",
        f"here local.llm.model mind-1 {host} served until {LATER}",
        f"pipe listen_openai.model ear-1 {host} served",
        f"pipe think_openai.model mind-1 {host} served until {LATER}",
        f"pipe speak_openai.model mouth-1 {host} served",
        f"talk model talk-1 {host} ends on {SOON}",
        f"talk transcription.model ear-1 {host} served",
        f"talk announcements.model mouth-1 {host} served",
    ]


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "not told: OPENAI_API_KEY is missing"),
        ({"OPENAI_API_KEY": "another"}, "not told: the server refuses the key: GET"),
        ({"OPENAI_API_KEY": "clé"}, "not told: OPENAI_API_KEY holds characters that no key has"),
    ],
)
async def test_without_a_good_key_each_model_is_named_with_the_reason(environ: Mapping[str, str], why: str) -> None:
    async with serving(ALL) as peer:
        status, rows = await rows_of(configured(f"{peer.url}/v1"), environ)
    assert status == 0
    assert len(rows) == 8
    assert all(why in row for row in rows[1:])


async def test_offline_is_said_within_seconds_and_is_no_failure() -> None:
    async with serving(ALL) as peer:
        url = f"{peer.url}/v1"
    status, rows = await rows_of(configured(url))  # whose port is closed by now
    assert status == 0
    assert all("cannot be reached" in row for row in rows[1:])


async def test_the_chat_server_of_the_tests_lists_its_model() -> None:
    async with open_http_peer(ChatServer(model="mind-1", shutdown_date=SOON).handle) as peer:
        _, rows = await rows_of(configured(f"{peer.url}/v1"))
    assert [row for row in rows if "think_openai" in row and f"ends on {SOON}" in row]


def test_the_command_asks_with_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[agents.default]\nprovider = 'local'\n")
    assert main(["models", "vendors", "--config", str(path)]) == 0
    assert capsys.readouterr().out == "no agent uses a server that lists its models\n"


def test_the_command_tells_what_is_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "DEADLINE", 2.0)
    path = tmp_path / "agent.toml"
    path.write_text(
        "[agents.default]\nprovider = 'local'\n"
        "[agents.default.local.llm]\nbase_url = 'http://127.0.0.1:1/v1'\nmodel = 'm'\n"
    )
    assert main(["models", "vendors", "--config", str(path)]) == 0
    assert "cannot be reached" in capsys.readouterr().out
