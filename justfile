# agentd's recipes; `just` lists them. Everything is installed into .venv and below build/.

set shell := ["bash", "-euo", "pipefail", "-c"]

python := ".venv/bin/python"
# All of flake8-async but the opt-in ones, 109 and 110 (ruff has them), 114 and 127 (httpx is the choice here)
async_rules := "ASYNC100,ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC105,ASYNC106,ASYNC111,ASYNC112,ASYNC113,ASYNC115,ASYNC116,ASYNC118,ASYNC119,ASYNC120,ASYNC121,ASYNC122,ASYNC123,ASYNC124,ASYNC125,ASYNC126,ASYNC128,ASYNC200,ASYNC210,ASYNC220,ASYNC221,ASYNC222,ASYNC230,ASYNC231,ASYNC232,ASYNC240,ASYNC250,ASYNC251"
# Tests that need neither engines nor Asterisk: a process a core, and who has finished takes over from the other's rest
side_by_side := "-n auto --dist worksteal"
# Bytecode is kept, whatever the shell says: each process would rewrite the asserts of all test modules anew
export PYTHONDONTWRITEBYTECODE := ""

# List the recipes
default:
    @just --list --unsorted

# Install what the daemon and the demo need into .venv (again only when the lock file changed)
setup: (_install "requirements.lock")

# The same, and what tests and linters need
setup-dev: (_install "requirements-dev.lock")

_install lock:
    #!/usr/bin/env bash
    set -euo pipefail
    test -x {{ python }} || python3 -m venv .venv
    stamp=".venv/installed-$(cat {{ lock }} pyproject.toml | sha256sum | cut -c1-16)"
    test -e "$stamp" && exit 0
    echo "Installing {{ lock }} into .venv"
    {{ python }} -m pip install --quiet --disable-pip-version-check --progress-bar off \
        --require-hashes -r {{ lock }}
    {{ python }} -m pip install --quiet --disable-pip-version-check --no-deps --editable .
    touch "$stamp"

# Place a real call to the embedded agent on a private Asterisk: `just demo`, or `just demo --talk`
demo *args: setup
    {{ python }} -m tests.lab.demo {{ args }}

# All tests but the long ones; or `just test ARGUMENTS` of pytest
test *args: setup-dev
    #!/usr/bin/env bash
    set -euo pipefail
    {{ python }} -m agentd models fetch embedded
    if [ -n "{{ args }}" ]; then
        exec {{ python }} -m pytest {{ args }}
    fi
    just _test "not long"

# The long ones: the fault walk, the fuzz, and what takes its time on the real Asterisk
test-long: setup-dev
    {{ python }} -m agentd models fetch embedded
    just _test "long"

# What needs Asterisk or engines one at a time; beside it, on what it leaves of the processor, all that needs neither
_test which:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p build
    log="build/test-beside.log"
    echo "Beside these run the tests that need neither Asterisk nor engines: $log"
    others=$(({{ num_cpus() }} > 1 ? {{ num_cpus() }} - 1 : 1))  # a core for who listens to calls, which go by real time
    nice -n 10 {{ python }} -m pytest -n $others --dist worksteal -m "{{ which }} and not engines and not e2e" > "$log" 2>&1 &
    beside=$!
    trap 'kill $beside 2> /dev/null || true' EXIT
    status=0
    {{ python }} -m pytest -m "{{ which }} and (engines or e2e)" || status=$?
    if wait $beside; then tail -n 1 "$log"; else status=$?; cat "$log"; fi
    exit $status

# Only the fast tests, without Asterisk and engines
test-fast *args: setup-dev
    {{ python }} -m pytest {{ side_by_side }} tests/unit tests/shell tests/field {{ args }}

# The tests without Asterisk and engines ten times, in another order each time, while other processes keep every core busy
test-busy *args: setup-dev
    {{ python }} -m tests.lab.busy {{ args }}

# The fault walk: whatever one thing goes wrong in a call, no caller is left in silence; `just walk --help`
walk *args: setup-dev
    {{ python }} -m tests.walk {{ args }}

# Whatever bytes a peer sends, its parser takes or refuses them: a million inputs a parser; `just fuzz --help`
fuzz *args: setup-dev
    {{ python }} -m tests.fuzz {{ args }}

# The fast tests on another Python: a version (3.13), a path, or the newest that is here and newer than .venv's
test-python version="newest" *args: setup-dev
    {{ python }} -m tests.lab.other_python test {{ version }} {{ args }}

# Unpack Debian's Python of a version below ~/.cache, for `just test-python`; needs no root and installs nothing
debian-python version="3.14": setup-dev
    {{ python }} -m tests.lab.other_python unpack {{ version }}

# Which lines the fast tests reach
coverage *args: setup-dev
    {{ python }} -m pytest {{ side_by_side }} --cov --cov-report=term tests/unit tests/shell tests/field {{ args }}

# ruff, mypy --strict, flake8-async, import-linter, and that every deadline is in the table
lint: setup-dev
    {{ python }} -m ruff check .
    {{ python }} -m ruff format --check .
    {{ python }} -m mypy
    git ls-files 'agentd/*.py' 'providers/*.py' 'tests/lab/*.py' | xargs --max-procs={{ num_cpus() }} --max-args=20 \
        {{ python }} -m flake8_async --enable={{ async_rules }}
    .venv/bin/lint-imports
    {{ python }} -m tests.lab.deadline_lint

