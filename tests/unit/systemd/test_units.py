"""The unit, the account and the directories, judged by systemd's own tools."""

import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from agentd.ari.exchange import LAST_RESORT
from agentd.config.settings import Calls, Config
from agentd.service.hand_back import DEADLINE, PAGE_DEADLINE, REQUEST_DEADLINE
from agentd.service.install import CONFIG, data_file
from agentd.service.units import DEFAULT_PREFIX
from agentd_providers.wyoming.server.settings import SpeechServerSettings

UNIT = data_file("systemd/agentd.service")
SPEECH_UNIT = data_file("systemd/agentd-speech.service")
HAND_BACK_UNIT = data_file("systemd/agentd-hand-back.service")
UNITS = [UNIT, HAND_BACK_UNIT, SPEECH_UNIT]
INSTANCE, INSTANCE_HAND_BACK = data_file("systemd/agentd@.service"), data_file("systemd/agentd-hand-back@.service")
daemons = pytest.mark.parametrize("unit", [UNIT, SPEECH_UNIT], ids=lambda unit: unit.stem)
every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)


def need(condition: object, reason: str) -> None:
    """Skip loudly; on a CI machine, where everything has to be there, fail."""
    if not condition:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def systemd(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(tool)
    need(path, f"{tool} is not installed (Debian package systemd)")
    return subprocess.run(
        [str(path), *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
    )  # fmt: skip


def setting(name: str, unit: Path = UNIT) -> str:
    """The value of a setting that the unit has exactly once."""
    (value,) = re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    assert isinstance(value, str)
    return value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with the units as they are shipped, and stand-ins for the programs that it starts."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in (*UNITS, INSTANCE, INSTANCE_HAND_BACK):
        shutil.copy(unit, units)
    for program in {program for unit in UNITS for program in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.M)}:
        stand_in = tmp_path / program.lstrip("/")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text("#!/bin/sh\n")
        stand_in.chmod(0o755)
    own = tmp_path / "lib/systemd/system"
    own.mkdir(parents=True)
    for target in ("sysinit", "basic", "shutdown", "multi-user", "network-online"):
        (own / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    return tmp_path


@every_unit
def test_systemd_finds_nothing_to_complain_about_in_the_unit(root: Path, unit: Path) -> None:
    done = systemd("systemd-analyze", "verify", f"--root={root}", unit.name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_that_check_would_have_seen_a_misspelt_setting_and_a_missing_program(root: Path) -> None:
    unit = root / "etc/systemd/system/agentd.service"
    unit.write_text(UNIT.read_text().replace("PrivateTmp=", "PrivateTemp="))
    assert "PrivateTemp" in systemd("systemd-analyze", "verify", f"--root={root}", "agentd.service").stderr
    (root / setting("ExecStart").split()[0].lstrip("/")).unlink()
    assert systemd("systemd-analyze", "verify", f"--root={root}", "agentd.service").returncode != 0


@pytest.mark.parametrize("name", ["agentd@1.service", "agentd-hand-back@1.service"])
def test_nor_in_the_units_of_instances(root: Path, name: str) -> None:
    done = systemd("systemd-analyze", "verify", f"--root={root}", name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("unit", "instance"), [(UNIT, INSTANCE), (HAND_BACK_UNIT, INSTANCE_HAND_BACK)], ids=lambda unit: unit.stem
)
def test_an_instance_has_a_file_and_a_directory_of_its_own_and_else_is_as_the_daemon(
    unit: Path, instance: Path
) -> None:
    of_its_own = (
        ("(%i)", ""),
        ("@%i.service", ".service"),
        ("/etc/agentd/%i.toml", "/etc/agentd/agent.toml"),
        ("/etc/agentd/%i.env", "/etc/agentd/agentd.env"),
        ("agentd@%i", "agentd"),
    )
    text = instance.read_text()
    for own, ours in of_its_own:
        text = text.replace(own, ours)
    assert "%i" not in text
    first, second = (
        [line.rstrip() for line in each.splitlines() if line and not line.startswith("#")]
        for each in (unit.read_text(), text)
    )
    assert first == second


@every_unit
def test_the_exposure_is_at_most_2_0(unit: Path) -> None:
    done = systemd("systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit))
    score = re.search(rf"Overall exposure level for {unit.name}: ([\d.]+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score[1]) <= 2.0


@every_unit
def test_the_unit_uses_nothing_newer_than_systemd_247_of_debian_11(unit: Path) -> None:
    # The version that brought each setting which is younger than systemd 235; a new one has to be looked up.
    since = {
        "AmbientCapabilities": 229, "KeyringMode": 235, "LockPersonality": 235, "ProtectHostname": 242,
        "RestrictSUIDSGID": 242, "OOMPolicy": 243, "ProtectKernelLogs": 244, "ProtectClock": 245,
        "LoadCredential": 247, "ProtectProc": 247,
    }  # fmt: skip
    old = """
        Description Wants After OnFailure StartLimitIntervalSec StartLimitBurst Type NotifyAccess ExecStart ExecReload
        WatchdogSec TimeoutStartSec TimeoutStopSec Restart RestartSec RestartPreventExitStatus KillMode User
        Group SupplementaryGroups EnvironmentFile Environment StateDirectory StateDirectoryMode
        RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve
        WorkingDirectory UMask ProtectSystem ReadWritePaths
        InaccessiblePaths ProtectHome PrivateTmp PrivateDevices ProtectControlGroups ProtectKernelModules
        ProtectKernelTunables NoNewPrivileges CapabilityBoundingSet RestrictNamespaces
        RestrictAddressFamilies MemoryDenyWriteExecute RemoveIPC SystemCallArchitectures SystemCallFilter
        SystemCallErrorNumber RestrictRealtime LimitRTPRIO LimitNOFILE TasksMax LimitCORE WantedBy
    """
    used = set(re.findall(r"^(\w+)=", unit.read_text(), re.MULTILINE))
    assert used - set(old.split()) - set(since) == set()
    assert max(since.values()) <= 247
    assert setting("Type", unit) in ("notify", "oneshot"), "notify-reload needs systemd 253"


def test_execstart_is_what_the_installation_lays_down() -> None:
    assert setting("ExecStart") == f"{DEFAULT_PREFIX}/venv/bin/agentd --config {CONFIG}"
    assert setting("ExecStart", HAND_BACK_UNIT).endswith(
        f" {DEFAULT_PREFIX}/venv/bin/agentd hand-back --config {CONFIG}"
    )
    assert setting("ExecStart", SPEECH_UNIT) == f"{DEFAULT_PREFIX}/venv/bin/agentd speech-server --config {CONFIG}"
    script = data_file("systemd/install-host").read_text()
    assert "$prefix/venv" in script
    assert f" --prefix {DEFAULT_PREFIX}\n" in script, "the link is not there yet when init names it"


def test_a_reload_looks_at_the_file_before_the_daemon_does() -> None:
    # A command that fails ends the reload, the daemon goes on (systemd.service(5), ExecReload=). NotifyAccess=main:
    # what is run for the reload cannot speak for the daemon.
    check, hang_up = re.findall(r"^ExecReload=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert check == setting("ExecStart").replace("/agentd --config", "/agentd check --config")
    assert hang_up == "/bin/kill -HUP $MAINPID"
    assert setting("NotifyAccess") == "main"


def test_stopping_may_take_longer_than_draining_the_calls() -> None:
    # Beside the drain there is the announced end of the calls that are still up, and cleaning up.
    assert int(setting("TimeoutStopSec")) >= Calls().drain_timeout + 15
    assert int(setting("TimeoutStopSec", SPEECH_UNIT)) >= SpeechServerSettings().drain_timeout + 15


def test_the_unit_lets_the_daemon_write_where_the_configuration_says_by_default() -> None:
    media = Config().media.directory
    assert setting("ReadWritePaths") == f"-{media}"
    assert f"\nd     {media} " in data_file("systemd/agentd.tmpfiles.conf").read_text()


@daemons
def test_engine_processes_outlive_the_first_sigterm_so_that_what_runs_can_drain(unit: Path) -> None:
    assert setting("KillMode", unit) == "mixed"
    assert setting("OOMPolicy", unit) == "continue"


@pytest.mark.parametrize(
    ("state", "handed_back"),
    [
        ("failed", True),  # refused, or too often
        ("dead", True),  # started by hand, after a stop
        ("running", True),  # by hand too: the command itself asks the daemon's page
        ("auto-restart", False),
        ("auto-restart-queued", False),
        ("", True),  # systemd does not answer
    ],
)
def test_callers_are_handed_back_only_once_systemd_has_given_up(tmp_path: Path, state: str, handed_back: bool) -> None:
    # test_pid1 has it under systemds themselves.
    program, systemctl = tmp_path / "agentd", tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    systemctl.write_text(f"#!/bin/sh\necho {state}\n")
    for each in (program, systemctl):
        each.chmod(0o755)
    line = setting("ExecStart", HAND_BACK_UNIT).replace(f"{DEFAULT_PREFIX}/venv/bin/agentd", str(program))
    words = shlex.split(line.replace("$$", "$"))  # systemd.service(5), command lines
    assert subprocess.run(words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=60, check=False).returncode == 0
    assert (tmp_path / "told").exists() is handed_back
    if handed_back:
        assert (tmp_path / "told").read_text() == f"hand-back --config {CONFIG}\n"


def test_what_calls_need_is_kept_from_one_daemon_to_the_next_who_comes_soon() -> None:
    assert setting("RuntimeDirectoryPreserve") == "restart"
    assert setting("RestartSec") == "500ms"
    # Whoever is in a call waits in silence: not for a minute, until it is given up.
    assert int(setting("StartLimitBurst")) * (0.5 + 3.0) <= 60
    assert int(setting("StartLimitIntervalSec")) >= 60


def test_a_failed_daemons_callers_are_handed_back_before_a_new_one_takes_calls() -> None:
    assert setting("OnFailure") == HAND_BACK_UNIT.name
    assert HAND_BACK_UNIT.name in re.findall(r"^After=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert setting("Type", HAND_BACK_UNIT) == "oneshot", "who is ordered after it waits until it is through"
    assert setting("StartLimitIntervalSec", HAND_BACK_UNIT) == "0"
    text = HAND_BACK_UNIT.read_text()
    assert "[Install]" not in text, "it is for when the daemon fails, not for when the host starts"
    assert "Directory=agentd" not in text, "its end would remove the daemon's /run/agentd"
    for line in ("LoadCredential", "EnvironmentFile"):
        assert setting(line, HAND_BACK_UNIT) == setting(line)
    longest = PAGE_DEADLINE + DEADLINE + 2 * (REQUEST_DEADLINE + LAST_RESORT)
    assert int(setting("TimeoutStartSec", HAND_BACK_UNIT)) >= longest


def test_no_secret_can_come_through_the_command_line_or_the_unit() -> None:
    assert setting("LoadCredential") == "ari-password:/etc/agentd/credentials/ari-password"
    for line in UNIT.read_text().splitlines():
        if line.startswith(("Environment=", "ExecStart=")):
            assert not re.search("password|secret|token|key", line, re.IGNORECASE)


def test_every_unit_is_confined_as_the_daemon_is() -> None:
    # test_systemd_sandbox has the engines run under the daemon's rules: so these must be the same.
    rules = "SystemCall|Restrict(?!Sec)|Protect|Private|MemoryDeny|NoNew|Capab|Ambient|Lock|User|Group"
    daemon, *others = (sorted(re.findall(rf"^(?:{rules}).*$", unit.read_text(), re.MULTILINE)) for unit in UNITS)
    assert others == [daemon, daemon]


def test_the_speech_server_sees_no_secret_and_nothing_of_the_telephone() -> None:
    assert "LoadCredential" not in SPEECH_UNIT.read_text()
    assert "SupplementaryGroups" not in SPEECH_UNIT.read_text()
    assert "ReadWritePaths" not in SPEECH_UNIT.read_text()


def account_files(root: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    def read(name: str) -> dict[str, list[str]]:
        lines = (root / "etc" / name).read_text().splitlines()
        return {line.split(":")[0]: line.split(":") for line in lines}

    return read("passwd"), read("group")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A root with the accounts and the directories made."""
    need(os.geteuid() == 0, "systemd-sysusers and systemd-tmpfiles write foreign owners only as root")
    (tmp_path / "etc").mkdir()
    for tool, *arguments in (
        ["systemd-sysusers", str(data_file("systemd/agentd.sysusers.conf"))],
        ["systemd-tmpfiles", "--create", str(data_file("systemd/agentd.tmpfiles.conf"))],
    ):
        done = systemd(tool, f"--root={tmp_path}", *arguments)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_account_cannot_log_in_and_lives_in_the_state_directory(host: Path) -> None:
    users, groups = account_files(host)
    _, _, _, gid, _, home, shell = users["agentd"]
    assert groups["agentd"][2] == gid
    assert (home, shell) == ("/var/lib/agentd", "/usr/sbin/nologin")
    assert "asterisk" in groups, "the unit's SupplementaryGroups= needs it, also where Asterisk runs as root"
    assert "asterisk" not in users


def test_an_asterisk_group_that_is_there_already_is_used(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("asterisk:x:123:\n")
    need(os.geteuid() == 0, "systemd-sysusers writes its files only as root")
    arguments = (f"--root={tmp_path}", str(data_file("systemd/agentd.sysusers.conf")))
    assert systemd("systemd-sysusers", *arguments).returncode == 0
    assert account_files(tmp_path)[1]["asterisk"][2] == "123"


@pytest.mark.parametrize(
    ("path", "mode", "user", "group"),
    [
        ("var/lib/agentd", 0o750, "agentd", "agentd"),
        ("var/lib/agentd/models", 0o750, "agentd", "agentd"),
        ("var/spool/agentd", 0o755, "root", "root"),
        ("var/spool/agentd/media", 0o2750, "agentd", "asterisk"),
    ],
)
def test_each_directory_has_its_owner_and_mode(host: Path, path: str, mode: int, user: str, group: str) -> None:
    users, groups = account_files(host)
    status = (host / path).stat()
    assert stat.S_IMODE(status.st_mode) == mode
    assert status.st_uid == (0 if user == "root" else int(users[user][2]))
    assert status.st_gid == (0 if group == "root" else int(groups[group][2]))


def test_what_agentd_writes_for_asterisk_only_asterisk_can_read(host: Path) -> None:
    users, groups = account_files(host)
    media = host / "var/spool/agentd/media"
    for above in (host, *list(host.parents)[:3]):
        above.chmod(stat.S_IMODE(above.stat().st_mode) | 0o011)
    closed = [above for above in host.parents if not above.stat().st_mode & 0o001]
    need(not closed, f"TMPDIR lies where another user may not go: {[str(above) for above in closed]}")
    agentd, group = int(users["agentd"][2]), int(groups["asterisk"][2])
    umask = int(setting("UMask"), 8)
    write = f"import os; os.umask({umask}); open({str(media / 'prompt.wav')!r}, 'w').write('audio')"
    read = f"open({str(media / 'prompt.wav')!r}).read()"

    def run_as(user: int, group: int, program: str) -> int:
        python = shutil.which("python3", path="/usr/bin:/bin")
        need(python, "no python3 in /usr/bin that another user may run")
        return subprocess.run(
            [str(python), "-c", program],
            user=user, group=group, extra_groups=[], capture_output=True, timeout=60, check=False, cwd="/",
        ).returncode  # fmt: skip

    assert run_as(agentd, agentd, write) == 0
    status = (media / "prompt.wav").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, group)
    assert run_as(64001, group, read) == 0, "Asterisk, through its group"
    assert run_as(64001, 64001, read) != 0, "anybody else"
    assert run_as(64001, group, write) != 0, "Asterisk reads, it does not write"


def test_the_installer_script_is_valid_shell() -> None:
    script = data_file("systemd/install-host")
    assert subprocess.run(["sh", "-n", str(script)], timeout=60, check=False).returncode == 0
    assert os.access(script, os.X_OK)
