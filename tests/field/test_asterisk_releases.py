"""Which Asterisk this is: version strings as distributions write them, and one table of what differs.

Sources: build_tools/make_version of Asterisk (GIT-..., UNKNOWN__...), Debian's and Ubuntu's packages, FreePBX's
repository, the tags certified/18.9-cert4 and certified/20.7-cert3; what a release has, by the tags' files
(res_audiosocket.c, funcs/func_uuid.c, channels/chan_websocket.c).
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.asterisk_releases import DIFFERENCES, KEYS, OLDEST, UUID, WIDEBAND, Release, has, parse_release, table
from agentd.doctor.findings import State
from agentd.doctor.pbx import judge_version

INSTALL = Path(__file__).parents[2] / "docs" / "install.md"

VERSIONS = [
    ("18.26.4", 18, 26),
    ("20.17.0", 20, 17),
    ("22.10.1", 22, 10),
    ("23.5.0-rc1", 23, 5),
    ("Asterisk 22.10.1", 22, 10),
    ("22.10.1+dfsg+~cs6.17.60671434-1", 22, 10),  # Debian sid
    ("20.6.0~dfsg+~cs6.13.40431414-2build5", 20, 6),  # Ubuntu 24.04
    ("16.28.0~dfsg-0+deb11u4", 16, 28),  # Debian 11
    ("1:22.7.0~dfsg-1", None, None),  # an epoch is no part of what Asterisk says
    ("20.9.3-1.sng12", 20, 9),  # FreePBX 17
    ("18.9-cert4", 18, 9),
    ("certified/18.9-cert4", 18, 9),
    ("certified-20.7-cert3", 20, 7),
    ("certified/20.7-cert8-rc2", 20, 7),
    ("certified-22.8-cert1", 22, 8),
    ("GIT-22-22.7.0-15-g4f2b20e6d0", 22, 7),
    ("GIT-22-22.7.0-rc2-3-g4f2b20eM", 22, 7),
    ("GIT-20-4f2b20e6d0M", 20, None),
    ("GIT-certified/20.7-cert3-2-g1234567", 20, 7),
    ("GIT-22-20.7.0-15-g4f2b20e6d0", 22, None),  # a tag of another branch tells nothing
    ("GIT-master-4f2b20e6d0", None, None),
    ("GIT-master-20ab3c4", None, None),
    ("GIT-master-22.10", None, None),
    ("UNKNOWN__and_probably_unsupported", None, None),
    ("UNKNOWN__git_check_fail", None, None),
    ("SVN-trunk-r1234", None, None),
    ("1.8.32.3", 1, 8),
    ("11.25.3", 11, 25),
    ("22", 22, None),
    ("22.10a", None, None),
    ("222.1", None, None),
    ("", None, None),
]


@pytest.mark.parametrize(("version", "major", "minor"), VERSIONS)
def test_a_version_is_read_in_whatever_form(version: str, major: int | None, minor: int | None) -> None:
    assert parse_release(version) == (None if major is None else Release(major, minor))


@pytest.mark.parametrize(
    ("version", "has_uuid", "has_keys", "has_wideband"),
    [
        ("18.26.4", False, False, False),
        ("20.11.1", False, False, False),
        ("20.12.0", True, False, False),
        ("20.13.0", True, False, False),
        ("20.14.0", True, True, False),
        ("20.16.0", True, True, False),
        ("20.17.0", True, True, True),
        ("21.6.0", False, False, False),
        ("21.7.0", True, False, False),
        ("21.9.0", True, True, False),
        ("21.12.0", True, True, True),
        ("22.1.0", False, False, False),
        ("22.2.0", True, False, False),
        ("22.4.0", True, True, False),
        ("21.11.9", True, True, False),
        ("22.6.0", True, True, False),
        ("22.7.0", True, True, True),
        ("22.10.1", True, True, True),
        ("23.0.0", True, True, False),
        ("23.1.0", True, True, True),
        ("24.0.0", True, True, True),
        ("19.8.1", False, False, False),
        ("certified-22.8-cert1", True, True, True),
        ("certified/20.7-cert3", False, False, False),
        ("GIT-22-4f2b20e", False, False, False),
        ("GIT-23-4f2b20e", True, True, False),
        ("GIT-master-1a2b3c", False, False, False),
        ("", False, False, False),
        ("nonsense", False, False, False),
    ],
)
def test_what_a_release_has_is_what_its_tag_has(
    version: str, has_uuid: bool, has_keys: bool, has_wideband: bool
) -> None:
    assert [has(version, key) for key in (UUID, KEYS, WIDEBAND)] == [has_uuid, has_keys, has_wideband]


@pytest.mark.parametrize(
    ("version", "state", "told"),
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", State.OK, []),
        ("24.1.0", State.OK, []),
        ("20.14.0", State.OK, ["16 kHz", "8 kHz", "20.18 has all of it"]),
        ("18.9-cert4", State.OK, ["UUID()", "ARI only", "8 kHz"]),
        ("certified/20.7-cert3", State.OK, ["UUID()", "ARI only", "20.18 has all of it"]),
        ("20.9.3-1.sng12", State.OK, ["UUID()", "20.18 has all of it"]),
        ("GIT-22-4f2b20e6d0", State.OK, ["a working copy of branch 22", "22.8 has all of it"]),
        ("GIT-22-22.10.0-5-g4f2b20e", State.OK, []),
        ("16.28.0~dfsg-0+deb11u4", State.FAIL, ["too old"]),
        ("1.8.32.3", State.FAIL, ["too old"]),
        ("UNKNOWN__and_probably_unsupported", State.WARN, ["18 or later"]),
    ],
)
def test_the_doctor_names_this_asterisk_s_row(version: str, state: State, told: list[str]) -> None:
    finding = judge_version(version)
    assert finding.state is state
    assert version in finding.found
    assert all(each in finding.found for each in told), finding.found
    assert told or ";" not in finding.found


def test_the_documents_have_the_same_table() -> None:
    assert table() in INSTALL.read_text("utf-8")


def test_every_row_is_of_branches_that_are_served() -> None:
    assert all(min(each.since) >= OLDEST for each in DIFFERENCES)
    assert len({each.key for each in DIFFERENCES}) == len(DIFFERENCES)


@given(st.text(max_size=40))
def test_any_text_is_a_release_or_none(version: str) -> None:
    judge_version(version)
    release = parse_release(version)
    assert release is None or release.major < 100
