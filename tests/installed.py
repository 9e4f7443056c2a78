"""agentd.config.file and agentd.config.sample, handed everything that is installed on this host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentd.config import file, sample
from agentd.config.settings import Config, Logging
from agentd.service.catalogue import installed_catalogue


def parse_config(raw: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    return file.parse_config(raw, environ, installed_catalogue())


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    return file.load_config(path, environ, installed_catalogue())


def load_speech_server(path: Path) -> tuple[Any, Logging]:
    return file.load_speech_server(path, installed_catalogue())


def sample_toml() -> str:
    return sample.sample_toml(installed_catalogue())


def config_schema() -> dict[str, Any]:
    return sample.config_schema(installed_catalogue())
