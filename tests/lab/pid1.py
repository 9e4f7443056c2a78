"""A real systemd as PID 1 of namespaces of its own, with agentd's units: without a container, as root.

It boots in a root file system made for it, a tmpfs with a /dev, /tmp, /var, /run and /etc of its own, and sees nothing
of the machine's but what is shown to it read-only: what a boot empties, mounts or sets is its own. So are its network,
processes and control groups, and it has no units but those it is given. Debian's packages bring the systemd
(tests.lab.debian), so that an old one and a new one can be looked at on one machine.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from .debian import Wanted
from .prefix import LabUnavailable

SYSTEMD_PACKAGES = ("systemd", "dbus", "dash", "coreutils", "mount")
OLDEST = Wanted(
    "systemd 247", SYSTEMD_PACKAGES, "systemd/bullseye", "30 MB", "It is Debian 11's.", suites=("bullseye",)
)
NEWEST = Wanted("systemd", SYSTEMD_PACKAGES, "systemd/newest", "30 MB", "It is Debian's newest.")

HOST = "/host"
"""Where the machine's own libraries are seen: they run the tests' Python, whatever libc the systemd has."""
PROGRAM = "/opt/agentd/venv/bin/agentd"
_SOURCE = Path(__file__).parents[2]
_BOOT_SECONDS, _COMMAND_SECONDS = 60, 60

_SETUP = r"""
set -eu
echo $$ > "$CGROUP/cgroup.procs"
exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child --propagation private sh -eu -c '
mount -t tmpfs -o mode=755 lab "$ROOT"
shown() { mkdir -p "$ROOT$2"; mount --bind "$1" "$ROOT$2"; mount -o remount,bind,ro "$ROOT$2"; }
shown "$SYSTEM/usr" /usr
for name in bin sbin lib lib64; do
    if [ -d "$SYSTEM/$name" ] && [ ! -L "$SYSTEM/$name" ]; then shown "$SYSTEM/$name" "/$name"
    else ln -s "usr/$name" "$ROOT/$name"; fi
done
cp -a "$FILES/." "$ROOT/"
for pair in $SHOWN; do shown "${pair%%:*}" "${pair#*:}"; done
for name in proc sys dev/shm run tmp var/log root old; do mkdir -p "$ROOT/$name"; done
chmod 1777 "$ROOT/tmp" "$ROOT/dev/shm"
for node in null zero full random urandom tty; do
    : > "$ROOT/dev/$node"
    mount --bind "/dev/$node" "$ROOT/dev/$node"
done
mount -t proc proc "$ROOT/proc"
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount -o remount,bind,ro "$ROOT/proc/sys"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
cd "$ROOT"
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lab SYSTEMD_UNIT_PATH=/etc/systemd/system \
    /lib/systemd/systemd --system --unit=lab.target --log-target=console --log-level=info --show-status=no
'
"""

_UNITS = {
    "dbus.socket": """\
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
""",
    "dbus.service": """\
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
""",
    "lab.target": """\
[Unit]
DefaultDependencies=no
Wants=dbus.socket dbus.service
After=dbus.socket dbus.service
""",
    **{f"{name}.target": f"[Unit]\nDescription={name}\nDefaultDependencies=no\n" for name in (
        "sysinit", "basic", "shutdown", "multi-user", "network-online", "final", "umount"
    )},
}  # fmt: skip
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
messagebus:x:101:101::/nonexistent:/usr/sbin/nologin
agentd:x:990:990::/var/lib/agentd:/usr/sbin/nologin
"""
_GROUP = "root:x:0:\nmessagebus:x:101:\nagentd:x:990:\nasterisk:x:991:\n"
_AGENTD = f"""\
#!/bin/sh
export PYTHONPATH=/opt/agentd/lib:/opt/agentd/source:/opt/agentd/source/providers PYTHONDONTWRITEBYTECODE=1
exec {HOST}%s --library-path %s {HOST}/python/bin/%s -m agentd "$@"
"""


@attrs.frozen
class Booted:
    """A systemd that runs. `pid` is its number outside; `log` what was told before it did."""

    pid: int
    log: Path

    async def run(self, *command: str, check: bool = True) -> str:
        """What a command prints inside, run as root; raises AssertionError with all of it where it fails."""
        with trio.fail_after(_COMMAND_SECONDS):
            done = await trio.run_process(
                ["nsenter", f"--target={self.pid}", "--all", "--", *command],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            )
        text = done.stdout.decode("utf-8", "replace").strip()
        assert done.returncode == 0 or not check, f"{command}: {text}\n{self.log.read_text()[-3000:]}"
        return text

    async def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return await self.run("systemctl", "show", "--value", f"--property={name}", unit)

    async def until(self, unit: str, name: str, value: str, seconds: float = 60.0) -> None:
        """Wait for a unit's property to have a value."""
        found = ""
        with trio.move_on_after(seconds):
            while (found := await self.show(unit, name)) != value:
                await trio.sleep(0.05)
            return
        raise AssertionError(f"{unit}: {name} is {found}, not {value}\n{self.log.read_text()[-3000:]}")

    async def exists(self, path: str) -> bool:
        """Whether there is such a file inside."""
        return await self.run("sh", "-c", f"test -e '{path}' && echo yes", check=False) == "yes"


