"""The environment that child processes get: what an engine or a program of this host needs, and no secret.

A child's environment is shown to whoever may read /proc/PID/environ (proc(5)), is inherited by whatever the child
starts in its turn, and ends up in core files. So it is made by a list of what may be in it: a secret may have any name.
"""

import os
import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

ALLOWED: Final = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
        *("LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TEMP", "TMP", "GLIBC_TUNABLES"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV", "AGENTD_MODELS_DIR", "JOURNAL_STREAM", "INVOCATION_ID"),
        *("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY"),
    )
)
ALLOWED_BEGINNINGS: Final = (
    *("LC_", "XDG_", "PYTHON", "LD_", "MALLOC_"),
    # what engines compute with: OpenMP and BLAS libraries, onnxruntime, llama.cpp, CUDA
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "ORT_", "GGML_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_"),
)
PROXIES: Final = frozenset(
    form for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for form in (name, name.lower())
)
"""For programs that ask the network for something: a proxy's URL may hold a password."""
_FOR_CLIENTS: Final = PROXIES | {"OPENAI_ORG_ID", "OPENAI_PROJECT_ID"}
"""For libraries that look for them in this process."""
_SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)

_withheld: Final[dict[str, str]] = {}
INHERITED: Final[Mapping[str, str]] = ChainMap(os.environ, _withheld)
"""The environment that this process was given, whole: what is withheld from children too."""


def is_for_children(name: str) -> bool:
    """Whether a child process gets the variable of this name."""
    return name in ALLOWED or (name.startswith(ALLOWED_BEGINNINGS) and _SECRET.search(name) is None)


def for_child(environ: Mapping[str, str] = INHERITED, also: Collection[str] = ()) -> dict[str, str]:
    """The environment for a child process, out of `environ`; `also` names what this one needs beside the usual."""
    return {name: value for name, value in environ.items() if is_for_children(name) or name in also}


@contextmanager
def withheld_from_children() -> Iterator[None]:
    """Take out of this process's own environment what no child may have, for as long as the block is entered.

    For children that are not given an environment but inherit ours: those of multiprocessing (spawnv_passfds in its
    util.py), and whatever a plug-in starts. `INHERITED` still has all of it. Proxies stay, for HTTP clients that look
    for them here. Entered once, before there are threads: setenv(3) is not for several.
    """
    kept = for_child(os.environ, _FOR_CLIENTS)
    taken = {name: value for name, value in os.environ.items() if name not in kept}
    _withheld.update(taken)
    for name in taken:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(taken)
        _withheld.clear()
