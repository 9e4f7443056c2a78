"""Whether Asterisk has agentd's dialplan.

ARI cannot list a dialplan, but the state of a device `Local/EXTENSION@CONTEXT` is INVALID exactly where there
is no such extension (Asterisk 22, main/core_local.c, local_devicestate), and nothing is dialled to learn it.
Where ARI's device states are not loaded, `asterisk -rx` is asked, if it is this very Asterisk's.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote
from uuid import uuid4

import attrs

from agentd.ari.rest import AriRest
from agentd.audiosocket.transport import FORK
from agentd.config.settings import Config
from agentd.doctor.command_line import asterisk_cli
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import DIALPLAN_APP
from agentd.errors import AriError, AriRejected

CALL_CONTEXT: Final = "agentd-call"
SAMPLE: Final = ("7000", "agentd")
ENTRANCES: Final = ("s", "x", "support", "_x")
"""Extensions of the kinds that callers come in at: an inbound route ends at `s`, others at a letter or a name."""
INCLUDE: Final = (
    "copy extensions_agentd.conf to /etc/asterisk (`agentd init` does) and add, as the last line of "
    "extensions.conf (FreePBX: extensions_custom.conf): #tryinclude extensions_agentd.conf",
    "asterisk -rx 'dialplan reload'",
)


@attrs.frozen
class Dialplan:
    """The parts of the dialplan that are there, or None; `way` says how it was found out, or why not."""

    call: bool | None
    fork: bool | None
    sample: bool | None
    way: str
    closed: tuple[str, ...] = ()
    """Those of `ENTRANCES` that the call's context does not have, though it has the sample's."""


async def look_at_dialplan(rest: AriRest, config: Config, entity: Mapping[str, object]) -> Dialplan:
    """Ask for the three places that matter. `entity` is `system` of GET /asterisk/info."""
    fork = config.audiosocket.fork_context
    try:
        return Dialplan(
            await _extension_exists(rest, SAMPLE[0], CALL_CONTEXT),
            await _extension_exists(rest, uuid4().hex, fork),
            await _extension_exists(rest, *SAMPLE),
            "ARI's device states",
            tuple([name for name in ENTRANCES if not await _extension_exists(rest, name, CALL_CONTEXT)]),
        )
    except AriRejected as error:
        loading = "asterisk -rx 'module load res_ari_device_states.so'"
        why = f"ARI has no device states (HTTP {error.status}): {loading}"
    except AriError as error:
        return Dialplan(None, None, None, str(error))
    settings = await asterisk_cli("core show settings")
    if settings is None:
        return Dialplan(None, None, None, f"{why}; and `asterisk -rx` is not to be had here")
    if not all(str(entity.get(key, "")) in settings for key in ("version", "entity_id")):
        return Dialplan(None, None, None, f"{why}; and `asterisk -rx` is another Asterisk's")
    return Dialplan(
        await _context_exists(CALL_CONTEXT), await _context_exists(fork), None, "asterisk -rx 'dialplan show'"
    )


def judge_dialplan(dialplan: Dialplan, config: Config) -> list[Finding]:
    """The parts that this configuration lacks. Pure."""
    check, fork = "dialplan", config.audiosocket.fork_context
    if dialplan.call is None or dialplan.fork is None:
        advice = f"see for yourself: asterisk -rx 'dialplan show {CALL_CONTEXT}'"
        return [attrs.evolve(skipped(check, dialplan.way), advice=(advice,))]
    app = config.asterisk.app
    if app != DIALPLAN_APP:
        own = f"[asterisk] app = {app!r}: it has the callers whose extension sets AGENTD_APP={app}, or names it itself"
        findings = [skipped(check, own)]
    elif not dialplan.call:
        findings = [fail(check, f"Asterisk has no [{CALL_CONTEXT}] (asked by {dialplan.way})", *INCLUDE)]
    else:
        sample = f"; {SAMPLE[0]} in [{SAMPLE[1]}] leads to it" if dialplan.sample else ""
        findings = [ok(check, f"[{CALL_CONTEXT}] is loaded{sample} (asked by {dialplan.way})")]
        if dialplan.closed:
            closed = ", ".join(dialplan.closed)
            what = f"[{CALL_CONTEXT}] has no extension {closed}: callers whose inbound route ends there are refused"
            findings.append(warn("dialplan entrances", what, *INCLUDE))
    if dialplan.fork:
        findings.append(ok(check, f"[{fork}] is loaded"))
    elif config.calls.default_media == FORK:
        findings.append(fail(check, f"Asterisk has no [{fork}], and calls.default_media is fork", *INCLUDE))
    else:
        findings.append(warn(check, f"Asterisk has no [{fork}]: extensions with media=fork do not work", *INCLUDE))
    return findings


async def _extension_exists(rest: AriRest, extension: str, context: str) -> bool:
    device = quote(f"Local/{extension}@{context}", safe="")
    answer = await rest.request("GET", f"/deviceStates/{device}")
    return isinstance(answer, dict) and answer.get("state") not in ("INVALID", None)


async def _context_exists(context: str) -> bool | None:
    shown = await asterisk_cli(f"dialplan show {context}")
    return None if shown is None else f"'{context}'" in shown
