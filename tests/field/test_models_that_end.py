"""Models end: no default, sample or document names one that is known to; `agentd check` notes it, with what takes its
place. The days are OpenAI's own: https://developers.openai.com/api/docs/deprecations, as its Python package repeats
them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from agentd.config.file import parse_config
from agentd.config.sample import sample_toml
from agentd.parsing import load_toml
from agentd.service.catalogue import installed_catalogue
from agentd_providers.model_list import Standing, UsedModel, told_of
from agentd_providers.model_names import CHECKED, ENDS, LANGUAGES_ARE_LISTED, TRANSCRIBE
from agentd_providers.openai.realtime.messages import LanguageHint, session_update
from agentd_providers.openai.realtime.settings import RealtimeSettings, RealtimeTranscriptionSettings
from agentd_providers.registry import find_provider
from tests.field.test_names_that_cannot_work import stage

ROOT = Path(__file__).parents[2]
TYPES = Path(openai.__file__).parent / "types"
TELLING = [
    "shared/chat_model.py",
    "audio/speech_model.py",
    "audio_model.py",
    "realtime/audio_transcription.py",
    "realtime/realtime_session_create_request.py",
]


def told() -> Iterator[tuple[str, str]]:
    """What the installed package tells of ends since July 2026."""
    for module in TELLING:
        text = re.sub(r"\s*\n\s*", " ", (TYPES / module).read_text("utf-8"))
        for names, day in re.findall(r'- ((?:"[^"]+",? ?)+): Announced shutdown date: (\d{4}-\d\d-\d\d)', text):
            yield from ((name, day) for name in re.findall('"([^"]+)"', names) if day >= "2026-07")


def notes(text: str, today: str) -> list[str]:
    return list(parse_config(load_toml(text), {}, installed_catalogue(), today=today).notes)


def test_the_table_has_every_end_that_the_package_tells() -> None:
    ends = dict(told())
    assert len(ends) > 50
    assert {name: ENDS.get(name, ("not in the table", ""))[0] for name in ends} == ends


@pytest.mark.parametrize("path", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_no_document_configures_a_model_that_ends(path: str) -> None:
    named = re.findall(r'^\s*model = "([^"]+)"', (ROOT / path).read_text("utf-8"), re.M)
    assert not [name for name in named if name in ENDS]


def test_no_default_and_no_sample_names_a_model_that_ends() -> None:
    quoted = set(re.findall(r'"([^"]+)"', sample_toml(installed_catalogue())))
    assert not quoted & ENDS.keys()


@pytest.mark.parametrize("provider", ["local", "deepgram", "openai_realtime", "pipeline"])
def test_an_agent_of_defaults_has_no_note(provider: str) -> None:
    stages = "[agents.a.pipeline]\nlisten = 'openai'\nthink = 'openai'\n" if provider == "pipeline" else ""
    assert notes(f"[agents.a]\nprovider = '{provider}'\n{stages}", CHECKED) == []


NAMED = [
    ("pipeline", stage("think", "openai", "model = 'gpt-4.1-mini'"), "2027-01-14", "'gpt-5.4-mini' takes its place"),
    ("pipeline", stage("listen", "openai", "model = 'gpt-4o-mini-transcribe'"), "2027-02-26", "'gpt-transcribe'"),
    ("pipeline", stage("listen", "openai", "model = 'whisper-1'"), "2027-02-26", "'gpt-transcribe'"),
    ("pipeline", stage("speak", "openai", "model = 'gpt-4o-mini-tts'"), "2027-01-06", "no successor is known"),
    ("pipeline", stage("speak", "openai", "model = 'tts-1'"), "2027-01-06", "no successor is known"),
    (
        "pipeline",
        stage("think", "openai", "model = 'gpt-4o'\nbase_url = 'https://eu.api.openai.com/v1'"),
        "2027-01-14",
        "'gpt-5.4-mini'",
    ),
    ("deepgram", "[agents.a.deepgram.think]\nmodel = 'gpt-4o-mini'", "2027-01-14", "'gpt-5.4-mini'"),
    ("openai_realtime", "model = 'gpt-realtime'", "2027-01-20", "'gpt-realtime-2.1'"),
    (
        "openai_realtime",
        "[agents.a.openai_realtime.transcription]\nmodel = 'gpt-4o-transcribe'",
        "2027-02-26",
        "'gpt-transcribe'",
    ),
    (
        "openai_realtime",
        "[agents.a.openai_realtime.announcements]\nmodel = 'gpt-4o-mini-tts'",
        "2027-01-06",
        "no successor",
    ),
    (
        "local",
        "[agents.a.local.llm]\nbase_url = 'https://api.openai.com/v1'\nmodel = 'gpt-4.1-mini'\napi_key_name = 'K'",
        "2027-01-14",
        "'gpt-5.4-mini'",
    ),
]


@pytest.mark.parametrize(("provider", "table", "day", "instead"), NAMED)
def test_check_notes_a_model_whose_end_is_near(provider: str, table: str, day: str, instead: str) -> None:
    text = f"[agents.a]\nprovider = '{provider}'\n[agents.a.{provider}]\n{table}"
    (note,) = notes(text, "2026-11-29")
    assert f"on {day}" in note
    assert instead in note
    assert CHECKED in note
    assert notes(text, "2026-01-31") == [], "it is not near"
    (past,) = notes(text, "2027-06-01")
    assert f"until {day}" in past


@pytest.mark.parametrize(
    "table",
    [
        stage("think", "openai", "base_url = 'http://localhost:11434/v1'\nmodel = 'gpt-4o-mini'"),
        stage("listen", "openai", "base_url = 'http://localhost:8000/v1'\nmodel = 'whisper-1'"),
        stage("speak", "openai", "base_url = 'http://localhost:8880/v1'\nmodel = 'tts-1'"),
        stage("think", "openai", "model = 'a-model-nobody-knows'"),
    ],
)
def test_the_name_of_another_servers_model_tells_nothing(table: str) -> None:
    assert notes(f"[agents.a]\nprovider = 'pipeline'\n[agents.a.pipeline]\n{table}", "2026-11-29") == []


@pytest.mark.parametrize(
    ("model", "hint", "sent"),
    [
        # openai 3.57, types/realtime/audio_transcription.py: languages is of gpt-transcribe and gpt-live-transcribe
        *((model, None, {"languages": ["de"]}) for model in sorted(LANGUAGES_ARE_LISTED)),
        ("gpt-4o-transcribe", None, {"language": "de"}),
        ("whisper-1", None, {"language": "de"}),
        ("a-model-of-ones-own", None, {"language": "de"}),
        (TRANSCRIBE, LanguageHint.NONE, {}),
    ],
)
def test_a_transcription_is_told_its_language_as_its_model_takes_it(
    model: str, hint: LanguageHint | None, sent: dict[str, object]
) -> None:
    settings = RealtimeSettings(transcription=RealtimeTranscriptionSettings(model))
    update = session_update(settings, "", "de-DE", (), hint)
    assert update["session"]["audio"]["input"]["transcription"] == {"model": model, **sent}


# --- what servers tell in their own lists


def used(model: str, kind: str = "chat") -> UsedModel:
    return UsedModel("think_openai.model", model, kind)


LISTS: list[tuple[str, Any, UsedModel, Standing, str, str]] = [
    # openai 3.54, types/model.py: "shutdown_date", a day or null; the shape of the list: API reference, models/list
    (
        "https://api.openai.com/v1/models",
        {"object": "list", "data": [{"id": "gpt-4.1-mini", "object": "model", "shutdown_date": "2027-01-14"}]},
        used("gpt-4.1-mini"),
        Standing.ENDS,
        "2027-01-14",
        "gpt-5.4-mini",
    ),
    (
        "https://eu.api.openai.com/v1/models",
        {"data": [{"id": "whisper-1", "shutdown_date": "2027-02-26"}]},
        used("whisper-1", "speech to text"),
        Standing.ENDS,
        "2027-02-26",
        "gpt-transcribe",
    ),
    (
        "https://api.openai.com/v1/models",
        {"data": [{"id": "tts-1", "shutdown_date": "2027-01-06"}]},
        used("tts-1", "speech"),
        Standing.ENDS,
        "2027-01-06",
        "",
    ),
    (
        "https://api.openai.com/v1/models",
        {"data": [{"id": "gpt-realtime-2.1", "shutdown_date": None}]},
        used("gpt-realtime-2.1", "realtime"),
        Standing.SERVED,
        "",
        "",
    ),
    # what a list tells goes before our own table
    (
        "https://api.openai.com/v1/models",
        {"data": [{"id": "gpt-4o", "shutdown_date": "2028-01-01"}]},
        used("gpt-4o"),
        Standing.SERVED,
        "2028-01-01",
        "gpt-5.4-mini",
    ),
    # https://docs.mistral.ai/api/endpoint/models
    (
        "https://api.mistral.ai/v1/models",
        {
            "data": [
                {
                    "id": "mistral-medium-2508",
                    "aliases": ["mistral-medium-latest"],
                    "deprecation": "2026-08-31T12:00:00Z",
                    "deprecation_replacement_model": "mistral-medium-3-5",
                }
            ]
        },
        used("mistral-medium-latest"),
        Standing.ENDED,
        "2026-08-31",
        "mistral-medium-3-5",
    ),
    # https://openrouter.ai/docs/client-sdks/go/api-reference/models/model
    (
        "https://openrouter.ai/api/v1/models",
        {"data": [{"id": "z-ai/glm-4.7", "expiration_date": "2026-12-31", "pricing": {}}]},
        used("z-ai/glm-4.7"),
        Standing.ENDS,
        "2026-12-31",
        "",
    ),
    # https://learn.microsoft.com/en-us/rest/api/azureopenai/models/list: Unix times; requests name deployments
    (
        "https://r.openai.azure.com/openai/v1/models",
        {
            "data": [
                {
                    "id": "gpt-4o-mini",
                    "lifecycle_status": "generally-available",
                    "deprecation": {"fine_tune": 1, "inference": 1709284527},
                }
            ]
        },
        used("gpt-4o-mini"),
        Standing.ENDED,
        "2024-03-01",
        "",
    ),
    (
        "https://r.openai.azure.com/openai/v1/models",
        {"data": [{"id": "gpt-4o-mini", "lifecycle_status": "generally-available"}]},
        used("our-deployment"),
        Standing.UNTOLD,
        "",
        "",
    ),
    # https://ai.google.dev/gemini-api/docs/openai: ids are "models/..."
    (
        "https://generativelanguage.googleapis.com/v1beta/openai/models",
        {"object": "list", "data": [{"id": "models/gemini-2.5-flash", "object": "model", "owned_by": "google"}]},
        used("gemini-2.5-flash"),
        Standing.SERVED,
        "",
        "",
    ),
    # ollama/ollama, docs/openai.md: a name without a tag is the latest
    (
        "http://localhost:11434/v1/models",
        {"object": "list", "data": [{"id": "llama3.2:latest", "object": "model", "owned_by": "library"}]},
        used("llama3.2"),
        Standing.SERVED,
        "",
        "",
    ),
    # https://docs.litellm.ai/docs/wildcard_routing
    ("http://localhost:4000/v1/models", {"data": [{"id": "openai/*"}]}, used("openai/gpt-9"), Standing.SERVED, "", ""),
    # https://docs.together.ai/reference/models-1: a bare list
    ("https://api.together.xyz/v1/models", [{"id": "a/b", "type": "chat"}], used("a/b"), Standing.SERVED, "", ""),
    # llama.cpp's server, tools/server/README.md: both forms in one
    (
        "http://localhost:8080/v1/models",
        {"models": [{"name": "m.gguf", "model": "m.gguf"}], "object": "list", "data": [{"id": "m.gguf", "meta": None}]},
        used("m.gguf"),
        Standing.SERVED,
        "",
        "",
    ),
    # a day that is none is as if there was none
    (
        "http://localhost/v1/models",
        {"data": [{"id": "m", "shutdown_date": "soon"}]},
        used("m"),
        Standing.SERVED,
        "",
        "",
    ),
    ("http://localhost/v1/models", {"data": [{"id": "m", "shutdown_date": {}}]}, used("m"), Standing.SERVED, "", ""),
    (
        "http://localhost/v1/models",
        {"data": [{"id": "m", "deprecation": {"inference": 1e300}}]},
        used("m"),
        Standing.SERVED,
        "",
        "",
    ),
    (
        "http://localhost/v1/models",
        {"data": [None, 7, {"id": None}, {"id": "x" * 101}, {"id": "n"}]},
        used("m"),
        Standing.UNLISTED,
        "",
        "it lists n",
    ),
]


@pytest.mark.parametrize(("url", "answer", "model", "standing", "ends", "instead"), LISTS)
def test_a_servers_own_list_tells_whether_a_model_is_served_and_until_when(
    url: str, answer: Any, model: UsedModel, standing: Standing, ends: str, instead: str
) -> None:
    (told,) = told_of(url, json.dumps(answer).encode(), [model], "2026-11-30")
    assert (told.standing, told.ends) == (standing, ends)
    if standing is not Standing.SERVED:
        assert told.instead == instead


# https://developers.deepgram.com/reference/manage/models/list
DEEPGRAM = {
    "stt": [
        {"name": "general", "canonical_name": "nova-3-general", "architecture": "nova-3", "languages": ["en"]},
        {"name": "phonecall", "canonical_name": "nova-2-phonecall", "architecture": "nova-2", "streaming": True},
    ],
    "tts": [{"name": "thalia", "canonical_name": "aura-2-thalia-en", "architecture": "aura-2"}],
}


@pytest.mark.parametrize(
    ("model", "kind", "standing"),
    [
        ("nova-3", "speech to text", Standing.SERVED),
        ("nova-2-phonecall", "speech to text", Standing.SERVED),
        ("nova-9", "speech to text", Standing.UNLISTED),
        ("flux-general-en", "speech to text", Standing.UNTOLD),  # of a family that the list leaves out
        ("aura-2-thalia-en", "speech", Standing.SERVED),
        ("aura-2", "speech", Standing.UNLISTED),
        ("nova-3", "speech", Standing.UNTOLD),
    ],
)
def test_deepgrams_list_is_read_for_what_hears_and_for_what_speaks(model: str, kind: str, standing: Standing) -> None:
    url = "https://api.deepgram.com/v1/models"
    (told,) = told_of(url, json.dumps(DEEPGRAM).encode(), [used(model, kind)], "2026-11-30")
    assert told.standing is standing


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b"7", b'"x"', b'{"data": {}}', b'{"data": []}', b'{"stt": 1}', b"\xff", b"[" * 99],
)
def test_what_is_no_list_tells_nothing(body: bytes) -> None:
    assert not told_of("http://localhost/v1/models", body, [used("m")], "2026-11-30")


def test_each_agent_tells_which_lists_its_models_are_in() -> None:
    def lists(table: str) -> Mapping[str, list[str]]:
        config = parse_config(load_toml(f"[agents.a]\n{table}"), {}, installed_catalogue()).agents["a"]
        credentials = find_provider(config.provider).credentials(config.settings)
        found: dict[str, list[str]] = {}
        for each in (models for credential in credentials for models in credential.lists):
            found.setdefault(each.url, []).extend(f"{one.setting} {one.model} {one.kind}" for one in each.used)
        return found

    assert lists("provider = 'deepgram'") == {
        "https://api.deepgram.com/v1/models": [
            "listen.model nova-3 speech to text",
            "speak.model aura-2-thalia-en speech",
        ]
    }
    eu = "url = 'wss://api.eu.deepgram.com/v1/agent/converse'"
    assert list(lists(f"provider = 'deepgram'\n[agents.a.deepgram]\n{eu}")) == ["https://api.eu.deepgram.com/v1/models"]
    own = "url = 'ws://localhost:8080/v1/agent/converse'"
    assert lists(f"provider = 'deepgram'\n[agents.a.deepgram]\n{own}") == {}, "a server of one's own may have none"
    assert lists("provider = 'pipeline'\n[agents.a.pipeline]\nlisten = 'deepgram'\nspeak = 'deepgram'") == {
        "https://api.deepgram.com/v1/models": [
            "listen_deepgram.model nova-3 speech to text",
            "speak_deepgram.voice aura-2-thalia-en speech",
        ],
        "https://api.openai.com/v1/models": ["think_openai.model gpt-5.4-mini chat"],
    }
    announcements = "announcements = { base_url = 'http://localhost:8880/v1', model = 'kokoro' }"
    assert lists(f"provider = 'openai_realtime'\n[agents.a.openai_realtime]\n{announcements}") == {
        "https://api.openai.com/v1/models": [
            "model gpt-realtime-2.1 realtime",
            "transcription.model gpt-transcribe speech to text",
        ],
        "http://localhost:8880/v1/models": ["announcements.model kokoro speech"],
    }
