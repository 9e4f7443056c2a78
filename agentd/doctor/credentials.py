"""The secrets of agents and tools: whether each is there, and whether its provider lets us in with it.

Every provider tells its own needs (registry.Provider.credentials), so that those of a package from elsewhere
are tried in the same way. No secret is ever shown: of what a server says, nothing that repeats a part of one.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx
import trio

from agentd import deadlines
from agentd.config.secrets import credential_name
from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.host import unit_text
from agentd.doctor.secrets import Located, handing_over, how_to_give, is_handed_over, locate
from agentd.errors import ConfigError
from agentd.parsing import load_json
from agentd.plugins import blaming
from agentd.tools.registry import find_kind
from agentd.websocket import tls_context
from agentd_providers.credentials import Credential
from agentd_providers.registry import find_provider

DEADLINE: Final = deadlines.DOCTOR_KEY.seconds
BODY_DEADLINE: Final = deadlines.DOCTOR_KEY_BODY.seconds
MOST_BODY: Final = 4096
SHOWN: Final = 200
"""Characters of a server's reason that are shown."""
SHORTEST_PART: Final = 4
"""So many characters of a key, in a row, are a part that is not shown."""


@attrs.frozen
class Need:
    """A secret that an agent or a tool needs; `check` is the doctor's line."""

    check: str
    credential: Credential
    essential: bool = True
    """Without it the agent cannot work; false: only a tool of it."""


async def examine_credentials(
    config: Config, environ: Mapping[str, str], credentials: Path
) -> Mapping[str, list[Finding]]:
    """Every secret of every agent and tool, by the doctor's line ("agent NAME", "tool NAME").

    `credentials` is the directory that the unit's LoadCredential= reads. Takes DEADLINE seconds at most.
    """
    needs, findings = needed(config)
    unit = await unit_text()
    keys: dict[Credential, str] = {}
    for need in needs:
        located, found = _look_up(need, environ, credentials, unit)
        findings.setdefault(need.check, []).extend(found)
        if need.credential.check_url and (located is not None or not need.credential.secret):
            keys[_request(need.credential)] = located.secret.reveal() if located is not None else ""
    outcomes = await _try_all(keys)
    for need in needs:
        if outcome := outcomes.get(_request(need.credential)):
            told = attrs.evolve(outcome, check=need.check, found=f"{need.credential.what}: {outcome.found}")
            findings[need.check].append(told)
    return findings


def needed(config: Config) -> tuple[list[Need], dict[str, list[Finding]]]:
    """The needs of this configuration, each once for each agent and tool; and by the doctor's line whose cannot be
    told. Pure."""
    needs: list[Need] = []
    findings: dict[str, list[Finding]] = {}
    for check, found in _told(config):
        try:
            needs += found()
        except ConfigError as error:
            findings.setdefault(check, []).append(fail(check, str(error), "mend or remove the package that brings it"))
    return needs, findings


def _told(config: Config) -> Iterator[tuple[str, Callable[[], list[Need]]]]:
    """By the doctor's line, what tells the needs of an agent or a tool; raises ConfigError where that is broken."""

    def of_agent(check: str, agent: AgentConfig) -> list[Need]:
        with blaming(f"the provider {agent.provider!r}"):
            return [Need(check, each) for each in _merged(find_provider(agent.provider).credentials(agent.settings))]

    def of_tool(check: str, kind: str, tool: ToolConfig) -> list[Need]:
        with blaming(f"the kind of tools {kind!r}"):
            secrets = dict.fromkeys(find_kind(kind).secrets(tool.settings))
        what = "a secret of its requests"
        return [Need(check, Credential(secret, what), essential=False) for secret in secrets]

    for name, agent in sorted(config.agents.items()):
        yield (check := f"agent {name}"), partial(of_agent, check, agent)
    for name, tool in sorted(config.tools.items()):
        yield (check := f"tool {name}"), partial(of_tool, check, tool.kind or name, tool)


def _merged(credentials: Sequence[Credential]) -> list[Credential]:
    """One key that is needed for several things is looked up and tried once."""
    found: dict[Credential, Credential] = {}
    for credential in credentials:
        request = _request(credential)
        what = f"{found[request].what}; {credential.what}" if request in found else credential.what
        found[request] = attrs.evolve(credential, what=what)
    return list(found.values())


def _request(credential: Credential) -> Credential:
    """The credential as its server sees it: two with one request are the same to it."""
    return attrs.evolve(credential, what="")


def _look_up(
    need: Need, environ: Mapping[str, str], credentials: Path, unit: str
) -> tuple[Located | None, list[Finding]]:
    name, what = need.credential.secret, need.credential.what
    if not name:
        return None, []
    bad = fail if need.essential else warn
    try:
        located = locate(name, environ, credentials)
    except ConfigError as error:
        return None, [bad(need.check, f"{what}: {error}", *how_to_give(name, credentials))]
    if located is None:
        where = f"neither the environment has {name} nor systemd the credential {credential_name(name)}"
        return None, [bad(need.check, f"{what} is missing: {where}", *how_to_give(name, credentials))]
    value = located.secret.reveal()
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        found = f"{what}: {located.where}, but with characters that no key has (is it a file of another kind?)"
        return None, [bad(need.check, found, *how_to_give(name, credentials))]
    if unit and not is_handed_over(name, unit):
        found = f"{what}: {located.where}, but the service is not given it"
        return located, [warn(need.check, found, handing_over(name, credentials))]
    return located, [ok(need.check, f"{what}: {located.where}")]


