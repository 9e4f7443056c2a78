"""What a model writes for itself or for machines, and not for ears: taken out of its words, as they come. Pure.

Servers that know a model read its thoughts, tool calls and control tokens out of its text. Others, or those that were
started without the parser for it, hand all of it on as content:

* thoughts between tags: `<think>` (DeepSeek R1, Qwen 3), `<thinking>`, `<reasoning>`, `<seed:think>`, `[THINK]`
  (Magistral), `<|START_THINKING|>` (Cohere), `<|channel>thought` (Gemma 4). Templates that write the opening tag into
  the prompt leave the closing one alone in the reply (llama.cpp, vLLM, SGLang without a reasoning parser);
* harmony (gpt-oss): `<|channel|>analysis<|message|>...<|end|>`, and the answer in the channel `final`;
* tool calls as text: `<tool_call>` (Hermes, Qwen), `[TOOL_CALLS]` (Mistral), `<|python_tag|>` (Llama), `<function=`,
  `<｜tool▁calls▁begin｜>` (DeepSeek), `<|tool_calls_section_begin|>` (Kimi), `<|tool_call>` (Gemma 4);
* control tokens: `<|im_end|>`, `<|eot_id|>`, `</s>`; whatever a model writes behind the end of its turn is no reply.

Each form is a row of tests/field/test_model_privacy.py, with its source.
"""

import re
from collections.abc import Callable
from enum import Enum

import attrs

from agentd_providers.pipeline.stages import Withdrawal

LONGEST_NAME = 64
LONGEST_TAG = 256
"""Characters of a tag with its attributes: what is longer is none."""

