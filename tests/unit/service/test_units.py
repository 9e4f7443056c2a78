"""Which program the units start, and what keeps the service from starting it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.installation import Installation, Installer
from agentd.service.host_files import InstallError
from agentd.service.install import data_file
from agentd.service.units import PROGRAMS, Obstacle, obstacle_of, program_of, retarget

HOST = Path("/")


def at(environment: str | Path, root: Path = HOST, **more: object) -> Installation:
    place = root / str(environment).lstrip("/")
    made = {"installer": Installer.PIP, "program": place / "bin/agentd", **more}
    return Installation(place, place / "bin/python", **made)  # type: ignore[arg-type]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Installation]:
    """Makes an environment below tmp_path that has what is needed, readable for everybody."""

    def installed(environment: str) -> Installation:
        here = at(environment, tmp_path)
        (here.environment / "bin").mkdir(parents=True)
        for program in (here.environment / "bin/agentd", here.environment / "bin/python"):
            program.touch()
            program.chmod(0o755)
        for place in here.python.relative_to(tmp_path).parents:
            (tmp_path / place).chmod(0o755)
        return here

    return installed


@pytest.mark.parametrize("unit", ["agentd", "agentd-hand-back", "agentd@", "agentd-hand-back@", "agentd-speech"])
def test_every_unit_is_told_the_program_and_nothing_else_of_it_changes(unit: str) -> None:
    shipped = data_file(f"systemd/{unit}.service").read_text()
    told = retarget(shipped, "/srv/it/bin/agentd")
    assert {*PROGRAMS.findall(told)} == {"/srv/it/bin/agentd"}
    assert "/opt/agentd" not in told
    assert told.replace("/srv/it/", "/opt/agentd/venv/") == shipped


def test_it_is_the_entry_script_as_the_host_sees_it(tmp_path: Path) -> None:
    assert program_of(at("/opt/pipx/venvs/asterisk-agentd"), HOST, None) == "/opt/pipx/venvs/asterisk-agentd/bin/agentd"
    assert program_of(at("/opt/it", tmp_path), tmp_path, None) == "/opt/it/bin/agentd"
    assert program_of(at("/opt/it"), tmp_path, None) == "/opt/it/bin/agentd", (
        "it is not in the image, and named as it is"
    )


@pytest.mark.parametrize("prefix", ["relative", "/home/me/agentd", "/home", "/opt/a b", "/opt/agentd/", "/opt/%n"])
def test_a_prefix_that_the_unit_could_not_use_is_refused(prefix: str) -> None:
    with pytest.raises(InstallError, match="expected a plain absolute path"):
        program_of(at("/opt/agentd/venv-1"), HOST, prefix)


def test_a_prefix_that_is_another_installations_is_refused() -> None:
    with pytest.raises(InstallError, match=r"installed below /srv/agentd, this one is in /opt/agentd/venv-1: run /srv"):
        program_of(at("/opt/agentd/venv-1"), HOST, "/srv/agentd")


def test_a_source_tree_that_nobody_installed_has_nothing_to_start(tmp_path: Path) -> None:
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/install-host").touch()
    with pytest.raises(InstallError) as refusal:
        program_of(at("/usr", program=None, origin=str(tmp_path)), HOST, None)
    first, remedy = str(refusal.value).splitlines()
    assert f"it runs from {tmp_path}, where it was not installed" in first
    assert re.fullmatch(rf"  PYTHON=/usr/bin/python3\S* {tmp_path}/systemd/install-host", remedy)


def refused(installation: Installation, root: Path) -> Obstacle:
    found = obstacle_of(installation, root)
    assert found is not None
    return found


def test_nothing_stands_in_the_way_of_what_everybody_may_read(
    make: Callable[[str], Installation], tmp_path: Path
) -> None:
    assert obstacle_of(make("opt/agentd/venv"), tmp_path) is None


@pytest.mark.parametrize(
    ("environment", "above"),
    [
        ("/root/.local/share/pipx/venvs/asterisk-agentd", "/root"),
        ("/home/me/venv", "/home"),
        ("/tmp/venv", "/tmp"),
        ("/var/tmp/venv", "/var/tmp"),
        ("/run/user/1000/venv", "/run/user"),
    ],
)
def test_what_the_units_sandbox_hides_is_refused(environment: str, above: str, tmp_path: Path) -> None:
    expected = f"{environment}/bin/agentd is below {above}, which the unit hides from it"
    assert refused(at(environment), HOST).what == expected
    assert refused(at(environment, tmp_path), tmp_path).what == expected


def test_every_place_that_the_unit_hides_is_known() -> None:
    unit = data_file("systemd/agentd.service").read_text()
    assert {"ProtectHome=yes", "PrivateTmp=yes"} <= set(unit.splitlines())


def test_a_virtual_environment_whose_interpreter_is_hidden_is_refused(
    make: Callable[[str], Installation], tmp_path: Path
) -> None:
    here = make("opt/agentd/venv")
    here.python.unlink()
    here.python.symlink_to("python3")
    (here.environment / "bin/python3").symlink_to("/root/.pyenv/versions/3.12.0/bin/python3")
    assert refused(here, tmp_path).what == (
        "/opt/agentd/venv/bin/python leads to /root/.pyenv/versions/3.12.0/bin/python3, which is below /root, "
        "which the unit hides from it"
    )


def test_a_copied_interpreter_whose_library_is_hidden_is_refused(
    make: Callable[[str], Installation], tmp_path: Path
) -> None:
    here = make("opt/agentd/venv")
    library = Path("/home/me/python/lib/python3.12/os.py")
    found = refused(at("opt/agentd/venv", tmp_path, parts=(library,)), tmp_path)
    assert found.what == f"{library} is below /home, which the unit hides from it"
    assert obstacle_of(here, tmp_path) is None


def test_a_path_that_a_unit_cannot_hold_is_refused() -> None:
    assert (
        "takes no blank or special character in /opt/my agents/bin/agentd" in refused(at("/opt/my agents"), HOST).what
    )


def test_what_the_services_user_cannot_read_is_refused_with_the_command_that_opens_it(
    make: Callable[[str], Installation], tmp_path: Path
) -> None:
    here = make("opt/pipx/venvs/asterisk-agentd")
    assert here.program is not None
    here.program.chmod(0o700)
    found = refused(here, tmp_path)
    assert found.what == f"{here.program} (-rwx------) is closed to its user"
    assert found.remedies == (f"chmod -R go+rX {here.environment}", f"{here.program} init")
    here.program.chmod(0o755)
    (tmp_path / "opt/pipx").chmod(0o700)
    found = refused(here, tmp_path)
    assert found.what == f"{tmp_path / 'opt/pipx'} (drwx------) is closed to its user"
    assert found.remedies[0] == f"chmod go+rX {tmp_path / 'opt/pipx'}"


def test_the_way_out_installs_with_pipx_from_the_same_wheel_where_the_service_can_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    wheel = tmp_path / "asterisk_agentd-1.0-py3-none-any.whl"
    wheel.touch()
    apt, install, init = refused(at("/root/venv", origin=str(wheel)), HOST).remedies
    assert apt == "apt install pipx"
    into = "PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install --python "
    assert re.fullmatch(rf"{into}/usr/bin/python3\S* '{wheel}\[local\]'", install)
    assert init == "/usr/local/bin/agentd init"


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ("asterisk-agentd", "'asterisk-agentd[local]'"),
        ("https://host/asterisk_agentd-1.0.whl", "'asterisk-agentd[local] @ https://host/asterisk_agentd-1.0.whl'"),
        ("/gone/asterisk_agentd-1.0.whl", "'./asterisk_agentd-1.0.whl[local]'"),
    ],
    ids=["an index", "a URL", "a wheel that is gone"],
)
def test_the_way_out_names_what_it_was_installed_from(origin: str, named: str) -> None:
    assert refused(at("/root/venv", origin=origin), HOST).remedies[-2].endswith(f" {named}")


def test_an_environment_of_pipx_that_is_in_its_place_gets_another_interpreter(
    make: Callable[[str], Installation], tmp_path: Path
) -> None:
    here = make("opt/pipx/venvs/asterisk-agentd")
    library = (Path("/root/.pyenv/lib/os.py"),)
    found = obstacle_of(
        Installation(here.environment, here.python, here.program, Installer.PIPX, parts=library), tmp_path
    )
    assert found is not None
    home = "PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin "
    assert found.remedies[0].startswith(f"{home}pipx reinstall --python /usr/bin/python3")
