"""What the doctor makes of what it is told: each judgement, its advice, and how findings are shown."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd import __version__
from agentd.config.settings import AgentConfig, Calls, Config, Health
from agentd.config.settings import Asterisk as AsteriskTable
from agentd.doctor import Finding, State, examine, needs, render
from agentd.doctor.access import ENTER, READ, WRITE, Account, described
from agentd.doctor.agents import examine_agents, judge_readiness
from agentd.doctor.daemon import RunningDaemon, examine_health, find_daemon, refused_connections
from agentd.doctor.dialplan import Dialplan, judge_dialplan
from agentd.doctor.findings import fail, ok, skipped, warn
from agentd.doctor.host import judge_restart, judge_service
from agentd.doctor.media import examine_directory
from agentd.doctor.pbx import (
    BRIDGES,
    NEEDED,
    USEFUL,
    ari_advice,
    judge_application,
    judge_modules,
    judge_version,
)
from agentd.doctor.secrets import examine_password
from agentd.doctor.transports import LEGS
from agentd.errors import AriRejected, AriUnavailable
from agentd_providers.local.settings import LlmSettings, LocalSettings
from tests.installed import parse_config

HEALTHY: Mapping[str, Any] = {
    "status": "ok",
    "ari_connected": True,
    "audiosocket_listening": True,
    "active_calls": 2,
    "providers": {"default": {"ready": True, "detail": ""}},
    "version": __version__,
}
NEW, OLD = "22.10.1", "20.17.0"
EVERY_MODULE = frozenset({*NEEDED, *BRIDGES, *LEGS.values(), *USEFUL})
URL = "http://127.0.0.1:15000"


def said(finding: Finding) -> str:
    return "\n".join([finding.found, *finding.advice])


@contextmanager
def pages(answers: Mapping[str, tuple[int, str]]) -> Iterator[int]:
    """A web server on loopback with these pages; 404 for others. Gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.get(self.path, (404, ""))
            if self.headers["Authorization"] == "Bearer right":
                status = 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


# --- how findings are shown ---------------------------------------------------------------------------------


def test_findings_are_shown_in_order_with_their_advice_and_counted() -> None:
    shown = render(
        [ok("ari", "answers"), fail("modules", "missing:\nchan_x", "load it\nlike this"), skipped("rest", "no")]
    )
    assert shown.splitlines() == [
        "ok       ari      answers",
        "fail     modules  missing:",
        "                  chan_x",
        "                  -> load it",
        "                     like this",
        "skipped  rest     no",
        "",
        "1 ok, 1 failure(s), 1 skipped",
    ]


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [ok("ari", "answers")]
    assert "\x1b[" in render(findings, colour=True)
    assert "\x1b[" not in render(findings)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok" in render(findings)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in render(findings)


def test_only_a_failure_counts_as_failed() -> None:
    made = [ok("a", ""), warn("a", ""), fail("a", ""), skipped("a", "")]
    assert [finding.failed for finding in made] == [False, False, True, False]
    assert fail("a", "b", "c").as_json() == {"check": "a", "state": "fail", "found": "b", "advice": ["c"]}
    json.dumps([finding.as_json() for finding in made])


# --- Asterisk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "state", "note"),
    [
        ("16.28.0", State.FAIL, "too old"),
        ("13.38.3~dfsg", State.FAIL, "too old"),
        ("18.9-cert5", State.OK, "come by ARI only"),
        ("certified/20.7-cert1", State.OK, "carry 8 kHz"),
        ("20.13.0", State.OK, "come by ARI only"),
        ("22.3.0", State.OK, "come by ARI only"),
        ("22.4.1", State.OK, "carry 8 kHz"),
        ("22.10.1+dfsg+~cs6.17.60671434-1", State.OK, ""),
        ("23.1.0", State.OK, "no media=websocket"),
        ("23.2.0", State.OK, ""),
        ("GIT-master-4f2b20e6d0", State.WARN, "18 or later"),
    ],
)
def test_a_version_is_judged_and_what_it_lacks_is_told(version: str, state: State, note: str) -> None:
    finding = judge_version(version)
    assert finding.state is state
    assert note in said(finding)
    assert note or ";" not in finding.found


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (AriUnavailable("no answer"), "http show status"),
        (AriRejected("HTTP 401", 401), "ari_agentd.conf"),
        (AriRejected("HTTP 403", 403), "read_only = no"),
        (AriRejected("HTTP 404", 404), "enabled = yes"),
        (AriRejected("HTTP 500", 500), "/var/log/asterisk"),
    ],
)
def test_each_kind_of_refusal_has_advice_of_its_own(error: Any, hint: str) -> None:
    assert any(hint in line for line in ari_advice(error, Config()))


