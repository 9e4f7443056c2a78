"""Runs a program that does not outlive whoever started it: `python leash.py PROGRAM ARG...`

The starter holds the other end of this process's standard input and never writes to it. End of file there
means that the starter is gone, by whatever death; the program is then ended. If this process is
killed itself, the kernel kills the program (prctl(2), PR_SET_PDEATHSIG).

A process of its own, because PR_SET_PDEATHSIG watches the *thread* that forked, and Trio forks from a
worker thread that it later retires.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 2


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run `command` and return its exit status, or end it when standard input ends."""
    os.setsid()
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    ended = os.pidfd_open(program.pid)
    ready, _, _ = select.select([sys.stdin.fileno(), ended], [], [])
    if ended not in ready:
        program.terminate()
        try:
            program.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
