"""Models end: no default, sample or document names one that is known to; `agentd check` notes it, with what takes its
place. The days are OpenAI's own: https://developers.openai.com/api/docs/deprecations, as its Python package repeats
them."""

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from agentd.config.file import parse_config
from agentd.config.sample import sample_toml
from agentd.parsing import load_toml
from agentd.service.catalogue import installed_catalogue
from agentd_providers.model_names import CHECKED, ENDS, LANGUAGES_ARE_LISTED, TRANSCRIBE
from agentd_providers.openai.realtime.messages import LanguageHint, session_update
from agentd_providers.openai.realtime.settings import RealtimeSettings, RealtimeTranscriptionSettings
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
