"""Names that cannot work are refused by `agentd check`, with the reason and what works instead; the regions of a vendor
are the vendor's own."""

import pytest

from agentd.config.file import parse_config
from agentd.errors import ConfigError
from agentd.parsing import load_toml
from agentd.service.catalogue import installed_catalogue
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings, credentials

FLUX_LISTEN = "https://developers.deepgram.com/docs/flux/quickstart"
FLUX_SPEAK = "https://developers.deepgram.com/docs/flux-tts/overview"
THINK = "https://developers.deepgram.com/docs/voice-agent-llm-models"
SPEAK = "https://developers.deepgram.com/docs/voice-agent-tts-models"
OPENAI = "https://developers.openai.com/api/docs/models"


def complaint(provider: str, table: str, language: str = "en-US", **agent: str) -> str:
    """What `agentd check` says of an agent; empty: it is good."""
    own = "".join(f"{name} = '{value}'\n" for name, value in agent.items())
    text = f"[agents.a]\nprovider = '{provider}'\nlanguage = '{language}'\n{own}[agents.a.{provider}]\n{table}"
    try:
        parse_config(load_toml(text), {}, installed_catalogue(), today="2026-11-29")
    except ConfigError as error:
        return str(error)
    return ""


def stage(kind: str, name: str, settings: str) -> str:
    return f"{kind} = '{name}'\n[agents.a.pipeline.{kind}_{name}]\n{settings}\n"


CANNOT: list[tuple[str, str, str, str, str]] = [
    # provider, table, what is said, what works instead, source
    ("pipeline", stage("listen", "deepgram", "model = 'flux-general-en'"), "/v2/listen", "nova-3", FLUX_LISTEN),
    ("pipeline", stage("listen", "deepgram", "model = 'flux-general-multi'"), "not built yet", "nova-3", FLUX_LISTEN),
    ("pipeline", stage("speak", "deepgram", "voice = 'flux-haley-en'"), "/v2/speak", "aura-2-thalia-en", FLUX_SPEAK),
    ("deepgram", "[agents.a.deepgram.speak]\nmodel = 'flux-haley-en'", "/v2/speak", "aura-2-thalia-en", FLUX_SPEAK),
    (
        "pipeline",
        stage("listen", "deepgram", "model = 'whisper-large'"),
        "recordings only",
        "nova-3",
        "https://developers.deepgram.com/docs/deepgram-whisper-cloud",
    ),
    (
        "deepgram",
        "[agents.a.deepgram.listen]\nmodel = 'whisper'",
        "recordings only",
        "nova-3",
        "https://developers.deepgram.com/docs/deepgram-whisper-cloud",
    ),
    (
        "pipeline",
        stage("listen", "deepgram", "model = 'nova-2'\nkeyterms = ['Hotel']"),
        "no keyterms",
        "nova-3",
        "https://developers.deepgram.com/docs/keyterm",
    ),
    ("pipeline", stage("listen", "deepgram", "model = 'aura-2-thalia-en'"), "does not listen", "nova-3", SPEAK),
    ("pipeline", stage("listen", "deepgram", "model = 'gpt-4o-transcribe'"), "does not listen", "nova-3", FLUX_LISTEN),
    ("pipeline", stage("speak", "deepgram", "voice = 'nova-3'"), "no voice", "aura-2-thalia-en", SPEAK),
    (
        "deepgram",
        "mip_opt_out = true\n[agents.a.deepgram.think]\nprovider = 'deepgram'\nmodel = 'think-fast'",
        "mip_opt_out",
        "another model",
        "https://developers.deepgram.com/docs/llm/models",
    ),
    (
        "deepgram",
        "[agents.a.deepgram.think]\nprovider = 'anthropic'\nmodel = 'gpt-4o-mini'",
        "open_ai's",
        "open_ai",
        THINK,
    ),
    ("deepgram", "[agents.a.deepgram.think]\nprovider = 'anthropic'", "open_ai's", "open_ai", THINK),
    ("deepgram", "[agents.a.deepgram.think]\nmodel = 'claude-sonnet-4-20250514'", "anthropic's", "anthropic", THINK),
    ("deepgram", "[agents.a.deepgram.think]\nmodel = 'gemini-3.5-flash'", "google's", "google", THINK),
    (
        "deepgram",
        "[agents.a.deepgram.think]\nprovider = 'google'\nmodel = 'think-fast'",
        "deepgram's",
        "deepgram",
        THINK,
    ),
    ("deepgram", "[agents.a.deepgram.speak]\nprovider = 'cartesia'\nvoice = 'x'", "deepgram's", "", SPEAK),
    (
        "deepgram",
        "[agents.a.deepgram.speak]\nprovider = 'cartesia'\nvoice = 'x'\nmodel = 'tts-1'",
        "open_ai's",
        "",
        SPEAK,
    ),
    ("deepgram", "[agents.a.deepgram.speak]\nmodel = 'sonic-2'", "no voice of Deepgram's", "aura-2-thalia-en", SPEAK),
    ("deepgram", "[agents.a.deepgram.speak]\nmodel = 'eleven_turbo_v2_5'", "no voice", "aura-2-thalia-en", SPEAK),
    ("pipeline", stage("think", "openai", "model = 'gpt-realtime-2.1'"), "for realtime", "gpt-5.4-mini", OPENAI),
    ("pipeline", stage("think", "openai", "model = 'gpt-4o-mini-tts'"), "for speech", "gpt-5.4-mini", OPENAI),
    ("pipeline", stage("listen", "openai", "model = 'gpt-5.4-mini'"), "for chat", "gpt-transcribe", OPENAI),
    (
        "pipeline",
        stage("listen", "openai", "model = 'gpt-live-transcribe'"),
        "Realtime sessions only",
        "gpt-transcribe",
        OPENAI,
    ),
    (
        "pipeline",
        stage("listen", "openai", "model = 'gpt-realtime-whisper'"),
        "sessions only",
        "gpt-transcribe",
        OPENAI,
    ),
    ("pipeline", stage("speak", "openai", "model = 'gpt-realtime-2.1-mini'"), "for realtime", "", OPENAI),
    ("pipeline", stage("speak", "openai", "voice = 'alloy'"), "2027-01-06", "deepgram", OPENAI),
    ("openai_realtime", "model = 'gpt-5.4-mini'", "for chat", "gpt-realtime-2.1", OPENAI),
    (
        "openai_realtime",
        "[agents.a.openai_realtime.transcription]\nmodel = 'gpt-realtime-2.1'",
        "for realtime",
        "gpt-transcribe",
        OPENAI,
    ),
    (
        "openai_realtime",
        "[agents.a.openai_realtime.announcements]\nmodel = 'gpt-realtime-2.1-mini'",
        "for realtime",
        "",
        OPENAI,
    ),
]


