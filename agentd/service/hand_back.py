"""`agentd hand-back`: callers whom a dead agentd left in its application go on in the dialplan.

systemd starts it when the daemon has failed (`OnFailure=` of agentd.service): the caller of a call that was up hears
nothing and goes nowhere until somebody has the channel continue. It has to work where the daemon does not. So it
imports nothing of a call, a provider or an engine, makes requests only, and takes of agent.toml what can be read of it.

Asterisk cannot tell whether an agentd is alive: it keeps the application of one that died for as long as a channel is
in it (res/res_stasis.c, stasis_app_unregister and app_is_finished), and GET /applications looks the same. So the health
page is asked; and the unit of the daemon is ordered after this one's, so that no new daemon takes calls meanwhile.
From systemd 254 on OnFailure= acts at every failure, the daemon's restart pending (systemd.service(5), RestartMode=);
before that, only once it stays down. The unit asks systemd which it is: the callers of a daemon that is started again
are left to it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import attrs
import httpx
import trio

from agentd import deadlines
from agentd.ari.orphans import hand_back_orphans
from agentd.ari.reconciliation import Fate, fate
from agentd.ari.rest import AriRest, open_rest
from agentd.config.salvage import salvaged_table
from agentd.config.schema import Problem, build, is_number
from agentd.config.secrets import ARI_PASSWORD, Secret, need_secret
from agentd.config.settings import Asterisk, Health
from agentd.metrics import Metrics
from agentd.parsing import load_json
from agentd.service.page_reader import read_page

DEADLINE: Final = deadlines.LEFT_BEHIND.seconds
REQUEST_DEADLINE: Final = deadlines.LEFT_BEHIND_REQUEST.seconds
PAGE_DEADLINE: Final = deadlines.LEFT_BEHIND_PAGE.seconds
LEAVING: Final = (0.1, 0.3, 0.6, 0.0)
"""Seconds between two looks at who is left."""


@attrs.frozen
class Essentials:
    """As much of the configuration as is needed, and what is wrong with the rest of these tables."""

    asterisk: Asterisk
    health: Health
    problems: tuple[Problem, ...] = ()


def essentials(text: str, environ: Mapping[str, str]) -> Essentials:
    """Read a configuration that may be refused; a default stands in for whatever cannot be used. Pure."""
    problems: list[Problem] = []
    asterisk = build(Asterisk, salvaged_table(text, "asterisk"), "asterisk", problems)
    page = dict(salvaged_table(text, "health"))
    if host := environ.get("HEALTH_HOST"):
        page["host"] = host
    if is_number(port := environ.get("HEALTH_PORT", "")):
        page["port"] = int(port)
    return Essentials(asterisk, build(Health, page, "health", problems), tuple(problems))


def hand_back(config: Path, environ: Mapping[str, str], out: TextIO) -> bool:
    """Hand every caller of the application back, unless an agentd is alive; tells `out` what was done.

    Returns whether no caller was left behind. Takes about 15 s at most. Raises ConfigError where there is no password,
    AriError where Asterisk does not tell who is there.
    """
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"note: {config} cannot be read ({error.strerror}): the defaults are used", file=out)
        text = ""
    found = essentials(text, environ)
    for problem in [problem for problem in found.problems if problem.fatal]:
        print(f"note: {config}: {problem}: the default is used", file=out)
    return trio.run(_hand_back, found, need_secret(ARI_PASSWORD, "the ARI password", environ), out)


async def _hand_back(found: Essentials, password: Secret, out: TextIO) -> bool:
    if await is_alive(found.health.url):
        print(f"an agentd is alive ({found.health.url}/health answers): its callers are left to it", file=out)
        return True
    ari = found.asterisk
    timeout = min(ari.request_timeout, REQUEST_DEADLINE)
    async with open_rest(ari.url, ari.username, password.reveal(), Metrics(), timeout) as rest:
        return await hand_back_callers(rest, ari.app, out)


async def hand_back_callers(rest: AriRest, app: str, out: TextIO) -> bool:
    """The part that asks Asterisk. Returns whether no caller was left behind; raises AriError."""
    handed_back = await hand_back_orphans(rest, app, DEADLINE)
    left = await _left(rest, app)
    print(f"callers handed back to the dialplan: {handed_back}; still in the application {app!r}: {left}", file=out)
    return not left


async def _left(rest: AriRest, app: str) -> int:
    """The callers who are still in the application. A channel takes a moment to leave after Asterisk agreed to it."""
    for pause in LEAVING:
        left = sum(fate(channel, app) is Fate.HAND_BACK for channel in (await rest.channels()).values())
        if not left:
            break
        await trio.sleep(pause)
    return left


async def is_alive(url: str) -> bool:
    """Whether an agentd answers at this address of a health page; an empty one is nobody's.

    Any answer of its page will do: also one that is not well serves its callers, or hands them back itself.
    """
    if not url:
        return False
    try:
        page: Any = load_json(await read_page(f"{url}/health", PAGE_DEADLINE))
    except (httpx.HTTPError, trio.TooSlowError, ValueError):
        return False
    return isinstance(page, dict) and "active_calls" in page
