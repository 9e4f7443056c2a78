"""Words that an agentd leaves for the next one, already spoken: what a caller hears before an engine is loaded.

They lie beside the calls' records, a file for each agent and text, and hold nothing of any call.
"""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Audio
from agentd.config.settings import AgentConfig
from agentd.parsing import load_json
from agentd.service.record_files import RecordFiles
from agentd.serving.roster import Roster

log = structlog.get_logger("agentd.adoption")

KIND = "agentd spoken words"
MOST_BYTES = 2 << 20
"""Of one text: 20 s of it at 48 kHz. A longer one is not kept."""
LOOK_EVERY = 10.0
"""Seconds until it is looked again whether an agent has spoken its words, or others."""
DEADLINE = deadlines.RECORDS_WRITE.seconds


def to_bytes(agent: str, text: str, spoken: Iterable[Audio]) -> bytes:
    """The file of a text as an agent says it: a line of JSON, then the sound."""
    pieces = tuple(spoken)
    head = {"kind": KIND, "agent": agent, "text": text, "pieces": [[piece.rate, len(piece.pcm)] for piece in pieces]}
    return json.dumps(head).encode() + b"\n" + b"".join(piece.pcm for piece in pieces)


def from_bytes(agent: str, text: str, data: bytes) -> tuple[Audio, ...]:
    """The sound of a text as an agent says it; none where the file is anything else."""
    line, _, sound = data.partition(b"\n")
    try:
        head = load_json(line)
    except ValueError:
        return ()
    if not isinstance(head, dict) or [head.get(name) for name in ("kind", "agent", "text")] != [KIND, agent, text]:
        return ()
    pieces: list[Audio] = []
    listed = head.get("pieces")
    for piece in listed if isinstance(listed, list) else []:
        match piece:
            case [int(rate), int(length)] if 8000 <= rate <= 192_000 and 0 < length <= len(sound) and not length % 2:
                pieces.append(Audio(0, 0, sound[:length], rate))
                sound = sound[length:]
            case _:
                return ()
    return tuple(pieces) if not sound else ()


def kept_texts(config: AgentConfig) -> frozenset[str]:
    """The texts that an agent may have to say to a caller before it is there."""
    return frozenset((config.failover.restart_words, config.failover.hold_message)) - {""}


def key(agent: str, text: str) -> str:
    """Names the file of a text."""
    return sha256(json.dumps([agent, text]).encode()).hexdigest()[:40]


@attrs.define(eq=False)
class KeptWords:
    """In the directory of the records."""

    files: RecordFiles
    _kept: dict[str, tuple[Audio, ...]] = attrs.field(factory=dict, init=False)
    """What was written, by its key."""
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    async def read(self, agent: str, config: AgentConfig) -> Mapping[str, tuple[Audio, ...]]:
        """What the agentd before has left of an agent's words: their sounds by their text."""
        texts = kept_texts(config)
        found: dict[str, bytes] = {}
        with trio.move_on_after(DEADLINE):
            found = await trio.to_thread.run_sync(
                partial(self._read, agent, texts), limiter=self._thread, abandon_on_cancel=True
            )
        return {text: spoken for text, data in found.items() if (spoken := from_bytes(agent, text, data))}

    def _read(self, agent: str, texts: Iterable[str]) -> dict[str, bytes]:
        return {text: self.files.read_words(key(agent, text), MOST_BYTES) for text in texts}

    async def run(self, roster: Roster) -> None:
        """Keep the words of all agents for the next agentd, as far as they have been spoken, until cancelled."""
        while True:
            for name, entry in tuple(roster.entries.items()):
                for text in kept_texts(entry.config):
                    if (spoken := entry.spoken.get(text)) and self._kept.get(key(name, text)) is not spoken:
                        await self._keep(name, text, spoken)
            await trio.sleep(LOOK_EVERY)

    async def _keep(self, agent: str, text: str, spoken: tuple[Audio, ...]) -> None:
        name = key(agent, text)
        self._kept[name] = spoken
        if len(data := to_bytes(agent, text, spoken)) > MOST_BYTES:
            log.info("words are too long to be kept for a restart", agent=agent, words=text)
            return
        try:
            with trio.move_on_after(DEADLINE):
                await trio.to_thread.run_sync(
                    self.files.write_words, name, data, limiter=self._thread, abandon_on_cancel=True
                )
        except OSError as error:
            log.warning("words cannot be kept for a restart", agent=agent, words=text, error=str(error))
