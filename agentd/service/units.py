"""Which program the units start: that of the installation which `agentd init` runs from; and what would keep the
service from starting it. Only looks at the file system.

A unit's ExecStart= is run inside its own sandbox (systemd.exec(5)): with ProtectHome=yes there is no /home, /root and
/run/user, with PrivateTmp=yes neither the host's /tmp nor its /var/tmp.
"""

import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

from agentd.installation import COMMAND, DISTRIBUTION, LINK, Installation, Installer
from agentd.service.host_files import InstallError

DEFAULT_PREFIX: Final = "/opt/agentd"
"""Where systemd/install-host installs, and what the units say as they are shipped."""
_GATE: Final = 'esac; exec "$$0" "$$@"\' '
"""The end of what a unit has a shell ask before agentd's program takes the shell's place."""
EXEC_START: Final = re.compile(rf"^ExecStart=(?:/bin/sh -c '[^'\n]*{re.escape(_GATE)})?(\S+)", re.MULTILINE)
PROGRAMS: Final = re.compile(
    rf"(?:(?<=^ExecStart=)|(?<=^ExecReload=)|(?<={re.escape(_GATE)}))\S+/{COMMAND}(?= )", re.MULTILINE
)
"""Each place where a unit names agentd's program."""
_SHIPPED: Final = f"{DEFAULT_PREFIX}/{LINK}/bin/{COMMAND}"
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
# Text that a unit takes without quotes (systemd.syntax(7)): no blank, no quote, no `%`, `$`, `;` or `\`.
_PLAIN: Final = re.compile(r"(/[A-Za-z0-9._+@-]+)+")
_PIPX: Final = "PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx"
_BINARIES: Final = "/usr/local/bin"
_PYTHONS: Final = tuple(f"/usr/bin/python3.{minor}" for minor in (14, 13, 12, 11))


@attrs.frozen
class Obstacle:
    """An obstacle that keeps the service from starting agentd, and the commands that help, for root."""

    what: str
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        found = f"the service could not start agentd: {self.what}. As root:"
        return "\n".join([found, *(f"  {remedy}" for remedy in self.remedies)])


def retarget(unit: str, program: str) -> str:
    """A unit as it is shipped, with `program` wherever it names agentd's. Pure."""
    return PROGRAMS.sub(lambda found: found[0].replace(_SHIPPED, program), unit)


def program_of(installation: Installation, root: Path, prefix: str | None) -> str:
    """The installation that the units start on the host whose files are below `root`.

    `prefix` is given where the link PREFIX/venv does not lead to the installation yet. Raises InstallError where there
    is nothing that a unit could start, and for a prefix that is not the installation's.
    """
    if prefix is not None:
        if not _PLAIN.fullmatch(prefix) or _hiding(PurePosixPath(prefix)):
            raise InstallError(
                f"expected a plain absolute path such as {DEFAULT_PREFIX}, got {prefix!r}: the unit sees neither "
                "/home, /root nor /tmp, and takes no blank or special character"
            )
        if not _as_seen(installation.environment, root).is_relative_to(prefix):
            raise InstallError(
                f"expected the agentd that is installed below {prefix}, this one is in {installation.environment}: "
                f"run {prefix}/{LINK}/bin/{COMMAND} init, or leave out --prefix"
            )
        return f"{prefix}/{LINK}/bin/{COMMAND}"
    if installation.program is None:
        what = f"it runs from {installation.origin}, where it was not installed, and has no program"
        raise InstallError(str(Obstacle(what, _afresh(installation, root))))
    return str(_as_seen(installation.program, root))


