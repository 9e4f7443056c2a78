"""`agentd hand-back` has to find Asterisk where the daemon refuses its configuration, and to start where it cannot."""

import subprocess
import sys

import pytest

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


def test_it_starts_where_calls_providers_and_engines_cannot_be_imported() -> None:
    program = "import sys, agentd.cli, agentd.service.hand_back\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout.split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("agentd.")}
    assert rooms & {
        "agent", "audiosocket", "calls", "doctor", "playback", "playout", "plugins", "serving", "testing", "tools",
        "transports", "websocket",
    } == set()  # fmt: skip
    assert {name for name in loaded if name.startswith("agentd.service.")} == {"agentd.service.hand_back"}
    assert {"agentd_providers", "numpy", "onnxruntime", "trio_websocket"}.isdisjoint(loaded)
