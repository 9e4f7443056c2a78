"""The lines by which Asterisk's own files take in agentd's. Pure.

Asterisk rejects a whole file, and all that stands in it, when an `#include` in it names a file that is gone; what a
`#tryinclude` names may be missing (Asterisk 11 and later: main/config.c, process_text_line). A directive's name is
taken in any case, its argument bare, in quotes or in angle brackets. Asterisk before 20.12, 21.7 and 22.2
writes `#include` for `#tryinclude` where it writes a file anew, as for AMI's UpdateConfig (ast_config_text_file_save2).
"""

import re
from collections.abc import Collection

_DIRECTIVE = r'(?im)^([ \t]*#){verb}([ \t]+["<]?(?:[^\s";<>]*/)?(?:{names})[">]?[ \t]*(?:;.*)?\r?)$'


def includes(text: str, name: str) -> bool:
    """Whether a line of an Asterisk file takes in the file of that name, from whatever directory."""
    return _lines("(?:try)?include", (name,)).search(text) is not None


def insisting(text: str, names: Collection[str]) -> list[str]:
    """The lines that insist on one of these files: without it Asterisk rejects the file that they stand in."""
    return [found[0].strip() for found in _lines("include", names).finditer(text)]


def with_tryinclude(text: str, names: Collection[str]) -> str:
    """The same text, its lines that insist on one of these files no longer doing so."""
    return _lines("include", names).sub(r"\1tryinclude\2", text)


def _lines(verb: str, names: Collection[str]) -> re.Pattern[str]:
    return re.compile(_DIRECTIVE.format(verb=verb, names="|".join(map(re.escape, names))))