async def _try_all(keys: Mapping[Credential, str]) -> Mapping[Credential, Finding]:
    """How each request ends, as a finding without its line."""
    outcomes: dict[Credential, Finding] = {}
    async with httpx.AsyncClient(
        timeout=DEADLINE, trust_env=False, verify=tls_context(), headers={"Accept-Encoding": "identity"}
    ) as client:

        async def one(credential: Credential, key: str) -> None:
            reach = _connect(credential) if credential.check_url.startswith("tcp:") else _ask(client, credential, key)
            try:
                with trio.fail_after(DEADLINE):
                    outcomes[credential] = await reach
            except trio.TooSlowError:
                outcomes[credential] = _unreachable(credential, f"no answer within {DEADLINE:g} s")

        async with trio.open_nursery() as nursery:
            for credential, key in keys.items():
                nursery.start_soon(one, credential, key)
    return outcomes


async def _ask(client: httpx.AsyncClient, credential: Credential, key: str) -> Finding:
    headers = {credential.header: f"{credential.scheme} {key}".strip()} if key else {}
    try:
        async with client.stream("GET", credential.check_url, headers=headers) as answer:
            body = b"" if answer.is_success else await _beginning(answer)
    except httpx.TimeoutException:
        return _unreachable(credential, f"no answer within {DEADLINE:g} s")
    except httpx.ConnectError as error:
        if tls := _tls_error(error):
            found = f"{_shown(credential)} cannot be talked to safely: {str(tls)[:SHOWN]}"
            return warn("", found, "are the host's clock and its CA certificates right? is it an https server at all?")
        return _unreachable(credential, str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may repeat what was sent, or what came
        return warn("", f"GET {_shown(credential)} came to nothing ({type(error).__name__})")
    return judge(credential, answer.status_code, reason(body, key))


async def _beginning(answer: httpx.Response) -> bytes:
    """The first bytes of a body, or what comes of it: the status alone tells enough.

    The loop is not left, but cancelled where it waits: else httpx's generators stay unfinished.
    """
    body = bytearray()
    with trio.move_on_after(BODY_DEADLINE) as reading, suppress(httpx.HTTPError):
        async for data in answer.aiter_raw():
            body += data[: MOST_BODY - len(body)]
            if len(body) == MOST_BODY:
                reading.cancel()
    return bytes(body)


async def _connect(credential: Credential) -> Finding:
    """For servers that know no keys: whether somebody is there."""
    try:
        parts = urlsplit(credential.check_url)
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
    except (OSError, ValueError) as error:
        return _unreachable(credential, str(error))
    await stream.aclose()
    return ok("", f"{_shown(credential)} takes connections")


def _unreachable(credential: Credential, why: str) -> Finding:
    where = f"{_shown(credential)} cannot be reached ({why[:SHOWN]})"
    if credential.secret:
        return skipped("", f"not tried out: {where}. Offline?")
    return fail("", where, "is it running, and is its address in agent.toml right?")


def judge(credential: Credential, status: int, says: str) -> Finding:
    """The meaning of a server's answer to our key. Pure."""
    name, what = credential.secret, f"GET {_shown(credential)}: HTTP {status}{f' ({says})' if says else ''}"
    if 200 <= status < 300:
        return ok("", f"{_shown(credential)} {'takes the key' if name else 'answers'}")
    match status:
        case 401 | 403 if name:
            return fail(
                "",
                f"the server refuses the key: {what}",
                f"{name} must hold a key that is valid there, whole and of the right project",
            )
        case 401 | 403:
            return fail("", f"the server wants a key: {what}", "name the variable that holds it: api_key_name")
        case 402:
            return warn("", f"the account has no credit left: {what}", "calls will be refused: top it up")
        case 429:
            return warn("", f"the account's limit is reached: {what}", "requests, or credit: see its usage page")
    return warn("", what, "is its address in agent.toml right? (base_url usually ends in /v1)")


def reason(body: bytes, key: str) -> str:
    """The server's reason for a refusal: one printable line, empty where nothing of it can be shown. Pure.

    Servers repeat refused keys, or parts of them: then nothing is shown.
    """
    try:
        text = _message(load_json(body))
    except ValueError:
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    length = min(SHORTEST_PART, len(key))
    parts = {key[at : at + length].casefold() for at in range(len(key) - length + 1)} if key else set()
    folded = text.casefold()
    if any(part in folded for part in parts):
        return ""
    return text[:SHOWN]


def _message(answer: Any) -> str:
    """The message in the forms that vendors and OpenAI-compatible servers have."""
    while isinstance(answer, dict):
        answer = next((answer[key] for key in ("error", "err_msg", "message", "detail") if answer.get(key)), "")
    return answer if isinstance(answer, str) else ""


def _shown(credential: Credential) -> str:
    return credential.check_url.partition("?")[0]


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS itself, below what the layers above make of it."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
