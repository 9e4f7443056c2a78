"""What runs in an engine's process beside the engine.

It imports next to nothing: a process is started while callers wait.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from agentd.errors import ProviderUnavailable

NICENESS = 5


def prepare_process() -> None:
    """Yield to the daemon's loop, and leave signals to it. (The process ends when its pipe does. No PR_SET_PDEATHSIG:
    it fires when the *thread* ends that made the process, and Trio's threads come and go.)"""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def perform(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Run a job. Raises what it raises; but what would end a process would end the daemon, where it is raised again."""
    try:
        return function(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        raise ProviderUnavailable(f"the engine wanted to end its process: {type(error).__name__} {error}") from None


def nothing() -> None:
    """The first job of an engine that has nothing to load."""
