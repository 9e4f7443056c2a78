"""The record of a call: what an agentd that was started again needs to go on with it. Pure: bytes in, objects out.

It holds what was said and heard, so it may lie in memory only (see agentd.service.record_files), and it is somebody
else's until it is read: whoever could write to the directory may have put anything there. So a file is JSON of a
bounded length, and each field is taken only as what it has to be; one that is anything else refuses the whole of it.

What the caller pressed may be a number that is nobody's to keep: of an entry of more than `KEPT_KEYS` keys just their
count is written down.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from agentd.conversation.commands import Destination
from agentd.history import MOST_TEXT, Sealed, Speaker, ToolUse, Turn
from agentd.media.wideband import NARROW, WIDE
from agentd.parsing import load_json, mended
from agentd.party import Party

KIND: Final = "agentd call record"
VERSION: Final = 1
MOST_BYTES: Final = 128 * 1024
"""Of one record. Of a history that is longer the oldest turns are left out, as a model's prompt would."""
MOST_NAME: Final = 512
"""Characters of a name: an agent's, a channel's, a place's in the dialplan."""
LATEST: Final = 1e12
"""Seconds since 1970 that are no time any more, and too many for a sum with another time to be one."""
MOST_FEW: Final = 64
"""Entries of a list that is always short."""
KEPT_KEYS: Final = 2
"""Keys of one entry that are a choice in a menu, and no secret."""
_PRESSED: Final = re.compile(r"\(pressed ((?:[0-9A-D*#] ?)+)\)")
"""How an entry of keys stands in the caller's words (agentd_providers.pipeline.session)."""


WrittenTurns = dict[tuple[Speaker, str, str, int, ToolUse | None], bytes]
"""Turns as they were written down, by what they are."""


class RecordRefused(Exception):
    """A file is no record that can be gone on with; the message says why, and quotes nothing of it."""


@attrs.frozen
class WayBack:
    """Where a caller goes on in the dialplan who has taken another's place; `fallback` is the AGENTD_FALLBACK."""

    place: Destination
    fallback: str


@attrs.frozen
class Stay:
    """The caller's stay in the application. `arguments` are those of Stasis()."""

    channel: str
    arguments: tuple[str, ...] = ()
    extension: str = ""
    way_back: WayBack | None = None


@attrs.frozen
class Course:
    """The part of a call that is the same from its begin to its end, whichever agentd serves it. See CallRecord."""

    agent: str
    transport: str
    began: float
    adoptions: int = 0
    adopted_at: float = 0.0


@attrs.frozen
class ToolAtWork:
    """A tool that had not come to its end: whether it did what it was asked for, nobody knows."""

    name: str
    arguments: str


@attrs.frozen
class CallRecord:
    """One call as it stood at a moment. Times are seconds since 1970, for no other clock outlives a process.

    `serving` is the agent that served it, `agent` the one whose call it is. `caller_spoke`: the caller was in the
    middle of a turn; `agent_spoke`: the agent was in the middle of an answer, and the last of `turns` has what was
    heard of it; `answer_due`: the caller waited for one; `repeat` are words that were being said and are no answer, as
    a greeting. `playbacks` are those of Asterisk's that were under way. `adoptions`: how often an
    agentd has gone on with it without a minute of calm since `adopted_at`.
    """

    call_id: str
    stay: Stay
    agent: str
    serving: str
    transport: str
    streaming: bool
    rate: int
    caller: Party
    began: float
    turns: tuple[Turn, ...] = ()
    caller_spoke: bool = False
    agent_spoke: bool = False
    answer_due: bool = False
    repeat: str = ""
    at_work: tuple[ToolAtWork, ...] = ()
    playbacks: tuple[str, ...] = ()
    adoptions: int = 0
    adopted_at: float = 0.0

    @property
    def cut(self) -> bool:
        """Whether something was cut: somebody's words, or what the caller waited for."""
        return self.caller_spoke or self.owed or bool(self.repeat)

    @property
    def owed(self) -> bool:
        """Whether the agent owes the caller an answer, or the rest of one."""
        return self.agent_spoke or self.answer_due or bool(self.at_work)


