"""Forms of English words that no ending explains: irregular verbs, adjectives and nouns.

Those of the small talk in `smalltalk`, and of common words that it may come to hold.
"""

from __future__ import annotations

_FORMS = """
awake awakes awoke awoken waken woke woken wake; bad badly worse worst; bear bore borne born;
become became; begin began begun; bend bent; bind bound; bite bit bitten; bleed bled;
blow blew blown; break broke broken; breath breathe; bring brought; build built; burn burnt;
burst; buy bought; catch caught; child children; choose chose chosen; cling clung; come came;
creep crept; deal dealt; decide decision; deep depth; die dies died dying dead death; dig dug;
draw drew drawn; dream dreamt; drink drank drunk; drive drove driven; dry dried drier;
eat ate eaten; expense expensive expend spend; fall fell fallen; far farther further farthest
furthest; feed fed; feel felt; fight fought; find found; flee fled; fling flung; fly flew flown
flies flight; foot feet; forget forgot forgotten; freeze froze frozen; get got gotten;
give gave given gift; go goes going went gone; good better best well; grind ground; grow grew grown
growth; half halves halved; hang hung; hear heard; hide hid hidden; high height; hold held;
hurt; keep kept; kneel knelt knee; knife knives; know knew known; late later latest last;
lay laid; lead led; leaf leaves; lean leant; leap leapt; learn learnt; leave left leaves;
lend lent; lie lay lain lying; life lives live living; light lit; little less least;
loaf loaves; long length; lose lost losing loss; low lower lowest; make made; man men; mean meant;
meet met; mistake mistook mistaken; mouse mice; old elder eldest; pay paid; person people;
potato potatoes; ride rode ridden; ring rang rung; rise rose risen; run ran; say said says;
see saw seen sight; sell sold sale; send sent; sew sewn; shake shook shaken; shelf shelves;
shine shone; shoot shot; show shown; shrink shrank shrunk; sing sang sung song; sink sank sunk;
sit sat; sleep slept asleep; slide slid; smell smelt; speak spoke spoken speech; speed sped;
spend spent; spill spilt; spin spun; spit spat; split; spoil spoilt; spread; spring sprang sprung;
stand stood; steal stole stolen; stick stuck; sting stung; stink stank stunk; strike struck;
string strung; strong strength; swear swore sworn; sweep swept; swell swollen; swim swam swum;
swing swung; take took taken; teach taught; tear tore torn; tell told; think thought;
thief thieves; three third thrice; throw threw thrown; tie ties tied tying; tooth teeth;
try tries tried; two twice; unravel unravelled; warm warmth; wear wore worn; weave wove woven;
weep wept; wide width; wife wives; win won; wind wound; wolf wolves; woman women;
write wrote written; unwind unwound
"""
_KIN: dict[str, frozenset[str]] = {}
for _group in _FORMS.split(";"):
    for _word in _group.split():
        _KIN[_word] = _KIN.get(_word, frozenset()).union(_group.split())


def forms(word: str) -> frozenset[str]:
    """A word in lower case, and its irregular forms."""
    return _KIN.get(word, frozenset()) | {word}
