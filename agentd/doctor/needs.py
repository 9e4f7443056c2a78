"""The needs of an agent on this host, as its provider tells them (agentd_providers.needs): whether each is there."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from agentd import deadlines
from agentd.config.secrets import Secret
from agentd.doctor.access import ENTER, READ, daemon_account
from agentd.doctor.findings import Finding, fail, ok
from agentd.doctor.model_lists import judge_list, list_of
from agentd.doctor.secrets import locate
from agentd.doctor.servers import LIST_DEADLINE, Outcome, beginning
from agentd.environment import for_child
from agentd.errors import ConfigError, ProviderError
from agentd.parsing import load_json
from agentd.websocket import tls_context
from agentd_providers.model_list import LARGEST
from agentd_providers.needs import Fetch, ModelFile, ModelServer, Modules, Need

IMPORT_DEADLINE: Final = deadlines.DOCTOR_IMPORT.seconds
SERVER_DEADLINE: Final = deadlines.DOCTOR_SERVER.seconds

_IMPORT: Final = """
import importlib, json, sys, types
names, spared = json.loads(sys.argv[1])
for name in spared:
    try:
        importlib.import_module(name)
    except (ImportError, OSError):
        sys.modules[name] = types.ModuleType(name)
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(failed))
"""


async def examine_needs(
    check: str, needs: Sequence[Need], environ: Mapping[str, str], credentials: Path
) -> list[Finding]:
    """One finding for all modules, one for all model files, and those of each server. `check` is the doctor's line.

    `credentials` is the directory that the unit's LoadCredential= reads. Takes IMPORT_DEADLINE seconds at most, and
    SERVER_DEADLINE for each server.
    """
    modules = [need for need in needs if isinstance(need, Modules)]
    files = [need for need in needs if isinstance(need, ModelFile)]
    findings = [await _examine_modules(check, modules, environ)] if modules else []
    if files:
        findings.append(await trio.to_thread.run_sync(_examine_files, check, files, environ))
    servers = [need for need in needs if isinstance(need, ModelServer)]
    for server in servers:
        findings += await _examine_server(check, server, environ, credentials)
    return findings


async def _examine_modules(check: str, modules: Sequence[Modules], environ: Mapping[str, str]) -> Finding:
    names = list(dict.fromkeys(name for need in modules for name in need.names))
    failed = await import_errors(names, [name for need in modules for name in need.spared], environ)
    if not failed:
        return ok(check, f"its engines can be loaded ({', '.join(names)})")
    broken = "; ".join(f"{name}: {error}" for name, error in failed.items())
    concerned = [need for need in modules if failed.keys() & need.names] or modules
    return fail(check, f"engines that cannot be loaded: {broken}", *dict.fromkeys(need.install for need in concerned))


async def import_errors(names: Sequence[str], spared: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Import modules in a process of their own, which an engine may crash; gives what went wrong by name, or for "all".

    Where one of `spared` cannot be imported, an empty module stands in.
    """
    try:
        with trio.fail_after(IMPORT_DEADLINE):
            done = await trio.run_process(
                [sys.executable, "-c", _IMPORT, json.dumps([names, spared])],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=for_child(environ),
            )
        failed: Any = load_json(done.stdout.splitlines()[-1])
    except trio.TooSlowError:
        return {"all": f"not loaded within {IMPORT_DEADLINE:g} s"}
    except (ValueError, IndexError):
        failed = None
    if not isinstance(failed, dict):  # an engine may write lines of its own, and end the process before ours
        return {"all": f"loading them ended the process with status {done.returncode}"}
    return {name: str(error) for name, error in failed.items()}


def _examine_files(check: str, files: Sequence[ModelFile], environ: Mapping[str, str]) -> Finding:
    """Every model file is here, whole, and readable for the daemon. Blocking."""
    problems: list[str] = []
    advice: list[str] = []
    daemon = daemon_account()
    for file in {file.name: file for file in files}.values():
        fetching = _fetching(file.fetch, environ) if file.fetch else ""
        try:
            path = file.find(environ)
            obstacle = daemon.obstacle(path, READ | ENTER if path.is_dir() else READ)
        except ProviderError as error:
            problems.append(str(error))
            advice.append(fetching or file.hint)
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - a stranger's `find` may raise anything
            problems.append(f"{file.name} cannot be looked for: {type(error).__name__}: {error}")
        else:
            if obstacle:
                problems.append(f"{file.name}: {obstacle}")
                own = f"chown -R {daemon.name}: {path}"
                advice.append(f"{own}, or fetch it as that user: {fetching}" if fetching else own)
    if problems:
        return fail(check, "models: " + "\n".join(problems), *dict.fromkeys(filter(None, advice)))
    return ok(check, f"its models are here ({', '.join(dict.fromkeys(file.name for file in files))})")


def _fetching(fetch: Fetch, environ: Mapping[str, str]) -> str:
    """The command that brings a file to where the daemon looks, for whoever asks."""
    daemon = daemon_account()
    if os.geteuid() == 0 and daemon.uid != 0:
        return f"runuser -u {daemon.name} -- env {fetch.variable}={fetch.service_directory} {fetch.command}"
    chosen = environ.get(fetch.variable)
    return f"{fetch.variable}={shlex.quote(chosen)} {fetch.command}" if chosen else fetch.command


async def _examine_server(
    check: str, server: ModelServer, environ: Mapping[str, str], credentials: Path
) -> list[Finding]:
    """Ask an OpenAI-compatible server for its models, with the key that the agent would use."""
    url, table = f"{server.base_url.rstrip('/')}/models", f"[agents.NAME.{server.table}]"
    key = _key(server, environ, credentials)
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    body = b""
    try:
        with trio.fail_after(SERVER_DEADLINE) as patience:
            async with (
                httpx.AsyncClient(
                    timeout=SERVER_DEADLINE,
                    trust_env=False,
                    verify=tls_context(),
                    headers={"Accept-Encoding": "identity"},
                ) as client,
                client.stream("GET", url, headers=headers) as answer,
            ):
                patience.deadline += LIST_DEADLINE
                if answer.is_success:
                    body = await beginning(answer, LARGEST, LIST_DEADLINE)
    except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as error:
        found = f"the language model's server does not answer: GET {url}: {type(error).__name__} {error}"
        return [fail(check, found, f"is it running, and is base_url in {table} right, with /v1 at its end?")]
    if answer.status_code in (401, 403):
        found = f"the language model's server refuses us: GET {url}: HTTP {answer.status_code}"
        return [fail(check, found, f"api_key_name in {table} must name the variable or credential that holds its key")]
    if answer.status_code >= 300:
        return [fail(check, f"GET {url}: HTTP {answer.status_code}", "base_url usually ends in /v1")]
    answers = ok(check, f"the language model's server answers at {url}")
    return [answers, *judge_list(check, list_of(server), Outcome(answers, body), date.today().isoformat())]


def _key(server: ModelServer, environ: Mapping[str, str], credentials: Path) -> Secret | None:
    if not server.api_key_name:
        return None
    try:
        located = locate(server.api_key_name, environ, credentials)
    except ConfigError:  # told with the agent's keys
        return None
    return None if located is None else located.secret