THOUGHTS = frozenset(
    (
        *("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "think_intent", "seed:think"),
        *("antthinking", "reasoning_scratchpad", "scratchpad", "inner_monologue", "mm:think"),
    )
)
TOOLS = frozenset(
    (
        *("tool_call", "tool_calls", "toolcall", "function_call", "function_calls", "function", "invoke", "tool_use"),
        *("tool_code", "tool_response", "tool_result", "tool_results", "tool_output", "minimax:tool_call"),
        *("longcat_tool_call", "antml:function_calls", "antml:invoke", "dsml|function_calls", "use_mcp_tool"),
    )
)
FRAMES = frozenset(("answer", "final_answer", "pad", "unk", "bos", "s"))
"""Tags that go while what is between them stays."""
TURN_ENDS = frozenset(("end_of_turn", "eos", "end_of_utterance"))
TAGS = THOUGHTS | TOOLS | FRAMES | TURN_ENDS | {"start_of_turn"}

_CALL_ENDS = re.compile(r"(call|calls|action|function|plugin|section)_?end$|^end_?(action|tool|call|function)")
_CALL = re.compile(r"tool_?call|python_tag|function_?call|^plugin$|action_start|start_action|^tool_calls?")
_BRACKET = re.compile(r"\[(/?)(TOOL_CALLS|THINK|INST|TOOL_RESULTS|AVAILABLE_TOOLS)\]")
_BRACKET_TOOLS = frozenset(("[tool_calls", "[tool_results", "[available_tools"))
_BRACKETS = tuple(
    f"[{slash}{name}]"
    for slash in ("", "/")
    for name in ("TOOL_CALLS", "THINK", "INST", "TOOL_RESULTS", "AVAILABLE_TOOLS")
)
_WEDGES = ("◁think▷", "◁/think▷")
"""Kimi-VL's."""
_SPECIAL = re.compile(rf"<(/?)[|｜]([^<>\s]{{0,{LONGEST_NAME}}})>")
_SPECIAL_BEGUN = re.compile(rf"</?(?:[|｜][^<>\s]{{0,{LONGEST_NAME}}})?")
_TAG = re.compile(rf"<(/?)([A-Za-z][\w:.-]{{0,{LONGEST_NAME}}})(\|?)(?:[\s=/][^<>]{{0,{LONGEST_TAG}}})?>")
_TAG_BEGUN = re.compile(rf"</?(?:[A-Za-z][\w:.-]{{0,{LONGEST_NAME}}}\|?(?:[\s=/][^<>]{{0,{LONGEST_TAG}}})?)?")
_BEGINS = re.compile("[<[◁]")


class _In(Enum):
    """Where in a reply its next words are."""

    SPOKEN = "spoken"
    PRIVATE = "private, up to what closes it"
    HEADER = "in the header of a message or channel"
    BETWEEN = "behind the end of a message: nothing but another header begins one"
    OVER = "behind the end of the turn"


@attrs.frozen
class _Mark:
    """A marker: `name` in lower case, `slash` before it; `special` tells how its pipes stand."""

    name: str
    slash: bool = False
    special: str = ""


@attrs.define
class PrivateWords:
    """Takes one reply; gives what may be spoken of it. However the reply is cut into pieces, the words are the same.

    `waits`: this model is known to close thoughts that it has not opened. Its words are kept until it has, or has come
    to its end without.
    """

    waits: bool = False
    thought: bool = attrs.field(default=False, init=False)
    """It has had thoughts."""
    wrote_calls: bool = attrs.field(default=False, init=False)
    """It has written tool calls as text, which the server did not read."""
    unopened: bool = attrs.field(default=False, init=False)
    """It has closed thoughts that it had not opened, and words came before."""
    _held: str = attrs.field(default="", init=False)
    """The end of what came: it may be the beginning of a marker."""
    _kept: str = attrs.field(default="", init=False)
    """Words that wait for a closing tag."""
    _place: _In = attrs.field(default=_In.SPOKEN, init=False)
    _closes: Callable[[_Mark], bool] = attrs.field(default=lambda _mark: False, init=False)
    _header: str = attrs.field(default="", init=False)
    _header_lines: bool = attrs.field(default=False, init=False)
    """The header ends with its line."""
    _marked: bool = attrs.field(default=False, init=False)
    _opened: bool = attrs.field(default=False, init=False)
    _said: bool = attrs.field(default=False, init=False)
    _withdraws: bool = attrs.field(default=False, init=False)
    """What was said was a thought, as soon as something else is."""
    _out: list[str | Withdrawal] = attrs.field(factory=list, init=False)

    def feed(self, piece: str) -> list[str | Withdrawal]:
        """More of the reply."""
        text, self._held = self._held + piece, ""
        at = 0
        while at < len(text):
            begins = _BEGINS.search(text, at)
            if begins is None:
                self._words(text[at:])
                break
            self._words(text[at : begins.start()])
            at = begins.start()
            mark, length = _mark_at(text, at)
            if mark is not None:
                self._marker(mark)
                at += length
            elif length:  # it is not known yet
                self._held = text[at:]
                break
            else:
                self._words(text[at])
                at += 1
        return self._given()

    def end(self, *, complete: bool = True) -> list[str | Withdrawal]:
        """The reply has ended: the rest of it. Not `complete`: in mid-sentence, so that words which waited for the end
        of a thought were one."""
        held, self._held = self._held, ""
        self._words(held)
        if self.waits and complete:
            self.waits = False
            self._speak(self._kept)
        elif self.waits and self._kept.strip():
            self.thought = True
        self._kept = ""
        return self._given()

    def acts(self) -> list[str | Withdrawal]:
        """The model does something else than to speak: what was said before an unopened thought's end was one."""
        if self._withdraws:
            self._withdraw()
        return self._given()

    def _given(self) -> list[str | Withdrawal]:
        given, self._out = self._out, []
        return given

    def _words(self, words: str) -> None:
        if not words:
            return
        match self._place:
            case _In.SPOKEN:
                self._speak(words)
            case _In.PRIVATE:
                self.thought = self.thought or bool(words.strip())
            case _In.HEADER:
                line, end, rest = words.partition("\n")
                self._header = (self._header + line)[:LONGEST_TAG]
                if end and self._header_lines:
                    self._end_header()
                    self._words(rest)
                elif end:
                    self._header = (self._header + rest)[:LONGEST_TAG]
            case _In.BETWEEN | _In.OVER:
                pass

    def _speak(self, words: str) -> None:
        if self.waits:
            self._kept += words
            return
        if self._marked and not self._said:
            words = words.lstrip()
        if self._withdraws and (words := words.lstrip()):
            self._withdraw()
        if words:
            self._said = self._said or bool(words.strip())
            self._out.append(words)

    def _withdraw(self) -> None:
        self._withdraws = False
        self.unopened = self.thought = True
        self._out.append(Withdrawal())

    def _marker(self, mark: _Mark) -> None:
        if self._place is _In.PRIVATE:
            if self._closes(mark):
                self._place = _In.SPOKEN
            elif mark.special == "both" and mark.name in ("channel", "start", "im_start"):
                self._open_header(mark)
            elif mark.special and mark.name in ("end", "return", "call"):
                self._place = _In.BETWEEN
            return
        if self._place is _In.OVER:
            return
        self._marked = True
        if mark.special:
            self._special(mark)
        else:
            self._tag(mark)

    def _tag(self, mark: _Mark) -> None:
        if self._place is not _In.SPOKEN:
            return
        name = mark.name
        if name in THOUGHTS:
            if not mark.slash:
                self._open(lambda other: other.slash and other.name in THOUGHTS)
            elif self.waits:
                self._close_kept()
            elif not self._opened and self._said:
                self._withdraws = True
        elif (name in TOOLS or name in _BRACKET_TOOLS) and not mark.slash:
            self.wrote_calls = True
            self._private(lambda other: other.slash and other.name == name)
        elif name == "start_of_turn":
            self._open_header(mark)
        elif name in TURN_ENDS or (name == "s" and mark.slash):
            self._place = _In.OVER

    def _special(self, mark: _Mark) -> None:
        name = mark.name
        if name in ("channel", "start", "im_start", "start_header_id", "turn", "start_of_role") and (
            mark.special != "right"
        ):
            self._open_header(mark)
        elif name in ("message", "end_header_id", "im_sep", "end_of_role"):
            if self._place is _In.HEADER:
                self._end_header()
        elif self._place is _In.HEADER:
            pass
        elif (
            name in ("user", "system", "observation", "human", "message_sep")
            or name in _TOKEN_ENDS
            or (name == "turn" and mark.special == "right")
        ):
            self._place = _In.OVER
        elif name in ("end", "return", "call"):
            self._place = _In.BETWEEN
        elif name == "assistant":
            self._place = _In.SPOKEN
        elif self._place is not _In.SPOKEN:
            pass
        elif name in ("start_thinking", "begin_of_thought", "think", "thinking_start"):
            self._open(lambda other: other.name in _THOUGHT_ENDS or (other.slash and other.name == "think"))
        elif name in _THOUGHT_ENDS:
            if self.waits:
                self._close_kept()
            elif not self._opened and self._said:
                self._withdraws = True
        elif _CALL.search(name) and not mark.slash and not _CALL_ENDS.search(name) and mark.special != "right":
            self.wrote_calls = True
            self._private(
                lambda other: (
                    (
                        bool(other.special)
                        and bool(
                            _CALL_ENDS.search(other.name) or (_CALL.search(other.name) and other.special == "right")
                        )
                    )
                    or (other.slash and bool(_CALL.search(other.name)))
                )
            )

    def _open(self, closes: Callable[[_Mark], bool]) -> None:
        """Thoughts begin."""
        self._opened = True
        if self.waits:  # this time it opens them: what came before was said
            self.waits = False
            kept, self._kept = self._kept, ""
            self._speak(kept)
        self._private(closes)

    def _close_kept(self) -> None:
        self.waits = False
        self.thought = self.thought or bool(self._kept.strip())
        self.unopened = True
        self._kept = ""

    def _private(self, closes: Callable[[_Mark], bool]) -> None:
        self._place, self._closes = _In.PRIVATE, closes

    def _open_header(self, mark: _Mark) -> None:
        self._place, self._header = _In.HEADER, f"{mark.name} " if mark.name == "channel" else ""
        self._header_lines = mark.special == "left" or mark.name in ("im_start", "start_of_turn")

    def _end_header(self) -> None:
        said = self._header.lower().split()
        channel = said[1] if said[:1] == ["channel"] and len(said) > 1 else ""
        self._marked = True
        if said[:1] == ["channel"]:
            if channel.startswith(("final", "response")):
                self._place = _In.SPOKEN
                return
            self.wrote_calls = self.wrote_calls or any(word.startswith("to=") for word in said)
            self._opened = True
            gemma = self._header_lines
            self._private(
                lambda other: gemma and bool(other.special) and other.name == "channel" and other.special == "right"
            )
        elif said[:1] and said[0] not in ("assistant", "model"):
            self._place = _In.OVER
        else:
            self._place = _In.SPOKEN


_TOKEN_ENDS = frozenset(
    (
        *("im_end", "eot_id", "eom_id", "endoftext", "end_of_text", "eot", "eos", "end_of_sentence", "end_of_turn"),
        *("endofprompt", "eos_token", "eod", "turn_end", "end_of_turn_token"),
    )
)
_THOUGHT_ENDS = frozenset(("end_thinking", "end_of_thought", "thinking_end"))


def _mark_at(text: str, at: int) -> tuple[_Mark | None, int]:
    """The marker that begins here, with its length. Where there is none: 0; where it is not known yet: more than 0."""
    if text[at] == "[":
        if found := _BRACKET.match(text, at):
            name = "think" if found[2] == "THINK" else f"[{found[2].lower()}"
            return _Mark(name, bool(found[1])), len(found[0])
        return None, int(any(known.startswith(text[at:]) for known in _BRACKETS))
    if text[at] == "◁":
        for known in _WEDGES:
            if text.startswith(known, at):
                return _Mark("think", "/" in known), len(known)
        return None, int(any(known.startswith(text[at:]) for known in _WEDGES))
    if found := _SPECIAL.match(text, at):
        inner = found[2]
        right = inner.endswith(("|", "｜"))
        name = inner.rstrip("|｜").lower().replace("▁", "_").replace("｜", "|")
        return _Mark(name, bool(found[1]), "both" if right else "left"), len(found[0])
    if found := _TAG.match(text, at):
        name = found[2].lower()
        if found[3]:
            return _Mark(name, bool(found[1]), "right"), len(found[0])
        return (_Mark(name, bool(found[1])), len(found[0])) if name in TAGS else (None, 0)
    begun = max(found.end() for pattern in (_SPECIAL_BEGUN, _TAG_BEGUN) if (found := pattern.match(text, at)))
    return None, int(begun == len(text))
