"""What the observations of the text games say, as sentences that stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from .text import is_action, lines, sentences

MAX_LISTED = 60  # things of one list
_SEES = re.compile(r"^(?:(On|In) the (.{1,60}?)|In it), you see (.+?)\.?$")
_ARRIVES = re.compile(r"^You arrive at (?:the )?(.{1,60}?)\.$")
_IS_STATE = re.compile(r"^The ([a-z]+ \d+) is (open|closed|locked)\.$")
_AROUND = re.compile(r"^Looking quickly around you, you see (.+?)\.?$")
_TAKES = re.compile(r"^You pick up (?:the )?(.{1,60}?)(?: from .{1,60})?\.$")
_MOVES = re.compile(
    r"^You (?:move|put) the (.{1,60}?) (?:to|in|on|into|onto|in/on) the (.{1,60}?)\.$"
)
_TREATS = re.compile(r"^You (heat|cool|clean) the (.{1,60}?) (?:using|with) .{1,60}\.$")
_TURNS = re.compile(r"^You turn (on|off) the (.{1,60}?)\.$")
_CLOSES = re.compile(r"^You (open|close) the (.{1,60}?)\.$")
_NOW_STATE = re.compile(r"^The (.{1,60}?) is now (.{1,60}?)\.?$")
_CONTAINER = re.compile(
    r"(?:inventory|cabinet|cupboard|drawer|fridge|freezer|microwave|oven|safe|garbagecan|box"
    r"|laundryhamper|[a-z]*basin|sink|bathtub|toilet|jar|[a-z ]*(?:pot|cup|bowl|bucket))\b"
)
_TREATED = {"heat": "hot", "cool": "cool", "clean": "clean"}
_CARRYING = re.compile(r"^You (?:are carrying|carry):? (?:an? |the )?(.{1,60}?)\.$")

_ROOM = re.compile(r"^This room is called the (.{1,60}?)\.")
_OUTSIDE = re.compile(r"^This outside location is called the (.{1,60}?)\.")
_DOOR = re.compile(r"^[Aa] door to the (.{1,60}?) \(that is (open|closed)\)$")
_INSIDE = re.compile(r"(On|In) the (.{1,60}?) is: (.*)$")
_READS = re.compile(r"^a (.{1,60}?), currently reading (?:a temperature of )?(.{1,60}?)\.?$")

_SEEN = re.compile(
    r"(?:the )?((?:red|green|blue|purple|yellow|grey) (?:ball|box|key|door))(?: \d+)?"
    r"(?: \((open|closed|locked)\))?, "
)
_WALLS = re.compile(r"\bWalls: ")

_DELTA = re.compile(r"^(Now|No longer): (.+?)\.?$")
_GROUP = re.compile(r"^(.{1,2000}?) (are|contain|hold) (.{1,120})$")
_BEGIN = ("the", "you", "your", "what", "there", "level", "part")
_HELD = re.compile(r"^(.{1,60}? (?:contains|holds|have)) (.+ and .+)$")
_SIDES = re.compile(r"^(?:the )?left and right ([a-z]+)s$", re.IGNORECASE)
_MEMBER = re.compile(r"^(?:the )?(?:[a-z]+ )?[a-z]+\d*$")
_PLANNED = re.compile(r"\b(?:[a-z]+\d+|room[a-z]|(?:left|right) (?:hand|gripper)|your hand)\b")
_Say = Callable[[re.Match[str], str], Iterable[str]]  # of a sentence, and where one stands
_PLAN = re.compile(r"^(?:This is [a-z]+: |There are the .+;)")
_LEADS = re.compile(r"^(?:Observation|Obs): ")

FAILURE = re.compile(
    r"\bNothing happens\b|^That is (?:not an|no) action|^No known action|\bIt's not clear how"
    r"|\bis already (?:open|closed)|^You can(?:no|')t|\bis not written like an action"
    r"|\bambiguous request\b|^I don't understand|^There is no such action",
    re.IGNORECASE,
)
SUCCESS = re.compile(r"The goal is reached|The mission is accomplished|You won|Task completed")
MOVES = re.compile(r"^You (?:turn (?:left|right|around)|move (?!the )|go\b|arrive|are facing)")
NOISE = re.compile(
    r"^(?:You (?:turn|move|go|arrive|see no|are in the middle|focus|answered|toggle|decide to)\b"
    r"|Walls:|The goal is reached|The mission is accomplished|This is [a-z]+:"
    r"|There(?:'s| is) nothing special|You are facing|Next to it|Valid actions:"
    r"|The nearest is this one|Also similar:|No paragraph is titled|The open paragraph has)"
)


def facts(text: str) -> list[str] | None:
    """The facts of an observation of a game; None where the text is none.

    Things that are seen have a place, doors and hands a state. Where one arrives and which way one
    looks is left out, since it no longer holds a step later. Where one stands is kept only where
    the game states it among its facts, as PDDL's do: "You are in rooma."
    """
    found: list[str] = []
    known, here = False, ""
    room, planned = "", False
    for line in lines(text):
        line = _LEADS.sub("", line)
        entered = None if room else _ROOM.match(line) or _OUTSIDE.match(line)
        if entered:
            room, known = entered[1], True
            found += _room(room, text)
            continue
        if room or is_action(line):
            continue
        for sentence in sentences(line):
            if match := _ARRIVES.match(sentence) or _IS_STATE.match(sentence):
                here = match[1]
            told = _told(sentence, here, planned=planned)
            planned = planned or bool(_PLAN.match(sentence))
            if told is not None:
                known = True
                found += told
            elif NOISE.match(sentence) or FAILURE.search(sentence):
                known = True
    return list(dict.fromkeys(found)) if known else None


def _told(sentence: str, here: str, *, planned: bool) -> list[str] | None:
    """What one sentence says; None for one that is not known."""
    for pattern, say in _RULES:
        match = pattern.search(sentence)
        if match is not None:
            return list(say(match, here))
    if (
        (planned or _PLANNED.search(sentence))
        and len(sentence) < 2000
        and not NOISE.match(sentence)
    ):
        return list(_each(sentence.rstrip(".")))
    return None


def _things(listed: str) -> list[str]:
    """The things of “a bowl 1, and a mug 2”, without articles."""
    parts = re.split(r",? and (?=an? |the )|, (?:and )?", listed)
    bare = (re.sub(r"^(?:an?|the|some) ", "", part.strip()) for part in parts[:MAX_LISTED])
    return [thing for thing in bare if thing and thing != "nothing"]


def _sees(match: re.Match[str], here: str) -> Iterator[str]:
    place, side = (match[2], match[1].lower()) if match[2] else (here, "in")
    things = _things(match[3])
    if not place:
        yield from (f"There is a {thing}." for thing in things)
    elif not things:
        yield f"The {place} holds nothing."
    for thing in things if place else []:
        yield f"The {thing} is {side} the {place}."


def _view(match: re.Match[str], here: str) -> Iterator[str]:
    del here
    thing, state = match[1], match[2]
    yield f"The {thing} is {state}." if state else f"There is a {thing}."


def _views(match: re.Match[str], here: str) -> Iterator[str]:
    for seen in _SEEN.finditer(match[0]):
        yield from _view(seen, here)


def _delta(match: re.Match[str], here: str) -> Iterator[str]:
    del here
    prefix = "No longer: " if match[1] == "No longer" else ""
    for part in match[2].split("; "):
        for fact in _each(part.strip()):
            yield prefix + (fact if not prefix else fact[:1].lower() + fact[1:])


def _each(sentence: str) -> Iterator[str]:
    """A sentence about several things as one about each."""
    match = _GROUP.match(sentence)
    if match is None or match[1] == "There":
        yield from _each_held(sentence)
        return
    verb = {"are": "is", "contain": "contains", "hold": "holds"}[match[2]]
    sides = _SIDES.match(match[1])
    if match[1].lower() == "you":
        yield _sentence(sentence)
        return
    members = (
        [f"the left {sides[1]}", f"the right {sides[1]}"]
        if sides
        else re.split(r",? and |, ", match[1])[:MAX_LISTED]
    )
    if not all(_MEMBER.match(member.casefold()) for member in members):
        yield _sentence(sentence)
        return
    for member in members:
        yield _sentence(f"{member} {verb} {match[3]}")


def _each_held(sentence: str) -> Iterator[str]:
    match = _HELD.match(sentence)
    if match is None:
        yield _sentence(sentence)
        return
    for thing in re.split(r",? and |, ", match[2])[:MAX_LISTED]:
        yield _sentence(f"{match[1]} {thing}")


def _sentence(text: str) -> str:
    """A part of a list as a sentence; names such as “b1” stay as they are."""
    first = text.split(" ", 1)[0]
    if first.isalpha() and first.islower() and first not in _BEGIN:
        text = f"the {text}"
    return f"{text[:1].upper() if first.isalpha() else text[:1]}{text[1:]}."


def _room(room: str, text: str) -> Iterator[str]:
    """What a ScienceWorld room holds: its things, what lies in and on them, its doors."""
    here: list[str] = []
    for line in lines(text)[1:]:
        line = line.strip()
        door = _DOOR.match(line)
        reads = _READS.match(line)
        inside = _INSIDE.search(line)
        if door:
            yield f"The door from the {room} to the {door[1]} is {door[2]}."
        elif reads:
            here.append(reads[1])
            yield f"The {reads[1]} reads {reads[2]}."
        elif line.startswith(("a ", "an ", "the ")):
            thing = re.split(r"[.,(]", line)[0].strip()
            thing = re.sub(r"^(?:an?|the) |^a substance called ", "", thing)
            thing = thing.removeprefix("substance called ")
            if thing not in ("agent", "air"):
                here.append(thing)
            if inside and inside[3].rstrip(" .") != "nothing":
                listed = inside[3].rstrip(" .")[:300]
                yield f"The {inside[2]} in the {room} holds: {listed}."
    if here:
        yield f"The {room} holds: {', '.join(here[:MAX_LISTED])}."


_RULES: tuple[tuple[re.Pattern[str], _Say], ...] = (
    (_SEES, _sees),
    (_AROUND, lambda m, _: [f"The room has {', '.join(_things(m[1]))}."]),
    (_ARRIVES, lambda *_: []),
    (_IS_STATE, lambda m, _: [m[0]]),
    (_TAKES, lambda m, _: [f"You carry the {m[1]}."]),
    (
        _MOVES,
        lambda m, _: [f"The {m[1]} is {'in' if _CONTAINER.match(m[2]) else 'on'} the {m[2]}."],
    ),
    (_TREATS, lambda m, _: [f"The {m[2]} is {_TREATED[m[1]]}."]),
    (_TURNS, lambda m, _: [f"The {m[2]} is {m[1]}."]),
    (_CLOSES, lambda m, _: [f"The {m[2]} is {'open' if m[1] == 'open' else 'closed'}."]),
    (_NOW_STATE, lambda m, _: [f"The {m[1]} is {m[2]}."]),
    (_CARRYING, lambda m, _: [f"You carry {'' if m[1] == 'nothing' else 'the '}{m[1]}."]),
    (_DELTA, _delta),
    (re.compile(r"^You see .*"), _views),
)
