"""Deepgram's names of models and voices that cannot work where they stand, and what works there. Pure.

Which model is served where: https://developers.deepgram.com/docs/flux/quickstart (/v2/listen),
https://developers.deepgram.com/docs/flux-tts/overview (/v2/speak),
https://developers.deepgram.com/docs/deepgram-whisper-cloud (no live audio), https://developers.deepgram.com/docs/keyterm.
"""

from collections.abc import Iterator, Mapping, Sequence

from agentd_providers.model_list import ModelList, UsedModel
from agentd_providers.model_names import DEEPGRAM_LISTEN, DEEPGRAM_VOICE, served_by

DOMAIN = "deepgram.com"
"""Deepgram's own, with the hosts of its regions."""
KEY_CHECK = "/v1/auth/token"
"""Lets a good key in, and costs nothing (https://developers.deepgram.com/docs/authenticating)."""
WITHOUT_KEYTERMS = ("nova-2", "nova-general", "nova-phonecall", "enhanced", "base")

_SPEAKERS: Mapping[str, str] = {
    "aura": "deepgram",
    "flux": "deepgram",
    "eleven_": "eleven_labs",
    "sonic": "cartesia",
    "tts-": "open_ai",
    "gpt-": "open_ai",
}
_THINKERS: Mapping[str, str] = {
    "gpt-": "open_ai",
    "chatgpt": "open_ai",
    "claude": "anthropic",
    "gemini": "google",
    "think-fast": "deepgram",
    "phonellm": "deepgram",
}


def _owner(model: str, owners: Mapping[str, str]) -> str:
    """Whose model this is, by its name; empty where that does not tell."""
    return next((owner for prefix, owner in owners.items() if model.startswith(prefix)), "")


def model_lists(api: str, *used: UsedModel) -> tuple[ModelList, ...]:
    """Deepgram's list of what it hears and speaks with (https://developers.deepgram.com/reference/manage/models/list),
    where `api` is Deepgram's own; a server of one's own has none for sure. (Its list of language models is left alone:
    as it is published it lacks some that are documented and work,
    https://developers.deepgram.com/reference/voice-agent/think-models.)"""
    return (ModelList(f"{api}/v1/models", used),) if used and served_by(DOMAIN, api) else ()


def listening(model: str, keyterms: Sequence[str] = ()) -> Iterator[str]:
    """Why a model cannot hear over /v1/listen."""
    if model.startswith("flux"):
        yield (
            f"{model!r} is served at Deepgram's /v2/listen, which is not built yet: take {DEEPGRAM_LISTEN!r}, or the "
            "provider deepgram, whose agent has flux models"
        )
    elif model.startswith("whisper"):
        yield f"Deepgram has {model!r} for recordings only: take {DEEPGRAM_LISTEN!r}"
    elif _owner(model, _SPEAKERS) or _owner(model, _THINKERS):
        yield f"{model!r} does not listen: take {DEEPGRAM_LISTEN!r}"
    elif keyterms and (model.startswith(WITHOUT_KEYTERMS) or model == "nova"):
        yield f"{model!r} takes no keyterms: take {DEEPGRAM_LISTEN!r}, or leave them out"


def speaking(voice: str) -> Iterator[str]:
    """Why a voice cannot speak over /v1/speak."""
    if voice.startswith("flux"):
        yield (
            f"{voice!r} is served at Deepgram's /v2/speak, which is not built yet: take an aura-2 voice, such as "
            f"{DEEPGRAM_VOICE!r}"
        )
    elif voice.startswith(("nova", "whisper")) or _owner(voice, _SPEAKERS) not in ("", "deepgram"):
        yield f"{voice!r} is no voice of Deepgram's: take one such as {DEEPGRAM_VOICE!r}"


def spoken_by(provider: str, model: str) -> Iterator[str]:
    """Why a provider of Deepgram's agent has no such model to speak with."""
    owner = _owner(model, _SPEAKERS)
    if provider == "deepgram":
        yield from speaking(model)
    elif owner not in ("", provider):
        yield f"{model!r} is {owner}'s, not {provider}'s"


def thought_by(provider: str, model: str, *, mip_opt_out: bool) -> Iterator[str]:
    """Why a provider of Deepgram's agent has no such language model, through Deepgram's own access."""
    owner = _owner(model, _THINKERS)
    if owner not in ("", provider):
        yield f"{model!r} is {owner}'s, not {provider}'s: set think.provider to {owner!r}, or another model"
    elif model == "think-fast" and mip_opt_out:
        # https://developers.deepgram.com/docs/llm/models: "mip_opt_out: true is rejected"
        yield "'think-fast' is refused where mip_opt_out is true: take another model, or leave that out"
