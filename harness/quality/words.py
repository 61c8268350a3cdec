"""Small closed lists of English words that the reading of sentences needs."""

from __future__ import annotations

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

_MONTHS = _listed("""january february march april may june july august september october november
december""")
MONTHS = {name[:3]: name for name in _MONTHS} | {"sept": "september"}

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
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
NUMBER_WORDS = frozenset(_UNITS) | frozenset(_TENS)  # that a number can begin with


def number_of(words: Sequence[str]) -> tuple[int | None, int]:
    """The number that begins a list of words in lower case, and of how many words it consists.

    `one` alone is a pronoun as often as a number and is not read as one; nor are ordinals.

    Returns:
        The value and the words used; (None, 0) where the list begins with no number.
    """
    total = current = used = 0
    for place, word in enumerate(words):
        if word in _UNITS and (not used or current % 10 == 0) and not 0 < current % 100 < 20:
            current += _UNITS[word]
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word == "hundred" and 0 < current < 10:
            current *= 100
        elif word in _SCALES and word != "hundred" and current:
            total, current = total + current * _SCALES[word], 0
        elif word == "and" and used and place + 1 < len(words) and words[place - 1] in _SCALES:
            if words[place + 1] not in _UNITS and words[place + 1] not in _TENS:
                break
            continue
        else:
            break
        used = place + 1
    value = total + current
    return (value, used) if used and (used > 1 or words[0] != "one") else (None, 0)
