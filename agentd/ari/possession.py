"""The application is still ours: shown by an event of our own that comes back over the event stream.

Asterisk publishes a user event on the application's own topic, after all that it has told there before, and sends it to
the program whose application it is: see `stasis_app_user_event` in Asterisk 22 res/res_stasis.c. It needs neither a
subscription nor a body. GET /applications does not tell whose an application is.
"""

import secrets

import attrs
import trio

from agentd import deadlines
from agentd.ari.rest import AriRest
from agentd.errors import AriError, AriRejected

PROOF_DEADLINE = deadlines.ARI_PROOF.seconds
REGISTRATION_PATIENCE = deadlines.ARI_REGISTRATION.seconds


@attrs.define(eq=False)
class Possession:
    """Of the application `app`. For one asker at a time."""

    rest: AriRest
    app: str
    _expected: str = attrs.field(default="", init=False)
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def may_write(self) -> None:
        """Ask to stop a playback that there is not. Raises AriError where a request that changes something is not let
        through; such a user could answer no caller and hand none back.

        Asterisk looks whether the user may write before it looks for what is asked for, and a playback that it does
        not find is nothing to its log: Asterisk 22 res/res_ari.c (`ast_ari_invoke`), res/ari/resource_playbacks.c.
        """
        await self.rest.stop_playback(f"{self.app}-none-{secrets.token_hex(8)}")

    async def prove(self, patience: float = 0.0) -> None:
        """Have an event of our own come back. Raises AriError where it does not come within PROOF_DEADLINE, or where
        Asterisk has no such application for longer than `patience` seconds, or lets no such request through."""
        await self._asked(trio.current_time() + patience)
        with trio.move_on_after(PROOF_DEADLINE):
            await self._came.wait()
            return
        raise AriError(
            f"the event stream is deaf: an event of our own did not come back within {PROOF_DEADLINE:g} s; "
            f"another program may have the application {self.app!r}"
        )

    def told(self, name: str) -> None:
        """A user event has come."""
        if name == self._expected:
            self._came.set()

    async def _asked(self, until: float) -> None:
        """Asterisk registers an application just after it has opened the WebSocket; and one that reconnects within a
        millisecond of its last close can be destroyed again (seen on 22.10). An event for an application that it does
        not know is a warning in Asterisk's log, a question after it is not: res/res_stasis.c (`stasis_app_user_event`).
        """
        while True:
            try:
                await self.rest.application_channels(self.app)
                await self.rest.user_event(self.app, self._next())
            except AriRejected as error:
                if error.status != 404:
                    raise
                if trio.current_time() >= until:
                    raise AriError(f"Asterisk does not know the application {self.app!r}") from error
                await trio.sleep(0.02)
            else:
                return

    def _next(self) -> str:
        self._expected, self._came = f"{self.app}-ours-{secrets.token_hex(8)}", trio.Event()
        return self._expected
