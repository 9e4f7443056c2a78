"""A caller's name and number, and the extension that was dialled, as far as they are let in. Pure.

They are the caller's own words: a SIP From header holds any display name (RFC 3261, section 20.20), and a wildcard in
the dialplan takes any extension. From here they go into logs, prompts and tools. So they are made into what a name and
a number can be: without control characters, line breaks, and what structures a prompt, a template or a log line; not
long. Names of every language stay whole.

A caller may withhold both (RFC 3325): the network delivers them all the same, with a presentation that says so. Then
they are nobody's to know. Source: Asterisk 22 main/callerid.c, `pres_types`; funcs/func_callerid.c.
"""

import re
import unicodedata
from typing import Final

from agentd.party import Party

NUMBER: Final = "CALLERID(num)"
NAME: Final = "CALLERID(name)"
PRESENTATION: Final = "CALLERID(pres)"
"""The channel functions that give the caller's number and name, and the more restrictive of their presentations."""
_NOBODY: Final = frozenset({"anonymous", "restricted", "private", "withheld", "unavailable", "unknown"})
LONGEST: Final = 64
"""Characters. Asterisk itself bounds neither."""
_LONGEST_READ: Final = 4 * LONGEST
"""Characters that are looked at: composing them costs time."""
_NAME_SIGNS: Final = frozenset("'’ʼ.,&+()/@*#·・")
"""What names of people and companies are written with, beside letters, marks, digits and dashes."""
_NUMBER_SIGNS: Final = frozenset("+*#.-_@")
"""A number's, and a SIP user's."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Parts of words in Persian and in the languages of India (Unicode, section 23.2); anything else that is not seen is
dropped."""
_ORDERS: Final = re.compile(
    r"\b(ignore|disregard|forget|override|bypass)\b.*\b(instruct\w*|prompts?|rules?|guidelines?|previous|above|prior|all)\b"
    r"|\b(system|developer|assistant)\s+(prompt|message|instruct\w*|mode)\b"
    r"|\byou\s+(are\s+(now|an?)|must|will|should)\b"
    r"|\b(act|behave|pretend|respond|answer)\s+(as|like)\b",
    re.IGNORECASE,
)
"""Orders to a model. No list of words is a guard, and this one only spares a prompt the usual attempts: the guards are
the length, the signs, and that a model can do no more than its tools let it."""


def withheld(presentation: str) -> bool:
    """Whether a presentation, as in prohib_not_screened, keeps what it is of from us."""
    return presentation.strip().lower().startswith("prohib")


def anonymous(number: str) -> bool:
    """Whether it is what stands in a number's place where it is withheld (RFC 3323, section 4.1.1.3)."""
    return number.lower() in _NOBODY


def shown(number: str, name: str, num_pres: str, name_pres: str) -> Party:
    """The caller as agents may know them, by the presentations of number and name. Who withholds the number withholds
    the name."""
    hidden = withheld(num_pres)
    return Party(
        "" if hidden or anonymous(number) else number,
        "" if hidden or withheld(name_pres) else name,
    )


def caller_name(said: str) -> str:
    """The name that a caller gives; empty where it is none."""
    letters = "".join(character if _is_of_a_name(character) else " " for character in _composed(said[:_LONGEST_READ]))
    name = _cut(" ".join(letters.split()))
    if not any(map(str.isalnum, name)) or _ORDERS.search(name):
        return ""
    return name


def caller_number(said: str) -> str:
    """The number that a caller gives, or the extension that was dialled: letters and digits without a space."""
    return _cut("".join(character for character in _composed(said[:_LONGEST_READ]) if _is_of_a_number(character)))


def _composed(text: str) -> str:
    """The text in one form: é may have come as e and an accent. NFC leaves every letter the one that it is."""
    return unicodedata.normalize("NFC", text)


def _is_of_a_name(character: str) -> bool:
    kind = unicodedata.category(character)  # Unicode, section 4.5
    return kind[0] in "LM" or kind in ("Nd", "Nl", "Pd") or character in _NAME_SIGNS or character in _JOINERS


def _is_of_a_number(character: str) -> bool:
    return unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd") or character in _NUMBER_SIGNS


def _cut(text: str) -> str:
    return _composed(text)[:LONGEST].strip(" \u200c\u200d")
