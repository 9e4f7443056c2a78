"""The checks that need neither Asterisk nor a daemon: configuration, and the systemd service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from agentd import deadlines
from agentd.config.catalogue import Catalogue
from agentd.config.file import load_config
from agentd.config.settings import Config
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.environment import for_child
from agentd.errors import ConfigError
from agentd.service.restart import DAEMON, SYSTEMD, keeps_calls, properties, unit_of_config

UNIT: Final = DAEMON
SYSTEMCTL_DEADLINE: Final = deadlines.DOCTOR_SYSTEMCTL.seconds


def judge_packages(catalogue: Catalogue) -> list[Finding]:
    """The installed packages that bring something which cannot be used; whoever names it finds it refused. Pure."""
    advice = "install it anew, or remove it; agents that use nothing of it work all the same"
    return [warn("packages", problem, advice) for problem in catalogue.problems()]


def read_configuration(path: Path, environ: Mapping[str, str], catalogue: Catalogue) -> tuple[Config | None, Finding]:
    """The configuration, None where it cannot be used."""
    try:
        config = load_config(path, environ, catalogue)
    except ConfigError as error:
        return None, fail(
            "configuration",
            str(error),
            f"mend it, then: agentd check --config {path}",
            "agentd sample prints a complete one, every setting commented",
        )
    names = ", ".join(sorted(config.agents))
    if not config.default_agent:
        return config, warn(
            "configuration",
            f"{path}: agents {names}, and none is the default",
            'if an extension names no agent, set in [calls]: default_agent = "NAME"',
        )
    return config, ok("configuration", f"{path}: agents {names}; default agent {config.default_agent}")


async def unit_text() -> str:
    """The service's unit with its drop-ins; empty where systemd does not run the host, or has no such unit."""
    if not SYSTEMD.is_dir():
        return ""
    try:
        with trio.fail_after(SYSTEMCTL_DEADLINE):
            done = await trio.run_process(
                ["systemctl", "cat", UNIT], capture_stdout=True, capture_stderr=True, check=False, env=for_child()
            )
    except (OSError, trio.TooSlowError):  # told by examine_service
        return ""
    return "" if done.returncode else done.stdout.decode("utf-8", "replace")


async def examine_service(config: Path) -> list[Finding]:
    """The unit that runs a configuration, and how it is restarted, where systemd runs the host."""
    if not SYSTEMD.is_dir():
        return [skipped("service", "systemd does not run this host")]
    unit = unit_of_config(config) or UNIT
    names = "LoadState,ActiveState,SubState,UnitFileState,NRestarts,OnFailure,RuntimeDirectoryPreserve,NeedDaemonReload"
    try:
        with trio.fail_after(SYSTEMCTL_DEADLINE):
            done = await trio.run_process(
                ["systemctl", "show", unit, f"--property={names}"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=for_child(),
            )
    except (OSError, trio.TooSlowError) as error:
        return [skipped("service", f"systemctl does not answer: {type(error).__name__} {error}".rstrip())]
    if done.returncode:
        return [skipped("service", f"systemctl: {done.stderr.decode('utf-8', 'replace').strip()}")]
    shown = properties(done.stdout.decode("utf-8", "replace"))
    return [judge_service(shown, unit), *judge_restart(shown, unit)]


def judge_restart(shown: Mapping[str, str], unit: str = UNIT) -> list[Finding]:
    """Whether calls survive an upgrade and a crash, by the unit's properties. Pure."""
    check, again = "restart", "then: systemctl daemon-reload"
    if shown.get("LoadState") != "loaded":
        return []
    if not keeps_calls(shown):
        return [
            warn(
                check,
                f"calls end with a restart of {unit}, and with a crash: RuntimeDirectoryPreserve= is not restart in it",
                f"agentd init, {again}",
                f"a unit that you edited is kept, and this version's put beside it as {unit}.new: take that line over",
            )
        ]
    if shown.get("NeedDaemonReload") == "yes":
        return [warn(check, f"the file of {unit} was changed, and systemd has not read it", "systemctl daemon-reload")]
    return [ok(check, f"{unit} keeps what calls need: they go on after `agentd restart`, and after a crash")]


def judge_service(shown: Mapping[str, str], unit: str = UNIT) -> Finding:
    """The unit's properties, as `systemctl show` tells them. Pure."""
    active, enabled = shown.get("ActiveState", ""), shown.get("UnitFileState", "")
    journal = f"journalctl -u {unit} -n 50 --no-pager"
    hand_back = unit.replace("agentd", "agentd-hand-back", 1)
    if shown.get("LoadState") != "loaded":
        return warn("service", f"systemd knows no {unit}", "agentd init, then: systemctl daemon-reload")
    found = f"{unit} is {active} ({shown.get('SubState', '')}), {enabled}"
    if active == "failed":
        return fail("service", found, journal, f"once mended: systemctl reset-failed {unit}", _start(unit, enabled))
    if active not in ("active", "reloading"):
        return warn("service", found, _start(unit, enabled))
    if shown.get("NRestarts", "0") not in ("0", ""):
        return warn("service", f"{found}; systemd had to restart it {shown['NRestarts']} times", journal)
    if enabled not in ("enabled", "enabled-runtime"):
        return warn("service", f"{found}: it does not start with the host", f"systemctl enable {unit}")
    if hand_back not in shown.get("OnFailure", hand_back).split():
        return warn(
            "service",
            f"{found}; but nobody would hand back its callers if it failed: no OnFailure={hand_back}",
            "agentd init keeps a unit that you edited, and puts its own beside it as .new: take these lines over",
        )
    return ok("service", found)


def _start(unit: str, enabled: str) -> str:
    return f"systemctl start {unit}" if enabled == "enabled" else f"systemctl enable --now {unit}"
