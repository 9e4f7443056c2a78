"""The vendors' models by name: which ones are the defaults, and until when one is served, as far as it is told. Pure.

One table for defaults, `agentd check`, the sample and the documentation; a test holds the ends to what the installed
`openai` package tells of its own models. What a server itself tells of its models goes before it: the doctor asks.

CHECKED is the day on which the rows were last compared with
https://developers.openai.com/api/docs/deprecations (as the types of openai 3.54 and 3.57 repeat it) and
https://developers.deepgram.com/docs/voice-agent-llm-models.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

CHECKED = "2026-11-29"

CHAT = "gpt-5.4-mini"
"""Does not reason unless it is told to, as all of gpt-5.4 (`none` is the default among none, low, medium, high, xhigh:
https://docs.anyfast.ai/guides/model-api/openai/gpt-5-4-mini, https://github.com/livekit/agents/pull/6148; checked on
2026-11-30), and so takes tools over /v1/chat/completions. With any other effort it refuses them there
(https://github.com/dotnet/extensions/issues/7407), as do gpt-5.5, gpt-5.6, gpt-6-sol and gpt-6-luna, which reason at
`medium` by default, unless they are told `none` (https://community.openai.com/t/1386454,
https://github.com/BerriAI/litellm/pull/34569); gpt-6-astra refuses `none`, too. The one of this kind that Deepgram has
too, in its standard tier (https://developers.deepgram.com/changelog/2026/3/26)."""
TRANSCRIBE = "gpt-transcribe"
"""https://developers.openai.com/cookbook/examples/migrating_from_whisper_to_gpt_transcribe"""
REALTIME = "gpt-realtime-2.1"
DEEPGRAM_LISTEN = "nova-3"
DEEPGRAM_VOICE = "aura-2-thalia-en"

SPEECH_ENDS = "2027-01-06"
"""The last model of OpenAI's own /v1/audio/speech ends then, and no successor is known: no default names one."""

SUCCESSORS: Mapping[str, str] = {"chat": CHAT, "speech to text": TRANSCRIBE, "realtime": REALTIME, "speech": ""}
"""The model to take instead, by kind; empty: none is known."""

_NO_TOOLS_IN_CHAT = re.compile(r"gpt-6-astra(-|$)")
"""Models that take no tools over /v1/chat/completions, whatever they are told: tools are refused at every effort, and
`none` is no effort of theirs (https://github.com/genkit-ai/genkit/pull/6303, https://github.com/bolna-ai/bolna/pull/1019;
checked on 2026-11-30)."""

LANGUAGES_ARE_LISTED = frozenset({"gpt-transcribe", "gpt-live-transcribe"})
"""Models that take `languages` in place of `language`, which is of the models before them
(openai 3.57, types/realtime/audio_transcription.py)."""

_ENDS = {
    ("chat", "2026-07-23"): "gpt-5-chat-latest gpt-5.1-chat-latest gpt-5.1-codex gpt-4o-search-preview"
    " gpt-4o-mini-search-preview gpt-4o-search-preview-2025-03-11 gpt-4o-mini-search-preview-2025-03-11",
    ("chat", "2026-08-10"): "gpt-5.2-chat-latest gpt-5.3-chat-latest",
    ("chat", "2026-09-28"): "gpt-3.5-turbo-1106",
    ("chat", "2026-10-23"): "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-turbo"
    " gpt-4-turbo-2024-04-09 gpt-4.1-nano gpt-4.1-nano-2025-04-14 gpt-4o-2024-05-13 o1 o1-2024-12-17 o3-mini"
    " o3-mini-2025-01-31 o4-mini o4-mini-2025-04-16",
    ("chat", "2026-12-11"): "gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07"
    " o3 o3-2025-04-16",
    ("chat", "2027-01-14"): "gpt-4.1 gpt-4.1-2025-04-14 gpt-4.1-mini gpt-4.1-mini-2025-04-14 gpt-4o gpt-4o-2024-08-06"
    " gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18",
    ("chat", "2027-04-01"): "gpt-5.1 gpt-5.1-2025-11-13 gpt-5.4-nano gpt-5.4-nano-2026-03-17",
    ("speech", SPEECH_ENDS): "gpt-4o-mini-tts gpt-4o-mini-tts-2025-12-15 tts-1 tts-1-hd",
    ("speech to text", "2027-02-26"): "whisper-1 gpt-4o-transcribe gpt-4o-mini-transcribe"
    " gpt-4o-mini-transcribe-2025-12-15 gpt-4o-transcribe-diarize",
    ("realtime", "2027-01-20"): "gpt-realtime gpt-realtime-2025-08-28 gpt-realtime-mini gpt-realtime-mini-2025-12-15"
    " gpt-audio-mini gpt-audio-mini-2025-12-15",
}
ENDS: Mapping[str, tuple[str, str]] = {
    name: (day, kind) for (kind, day), names in _ENDS.items() for name in names.split()
}
"""The day on which OpenAI stops to serve a model (ISO 8601), and its kind, by name. A model that is not here has no end
that is told, or ended before July 2026."""


NEAR = 6
"""Months before a model's end from which on it is told."""

_AT_OPENAI: Mapping[str, re.Pattern[str]] = {
    "speech to text": re.compile("transcribe|whisper"),  # before realtime: gpt-realtime-whisper
    "realtime": re.compile("realtime"),
    "speech": re.compile("tts"),
    "chat": re.compile(r"(gpt-\d|o\d|chatgpt)"),
}
ONLY_IN_REALTIME = frozenset({"gpt-live-transcribe", "gpt-realtime-whisper"})
"""Speech to text that /v1/audio/transcriptions does not have (openai 3.57, types/audio_model.py and
types/realtime/audio_transcription.py)."""


def takes_tools_in_chat(model: str) -> bool:
    """Whether a model of OpenAI's takes tools over /v1/chat/completions."""
    return _NO_TOOLS_IN_CHAT.match(model) is None


def served_by(domain: str, url: str) -> bool:
    """Whether an address is the vendor's own at `domain`, those of its regions too; another server's names are its
    own."""
    host = urlsplit(url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


def ending(setting: str, model: str, today: str) -> Iterator[tuple[str, str]]:
    """What is to be known of a model of OpenAI's in a setting, as (setting, why): that its end is near, or past.
    `today` is a day (ISO 8601)."""
    day, kind = ENDS.get(model, ("", ""))
    if not day or months_between(today, day) > NEAR:
        return
    successor = SUCCESSORS[kind]
    instead = f"{successor!r} takes its place" if successor else "no successor is known: have another speaker ready"
    when = f"OpenAI stops to serve {model!r} on {day}" if day > today else f"OpenAI has served {model!r} until {day}"
    yield setting, f"{when}; {instead} (as of {CHECKED})"


def months_between(earlier: str, later: str) -> int:
    """Months from one day (ISO 8601) to another, by their names: from the last of November to the first of January are
    two."""
    (year, month), (later_year, later_month) = (map(int, day.split("-")[:2]) for day in (earlier, later))
    return 12 * (later_year - year) + later_month - month


def misplaced(setting: str, model: str, kind: str) -> Iterator[tuple[str, str]]:
    """A model of OpenAI's that is none of the kind which a setting wants, as (setting, why). Of a name that is of no
    known form nothing is told."""
    found = next((found for found, form in _AT_OPENAI.items() if form.search(model)), kind)
    if found != kind:
        instead = f": {SUCCESSORS[kind]!r} is one" if SUCCESSORS[kind] else ""
        yield setting, f"{model!r} is OpenAI's for {found}, not for {kind}{instead}"