def available() -> str | None:
    """Why no systemd can be run here; None where it can."""
    if os.geteuid() != 0:
        return "only root may make these namespaces"
    if _cgroups() is None:
        return "no control groups of version 2 that can be written to"
    for tool in ("unshare", "nsenter", "mount", "pivot_root"):
        if shutil.which(tool) is None:
            return f"no {tool} (Debian packages util-linux and mount)"
    command = ["unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "mount", "-t", "tmpfs", "x", "/mnt"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def _cgroups() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        point = Path(fields.split(" ")[4])
        if source.startswith("cgroup2 ") and os.access(point, os.W_OK):
            return point
    return None


def agentd_files(files: Path) -> str:
    """Lay down what runs this source tree inside as PROGRAM, below `files`; gives what it has to be shown."""
    program = files / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    python = Path(sys.executable).resolve()
    loader = re.search(rb"/lib[^\0]*/ld-[^\0]+", python.read_bytes()[:65536])  # PT_INTERP of elf(5)
    if loader is None:
        raise LabUnavailable(f"{python} names no loader")
    libraries = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
    program.write_text(
        _AGENTD % (Path(loader[0].decode()).resolve(), f"{HOST}/python/lib:{HOST}{libraries}", python.name)
    )
    program.chmod(0o755)
    shown = {
        "/usr": f"{HOST}/usr",
        str(python.parents[1]): f"{HOST}/python",
        sysconfig.get_path("purelib"): "/opt/agentd/lib",
        **{f"{_SOURCE / name}": f"/opt/agentd/source/{name}" for name in ("agentd", "providers")},
    }
    return " ".join(f"{here}:{there}" for here, there in shown.items())


@asynccontextmanager
async def booted(system: Path, files: Path, shown: str = "") -> AsyncIterator[Booted]:
    """Run the systemd of `system`, a directory with the /usr of Debian's packages, with `files` laid over its root;
    `shown` has pairs of places, outside:inside, that are seen read-only. Ends with the block, and all within with it.

    Raises LabUnavailable where it does not come up.
    """
    cgroups = _cgroups()
    if cgroups is None:
        raise LabUnavailable(available() or "no control groups")
    units = files / "etc/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    for name, text in {**{f"systemd/system/{n}": t for n, t in _UNITS.items()}, "passwd": _PASSWD, "group": _GROUP,
                       "machine-id": "0123456789abcdef0123456789abcdef\n"}.items():  # fmt: skip
        (files / "etc" / name).write_text(text)
    root, log = files.with_name("root"), files.with_name("systemd.log")
    root.mkdir()
    group = cgroups / f"agentd-lab-{os.getpid()}-{files.parent.name}"
    group.mkdir()
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CGROUP": str(group), "ROOT": str(root), "SYSTEM": str(system),
        "FILES": str(files), "SHOWN": shown,
    }  # fmt: skip
    try:
        with log.open("wb") as out:
            process = await trio.lowlevel.open_process(
                ["sh", "-c", _SETUP], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )
            try:
                yield await _up(process, log)
            finally:
                process.kill()  # --kill-child: PID 1 goes with it, and all that it has started
                with trio.CancelScope(shield=True):
                    await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            await _remove(group)
        root.rmdir()


async def _up(process: trio.Process, log: Path) -> Booted:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with trio.move_on_after(_BOOT_SECONDS):
        while process.poll() is None:
            if found := children.read_text().split():
                init = Booted(int(found[0]), log)
                if await init.run("systemctl", "is-active", "dbus.service", check=False) == "active":
                    return init
            await trio.sleep(0.05)
    raise LabUnavailable(f"systemd does not come up: {log.read_text()[-2000:]}")


async def _remove(group: Path) -> None:
    with trio.move_on_after(10):
        for path in sorted(group.rglob("*"), reverse=True):
            while path.is_dir():
                try:
                    path.rmdir()
                except OSError:  # its processes are just being reaped
                    await trio.sleep(0.05)
        group.rmdir()
