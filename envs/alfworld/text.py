"""What ALFWorld says: its sentences, word for word, from facts.

They reproduce the text grammar of alfworld 0.4.2 (`data/alfred.twl2`) as TextWorld 1.7.0 expands
it, oddities included: the article is always "a", and two things are joined with ", and ".
"""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_HAPPENS = "Nothing happens."
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

# Flags of an object: bits, so that an object's state is one small number.
CLEAN, HOT, COOL, SLICED, TOGGLED, ON = 1, 2, 4, 8, 16, 32
FLAG_NAMES = {
    "clean": CLEAN, "hot": HOT, "cool": COOL, "sliced": SLICED, "toggled": TOGGLED, "on": ON
}  # fmt: skip

# The first entry whose flags an object all has describes it; the order is the grammar's.
_CONDITIONS = (
    (CLEAN | HOT | SLICED, "a hot and clean sliced"),
    (CLEAN | COOL | SLICED, "a cool and clean sliced"),
    (CLEAN | SLICED, "a clean sliced"),
    (HOT | SLICED, "a hot sliced"),
    (COOL | SLICED, "a cool sliced"),
    (CLEAN | HOT, "a hot and clean"),
    (CLEAN | COOL, "a cool and clean"),
    (HOT, "a hot"),
    (CLEAN, "a clean"),
    (COOL, "a cold"),
)


def listing(items: Sequence[str]) -> str:
    """`x`, `x, and y`, `x, y, and z`, or `nothing`."""
    if len(items) < 2:
        return items[0] if items else "nothing"
    return f"{', '.join(items[:-1])}, and {items[-1]}"


def a_listing(names: Sequence[str]) -> str:
    """`listing` with an article before each name."""
    return listing([f"a {name}" for name in names])


def surroundings(here: Sequence[str], beside: Sequence[str]) -> str:
    """The answer to `look`.

    Args:
        here: receptacles at the agent's location.
        beside: objects at the location that were taken out of a receptacle here.
    """
    if here:
        return f"You are facing the {listing(here)}. Next to it, you see {a_listing(beside)}."
    return room(())


def room(receptacles: Sequence[str]) -> str:
    """The view from a place without receptacles."""
    seen = a_listing(receptacles)
    return f"You are in the middle of a room. Looking quickly around you, you see {seen}."


def intro(view: str, task: str) -> str:
    """The first observation of a game."""
    return f"-= Welcome to TextWorld, ALFRED! =-\n\n{view}\n\nYour task is to: {task}"


def inventory(held: str | None) -> str:
    """The answer to `inventory`."""
    return "You are not carrying anything." if held is None else f"You are carrying: a {held}."


def receptacle(name: str, contents: Sequence[str], *, openable: bool, is_open: bool) -> str:
    """A receptacle as one sees it on arrival or examination."""
    if not openable:
        return f"On the {name}, you see {a_listing(contents)}."
    if is_open:
        return f"The {name} is open. In it, you see {a_listing(contents)}."
    return f"The {name} is closed."


def container(name: str, inside: Sequence[str]) -> str:
    """An object that can hold others, examined."""
    return f"This is a normal {name}. In it, you see {a_listing(inside)}."


def examined(name: str, flags: int, *, toggleable: bool, sliceable: bool) -> str:
    """An object, examined."""
    for wanted, words in _CONDITIONS:
        if flags & wanted == wanted:
            return f"This is {words} {name}."
    if toggleable and flags & TOGGLED:
        return f"This {name} is on."
    if sliceable and flags & SLICED:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."
