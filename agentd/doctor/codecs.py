"""Whether Asterisk can convert the codecs that its telephones may agree on.

A codec without a module that translates it passes between two telephones as it is, but reaches no agent: such a call is
handed back (`failed:media`). Which codecs an endpoint allows, ARI tells of PJSIP's endpoints only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import attrs

from agentd.ari.rest import AriRest
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.errors import AriError

CHECK: Final = "codecs"
MOST_ENDPOINTS: Final = 200
"""So many are looked at: a request each."""
MOST_NAMED: Final = 5
TRANSLATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "ulaw": ("codec_ulaw",),
    "alaw": ("codec_alaw",),
    "gsm": ("codec_gsm",),
    "g722": ("codec_g722",),
    "g723": ("codec_g723", "codec_dahdi"),
    "g726": ("codec_g726",),
    "g726aal2": ("codec_g726",),
    "g729": ("codec_g729", "codec_dahdi"),
    "adpcm": ("codec_adpcm",),
    "lpc10": ("codec_lpc10",),
    "codec2": ("codec_codec2",),
    "ilbc": ("codec_ilbc",),
    "opus": ("codec_opus",),
    "amr": ("codec_amr",),
    "amrwb": ("codec_amr",),
    "speex": ("codec_speex",),
    "speex16": ("codec_speex",),
    "speex32": ("codec_speex",),
    "siren7": ("codec_siren7",),
    "siren14": ("codec_siren14",),
    "silk8": ("codec_silk",),
    "silk12": ("codec_silk",),
    "silk16": ("codec_silk",),
    "silk24": ("codec_silk",),
    "g719": ("codec_g719",),
}
"""Asterisk's codecs for audio (main/codec_builtin.c) but its own linear ones, and how the names of the modules begin
that translate each: those of others than Asterisk's have endings (codec_g729a, codec_opus_open_source)."""
BUILT_IN: Final = ("ulaw", "alaw", "g722", "gsm", "g726", "g726aal2", "adpcm", "lpc10", "codec2", "ilbc", "speex")
"""Those whose module is a part of Asterisk (Makefile: codecs/)."""


@attrs.frozen
class Endpoint:
    """A telephone or a trunk, and the audio codecs that it may agree on, the preferred one first."""

    name: str
    allows: tuple[str, ...]


def translated(codec: str, running: frozenset[str]) -> bool:
    """Whether a module that runs translates the codec. Of a codec that is not known to be one nothing is said: true."""
    begins = TRANSLATORS.get(codec)
    return begins is None or any(module.startswith(begins) for module in running)


def allowed(attributes: object) -> tuple[str, ...]:
    """The audio codecs in the attributes of an endpoint as ARI gives them: `allow` is "(ulaw|opus)". Pure."""
    for one in attributes if isinstance(attributes, list) else ():
        if isinstance(one, dict) and one.get("attribute") == "allow":
            names = str(one.get("value", "")).strip("()").split("|")
            return tuple(name for name in names if name in TRANSLATORS or name.startswith("slin"))
    return ()


async def ask_codecs(rest: AriRest, running: frozenset[str]) -> list[Finding]:
    """Which endpoints may agree on a codec that no module translates. `running`: the modules that run."""
    if not running:
        return [skipped(CHECK, "which modules run cannot be told")]
    try:
        answer = await rest.request("GET", "/endpoints")
        names = [str(one["resource"]) for one in answer if one["technology"] == "PJSIP"]
        endpoints = [Endpoint(name, await _allows(rest, name)) for name in names[:MOST_ENDPOINTS]]
    except AriError as error:
        loading = "asterisk -rx 'module load res_ari_endpoints.so'"
        see = "see for yourself: asterisk -rx 'pjsip show endpoint NAME' (allow), asterisk -rx 'core show translation'"
        return [attrs.evolve(skipped(CHECK, f"what endpoints allow cannot be told: {error}"), advice=(loading, see))]
    except (KeyError, TypeError) as error:
        return [skipped(CHECK, f"Asterisk's answer cannot be read ({error!r})")]
    return [judge_codecs(endpoints, running, len(names))]


async def _allows(rest: AriRest, name: str) -> tuple[str, ...]:
    attributes: Any = await rest.request("GET", f"/asterisk/config/dynamic/res_pjsip/endpoint/{quote(name, safe='')}")
    return allowed(attributes)


def judge_codecs(endpoints: Sequence[Endpoint], running: frozenset[str], there_are: int) -> Finding:
    """What is to be said of the endpoints that were looked at; `there_are` so many. Pure."""
    if not endpoints:
        return ok(CHECK, "Asterisk has no endpoint of PJSIP: of others it does not tell which codecs they allow")
    silent = [one for one in endpoints if one.allows and not _usable(one, running)]
    partly = [one for one in endpoints if _usable(one, running) and _untranslated(one, running)]
    lacking = sorted({codec for one in (*silent, *partly) for codec in _untranslated(one, running)})
    first = f" (of {there_are} endpoints the first {len(endpoints)} were looked at)"
    looked = first if there_are > len(endpoints) else ""
    if not lacking:
        return ok(CHECK, f"modules translate each codec that the endpoints of PJSIP allow{looked}")
    listed = ", ".join(lacking)
    advice = [_remedy(codec) for codec in lacking]
    advice.append("or pjsip.conf, in the endpoint (and on the telephone): allow = !all,ulaw,alaw,g722")
    if silent:
        found = f"no module translates {listed}, and {_named(silent)} allow nothing else: no agent is ever heard there"
        return fail(CHECK, found + looked, *advice)
    found = f"no module translates {listed}: a call of {_named(partly)} that agrees on it is handed back, failed:media"
    return warn(CHECK, found + looked, *advice)


def _usable(endpoint: Endpoint, running: frozenset[str]) -> bool:
    return any(translated(codec, running) for codec in endpoint.allows)


def _untranslated(endpoint: Endpoint, running: frozenset[str]) -> list[str]:
    return [codec for codec in endpoint.allows if not translated(codec, running)]


def _named(endpoints: Sequence[Endpoint]) -> str:
    names = ", ".join(one.name for one in endpoints[:MOST_NAMED])
    return names + (f" and {len(endpoints) - MOST_NAMED} more" if len(endpoints) > MOST_NAMED else "")


def _remedy(codec: str) -> str:
    module = TRANSLATORS[codec][0]
    if codec in BUILT_IN:
        return f"{codec}: asterisk -rx 'module load {module}.so'; it is a part of Asterisk"
    if codec == "opus":
        return (
            "opus: asterisk -rx 'module load codec_opus_open_source.so' (Debian's), or codec_opus.so of Sangoma's "
            "(downloads.digium.com/pub/telephony/codec_opus)"
        )
    return f"{codec}: a module {module}*.so; Asterisk brings none (some are Sangoma's, with a licence)"
