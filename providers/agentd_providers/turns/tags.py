"""What a speech engine writes about a sound in place of words: `[Beep]`, `(music)`, `*coughs*`, `♪`, `<unk>`. Pure.

A tag is what stands in the form of one: nobody speaks brackets, and who says "bracket" has the word written. Square,
curly and angle brackets and notes are never speech. Round ones and asterisks stand in what people say, too, as in "*97"
and "(555) 0123": there a tag is what names a sound, or a transcript that has nothing else.

Sources: https://github.com/ggml-org/whisper.cpp/issues/2363 and 2420 (`[ Silence ]`, `(plastic crinkling)`),
https://github.com/bugbakery/transcribee/issues/25 (`*Musik*`), https://github.com/openai/whisper tokenizer.py (notes,
`<|nospeech|>`), Kaldi and Vosk (`<unk>`, `[noise]`), CMU Sphinx (`++COUGH++`), IBM Watson (`%HESITATION`).
"""

import re

LONGEST = 200
"""Characters within brackets that are one tag: what is longer was not written as one."""
ROUNDS = 4
"""How deep tags may stand within tags."""

_NEVER_SPEECH = re.compile(
    rf"""
      [\[［【](?:[^\[\]［］【】]{{0,{LONGEST}}}[\]］】]|[^\[\]［］【】]{{0,{LONGEST}}}$)   # [Beep], [Bee
    | \{{[^{{}}]{{0,{LONGEST}}}\}}                             # {{laugh}}
    | <[|/]?[^\W\d_][^<>]{{0,{LONGEST}}}>                      # <unk>, <|nospeech|>, </s>
    | [♪♫♩♬🎵🎶][^♪♫♩♬🎵🎶]{{0,{LONGEST}}}[♪♫♩♬🎵🎶]            # a song, as it is subtitled
    | [♪♫♩♬🎵🎶]
    | (?<!\S)\+\+[^\W\d]+\+\+(?!\S)                            # ++COUGH++
    | (?<!\S)[%!~][A-Z_]{{2,}}(?!\w)                           # %HESITATION, !SIL, ~NS
    """,
    re.VERBOSE,
)
_MAYBE_SPEECH = re.compile(
    rf"[(（]([^()（）]{{0,{LONGEST}}})[)）]|(?<![\w*])\*{{1,2}}\s?([^\W\d][^*\n]{{0,{LONGEST}}})\*{{1,2}}(?![\w*])"
)
_SOUND = re.compile(
    r"""\b(?:
      musi[ckq]\w*|m[úu]sica|muziek|muzyka|музык\w*|singing|silence|stille|schweigen|silencio|silêncio|тишина|
      blank|no\ (?:audio|speech|sound)|inaudible|unintelligible|unverst[äa]ndlich|indistinct|crosstalk|
      foreign\ language|mumbl\w+|murmur\w*|whisper(?:s|ing)|laugh\w*|lacht|lachen|gel[äa]chter|rires|risas|risos|
      chuckl\w+|giggl\w+|applau\w*|aplausos|cheering|clapping|klatschen|cough\w*|hust\w+|toux|clear\w*\ throat|
      r[äa]usper\w*|sighs?|sighing|seufzt|seufzen|inhal\w+|exhal\w+|gasp\w*|snif\w+|sneez\w+|snor\w+|yawns?|yawning|
      groan\w*|grunt\w*|moan\w*|scream\w*|sob(?:s|bing)|crying|humming|whistl\w+|
      (?:background|line|wind)?\ ?noise|ger[äa]usch\w*|rauschen|ruido|ruído|bruit|static|beep\w*|piept|piepen|buzzing|
      hissing|barking|chirping|typing|rustl\w+|crinkl\w+|crunch\w*|crackl\w+|creak\w+|footsteps
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Sounds as subtitles name them, and few speakers do: what else stands in round brackets beside words is words."""
MOST_WORDS = 4
"""Words that name a sound."""


def without_tags(text: str) -> str:
    """The words of a transcript, without what stands in the form of a tag; empty where there are none.

    Punctuation alone is no word either. Whitespace becomes single spaces where something is left out.
    """
    if not text or text.isalnum():
        return text
    kept = text
    for _ in range(ROUNDS):
        kept, found = _NEVER_SPEECH.subn(" ", kept)
        if not found:
            break
    for _ in range(ROUNDS):
        named = _MAYBE_SPEECH.sub(_sound_left_out, kept)
        if named == kept:
            break
        kept = named
    if not _has_words(kept) or not _has_words(_MAYBE_SPEECH.sub(_left_out_without_digits, kept)):
        return ""
    return kept if kept == text else " ".join(kept.split())


def _sound_left_out(found: re.Match[str]) -> str:
    named = found[1] or found[2] or ""
    return " " if len(named.split()) <= MOST_WORDS and _SOUND.search(named) else found[0]


def _left_out_without_digits(found: re.Match[str]) -> str:
    return found[0] if any(letter.isdigit() for letter in found[0]) else " "


def _has_words(text: str) -> bool:
    return any(letter.isalnum() for letter in text)
