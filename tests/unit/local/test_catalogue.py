"""Which models there are, where they lie, and what is refused before a byte is written."""

import json
import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.models.catalogue import (
    CATALOGUE,
    GROUPS,
    HttpsZip,
    ModelCorrupt,
    ModelError,
    ModelFetchError,
    ModelMissing,
    WheelFile,
    locate,
    models_directory,
    search_directories,
)
from agentd_providers.local.models.unpacking import stored_name
from agentd_providers.local.models.wheels import Archive, archive_in_report

SHA = re.compile(r"[0-9a-f]{64}")


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_every_model_is_pinned_by_its_archive_or_file_by_file(model):
    assert model.files or model.source.sha256
    hashes = [*model.files.values(), *filter(None, [model.source.sha256])]
    assert all(SHA.fullmatch(digest) for digest in hashes)
    assert not model.entry or model.entry in model.files
    assert model.size > 1_000_000
    assert model.licence


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_every_source_is_an_exact_requirement_or_an_https_address(model):
    match model.source:
        case WheelFile(requirement=requirement):
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", requirement)
        case HttpsZip(url=url):
            assert url.startswith("https://")


def test_the_embedded_group_hears_knows_when_it_is_its_turn_thinks_and_speaks():
    assert {CATALOGUE[name].role for name in GROUPS["embedded"]} == {"stt", "eot", "llm", "tts"}


def test_a_chosen_directory_is_the_only_one_searched(tmp_path):
    assert search_directories({"AGENTD_MODELS_DIR": "/m", "HOME": "/h"}, tmp_path) == (Path("/m"),)


def test_the_system_directory_comes_before_the_users_own_where_it_exists(tmp_path):
    own = Path("/h/.local/share/agentd/models")
    assert search_directories({"HOME": "/h"}, tmp_path) == (tmp_path, own)
    assert search_directories({"HOME": "/h"}, tmp_path / "absent") == (own,)


def test_a_relative_xdg_data_home_is_ignored_as_the_specification_says(tmp_path):
    absent = tmp_path / "absent"
    assert search_directories({"XDG_DATA_HOME": "/x", "HOME": "/h"}, absent) == (Path("/x/agentd/models"),)
    relative = {"XDG_DATA_HOME": "x", "HOME": "/h"}
    assert search_directories(relative, absent) == (Path("/h/.local/share/agentd/models"),)


def test_without_any_directory_the_error_names_the_variable_to_set():
    with pytest.raises(ModelError, match="set AGENTD_MODELS_DIR"):
        models_directory(())


def test_a_path_is_taken_as_it_is(tmp_path):
    voice = tmp_path / "voice.onnx"
    voice.touch()
    assert locate(voice) == voice
    assert locate(str(tmp_path)) == tmp_path


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(ModelMissing, match="did you mean smollm2-135m"):
        locate("smolm2-135m")


def test_a_missing_model_names_the_command_that_brings_it(tmp_path):
    with pytest.raises(ModelMissing, match=r"agentd models fetch smollm2-135m$"):
        locate("smollm2-135m", directories=[tmp_path])


@given(st.text(st.sampled_from("ab./\\:\0"), max_size=12))
def test_a_member_is_stored_below_the_model_or_not_at_all(member):
    try:
        name = stored_name(member, "a")
    except ModelCorrupt:
        return
    if name is not None:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts
        assert f"a/{name}" == member


@pytest.mark.parametrize("member", ["../x", "a/../../x", "/etc/x", "a//x", "C:/x", "a\\..\\x", "a/\0x", ""])
def test_a_name_that_could_escape_is_refused(member):
    with pytest.raises(ModelCorrupt, match="plain relative path"):
        stored_name(member, "a")


def report(url: object, hashes: object) -> str:
    return json.dumps({"install": [{"download_info": {"url": url, "archive_info": {"hashes": hashes}}}]})


def test_the_wheel_is_read_from_pips_report():
    archive = archive_in_report(report("https://host/w.whl", {"sha256": "0" * 64}), "w==1")
    assert archive == Archive("https://host/w.whl", "0" * 64)


def test_a_report_without_a_hash_leaves_the_decision_to_the_pinned_files():
    assert archive_in_report(report("file:///w.whl", {}), "w==1").sha256 is None


@pytest.mark.parametrize("url", ["ftp://host/w.whl", "w.whl"])
def test_a_wheel_at_no_usable_address_is_refused(url):
    with pytest.raises(ModelFetchError, match=r"expected a file or http\(s\) URL"):
        archive_in_report(report(url, {}), "w==1")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["install", "download_info", "url", "archive_info", "hashes", "sha256"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.text(max_size=20) | json_values.map(json.dumps) | st.builds(report, json_values, json_values))
def test_anything_else_from_pip_is_one_kind_of_error(text):
    try:
        archive = archive_in_report(text, "w==1")
    except ModelFetchError as error:
        assert "w==1" in str(error)
    else:
        assert archive.url.startswith(("file:", "http:", "https:"))


def test_credentials_in_an_index_url_are_not_shown():
    assert "secret" not in repr(Archive("https://user:secret@host/w.whl?token=secret", None))
