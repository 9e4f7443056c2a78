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
    return check_file(installed, tmp_path, f'[agents.polly]\nprovider = "parrot"\n[agents.polly.parrot]\n{settings}\n')


def check_file(installed: Path, tmp_path: Path, toml: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "agent.toml"
    config.write_text(toml)
    return agentd(installed, "check", "--config", str(config))


PIPELINE = """
[agents.whistler]
provider = "pipeline"
[agents.whistler.pipeline]
speak = "parrot"
"""


def add_broken_package(site: Path) -> None:
    """A package whose stage cannot be loaded: what it needs is not installed."""
    (site / "broken_stage.py").write_text("import a_library_that_nobody_has\n")
    metadata = site / "broken_stage-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-stage\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[agentd.stages]\nlisten_broken = broken_stage:LISTEN\n")


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


def test_a_pipeline_may_speak_by_its_stage(installed: Path, tmp_path: Path) -> None:
    done = check_file(installed, tmp_path, f"{PIPELINE}[agents.whistler.pipeline.speak_parrot]\npitch_hz = 900\n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "[agents.whistler.pipeline.speak_parrot]\npich_hz = 900",
            "agents.whistler.pipeline.speak_parrot.pich_hz: unknown; did you mean 'pitch_hz'?",
        ),
        (
            "[agents.whistler.pipeline.speak_parrot]\npitch_hz = 0",
            "agents.whistler.pipeline.speak_parrot.pitch_hz: must be greater than 0, not 0",
        ),
        ('think = "parrot"', 'agents.whistler.pipeline.think: must be one of embedded, openai, not "parrot"'),
        (
            "[agents.whistler.pipeline.speak_parot]",
            "agents.whistler.pipeline.speak_parot: unknown; did you mean 'speak_parrot'?",
        ),
    ],
)
def test_a_mistake_about_its_stage_is_refused_with_its_place(
    installed: Path, tmp_path: Path, settings: str, said: str
) -> None:
    done = check_file(installed, tmp_path, PIPELINE + settings)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_schema_and_the_sample_describe_its_stage(installed: Path) -> None:
    schema = json.loads(agentd(installed, "schema").stdout)
    pipeline = schema["properties"]["agents"]["additionalProperties"]["properties"]["pipeline"]
    assert "parrot" in pipeline["properties"]["speak"]["enum"]
    assert pipeline["properties"]["speak_parrot"]["properties"]["pitch_hz"]["default"] == 1200
    assert "#pitch_hz = 1200\n" in agentd(installed, "sample").stdout


def test_a_stage_that_cannot_be_loaded_is_told_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    site = install(PARROT, tmp_path / "site")
    add_broken_package(site)
    good = check_file(site, tmp_path, PIPELINE)
    assert good.returncode == 0
    problem = (
        "the entry point broken_stage:LISTEN of the stage 'listen_broken' cannot be loaded: "
        "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"
    )
    assert f"note: {problem}" in good.stdout
    bad = check_file(site, tmp_path, f'{PIPELINE}listen = "broken"\n')
    assert bad.returncode == 2
    assert f"agents.whistler.pipeline.listen: {problem}" in bad.stderr
    schema = agentd(site, "schema")
    assert problem in schema.stderr
    assert "speak_parrot" in schema.stdout
    assert "listen_broken" not in schema.stdout


def test_without_the_package_its_provider_is_unknown(tmp_path: Path) -> None:
    done = check(tmp_path, tmp_path, "")
    assert done.returncode == 2
    assert "agents.polly.provider: there is no provider 'parrot'" in done.stderr


def test_the_installed_package_has_its_licence_and_needs_agentd(installed: Path) -> None:
    (metadata,) = installed.glob("agentd_parrot-*.dist-info/METADATA")
    lines = metadata.read_text().splitlines()
    assert "License-Expression: Apache-2.0" in lines
    assert "Requires-Dist: asterisk-agentd" in lines
