"""How long callers will wait for an answer on this host: each agent's engines are asked, with nobody on the line.

Models are loaded for it, beside a daemon that has them too, and the vendors of an agent's stages are asked; so it is
done only where somebody wants to know.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from agentd.config.settings import AgentConfig, Config
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.errors import AgentdError
from agentd_providers.rehearsal import Rehearsal
from agentd_providers.trial import rehearse

CPUINFO: Final = Path("/proc/cpuinfo")
AROUND: Final = 0.15
"""Seconds that stand around the engines': the silence after which words are asked for, and the line."""
NOTICED: Final = 0.9
"""Seconds of waiting from which on callers notice: people answer each other within a fifth of one."""
BUSY: Final = 0.5
"""Processes that are ready to run, for each core, from which on a host is too busy for figures to say much."""
FLAGS: Final = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""What engines reckon with, the widest first, as Linux calls it."""
HELP: Final[Mapping[str, str]] = {
    "transcript": "speech to text takes the longest: a smaller model, or one on another machine",
    "first_token": "the language model takes the longest: a smaller one, a shorter prompt, or a server with a GPU",
    "first_audio": "the voice takes the longest: a smaller one, or one on another machine",
}


@attrs.frozen
class Processor:
    """This host's. `instructions` are those of FLAGS that it has; None: it does not say (it is no x86)."""

    cores: int
    load: float
    """Processes that were ready to run during the last minute, before any engine was asked (getloadavg(3))."""
    instructions: tuple[str, ...] | None

    @classmethod
    def of_this_host(cls, cpuinfo: Path = CPUINFO) -> "Processor":
        """Blocking, but for no time that counts."""
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text("utf-8", "replace"), re.M) if cpuinfo.exists() else None
        has = None if found is None else tuple(name for flag, name in FLAGS.items() if flag in found[1].split())
        return cls(len(os.sched_getaffinity(0)), os.getloadavg()[0], has)

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        return cores if self.instructions is None else f"{cores} with {(*self.instructions, 'no AVX2')[0]}"


async def examine_delays(config: Config) -> list[Finding]:
    """A finding for each agent, one after the other: half a minute each. Raises nothing for what it finds."""
    processor = await trio.to_thread.run_sync(Processor.of_this_host)
    return [await _examine(f"delay {name}", name, agent, processor) for name, agent in sorted(config.agents.items())]


async def _examine(check: str, name: str, agent: AgentConfig, processor: Processor) -> Finding:
    try:
        rehearsal = await rehearse(name, agent)
    except AgentdError as error:
        needs = "the lines of this agent above say what it needs"
        return fail(check, f"it cannot be asked: {error}", *_calm_down(processor), needs)
    except Exception as error:  # noqa: BLE001 - a stranger's provider may raise anything, and the other agents count
        return fail(check, f"its provider failed: {type(error).__name__}: {error}")
    if rehearsal is None:
        return skipped(check, f"the provider {agent.provider} answers elsewhere, or cannot be asked without a call")
    return judge_delay(check, rehearsal, processor)


def judge_delay(check: str, rehearsal: Rehearsal, processor: Processor) -> Finding:
    """What a caller will wait, and what would help. Pure."""
    parts = {name: f"{1000 * seconds:.0f} ms" for name, seconds in attrs.asdict(rehearsal).items()}
    delay = rehearsal.total + AROUND
    found = (
        f"a caller waits {delay:.1f} s for an answer, or more: {parts['transcript']} for the words, "
        f"{parts['first_token']} for the reply to begin, {parts['first_audio']} for its first sound; {processor}"
    )
    if delay < NOTICED:
        return ok(check, found)
    advice = _calm_down(processor)
    if processor.instructions == ():
        advice.append(
            "its processor has no AVX2, or a virtual machine's settings hide it (Proxmox: CPU type `host`): "
            "engines take several times as long without"
        )
    advice.append(HELP[max(HELP, key=lambda part: float(getattr(rehearsal, part)))])
    return warn(check, found, *advice)


def _calm_down(processor: Processor) -> list[str]:
    if processor.load <= BUSY * processor.cores:
        return []
    return [f"this host was busy (load {processor.load:.1f}): ask again while it is calm"]