@pytest.mark.parametrize(("provider", "table", "why", "instead", "source"), CANNOT)
def test_a_name_that_cannot_work_is_refused_with_what_works(
    provider: str, table: str, why: str, instead: str, source: str
) -> None:
    said = complaint(provider, table)
    assert why in said, source
    assert instead in said


def test_a_flux_model_of_english_is_not_for_another_language() -> None:
    """https://developers.deepgram.com/docs/flux/language-prompting"""
    table = (
        "[agents.a.deepgram.listen]\nmodel = 'flux-general-en'\n[agents.a.deepgram.speak]\nmodel = 'aura-2-viktoria-de'"
    )
    assert "hears English only" in complaint("deepgram", table, language="de-DE")
    assert complaint("deepgram", table.replace("-general-en", "-general-multi"), language="de-DE") == ""


@pytest.mark.parametrize(
    ("provider", "table"),
    [
        ("deepgram", ""),
        ("deepgram", "[agents.a.deepgram.listen]\nmodel = 'flux-general-en'"),
        ("deepgram", "[agents.a.deepgram.think]\nmodel = 'my-own-model'"),
        ("deepgram", "[agents.a.deepgram.think]\nmodel = 'claude'\nendpoint_url = 'https://llm.example.com/v1'"),
        ("deepgram", "[agents.a.deepgram.think]\nprovider = 'deepgram'\nmodel = 'think-fast'"),
        ("deepgram", "[agents.a.deepgram.think]\nprovider = 'nvidia'\nmodel = 'nemotron-3-nano-30B-A3B'"),
        ("openai_realtime", ""),
        ("openai_realtime", "url = 'wss://api.x.ai/v1/realtime'\nmodel = 'grok-voice'"),
        ("openai_realtime", "url = 'ws://localhost:1234/v1/realtime'\nmodel = 'gpt-4o-mini'"),
        ("pipeline", stage("listen", "deepgram", "model = 'nova-2-phonecall'")),
        ("pipeline", stage("speak", "openai", "base_url = 'http://localhost:8880/v1'\nvoice = 'af_heart'")),
        ("pipeline", stage("think", "openai", "base_url = 'http://localhost:8000/v1'\nmodel = 'whisper-chat'")),
        ("pipeline", stage("listen", "openai", "base_url = 'http://localhost:8000/v1'\nmodel = 'Systran/whisper'")),
    ],
)
def test_a_name_that_works_or_that_only_its_server_knows_is_taken(provider: str, table: str) -> None:
    assert complaint(provider, table) == ""


@pytest.mark.parametrize(
    ("url", "speech", "check"),
    [
        # https://developers.deepgram.com/reference/regional-endpoints
        ("wss://agent.deepgram.com/v1/agent/converse", "https://api.deepgram.com", "https://api.deepgram.com"),
        ("wss://api.eu.deepgram.com/v1/agent/converse", "https://api.eu.deepgram.com", "https://api.eu.deepgram.com"),
        ("wss://api.au.deepgram.com/v1/agent/converse", "https://api.au.deepgram.com", "https://api.au.deepgram.com"),
        ("ws://10.0.0.5:8080/v1/agent/converse", "http://10.0.0.5:8080", ""),  # no key leaves the house
        ("wss://deepgram.com.example.org/v1/agent/converse", "https://deepgram.com.example.org", ""),
    ],
)
def test_a_region_is_where_announcements_are_spoken_and_the_key_is_tried(url: str, speech: str, check: str) -> None:
    settings = DeepgramAgentSettings(url=url)
    assert settings.speech_api == speech
    assert credentials(settings)[0].check_url == (f"{check}/v1/auth/token" if check else "")


@pytest.mark.parametrize(
    ("provider", "table"),
    [
        ("pipeline", stage("think", "openai", "base_url = 'https://eu.api.openai.com/v1'\napi_key_name = ''")),
        ("pipeline", stage("listen", "openai", "base_url = 'https://eu.api.openai.com/v1'\napi_key_name = ''")),
        ("pipeline", stage("listen", "deepgram", "base_url = 'https://api.eu.deepgram.com'\napi_key_name = ''")),
        ("pipeline", stage("speak", "deepgram", "base_url = 'https://api.eu.deepgram.com'\napi_key_name = ''")),
    ],
)
def test_a_region_of_a_vendor_lets_nobody_in_without_a_key_either(provider: str, table: str) -> None:
    assert "must name a key" in complaint(provider, table)


@pytest.mark.parametrize("speaker", ["a", "nobody"])
def test_who_speaks_for_an_agent_is_another_one(speaker: str) -> None:
    assert "agents.a.speaker: must name another agent" in complaint("openai_realtime", "", speaker=speaker)
