"""`agentd doctor` against a real Asterisk: a good installation is found good, with and without a running daemon;
each fault is found where it is, with advice; and nothing of the examination stays on the PBX."""

import base64
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

import agentd.doctor
from agentd.doctor import Finding, State, examine
from agentd.websocket import WebSocket
from tests.lab.asterisk import ASTERISK_CONF, PrivateAsterisk
from tests.lab.daemon import ROOT, environment, run_daemon
from tests.lab.prefix import Prefix

pytestmark = pytest.mark.e2e

MODEL = "a-model"
root_only = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")


class ModelServer(BaseHTTPRequestHandler):
    """As much of an OpenAI-compatible server as the doctor asks for."""

    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": MODEL}]}).encode() if self.path == "/v1/models" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    """A ModelServer's port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ModelServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define
class Host:
    """A PBX host: its Asterisk, and an agent.toml whose settings a test may change."""

    pbx: PrivateAsterisk
    path: Path
    health_port: int = attrs.field(factory=free_port)

    def configure(self, agent: str = "", **tables: dict[str, Any]) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "asterisk": {"url": self.pbx.ari_url.removesuffix("/ari"), "request_timeout": 2.0},
            "audiosocket": {"port": self.pbx.agent_port, "bind_timeout": 2.0, "uuid_timeout": 1.0, "bind_grace": 0.5},
            "media": {"directory": str(self.pbx.media_directory)},
            "health": {"host": "127.0.0.1", "port": self.health_port},
            "logging": {"format": "json"},
        }
        for name, table in tables.items():
            settings.setdefault(name, {}).update(table)
        lines = []
        for name, table in settings.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.path.write_text("\n".join([*lines, "[agents.default]", agent]))
        return self.path

    @property
    def environ(self) -> dict[str, str]:
        return environment(self.pbx)

    async def run(self, agent: str = "", **tables: dict[str, Any]) -> list[Finding]:
        return await examine(self.configure(agent, **tables), self.environ)

    async def left(self) -> dict[str, Any]:
        """What is on the PBX and in the media directory that should not be."""
        auth = (self.pbx.ari_user, self.pbx.ari_password)
        async with httpx.AsyncClient(base_url=self.pbx.ari_url, trust_env=False, auth=auth) as client:
            found: dict[str, Any] = {}
            for page in ("channels", "bridges", "applications"):
                found[page] = (await client.get(f"/{page}")).json()
        found["files"] = [file.name for file in Path(self.pbx.media_directory).rglob("*")]
        return {what: where for what, where in found.items() if where}


@asynccontextmanager
async def host_of(prefix: Prefix, tmp_path: Path, **pbx_settings: Any) -> AsyncIterator[Host]:
    async with PrivateAsterisk(prefix, **pbx_settings) as pbx:
        host = Host(pbx, tmp_path / "agent.toml")
        yield host
        if await host_still_answers(pbx):
            with trio.move_on_after(5):
                while await host.left():
                    await trio.sleep(0.05)
            assert await host.left() == {}


async def host_still_answers(pbx: PrivateAsterisk) -> bool:
    return "fully booted" in await pbx.cli("core waitfullybooted")


@pytest.fixture
async def host(pbx_prefix: Prefix, tmp_path: Path) -> AsyncIterator[Host]:
    async with host_of(pbx_prefix, tmp_path) as running:
        yield running


@pytest.fixture
def no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test is about the PBX: do not load engines."""

    async def none(*_args: object) -> list[Finding]:
        return []

    monkeypatch.setattr(agentd.doctor, "examine_agents", none)


def of(findings: list[Finding], check: str) -> Finding:
    """The worst finding of a check."""
    order = [State.FAIL, State.WARN, State.SKIPPED, State.OK]
    return min((each for each in findings if each.check == check), key=lambda each: order.index(each.state))


def failed(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings if finding.failed}


def advice(finding: Finding) -> str:
    return "\n".join(finding.advice)


async def command(config: Path, env: dict[str, str], *more: str) -> tuple[int, str]:
    """The doctor as users run it: exit status and what it prints, which has no traceback."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "agentd", "doctor", "--config", str(config), *more],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=env,
            cwd=ROOT,
        )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