def obstacle_of(installation: Installation, root: Path) -> Obstacle | None:
    """The obstacle to the service's starting the installation; None if none can be seen.

    Of a host's image below `root`, files that are not in it are judged by their places alone. Raises OSError.
    """
    needed = [each for each in (installation.program, installation.python, *installation.parts) if each is not None]
    for path in needed:
        for place in _ways(path):
            seen = _as_seen(place, root)
            if above := _hiding(seen):
                leads = "is" if place == path else f"leads to {seen}, which is"
                what = f"{_as_seen(path, root)} {leads} below {above}, which the unit hides from it"
                return Obstacle(what, _afresh(installation, root))
    if installation.program is not None and not _PLAIN.fullmatch(str(_as_seen(installation.program, root))):
        what = f"a unit takes no blank or special character in {installation.program}"
        return Obstacle(what, _afresh(installation, root))
    for path in needed:
        if (closed := _closed(path.resolve(), root)) is not None:
            return _unreadable(closed, installation)
    return None


def _ways(path: Path) -> Iterator[Path]:
    """A path, what it links to step by step, and where it really is."""
    for _ in range(16):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    yield path.resolve()


def _as_seen(path: Path, root: Path) -> PurePosixPath:
    """A path as the host below `root` will have it."""
    if root == Path("/"):
        return PurePosixPath(path)
    for top in (root, root.resolve()):
        if path.is_relative_to(top):
            return PurePosixPath("/") / path.relative_to(top)
    return PurePosixPath(path)


def _hiding(path: PurePosixPath) -> str | None:
    return next((place for place in _HIDDEN if path.is_relative_to(place)), None)


def _closed(path: Path, root: Path) -> Path | None:
    """The first of the directories that lead to `path`, or `path`, that is not open for everybody; None if all are.

    The service's user owns nothing of an installation, and is in no group that does. Access lists are not looked at.
    """
    top = root.resolve()
    if not path.is_relative_to(top):
        return None
    for above in [*reversed(path.relative_to(top).parents)][1:]:  # the first one is the root itself
        if not (top / above).stat().st_mode & stat.S_IXOTH:
            return top / above
    mode = path.stat().st_mode
    needed = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
    return None if mode & needed == needed else path


def _unreadable(closed: Path, installation: Installation) -> Obstacle:
    inside = closed.is_relative_to(installation.environment.resolve())
    remedy = ("chmod", "-R", "go+rX", str(installation.environment)) if inside else ("chmod", "go+rX", str(closed))
    what = f"{closed} ({stat.filemode(closed.stat().st_mode)}) is closed to its user"
    return Obstacle(what, (shlex.join(remedy), f"{installation.program} init"))


def _afresh(installation: Installation, root: Path) -> tuple[str, ...]:
    """How to install where the service can see it, from what this one was installed from."""
    python = next((each for each in _PYTHONS if Path(each).exists()), "/usr/bin/python3")
    origin = Path(installation.origin)
    script = origin / "systemd/install-host"
    if script.is_file():
        return (f"PYTHON={python} {shlex.quote(str(script))}",)
    environment = _as_seen(installation.environment, root)
    if installation.installer is Installer.PIPX and not _hiding(environment):  # so it is the interpreter
        home, again = (
            shlex.quote(str(environment.parent.parent)),
            f"pipx reinstall --python {python} {environment.name}",
        )
        return (f"PIPX_HOME={home} PIPX_BIN_DIR={_BINARIES} {again}", f"{_BINARIES}/{COMMAND} init")
    wanted = shlex.quote(_with_extra(installation.origin, "local"))
    apt = () if shutil.which("pipx") else ("apt install pipx",)
    return (*apt, f"{_PIPX} install --python {python} {wanted}", f"{_BINARIES}/{COMMAND} init")


def _with_extra(origin: str, extra: str) -> str:
    """The source that pip and pipx install from, with an extra. A wheel that is gone is named all the same: it has to
    be here."""
    if "://" in origin:
        return f"{DISTRIBUTION}[{extra}] @ {origin}"
    if origin == DISTRIBUTION or Path(origin).exists():
        return f"{origin}[{extra}]"
    return f"./{Path(origin).name}[{extra}]"
