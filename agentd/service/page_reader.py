"""The health page of another agentd, read from outside: by `agentd hand-back`, and by the doctor.

Whoever answers at that address need not be agentd. So no more is read than such a page has, and nothing is unpacked: a
body without an end, or gigabytes of zeros in a packed one, cost no memory.
"""

import httpx
import trio

LONGEST_PAGE = 4 << 20
"""Bytes; metrics take some hundred thousand."""


async def read_page(url: str, deadline: float) -> bytes:
    """The body, whatever its status. Takes `deadline` seconds at most.

    Raises httpx.HTTPError or trio.TooSlowError where there is none, ValueError where it is longer than any page.
    """
    page = bytearray()
    with trio.fail_after(deadline):
        async with (
            httpx.AsyncClient(timeout=deadline, trust_env=False, headers={"accept-encoding": "identity"}) as client,
            client.stream("GET", url) as answer,
        ):
            # httpx's generators end by what is raised in the innermost one, and not when they are left.
            with trio.CancelScope() as reading:
                async for data in answer.aiter_raw():
                    page += data
                    if len(page) > LONGEST_PAGE:
                        reading.cancel(reason="no page is as long")
    if len(page) > LONGEST_PAGE:
        raise ValueError(f"a page of more than {LONGEST_PAGE} bytes")
    return bytes(page)
