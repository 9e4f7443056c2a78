"""A house with every vendor in it: their fakes on loopback in one Trio loop, and what agent.toml says of them.

`open_house` gives the fakes with their peers (the peers take the faults); the tables are for agents that use them, and
`environment` holds the keys that the fakes let in, of which nothing stands in the tables.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs

from agentd.testing.faults import Fault

from .chat import KEY as OPENAI_KEY
from .chat import REFUSALS as CHAT_REFUSALS
from .chat import ChatServer
from .deepgram_agent import KEY as DEEPGRAM_KEY
from .deepgram_agent import PATH as DEEPGRAM_PATH
from .deepgram_agent import DeepgramAgentFake
from .deepgram_speech import DeepgramListen, DeepgramSpeak
from .http_peer import HttpPeer, open_http_peer
from .openai_speech import COMPATIBLE, OpenAiSpeech
from .peer import WebSocketPeer, open_peer
from .realtime import RealtimeFake, Reply
from .scripted_words import Script

PAUSE_MS = 600
"""Silence that ends a turn with the agents that take the turns: recorded sentences have pauses of nearly half that."""
CALLER_SAYS = "You are currently the only person in this conference."
"""What all of them take a caller to say who is in no script: the words of a recording that the lab's callers play."""
MOST_TURNS = 100


@attrs.define(eq=False)
class House:
    """Every vendor, open; made by `open_house`. One key of each vendor's opens all that it has."""

    deepgram: DeepgramAgentFake
    realtime: RealtimeFake
    chat: ChatServer
    deepgram_listen: DeepgramListen
    deepgram_speak: DeepgramSpeak
    openai_speech: OpenAiSpeech
    deepgram_peer: WebSocketPeer
    realtime_peer: WebSocketPeer
    deepgram_listen_peer: WebSocketPeer
    chat_peer: HttpPeer
    deepgram_speak_peer: HttpPeer
    openai_speech_peer: HttpPeer
    nowhere: str
    """A WebSocket address at which nobody listens."""

    @property
    def environment(self) -> dict[str, str]:
        """The vendors' keys, by the names that the tables give them."""
        return {"DEEPGRAM_API_KEY": DEEPGRAM_KEY, "OPENAI_API_KEY": OPENAI_KEY}

    @property
    def sessions_open(self) -> int:
        """Calls that a vendor believes to serve. (HTTP connections are kept for the next request, as clients do.)"""
        sockets = (self.deepgram_peer, self.realtime_peer, self.deepgram_listen_peer)
        return sum(len(peer.open) for peer in sockets)

    @property
    def complaints(self) -> list[str]:
        """What the fakes were asked that the vendors do not allow."""
        errors = [str(error.get("message")) for error in self.realtime.errors]
        return [*self.deepgram.errors, *errors, *self.realtime.breaches, *self.chat.refused]

    def restore(self) -> None:
        """Every vendor is well and as it was at first, and has been asked nothing; from any thread."""
        fresh = DeepgramAgentFake()
        deepgram, realtime, chat = self.deepgram, self.realtime, self.chat
        deepgram.script, deepgram.paced, deepgram.turns_taken = fresh.script, fresh.paced, 0
        deepgram.piece_ms = fresh.piece_ms
        realtime.replies, realtime.reply = deque(), Reply()
        realtime.transcripts = deque([CALLER_SAYS] * MOST_TURNS)
        chat.replies, chat.reply, chat.delay = {}, (), 0.0
        for told in (deepgram.errors, realtime.errors, realtime.breaches, chat.asked, chat.refused):
            told.clear()
        for peer in (self.deepgram_peer, self.realtime_peer, self.deepgram_listen_peer):
            peer.strike(Fault.NONE)

    # --- tables for agent.toml

    def deepgram_agent(self, name: str, lines: str = "", url: str = "") -> str:
        """An agent of Deepgram's. `lines` go into its own table; `url`: another place than this one."""
        return f"""[agents.{name}]
provider = "deepgram"
{lines}
[agents.{name}.deepgram]
url = "{url or self.deepgram_peer.url + DEEPGRAM_PATH}"
speech_url = "{self.deepgram_speak_peer.url}"
"""

    def realtime_agent(self, name: str, lines: str = "") -> str:
        """An agent of OpenAI Realtime."""
        return f"""[agents.{name}]
provider = "openai_realtime"
{lines}
[agents.{name}.openai_realtime]
url = "{self.realtime_peer.url}/v1/realtime"
[agents.{name}.openai_realtime.turn]
silence_ms = {PAUSE_MS}
[agents.{name}.openai_realtime.announcements]
model = "{COMPATIBLE}"
base_url = "{self.openai_speech_peer.url}/v1"
"""

    def mixed_agent(self, name: str, lines: str = "") -> str:
        """A pipeline of three vendors' services: Deepgram listens, a chat server thinks, OpenAI speaks."""
        return f"""[agents.{name}]
provider = "pipeline"
{lines}
[agents.{name}.pipeline]
listen = "deepgram"
think = "openai"
speak = "openai"
[agents.{name}.pipeline.listen_deepgram]
base_url = "{self.deepgram_listen_peer.url.replace("ws:", "http:")}"
{self._think(name)}
[agents.{name}.pipeline.speak_openai]
model = "{COMPATIBLE}"
base_url = "{self.openai_speech_peer.url}/v1"
"""

    def wyoming_agent(self, name: str, uri: str, lines: str = "") -> str:
        """A pipeline whose speech a Wyoming server at `uri` (tcp://host:port) does; the chat server thinks."""
        return f"""[agents.{name}]
provider = "pipeline"
{lines}
[agents.{name}.pipeline]
listen = "wyoming"
think = "openai"
speak = "wyoming"
{self._think(name)}
[agents.{name}.pipeline.listen_wyoming]
uri = "{uri}"
[agents.{name}.pipeline.speak_wyoming]
uri = "{uri}"
"""

    def _think(self, name: str) -> str:
        return f"""[agents.{name}.pipeline.think_openai]
base_url = "{self.chat_peer.url}/v1"
model = "{self.chat.model}"
"""


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    """All vendors, for as long as the block is entered. On leaving it what their handlers raised is raised."""
    script = Script((CALLER_SAYS,))
    deepgram = DeepgramAgentFake(silence_ms=PAUSE_MS)
    realtime = RealtimeFake(key=OPENAI_KEY)
    chat = ChatServer(key=OPENAI_KEY)
    listen, speak = DeepgramListen(script, key=DEEPGRAM_KEY), DeepgramSpeak(key=DEEPGRAM_KEY)
    speech = OpenAiSpeech(script, key=OPENAI_KEY)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        held = stack.enter_context(socket.socket())  # bound, and not listening: it refuses who connects
        held.bind(("127.0.0.1", 0))
        house = House(
            deepgram,
            realtime,
            chat,
            listen,
            speak,
            speech,
            await enter(open_peer(deepgram.serve, deepgram.peer(), admit=deepgram.admit)),
            await enter(open_peer(realtime.handler, admit=realtime.admit)),
            await enter(open_peer(listen.run, admit=listen.admit)),
            await enter(open_http_peer(chat.handle, HttpPeer(refusals=CHAT_REFUSALS))),
            await enter(open_http_peer(speak.answer)),
            await enter(open_http_peer(speech.answer)),
            f"ws://127.0.0.1:{held.getsockname()[1]}",
        )
        house.restore()
        yield house
