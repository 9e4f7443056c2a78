"""What is said in a life, and the configuration of its daemon."""

from pathlib import Path

import attrs

from agentd.config.settings import (
    AgentConfig,
    Asterisk,
    AudioSocket,
    Calls,
    Config,
    DownstreamMode,
    Failover,
    Headless,
    Health,
    Liveness,
    Media,
    MediaWebSocket,
    Rtp,
    RtpCodec,
    ToolConfig,
)
from agentd.testing._ari_server import USER
from agentd.tools.registry import find_kind
from agentd.tools.transfer import TransferSettings
from agentd_providers.pipeline.stages import ToolCall
from tests.walk.agents import BROKEN, Piece, Script, ScriptSettings
from tests.walk.kinds import Agent, Happening, Kind, Voice, Way
from tests.walk.websocket_peer import Client

AUDIOSOCKET_PORT = 8090
CLIENT = Client()
"""By whom Asterisk comes to agentd."""
RTP_PORTS = range(21000, 21004)
"""Few: a call whose legs do not give theirs back runs out of them."""
GREETING = "good day and welcome to the house"
ANSWER = "well now that is a good question"
FAREWELL = "very well then have a good day"
QUESTION, ORDER = 1, 2
"""The callers' phrases, by number."""
PHRASES = {QUESTION: "a question", ORDER: "an order"}
DTMF_RESULTS = ("The tones are being sent.", "The telephone system could not send the tones.")
TRANSFER_FAILURES = (
    "sales cannot be reached: the telephone system does not know it now.",
    "The telephone system could not be asked.",
)


def answers(kind: Kind) -> dict[str, list[Piece]]:
    """What the agent that is asked first does."""
    ends = ToolCall("end", "hang_up", "{}")
    order: list[Piece] = [ANSWER]
    more: dict[str, list[Piece]] = {}
    match kind.happening:
        case Happening.TOOL if kind.way is Way.HEADLESS:
            order = [FAREWELL, ends]
        case Happening.TOOL:
            order = [ToolCall("tones", "send_dtmf", '{"digits": "1#"}')]
            more = {result: [FAREWELL, ends] for result in DTMF_RESULTS}
        case Happening.TRANSFER:
            order = [FAREWELL, ToolCall("away", "transfer", '{"destination": "sales"}')]
            more = {result: [ANSWER] for result in TRANSFER_FAILURES}
        case Happening.FAILOVER:
            order = [BROKEN]
    return {PHRASES[QUESTION]: [ANSWER], PHRASES[ORDER]: order, **more}


def others_answers() -> dict[str, list[Piece]]:
    """What the other caller's agent says, and the one that takes over."""
    return {phrase: [ANSWER] for phrase in PHRASES.values()}


def configuration(kind: Kind, url: str, media: Path, script: Script, others: Script) -> Config:
    """The daemon's, for one caller of this kind and another one."""
    quiet = Liveness(check_in_after=8.0, check_ins=0, silence_farewell="nobody is there", filler="", slow_after=0.0)
    mode = DownstreamMode.FILE if kind.voice is Voice.FILE else DownstreamMode.STREAM
    tools = {Happening.TOOL: ["hang_up", "send_dtmf"], Happening.TRANSFER: ["transfer"]}.get(kind.happening, [])
    agent = AgentConfig(
        provider=f"walk_{kind.agent}",
        greeting=GREETING,
        downstream_mode=mode,
        failure_announcement="something went wrong",
        shutdown_announcement="the end is here",
        fallback=["night"] if kind.happening is Happening.FAILOVER else [],
        tools=tools,
        liveness=quiet,
        failover=Failover(hold_message="one moment", apology="excuse me please"),
        settings=ScriptSettings(script),
    )
    night = attrs.evolve(agent, fallback=[], settings=ScriptSettings(others))
    other = AgentConfig(
        provider=f"walk_{Agent.FULL}",
        greeting=GREETING,
        failure_announcement="something went wrong",
        shutdown_announcement="the end is here",
        liveness=quiet,
        settings=ScriptSettings(others),
    )
    settings = {name: find_kind(name).settings() for name in tools}
    if "transfer" in settings:
        settings["transfer"] = TransferSettings({"sales": "200@internal"})
    return Config(
        asterisk=Asterisk(url=url, username=USER),
        audiosocket=AudioSocket(
            port=AUDIOSOCKET_PORT,
            headless=Headless.ACCEPT if kind.way is Way.HEADLESS else Headless.REFUSE,
            headless_agent="main",
        ),
        rtp=Rtp(first_port=RTP_PORTS[0], last_port=RTP_PORTS[-1], codec=RtpCodec.SLIN),  # callers' phrases are exact
        websocket=MediaWebSocket(
            CLIENT.name if kind.asterisk_connects else "", port=CLIENT.port, username=CLIENT.username
        ),
        media=Media(str(media)),
        calls=Calls(drain_timeout=0.0, default_agent="main"),
        health=Health("127.0.0.1", 0),
        agents={"main": agent, "night": night, "other": other},
        tools={name: ToolConfig(settings=of_kind) for name, of_kind in settings.items()},
    )
