"""`agentd hand-back` has to find Asterisk where the daemon refuses its configuration, and to start where it cannot."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import agentd.service
from agentd.config.secrets import ARI_PASSWORD
from agentd.config.settings import Asterisk, Health
from agentd.service.hand_back import essentials

URL = "http://10.0.0.1:8088"


def test_a_good_configuration_is_taken_as_it_is() -> None:
    found = essentials(f"[asterisk]\nurl = '{URL}'\napp = 'voices'\n[health]\nport = 16000\n[agents.a]\n", {})
    assert found.asterisk == Asterisk(url=URL, app="voices")
    assert found.health == Health(port=16000)
    assert found.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        f"[asterisk]\nurl = '{URL}'\n[agents.a]\ngreting = 'Hi'\n",
        f"[asterisk]\nurl = '{URL}'\n[agents.a]\nprovider = 'gone with the update'\n",
        f"[asterisk]\nurl = '{URL}'\n[agents.a\n",
    ],
    ids=["a setting", "a provider", "no TOML"],
)
def test_what_is_wrong_elsewhere_is_of_no_account(text: str) -> None:
    found = essentials(text, {})
    assert (found.asterisk, found.problems) == (Asterisk(url=URL), ())


def test_a_default_stands_in_for_what_cannot_be_used_and_that_is_told() -> None:
    found = essentials("[asterisk]\nurl = 'Asterisk'\napp = 'voices'\nusr = 'x'\n[health]\nport = 'none'\n", {})
    assert (found.asterisk, found.health) == (Asterisk(app="voices"), Health())
    assert sorted(problem.path for problem in found.problems) == ["asterisk.url", "asterisk.usr", "health.port"]


def test_without_any_configuration_there_are_the_defaults() -> None:
    found = essentials("", {})
    assert (found.asterisk, found.health, found.problems) == (Asterisk(), Health(), ())


def test_the_health_page_is_where_the_daemons_environment_says() -> None:
    found = essentials("[health]\nport = 16000\n", {"HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": "17000"})
    assert found.health == Health("127.0.0.1", 17000)
    assert essentials("", {"HEALTH_PORT": "many"}).health == Health()


WHERE_THEY_ARE_ABSENT = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv.pop(1))))
from agentd.cli import main
sys.exit(main())
"""
"""Python refuses to import what has None for a module."""


class Nobody(BaseHTTPRequestHandler):
    """An Asterisk without a channel, and no agentd."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def nobody() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Nobody) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_it_runs_where_calls_providers_and_engines_cannot_be_imported(nobody: int, tmp_path: Path) -> None:
    """Of the service it needs itself and what writes its log, which is made of structlog and no room of ours."""
    rooms = {
        "agent", "audiosocket", "calls", "doctor", "playback", "playout", "plugins", "serving", "testing", "tools",
        "transports", "websocket",
    }  # fmt: skip
    needed = {"__init__", "hand_back", "page_reader", "command_logs", "tracebacks"}
    services = {path.stem for path in Path(agentd.service.__path__[0]).glob("*.py")}
    absent = [
        *("agentd_providers", "numpy", "onnxruntime", "trio_websocket"),
        *(f"agentd.{room}" for room in rooms),
        *(f"agentd.service.{module}" for module in services - needed),
    ]
    config = tmp_path / "agent.toml"
    config.write_text(f"[asterisk]\nurl = 'http://127.0.0.1:{nobody}'\n[health]\nport = {nobody}\n")
    done = subprocess.run(
        [sys.executable, "-c", WHERE_THEY_ARE_ABSENT, json.dumps(absent), "hand-back", "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {ARI_PASSWORD: "secret"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "callers handed back to the dialplan: 0; still in the application 'agentd': 0\n"
