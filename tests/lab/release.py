"""A release: build what users install, try it out as they do, and tag it.

    python -m tests.lab.release              refuses a dirty tree, a version that is tagged, and one without its changes
    python -m tests.lab.release --dry-run    everything but the tag; what it would refuse is told

What is tried out is the built files, never this tree: the wheel is built from the unpacked source distribution, and
installed alone in a fresh environment, then with pipx and its engines; the demo is that of the source distribution. It
needs a package index, and writes to build/release/ only.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from .units import exec_start

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "release"
ENGINES_LOADED, ENGINES_MISSING = "its engines can be loaded", "engines that cannot be loaded"
"""What the doctor says of an agent's engines (agentd.doctor.needs)."""


class ReleaseFailed(Exception):
    """Something of the release is not as it has to be; the message says what."""


def obstacles(version: str, status: str, tags: str, changes: str) -> list[str]:
    """Why a version may not be tagged. Pure.

    `status` and `tags` are what `git status --porcelain` and `git tag` print, `changes` is the text of CHANGELOG.md.
    """
    found = []
    if status.strip():
        found.append(f"the tree has changes that are not committed:\n{status.rstrip()}")
    if f"v{version}" in tags.splitlines():
        found.append(f"there is a tag v{version}: is the version in pyproject.toml the new one?")
    if not changes_of(version, changes):
        found.append(f"CHANGELOG.md has no section '## [{version}] - YEAR-MONTH-DAY' with anything in it")
    return found


def changes_of(version: str, changes: str) -> str:
    """The section of a version in CHANGELOG.md, which is dated; "" if there is none. Pure."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |^\[|\Z)"
    found = re.search(heading, changes, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def run(*command: str | Path, cwd: Path = OUT, status: int = 0, environ: Mapping[str, str] | None = None) -> str:
    """A command away from the source tree, with `environ` beside ours; gives what it printed.

    Raises ReleaseFailed at another exit status than `status`, and for a traceback.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status or "Traceback (most recent call last)" in done.stderr:
        what = shlex.join(map(str, command))
        raise ReleaseFailed(f"{what}: exit status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tells a step, and how long it took."""
    print(f"==> {name}", flush=True)
    began = time.monotonic()
    yield
    print(f"    good ({time.monotonic() - began:.0f} s)", flush=True)


@attrs.frozen
class Built:
    """The files of a release, and the unpacked source distribution."""

    version: str
    wheel: Path
    sdist: Path
    source: Path


def build(version: str) -> Built:
    """The source distribution from this tree, and the wheel from that."""
    dist = OUT / "dist"
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", dist, cwd=ROOT)
    sdist = dist / f"asterisk_agentd-{version}.tar.gz"
    with tarfile.open(sdist) as tar:
        tar.extractall(OUT / "source", filter="data")
    source = OUT / "source" / f"asterisk_agentd-{version}"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", dist, cwd=source)
    return Built(version, dist / f"asterisk_agentd-{version}-py3-none-any.whl", sdist, source)


def environment(directory: Path, *requirements: str | Path) -> Path:
    """A fresh virtual environment of the interpreter below ours; gives its directory of programs."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    run(base, "-m", "venv", directory)
    run(directory / "bin" / "pip", "install", "--quiet", *requirements)
    return directory / "bin"


def try_alone(built: Built) -> None:
    """The wheel without any extra: the commands that need neither engines nor a PBX, and the unit."""
    agentd = environment(OUT / "alone", built.wheel) / "agentd"
    if (said := run(agentd, "--version").strip()) != f"agentd {built.version}":
        raise ReleaseFailed(f"agentd --version: expected agentd {built.version}, got {said}")
    config, root = OUT / "agent.toml", OUT / "alone-host"
    config.write_text(run(agentd, "sample"))
    run(agentd, "check", "--config", config)
    run(agentd, "init", "--root", root)
    if (program := exec_start(root)[0]) != str(agentd):
        raise ReleaseFailed(f"the unit that {agentd} init laid down starts {program}")
    findings = json.loads(run(agentd, "doctor", "--config", config, "--json", status=1))
    print(f"    {agentd} doctor, without a PBX: {len(findings)} findings")


def try_with_pipx(built: Built, pipx: Path) -> None:
    """The wheel with its engines, by pipx: init below a root, and the doctor loads the engines."""
    host = OUT / "host"
    places = {"PIPX_HOME": str(host / "opt/pipx"), "PIPX_BIN_DIR": str(host / "usr/local/bin")}
    run(pipx, "install", "--python", sys.executable, f"{built.wheel}[local]", environ=places)
    agentd = host / "usr/local/bin/agentd"
    run(agentd, "init", "--root", host)
    program, *arguments = exec_start(host)
    if program != str(host / "opt/pipx/venvs/asterisk-agentd/bin/agentd"):
        raise ReleaseFailed(f"the unit that {agentd} init laid down starts {program}")
    run(program, "check", *arguments)
    findings = json.loads(run(program, "doctor", *arguments, "--json", status=1))
    told = [finding["found"] for finding in findings if finding["check"] == "agent default"]
    if any(ENGINES_MISSING in line for line in told) or not any(ENGINES_LOADED in line for line in told):
        raise ReleaseFailed(f"the doctor found not all engines of {built.wheel.name}[local]:\n" + "\n".join(told))


def try_demo(built: Built) -> None:
    """The README's first two commands, in the unpacked source distribution."""
    readme = (built.source / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh ci\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()][:2]
    print(run("bash", "-euo", "pipefail", "-c", "\n".join(commands), cwd=built.source))


def tag(tree: Path, version: str, changes: str) -> None:
    """Tag what the tree has checked out, with the version's changes, whose headings git would take for comments."""
    message = f"asterisk-agentd {version}\n\n{changes_of(version, changes)}"
    run("git", "tag", "--cleanup=whitespace", "-a", f"v{version}", "-m", message, cwd=tree)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="everything but the tag")
    dry_run: bool = parser.parse_args().dry_run
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = obstacles(version, run("git", "status", "--porcelain", cwd=ROOT), run("git", "tag", cwd=ROOT), changes)
    for obstacle in found:
        print(f"{'would be refused' if dry_run else 'refused'}: {obstacle}", file=sys.stderr)
    if found and not dry_run:
        return 1
    try:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        with step(f"asterisk-agentd {version}: the source distribution, and the wheel from it"):
            built = build(version)
        with step("twine check, of both"):
            tools = environment(OUT / "tools", "--require-hashes", "-r", ROOT / "requirements-release.lock")
            plain = {"NO_COLOR": "1", "COLUMNS": "200"}
            print(run(tools / "twine", "check", "--strict", built.sdist, built.wheel, environ=plain).rstrip())
        with step("the wheel alone in a fresh environment: sample, check, init, doctor"):
            try_alone(built)
        with step("the wheel with its engines, by pipx: init, and the doctor loads them"):
            try_with_pipx(built, tools / "pipx")
        with step("the demo from the unpacked source distribution"):
            try_demo(built)
    except ReleaseFailed as error:
        print(f"the release FAILED: {error}", file=sys.stderr)
        return 1
    if dry_run:
        print(f"asterisk-agentd {version} is good; not tagged. The files are in {OUT / 'dist'}")
        return 0
    tag(ROOT, version, changes)
    print(f"asterisk-agentd {version} is good, and tagged v{version}. The files are in {OUT / 'dist'}")
    print(f"To publish it: git push origin v{version}, and {OUT / 'tools/bin/twine'} upload {OUT / 'dist'}/*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
