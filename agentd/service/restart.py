"""`agentd restart`: another daemon takes the place of the one that runs, and goes on with its calls.

A restart by systemctl does the same where all is well. This looks first: at the configuration, which the new daemon
must not refuse when nobody serves the calls any more, and at the unit, which has to keep what the calls need. And it
leaves the daemon a mark, for hosts where that cannot ask systemd (see agentd.service.leaving).
"""

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

from agentd import deadlines
from agentd.environment import for_child
from agentd.errors import AgentdError
from agentd.service.install import CONFIG
from agentd.service.leaving import MARK, MARK_HOLDS, leave_mark

SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd runs the host (sd_booted(3))."""
RUN: Final = Path("/run")
DAEMON: Final = "agentd.service"
PROPERTIES: Final = ("LoadState", "ActiveState", "NeedDaemonReload", "RuntimeDirectoryPreserve")
ASKED: Final = deadlines.RESTART_SYSTEMCTL.seconds
RESTARTED: Final = deadlines.RESTART_COMMAND.seconds
_INSTANCE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


class RestartRefused(AgentdError):
    """Nothing was restarted; the message says why, and what to do."""


def unit_of_config(config: Path) -> str | None:
    """The unit that runs the daemon of a configuration: that of `agentd init`, or an instance; None for any other
    place."""
    path = PurePosixPath(config.absolute())
    if path == CONFIG:
        return DAEMON
    if path.parent == CONFIG.parent and path.suffix == ".toml" and _INSTANCE.fullmatch(path.stem):
        return f"agentd@{path.stem}.service"
    return None


def properties(shown: str) -> dict[str, str]:
    """What `systemctl show` tells, by name. Pure."""
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def keeps_calls(shown: Mapping[str, str]) -> bool:
    """Whether a unit keeps what calls need over a restart. Pure."""
    return shown.get("RuntimeDirectoryPreserve", "restart") in ("restart", "yes")


def obstacle(unit: str, shown: Mapping[str, str]) -> str | None:
    """What stands in the way of a restart that calls survive, and what to do; None where nothing does. Pure."""
    if shown.get("LoadState") != "loaded":
        return f"systemd knows no {unit}: agentd init, then systemctl daemon-reload"
    if shown.get("ActiveState") not in ("active", "reloading"):
        return (
            f"{unit} is {shown.get('ActiveState') or 'not known'}, there is nothing to restart: systemctl start {unit}"
        )
    if shown.get("NeedDaemonReload") == "yes":
        return f"the file of {unit} was changed, and systemd has not read it: systemctl daemon-reload, then again"
    if not keeps_calls(shown):
        return (
            f"{unit} does not keep what its calls need (RuntimeDirectoryPreserve=restart), it is of an earlier "
            "version: agentd init, then systemctl daemon-reload, then again. Without, by systemctl itself, callers go "
            "on in the dialplan"
        )
    return None


def restart(config: Path, records_directory: str, out: TextIO) -> None:
    """Have the daemon of a configuration, which is good, restarted; tells `out` what was done.

    Where systemd does not run it, the mark is left and `out` is told what to do. Raises RestartRefused.
    """
    unit = unit_of_config(config)
    if unit is None or not SYSTEMD.is_dir():
        directory = Path(records_directory)
        try:
            leave_mark(directory)
        except OSError as error:
            raise RestartRefused(f"{directory}: {error.strerror}: run this as the daemon's user, or as root") from error
        print(f"now end the daemon of {config} by SIGTERM, within {MARK_HOLDS:.0f} s, and start it again:", file=out)
        print("it leaves its callers where they are, and the new one goes on with their calls", file=out)
        return
    if trouble := obstacle(unit, properties(_systemctl(["show", f"--property={','.join(PROPERTIES)}", unit], ASKED))):
        raise RestartRefused(trouble)
    mark = RUN / unit.removesuffix(".service")
    with suppress(OSError):  # systemd tells the daemon as well
        leave_mark(mark)
    try:
        _systemctl(["restart", unit], RESTARTED)
    except RestartRefused:
        with suppress(OSError):
            (mark / MARK).unlink()
        raise
    print(f"{unit} was restarted, and goes on with the calls that there were", file=out)


def _systemctl(arguments: list[str], seconds: float) -> str:
    command = ["systemctl", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False, env=for_child()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RestartRefused(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise RestartRefused(f"{' '.join(command)}: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout.decode("utf-8", "replace")
