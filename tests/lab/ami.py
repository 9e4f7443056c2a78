"""Asterisk's Manager Interface, as a program that moves other people's calls about uses it: actions and their answers.

Source: https://docs.asterisk.org/Configuration/Interfaces/Asterisk-Manager-Interface-AMI/AMI-v2-Specification.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .asterisk import PrivateAsterisk

ANSWER_SECONDS = 10.0


class ActionFailed(Exception):
    """Asterisk has answered an action with another thing than success."""


@attrs.define(eq=False)
class Manager:
    """One session of the manager of a private Asterisk."""

    _stream: trio.abc.Stream
    _rest: bytes = b""

    async def action(self, name: str, **headers: str) -> dict[str, str]:
        """Have something done; gives the answer's headers. Raises ActionFailed, trio.TooSlowError."""
        fields = {"Action": name, **headers}
        with trio.fail_after(ANSWER_SECONDS):
            await self._stream.send_all(
                "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode() + b"\r\n"
            )
            while "Response" not in (answer := _headers(await self._until(b"\r\n\r\n"))):
                pass
        if answer["Response"] != "Success":
            raise ActionFailed(f"{name} of {headers}: {answer}")
        return answer

    async def _until(self, end: bytes) -> bytes:
        while end not in self._rest:
            data = await self._stream.receive_some()
            if not data:
                raise ActionFailed("the manager has closed the connection")
            self._rest += data
        found, _, self._rest = self._rest.partition(end)
        return found


def _headers(block: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in block.decode("utf-8", "replace").split("\r\n"))
    return {name.strip(): value.strip() for name, _, value in lines}


@asynccontextmanager
async def manager(pbx: PrivateAsterisk) -> AsyncIterator[Manager]:
    """Log in to the manager of this Asterisk, without its events."""
    async with await trio.open_tcp_stream("127.0.0.1", pbx.ami_port) as stream:
        session = Manager(stream)
        with trio.fail_after(ANSWER_SECONDS):
            await session._until(b"\r\n")  # its greeting
        await session.action("Login", Username="lab", Secret=pbx.phone_password, Events="off")
        yield session
