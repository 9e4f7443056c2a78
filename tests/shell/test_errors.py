"""An error of a nursery leaves it as itself: who waits for it catches it by its own name."""

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.errors import AriError, ProviderError, ProviderRejected, ProviderUnavailable, WebSocketError, ungrouped


async def fail(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def test_an_error_of_a_task_leaves_the_block_as_itself() -> None:
    error = ProviderUnavailable("gone")
    with pytest.raises(ProviderUnavailable) as caught, ungrouped(ProviderError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, error)
    assert caught.value is error


async def test_however_deep_the_nurseries_it_is_found() -> None:
    with pytest.raises(ProviderRejected, match="no"), ungrouped(ProviderError):
        async with trio.open_nursery(), trio.open_nursery(), trio.open_nursery():
            raise ProviderRejected("no")


async def test_an_error_that_came_in_no_group_is_left_alone() -> None:
    with pytest.raises(ProviderRejected, match="no"), ungrouped(ProviderError):
        raise ProviderRejected("no")


async def test_nothing_is_raised_where_nothing_failed() -> None:
    with ungrouped(ProviderError):
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()


async def test_each_of_several_kinds_is_found() -> None:
    for error in (WebSocketError("closed"), AriError("no")):
        with pytest.raises(type(error)), ungrouped(WebSocketError, AriError):
            async with trio.open_nursery():
                raise error


async def test_of_several_errors_the_first_is_raised() -> None:
    first, second = ProviderUnavailable("first"), ProviderUnavailable("second")
    with pytest.raises(ProviderUnavailable) as caught, ungrouped(ProviderError):
        raise ExceptionGroup("two tasks", [first, second])
    assert caught.value is first


async def test_another_kind_goes_on_in_its_group() -> None:
    with pytest.RaisesGroup(ValueError), ungrouped(ProviderError):
        async with trio.open_nursery():
            raise ValueError("a defect")


async def test_beside_a_defect_nothing_is_taken_out_of_the_group() -> None:
    with pytest.RaisesGroup(ProviderUnavailable, ValueError), ungrouped(ProviderError):
        raise ExceptionGroup("two tasks", [ProviderUnavailable("gone"), ValueError("a defect")])


async def test_a_cancellation_goes_on_alone() -> None:
    """An error that came with it would leave the cancelled scope in a group, which nobody expects there."""
    reached = False

    async def fails_while_it_is_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ProviderUnavailable("closed")

    with trio.CancelScope() as scope:
        with ungrouped(ProviderError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_while_it_is_cancelled)
                nursery.start_soon(trio.sleep_forever)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        reached = True
    assert scope.cancelled_caught
    assert not reached


async def test_a_context_manager_hands_its_users_error_back_as_it_came() -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        with ungrouped(ProviderError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield
                nursery.cancel_scope.cancel()

    error = ProviderUnavailable("the user's")
    with pytest.raises(ProviderUnavailable) as caught:
        async with opened():
            raise error
    assert caught.value is error


async def test_the_error_keeps_its_own_cause_and_context() -> None:
    cause, error = OSError("refused"), ProviderUnavailable("gone")

    async def fails() -> None:
        try:
            raise cause
        except OSError as told:
            raise error from told

    with pytest.raises(ProviderUnavailable), ungrouped(ProviderError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
    assert error.__cause__ is cause
    assert error.__context__ is cause


def test_an_error_that_was_dealt_with_leaves_nothing_to_the_collector() -> None:
    class Held:
        pass

    def deal_with_it() -> weakref.ref[Held]:
        held = Held()
        try:
            with ungrouped(ProviderError):
                raise ExceptionGroup("", [ProviderUnavailable("gone")])
        except ProviderUnavailable:
            pass
        return weakref.ref(held)

    gc.collect()
    gc.disable()
    try:
        assert deal_with_it()() is None
    finally:
        gc.enable()