@pytest.mark.parametrize("module", sorted({*NEEDED, LEGS["external"]}))
def test_a_missing_module_that_every_call_needs_is_a_failure(module: str) -> None:
    (finding,) = judge_modules(EVERY_MODULE - {module}, Config(), NEW)
    assert finding.failed
    assert f"module load {module}.so" in said(finding)


def test_either_kind_of_bridge_will_do() -> None:
    assert [judge_modules(EVERY_MODULE - {each}, Config(), NEW)[0].state for each in BRIDGES] == [State.OK] * 2
    assert judge_modules(EVERY_MODULE - set(BRIDGES), Config(), NEW)[0].failed


def test_a_module_that_only_some_calls_need_is_a_warning() -> None:
    assert judge_modules(EVERY_MODULE, Config(), NEW)[0].state is State.OK
    assert judge_modules(EVERY_MODULE - {"codec_resample"}, Config(), NEW)[0].state is State.WARN
    without_app = EVERY_MODULE - {"app_audiosocket"}
    assert "media=fork" in said(judge_modules(without_app, Config(), NEW)[0])
    by_fork = Config(calls=Calls(default_media="fork"))
    assert judge_modules(without_app, by_fork, NEW)[0].failed


def test_a_module_that_this_release_does_not_have_is_not_missed() -> None:
    without = EVERY_MODULE - {"chan_websocket"}
    assert judge_modules(without, Config(), NEW)[0].state is State.WARN
    assert "module load res_websocket_client.so" in said(judge_modules(without, Config(), NEW)[0])
    assert judge_modules(without, Config(), OLD)[0].state is State.OK
    by_websocket = Config(calls=Calls(default_media="websocket"))
    assert judge_modules(without, by_websocket, OLD)[0].failed


@pytest.mark.parametrize(
    ("registered", "daemon", "state", "words"),
    [
        (False, RunningDaemon(URL), State.WARN, "no agentd runs"),
        (True, RunningDaemon(URL), State.OK, "is registered"),
        (True, RunningDaemon(URL, HEALTHY), State.OK, "is registered"),
        (False, RunningDaemon(URL, HEALTHY), State.FAIL, "not as agentd to this Asterisk"),
        (False, RunningDaemon(URL, {**HEALTHY, "ari_connected": False}), State.FAIL, "not connected to Asterisk"),
        (True, RunningDaemon(URL, {**HEALTHY, "ari_connected": False}), State.FAIL, "not the agentd that runs here"),
    ],
)
def test_who_has_the_application_is_compared_with_who_runs_here(
    registered: bool, daemon: RunningDaemon, state: State, words: str
) -> None:
    finding = judge_application("agentd", registered, daemon)
    assert finding.state is state
    assert words in finding.found


@pytest.mark.parametrize(
    ("dialplan", "config", "states"),
    [
        (Dialplan(True, True, True, "way"), Config(), [State.OK, State.OK]),
        # AVA PR 457, 507, 527: internal extensions work, inbound routes that end at `s` do not
        (Dialplan(True, True, True, "way", ("s", "x")), Config(), [State.OK, State.WARN, State.OK]),
        (Dialplan(False, True, False, "way"), Config(), [State.FAIL, State.OK]),
        (Dialplan(True, False, True, "way"), Config(), [State.OK, State.WARN]),
        (
            Dialplan(True, False, True, "way"),
            Config(calls=Calls(default_media="fork")),
            [State.OK, State.FAIL],
        ),
        (
            Dialplan(False, True, False, "way"),
            Config(asterisk=AsteriskTable(app="mine")),
            [State.SKIPPED, State.OK],
        ),
        (Dialplan(None, None, None, "why not"), Config(), [State.SKIPPED]),
    ],
)
def test_the_dialplan_is_judged_by_what_this_configuration_uses(
    dialplan: Dialplan, config: Config, states: list[State]
) -> None:
    assert [finding.state for finding in judge_dialplan(dialplan, config)] == states


