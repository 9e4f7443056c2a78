"""The slots of the embedded language model's server, as it tells of them, and what its process has used up.

https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md: GET /slots.
"""

import json
import os
from pathlib import Path

import trio

from agentd_providers.openai.client import UNIX

LOOK_EVERY = 0.002
DEADLINE = 60.0


async def busy_slots(address: str, key: str) -> int:
    """How many slots work at the server on the Unix socket `address`. Raises OSError, and ValueError for no answer."""
    answer = b""
    async with await trio.open_unix_socket(address.removeprefix(UNIX)) as stream:
        request = f"GET /slots HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        async for data in stream:
            answer += data
    return sum(slot["is_processing"] for slot in json.loads(answer.partition(b"\r\n\r\n")[2]))


async def until_busy(address: str, key: str) -> None:
    """Wait until a slot works. Raises trio.TooSlowError."""
    with trio.fail_after(DEADLINE):
        while not await busy_slots(address, key):
            await trio.sleep(LOOK_EVERY)


async def until_idle(address: str, key: str) -> float:
    """Wait until no slot works; gives the milliseconds that it took. Raises trio.TooSlowError."""
    began = trio.current_time()
    with trio.fail_after(DEADLINE):
        while await busy_slots(address, key):
            await trio.sleep(LOOK_EVERY)
    return (trio.current_time() - began) * 1000


def processor_seconds(pid: int) -> float:
    """What a process has had of the processor so far, in steps of 10 ms (proc_pid_stat(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
