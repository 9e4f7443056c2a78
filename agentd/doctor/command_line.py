"""Asterisk's own command line, for what ARI does not tell."""

from typing import Final

import trio

from agentd import deadlines
from agentd.environment import for_child

CLI_DEADLINE: Final = deadlines.DOCTOR_CLI.seconds


async def asterisk_cli(command: str) -> str | None:
    """The answer of the Asterisk of /etc/asterisk/asterisk.conf on its command line; None if there is none."""
    try:
        with trio.fail_after(CLI_DEADLINE):
            done = await trio.run_process(
                ["asterisk", "-rx", command], capture_stdout=True, capture_stderr=True, check=False, env=for_child()
            )
    except (OSError, trio.TooSlowError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
