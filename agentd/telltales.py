"""The signs of a secret in a place where none belongs: a header's name or value, a URL. Pure.

None of them is a proof. A value that shows one is kept out of logs and told of; only a name that leaves no doubt has a
configuration refused.
"""

import re
from collections.abc import Iterable
from math import log2
from typing import Final
from urllib.parse import SplitResult, unquote_plus, urlsplit, urlunsplit

HIDDEN: Final = "***"
"""Stands in a shown text for what is not."""

_SHORTEST: Final = 4
"""Characters of a secret: less is in many a text by chance."""
_NAME: Final = re.compile(
    r"(^|[-_.])("
    r"auth|authorization|tokens?|secrets?|password|passwd|passphrase|credentials?|cookie|signature|session[-_]?id|jwt"
    r"|(api|app|access|auth|account|client|private|secret|shared|subscription|service|signing)[-_]?(key|token|secret)"
    r")($|[-_.])",
    re.IGNORECASE,
)
_PLAIN_NAMES: Final = frozenset(("key", "code", "pass", "pwd", "sig", "appid", "app_id"))
"""Names of parameters that hold a key with some vendors and anything at all elsewhere."""
_PLAIN_WORD: Final = re.compile("[a-z]{1,16}([-_ ][a-z]{1,16}){0,3}")
_SCHEME: Final = re.compile(r"(bearer|basic|digest|token|api-?key|negotiate)\s+\S{4,}", re.IGNORECASE)
"""HTTP's authentication schemes (IANA, "HTTP Authentication Schemes"), and those that are none but in use."""
_PREFIX: Final = re.compile(
    r"(sk-|sk_|rk_|pk_live_|gh[oprsu]_|github_pat_|glpat-|xox[abeoprs]-|A(KIA|SIA)[0-9A-Z]{8}|AIza|ya29\.|eyJ[\w-]{8}"
    r"|SG\.|hf_|whsec_|dop_v1_|npm_|pypi-|-----BEGIN )\S{4}"
)
"""The beginnings that vendors give their keys so that they are found where they leak (GitHub, "Supported secret
scanning patterns"), and a JSON Web Token's (RFC 7519)."""
_RUN: Final = re.compile(r"[A-Za-z0-9]{16,}")
_WORD: Final = re.compile(r"[A-Za-z0-9_\-+/=.~]{20,}")
_LONG_SYLLABLES: Final = re.compile("[a-z]{6}")
"""As words have them, and keys that mix small and capital letters hardly ever."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"([^=&;]*)=([^&;]*)")


def names_secret(name: str) -> bool:
    """Whether the name of a header or a parameter says that its value is a secret: `X-Auth-Token`, `api_key`."""
    return _NAME.search(re.sub("([a-z])([A-Z])", r"\1_\2", name)) is not None


def looks_secret(value: str) -> bool:
    """Whether a value is like a key: it is named as one by its beginning, or is of no language."""
    value = value.strip()
    if _SCHEME.match(value) or _PREFIX.match(value) or _UUID.fullmatch(value):
        return True
    return any(map(_is_random, _RUN.findall(value))) or any(map(_is_random_word, _WORD.findall(value)))


def secret_in_url(url: str, *, surely: bool = False) -> str:
    """The thing in a URL that is or holds a secret, for people; empty where there is none.

    A parameter `key` or the like is taken for one; with `surely`, only if its value looks so too.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # told by whoever reads the URL
        return ""
    if "@" in parts.netloc:
        return "a user or password"
    for name, value in _PARAMETER.findall(f"{parts.query}&{parts.fragment}"):
        if _is_secret_parameter(unquote_plus(name), unquote_plus(value), surely=surely):
            return f"a key ({unquote_plus(name)[:40]}=)"
    return ""


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without user and password, keys among its parameters, and what looks like one in its
    path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    path = "/".join(HIDDEN if looks_secret(segment) else segment for segment in parts.path.split("/"))
    shown = SplitResult(
        parts.scheme, parts.netloc.rpartition("@")[2], path, _shown(parts.query), _shown(parts.fragment)
    )
    return urlunsplit(shown)


def concealed(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, and without the last word of each: a header has a scheme before its key."""
    words = {word for secret in secrets for word in (secret, *secret.split()[-1:])}
    for word in sorted(words, key=len, reverse=True):  # a key is in its header's value: that one first
        if len(word) >= _SHORTEST:
            text = text.replace(word, HIDDEN)
    return text


def _shown(parameters: str) -> str:
    def one(found: re.Match[str]) -> str:
        name, value = found.groups()
        hidden = _is_secret_parameter(unquote_plus(name), unquote_plus(value), surely=False)
        return f"{name}={HIDDEN}" if hidden else found[0]

    return _PARAMETER.sub(one, parameters)


def _is_secret_parameter(name: str, value: str, *, surely: bool) -> bool:
    if not value:
        return False
    if names_secret(name) or looks_secret(value):
        return True
    return name.lower() in _PLAIN_NAMES and not (surely and _PLAIN_WORD.fullmatch(value))


def _is_random(run: str) -> bool:
    """Of letters and digits without a pause: no word and no number is."""
    digits = sum(map(str.isdigit, run))
    return digits >= 2 and len(run) - digits >= 4 and len(set(run.lower())) >= 8


def _is_random_word(word: str) -> bool:
    """The same of what Base64 is written with, which may pause anywhere: by its kinds of characters and their number
    (Shannon's entropy, in bits a character)."""
    digits, small, big = (sum(map(kind, word)) for kind in (str.isdigit, str.islower, str.isupper))
    if min(digits, small - 1, big - 1) < 1 or _LONG_SYLLABLES.search(word):
        return False
    counts = [word.count(character) for character in set(word)]
    return -sum(count * log2(count / len(word)) for count in counts) / len(word) >= 3.8
