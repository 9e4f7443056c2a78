"""`agentd init`: lay agentd's files down on a PBX host, or bring them up to this version.

A file that an administrator changed is never overwritten: the new version is put beside it as `NAME.new`. Which
files those are is told from `/etc/agentd/installed.sha256`, the digests of what was laid down last
(`sha256sum -c` reads it). Of Asterisk's own files nothing is edited but old `#include` lines that name a file of
agentd's, which become `#tryinclude`; the lines to add are printed.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TextIO

from agentd.installation import Installation, running_installation
from agentd.service.host_files import CREDENTIALS, HostFile, HostTree, InstallError
from agentd.service.includes import includes, insisting, with_tryinclude
from agentd.service.units import EXEC_START, PROGRAMS, obstacle_of, program_of, retarget

Flavour = Literal["plain", "freepbx"]

CONFIG: Final = PurePosixPath("/etc/agentd/agent.toml")
ASTERISK: Final = PurePosixPath("/etc/asterisk")

_PLACEHOLDER: Final = re.compile(r"^password = CHANGE-ME$", re.MULTILINE)
_UNITS: Final = {
    "agentd.service": "/etc/systemd/system/agentd.service",
    "agentd-hand-back.service": "/etc/systemd/system/agentd-hand-back.service",
    "agentd@.service": "/etc/systemd/system/agentd@.service",
    "agentd-hand-back@.service": "/etc/systemd/system/agentd-hand-back@.service",
    "agentd-speech.service": "/etc/systemd/system/agentd-speech.service",
    "agentd.sysusers.conf": "/etc/sysusers.d/agentd.conf",
    "agentd.tmpfiles.conf": "/etc/tmpfiles.d/agentd.conf",
}
_SNIPPETS: Final[Mapping[Flavour, tuple[str, ...]]] = {
    "plain": (
        "extensions_agentd.conf",
        "ari_agentd.conf",
        "http_agentd.conf",
        "modules_agentd.conf",
        "pjsip_agentd_sample.conf",
    ),
    # FreePBX loads every module, and has its HTTP server and its phones in the web interface.
    "freepbx": ("extensions_agentd.conf", "ari_agentd.conf"),
}
_INCLUDES: Final[Mapping[Flavour, Mapping[str, str]]] = {
    "plain": {
        "extensions.conf": "extensions_agentd.conf",
        "ari.conf": "ari_agentd.conf",
        "http.conf": "http_agentd.conf",
    },
    "freepbx": {
        "extensions_custom.conf": "extensions_agentd.conf",
        "ari_additional_custom.conf": "ari_agentd.conf",
    },
}
_SECRET_OF: Final = {"ari_agentd.conf": "ari-password", "pjsip_agentd_sample.conf": "phone-password"}


def data_file(name: str) -> Path:
    """A file shipped with agentd, such as `systemd/agentd.service`: from the wheel, or from a source tree.

    Raises InstallError if this installation lacks it.
    """
    package = Path(__file__).parents[1]
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_file():
            return candidate
    raise InstallError(f"{name} is missing from the agentd installation at {package}: install the wheel again")


def init(
    root: Path,
    *,
    out: TextIO,
    prefix: str | None = None,
    asterisk: Flavour | None = None,
    dry_run: bool = False,
    sample: str,
    installation: Installation | None = None,
) -> int:
    """Install or upgrade below `root` ("/" on a real host), telling each step to `out`; returns 0.

    The units start `installation`, by default the one that runs this; with a `prefix` by the link `PREFIX/venv`, which
    leads to it later. `asterisk` names the kind of PBX, None looks for FreePBX's marks; `dry_run` only tells; `sample`
    is the text of the first agent.toml. Run as root the files get their groups where these exist below `root`;
    otherwise they stay the caller's.

    Raises InstallError, for a host that cannot be written among others, and on the host itself for an installation that
    the service could not start. Running it again is always safe.
    """
    installation = installation or running_installation()
    program = program_of(installation, root, prefix)
    obstacle = obstacle_of(installation, root)
    if obstacle is not None and root == Path("/"):
        raise InstallError(str(obstacle))
    host = HostTree(root, out, dry_run)
    flavour = asterisk or ("freepbx" if host.exists("/etc/freepbx.conf") else "plain")
    try:
        for directory, mode in (("/etc/agentd", 0o755), (str(CREDENTIALS), 0o700), (str(ASTERISK), 0o755)):
            host.directory(PurePosixPath(directory), mode)
        offered = host.manifest()
        laid = {file.path: host.lay(file, offered) for file in _files(host, program, flavour, sample)}
        host.remember({**offered, **laid})
        _mend_includes(host)
        _tell_asterisk(host, flavour)
        _tell_units(host, program)
    except OSError as error:
        hint = "run it with sudo" if isinstance(error, PermissionError) else "free what is in the way"
        raise InstallError(f"agentd init cannot write below {root}: {error}; {hint}, then run it again") from error
    if obstacle is not None:
        host.say(f"WARNING: with these files {obstacle}")
    host.say("")
    host.say("Then, as root:")
    host.say("  systemd-sysusers agentd.conf && systemd-tmpfiles --create agentd.conf")
    host.say("  systemctl daemon-reload && systemctl enable agentd")
    host.say(f"  {program} check --config {CONFIG} && systemctl restart agentd")
    host.say(f"  {program} doctor --config {CONFIG}")
    return 0


def _files(host: HostTree, program: str, flavour: Flavour, sample: str) -> Iterator[HostFile]:
    for name, path in _UNITS.items():
        text = data_file(f"systemd/{name}").read_text(encoding="utf-8")
        yield HostFile(PurePosixPath(path), retarget(text, program), places=PROGRAMS)
    yield HostFile(CONFIG, sample, theirs=True)
    for name in _SNIPPETS[flavour]:
        text = data_file(f"asterisk_conf/{name}").read_text(encoding="utf-8")
        secret = _SECRET_OF.get(name)
        if secret is None:
            yield HostFile(ASTERISK / name, text, group="asterisk")
        else:
            password = host.credential(secret)
            text, found = _PLACEHOLDER.subn(lambda _, p=password: f"password = {p}", text)  # type: ignore[misc]
            if found != 1:
                raise InstallError(f"asterisk_conf/{name}: expected one line 'password = CHANGE-ME', got {found}")
            yield HostFile(ASTERISK / name, text, 0o640, group="asterisk")


def _tell_units(host: HostTree, program: str) -> None:
    """A unit that was edited is kept, and may start another installation than the one that is upgraded here."""
    for path in map(PurePosixPath, _UNITS.values()):
        started = EXEC_START.search(host.text(path))
        if started and started[1] != program and not host.dry_run:
            host.say(f"WARNING: {path}, which is yours, starts {started[1]} and not {program}.")


def _mend_includes(host: HostTree) -> None:
    """Without the file that an `#include` names Asterisk rejects all of the file that it stands in."""
    names = _SNIPPETS["plain"]
    for path in host.listing(ASTERISK, "*.conf"):
        lines = insisting(host.text(path), names)
        if lines and not host.amend(path, lambda text: with_tryinclude(text, names)):
            host.say(
                f"WARNING: {path} is a link, and left alone. Change {', '.join(lines)} there to #tryinclude: as it is, "
                "Asterisk rejects the whole file when agentd's is gone."
            )


def _tell_asterisk(host: HostTree, flavour: Flavour) -> None:
    wanted = dict(_INCLUDES[flavour])
    if flavour == "plain" and re.search(r"(?m)^\s*autoload\s*=>?\s*no\b", host.text(ASTERISK / "modules.conf")):
        wanted["modules.conf"] = "modules_agentd.conf"
    missing = {conf: name for conf, name in wanted.items() if not includes(host.text(ASTERISK / conf), name)}
    host.say("")
    if not missing:
        host.say("Asterisk includes agentd's files already.")
    for conf, snippet in missing.items():
        host.say(f"Add as the last line of {ASTERISK / conf}:   #tryinclude {snippet}")
    if flavour == "freepbx":
        host.say(
            "In FreePBX, Settings > Advanced Settings: Enable the mini-HTTP Server = Yes, "
            "Enable the Asterisk REST Interface = Yes."
        )
    kept = host.text(ASTERISK / "ari_agentd.conf")
    password = re.search(r"(?m)^\s*password\s*=>?\s*(\S+)", kept)
    crypted = re.search(r"(?m)^\s*password_format\s*=>?\s*crypt", kept)
    if password and not crypted and password[1] != host.credential("ari-password"):
        host.say(
            f"WARNING: the password in {ASTERISK / 'ari_agentd.conf'} is not the one in "
            f"{CREDENTIALS / 'ari-password'}: Asterisk will refuse agentd until they are equal."
        )
