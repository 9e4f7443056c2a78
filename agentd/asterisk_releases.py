"""Which Asterisk this is, and what differs between releases, as far as it matters to agentd. Pure.

Sources: the tags of github.com/asterisk/asterisk, in which each part was looked for (res_audiosocket.c, func_uuid.c,
chan_websocket.c); certified releases are those that they are made of, with fixes. The table is in docs/install.md.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

OLDEST: Final = 18
"""The first release with chan_audiosocket, app_audiosocket and ARI's externalMedia over AudioSocket."""
SHOWN: Final = (18, 20, 22, 23)
"""The branches of the documents' table."""
VERSION: Final = re.compile(
    r"(?:asterisk[ /])?(?P<git>git-)?(?:certified[-/])?"
    r"(?P<major>\d{1,2}+)(?:\.(?P<minor>\d{1,3}+))?+(?![\w:])(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)


@attrs.frozen
class Release:
    """A release by its branch; `minor` is None where it cannot be told, as of a branch's working copy."""

    major: int
    minor: int | None


@attrs.frozen
class Difference:
    """Something that a release has or has not. `since`: by branch, the minor release that brought it; a branch newer
    than any of them has it. `without`: what agentd does where it is missing; empty where agentd does not use it."""

    key: str
    what: str
    since: Mapping[int, int]
    without: str = ""

    def within(self, release: Release) -> bool:
        """Whether a release has it; one whose minor release is unknown has what its branch had from its beginning."""
        if release.major > max(self.since):
            return True
        return release.major in self.since and (release.minor or 0) >= self.since[release.major]


KEYS, WIDEBAND, UUID, WEBSOCKET = "keys", "wideband", "uuid", "websocket"
DIFFERENCES: Final[Sequence[Difference]] = (
    Difference(
        UUID,
        "`${UUID()}` in the dialplan",
        {20: 12, 21: 7, 22: 2, 23: 0},
        "headless extensions make a UUID in another way (extensions_agentd.conf)",
    ),
    Difference(
        KEYS,
        "keys that callers press, by AudioSocket",
        {20: 14, 21: 9, 22: 4, 23: 0},
        "they come by ARI only: headless calls have none",
    ),
    Difference(
        WIDEBAND, "AudioSocket at 16 kHz", {20: 17, 21: 12, 22: 7, 23: 1}, "calls carry 8 kHz; agentd asks for no more"
    ),
    Difference(
        WEBSOCKET, "`chan_websocket` with JSON and marks", {20: 18, 22: 8, 23: 2}, "there is no media=websocket"
    ),
    Difference("rest", "ARI requests over the event stream", {20: 14, 21: 9, 22: 4, 23: 0}),
)


def parse_release(version: str) -> Release | None:
    """The release that `core show version` or ARI names, in whatever form; None where it names none.

    >>> parse_release("22.10.1+dfsg+~cs6.17.60671434-1")
    Release(major=22, minor=10)
    """
    if (found := VERSION.fullmatch(version.strip())) is None:
        return None
    major, minor = int(found["major"]), found["minor"]
    if found["git"] and minor is None:  # GIT-22-22.7.0-15-g4f2b20e: the branch, then `git describe`
        described = re.match(rf"-{major}\.(\d{{1,3}})\.", found["rest"])
        minor = described[1] if described else None
    return Release(major, None if minor is None else int(minor))


def has(version: str, key: str) -> bool:
    """Whether an Asterisk of this version has what the table calls `key`; not where the version cannot be read."""
    release = parse_release(version)
    return release is not None and next(each for each in DIFFERENCES if each.key == key).within(release)


def lacking(release: Release) -> list[Difference]:
    """What a release lacks of what agentd uses."""
    return [each for each in DIFFERENCES if each.without and not each.within(release)]


def table() -> str:
    """The table, as docs/install.md has it."""
    lines = [f"| | {' | '.join(map(str, SHOWN))} | without it |", f"|---|{'---|' * len(SHOWN)}---|"]
    for each in DIFFERENCES:
        cells = [_cell(each, branch) for branch in SHOWN]
        lines.append(f"| {each.what} | {' | '.join(cells)} | {each.without or 'agentd does not use it'} |")
    return "\n".join(lines) + "\n"


def _cell(difference: Difference, branch: int) -> str:
    minor = difference.since.get(branch)
    if minor is None:
        return "no"
    return f"from {branch}.{minor}" if minor else "yes"
