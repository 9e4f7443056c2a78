"""Reading Markdown that is still being written, for the ear: its markup goes, its structure becomes breaks. Pure.

A parser of CommonMark wants the whole document; speech wants the first clause while the rest is being written. So this
reads on as soon as what a character means is certain, and looks ahead no further than a bound. What a symbol means is
decided as CommonMark does (which runs can open or close emphasis; `_` within a word is none), with one difference:
where it would take a symbol for markup that a person would have written for itself ("*97", "# to confirm"), it stays.

Source: https://spec.commonmark.org/0.31.2/ (6.2 emphasis, 6.1 code spans, 6.3 links, 4 and 5 blocks), and
https://github.github.com/gfm/ for tables, task lists and strikethrough.
"""

import html
import re

import attrs

BREAK = "\n"
"""Stands in what is read where a block, a list's item, a table's row or a line ends."""
LOOK_AHEAD = 120
"""Characters within which emphasis that might be none is looked for its end; a code span too."""
LONGEST_LABEL = 300
LONGEST_URL = 2000
LONGEST_TAG = 220
LONGEST_PREFIX = 80
"""Characters that a line's markers may have."""

_PLAIN = re.compile(r"[^\n*_~`\[!<\\&|【]+")
_PREFIX = re.compile(r"[ \t>#*+\-_=|~`:.)•‣◦▪·–—\d]*")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_RULE = re.compile(r"[ \t]*([*\-_=~])(?:[ \t]*\1)+[ \t]*")
_DELIMITER_ROW = re.compile(r"[ \t]*(?=[^|]*\|)(?=[^-]*-)[|:\- \t]+")
_QUOTE = re.compile(r"[ \t]*>(?![\d=])[ \t]?")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+")
_BULLET = re.compile(r"[ \t]*([-*+•‣◦▪·–—])[ \t]+")
_ORDERED = re.compile(r"[ \t]*(\d{1,3})[.)][ \t]+")
_ROW = re.compile(r"[ \t]*\|")
_KEYS = re.compile(r"[\d*#]+")
_WHOLLY_EMPHASISED = re.compile(r"(\*+)\d+\1")
_AUTOLINK = re.compile(r"<(?:mailto:|tel:)?([a-z][a-z0-9+.-]*://[^\s<>]+|[^\s<>@]+@[^\s<>]+|(?<=tel:)[^\s<>]+)>", re.I)
_TAG = re.compile(r"</?([a-zA-Z][\w:-]*)(?:\s[^<>]*)?/?>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_BEGUN = re.compile(r"&[#A-Za-z0-9]{0,32}\Z")
_DEFINITION = re.compile(r":[ \t]*(?:<|[a-z]+://|www\.|/|#)")
_SOURCE = re.compile(r"【\d[^】\n]{0,60}】")
_BREAKING = re.compile("br|p|li|tr|div|ul|ol|table|hr|h[1-6]|blockquote|section")
_SILENT = re.compile(
    "a|abbr|b|big|cite|code|del|em|font|i|img|ins|kbd|mark|pre|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
    "|thead|tbody|tfoot|details|summary|speak|break|emphasis|prosody|say-as|phoneme|voice|audio|lang|w"
)
_CELLS = frozenset({"td", "th"})

# Pictures: U+1F000 to U+1FAFF with flags and skin tones, the dingbats and other signs that telephones draw in colour,
# and what modifies them. https://www.unicode.org/reports/tr51/
EMOJI = re.compile(
    "[\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f16c-\U0001f171\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a"
    "\U0001f1e6-\U0001f1ff\U0001f201-\U0001faff\u2600-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u231a\u231b\u2328\u23cf"
    "\u23e9-\u23f3\u23f8-\u23fa\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u3030\u303d\u3297\u3299\U000e0020-\U000e007f]"
)
MODIFIERS = "\ufe0e\ufe0f\u20e3\u200d"
_JOINER = "\u200d"
_INVISIBLE = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2060\ufeff]")


@attrs.define
class MarkdownReader:
    """Feed it Markdown as it comes; it gives the text without markup as soon as that is certain.

    White space is single spaces, and BREAK where something ends. How the text was cut on its way makes no difference.
    """

    _raw: str = attrs.field(default="", init=False)
    _at: int = attrs.field(default=0, init=False)
    _final: bool = attrs.field(default=False, init=False)
    _out: list[str] = attrs.field(factory=list, init=False)
    _last: str = attrs.field(default=BREAK, init=False)
    """The last character that was given."""
    _before: str = attrs.field(default=BREAK, init=False)
    """The last character that was read."""
    _line_begins: bool = attrs.field(default=True, init=False)
    _newlines: int = attrs.field(default=0, init=False)
    _hard: bool = attrs.field(default=False, init=False)
    """The line before it ends in a break, whatever follows."""
    _fence: str = attrs.field(default="", init=False)
    """What closes the code block that is being read; empty outside of one."""
    _in_row: bool = attrs.field(default=False, init=False)
    _spaced: bool = attrs.field(default=False, init=False)
    """A space is due, in a table's row, where one may stand before the end of a cell."""
    _keys: bool = attrs.field(default=False, init=False)
    """A line has begun with a lone #, which was the telephone's key: a lone * is, too."""
    _open: dict[str, int] = attrs.field(factory=dict, init=False)
    """Of each symbol, how many have opened emphasis and not closed it."""
    _pictured: bool = attrs.field(default=False, init=False)
    """The last character that was read was a part of an emoji."""

    def feed(self, delta: str) -> str:
        """Take the next piece; gives the text that is certain now."""
        self._raw = self._raw[self._at :] + delta
        self._at = 0
        while self._at < len(self._raw) and self._step():
            pass
        given, self._out = "".join(self._out), []
        return given

    def flush(self) -> str:
        """The rest, at the end of the text; the next text begins anew."""
        self._final = True
        given = self.feed("")
        self.__init__()  # type: ignore[misc]
        return given

    def _step(self) -> bool:
        """Read on; false where what comes next must be known first."""
        if self._line_begins:
            return self._read_code_line() if self._fence else self._begin_line()
        if found := _PLAIN.match(self._raw, self._at):
            self._give(found.group())
            return self._read_to(found.end())
        if self._fence and self._raw[self._at] != "\n":
            self._give(self._raw[self._at])
            return self._read_to(self._at + 1)
        match self._raw[self._at]:
            case "\n":
                self._newlines, self._line_begins = 1, True
                self._hard, self._in_row = self._in_row or bool(self._fence), False
                return self._read_to(self._at + 1)
            case "*" | "_" | "~":
                return self._emphasis()
            case "`":
                return self._code_span()
            case "[" | "!":
                return self._link()
            case "<":
                return self._angle()
            case "\\":
                return self._escape()
            case "&":
                return self._entity()
            case "|":
                return self._cell()
            case _:
                return self._source()

    # --- giving

    def _give(self, text: str) -> None:
        for character in text.replace("\t", " "):
            if character in MODIFIERS and (character != _JOINER or self._pictured):
                continue
            if EMOJI.match(character):
                self._pictured = True
            elif character.isspace() and character != "\u2028":
                self._separate(" ")
            elif not _INVISIBLE.match(character):
                if self._pictured and character.isalnum() and self._last.isalnum():
                    self._separate(" ")
                self._pictured = False
                self._put(character)

    def _separate(self, separator: str) -> None:
        if separator == " " and self._in_row:
            self._spaced = True
        elif self._last not in (BREAK, separator):
            self._put(separator)

    def _put(self, character: str) -> None:
        if self._spaced and character not in ",\n" and self._last not in (BREAK, " "):
            self._out.append(" ")
        self._spaced = False
        self._out.append(character)
        self._last = character

    def _read_to(self, at: int) -> bool:
        self._before = self._raw[at - 1]
        self._at = at
        return True

    def _ahead(self, at: int) -> str | None:
        """The character there; "" behind the end of the text, None where it is not known yet."""
        if at < len(self._raw):
            return self._raw[at]
        return "" if self._final else None

    def _window(self, start: int, length: int, stop: str) -> tuple[str, bool]:
        """What is known of the text from `start` up to a `stop`, of at most `length`; and whether that is all of it."""
        seen = self._raw[start : start + length]
        if (end := seen.find(stop)) >= 0:
            return seen[:end], True
        return seen, self._final or len(seen) == length

    # --- lines

    def _begin_line(self) -> bool:
        raw = self._raw
        end = _PREFIX.match(raw, self._at, self._at + LONGEST_PREFIX).end()  # type: ignore[union-attr]
        following = self._ahead(end)
        if following == "\n" and not raw[self._at : end].strip():
            self._newlines += 1
            self._open.clear()
            self._separate(BREAK)
            return self._read_to(end + 1)
        if following is None and end - self._at < LONGEST_PREFIX:
            return False
        if fence := _FENCE.match(raw, self._at, end):
            return self._open_fence(fence)
        if not following or following == "\n":
            for drawn in (_RULE, _DELIMITER_ROW):
                if drawn.fullmatch(raw, self._at, end):
                    self._hard = True
                    return self._read_to(end)
        at, marked = self._markers(end, following or "")
        self._end_line(marked, self._ahead(at) or "")
        if number := _ORDERED.fullmatch(raw, self._at, at):
            self._give(f"{number[1]}. ")
        self._line_begins = False
        if at > self._at:
            self._read_to(at)
            self._before = " "
        return True

    def _markers(self, end: int, following: str) -> tuple[int, bool]:
        """Where the words of a line begin behind its markers, and whether it has any."""
        raw, at = self._raw, self._at
        while quote := _QUOTE.match(raw, at, end):
            at = quote.end()
        if heading := _HEADING.match(raw, at, end):
            alone = heading.group().strip() == "#"
            if alone and (heading.end() < end or following.islower() or not following):
                self._keys = True
                return at, True
            return heading.end(), True
        if bullet := _BULLET.match(raw, at, end):
            if bullet[1] == "*" and self._keys:
                return at, True
            at = bullet.end()
            self._keys = self._keys or raw.startswith("# ", at)
            return at, True
        if ordered := _ORDERED.match(raw, at, end):
            return (ordered.end() if at == self._at else at), True
        if row := _ROW.match(raw, at, end):
            self._in_row = True
            return row.end(), True
        return at, at > self._at and bool(raw[self._at : at].strip())

    def _end_line(self, marked: bool, following: str) -> None:
        """Separate a line from the one before it: one that goes on in lower case is the same sentence."""
        if self._hard or marked or self._newlines != 1 or not (following.islower() or self._last == ","):
            if self._newlines:
                self._separate(BREAK)
        elif self._last in ".!?:;":
            self._separate(BREAK)
        else:
            self._separate(" ")
        if marked:
            self._open.clear()
        self._newlines, self._hard = 0, False

    def _open_fence(self, fence: re.Match[str]) -> bool:
        info, whole = self._window(fence.end(), LOOK_AHEAD, "\n")
        if not whole:
            return False
        if fence[1][0] == "`" and "`" in info:  # a code span of three
            self._end_line(False, "")
            self._line_begins = False
            return True
        self._separate(BREAK)
        self._fence = fence[1]
        self._newlines, self._hard = 0, True
        return self._read_to(min(fence.end() + len(info) + 1, len(self._raw)))

    def _read_code_line(self) -> bool:
        line, whole = self._window(self._at, LONGEST_LABEL, "\n")
        fence = line.strip()
        if not fence.strip(self._fence[0]):
            if not whole:
                return False
            if len(fence) >= len(self._fence):
                self._fence = ""
            self._hard = True
            self._newlines = 1
            return self._read_to(min(self._at + len(line) + 1, len(self._raw)))
        self._separate(BREAK)
        self._line_begins = False
        return True

    def _cell(self) -> bool:
        end = self._at + 1
        while (following := self._ahead(end)) in (" ", "\t"):
            end += 1
        if following is None:
            return False
        if self._in_row:
            if following not in ("", "\n", "|") and self._last not in (BREAK, ","):
                self._give(", ")
            return self._read_to(end)
        self._give("," if self._before == " " and end > self._at + 1 else "|")
        return self._read_to(self._at + 1)

    # --- within a line

    def _emphasis(self) -> bool:
        symbol, end = self._raw[self._at], self._at + 1
        while self._ahead(end) == symbol:
            end += 1
        following = self._ahead(end)
        if following is None:
            return False
        run = end - self._at
        markup = self._is_markup(symbol, run, end, following)
        if markup is None:
            return False
        if not markup:
            self._give(symbol * run)
        return self._read_to(end)

    def _is_markup(self, symbol: str, run: int, end: int, following: str) -> bool | None:
        """Whether a run of symbols is markup; None where that cannot be told yet."""
        before = self._before
        if following in MODIFIERS and following:
            return False  # a key of the telephone, drawn
        if symbol == "~" and run != 2:
            return False
        opens = bool(following) and not following.isspace() and following not in ".,;:!?)]}"
        opens = opens and (following.isalnum() or _is_punctuation(following)) and not before.isalnum()
        closes = not before.isspace() and bool(before)
        if symbol == "_" and before.isalnum() and following.isalnum():
            return False
        if closes and self._open.get(symbol) and not (symbol == "*" and opens and before in "([\"'"):
            self._open[symbol] = max(self._open[symbol] - run, 0)
            return True
        if symbol == "*" and before.isalpha() and following.isalpha():  # within a word
            opens = True
        if not opens:
            return False
        if symbol == "_" or following.isdigit() or following == "#" or before.isalnum():
            certain = self._closes_later(symbol, run, end)
            if not certain:
                return certain
        self._open[symbol] = self._open.get(symbol, 0) + run
        return True

    def _closes_later(self, symbol: str, run: int, end: int) -> bool | None:
        """Whether emphasis that begins here ends in this line, soon; None where that cannot be told yet."""
        seen, whole = self._window(self._at, LOOK_AHEAD, "\n")
        keys = _KEYS.match(seen)
        if keys and keys.end() == len(seen) and not whole:
            return None
        ends = keys and (keys.end() == len(seen) or seen[keys.end()] in " \t.,;:!?)\"'")
        if keys and ends and not keys.group()[run:].isdigit():
            return bool(_WHOLLY_EMPHASISED.fullmatch(keys.group()))
        closing = re.compile(rf"(?<![\s{re.escape(symbol)}]){re.escape(symbol)}{{{run}}}(?!\w)")
        inner = seen[end - self._at :]
        for found in closing.finditer(inner):
            if found.end() < len(inner) or whole:
                return True
        return False if whole else None

    def _code_span(self) -> bool:
        end = self._at
        while self._ahead(end) == "`":
            end += 1
        if self._ahead(end) is None:
            return False
        ticks = end - self._at
        seen, whole = self._window(end, LOOK_AHEAD * 2, "\n\n" if ticks > 1 else "\n")
        closing = re.compile(rf"(?<!`)`{{{ticks}}}(?!`)")
        if (found := closing.search(seen)) and (found.end() < len(seen) or whole):
            self._give(seen[: found.start()])
            return self._read_to(end + found.end())
        return self._read_to(end) if whole else False

    def _link(self) -> bool:
        image = self._raw[self._at] == "!"
        if image:
            following = self._ahead(self._at + 1) if not (self._before.isalnum() or self._before in "!?.)\"'") else ""
            if following is None:
                return False
            if following != "[":
                self._give("!")
                return self._read_to(self._at + 1)
        start = self._at + 1 + image
        label, closed = self._enclosed(start, "[", "]", LONGEST_LABEL, "\n\n")
        if label is None:
            if not closed:
                return False
            self._give("[")
            return self._read_to(start)
        return self._label(label, start, start + len(label) + 1)

    def _label(self, label: str, start: int, end: int) -> bool:
        """A label in brackets from `start`; what follows at `end` tells what it is."""
        following = self._ahead(end)
        if following is None:
            return False
        target = ""
        if following in ("(", "["):
            closing = ")" if following == "(" else "]"
            inside, closed = self._enclosed(end + 1, following, closing, LONGEST_URL, "\n")
            if inside is None and not closed:
                return False
            if inside is not None and (following == "[" or " " not in inside.strip() or '"' in inside):
                target, end = inside.strip() or "#", end + len(inside) + 2
        elif following == ":" and self._last == BREAK:
            line, whole = self._window(end, LONGEST_URL, "\n")
            if not whole:
                return False
            if _DEFINITION.match(line):
                return self._read_to(end + len(line))
        cited = label.isdigit() and not (self._before.isspace() or self._before in "([")
        ticked = label.strip().lower() in ("", "x") and self._last in (BREAK, "") and not target
        if not (label.startswith("^") or cited or ticked):
            words = read_markdown(label.strip("[]").rpartition("|")[2] if label.startswith("[") else label)
            self._give(words or target.split()[0] if target else words)
        return self._read_to(end)

    def _enclosed(self, start: int, opening: str, closing: str, limit: int, stop: str) -> tuple[str | None, bool]:
        """What stands between brackets from `start`, behind the opening one; None, and whether that is certain, where
        they are not closed."""
        seen, whole = self._window(start, limit, stop)
        depth = 1
        for index, character in enumerate(seen):
            depth += (character == opening) - (character == closing)
            if not depth:
                return seen[:index], True
        return None, whole

    def _angle(self) -> bool:
        following = self._ahead(self._at + 1)
        if following is None:
            return False
        if following.isalnum() or following in ("/", "!"):
            limit = LONGEST_URL if self._raw.startswith(("http", "mailto:"), self._at + 1) else LONGEST_TAG
            seen, whole = self._window(self._at, limit, "\n")
            end = seen.find(">")
            if end < 0 and not whole:
                return False
            if end > 0 and self._tag(seen[: end + 1]):
                return self._read_to(self._at + end + 1)
        self._give("<")
        return self._read_to(self._at + 1)

    def _tag(self, text: str) -> bool:
        """Read what stands between angle brackets, if it is anything known."""
        if link := _AUTOLINK.fullmatch(text):
            self._give(link[1])
        elif text.startswith("<!--"):
            pass
        elif tag := _TAG.fullmatch(text):
            name = tag[1].lower()
            if _BREAKING.fullmatch(name):
                self._separate(BREAK)
            elif name in _CELLS:
                self._give(" ")
            elif not _SILENT.fullmatch(name):
                self._give(text.strip("</>"))
        else:
            return False
        return True

    def _escape(self) -> bool:
        following = self._ahead(self._at + 1)
        if following is None:
            return False
        if following and following.isascii() and _is_punctuation(following):
            self._give(following)
            return self._read_to(self._at + 2)
        if following != "\n":
            self._give("\\")
        else:
            self._separate(BREAK)
        return self._read_to(self._at + 1)

    def _entity(self) -> bool:
        if found := _ENTITY.match(self._raw, self._at):
            self._give(html.unescape(found.group()))
            return self._read_to(found.end())
        if _ENTITY_BEGUN.match(self._raw, self._at) and not self._final:
            return False
        self._give("&")
        return self._read_to(self._at + 1)

    def _source(self) -> bool:
        """A mark by which models name the source of what they say."""
        seen, whole = self._window(self._at, 64, "\n")
        if found := _SOURCE.match(seen):
            return self._read_to(self._at + found.end())
        if "】" not in seen and not whole:
            return False
        self._give("【")
        return self._read_to(self._at + 1)


def read_markdown(text: str) -> str:
    """All of a text that stands within a line."""
    reader = MarkdownReader()
    reader._line_begins = False
    return (reader.feed(text) + reader.flush()).strip()


def _is_punctuation(character: str) -> bool:
    return not character.isalnum() and not character.isspace() and character.isprintable()