# --- the host -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "state", "words"),
    [
        ({"LoadState": "not-found"}, State.WARN, "agentd init"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}, State.OK, "active"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}, State.WARN, "enable"),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "OnFailure": ""},
            State.WARN,
            "no OnFailure=agentd-hand-back.service",
        ),
        (
            {
                "LoadState": "loaded",
                "ActiveState": "active",
                "UnitFileState": "enabled",
                "OnFailure": "mail@agentd.service agentd-hand-back.service",
            },
            State.OK,
            "active",
        ),
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "3"},
            State.WARN,
            "3 times",
        ),
        (
            {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"},
            State.WARN,
            "systemctl enable --now agentd",
        ),
        ({"LoadState": "loaded", "ActiveState": "failed", "UnitFileState": "enabled"}, State.FAIL, "reset-failed"),
    ],
)
def test_the_unit_is_judged(shown: dict[str, str], state: State, words: str) -> None:
    finding = judge_service(shown)
    assert finding.state is state
    assert words in said(finding)


@pytest.mark.parametrize(
    ("shown", "state", "words"),
    [
        ({"RuntimeDirectoryPreserve": "restart", "NeedDaemonReload": "no"}, State.OK, "after `agentd restart`"),
        ({"RuntimeDirectoryPreserve": "yes"}, State.OK, "after a crash"),
        ({"RuntimeDirectoryPreserve": "no"}, State.WARN, "agentd.service.new: take that line over"),
        ({"RuntimeDirectoryPreserve": "restart", "NeedDaemonReload": "yes"}, State.WARN, "systemctl daemon-reload"),
    ],
)
def test_it_is_told_whether_calls_survive_an_upgrade(shown: dict[str, str], state: State, words: str) -> None:
    (finding,) = judge_restart({"LoadState": "loaded"} | shown)
    assert finding.state is state
    assert words in said(finding)
    assert judge_restart({"LoadState": "not-found"} | shown) == []


def test_an_instance_is_told_of_by_its_own_name() -> None:
    finding = judge_service({"LoadState": "loaded", "ActiveState": "active", "OnFailure": ""}, "agentd@1.service")
    assert "agentd@1.service is active" in finding.found
    shown = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "OnFailure": ""}
    assert "OnFailure=agentd-hand-back@1.service" in judge_service(shown, "agentd@1.service").found


def test_the_password_is_found_in_the_environment_and_not_shown(tmp_path: Path) -> None:
    password, finding = examine_password({"AGENTD_ARI_PASSWORD": "opensesame"}, tmp_path / "none")
    assert password is not None
    assert password.reveal() == "opensesame"
    assert finding.state is State.OK
    assert "opensesame" not in repr(finding)


def test_root_reads_the_credentials_of_the_service_and_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "ari-password").write_text("opensesame\n")
    password, finding = examine_password({}, tmp_path)
    assert password is not None
    assert password.reveal() == "opensesame"
    assert f"in the credential {tmp_path / 'ari-password'}" in finding.found


def test_a_missing_password_says_where_it_is_looked_for(tmp_path: Path) -> None:
    password, finding = examine_password({}, tmp_path)
    assert password is None
    assert finding.failed
    assert str(tmp_path / "ari-password") in said(finding)


async def test_a_configuration_that_is_not_there_is_a_finding_and_no_traceback(tmp_path: Path) -> None:
    findings = await examine(tmp_path / "absent.toml", {})
    assert [finding.state for finding in findings] == [State.FAIL, State.SKIPPED]
    assert "agentd sample" in said(findings[0])


STRANGER = Account("stranger", 4242, 4242, frozenset({4242}))


