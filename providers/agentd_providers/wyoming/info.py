"""The event `info`: what a Wyoming server says that it serves. Pure.

Source: https://github.com/OHF-Voice/wyoming (wyoming/info.py of 1.10.2). A server is taken at its word with care:
wyoming-piper says of all voices of its catalogue that they are installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.errors import ProviderProtocolError
from agentd_providers.wyoming.protocol import Event

MOST_ENTRIES = 5000
"""Models or voices that one server may have of a kind, each counted for every language of its own: calls look
through them."""


@attrs.frozen
class Offer:
    """A model or voice, and the languages that it is for, as the server spells them; without any it is for all."""

    name: str
    languages: tuple[str, ...]
    installed: bool = True
    description: str = ""


@attrs.frozen
class Program:
    """One program of a server: its models (speech to text) or voices (text to speech). `home` is where it comes from:
    a name and a URL."""

    name: str
    offers: tuple[Offer, ...]
    description: str = ""
    version: str = ""
    home: tuple[str, str] = ("", "")
    installed: bool = True


@attrs.frozen
class Info:
    """A server's programs: `asr` hear, `tts` speak."""

    asr: tuple[Program, ...] = ()
    tts: tuple[Program, ...] = ()

    def as_event(self) -> Event:
        """The answer to `describe`."""
        asr = [_program(program, "models", supports_transcript_streaming=False) for program in self.asr]
        tts = [_program(program, "voices", supports_synthesize_streaming=False) for program in self.tts]
        others: dict[str, list[Any]] = {kind: [] for kind in ("handle", "intent", "wake", "mic", "snd")}
        return Event("info", {"asr": asr, "tts": tts, **others})


def parse_info(event: Event) -> Info:
    """The programs that an `info` tells of; what is not installed is left out. Raises ProviderProtocolError."""
    return Info(_programs(event.data, "asr", "models"), _programs(event.data, "tts", "voices"))


def find(programs: Sequence[Program], name: str, language: str) -> Offer | None:
    """The offer of this name (any, if empty) that is best for a language (BCP 47); None if there is none."""
    offers = [offer for program in programs for offer in program.offers if name in ("", offer.name)]
    return max(
        (offer for offer in offers if _likeness(offer, language)), key=lambda o: _likeness(o, language), default=None
    )


def spelling(offer: Offer, language: str) -> str:
    """A language as the server spells it, so that it knows it again; empty where it names no language."""
    return max(offer.languages, key=lambda candidate: _alike(candidate, language), default="")


def same_language(one: str, other: str) -> bool:
    """Whether two names mean one language, its variety (en-US, en_GB, en) aside."""
    return _alike(one, other) > 0


def _likeness(offer: Offer, language: str) -> int:
    return max((_alike(candidate, language) for candidate in offer.languages), default=1)


def _alike(one: str, other: str) -> int:
    first, second = (name.lower().replace("_", "-") for name in (one, other))
    if first == second:
        return 3
    # Of two varieties neither is the other, but a server that has only one hears or speaks both.
    return (first.partition("-")[0] == second.partition("-")[0]) * (2 if "-" not in first else 1)


def _programs(data: Mapping[str, Any], kind: str, offers: str) -> tuple[Program, ...]:
    programs = tuple(
        Program(_text(entry, "name"), _offers(entry, offers), _text(entry, "description"), _text(entry, "version"))
        for entry in _installed(data, kind)
    )
    if sum(max(1, len(offer.languages)) for program in programs for offer in program.offers) > MOST_ENTRIES:
        raise ProviderProtocolError(f"info: expected {kind} to have at most {MOST_ENTRIES} {offers} and languages")
    return programs


def _offers(program: Mapping[str, Any], kind: str) -> tuple[Offer, ...]:
    return tuple(Offer(_text(entry, "name"), _languages(entry)) for entry in _installed(program, kind))


def _installed(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = holder.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES or not all(isinstance(e, dict) for e in entries):
        raise ProviderProtocolError(f"info: expected {name} to be a list of at most {MOST_ENTRIES} objects")
    return [entry for entry in entries if entry.get("installed") is True]


def _languages(entry: Mapping[str, Any]) -> tuple[str, ...]:
    languages = entry.get("languages")
    if languages is None:
        return ()
    if not isinstance(languages, list) or not all(isinstance(language, str) for language in languages):
        raise ProviderProtocolError("info: expected languages to be a list of texts")
    return tuple(languages)


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ProviderProtocolError(f"info: expected {name} to be a text")
    return value or ""


def _program(program: Program, offers: str, **supports: bool) -> dict[str, Any]:
    return {
        **_artifact(program, program.home, program.version),
        **supports,
        offers: [
            {**_artifact(offer, program.home, ""), "languages": list(offer.languages)} for offer in program.offers
        ],
    }


def _artifact(entry: Program | Offer, home: tuple[str, str], version: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "attribution": {"name": home[0], "url": home[1]},
        "installed": entry.installed,
        "description": entry.description or None,
        "version": version or None,
    }
