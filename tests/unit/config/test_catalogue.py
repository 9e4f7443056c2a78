"""A configuration knows what it is handed; what is installed and broken is told by name, and the rest goes on."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated

import attrs
import jsonschema
import pytest
from structlog.testing import capture_logs

from agentd import plugins
from agentd.cli import main
from agentd.config.catalogue import Catalogue, Choices
from agentd.config.file import parse_config
from agentd.config.sample import config_schema, sample_toml
from agentd.config.schema import text
from agentd.doctor import State, examine
from agentd.errors import ConfigError
from agentd.tools.contract import ToolKind
from agentd_providers.pipeline.rows import ListenStage
from agentd_providers.registry import Provider


@attrs.frozen
class LocalTable:
    """An agent of this host."""

    pitch: Annotated[float, text("How high it speaks.")] = 1.0


@attrs.frozen
class SpeechTable:
    """Speech for others."""

    port: Annotated[int, text("Port to listen on.")] = 1


BROKEN = ConfigError("the provider 'parrot' has flown")
HOST = Catalogue(
    providers=Choices("provider", {"local": LocalTable, "parrot": BROKEN}, ("local",)),
    stages=Choices("stage", {}),
    tools=Choices("kind of tools", {"whistle": LocalTable}, ()),
    speech_server=SpeechTable,
    transports=("pigeon", "post"),
)


def refused(toml: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(tomllib.loads(toml), {}, HOST)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_a_configuration_names_what_the_catalogue_has() -> None:
    raw = tomllib.loads(
        '[agents.a]\ntools = ["whistle"]\n[agents.a.local]\npitch = 2.0\n[calls]\ndefault_media = "post"'
    )
    config = parse_config(raw, {}, HOST)
    assert config.agents["a"].settings == LocalTable(2.0)
    assert config.tools["whistle"].settings == LocalTable()
    assert config.calls.default_media == "post"


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (
            '[agents.a]\nprovider = "locl"\n[calls]\ndefault_media = "post"',
            ["agents.a.provider: there is no provider 'locl'; did you mean 'local'?"],
        ),
        (
            '[agents.a]\n[calls]\ndefault_media = "pst"',
            ["calls.default_media: must be one of pigeon, post, not \"pst\"; did you mean 'post'?"],
        ),
        (
            '[agents.a]\n[calls]\ndefault_media = "post"\n[tools.w]\nkind = "whistl"',
            ["tools.w.kind: there is no kind of tools 'whistl'; did you mean 'whistle'?"],
        ),
        (
            '[agents.a]\n[calls]\ndefault_media = "post"\n[speech_server]\nprot = 2',
            ["speech_server.prot: unknown; did you mean 'port'?"],
        ),
        (
            '[agents.a]\nprovider = "parrot"\n[agents.b.local]\npitch = "high"\n[calls]\ndefault_media = "post"',
            [
                f"agents.a.provider: {BROKEN}",
                'agents.b.local.pitch: must be a number, not "high"',
            ],
        ),
        (
            "[agents.a]\n[agents.a.parrot]\nperch = 1\n[calls]\ndefault_media = 'post'",
            [f"agents.a.parrot: {BROKEN}"],
        ),
    ],
)
def test_what_it_lacks_is_told_with_the_nearest_name_or_the_reason(toml: str, told: list[str]) -> None:
    assert refused(toml) == told


def test_the_schema_has_what_can_be_used() -> None:
    schema = config_schema(HOST)
    agent = schema["properties"]["agents"]["additionalProperties"]["properties"]
    assert "local" in agent
    assert "parrot" not in agent
    assert "whistle" in schema["properties"]["tools"]["additionalProperties"]["properties"]
    assert schema["properties"]["calls"]["properties"]["default_media"]["enum"] == ["pigeon", "post"]
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_sample_shows_what_is_built_in() -> None:
    raw = tomllib.loads(sample_toml(HOST))
    assert raw["agents"]["default"]["local"] == {"pitch": 1.0}
    assert raw["speech_server"] == {"port": 1}
    assert "whistle" not in sample_toml(HOST)


# --- installed packages that are broken -------------------------------------------------------------------------


@attrs.frozen
class NoDefault:
    """Settings that an agent without a table cannot have."""

    perch: int


@attrs.frozen
class NoDescription:
    """Settings of a type that no TOML has."""

    perch: complex = 0j


def _never_opened(*_: object) -> None:
    raise AssertionError


def _broken_settings() -> object:
    raise RuntimeError("a wing is broken")


BROKEN_PROVIDERS: Mapping[str, object] = {
    "import": ZeroDivisionError("division by zero"),
    "exit": SystemExit("good bye"),
    "sort": "no provider at all",
    "class": Provider(str, _never_opened),  # type: ignore[arg-type]
    "default": Provider(NoDefault, _never_opened),  # type: ignore[arg-type]
    "type": Provider(NoDescription, _never_opened),  # type: ignore[arg-type]
    "factory": Provider(
        attrs.make_class("Odd", {"perch": attrs.field(factory=_broken_settings, type=int)}), _never_opened
    ),  # type: ignore[arg-type]
}


@pytest.fixture(params=BROKEN_PROVIDERS)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a provider called parrot, a stage called listen_parrot and a kind of tools called hours, all of
    them broken."""

    class Point(EntryPoint):
        def load(self) -> object:
            value = BROKEN_PROVIDERS[request.param]
            if self.group == "agentd.tools" and isinstance(value, Provider):
                value = ToolKind(value.settings, _never_opened)  # type: ignore[arg-type]
            if self.group == "agentd.stages" and isinstance(value, Provider):
                value = ListenStage(value.settings, _never_opened)  # type: ignore[arg-type]
            if isinstance(value, BaseException):
                raise value
            return value

    names = {"agentd.providers": "parrot", "agentd.stages": "listen_parrot", "agentd.tools": "hours"}
    monkeypatch.setattr(plugins, "installed", lambda group: {names[group]: Point(names[group], "broken:THING", group)})
    yield