# --- all is well --------------------------------------------------------------------------------------------


async def test_a_good_host_is_found_good_with_and_without_a_running_daemon(host: Host) -> None:
    with serving() as port:
        llm = f'[agents.default.local.llm]\nbase_url = "http://127.0.0.1:{port}/v1"\nmodel = "{MODEL}"'
        config = host.configure(llm)
        status, printed = await command(config, host.environ, "--json")
        print(printed)
        assert status == 0
        before = {finding["check"]: finding for finding in json.loads(printed)}
        assert before["application"]["state"] == "warn"
        assert "no agentd runs" in before["audiosocket port"]["found"]
        async with run_daemon(config, host.environ) as daemon:
            status, printed = await command(config, host.environ)
            print(printed)
            assert status == 0
            assert " 0 calls now" in printed
            assert "agentd is registered" in printed
            assert "reaches agentd's listener" in printed
            assert "\x1b[" not in printed
            assert daemon.having("AudioSocket connection refused", reason="unexpected_uuid")
    for check in ("ari", "asterisk", "modules", "dialplan", "event stream", "playback", "audiosocket"):
        assert before[check]["state"] == "ok", check
    assert before["media fork"]["state"] == "ok"
    # The daemon asks whether its user may write before there is an application that callers could enter.
    assert [line for line in host.pbx.complaints() if "App agentd not found" not in line] == []


async def test_a_configuration_that_cannot_be_used_ends_the_examination_with_every_problem(
    host: Host,
) -> None:
    config = host.configure(asterisk={"urll": "x"}, audiosocket={"port": 99999})
    status, printed = await command(config, host.environ)
    assert status == 1
    assert "asterisk.urll" in printed
    assert "audiosocket.port" in printed
    assert "agentd check --config" in printed


# --- ARI ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_agents")
async def test_a_wrong_password_is_told_from_an_absent_asterisk(host: Host) -> None:
    env = {**host.environ, "AGENTD_ARI_PASSWORD": "not-the-one"}
    findings = await examine(host.configure(), env)
    assert failed(findings) == {"ari"}
    assert "401" in of(findings, "ari").found
    assert "ari_agentd.conf" in advice(of(findings, "ari"))
    assert of(findings, "audiosocket").state is State.SKIPPED
    assert "not-the-one" not in repr(findings)

    findings = await host.run(asterisk={"url": f"http://127.0.0.1:{free_port()}"})
    assert failed(findings) == {"ari"}
    assert "http show status" in advice(of(findings, "ari"))


@pytest.mark.usefixtures("no_agents")
async def test_a_password_that_is_missing_is_said_first(host: Host) -> None:
    env = {name: value for name, value in host.environ.items() if name != "AGENTD_ARI_PASSWORD"}
    findings = await examine(host.configure(), env, credentials=host.path.parent / "none")
    assert failed(findings) == {"secrets"}
    assert "AGENTD_ARI_PASSWORD" in advice(of(findings, "secrets"))


@pytest.mark.usefixtures("no_agents")
async def test_a_web_server_that_is_no_asterisk_is_told(host: Host) -> None:
    with serving() as port:
        findings = await host.run(asterisk={"url": f"http://127.0.0.1:{port}"})
    assert "is it Asterisk that answers" in advice(of(findings, "ari"))


