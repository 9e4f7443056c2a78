"""A reply that is asked for in stretches: its first clause, and the rest once somebody wants it. Pure.

Before a turn is over no more than the first clause of its answer is wanted (agentd_providers.pipeline.replies), and of
answers that are begun at a pause many are thrown away. But a server that is asked for a reply writes all of it, whether
or not anybody reads: there is no way to have it wait. So its answer is given up as soon as the first clause has come.
Who reads on has the server asked again, for what follows on what was written, which it has in its cache. A stretch may
be left anywhere, too, where others are more urgent.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.parsing import mended
from agentd_providers.openai.reply import ReplyReader
from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.pipeline.stages import Piece


@attrs.define(eq=False)
class Stretches:
    """One reply, which `reader` reads; where `first` is None all of it is one stretch.

    Its cutter need not know the language: where it takes a dot for an end, the next stretch is asked for a little
    early.
    """

    reader: ReplyReader
    over: bool = False
    """The reply has come to its end."""
    _first: ClauseCutter | None = None
    """Of a reply whose first clause is not complete."""
    _paused: bool = attrs.field(default=False, init=False)

    @property
    def pauses(self) -> bool:
        """The first stretch is complete, and it is not known whether it was the last: its answer is to be left."""
        return self._paused and not self.reader.finished

    @property
    def finished(self) -> bool:
        """The model has come to its end: what is asked for after that would not be of this reply."""
        return self.reader.finished

    @property
    def begun(self) -> bool:
        """Some of it was written."""
        return bool(self.reader.wrote)

    def take(self, piece: Piece) -> None:
        """A piece of the reply has come."""
        if self._first is None:
            return
        if not isinstance(piece, str):
            self._first = ClauseCutter()
        elif self._first.feed(piece):
            self._first, self._paused = None, True

    def go_on(self) -> None:
        """More is wanted, of another answer: the one before was left, in a pause or anywhere else."""
        self._paused = False
        self.reader.go_on()

    def asked(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The request for the next stretch, made of that for the whole reply.

        What was written is read as the tokens that it was written in: a model writes words as it reads them, and part
        of a word too (each neighbour of a token's in a text that is split canonically is one there too).
        """
        if not (wrote := mended(self.reader.wrote)):
            return dict(whole)
        left = max(1, self.reader.most_tokens - self.reader.tokens)
        return {**whole, "prompt": whole["prompt"] + wrote, "max_tokens": left}
