"""The unit that `agentd init` has laid down below a root, read as systemd reads it."""

import re
import shlex
from pathlib import Path


def exec_start(root: Path, unit: str = "agentd") -> tuple[str, ...]:
    """The words of a unit's ExecStart=, its paths those below `root` where there are such; without the shell that asks
    something before agentd's program takes its place."""
    text = (root / f"etc/systemd/system/{unit}.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    words = shlex.split(line)
    if words[:2] == ["/bin/sh", "-c"]:
        words = words[3:]
    return tuple(f"{root}{word}" if Path(f"{root}{word}").exists() else word for word in words)
