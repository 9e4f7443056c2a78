"""The secrets of agents and tools: whether each is there, whether its provider lets us in with it, and whether it still
has the models that are used.

Every provider tells its own needs (registry.Provider.credentials), so that those of a package from elsewhere
are tried in the same way. No secret is ever shown.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import attrs

from agentd.config.secrets import credential_name
from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.doctor.findings import Finding, State, fail, ok, warn
from agentd.doctor.host import unit_text
from agentd.doctor.model_lists import judge_list
from agentd.doctor.secrets import Located, handing_over, how_to_give, is_handed_over, is_sendable, locate
from agentd.doctor.servers import ask_all, list_request, request_of
from agentd.errors import ConfigError
from agentd.plugins import blaming
from agentd.tools.registry import find_kind
from agentd_providers.credentials import Credential
from agentd_providers.model_list import ModelList, UsedModel
from agentd_providers.registry import find_provider


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

    `credentials` is the directory that the unit's LoadCredential= reads. See servers.ask_all for how long it takes.
    """
    needs, findings = needed(config)
    unit = await unit_text()
    today = date.today().isoformat()
    keys: dict[Credential, str] = {}
    lists: set[Credential] = set()
    for need in needs:
        credential = need.credential
        located, found = _look_up(need, environ, credentials, unit)
        findings.setdefault(need.check, []).extend(found)
        if located is None and credential.secret:
            continue
        key = located.secret.reveal() if located is not None else ""
        wanted = [list_request(credential, models) for models in credential.lists]
        lists.update(wanted)
        checked = [request_of(credential)] if credential.check_url else []
        keys.update(dict.fromkeys([*checked, *wanted], key))
    outcomes = await ask_all(keys, lists)
    for need in needs:
        credential = need.credential
        if outcome := outcomes.get(request_of(credential)):
            tried = outcome.finding
            told = attrs.evolve(tried, check=need.check, found=f"{credential.what}: {tried.found}")
            findings[need.check].append(told)
        for models in credential.lists:
            answer = outcomes.get(list_request(credential, models))
            told_already = models.url == credential.check_url and answer and answer.finding.state is not State.OK
            if answer and not told_already:
                findings[need.check] += judge_list(need.check, models, answer, today)
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
        request = request_of(credential)
        what, lists = credential.what, credential.lists
        if (before := found.get(request)) is not None:
            what, lists = f"{before.what}; {what}", _joined(before.lists, lists)
        found[request] = attrs.evolve(credential, what=what, lists=lists)
    return list(found.values())


def _joined(before: Sequence[ModelList], lists: Sequence[ModelList]) -> tuple[ModelList, ...]:
    """One list of one server is looked at once for all that is used."""
    used: dict[str, tuple[UsedModel, ...]] = {}
    for each in (*before, *lists):
        used[each.url] = (*used.get(each.url, ()), *each.used)
    return tuple(ModelList(url, models) for url, models in used.items())


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
    if not is_sendable(located.secret):
        found = f"{what}: {located.where}, but with characters that no key has (is it a file of another kind?)"
        return None, [bad(need.check, found, *how_to_give(name, credentials))]
    if unit and not is_handed_over(name, unit):
        found = f"{what}: {located.where}, but the service is not given it"
        return located, [warn(need.check, found, handing_over(name, credentials))]
    return located, [ok(need.check, f"{what}: {located.where}")]
