"""Where an Asterisk for the lab is: the system's own, one named by the environment, or an unpacked one."""

import os
import shutil
from pathlib import Path

import attrs

# Without one of these no call of the lab can be served; each is in Debian's asterisk-modules.
NEEDED_MODULES = (
    "app_audiosocket",
    "chan_audiosocket",
    "res_audiosocket",
    "res_ari_channels",
    "chan_pjsip",
    "app_stasis",
)


class LabUnavailable(Exception):
    """There is no Asterisk to test with, and none can be had; the message says why and what would help."""


@attrs.frozen
class Prefix:
    """An Asterisk that can be started.

    `root` is `/` for an installed one, else the directory that Debian's packages were unpacked into.
    """

    root: Path
    binary: Path
    modules: Path
    data: Path
    """Holds `documentation`, `rest-api` and `sounds`."""

    @property
    def installed(self) -> bool:
        return self.root == Path("/")

    def command(self) -> list[str]:
        """The argv that runs this binary.

        An unpacked Asterisk runs through its own dynamic loader and libraries, whatever the host's libc:
        that needs neither root nor a chroot.
        """
        if self.installed:
            return [str(self.binary)]
        libraries = self.modules.parent.parent
        loader = next(iter(sorted(libraries.glob("ld-linux*.so.*"))), None)
        if loader is None:
            raise LabUnavailable(f"{libraries}: expected the unpacked dynamic loader ld-linux*.so.*, found none")
        return [str(loader), "--library-path", str(libraries), "--argv0", "asterisk", str(self.binary)]

    @property
    def sounds(self) -> list[Path]:
        """The directories with English prompts, the best first."""
        roots = [self.data / "sounds", Path("/usr/share/asterisk/sounds"), Path("/var/lib/asterisk/sounds")]
        found = [root / name for root in dict.fromkeys(roots) for name in ("en_US_f_Allison", "en")]
        return [directory for directory in found if directory.is_dir()]


def examine(root: Path, binary: Path | None = None) -> Prefix:
    """The Asterisk below `root`.

    Raises LabUnavailable naming what is missing.
    """
    binary = binary or root / "usr/sbin/asterisk"
    if not binary.is_file():
        raise LabUnavailable(f"{binary}: there is no such program")
    places = [
        *sorted(root.glob("usr/lib/*-linux-gnu*/asterisk/modules")),
        root / "usr/lib/asterisk/modules",
        root / "usr/lib64/asterisk/modules",
    ]
    modules = next((place for place in places if place.is_dir()), None)
    if modules is None:
        raise LabUnavailable(f"{root}: no module directory, looked at usr/lib*/…/asterisk/modules")
    missing = [name for name in NEEDED_MODULES if not (modules / f"{name}.so").exists()]
    if missing:
        raise LabUnavailable(f"{modules}: modules missing: {', '.join(missing)}; Asterisk 18 or later has them")
    shares = [root / "usr/share/asterisk", root / "var/lib/asterisk"]
    data = next((share for share in shares if (share / "documentation").is_dir()), None)
    if data is None:
        raise LabUnavailable(f"{root}: no documentation directory, without which modules refuse to load")
    return Prefix(root=root, binary=binary, modules=modules, data=data)


def find() -> Prefix | None:
    """The Asterisk that AGENTD_PBX_PREFIX names, else the one on PATH if it is fit, else None.

    Raises LabUnavailable if AGENTD_PBX_PREFIX is set but unfit: it is not replaced in silence.
    """
    if named := os.environ.get("AGENTD_PBX_PREFIX"):
        try:
            return examine(Path(named))
        except LabUnavailable as error:
            raise LabUnavailable(f"AGENTD_PBX_PREFIX={named} cannot be used: {error}") from error
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    installed = shutil.which("asterisk", path=search)
    if installed is None:
        return None
    try:
        return examine(Path("/"), Path(installed).resolve())
    except LabUnavailable:
        # An unfit one of the host's is no obstacle: the lab brings its own.
        return None
