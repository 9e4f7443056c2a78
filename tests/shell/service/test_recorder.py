"""The calls' records follow their calls, whatever becomes of either; and no call notices."""

import errno
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest
import structlog
import trio

from agentd.calls.record import CallRecord, Stay, from_bytes
from agentd.metrics import Metrics
from agentd.party import Party
from agentd.service.record_files import RecordFiles
from agentd.service.recorder import LOOK_EVERY, Recorder
from agentd.testing.clock import until

RECORD = CallRecord(
    call_id="1.2",
    stay=Stay("1.2"),
    agent="front",
    serving="front",
    transport="external",
    streaming=True,
    rate=8000,
    caller=Party("100", "Alice"),
    began=1.7e9,
)


@attrs.define(eq=False)
class Files(RecordFiles):
    """Files that can be slow, or refuse to be written."""

    full: bool = False
    writes: int = 0
    gate: threading.Event = attrs.field(factory=threading.Event)

    def write(self, channel: str, data: bytes) -> None:
        self.writes += 1
        self.gate.wait(10)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(channel, data)


@attrs.define(eq=False)
class Scene:
    files: Files
    recorder: Recorder
    record: CallRecord | None = RECORD
    """How the call stands."""

    def look(self) -> CallRecord | None:
        return self.record

    @property
    def there(self) -> list[CallRecord]:
        return [from_bytes(path.read_bytes()) for path in self.files.directory.glob("*.call")]

    @property
    def failed(self) -> float:
        return self.recorder.metrics.registry.get_sample_value("agentd_call_records_failed_total") or 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    files = Files(tmp_path, "agentd")
    files.gate.set()
    yield Scene(files, Recorder(files, Metrics()))
    files.gate.set()


async def test_a_record_is_written_when_its_call_has_changed_and_goes_with_it(scene: Scene) -> None:
    with scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        assert scene.there == [RECORD]
        await scene.recorder.write()
        assert scene.files.writes == 1, "nothing had changed"
        scene.record = attrs.evolve(RECORD, caller_spoke=True)
        await scene.recorder.write()
        assert scene.there == [scene.record]
    await scene.recorder.write()
    assert scene.there == []


async def test_a_call_that_is_ending_has_no_record(scene: Scene) -> None:
    with scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        scene.record = None
        await scene.recorder.write()
        assert scene.there == []


async def test_a_call_that_ends_while_it_is_being_written_down_leaves_nothing(scene: Scene) -> None:
    scene.files.gate.clear()
    async with trio.open_nursery() as nursery:
        with scene.recorder.keeping("1.2", scene.look):
            nursery.start_soon(scene.recorder.write)
            await until(lambda: scene.files.writes)
        scene.files.gate.set()
    assert scene.there == [RECORD]
    await scene.recorder.write()
    assert scene.there == []


async def test_another_channel_in_the_callers_place_has_the_record_from_then_on(scene: Scene) -> None:
    with scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        scene.record = attrs.evolve(RECORD, stay=Stay("1.3"))
        await scene.recorder.write()
        await scene.recorder.write()
        assert scene.there == [scene.record]


async def test_a_directory_that_is_full_is_told_once_and_no_call_fails(scene: Scene) -> None:
    scene.files.full = True
    with structlog.testing.capture_logs() as logs, scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        await scene.recorder.write()
        assert [line["event"] for line in logs] == ["a call's record cannot be written: a restart would end that call"]
        assert scene.failed == 2
        assert await scene.recorder.seal() == frozenset(), "so its caller is handed back"


async def test_a_directory_that_takes_files_again_has_the_record(scene: Scene) -> None:
    scene.files.full = True
    with scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        scene.files.full = False
        await scene.recorder.write()
        assert scene.there == [RECORD]


async def test_what_is_sealed_is_as_the_call_stood_last_and_stays(scene: Scene) -> None:
    with scene.recorder.keeping("1.2", scene.look):
        await scene.recorder.write()
        scene.record = attrs.evolve(RECORD, agent_spoke=True)
        assert await scene.recorder.seal() == {"1.2"}
        last, scene.record = scene.record, None
        await scene.recorder.write()
        assert scene.there == [last]
    await scene.recorder.write()
    assert scene.there == [last]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_record_of_an_agentd_before_goes_with_the_call_that_goes_on(kept: bool, scene: Scene) -> None:
    scene.files.write("1.2", b"of the one before")
    with ExitStack() as stack:
        stack.enter_context(scene.recorder.inheriting("1.2", "1.2"))
        if kept:
            stack.enter_context(scene.recorder.keeping("1.2", scene.look))
    await scene.recorder.write()
    assert list(scene.files.directory.iterdir()) == []


async def test_where_nothing_can_be_kept_nothing_is(scene: Scene) -> None:
    recorder = Recorder(None, Metrics())
    with recorder.inheriting("1.2", "1.2"), recorder.keeping("1.2", scene.look):
        await recorder.write()
        assert await recorder.seal() == frozenset()
    assert scene.there == []


async def test_it_looks_by_itself(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.recorder.run)
        with scene.recorder.keeping("1.2", scene.look):
            await until(lambda: scene.there == [RECORD], patience=100 * LOOK_EVERY)
        nursery.cancel_scope.cancel()
