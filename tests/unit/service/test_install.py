"""`agentd init` below a temporary root: what it lays down, and what it leaves alone."""

import hashlib
import io
import os
import re
from pathlib import Path

import pytest

from agentd.installation import Installation, Installer
from agentd.service.host_files import InstallError
from agentd.service.install import Flavour, data_file, init
from agentd.service.units import EXEC_START

SAMPLE = "# agent.toml, version 1\n"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to a group")


def run(
    root: Path,
    *,
    sample: str = SAMPLE,
    prefix: str | None = None,
    place: str = "/opt/agentd/venv",
    asterisk: Flavour | None = None,
    dry_run: bool = False,
) -> str:
    """Run by an agentd that is installed at `place`."""
    out, here = io.StringIO(), installed(Path(place))
    status = init(root, out=out, prefix=prefix, asterisk=asterisk, dry_run=dry_run, sample=sample, installation=here)
    assert status == 0
    return out.getvalue()


def installed(environment: Path) -> Installation:
    return Installation(environment, environment / "bin/python", environment / "bin/agentd", Installer.PIP)


def tree(root: Path) -> dict[str, tuple[int, str, int]]:
    """Path to mode and content; the inode too, so that a rewritten file counts as changed."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode & 0o7777, path.read_text("latin-1"), path.stat().st_ino)
        if path.is_file()
        else (path.stat().st_mode & 0o7777, "", 0)
        for path in sorted(root.rglob("*"))
    }


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def outcomes(text: str) -> dict[str, str]:
    """Path to what was said to have been done with it."""
    found = re.findall(r"^(created|unchanged|updated|repaired|kept|would be \w+) +(/\S+)", text, re.MULTILINE)
    return {path: verb for verb, path in found}


def password_in(text: str) -> str:
    (password,) = re.findall(r"^password = (\S+)$", text, re.MULTILINE)
    assert isinstance(password, str)
    return password


def test_a_fresh_install_lays_down_everything_and_says_so(tmp_path: Path) -> None:
    said = run(tmp_path)
    assert outcomes(said) == dict.fromkeys(
        [
            "/etc/agentd",
            "/etc/agentd/credentials",
            "/etc/asterisk",
            "/etc/systemd/system/agentd.service",
            "/etc/systemd/system/agentd-hand-back.service",
            "/etc/systemd/system/agentd@.service",
            "/etc/systemd/system/agentd-hand-back@.service",
            "/etc/systemd/system/agentd-speech.service",
            "/etc/sysusers.d/agentd.conf",
            "/etc/tmpfiles.d/agentd.conf",
            "/etc/agentd/agent.toml",
            "/etc/agentd/credentials/ari-password",
            "/etc/agentd/credentials/phone-password",
            "/etc/asterisk/extensions_agentd.conf",
            "/etc/asterisk/ari_agentd.conf",
            "/etc/asterisk/http_agentd.conf",
            "/etc/asterisk/modules_agentd.conf",
            "/etc/asterisk/pjsip_agentd_sample.conf",
        ],
        "created",
    )
    for path in outcomes(said):
        assert (tmp_path / path.lstrip("/")).exists()
    assert (tmp_path / "etc/agentd/agent.toml").read_text() == SAMPLE


def test_the_modes_let_asterisk_read_its_files_and_nobody_the_secrets(tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        run(tmp_path)
    finally:
        os.umask(previous)
    etc = tmp_path / "etc"
    assert mode(etc / "agentd") == 0o755
    assert mode(etc / "agentd/agent.toml") == 0o644
    assert mode(etc / "agentd/credentials") == 0o700
    assert mode(etc / "agentd/credentials/ari-password") == 0o600
    assert mode(etc / "agentd/installed.sha256") == 0o600
    assert mode(etc / "asterisk/extensions_agentd.conf") == 0o644
    assert mode(etc / "asterisk/ari_agentd.conf") == 0o640
    assert mode(etc / "asterisk/pjsip_agentd_sample.conf") == 0o640
    assert mode(etc / "systemd/system/agentd.service") == 0o644
    assert mode(etc / "systemd/system/agentd-speech.service") == 0o644


@root_only
def test_asterisks_files_belong_to_the_group_asterisk_of_the_host_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("root:x:0:\nasterisk:x:4711:\n")
    run(tmp_path)
    status = (tmp_path / "etc/asterisk/ari_agentd.conf").stat()
    assert (status.st_uid, status.st_gid) == (0, 4711)
    assert (tmp_path / "etc/agentd/credentials/ari-password").stat().st_gid == 0


@root_only
def test_a_group_that_came_later_gets_its_files_at_the_next_run(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "etc/group").write_text("asterisk:x:4711:\n")
    assert outcomes(run(tmp_path))["/etc/asterisk/ari_agentd.conf"] == "repaired"
    assert (tmp_path / "etc/asterisk/ari_agentd.conf").stat().st_gid == 4711


@root_only
def test_freepbx_may_give_its_whole_directory_to_asterisk_without_a_quarrel(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("asterisk:x:4711:\n")
    run(tmp_path)
    for path in (tmp_path / "etc/asterisk", *(tmp_path / "etc/asterisk").iterdir()):
        os.chown(path, 4710, 4711)
    before = tree(tmp_path)
    run(tmp_path)
    assert tree(tmp_path) == before


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    before = tree(tmp_path)
    said = run(tmp_path)
    assert tree(tmp_path) == before
    assert set(outcomes(said).values()) == {"unchanged"}


def test_the_password_is_the_same_in_credential_and_ari_configuration_and_is_never_told(
    tmp_path: Path,
) -> None:
    said = run(tmp_path)
    secret = (tmp_path / "etc/agentd/credentials/ari-password").read_text()
    assert len(secret) == 48
    assert password_in((tmp_path / "etc/asterisk/ari_agentd.conf").read_text()) == secret
    assert secret not in said
    manifest = (tmp_path / "etc/agentd/installed.sha256").read_text()
    assert secret not in manifest


def test_each_host_and_each_purpose_has_a_password_of_its_own(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two")
    secrets = [path.read_text() for path in tmp_path.glob("*/etc/agentd/credentials/*")]
    assert len(secrets) == len(set(secrets)) == 4


def test_no_placeholder_password_reaches_the_host(tmp_path: Path) -> None:
    run(tmp_path)
    for path in (tmp_path / "etc/asterisk").iterdir():
        assert "password = CHANGE-ME" not in path.read_text()


def test_a_password_of_the_administrators_own_is_taken_over(tmp_path: Path) -> None:
    credential = tmp_path / "etc/agentd/credentials/ari-password"
    credential.parent.mkdir(parents=True)
    credential.write_text("own-Password#1\n")
    run(tmp_path)
    assert credential.read_text().strip() == "own-Password#1"
    assert mode(credential) == 0o600
    assert password_in((tmp_path / "etc/asterisk/ari_agentd.conf").read_text()) == "own-Password#1"


def test_a_changed_password_reaches_asterisk_at_the_next_run(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "etc/agentd/credentials/ari-password").write_text("rotated")
    assert outcomes(run(tmp_path))["/etc/asterisk/ari_agentd.conf"] == "updated"
    assert password_in((tmp_path / "etc/asterisk/ari_agentd.conf").read_text()) == "rotated"


@pytest.mark.parametrize("password", ["two words", "semi;colon", "back\\slash", "umlaut-ä"])
def test_a_password_that_asterisks_configuration_cannot_hold_is_refused(tmp_path: Path, password: str) -> None:
    credential = tmp_path / "etc/agentd/credentials/ari-password"
    credential.parent.mkdir(parents=True)
    credential.write_text(password)
    with pytest.raises(InstallError, match="ari-password: expected printable ASCII") as refusal:
        run(tmp_path)
    assert password not in str(refusal.value)


def test_two_different_passwords_are_warned_about(tmp_path: Path) -> None:
    run(tmp_path)
    ari = tmp_path / "etc/asterisk/ari_agentd.conf"
    ari.write_text(re.sub("^password = .*$", "password = mine", ari.read_text(), flags=re.MULTILINE))
    said = run(tmp_path)
    assert "WARNING: the password in /etc/asterisk/ari_agentd.conf is not the one in" in said
    assert "mine" not in said.replace("determine", "")


def test_an_upgrade_replaces_what_nobody_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    newer = newer_data(tmp_path, monkeypatch)
    said = outcomes(run(tmp_path, sample=SAMPLE))
    assert said["/etc/asterisk/extensions_agentd.conf"] == "updated"
    assert said["/etc/systemd/system/agentd.service"] == "updated"
    assert said["/etc/agentd/agent.toml"] == "unchanged"
    text = (tmp_path / "etc/asterisk/extensions_agentd.conf").read_text()
    assert text == (newer / "asterisk_conf/extensions_agentd.conf").read_text()
    assert not list(tmp_path.rglob("*.new"))


def test_an_upgrade_keeps_the_administrators_edits_and_puts_the_new_version_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    edited = [
        tmp_path / "etc/agentd/agent.toml",
        tmp_path / "etc/asterisk/extensions_agentd.conf",
        tmp_path / "etc/systemd/system/agentd.service",
    ]
    for path in edited:
        path.write_text(path.read_text() + "# edited here\n")
    mine = [path.read_text() for path in edited]
    newer_data(tmp_path, monkeypatch)

    said = run(tmp_path, sample="# agent.toml, version 2\n")

    assert [path.read_text() for path in edited] == mine
    for path in edited:
        beside = path.with_name(path.name + ".new")
        assert "version 2" in beside.read_text()
        logical = "/" + str(path.relative_to(tmp_path))
        assert f"{logical} (yours); this version's is {logical}.new" in said


def test_a_version_that_was_offered_once_is_not_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    config = tmp_path / "etc/agentd/agent.toml"
    config.write_text("# mine\n")
    assert "agent.toml.new" not in run(tmp_path), "nothing new since the sample this was made from"
    assert "agent.toml.new" in run(tmp_path, sample="# version 2\n")
    (tmp_path / "etc/agentd/agent.toml.new").unlink()
    assert "agent.toml.new" not in run(tmp_path, sample="# version 2\n")
    assert config.read_text() == "# mine\n"


def test_even_an_untouched_configuration_is_the_administrators(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, sample="# version 2\n")
    assert (tmp_path / "etc/agentd/agent.toml").read_text() == SAMPLE
    assert (tmp_path / "etc/agentd/agent.toml.new").read_text() == "# version 2\n"


def test_files_that_were_there_before_agentd_are_kept(tmp_path: Path) -> None:
    config = tmp_path / "etc/asterisk/http_agentd.conf"
    config.parent.mkdir(parents=True)
    config.write_text("; by hand\n")
    assert outcomes(run(tmp_path))["/etc/asterisk/http_agentd.conf"] == "kept"
    assert config.read_text() == "; by hand\n"


def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root:hash\n")
    secret.chmod(0o600)
    link = tmp_path / "etc/asterisk/ari_agentd.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    said = run(tmp_path)
    assert outcomes(said)["/etc/asterisk/ari_agentd.conf"] == "kept"
    assert link.is_symlink()
    assert (secret.read_text(), mode(secret)) == ("root:hash\n", 0o600)


def test_a_deleted_file_comes_back(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "etc/sysusers.d/agentd.conf").unlink()
    assert outcomes(run(tmp_path))["/etc/sysusers.d/agentd.conf"] == "created"


def test_widened_access_to_a_secret_is_narrowed_again(tmp_path: Path) -> None:
    run(tmp_path)
    ari = tmp_path / "etc/asterisk/ari_agentd.conf"
    ari.chmod(0o644)
    assert outcomes(run(tmp_path))["/etc/asterisk/ari_agentd.conf"] == "repaired"
    assert mode(ari) == 0o640


def test_a_dry_run_tells_everything_and_touches_nothing(tmp_path: Path) -> None:
    said = run(tmp_path, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert set(outcomes(said).values()) == {"would be created"}
    run(tmp_path)
    before = tree(tmp_path)
    (tmp_path / "etc/asterisk/http_agentd.conf").chmod(0o600)
    assert outcomes(run(tmp_path, dry_run=True))["/etc/asterisk/http_agentd.conf"] == "would be repaired"
    (tmp_path / "etc/asterisk/http_agentd.conf").chmod(0o644)
    assert tree(tmp_path) == before


def test_nothing_half_written_is_left_when_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    before = set(tree(tmp_path))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "etc/sysusers.d/agentd.conf").unlink()
    with pytest.raises(InstallError, match="No space left on device"):
        run(tmp_path)
    assert set(tree(tmp_path)) == before - {"etc/sysusers.d/agentd.conf"}


def test_the_manifest_is_what_sha256sum_checks(tmp_path: Path) -> None:
    run(tmp_path)
    for line in (tmp_path / "etc/agentd/installed.sha256").read_text().splitlines():
        digest, path = line.split("  ")
        assert hashlib.sha256((tmp_path / path.lstrip("/")).read_bytes()).hexdigest() == digest


def test_plain_asterisk_is_told_which_includes_are_missing_and_its_files_are_not_edited(
    tmp_path: Path,
) -> None:
    asterisk = tmp_path / "etc/asterisk"
    asterisk.mkdir(parents=True)
    (asterisk / "extensions.conf").write_bytes(b"; caf\xe9\n[default]\n; #include extensions_agentd.conf\n")
    (asterisk / "ari.conf").write_text("[general]\n#tryinclude ari_agentd.conf\n")
    (asterisk / "http.conf").write_text('[general]\n#tryinclude "/etc/asterisk/http_agentd.conf"\n')
    before = (asterisk / "extensions.conf").read_bytes()
    said = run(tmp_path)
    assert re.findall(r"last line of (\S+): +(#\w+ \S+)", said) == [
        ("/etc/asterisk/extensions.conf", "#tryinclude extensions_agentd.conf")
    ]
    assert (asterisk / "extensions.conf").read_bytes() == before


def test_lines_that_insist_on_a_file_of_agentds_are_changed_so_that_asterisk_starts_without_it(tmp_path: Path) -> None:
    asterisk = tmp_path / "etc/asterisk"
    asterisk.mkdir(parents=True)
    dialplan = asterisk / "extensions.conf"
    dialplan.write_bytes(b"; caf\xe9\r\n#include extensions_agentd.conf\r\n#include others.conf\r\n")
    dialplan.chmod(0o600)
    (asterisk / "pjsip.conf").write_text('[transport]\n#include "/etc/asterisk/pjsip_agentd_sample.conf" ; a phone\n')
    (asterisk / "queues.conf").write_text("#include queues_more.conf\n")
    untouched = (asterisk / "queues.conf").stat().st_ino
    said = run(tmp_path)
    assert dialplan.read_bytes() == (b"; caf\xe9\r\n#tryinclude extensions_agentd.conf\r\n#include others.conf\r\n")
    assert mode(dialplan) == 0o600
    assert (asterisk / "pjsip.conf").read_text() == (
        '[transport]\n#tryinclude "/etc/asterisk/pjsip_agentd_sample.conf" ; a phone\n'
    )
    assert (asterisk / "queues.conf").stat().st_ino == untouched
    changed = {path for path, verb in outcomes(said).items() if verb == "updated"}
    assert changed == {"/etc/asterisk/extensions.conf", "/etc/asterisk/pjsip.conf"}
    assert "last line of /etc/asterisk/extensions.conf" not in said
    before = tree(tmp_path)
    run(tmp_path)
    assert tree(tmp_path) == before


@root_only
def test_a_file_whose_lines_are_changed_keeps_its_owner(tmp_path: Path) -> None:
    dialplan = tmp_path / "etc/asterisk/extensions_custom.conf"
    dialplan.parent.mkdir(parents=True)
    dialplan.write_text("#include extensions_agentd.conf\n")
    os.chown(dialplan, 4710, 4711)
    run(tmp_path, asterisk="freepbx")
    assert dialplan.read_text() == "#tryinclude extensions_agentd.conf\n"
    assert (dialplan.stat().st_uid, dialplan.stat().st_gid) == (4710, 4711)


def test_a_linked_file_with_such_a_line_is_left_alone_and_told_of(tmp_path: Path) -> None:
    target = tmp_path / "module.conf"
    target.write_text("#include extensions_agentd.conf\n")
    link = tmp_path / "etc/asterisk/extensions.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    said = run(tmp_path)
    assert (link.is_symlink(), target.read_text()) == (True, "#include extensions_agentd.conf\n")
    assert "WARNING: /etc/asterisk/extensions.conf is a link, and left alone. Change #include extensions_agentd" in said


def test_a_dry_run_tells_of_such_lines_and_changes_none(tmp_path: Path) -> None:
    dialplan = tmp_path / "etc/asterisk/extensions.conf"
    dialplan.parent.mkdir(parents=True)
    dialplan.write_text("#include extensions_agentd.conf\n")
    assert outcomes(run(tmp_path, dry_run=True))["/etc/asterisk/extensions.conf"] == "would be updated"
    assert dialplan.read_text() == "#include extensions_agentd.conf\n"


@pytest.mark.parametrize("line", ["autoload=no", "autoload = no", "autoload => no"])
def test_the_module_list_is_asked_for_only_where_asterisk_does_not_load_all(tmp_path: Path, line: str) -> None:
    assert "#tryinclude modules_agentd.conf" not in run(tmp_path)
    (tmp_path / "etc/asterisk/modules.conf").write_text(f"[modules]\n{line}\n")
    assert "modules.conf:   #tryinclude modules_agentd.conf" in run(tmp_path)


def test_freepbx_is_recognised_and_pointed_to_its_custom_files(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/freepbx.conf").touch()
    said = run(tmp_path)
    assert re.findall(r"last line of (\S+):", said) == [
        "/etc/asterisk/extensions_custom.conf",
        "/etc/asterisk/ari_additional_custom.conf",
    ]
    laid = {path.name for path in (tmp_path / "etc/asterisk").iterdir()}
    assert laid == {"extensions_agentd.conf", "ari_agentd.conf"}
    assert "last line of /etc/asterisk/extensions.conf:" in run(tmp_path, asterisk="plain")


def started(root: Path) -> set[str]:
    """The programs of the units."""
    units = (root / "etc/systemd/system").glob("*.service")
    return {program for unit in units for program in EXEC_START.findall(unit.read_text())}


def test_the_units_start_the_installation_that_init_is_run_from(tmp_path: Path) -> None:
    said = run(tmp_path, place="/opt/pipx/venvs/asterisk-agentd")
    assert started(tmp_path) == {"/opt/pipx/venvs/asterisk-agentd/bin/agentd"}
    for name, command in (
        ("agentd", "--config"),
        ("agentd-hand-back", "hand-back --config"),
        ("agentd-speech", "speech-server --config"),
    ):
        unit = (tmp_path / f"etc/systemd/system/{name}.service").read_text()
        (line,) = re.findall(r"^ExecStart=.*", unit, re.MULTILINE)
        assert re.search(rf"[= ]/opt/pipx/venvs/asterisk-agentd/bin/agentd {command} /etc/agentd/agent.toml$", line)
        assert "/opt/agentd" not in unit
    assert "  /opt/pipx/venvs/asterisk-agentd/bin/agentd doctor --config" in said


def test_with_a_prefix_they_start_the_link_that_will_lead_to_it(tmp_path: Path) -> None:
    run(tmp_path, place="/srv/agentd/venv-20260101T000000Z", prefix="/srv/agentd")
    assert started(tmp_path) == {"/srv/agentd/venv/bin/agentd"}


def test_another_place_is_no_edit(tmp_path: Path) -> None:
    run(tmp_path)
    said = run(tmp_path, place="/opt/pipx/venvs/asterisk-agentd")
    assert outcomes(said)["/etc/systemd/system/agentd.service"] == "updated"
    assert started(tmp_path) == {"/opt/pipx/venvs/asterisk-agentd/bin/agentd"}
    assert set(outcomes(run(tmp_path, place="/opt/pipx/venvs/asterisk-agentd")).values()) == {"unchanged"}


def test_another_place_is_no_edit_either_where_nobody_remembers_what_was_laid_down(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "etc/agentd/installed.sha256").unlink()
    run(tmp_path, place="/opt/pipx/venvs/asterisk-agentd")
    assert started(tmp_path) == {"/opt/pipx/venvs/asterisk-agentd/bin/agentd"}
    assert not list(tmp_path.rglob("*.new"))


def test_an_edited_unit_that_starts_another_installation_is_kept_and_told_of(tmp_path: Path) -> None:
    run(tmp_path)
    unit = tmp_path / "etc/systemd/system/agentd.service"
    unit.write_text(unit.read_text() + "# edited here\n")
    said = run(tmp_path, place="/opt/pipx/venvs/asterisk-agentd")
    assert outcomes(said)["/etc/systemd/system/agentd.service"] == "kept"
    told = [line for line in said.splitlines() if line.startswith("WARNING")]
    assert told == [
        "WARNING: /etc/systemd/system/agentd.service, which is yours, starts /opt/agentd/venv/bin/agentd and not "
        "/opt/pipx/venvs/asterisk-agentd/bin/agentd."
    ]


def test_of_an_image_it_is_only_told_that_the_service_could_not_start_it(tmp_path: Path) -> None:
    said = run(tmp_path, place="/root/venv")
    assert "WARNING: with these files the service could not start agentd: /root/venv/bin/agentd is below /root" in said
    assert started(tmp_path) == {"/root/venv/bin/agentd"}


def test_on_the_host_itself_an_installation_that_the_service_could_not_start_is_refused(tmp_path: Path) -> None:
    out, here = io.StringIO(), installed(Path("/root/venv"))
    with pytest.raises(InstallError, match=r"the service could not start agentd: /root/venv/bin/agentd is below /root"):
        init(Path("/"), out=out, dry_run=True, sample=SAMPLE, installation=here)
    assert out.getvalue() == ""


def test_something_in_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(InstallError, match=r"cannot write below .*etc.*run it again"):
        run(tmp_path)


def test_every_file_that_is_laid_down_is_shipped() -> None:
    for name in (
        "agentd.service",
        "agentd-hand-back.service",
        "agentd@.service",
        "agentd-hand-back@.service",
        "agentd-speech.service",
        "agentd.sysusers.conf",
        "agentd.tmpfiles.conf",
    ):
        assert data_file(f"systemd/{name}").is_file()
    with pytest.raises(InstallError, match=r"systemd/agentd\.timer is missing from the agentd installation"):
        data_file("systemd/agentd.timer")


def newer_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data files of a later version: each with one more line."""
    newer = tmp_path.parent / f"{tmp_path.name}-version-2"

    def later(name: str) -> Path:
        path = newer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = ";" if name.startswith("asterisk_conf") else "#"
        path.write_text(data_file(name).read_text() + f"{comment} version 2\n")
        return path

    monkeypatch.setattr("agentd.service.install.data_file", later)
    return newer
