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

UNIT: Final = "agentd.service"
HAND_BACK_UNIT: Final = "agentd-hand-back.service"
SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd runs the host (sd_booted(3))."""
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


async def examine_service() -> Finding:
    """The unit, where systemd runs the host."""
    if not SYSTEMD.is_dir():
        return skipped("service", "systemd does not run this host")
    properties = "LoadState,ActiveState,SubState,UnitFileState,NRestarts,OnFailure"
    try:
        with trio.fail_after(SYSTEMCTL_DEADLINE):
            done = await trio.run_process(
                ["systemctl", "show", UNIT, f"--property={properties}"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=for_child(),
            )
    except (OSError, trio.TooSlowError) as error:
        return skipped("service", f"systemctl does not answer: {type(error).__name__} {error}".rstrip())
    if done.returncode:
        return skipped("service", f"systemctl: {done.stderr.decode('utf-8', 'replace').strip()}")
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return judge_service(dict(line.partition("=")[::2] for line in lines))


def judge_service(shown: Mapping[str, str]) -> Finding:
    """The unit's properties, as `systemctl show` tells them. Pure."""
    active, enabled = shown.get("ActiveState", ""), shown.get("UnitFileState", "")
    journal = f"journalctl -u {UNIT} -n 50 --no-pager"
    if shown.get("LoadState") != "loaded":
        return warn("service", f"systemd knows no {UNIT}", "agentd init, then: systemctl daemon-reload")
    found = f"{UNIT} is {active} ({shown.get('SubState', '')}), {enabled}"
    if active == "failed":
        return fail("service", found, journal, f"once mended: systemctl reset-failed {UNIT}", _start(enabled))
    if active not in ("active", "reloading"):
        return warn("service", found, _start(enabled))
    if shown.get("NRestarts", "0") not in ("0", ""):
        return warn("service", f"{found}; systemd had to restart it {shown['NRestarts']} times", journal)
    if enabled not in ("enabled", "enabled-runtime"):
        return warn("service", f"{found}: it does not start with the host", f"systemctl enable {UNIT}")
    if HAND_BACK_UNIT not in shown.get("OnFailure", HAND_BACK_UNIT).split():
        return warn(
            "service",
            f"{found}; but nobody would hand back its callers if it failed: no OnFailure={HAND_BACK_UNIT}",
            "agentd init keeps a unit that you edited, and puts its own beside it as .new: take these lines over",
        )
    return ok("service", found)


def _start(enabled: str) -> str:
    return f"systemctl start {UNIT}" if enabled == "enabled" else f"systemctl enable --now {UNIT}"