def test_what_another_user_may_do_is_told_from_the_bits_on_the_way(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    member = attrs.evolve(STRANGER, gids=frozenset({inner.stat().st_gid}))
    owner = attrs.evolve(STRANGER, uid=inner.stat().st_uid)
    inner.chmod(0o570)
    assert member.may(inner, READ | WRITE | ENTER)
    assert not STRANGER.may(inner, READ)
    assert owner.uid == 0 or not owner.may(inner, WRITE)
    assert Account("root", 0, 0, frozenset()).may(inner, WRITE)
    inner.parent.chmod(0o700)
    obstacle = STRANGER.obstacle(inner, ENTER)
    assert obstacle in [f"stranger cannot enter {described(above)}" for above in inner.parents]


def test_a_directory_that_everyone_may_write_to_is_a_warning(tmp_path: Path) -> None:
    directory = tmp_path / "media"
    directory.mkdir()
    directory.chmod(0o777)
    config = parse_config({"agents": {"default": {}}, "media": {"directory": str(directory)}}, {})
    finding = examine_directory(config)
    assert finding.state is State.WARN
    assert f"chmod 2750 {directory}" in said(finding)
    directory.rmdir()
    directory.write_text("a file")
    assert examine_directory(config).failed


# --- a running daemon ---------------------------------------------------------------------------------------


def health_at(port: int) -> Config:
    return Config(health=Health(host="0.0.0.0", port=port))


async def test_a_running_daemon_is_known_by_its_health_page() -> None:
    refused = (
        '# TYPE agentd_audiosocket_refused counter\nagentd_audiosocket_refused_total{reason="unexpected_uuid"} 3.0\n'
    )
    with pages({"/health": (200, json.dumps(HEALTHY)), "/metrics": (200, refused)}) as port:
        daemon = await find_daemon(health_at(port))
        assert daemon.running
        assert daemon.listening
        assert "2 calls now" in (await examine_health(health_at(port), daemon)).found
        assert await refused_connections(daemon) == {"unexpected_uuid": 3.0}
    assert await refused_connections(daemon) is None


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, "[]"), (404, "{}"), (200, "[" * 9999)])
async def test_another_program_at_the_health_port_is_not_taken_for_agentd(answer: tuple[int, str]) -> None:
    with pages({"/health": answer}) as port:
        daemon = await find_daemon(health_at(port))
        assert not daemon.running
        finding = await examine_health(health_at(port), daemon)
    assert finding.failed
    assert f"ss -ltnp 'sport = :{port}'" in said(finding)


@pytest.mark.parametrize(
    ("daemon", "state", "words"),
    [
        (RunningDaemon(URL, {**HEALTHY, "version": "0.0.1"}), State.WARN, "agentd check && systemctl restart agentd"),
        (
            RunningDaemon(URL, {**HEALTHY, "status": "unavailable", "ari_connected": False}),
            State.FAIL,
            "ari_connected",
        ),
        (
            RunningDaemon(
                URL,
                {
                    **HEALTHY,
                    "status": "unavailable",
                    "parts": {"watchdog": {"up": True}, "shared stt": {"up": False, "detail": "no memory"}},
                },
            ),
            State.FAIL,
            "shared stt is being started again: no memory",
        ),
        (
            RunningDaemon(
                URL,
                {
                    **HEALTHY,
                    "status": "unavailable",
                    "providers": {"default": {"ready": False, "detail": "no voice"}},
                },
            ),
            State.FAIL,
            "agent default: no voice",
        ),
        (RunningDaemon(URL, registered=True), State.WARN, "HEALTH_PORT"),
    ],
)
async def test_what_the_health_page_says_is_judged(daemon: RunningDaemon, state: State, words: str) -> None:
    finding = await examine_health(Config(), daemon)
    assert finding.state is state
    assert words in said(finding)


async def test_a_health_port_of_zero_cannot_be_examined() -> None:
    assert not (await find_daemon(health_at(0))).running
    assert (await examine_health(health_at(0), RunningDaemon(""))).state is State.SKIPPED


