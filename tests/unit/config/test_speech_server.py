"""The table [speech_server]: read by `agentd speech-server` alone, checked by everybody."""

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.config.schema import settings_of
from agentd.config.settings import Logging, LogLevel
from agentd.errors import ConfigError
from agentd_providers.local.settings import Engine, SttSettings, TtsSettings
from agentd_providers.wyoming.server.settings import SpeechServerSettings
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings, split_uri
from tests.installed import config_schema, load_speech_server, parse_config, sample_toml

SAMPLE = tomllib.loads(sample_toml())["speech_server"]


def load(directory: Path, toml: str) -> tuple[SpeechServerSettings, Logging]:
    path = directory / "agent.toml"
    path.write_text(toml)
    return load_speech_server(path)


def test_a_file_with_nothing_but_the_table_is_enough(tmp_path: Path) -> None:
    assert load(tmp_path, "[speech_server]\n") == (SpeechServerSettings(), Logging())


def test_the_tables_of_the_daemon_may_stand_beside_it_and_are_not_looked_at(tmp_path: Path) -> None:
    toml = '[logging]\nlevel = "debug"\n[asterisk]\nurl = "nonsense"\n[agents.a]\nx = 1\n[speech_server]\nport = 1\n'
    settings, logging = load(tmp_path, toml)
    assert (settings.port, logging.level) == (1, LogLevel.DEBUG)


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("", r"speech_server: there is no table \[speech_server\]"),
        ("speech_server = 5", r"speech_server: must be a table"),
        ("[speach_server]\n[speech_server]", r"speach_server: unknown"),
        ("[speech_server]\nprot = 5", r"speech_server\.prot: unknown; did you mean 'port'"),
        ('[speech_server]\nallow = ["here"]', r"speech_server\.allow: .*networks look like"),
        ("[speech_server]\nprocesses = 0", r"speech_server\.processes: must be greater than 0"),
        ("[speech_server]\nhealth_port = 10300", r"speech_server\.health_port: port 10300 is speech_server\.port"),
        ("[speech_server]\ntranscribes = false\nsynthesises = false", r"nothing is left to serve"),
        ('[speech_server.stt]\nengine = "vosk"', r"speech_server\.languages: must tell"),
        ('[speech_server.stt]\nengine = "whisper"', r"speech_server\.stt\.engine: must be one of"),
        ('[logging]\nlevel = "loud"\n[speech_server]', r"logging\.level"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, toml: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path, toml)


def test_the_daemon_refuses_a_file_whose_table_is_wrong_and_ignores_one_that_is_right() -> None:
    with pytest.raises(ConfigError, match=r"speech_server\.prot"):
        parse_config({"agents": {"a": {}}, "speech_server": {"prot": 5}}, {})
    assert parse_config({"agents": {"a": {}}, "speech_server": {"port": 5}}, {}) == parse_config(
        {"agents": {"a": {}}}, {}
    )


def test_the_sample_shows_every_setting_at_its_default(tmp_path: Path) -> None:
    assert load(tmp_path, sample_toml())[0] == SpeechServerSettings()
    for cls, table in ((SpeechServerSettings, SAMPLE), (SttSettings, SAMPLE["stt"]), (TtsSettings, SAMPLE["tts"])):
        assert set(table) == {setting.name for setting in settings_of(cls)}


def test_the_schema_knows_the_table() -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    assert validator.is_valid({"speech_server": {"port": 1, "stt": {"engine": "vosk"}}})
    assert not validator.is_valid({"speech_server": {"prot": 1}})


@pytest.mark.parametrize("cls", [SpeechServerSettings, WyomingListenSettings, WyomingSpeakSettings])
def test_every_setting_says_what_it_is_for(cls: type) -> None:
    assert [
        setting.name for setting in settings_of(cls) if not setting.doc and setting.name not in ("stt", "tts")
    ] == []


def test_vosk_is_served_once_its_languages_are_told() -> None:
    settings = SpeechServerSettings(stt=SttSettings(Engine.VOSK, "m"), languages=["ko"])
    assert list(settings.impossible()) == []


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("tcp://10.0.0.1:10300", ("10.0.0.1", 10300)),
        ("tcp://[::1]:1", ("::1", 1)),
        ("tcp://speech:65535", ("speech", 65535)),
    ],
)
def test_a_server_is_named_by_host_and_port(uri: str, parts: tuple[str, int]) -> None:
    assert split_uri(uri) == parts


@pytest.mark.parametrize(
    "uri",
    ["", "speech:10300", "tcp://speech", "tcp://:1", "tcp://a:0", "tcp://a:70000", "tcp://a:b", "tcp://a:1/x",
     "tcp://u:p@a:1", "unix:///run/x", "http://a:1", "tcp://a:1?x", "tcp://[::1:5"],
)  # fmt: skip
def test_anything_else_is_refused(uri: str) -> None:
    def complaints(cls: Any) -> list[str | None]:
        (setting,) = [setting for setting in settings_of(cls) if setting.name == "uri"]
        return [check(uri) for check in setting.checks]

    assert complaints(WyomingListenSettings) == complaints(WyomingSpeakSettings) == ["must be tcp://host:port"]