@pytest.mark.usefixtures("no_agents")
async def test_an_ari_user_that_may_only_read_is_told(pbx_prefix: Prefix, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(ASTERISK_CONF, conf)
    ari = conf / "ari_agentd.conf"
    ari.write_text(ari.read_text().replace("read_only = no", "read_only = yes"))
    async with host_of(pbx_prefix, tmp_path, conf=conf) as host:
        findings = await host.run()
    assert failed(findings) >= {"playback", "audiosocket"}
    assert "read_only = no" in advice(of(findings, "playback"))


@pytest.mark.usefixtures("no_agents")
@pytest.mark.parametrize("module", ["chan_audiosocket", "app_stasis"])
async def test_a_module_that_is_not_loaded_is_named(host: Host, module: str) -> None:
    await host.pbx.cli(f"module unload {module}.so")
    findings = await host.run()
    assert failed(findings) == {"modules"}
    assert f"asterisk -rx 'module load {module}.so'" in advice(of(findings, "modules"))
    expected = State.SKIPPED if module == "chan_audiosocket" else State.OK
    assert of(findings, "audiosocket").state is expected


# --- dialplan -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_agents")
async def test_a_dialplan_that_is_not_included_is_told(host: Host) -> None:
    await host.pbx.cli("dialplan remove context agentd-call")
    await host.pbx.cli("dialplan remove context ai-agent-media-fork")
    findings = await host.run()
    assert failed(findings) == {"dialplan"}
    assert "#tryinclude extensions_agentd.conf" in advice(of(findings, "dialplan"))
    assert of(findings, "media fork").state is State.SKIPPED


@pytest.mark.usefixtures("no_agents")
async def test_without_device_states_the_dialplan_is_not_guessed(host: Host) -> None:
    await host.pbx.cli("module unload res_ari_device_states.so")
    findings = await host.run()
    assert failed(findings) == set()
    assert of(findings, "dialplan").state is State.SKIPPED
    assert "res_ari_device_states" in of(findings, "dialplan").found
    assert of(findings, "media fork").state is State.OK


# --- media directory ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_agents")
async def test_a_media_directory_that_is_not_there_is_told(host: Host) -> None:
    findings = await host.run(media={"directory": str(host.path.parent / "absent")})
    assert failed(findings) == {"media directory"}
    assert "systemd-tmpfiles --create agentd.conf" in advice(of(findings, "media directory"))


@root_only
@pytest.mark.usefixtures("no_agents")
async def test_a_media_directory_that_asterisk_cannot_read_is_told(pbx_prefix: Prefix, tmp_path: Path) -> None:
    class Humble(Prefix):
        """Root without root's right to read whatever it likes."""

        def command(self) -> list[str]:
            rights = "-dac_override,-dac_read_search"
            return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *super().command()]

    directory = tmp_path / "media"
    directory.mkdir()
    directory.chmod(0o700)
    os.chown(directory, 65534, 65534)
    humble = Humble(**attrs.asdict(pbx_prefix, recurse=False))
    async with host_of(humble, tmp_path) as host:
        findings = await host.run(media={"directory": str(directory)})
        assert failed(findings) == {"playback"}
        assert f"namei -l {directory}" in advice(of(findings, "playback"))
        directory.chmod(0o755)
        assert failed(await host.run(media={"directory": str(directory)})) == set()
    assert list(directory.iterdir()) == []


@pytest.mark.usefixtures("no_agents")
async def test_files_that_asterisk_cannot_play_are_told(host: Host) -> None:
    await host.pbx.cli("module unload format_sln.so")
    findings = await host.run()
    assert failed(findings) == {"modules", "playback"}


# --- AudioSocket --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_agents")
async def test_an_advertised_address_where_nobody_listens_is_told(host: Host) -> None:
    wrong = f"127.0.0.1:{free_port()}"
    findings = await host.run(audiosocket={"advertise": wrong})
    assert failed(findings) == {"audiosocket"}
    assert wrong in of(findings, "audiosocket").found
    assert "[audiosocket] advertise" in advice(of(findings, "audiosocket"))


@pytest.mark.usefixtures("no_agents")
async def test_an_advertised_address_where_somebody_else_listens_is_told(host: Host) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as somebody:
        wrong = f"127.0.0.1:{somebody.getsockname()[1]}"
        findings = await host.run(audiosocket={"advertise": wrong})
    assert failed(findings) == {"audiosocket"}
    assert "its UUID did not come" in of(findings, "audiosocket").found