def to_bytes(record: CallRecord, known: WrittenTurns | None = None) -> bytes:
    """The file of a record: `MOST_BYTES` at most. Of turns that are `known` from the record before, what was written
    then is taken, and `known` has those of this one afterwards: of a long call all but the last are the same."""
    fields: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "call_id": record.call_id,
        "stay": _stay(record.stay),
        "agent": record.agent,
        "serving": record.serving,
        "transport": record.transport,
        "streaming": record.streaming,
        "rate": record.rate,
        "caller": [record.caller.number, record.caller.name],
        "began": record.began,
        "caller_spoke": record.caller_spoke,
        "agent_spoke": record.agent_spoke,
        "answer_due": record.answer_due,
        "repeat": mended(record.repeat),
        "at_work": [[tool.name, tool.arguments] for tool in record.at_work],
        "playbacks": list(record.playbacks),
        "adoptions": record.adoptions,
        "adopted_at": record.adopted_at,
    }
    head = _dump(fields)[:-1] + b',"turns":['
    room = MOST_BYTES - len(head) - len(b"]}")
    return head + b",".join(_newest(record.turns, room, {} if known is None else known)) + b"]}"


def from_bytes(data: bytes) -> CallRecord:
    """Read a file. Raises RecordRefused."""
    if len(data) > MOST_BYTES:
        raise RecordRefused(f"it is longer than {MOST_BYTES} bytes")
    try:
        fields = load_json(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RecordRefused("it is no JSON, or not all of it") from error
    if not isinstance(fields, dict) or fields.get("kind") != KIND:
        raise RecordRefused("it is no record of a call")
    if (version := fields.get("version")) != VERSION or isinstance(version, bool):
        raise RecordRefused(f"it is of another version of agentd; this one reads version {VERSION}")
    stay = _read_stay(_of("stay", fields.get("stay"), dict))
    number, name = _texts("caller", fields.get("caller"), exactly=2)
    return CallRecord(
        call_id=_name(fields, "call_id"),
        stay=stay,
        agent=_name(fields, "agent"),
        serving=_name(fields, "serving"),
        transport=_name(fields, "transport"),
        streaming=_flag(fields, "streaming"),
        rate=_rate(fields),
        caller=Party(number, name),
        began=_time(fields, "began"),
        turns=tuple(_read_turn(each) for each in _of("turns", fields.get("turns"), list)),
        caller_spoke=_flag(fields, "caller_spoke"),
        agent_spoke=_flag(fields, "agent_spoke"),
        answer_due=_flag(fields, "answer_due"),
        repeat=_text("repeat", fields.get("repeat"), MOST_TEXT),
        at_work=tuple(
            ToolAtWork(*_texts("at_work", each, exactly=2, most=MOST_BYTES)) for each in _few(fields, "at_work")
        ),
        playbacks=_texts("playbacks", _few(fields, "playbacks")),
        adoptions=_count(fields, "adoptions"),
        adopted_at=_time(fields, "adopted_at"),
    )


# --- writing


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _stay(stay: Stay) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "channel": stay.channel,
        "arguments": list(stay.arguments),
        "extension": stay.extension,
    }
    if (back := stay.way_back) is not None:
        fields["way_back"] = {
            "context": back.place.context,
            "extension": back.place.extension,
            "priority": back.place.priority,
            "fallback": back.fallback,
        }
    return fields


def _newest(turns: Sequence[Turn], room: int, known: WrittenTurns) -> list[bytes]:
    """The last turns that there is room for, written down, in their order."""
    kept: list[bytes] = []
    fresh: WrittenTurns = {}
    for turn in reversed(turns):
        what = (turn.speaker, turn.text, turn.generated, turn.utterance, turn.tool)
        written = known.get(what) or _dump(_turn(turn))
        fresh[what] = written
        if len(written) + 1 > room and turn.tool is not None and turn.tool.sealed is not None:
            written = _dump(_turn(attrs.evolve(turn, tool=attrs.evolve(turn.tool, sealed=None))))
        room -= len(written) + 1
        if room < 0:
            break
        kept.append(written)
    known.clear()
    known.update(fresh)
    return kept[::-1]


