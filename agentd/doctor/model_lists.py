"""The models that agents use, as their servers list them: for `agentd doctor`, and for `agentd models vendors`.

What a list means is told by agentd_providers.model_list, as data; here it is asked for and shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import attrs

from agentd.config.settings import AgentConfig, Config
from agentd.doctor.findings import Finding, State, ok, skipped, warn
from agentd.doctor.secrets import is_sendable, locate
from agentd.doctor.servers import Outcome, ask_all, list_request
from agentd.errors import ConfigError
from agentd.plugins import blaming
from agentd_providers.credentials import Credential
from agentd_providers.model_list import LARGEST, ModelList, Standing, Told, UsedModel, told_of
from agentd_providers.needs import ModelServer
from agentd_providers.registry import find_provider

TROUBLE = frozenset((Standing.ENDS, Standing.ENDED, Standing.UNLISTED))


def judge_list(check: str, models: ModelList, outcome: Outcome, today: str) -> list[Finding]:
    """What a server's answer means for the models that are used, as the doctor's findings. Pure."""
    if outcome.finding.state is not State.OK:
        return [skipped(check, f"its models cannot be looked up: {_why_not(outcome)}")]
    if len(outcome.body) >= LARGEST:
        return [skipped(check, f"{models.url} lists more models than are looked at ({LARGEST >> 20} MiB)")]
    told = told_of(models.url, outcome.body, models.used, today)
    if not told:
        return [skipped(check, f"whether its models are still served cannot be told: {models.url} lists none")]
    return list(judge_told(check, models.url, told))


def _why_not(outcome: Outcome) -> str:
    return outcome.finding.found.removeprefix("not tried out: ")


def judge_told(check: str, url: str, told: Sequence[Told]) -> Iterator[Finding]:
    """One finding for all models that are well, one for each of the others. Pure."""
    good = [f"{one.used.setting} = {one.text}" for one in told if one.standing is Standing.SERVED]
    if good:
        yield ok(check, f"{url} lists the models that it uses ({'; '.join(good)})")
    for one in told:
        if one.standing in TROUBLE:
            advice = one.instead
            if advice and one.standing is not Standing.UNLISTED:
                advice = f"{advice!r} takes its place"
            yield warn(check, f"{one.used.setting}: {one.text}, says {url}", *filter(None, [advice]))


# --- agentd models vendors


@attrs.frozen
class Row:
    """A line of `agentd models vendors`."""

    agent: str
    setting: str
    model: str
    server: str
    state: str
    trouble: bool = False


async def vendor_models(config: Config, environ: Mapping[str, str], credentials: Path, today: str) -> list[Row]:
    """Ask every server that an agent uses for its models, with the key that the agent has; gives a row for each model
    in use. `credentials` is the directory of the service's credentials, which root may read. Takes servers.DEADLINE and
    LIST_DEADLINE seconds at most; raises ConfigError where a provider cannot say what it uses."""
    wanted = [each for name, agent in sorted(config.agents.items()) for each in _wanted(name, agent)]
    keys: dict[Credential, str] = {}
    missing: dict[str, str] = {}
    for _agent, credential, models in wanted:
        name = credential.secret
        try:
            located = locate(name, environ, credentials) if name else None
        except ConfigError as error:
            missing[name] = str(error)
            continue
        if located is None and name:
            missing[name] = f"{name} is missing"
        elif located is not None and not is_sendable(located.secret):
            missing[name] = f"{name} holds characters that no key has"
        else:
            keys[list_request(credential, models)] = located.secret.reveal() if located is not None else ""
    outcomes = await ask_all(keys, keys.keys())
    rows: list[Row] = []
    for agent, credential, models in wanted:
        why = missing.get(credential.secret, "")
        rows += _rows(agent, models, None if why else outcomes[list_request(credential, models)], why, today)
    return rows


def _wanted(name: str, agent: AgentConfig) -> list[tuple[str, Credential, ModelList]]:
    with blaming(f"the provider {agent.provider!r}"):
        provider = find_provider(agent.provider)
        credentials, needs = provider.credentials(agent.settings), provider.needs(agent.settings)
    found = [(name, credential, models) for credential in credentials for models in credential.lists]
    servers = (need for need in needs if isinstance(need, ModelServer))
    return found + [(name, Credential(need.api_key_name, "the key"), list_of(need)) for need in servers]


def list_of(need: ModelServer) -> ModelList:
    """The list of the server of a need."""
    setting = f"{need.table}.model" if need.table else "model"
    return ModelList(f"{need.base_url.rstrip('/')}/models", (UsedModel(setting, need.model),))


def _rows(agent: str, models: ModelList, outcome: Outcome | None, missing: str, today: str) -> Iterator[Row]:
    server = urlsplit(models.url).netloc
    told = told_of(models.url, outcome.body, models.used, today) if outcome and len(outcome.body) < LARGEST else ()
    found = {one.used: one for one in told}
    for used in models.used:
        if one := found.get(used):
            yield Row(agent, used.setting, used.model, server, _state(one), one.standing in TROUBLE)
            continue
        why = missing
        if outcome is not None:
            large = len(outcome.body) >= LARGEST
            well = "it lists more models than are looked at" if large else "it lists no models"
            why = well if outcome.finding.state is State.OK else _why_not(outcome)
        yield Row(agent, used.setting, used.model, server, f"not told: {why}")


def _state(told: Told) -> str:
    match told.standing:
        case Standing.SERVED:
            return f"served until {told.ends}" if told.ends else "served"
        case Standing.ENDS | Standing.ENDED:
            return f"{told.standing} on {told.ends}" + (f"; then {told.instead}" if told.instead else "")
        case Standing.UNLISTED:
            return f"not listed; {told.instead}"
    return "not told: its list leaves such names out"


def print_rows(rows: Sequence[Row], stream: TextIO) -> int:
    """The table; gives the exit status: 1 where a model ends soon, has ended, or is not listed."""
    if not rows:
        print("no agent uses a server that lists its models", file=stream)
        return 0
    table = [("AGENT", "SETTING", "MODEL", "SERVER", "STATE")]
    table += [(row.agent, row.setting, row.model, row.server, row.state) for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(4)]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[4]]), file=stream)
    return 1 if any(row.trouble for row in rows) else 0
