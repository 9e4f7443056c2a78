"""The checks that need neither Asterisk nor a daemon: configuration, secrets, and the systemd service."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from agentd.config import Config
from agentd.config_file import load_config
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.errors import ConfigError
from agentd.secrets import Secret, credential_name, find_secret

ARI_PASSWORD: Final = "AGENTD_ARI_PASSWORD"
UNIT: Final = "agentd.service"
SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd runs the host (sd_booted(3))."""
SYSTEMCTL_DEADLINE: Final = 10.0


def read_configuration(path: Path, environ: Mapping[str, str]) -> tuple[Config | None, Finding]:
    """The configuration, None where it cannot be used."""
    try:
        config = load_config(path, environ)
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


def look_up_secrets(
    config: Config, environ: Mapping[str, str], credentials: Path
) -> tuple[Secret | None, list[Finding]]:
    """The ARI password, None if there is none, and a finding for it and for every key that an agent names.

    `credentials` is the directory that the unit's LoadCredential= reads; root may fall back to it.
    """
    wanted = [(ARI_PASSWORD, "the ARI password")]
    for name, agent in sorted(config.agents.items()):
        wanted += [(key, f"a key of agent {name}") for key in key_names(agent.settings)]
    password: Secret | None = None
    findings: list[Finding] = []
    for name, what in dict(wanted).items():
        secret, finding = _look_up(name, what, environ, credentials)
        findings.append(finding)
        if name == ARI_PASSWORD:
            password = secret
    return password, findings


def key_names(settings: object) -> Iterator[str]:
    """The secrets that a provider's settings name: every `api_key_name` in them that is not empty."""
    schema: Any = type(settings)
    if not attrs.has(schema):
        return
    for name in attrs.fields_dict(schema):
        value = getattr(settings, name)
        if name == "api_key_name" and value:
            yield value
        yield from key_names(value)


def _look_up(name: str, what: str, environ: Mapping[str, str], credentials: Path) -> tuple[Secret | None, Finding]:
    credential = credential_name(name)
    try:
        if secret := find_secret(name, environ):
            return secret, ok("secrets", f"{what}: {name}, or the credential {credential}, is there")
        if os.access(credentials, os.X_OK) and (
            secret := find_secret(name, {"CREDENTIALS_DIRECTORY": str(credentials)})
        ):
            return secret, ok("secrets", f"{what}: read from {credentials / credential}, as the service does")
    except ConfigError as error:
        return None, fail("secrets", f"{what}: {error}", f"ls -l {credentials / credential}")
    return None, fail(
        "secrets",
        f"{what} is missing: neither the environment has {name} nor systemd the credential {credential}",
        f"on a PBX host run the doctor as root: it reads {credentials / credential}",
        "`agentd init` makes the ARI password and brings it into ari_agentd.conf",
        f"anywhere else: export {name}=...",
    )


async def examine_service() -> Finding:
    """The unit, where systemd runs the host."""
    if not SYSTEMD.is_dir():
        return skipped("service", "systemd does not run this host")
    properties = "LoadState,ActiveState,SubState,UnitFileState,NRestarts"
    try:
        with trio.fail_after(SYSTEMCTL_DEADLINE):
            done = await trio.run_process(
                ["systemctl", "show", UNIT, f"--property={properties}"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    except (OSError, trio.TooSlowError) as error:
        return skipped("service", f"systemctl does not answer: {type(error).__name__} {error}".rstrip())
    if done.returncode:
        return skipped("service", f"systemctl: {done.stderr.decode('utf-8', 'replace').strip()}")
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return judge_service(dict(line.partition("=")[::2] for line in lines))


def judge_service(shown: Mapping[str, str]) -> Finding:
    """What `systemctl show` says of the unit. Pure."""
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
    return ok("service", found)


def _start(enabled: str) -> str:
    return f"systemctl start {UNIT}" if enabled == "enabled" else f"systemctl enable --now {UNIT}"
