"""Who has a port that agentd was to take."""

import errno
from pathlib import Path

import pytest

from agentd.errors import AddressUnusable, naming_address
from agentd.service.taken import advice, listeners

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:3A98 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 22831 1 0 100 0 0 10 0
   1: 0100007F:1F9A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22832 1 0 100 0 0 10 0
   2: 0100007F:3A98 0100007F:C2A2 01 00000000:00000000 00:00000000 00000000   107        0 22833 1 0 20 4 30 10 -1
"""
TAKEN = OSError(errno.EADDRINUSE, "Address already in use")


def test_who_listens_is_found_and_who_is_connected_is_not() -> None:
    assert list(listeners(TABLE, 15000)) == [(107, "22831")]
    assert list(listeners(TABLE, 8090)) == [(0, "22832")]
    assert list(listeners(TABLE, 80)) == []
    assert list(listeners("", 15000)) == []
    assert list(listeners("sl\nrubbish\n", 15000)) == []


def host(tmp_path: Path) -> Path:
    """A /proc in which process 4711 has the socket."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TABLE)
    descriptors = tmp_path / "4711" / "fd"
    descriptors.mkdir(parents=True)
    (tmp_path / "4711" / "comm").write_text("node\n")
    (descriptors / "7").symlink_to("socket:[22831]")
    return tmp_path


def test_the_program_and_its_user_are_named(tmp_path: Path) -> None:
    text = advice(AddressUnusable(TAKEN, "0.0.0.0", 15000, "health"), host(tmp_path))
    assert "ss -ltnp 'sport = :15000'" in text
    assert "node, process 4711, of user " in text
    assert "another port in [health]" in text


def test_a_process_that_we_may_not_look_into_leaves_its_user(tmp_path: Path) -> None:
    proc = host(tmp_path)
    (proc / "4711" / "fd" / "7").unlink()
    assert "(a program of user " in advice(AddressUnusable(TAKEN, "0.0.0.0", 15000, "health"), proc)


def test_without_proc_there_is_the_advice_alone(tmp_path: Path) -> None:
    text = advice(AddressUnusable(TAKEN, "0.0.0.0", 15000, "health"), tmp_path)
    assert "'sport = :15000'. If it is" in text


def test_another_error_needs_none_of_it(tmp_path: Path) -> None:
    assert advice(OSError(errno.ENOSPC, "No space left on device"), tmp_path) == ""


@pytest.mark.parametrize("error", [TAKEN, ExceptionGroup("in a nursery", [TAKEN])], ids=["bare", "grouped"])
def test_an_address_that_cannot_be_had_is_named_with_its_setting(error: Exception) -> None:
    with pytest.raises(AddressUnusable) as caught, naming_address("127.0.0.1", 8090, "audiosocket"):
        raise error
    assert str(caught.value) == "127.0.0.1:8090, as [audiosocket] host and port say: Address already in use"
    assert caught.value.errno == errno.EADDRINUSE


def test_an_error_of_another_kind_is_left_alone() -> None:
    with pytest.RaisesGroup(ValueError), naming_address("127.0.0.1", 8090, "audiosocket"):
        raise ExceptionGroup("in a nursery", [ValueError()])
