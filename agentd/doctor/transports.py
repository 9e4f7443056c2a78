"""Which transports this Asterisk has, what each one is for, and which one is the best for it.

What a row says is also in the table of docs/configure.md, "The ways of a call's audio".
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from agentd.asterisk_releases import WEBSOCKET as MARKS
from agentd.asterisk_releases import has
from agentd.audiosocket.transport import EXTERNAL, FORK
from agentd.chan_websocket.transport import NAME as WEBSOCKET
from agentd.config.settings import Config
from agentd.doctor.findings import Finding, ok, skipped, warn
from agentd.rtp.transport import RTP


@attrs.frozen
class Guide:
    """One transport: its name (`media=NAME`), the module of Asterisk's that it needs, what differs between them, and
    when to choose it."""

    name: str
    module: str
    audio: str
    delay: str
    """Of what the caller says, beside that of the network."""
    loss: str
    """What becomes of the audio where the network loses a packet."""
    choose: str
    release: str = ""
    """What Asterisk's release has to have, by its key in agentd.asterisk_releases; empty: nothing."""


GUIDE: Final[Sequence[Guide]] = (
    Guide(
        EXTERNAL,
        "chan_audiosocket",
        audio="16 kHz, or 8 kHz",
        delay="5 ms on average",
        loss="TCP sends it again, and all behind it waits",
        choose="on one host, or in a quiet network",
    ),
    Guide(
        WEBSOCKET,
        "chan_websocket",
        audio="16 kHz, or 8 kHz",
        delay="none added",
        loss="as with AudioSocket; the agent's voice is not held up while less than 200 ms are missing",
        choose="on a busy host, or where only Asterisk's HTTP port can be reached",
        release=MARKS,
    ),
    Guide(
        FORK,
        "app_audiosocket",
        audio="8 kHz",
        delay="5 ms on average",
        loss="TCP sends it again, and all behind it waits",
        choose="without `chan_audiosocket`, or to do something in the dialplan on the way",
    ),
    Guide(
        RTP,
        "chan_rtp",
        audio="8 kHz",
        delay="5 ms on average; behind a lost packet, 40 to 160 ms once",
        loss="20 ms are concealed, nothing else waits",
        choose="where the network between Asterisk and agentd loses packets",
    ),
)
"""The best one first, where nothing else is known of a host and its network."""
LEGS: Final[Mapping[str, str]] = {guide.name: guide.module for guide in GUIDE}
"""The module of Asterisk's that each transport needs."""


def available(modules: frozenset[str], version: str) -> list[Guide]:
    """The transports that an Asterisk of this version has, where these modules run."""
    return [guide for guide in GUIDE if guide.module in modules and (not guide.release or has(version, guide.release))]


def recommend(modules: frozenset[str], version: str, config: Config) -> Finding:
    """A line each for what this Asterisk has, and the one to choose. `modules` is empty where they cannot be told.
    Pure."""
    check, default = "transports", config.calls.default_media
    if not modules:
        return skipped(check, "which modules of Asterisk's run cannot be told")
    found = available(modules, version)
    if not found:
        return skipped(check, "this Asterisk has none: see modules")
    best = found[0]
    lines = [
        f"this Asterisk has {', '.join(guide.name for guide in found)}; where nothing speaks against it: {best.name}",
        *(
            f"media={each.name}: {each.audio}. Delay: {each.delay}. A lost packet: {each.loss}. Choose it {each.choose}"
            for each in found
        ),
    ]
    told = "\n".join(lines)
    if default in LEGS and default not in {guide.name for guide in found}:
        return warn(check, told, f'agent.toml: [calls] default_media = "{best.name}": this Asterisk has no {default}')
    return ok(check, told)
