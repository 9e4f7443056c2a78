"""Secrets come from systemd's credentials or the environment, and show themselves to nobody."""

import json
from pathlib import Path

import attrs
import pytest

from agentd.config.secrets import MAX_SECRET, Secret, credential_name, find_secret, need_secret
from agentd.errors import ConfigError

NAME = "AGENTD_ARI_PASSWORD"


def credentials(directory: Path, **files: str) -> dict[str, str]:
    for name, value in files.items():
        (directory / name.replace("_", "-")).write_text(value, encoding="utf-8")
    return {"CREDENTIALS_DIRECTORY": str(directory)}


def test_a_secret_comes_from_the_environment() -> None:
    secret = find_secret(NAME, {NAME: "hunter2"})
    assert secret is not None
    assert secret.reveal() == "hunter2"


def test_a_secret_comes_from_a_systemd_credential_without_its_last_newline(tmp_path: Path) -> None:
    secret = find_secret(NAME, credentials(tmp_path, ari_password="hunter2\n"))
    assert secret is not None
    assert secret.reveal() == "hunter2"


def test_the_credential_wins_over_the_environment(tmp_path: Path) -> None:
    environ = {**credentials(tmp_path, ari_password="from systemd"), NAME: "from the environment"}
    assert need_secret(NAME, "it", environ).reveal() == "from systemd"


def test_without_that_credential_the_environment_is_asked(tmp_path: Path) -> None:
    environ = {**credentials(tmp_path, another="x"), NAME: "from the environment"}
    assert need_secret(NAME, "it", environ).reveal() == "from the environment"
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path / "nowhere")
    assert need_secret(NAME, "it", environ).reveal() == "from the environment"


@pytest.mark.parametrize(
    "name, credential",
    [(NAME, "ari-password"), ("OPENAI_API_KEY", "openai-api-key"), ("AGENTD_X", "x"), ("X_AGENTD_Y", "x-agentd-y")],
)
def test_a_credential_is_named_after_its_variable(name: str, credential: str) -> None:
    assert credential_name(name) == credential


def test_a_secret_that_is_no_text_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match=f"{NAME} is not UTF-8 text") as caught:
        find_secret(NAME, {NAME: "hush\udcff"})
    assert "hush" not in repr(caught.value)


@pytest.mark.parametrize("environ", [{}, {NAME: ""}])
def test_a_secret_that_is_nowhere_or_empty_is_not_found(environ: dict[str, str]) -> None:
    assert find_secret(NAME, environ) is None


def test_a_missing_secret_is_told_with_both_ways_to_give_it() -> None:
    with pytest.raises(ConfigError) as missing:
        need_secret(NAME, "the ARI password", {})
    assert str(missing.value).startswith("the ARI password is missing")
    assert f"the environment variable {NAME}" in str(missing.value)
    assert "the systemd credential 'ari-password'" in str(missing.value)


def test_a_credential_that_cannot_be_read_is_an_error_and_not_a_missing_secret(tmp_path: Path) -> None:
    (tmp_path / "ari-password").mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), NAME: "from the environment"}
    with pytest.raises(ConfigError, match=r"ari-password cannot be read: .*directory"):
        find_secret(NAME, environ)


def test_a_credential_that_is_no_text_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "ari-password").write_bytes(b"hunter2\xff")
    with pytest.raises(ConfigError, match="ari-password cannot be read") as refused:
        find_secret(NAME, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_an_empty_credential_is_an_error_and_no_empty_password(tmp_path: Path, content: str) -> None:
    environ = {**credentials(tmp_path, ari_password=content), NAME: "from the environment"}
    with pytest.raises(ConfigError, match="ari-password holds 0 characters"):
        find_secret(NAME, environ)


def test_a_credential_that_is_no_password_but_a_whole_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"holds {MAX_SECRET + 1} characters"):
        find_secret(NAME, credentials(tmp_path, ari_password="x" * (MAX_SECRET + 1)))


def test_no_usual_way_of_showing_a_secret_shows_its_value() -> None:
    secret = Secret(NAME, "hunter2")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        "{}".format(secret),  # noqa: UP032
        "%s %r" % (secret, secret),  # noqa: UP031
        repr([secret]),
        repr({"password": secret}),
        json.dumps({"password": secret}, default=str),
        str(ValueError("refused", secret)),
    ]
    assert not [text for text in shown if "hunter2" in text]
    assert all(NAME in text for text in shown)


def test_what_holds_a_secret_does_not_show_it_either() -> None:
    @attrs.frozen
    class Request:
        password: Secret

    assert "hunter2" not in repr(Request(Secret(NAME, "hunter2")))


def test_a_secret_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Secret(NAME, "hunter2").name = "x"  # type: ignore[misc]
