"""The embedded language model's server: a process of its own, so that a crash in it ends no call.

Run as `python -m agentd_providers.local.llm_process`. It reads one line of JSON from stdin (nothing of it belongs into
argv: the key is a secret), loads the model, prints one line of JSON with the server's address (unix://PATH), and
serves until stdin ends, which also happens when the daemon dies.
"""

import json
import os
import sys

NICENESS = 5
BATCH = 5
"""Tokens that are computed at once, and no fewer than there are slots: llama.cpp does not start with fewer. Between two
batches the server hears of requests that were given up. Larger ones read a little faster and let go later: `just
bench-drafts` tells how long a slot is busy after its request was given up."""
SPINS = 1000
"""Turns (GOMP_SPINCOUNT) for which a thread spins that waits for another, before it gives its core away. By default it
is a hundred times as many: where something else runs on the other's core, the two that read a prompt stand still."""


def main() -> int:
    """Serve a GGUF model by llama.cpp's OpenAI-compatible server on a Unix socket, for its owner alone."""
    os.nice(NICENESS)
    os.umask(0o077)
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # read when the library is loaded
    request = json.loads(sys.stdin.readline())
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    params.hostnames = [request["socket"]]
    params.api_keys = [request["key"]]
    params.ui = False
    params.cache_ram_mib = 0
    params.n_parallel = request["slots"]
    params.n_ctx = request["context"] * request["slots"]
    # One store for all slots: else what one reads and what another writes is computed one after the other.
    params.kv_unified = True
    params.n_batch = params.n_ubatch = max(BATCH, request["slots"])
    # Threads that write a token together wait for each other by spinning. Where one of them does not get its core at
    # once, that takes seconds a token (measured: 1.8 s at p95 with one of two cores busy, 6 ms with one thread).
    params.cpuparams.n_threads = request["threads"]
    params.cpuparams_batch.n_threads = request["threads_batch"]
    params.verbosity = -1
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address}) + "\n")
    sys.stdout.flush()
    while sys.stdin.readline():
        pass
    # llama.cpp's threads do not end by themselves, and there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