def test_an_agent_is_judged_by_what_the_running_daemon_says_of_it() -> None:
    agent = AgentConfig()

    def judge(health: Mapping[str, Any] | None) -> list[Finding]:
        return judge_readiness("agent default", "default", agent, RunningDaemon(URL, health))

    assert judge(None) == []
    assert judge(HEALTHY)[0].state is State.OK
    (unready,) = judge({**HEALTHY, "providers": {"default": {"ready": False, "detail": "no voice"}}})
    assert unready.failed
    assert "no voice" in unready.found
    resting = {"ready": True, "detail": "", "circuit": "open", "circuit_reason": "HTTP 503"}
    (broken,) = judge({**HEALTHY, "providers": {"default": resting}})
    assert broken.state is State.WARN
    assert "after failures: HTTP 503" in broken.found
    (unknown,) = judge({**HEALTHY, "providers": {}})
    assert unknown.state is State.WARN
    assert "systemctl reload agentd" in said(unknown)


# --- the language model's server ----------------------------------------------------------------------------

NO_DAEMON = RunningDaemon("")


async def judged_server(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: Mapping[str, str], **settings: str
) -> Finding:
    async def none_failed(*_args: object) -> Mapping[str, str]:
        return {}

    monkeypatch.setattr(needs, "import_errors", none_failed)
    agent = AgentConfig(settings=LocalSettings(llm=LlmSettings(base_url=url, **settings)))
    findings = await examine_agents(Config(agents={"default": agent}), environ, Path("/nowhere"), NO_DAEMON)
    return findings[-1]


async def test_a_language_models_server_is_asked_with_the_key_of_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pages({"/v1/models": (401, '{"data": [{"id": "big"}]}')}) as port:
        url = f"http://127.0.0.1:{port}/v1"
        key = {"api_key_name": "LLM_KEY"}
        refused = await judged_server(monkeypatch, url, {"LLM_KEY": "wrong"}, model="big", **key)
        good = await judged_server(monkeypatch, url, {"LLM_KEY": "right"}, model="big", **key)
        other = await judged_server(monkeypatch, url, {"LLM_KEY": "right"}, model="small", **key)
    assert refused.failed
    assert "api_key_name" in said(refused)
    assert "wrong" not in said(refused)
    assert good.state is State.OK
    assert other.state is State.WARN
    assert "it lists big" in said(other)


async def test_a_language_models_server_is_asked_without_the_proxy_that_the_shell_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pages({"/v1/models": (200, '{"data": [{"id": "big"}]}')}) as port:
        found = await judged_server(monkeypatch, f"http://127.0.0.1:{port}/v1", {}, model="big")
    assert found.state is State.OK


@pytest.mark.parametrize("listed", ["<html>", "[]", "[" * 9999, '{"data": ' + "[" * 400 + "]" * 400 + "}"])
async def test_a_language_models_server_that_lists_no_models_is_there_all_the_same(
    monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    with pages({"/v1/models": (200, listed)}) as port:
        last = await judged_server(monkeypatch, f"http://127.0.0.1:{port}/v1", {})
    assert (last.state, last.check) == (State.SKIPPED, "agent default")
    assert "lists none" in last.found


async def test_a_language_models_server_that_is_absent_or_elsewhere_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pages({}) as port:
        elsewhere = await judged_server(monkeypatch, f"http://127.0.0.1:{port}", {})
    absent = await judged_server(monkeypatch, f"http://127.0.0.1:{port}/v1", {})
    assert elsewhere.failed
    assert "/v1" in said(elsewhere)
    assert absent.failed
    assert "is it running" in said(absent)


async def test_an_engine_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = await needs.import_errors(["json", "no_such_engine"], [], dict(os.environ))
    assert list(failed) == ["no_such_engine"]
    monkeypatch.setattr(needs, "_IMPORT", "import os; os.abort()")
    assert "ended the process" in (await needs.import_errors(["json"], [], dict(os.environ)))["all"]


@pytest.mark.parametrize("last", ["4711", "[]", "null", '"json"', "no JSON", ""])
async def test_an_engine_that_ends_the_process_behind_a_line_of_its_own_is_told(
    last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_IMPORT", f"import os; print({last!r}, flush=True); os._exit(3)")
    failed = await needs.import_errors(["json"], [], dict(os.environ))
    assert failed == {"all": "loading them ended the process with status 3"}
