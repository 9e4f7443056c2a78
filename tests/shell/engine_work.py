"""What test_worker has engines do. Imports next to nothing: every worker process imports it anew."""

import os
import signal
import time
from pathlib import Path


def process_facts() -> tuple[int, int, bool]:
    """Process id, niceness, and whether Control-C is ignored."""
    return os.getpid(), os.nice(0), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def append(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(line + "\n")


def wait_for(path: str, then: str) -> str:
    """Work until a file is there."""
    while not Path(path).exists():
        time.sleep(0.005)
    return then


def die() -> None:
    os._exit(3)


def refuse() -> None:
    from agentd.errors import ProviderRejected

    raise ProviderRejected("no such voice")


def leave() -> None:
    raise SystemExit("as a library does that finds its model broken")


_loaded: list[str] = []


def load(path: str) -> None:
    """Load a model: a file, whose only line is not to be "broken"."""
    _loaded.append(Path(path).read_text())
    if _loaded[-1] == "broken":
        raise ValueError("not a model")


def loaded() -> list[str]:
    """What was loaded in this process."""
    return _loaded