@pytest.mark.usefixtures("no_agents")
async def test_a_fork_that_connects_elsewhere_fails_where_calls_use_it(host: Host) -> None:
    await host.pbx.cli(f"dialplan set global AGENTD_SOCKET 127.0.0.1:{free_port()}")
    findings = await host.run()
    assert of(findings, "media fork").state is State.WARN
    findings = await host.run(calls={"default_media": "fork"})
    assert failed(findings) == {"media fork"}
    assert f"AGENTD_SOCKET=127.0.0.1:{host.pbx.agent_port}" in advice(of(findings, "media fork"))


@pytest.mark.usefixtures("no_agents")
async def test_ports_that_other_programs_hold_are_told(host: Host) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", host.pbx.agent_port))),
        serving() as page,
    ):
        findings = await host.run(health={"port": page})
    assert failed(findings) == {"audiosocket port", "health"}
    assert f"ss -ltnp 'sport = :{host.pbx.agent_port}'" in advice(of(findings, "audiosocket port"))
    assert f"ss -ltnp 'sport = :{page}'" in advice(of(findings, "health"))


@pytest.mark.usefixtures("no_agents")
async def test_an_allow_list_without_asterisk_is_told(host: Host) -> None:
    findings = await host.run(audiosocket={"allow": ["192.0.2.0/24"]})
    assert failed(findings) == {"audiosocket", "media fork"}
    assert "[audiosocket] allow" in advice(of(findings, "audiosocket"))


@pytest.mark.usefixtures("no_agents")
async def test_a_fork_of_ones_own_may_choose_its_uuids(pbx_prefix: Prefix, tmp_path: Path) -> None:
    own = """
[own-fork]
exten => _[0-9a-f].,1,Answer(0,i)
 same => n,AudioSocket(40325ec2-5efd-4bd3-805f-53576e581d13,${AGENTD_SOCKET})
"""
    async with host_of(pbx_prefix, tmp_path, extra_dialplan=own) as host:
        findings = await host.run(calls={"default_media": "fork"}, audiosocket={"fork_context": "own-fork"})
    assert failed(findings) == set()
    assert of(findings, "media fork").state is State.OK


@pytest.mark.usefixtures("no_agents")
async def test_an_agentd_whose_health_page_is_elsewhere_is_noticed(host: Host) -> None:
    token = base64.b64encode(f"{host.pbx.ari_user}:{host.pbx.ari_password}".encode()).decode()
    events = f"ws://127.0.0.1:{host.pbx.http_port}/ari/events?app=agentd"
    with closing(socket.create_server(("127.0.0.1", host.pbx.agent_port))):
        async with trio.open_nursery() as nursery:
            await nursery.start(WebSocket(events, (("Authorization", f"Basic {token}"),)).run)
            findings = await host.run()
            nursery.cancel_scope.cancel()
    assert failed(findings) == set()
    assert "HEALTH_PORT" in advice(of(findings, "health"))
    assert "presumably by the agentd" in of(findings, "audiosocket port").found
    assert of(findings, "audiosocket").state is State.OK
    assert of(findings, "media fork").state is State.SKIPPED


# --- agents -------------------------------------------------------------------------------------------------


@pytest.mark.engines
async def test_a_model_that_is_not_here_is_told_with_the_command_that_brings_it(host: Host, tmp_path: Path) -> None:
    env = {**host.environ, "AGENTD_MODELS_DIR": str(tmp_path / "empty")}
    findings = await examine(host.configure(), env)
    assert failed(findings) == {"agent default"}
    assert "agentd models fetch en_US-joe-medium" in advice(of(findings, "agent default"))
    assert "agentd models fetch smollm2-135m" in advice(of(findings, "agent default"))


# --- nothing stays ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_agents")
@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.6])
async def test_an_examination_that_is_cut_leaves_nothing_on_the_pbx(host: Host, after: float) -> None:
    # Somebody who listens and says nothing holds the examination up at the AudioSocket.
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        with trio.move_on_after(after):
            await host.run(audiosocket={"advertise": f"127.0.0.1:{silent.getsockname()[1]}"})
