"""A provider in a package of its own joins by its entry point alone: its settings are checked, told and described."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.lab.packages import PARROT, install

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PARROT, tmp_path_factory.mktemp("site"))


def agentd(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-m", "agentd", *arguments], env=environ, capture_output=True, text=True, timeout=60
    )


def check(installed: Path, tmp_path: Path, settings: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "agent.toml"
    config.write_text(f'[agents.polly]\nprovider = "parrot"\n[agents.polly.parrot]\n{settings}\n')
    return agentd(installed, "check", "--config", str(config))


def test_an_agent_of_the_package_is_accepted(installed: Path, tmp_path: Path) -> None:
    done = check(installed, tmp_path, "quiet_ms = 500")
    assert (done.returncode, done.stderr) == (0, "")
    assert "agents: polly" in done.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("quite_ms = 500", "agents.polly.parrot.quite_ms: unknown; did you mean 'quiet_ms'?"),
        ("quiet_ms = 0", "agents.polly.parrot.quiet_ms: must be greater than 0, not 0"),
        ("loud_dbfs = 'very'", 'agents.polly.parrot.loud_dbfs: must be a number, not "very"'),
    ],
)
def test_a_mistake_in_its_settings_is_refused_with_its_place(
    installed: Path, tmp_path: Path, settings: str, said: str
) -> None:
    done = check(installed, tmp_path, settings)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_schema_describes_its_settings(installed: Path) -> None:
    schema = json.loads(agentd(installed, "schema").stdout)
    settings = schema["properties"]["agents"]["additionalProperties"]["properties"]["parrot"]
    assert settings["properties"]["quiet_ms"]["default"] == 700
    assert settings["properties"]["quiet_ms"]["description"] == "Silence after which the caller has finished."
    good = {"agents": {"polly": {"provider": "parrot", "parrot": {"quiet_ms": 500}}}}
    jsonschema.validate(good, schema)
    good["agents"]["polly"]["parrot"]["quite_ms"] = 500  # type: ignore[index]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good, schema)


def test_without_the_package_its_provider_is_unknown(tmp_path: Path) -> None:
    done = check(tmp_path, tmp_path, "")
    assert done.returncode == 2
    assert "agents.polly.provider: there is no provider 'parrot'" in done.stderr


def test_the_installed_package_has_its_licence_and_needs_agentd(installed: Path) -> None:
    (metadata,) = installed.glob("agentd_parrot-*.dist-info/METADATA")
    lines = metadata.read_text().splitlines()
    assert "License-Expression: Apache-2.0" in lines
    assert "Requires-Dist: asterisk-agentd" in lines