def write(path: Path, toml: str) -> str:
    (path / "agent.toml").write_text(toml)
    return str(path / "agent.toml")


@pytest.mark.usefixtures("broken")
def test_check_notes_a_broken_package_that_nobody_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", write(tmp_path, "[agents.a]\n")]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("note: the") and "'parrot'" in line]
    assert [line for line in out.splitlines() if line.startswith("note: the") and "'hours'" in line]
    assert [line for line in out.splitlines() if line.startswith("note: the") and "'listen_parrot'" in line]


@pytest.mark.usefixtures("broken")
def test_check_refuses_the_agent_that_uses_it_and_checks_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = "[agents.a]\nprovider = 'parrot'\ntools = ['hours']\n[agents.b.local.tts]\nvoise = ''\n"
    assert main(["check", "--config", write(tmp_path, toml)]) == 2
    head, *lines = capsys.readouterr().err.splitlines()
    assert head.endswith(": 3 problems")
    assert [line.split(": ")[0].strip() for line in lines] == [
        "agents.a.provider",
        "agents.a.tools",
        "agents.b.local.tts.voise",
    ]
    assert "'parrot'" in lines[0]
    assert "'hours'" in lines[1]


@pytest.mark.usefixtures("broken")
def test_a_pipeline_that_names_a_broken_stage_is_refused_and_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "[agents.a]\nprovider = 'pipeline'\n[agents.a.pipeline]\nlisten = 'openai'\n"
    assert main(["check", "--config", write(tmp_path, good)]) == 0
    capsys.readouterr()
    chosen = good.replace("openai", "parrot") + "[agents.b]\nprovider = 'pipeline'\n[agents.b.pipeline.listen_parrot]\n"
    assert main(["check", "--config", write(tmp_path, chosen)]) == 2
    _, *lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0].strip() for line in lines] == [
        "agents.a.pipeline.listen",
        "agents.b.pipeline.listen_parrot",
    ]
    assert all("'listen_parrot'" in line for line in lines), "told by its name"


@pytest.mark.usefixtures("broken")
def test_the_schema_is_printed_without_it_and_stderr_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    out, err = capsys.readouterr()
    agent = json.loads(out)["properties"]["agents"]["additionalProperties"]["properties"]
    assert {"local", "pipeline"} <= set(agent)
    assert "parrot" not in agent
    assert "listen_openai" in agent["pipeline"]["properties"]
    assert "listen_parrot" not in agent["pipeline"]["properties"]
    assert [line.split()[0] for line in err.splitlines()] == ["note:"] * 3


@pytest.mark.usefixtures("broken")
def test_the_sample_is_printed_and_stderr_says_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample"]) == 0
    out, err = capsys.readouterr()
    assert "default" in tomllib.loads(out)["agents"]
    assert "'parrot'" in err


def test_a_settings_class_without_a_description_of_its_own_can_be_used() -> None:
    bare = attrs.make_class("Bare", {"pitch": attrs.field(default=1.0, type=float)})
    bare.__doc__ = None
    schema = config_schema(attrs.evolve(HOST, speech_server=bare))
    assert schema["properties"]["speech_server"]["description"] == ""


@pytest.mark.usefixtures("broken")
async def test_the_doctor_warns_of_it(tmp_path: Path) -> None:
    findings = await examine(Path(write(tmp_path, "[agents.a]\nprovider = 'parrot'\n")), {})
    first, *packages, last = findings
    assert (first.check, first.failed, last.check) == ("configuration", True, "everything else")
    assert [(finding.check, finding.state) for finding in packages] == [("packages", State.WARN)] * 3
    for finding, name in zip(packages, ("parrot", "listen_parrot", "hours"), strict=True):
        assert f"'{name}'" in finding.found


@pytest.mark.usefixtures("broken")
def test_the_daemon_starts_all_the_same_and_logs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started:
        def __init__(self, *_: object) -> None:
            pass

        async def run(self) -> None:
            """The daemon, stopped at once."""

    monkeypatch.setattr("agentd.service.supervisor.Supervisor", Started)
    monkeypatch.setattr("agentd.service.logs.set_up_logging", lambda _: None)
    monkeypatch.setattr("agentd.cli.log_to_stderr", lambda: None)
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    monkeypatch.setenv("AGENTD_ARI_PASSWORD", "hunter2")
    with capture_logs() as logs:
        assert main(["--config", write(tmp_path, "[agents.a]\n")]) == 0
    told = [entry["problem"] for entry in logs if entry["event"] == "an installed package cannot be used"]
    assert len(told) == 3
    assert "'parrot'" in told[0]
