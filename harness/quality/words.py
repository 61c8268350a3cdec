"""Small closed lists of English words that the reading of sentences needs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def _listed(words: str) -> list[str]:
    return words.split()


STOP_WORDS = frozenset(
    _listed("""
    a about above after again all also although am an and any are as at be because been before
    being below between both but by can could did do does doing down during each either else few
    for from further had has have having he her here hers him his how however i if in into is it
    its itself just later like may me might mine more most much must my near neither no nor not now
    of off on once one ones only onto or other our out over own per quite rather really same shall
    she should since so some still such than that the their theirs them then there these they
    this those though through thus till to too under until up upon us user very via was we were
    what when where whereas which while who whom whose why will with within without would yes yet
    you your yours isnt arent wasnt werent dont doesnt didnt hasnt havent hadnt wont wouldnt
    couldnt shouldnt cant cannot im ive id s t""")
)
NEGATIONS = frozenset(
    _listed("""
    no not never none nobody nothing nowhere neither nor cannot empty isnt arent wasnt werent
    dont doesnt didnt hasnt havent hadnt wont wouldnt couldnt shouldnt cant mustnt""")
)

_OPPOSITES = (
    "open closed", "opened closed", "born died", "before after", "north south east west",
    "northern southern eastern western", "hot cold", "clean dirty", "left right middle",
    "alive dead", "older younger", "oldest youngest", "larger smaller", "largest smallest",
    "longer shorter", "longest shortest", "higher lower", "highest lowest", "locked unlocked",
    "first second third fourth fifth sixth last", "won lost", "started ended", "began ended",
    "red blue green yellow black white grey gray brown purple orange pink",
    "mother father", "brother sister", "son daughter", "husband wife", "bought sold",
    "cooled heated", "cool heat",
)  # fmt: skip
CONTRASTS: dict[str, int] = {
    word: group for group, words in reversed(list(enumerate(_OPPOSITES))) for word in words.split()
}  # a word and the group in which only one can be meant

MONTH_NAMES = _listed("""january february march april may june july august september october
november december""")
MONTHS = {name[:3]: name for name in MONTH_NAMES} | {"sept": "september"}

# What a people is called where it is not the country's name with an ending.
DEMONYMS = dict(
    pair.split("-")
    for pair in _listed("""italian-italy polish-poland swedish-sweden french-france spanish-spain
    english-england british-britain greek-greece irish-ireland danish-denmark dutch-netherlands
    norwegian-norway turkish-turkey finnish-finland chinese-china welsh-wales scottish-scotland
    swiss-switzerland czech-czechia icelandic-iceland portuguese-portugal hungarian-hungary
    egyptian-egypt peruvian-peru chilean-chile thai-thailand brazilian-brazil""")
)

_UNITS = {
    word: value
    for value, word in enumerate(
        _listed("""
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
        fifteen sixteen seventeen eighteen nineteen""")
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        _listed("twenty thirty forty fifty sixty seventy eighty ninety"), 2
    )
}
SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_LATE = {  # ordinals that are read as numbers, as `20th` is; the first six are words
    word: value
    for value, word in enumerate(
        _listed("""seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
        sixteenth seventeenth eighteenth nineteenth twentieth"""),
        7,
    )
}
_EARLY = {
    word: value for value, word in enumerate(_listed("first second third fourth fifth sixth"), 1)
}
ORDINALS = {str(value): word for word, value in _EARLY.items()}
_AFTER_TENS = _EARLY | {word: value for word, value in _LATE.items() if value < 10}
NUMBER_WORDS = frozenset(_UNITS) | frozenset(_TENS) | frozenset(_LATE)  # a number can begin with


_ISO = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b", re.ASCII)


def with_dates(text: str) -> str:
    """A text with `3 March 1970` in place of `1970-03-03`."""
    return _ISO.sub(lambda d: f"{int(d[3])} {MONTH_NAMES[int(d[2]) - 1].title()} {d[1]}", text)


def canonical(digits: str) -> str:
    """`1,200` and `1200` are one number, and so are `3.50` and `3.5`."""
    groups = digits.split(",")
    if len(groups) > 1 and all(len(g.partition(".")[0]) == 3 for g in groups[1:]):
        digits = "".join(groups)
    ascii_digits = unicodedata.normalize("NFKC", digits)
    whole, dot, rest = ascii_digits.partition(".")
    rest = rest.rstrip("0") if "." not in rest else rest
    return (whole.lstrip("0") or "0") + (f".{rest}" if dot and rest else "")


def scaled(digits: str, scale: str) -> str:
    """`1.2` and `million` as `1200000`."""
    whole, _, part = digits.partition(".")
    zeros = len(str(SCALES[scale])) - 1
    if "." in part or len(part) > zeros:
        return digits
    return (whole + part.ljust(zeros, "0")).lstrip("0") or "0"


def number_of(words: Sequence[str]) -> tuple[int | None, int]:
    """The number that begins a list of words in lower case, and of how many words it consists.

    `one` alone is a pronoun as often as a number and is not read as one; nor are `first` to
    `sixth`, unless after tens (`twenty-first`). `nineteen twenty-three` is a year.

    Returns:
        The value and the words used; (None, 0) where the list begins with no number.
    """
    if words and words[0] in _LATE:
        return _LATE[words[0]], 1
    value, used = _cardinal(words)
    if value is None:
        return None, 0
    rest = words[used : used + 3]
    if used == 1 and rest and rest[0] in _AFTER_TENS and words[0] in _TENS:
        return value + _AFTER_TENS[rest[0]], 2
    if used == 1 and (15 <= value <= 20) and rest:
        skipped = rest[0] in ("oh", "o")
        more, also = _cardinal(rest[1:] if skipped else rest, years=True)
        if more is not None and (0 < more < 10 if skipped else 10 <= more < 100):
            return 100 * value + more, used + also + skipped
    return (value, used) if used > 1 or words[0] != "one" else (None, 0)


def _cardinal(words: Sequence[str], *, years: bool = False) -> tuple[int | None, int]:
    total = current = used = 0
    for place, word in enumerate(words):
        if word in _UNITS and (not used or current % 10 == 0) and not 0 < current % 100 < 20:
            current += _UNITS[word]
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word == "hundred" and (0 < current < 10 or 10 < current < 20) and not years:
            current *= 100
        elif word in SCALES and word != "hundred" and current and not years:
            total, current = total + current * SCALES[word], 0
        elif word == "and" and used and place + 1 < len(words) and words[place - 1] in SCALES:
            if words[place + 1] not in _UNITS and words[place + 1] not in _TENS:
                break
            continue
        else:
            break
        used = place + 1
    return (total + current, used) if used else (None, 0)
