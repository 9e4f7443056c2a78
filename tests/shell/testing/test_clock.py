"""What tests wait by: a clock that stands still while anybody works, and a look after each step."""

import time

import pytest
import trio

from agentd.testing.clock import LOOK, run_on_loopback, run_virtually, until


async def connection() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a TCP connection over loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


def test_on_loopback_no_time_passes_while_a_peer_of_the_same_run_answers() -> None:
    async def converse() -> None:
        near, far = await connection()

        async def echo() -> None:
            while data := await far.receive_some(100):
                time.sleep(0.02)  # noqa: ASYNC251 - it works, and nobody else can
                await far.send_all(data)
            await far.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            with trio.fail_after(0.001):
                for number in range(20):
                    await near.send_all(bytes([number]))
                    assert await near.receive_some(100) == bytes([number])
            assert trio.current_time() == 0
            await near.aclose()
        await trio.sleep(1000)
        assert trio.current_time() == 1000

    run_on_loopback(converse)


def test_on_loopback_megabytes_take_no_time() -> None:
    async def converse() -> int:
        near, far = await connection()
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, bytes(8 << 20))
            taken = 0
            with trio.fail_after(0.001):
                while taken < 8 << 20:
                    taken += len(await far.receive_some(1 << 16))
        return taken

    assert run_on_loopback(converse) == 8 << 20


def test_on_loopback_no_time_passes_while_a_thread_works() -> None:
    async def work() -> None:
        with trio.fail_after(0.001):
            async with trio.open_nursery() as nursery:
                for seconds in (0.1, 0.2, 0.1):
                    nursery.start_soon(trio.to_thread.run_sync, time.sleep, seconds)
        with pytest.raises(trio.TooSlowError), trio.fail_after(1000):
            await trio.sleep_forever()

    run_on_loopback(work)


def test_what_is_waited_for_is_seen_in_the_step_that_brings_it_about() -> None:
    async def wait() -> None:
        seen = []

        async def count() -> None:
            for number in range(10):
                seen.append(number)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for number in range(10):
                await until(lambda number=number: number in seen)  # type: ignore[misc]
                assert seen[-1] == number
                assert trio.current_time() == number

    run_virtually(wait)


def test_a_state_that_does_not_last_is_seen_too() -> None:
    async def wait() -> None:
        light: list[str] = ["off"]

        async def flash() -> None:
            await trio.sleep(LOOK / 3)
            light.append("on")
            await trio.lowlevel.checkpoint()
            light.append("off")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flash)
            await until(lambda: light[-1] == "on")

    run_virtually(wait)


async def test_what_nobody_in_the_run_brings_about_is_looked_for_now_and_then() -> None:
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > 3 * LOOK)


@pytest.mark.trio(run=run_virtually)
async def test_what_does_not_come_is_given_up_and_what_the_look_raises_is_told() -> None:
    with pytest.raises(trio.TooSlowError):
        await until(lambda: False, 7.0)
    assert trio.current_time() == 7.0
    looks = [False, False]
    with pytest.raises(IndexError):
        await until(lambda: looks.pop())
    assert await until(lambda: True) is None