# Start the private Asterisk and the daemon, and leave them up (Ctrl-C ends them)
pbx-up: (demo "--talk")

# Stop what `pbx-up` left behind, should it not have ended by itself
pbx-down: setup
    {{ python }} -m tests.lab.demo --down

# Response delay at the caller's ear, over finished turns and hesitations; --third: by voices kept apart (writes build/bench/)
bench-latency *args: setup-dev
    {{ python }} -m tests.lab.bench_latency {{ args }}

# Is a caller who pauses taken for one who has finished? The cues, offline, over many voices; --third: those kept apart
bench-turns *args: setup-dev
    {{ python }} -m tests.lab.bench_turns {{ args }}

# Fit the weights of the cues for the end of a turn to the voices that are there for it
fit-turns *args: setup-dev
    {{ python }} -m tests.lab.turn_fit {{ args }}

# How long the words are waited for after 1 to 8 s of speech, and how many are wrong, beside whole decoding (writes build/bench/)
bench-transcript *args: setup-dev
    {{ python }} -m tests.lab.bench_transcript {{ args }}

# Whether and how soon the agent stops when interrupted, and by what it should not be (writes build/bench/)
bench-barge-in *args: setup-dev
    {{ python }} -m tests.lab.bench_barge_in {{ args }}

# For how long a "mhm" or a cough silences an agent, and which commands stop it, without a PBX (writes build/bench/)
bench-first-sounds *args: setup-dev
    {{ python }} -m tests.lab.bench_first_sounds {{ args }}

# Fit the network that tells a caller's "mhm" or cough from the beginning of a turn (writes its weights into the package)
fit-first-sounds *args: setup-dev
    {{ python }} -m tests.lab.fit_first_sounds {{ args }}

# Do noise and coughs become turns, and are lone words heard? Before words were judged, and now (writes build/bench/)
bench-ghosts *args: setup-dev
    {{ python }} -m tests.lab.bench_ghosts {{ args }}

# A vendor fails in mid-sentence: how soon the caller hears a voice and the next agent's answer (writes build/bench/)
bench-failover *args: setup-dev
    {{ python }} -m tests.lab.bench_failover {{ args }}

# Drafts that hesitating callers throw away: how soon the model is free again, first tokens of five callers beside one
bench-drafts *args: setup-dev
    {{ python }} -m tests.lab.bench_drafts {{ args }}

# What agentd adds between a vendor's first audio and the line (writes build/bench/)
bench-overhead *args: setup-dev
    {{ python }} -m tests.lab.bench_overhead {{ args }}

# How soon a call's media leg is up on a busy host, and whether all of them stream (writes build/bench/)
bench-setup *args: setup-dev
    {{ python }} -m tests.lab.bench_setup {{ args }}

# How evenly ten busy calls are served, and underruns in ten minutes of steady speech (writes build/bench/)
bench-pacing *args: setup-dev
    {{ python }} -m tests.lab.bench_pacing {{ args }}

# What 1 to 200 calls cost over each transport, beside a bare echo; `just bench-load --help` (writes build/bench/)
bench-load *args: setup-dev
    {{ python }} -m tests.lab.bench_load {{ args }}

# Each transport beside the others, in one run: response, interruption, cost; RTP with loss too (writes build/bench/)
bench-transports *args: setup-dev
    {{ python }} -m tests.lab.bench_transports {{ args }}

# One clock a call against one for all calls, and against agentd's own, without a daemon (writes build/bench/)
bench-clock *args: setup-dev
    {{ python }} -m tests.lab.bench_clock {{ args }}

# Lag of the daemon's event loop while the engines work, against an idle loop (writes build/bench/)
bench-loop *args: setup-dev
    {{ python }} -m tests.lab.bench_loop {{ args }}

# Fetch the voices that nothing was tuned on (200 MB), and have them say so many turns of each part and kind; what was said is kept
voices count="150": setup-dev
    -{{ python }} -m tests.lab.voices.fetching used
    for part in fit choose third; do {{ python }} -m tests.lab.voices.turns $part {{ count }}; done

# Install or upgrade on this PBX host, as root; with a ROOT, below that directory
install-host root="":
    systemd/install-host {{ if root == "" { "" } else { "--root " + root } }}

# Build sdist and wheel, try them out as users do, tag the version; `just release --dry-run` does all but the tag
release *args: setup-dev
    {{ python }} -m tests.lab.release {{ args }}

# Write the lock files anew from pyproject.toml; pins that still fit stay (`lock --upgrade` takes the newest)
lock *args:
    uv pip compile -q pyproject.toml --extra local --universal --python-version 3.11 --no-strip-extras --generate-hashes \
        --no-emit-index-url --no-header --no-annotate {{ args }} -o requirements.lock
    uv pip compile -q pyproject.toml --all-extras -c requirements.lock --universal --python-version 3.11 --no-strip-extras \
        --generate-hashes --no-emit-index-url --no-header --no-annotate {{ args }} -o requirements-dev.lock
    uv pip compile -q --group build -c requirements-dev.lock --universal --python-version 3.11 --no-strip-extras \
        --generate-hashes --no-emit-index-url --no-header --no-annotate {{ args }} -o requirements-build.lock
    uv pip compile -q --group release -c requirements-dev.lock --universal --python-version 3.11 --no-strip-extras \
        --generate-hashes --no-emit-index-url --no-header --no-annotate {{ args }} -o requirements-release.lock
