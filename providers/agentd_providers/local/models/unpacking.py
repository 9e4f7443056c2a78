"""Unpacking a model's archive: only the files that are wanted, hashed, and nothing outside of their directory."""

import hashlib
import json
import os
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

import cattrs

from agentd_providers.local.models.catalogue import MARKER, Marker, Model, ModelCorrupt, StoredFile

_BLOCK: Final = 1 << 18


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
                            raise ModelCorrupt(f"{model.name} unpacks to more than the declared {model.size} bytes")
                        digest.update(block)
                        plain.write(block)
                    plain.flush()
                    os.fsync(plain.fileno())
                room -= size
                files[name] = StoredFile(size, digest.hexdigest())
                expected = model.files.get(name, files[name].sha256)
                if files[name].sha256 != expected:
                    raise ModelCorrupt(f"{name} of {model.name}: expected SHA-256 {expected}, got {files[name].sha256}")
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
        plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
        if name in found or name == MARKER or not plain or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ModelCorrupt(f"archive member {member.filename!r}: expected one plain, unencrypted file")
        found[name] = member
    if lacking := model.files.keys() - found.keys() or (set() if found else {model.source.folder}):
        raise ModelCorrupt(f"the archive of {model.name} lacks {', '.join(sorted(lacking))}")
    return found
