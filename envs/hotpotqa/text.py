"""Words of a text, and which of them carry meaning."""

from __future__ import annotations

import html
import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Words of the closed classes only; whatever else a text says counts as content.
_FUNCTION_WORDS = """
    a an the this that these those some any each every both either neither all no not nor none
    i me my mine myself we us our ours ourselves you your yours yourself he him his himself she
    her hers herself it its itself they them their theirs themselves one ones
    who whom whose which what when where why how whether
    and or but so yet if then than because as while though although since until unless
    of in on at by for from to into onto with without within about above below under over
    between among through during before after against along across around near off out up down
    upon toward towards per via there here
    am is are was were be been being do does did doing done have has had having
    will would shall should can could may might must
    s t d ll ve re m im id ive dont doesnt didnt isnt arent wasnt werent
    too very also just only even still again more most much many such other another same own
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
# The longest first; what is left keeps at least three letters.
_ENDINGS = (
    "ations", "ation", "ings", "ments", "ment", "ness", "ally", "edly", "ies", "ied", "ing",
    "est", "ers", "ors", "ens", "ily", "ion", "ity", "es", "ed", "er", "or", "en", "ly", "al",
    "ic", "y", "s", "e",
)  # fmt: skip
_SHORT = re.compile(r"([aeiou][a-z]|[a-z][iy])(?:ed|er|ers|ing)")  # used, using, died, tying


def words(text: str) -> list[str]:
    """The words of a text in lower case, HTML entities resolved, possessive endings gone."""
    found = _WORD.findall(html.unescape(text).casefold().replace("’", "'"))
    return [word.removesuffix("'s").replace("'", "") for word in found]


@lru_cache(maxsize=2048)
def fold(text: str) -> str:
    """What two spellings of a title have in common."""
    return " ".join(words(text)) or text.strip()


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without its ending; rather too short than too long."""
    if short := _SHORT.fullmatch(word):
        return short[1] + "e"
    while True:
        ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= 3), None)
        if ending is None:
            break
        word = word.removesuffix(ending)
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@lru_cache(maxsize=2048)  # sentences are read again and again
def content_stems(text: str) -> frozenset[str]:
    """The stems of the words of a text that carry meaning."""
    return frozenset(stem(word) for word in words(text) if word not in STOP_WORDS)