def _turn(turn: Turn) -> dict[str, Any]:
    if turn.tool is not None:
        fields: dict[str, Any] = {
            "tool": mended(turn.tool.name),
            "arguments": mended(turn.tool.arguments),
            "result": mended(turn.tool.result),
        }
        if (sealed := turn.tool.sealed) is not None:
            fields["sealed"] = [mended(part) for part in (sealed.server, sealed.reply, sealed.call, sealed.message)]
        return fields
    if turn.speaker is Speaker.CALLER:
        return {"caller": _without_keys(mended(turn.text))}
    return {"agent": mended(turn.text), "generated": mended(turn.generated), "utterance": turn.utterance}


def _without_keys(text: str) -> str:
    def counted(entry: re.Match[str]) -> str:
        keys = entry[1].split()
        return entry[0] if len(keys) <= KEPT_KEYS else f"(pressed {len(keys)} keys)"

    return _PRESSED.sub(counted, text)


# --- reading


def _no_number(constant: str) -> float:
    raise ValueError(constant)


def _of(name: str, value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise RecordRefused(f"its {name} is no {kind.__name__}")
    return value


def _text(name: str, value: object, most: int) -> str:
    text: str = _of(name, value, str)
    if len(text) > most:
        raise RecordRefused(f"its {name} is too long")
    return text


def _name(fields: Mapping[str, Any], name: str) -> str:
    if not (text := _text(name, fields.get(name), MOST_NAME)):
        raise RecordRefused(f"its {name} is empty")
    return text


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    flag: bool = _of(name, fields.get(name), bool)
    return flag


def _count(fields: Mapping[str, Any], name: str) -> int:
    count: int = _of(name, fields.get(name), int)
    if not 0 <= count < 1 << 31:
        raise RecordRefused(f"its {name} is out of all bounds")
    return count


def _rate(fields: Mapping[str, Any]) -> int:
    if (rate := _count(fields, "rate")) not in (NARROW, WIDE):
        raise RecordRefused("its rate is no line's")
    return rate


def _time(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < LATEST:
        raise RecordRefused(f"its {name} is no time")
    return float(value)


def _few(fields: Mapping[str, Any], name: str) -> list[Any]:
    few: list[Any] = _of(name, fields.get(name), list)
    if len(few) > MOST_FEW:
        raise RecordRefused(f"its {name} is too long")
    return few


def _texts(name: str, value: object, *, exactly: int | None = None, most: int = MOST_NAME) -> tuple[str, ...]:
    texts = tuple(_text(name, each, most) for each in _of(name, value, list))
    if exactly is not None and len(texts) != exactly:
        raise RecordRefused(f"its {name} is no list of {exactly}")
    return texts


def _read_stay(fields: Mapping[str, Any]) -> Stay:
    way_back = None
    if (back := fields.get("way_back")) is not None:
        _of("way_back", back, dict)
        place = Destination(_name(back, "context"), _name(back, "extension"), _count(back, "priority"))
        way_back = WayBack(place, _text("fallback", back.get("fallback"), MOST_NAME))
    arguments = _texts("arguments", _few(fields, "arguments"))
    return Stay(_name(fields, "channel"), arguments, _text("extension", fields.get("extension"), MOST_NAME), way_back)


def _read_turn(value: object) -> Turn:
    fields = _of("turn", value, dict)
    if "caller" in fields:
        return Turn(Speaker.CALLER, _text("turn", fields["caller"], MOST_TEXT))
    if "agent" in fields:
        text, generated = (_text("turn", fields.get(part), MOST_BYTES) for part in ("agent", "generated"))
        return Turn(Speaker.AGENT, text, generated, _count(fields, "utterance"))
    name, arguments, result = (_text("tool", fields.get(part), MOST_BYTES) for part in ("tool", "arguments", "result"))
    use = ToolUse(name, arguments, result)
    if (sealed := fields.get("sealed")) is not None:
        server, reply, call, message = _texts("sealed", sealed, exactly=4, most=MOST_BYTES)
        use = attrs.evolve(use, sealed=Sealed(server, reply, call, message))
    return Turn(Speaker.TOOL, "", tool=use)
