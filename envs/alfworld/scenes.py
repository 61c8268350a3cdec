"""What a household holds: tables of the objects, receptacles and rooms of ALFWorld's domain.

The traits of objects and what may be put where are facts of the domain (alfworld 0.4.2, as its
official games state them). Where things are usually found, and how many receptacles a room has,
is our own common sense at the scale of the official games; the generator places objects by it and
the explorer searches by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

# name | traits | often found in | sometimes found in | may be put there besides
_PORTABLE = """
AlarmClock   | | SideTable Desk | Dresser Shelf | CounterTop DiningTable
Apple        | cleanable heatable coolable sliceable | Fridge CounterTop | DiningTable SinkBasin \
GarbageCan Microwave | SideTable
BaseballBat  | | Bed | SideTable | DiningTable
BasketBall   | | Bed | Dresser Desk SideTable |
Book         | | Bed Desk | DiningTable SideTable Dresser Drawer CoffeeTable Shelf CounterTop | \
ArmChair Cabinet Ottoman Sofa
Bowl         | receptacle cleanable coolable | Cabinet CounterTop Fridge | DiningTable Shelf Desk \
Microwave CoffeeTable | Dresser SideTable SinkBasin
Box          | receptacle | Sofa DiningTable | CoffeeTable SideTable Dresser Desk ArmChair | \
Cabinet Ottoman Shelf
Bread        | heatable coolable sliceable | CounterTop DiningTable | Fridge | \
GarbageCan Microwave SideTable
ButterKnife  | cleanable | CounterTop DiningTable Drawer | SinkBasin | SideTable
CD           | | Drawer Desk | Dresser Shelf SideTable DiningTable GarbageCan | \
Cabinet CounterTop Safe
Candle       | | Toilet CounterTop | Cabinet Drawer Shelf Cart CoffeeTable | \
DiningTable Dresser SideTable
CellPhone    | | Bed Desk Drawer | SideTable Dresser DiningTable CounterTop Shelf ArmChair | \
CoffeeTable Ottoman Safe Sofa
Cloth        | cleanable | BathtubBasin Cabinet | CounterTop Drawer Shelf Cart Toilet | \
Desk Dresser GarbageCan SideTable SinkBasin
CreditCard   | | Drawer SideTable | Desk Dresser Shelf ArmChair CoffeeTable DiningTable \
CounterTop Sofa | Ottoman Safe
Cup          | receptacle cleanable heatable coolable | Cabinet CounterTop | DiningTable Fridge \
SinkBasin Microwave Shelf | SideTable
DishSponge   | cleanable | CounterTop SinkBasin | Cabinet Drawer DiningTable GarbageCan Cart | \
BathtubBasin Shelf SideTable Toilet
Egg          | cleanable heatable coolable sliceable | Fridge CounterTop | DiningTable SinkBasin \
GarbageCan Microwave | SideTable
Fork         | cleanable | CounterTop Drawer DiningTable | SinkBasin | SideTable
Glassbottle  | | CounterTop Cabinet | DiningTable SinkBasin Shelf Fridge | Microwave
HandTowel    | | HandTowelHolder | CounterTop | \
BathtubBasin Cabinet Cart Drawer GarbageCan Shelf SideTable SinkBasin Toilet
Kettle       | cleanable | StoveBurner CounterTop | Cabinet DiningTable | Shelf SideTable SinkBasin
KeyChain     | | Drawer SideTable Desk | Dresser Shelf CoffeeTable Sofa DiningTable Safe TVStand | \
ArmChair CounterTop Ottoman
Knife        | cleanable | CounterTop Drawer | DiningTable SinkBasin | SideTable
Ladle        | cleanable | CounterTop | Drawer Cabinet DiningTable | SinkBasin
Laptop       | | Bed Desk Sofa | CoffeeTable ArmChair DiningTable | \
CounterTop Dresser Ottoman SideTable
Lettuce      | cleanable coolable sliceable | CounterTop Fridge | DiningTable SinkBasin | \
GarbageCan SideTable
Mug          | receptacle cleanable heatable coolable | CounterTop Cabinet CoffeeMachine | Fridge \
DiningTable Microwave Desk SinkBasin Shelf SideTable | Dresser
Newspaper    | | Sofa CoffeeTable | SideTable DiningTable Dresser ArmChair | \
Cabinet Drawer GarbageCan Ottoman Shelf
Pan          | receptacle cleanable coolable | StoveBurner CounterTop | Cabinet DiningTable \
Fridge | SideTable SinkBasin
Pen          | | Desk SideTable | Drawer Dresser DiningTable Shelf CounterTop CoffeeTable | \
GarbageCan
Pencil       | | Desk SideTable | Drawer Dresser DiningTable Shelf CounterTop CoffeeTable | \
GarbageCan
PepperShaker | | CounterTop Cabinet | Drawer DiningTable Shelf | SideTable
Pillow       | | Bed Sofa | ArmChair | Ottoman
Plate        | receptacle cleanable heatable coolable | Cabinet CounterTop | DiningTable Fridge \
Shelf SinkBasin | CoffeeTable Microwave SideTable
Pot          | receptacle cleanable coolable | StoveBurner CounterTop | Cabinet Fridge \
DiningTable | Shelf SideTable SinkBasin
Potato       | cleanable heatable coolable sliceable | CounterTop Fridge | DiningTable Microwave \
SinkBasin GarbageCan | SideTable
RemoteControl | | Sofa CoffeeTable | Dresser SideTable ArmChair TVStand DiningTable Drawer | \
CounterTop Desk Ottoman Shelf
SaltShaker   | | CounterTop Cabinet | Drawer DiningTable Shelf | SideTable
SoapBar      | cleanable | CounterTop SinkBasin BathtubBasin | Toilet Cabinet Drawer Shelf \
GarbageCan | Cart SideTable
SoapBottle   | | CounterTop Cabinet | Toilet DiningTable GarbageCan Shelf Cart Drawer | SideTable
Spatula      | cleanable | CounterTop DiningTable Drawer | SinkBasin | SideTable
Spoon        | cleanable | CounterTop Drawer DiningTable | SinkBasin | SideTable
SprayBottle  | | CounterTop Cabinet Toilet | GarbageCan Shelf Cart Dresser | \
DiningTable Drawer SideTable
Statue       | | Shelf SideTable DiningTable | CoffeeTable CounterTop Dresser TVStand | Desk Safe
TennisRacket | | Bed | Desk Dresser SideTable |
TissueBox    | | Shelf SideTable | CounterTop Desk DiningTable Drawer CoffeeTable | \
Cabinet Dresser GarbageCan TVStand Toilet
ToiletPaper  | | Toilet Cabinet ToiletPaperHanger | CounterTop Drawer Shelf GarbageCan Cart | \
Dresser SideTable
Tomato       | cleanable heatable coolable sliceable | CounterTop Fridge | DiningTable \
GarbageCan SinkBasin | Microwave SideTable
Towel        | | TowelHolder | |
Vase         | | Shelf | CounterTop Cabinet CoffeeTable DiningTable SideTable TVStand | \
Desk Dresser Safe
Watch        | | CoffeeTable SideTable | DiningTable Drawer Shelf Dresser | Desk
WateringCan  | | | SideTable CoffeeTable Drawer Shelf | Cabinet Desk DiningTable Dresser
WineBottle   | coolable | CounterTop DiningTable | Cabinet GarbageCan Fridge Shelf | SideTable
"""

# What stands somewhere but cannot be carried: name | traits | often in | sometimes in
_FIXED = """
DeskLamp     | toggleable | Desk SideTable | Dresser Shelf
HousePlant   | | CounterTop DiningTable | SideTable Shelf CoffeeTable
Television   | | TVStand | Dresser
"""

OFTEN, SOMETIMES = 4, 1
LAMP = "DeskLamp"  # the lamp of light tasks


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of object.

    Attributes:
        name: as in ids.
        traits: the domain's predicates about it, e.g. `heatable`; `receptacle` where it is one.
        found: how likely each kind of receptacle holds it, as a weight.
        allowed: kinds of receptacles it may be put in or on.
    """

    name: str
    traits: tuple[str, ...]
    found: Mapping[str, int]
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """A family of rooms.

    Attributes:
        receptacles: the least and the greatest number of each kind.
        usual: kinds of objects nearly every such room holds.
        occasional: kinds some of them hold.
        fixtures: the least and the greatest number of things that stand in no receptacle.
    """

    receptacles: Mapping[str, tuple[int, int]]
    usual: tuple[str, ...]
    occasional: tuple[str, ...]
    fixtures: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a task wants done to its object on the way.

    Attributes:
        verb: of the command.
        trait: the object must have.
        state: the predicate it gains.
        station: the kind of receptacle that does it.
        adjective: of the treated object, as task sentences say it.
    """

    verb: str
    trait: str
    state: str
    station: str
    adjective: str


# By task type; the other types carry their objects as they are.
TREATMENTS: Mapping[str, Treatment] = {
    "pick_clean_then_place_in_recep": Treatment(
        "clean", "cleanable", "isClean", "SinkBasin", "clean"
    ),
    "pick_heat_then_place_in_recep": Treatment("heat", "heatable", "isHot", "Microwave", "hot"),
    "pick_cool_then_place_in_recep": Treatment("cool", "coolable", "isCool", "Fridge", "cool"),
}


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A receptacle of a floor plan."""

    id: str
    kind: str
    location: str
    openable: bool


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """A room's fixed part: its receptacles, where the player starts, and free locations."""

    room: str
    receptacles: tuple[Receptacle, ...]
    start: str
    free: tuple[str, ...]

    @property
    def inventory(self) -> tuple[tuple[str, int], ...]:
        """The kinds of receptacles and how many there are of each."""
        return tuple(sorted(Counter(r.kind for r in self.receptacles).items()))


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a game; `place` is None for what stands in no receptacle."""

    id: str
    kind: str
    place: Receptacle | None
    location: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task: its type, the kind of object, and the kind of receptacle, or the lamp."""

    type: str
    thing: str
    target: str


def _kinds(table: str, *, portable: bool) -> dict[str, ObjectKind]:
    kinds = {}
    for line in table.strip().splitlines():
        name, traits, often, sometimes, *more = (cell.split() for cell in line.split("|"))
        # The domain lets a television stand take nothing but a tissue box, yet things stand on it.
        places = [p for p in (*often, *sometimes) if p != "TVStand"] + (more[0] if more else [])
        kinds[name[0]] = ObjectKind(
            name=name[0],
            traits=("pickupable", *traits) if portable else tuple(traits),
            found={**dict.fromkeys(often, OFTEN), **dict.fromkeys(sometimes, SOMETIMES)},
            allowed=tuple(places) if portable else (),
        )
    return kinds


OBJECTS: Mapping[str, ObjectKind] = {
    **_kinds(_PORTABLE, portable=True),
    **_kinds(_FIXED, portable=False),
}
# The traits of what stands in no receptacle; all others of `Room.fixtures` have none.
FIXTURE_TRAITS: Mapping[str, tuple[str, ...]] = {
    "FloorLamp": ("toggleable",),
    "Plunger": ("pickupable",),
    "ScrubBrush": ("pickupable",),
}
OPENABLE: Mapping[str, float] = {  # the share of them that can be opened
    "Cabinet": 0.85, "Drawer": 0.85, "Fridge": 1.0, "Microwave": 1.0, "Safe": 1.0
}  # fmt: skip

ROOMS: Mapping[str, Room] = {
    "kitchen": Room(
        receptacles={
            "Cabinet": (2, 22), "CoffeeMachine": (1, 1), "CounterTop": (1, 4),
            "DiningTable": (0, 1), "Drawer": (0, 14), "Fridge": (1, 1), "GarbageCan": (1, 1),
            "Microwave": (1, 1), "Shelf": (0, 2), "SideTable": (0, 1), "SinkBasin": (1, 1),
            "StoveBurner": (4, 4), "Toaster": (1, 1),
        },
        usual=(
            "Apple", "Bowl", "Bread", "ButterKnife", "Cup", "DishSponge", "Egg", "Fork", "Knife",
            "Lettuce", "Mug", "Pan", "PepperShaker", "Plate", "Pot", "Potato", "SaltShaker",
            "SoapBottle", "Spatula", "Spoon", "Tomato",
        ),
        occasional=(
            "Book", "CellPhone", "CreditCard", "Glassbottle", "HousePlant", "Kettle", "Ladle",
            "Pen", "Pencil", "SprayBottle", "Statue", "Vase", "WineBottle",
        ),
        fixtures={
            "Chair": (0, 3), "LightSwitch": (1, 1), "Sink": (1, 1), "StoveKnob": (4, 4),
            "Window": (0, 2),
        },
    ),
    "living room": Room(
        receptacles={
            "ArmChair": (1, 2), "Cabinet": (0, 4), "CoffeeTable": (0, 2), "DiningTable": (0, 1),
            "Drawer": (0, 9), "Dresser": (0, 1), "GarbageCan": (1, 1), "Ottoman": (0, 1),
            "Safe": (0, 1), "Shelf": (0, 4), "SideTable": (1, 4), "Sofa": (1, 2),
            "TVStand": (0, 1),
        },
        usual=(
            "Box", "CreditCard", "KeyChain", "Laptop", "Newspaper", "Pillow", "RemoteControl",
            "Statue", "Vase", "Watch",
        ),
        occasional=(
            "Book", "Bowl", "Candle", "CellPhone", "DeskLamp", "HousePlant", "Pen", "Pencil",
            "Plate", "Television", "TissueBox", "WateringCan",
        ),
        fixtures={
            "Chair": (0, 5), "FloorLamp": (1, 1), "LightSwitch": (1, 1), "Painting": (0, 3),
            "Window": (1, 4),
        },
    ),
    "bedroom": Room(
        receptacles={
            "ArmChair": (0, 1), "Bed": (1, 2), "Cabinet": (0, 1), "Desk": (0, 2),
            "Drawer": (1, 12), "Dresser": (0, 1), "GarbageCan": (1, 1), "LaundryHamper": (0, 1),
            "Safe": (0, 1), "Shelf": (0, 6), "SideTable": (1, 2),
        },
        usual=(
            "AlarmClock", "Book", "CD", "CellPhone", "CreditCard", "KeyChain", "Laptop", "Mug",
            "Pen", "Pencil", "Pillow",
        ),
        occasional=(
            "BaseballBat", "BasketBall", "Bowl", "Box", "Cloth", "DeskLamp", "HousePlant",
            "RemoteControl", "Statue", "TennisRacket", "TissueBox", "Vase", "Watch",
        ),
        fixtures={
            "Blinds": (0, 2), "Chair": (0, 2), "LightSwitch": (1, 1), "Mirror": (1, 1),
            "Painting": (0, 2), "Window": (1, 2),
        },
    ),
    "bathroom": Room(
        receptacles={
            "BathtubBasin": (0, 1), "Cabinet": (0, 5), "Cart": (0, 1), "CounterTop": (0, 2),
            "Drawer": (0, 5), "GarbageCan": (1, 1), "HandTowelHolder": (1, 2), "Shelf": (0, 3),
            "SinkBasin": (1, 2), "Toilet": (1, 1), "ToiletPaperHanger": (1, 1),
            "TowelHolder": (1, 2),
        },
        usual=(
            "Candle", "Cloth", "HandTowel", "SoapBar", "SoapBottle", "SprayBottle", "ToiletPaper",
            "Towel",
        ),
        occasional=("DishSponge", "TissueBox"),
        fixtures={
            "LightSwitch": (1, 1), "Mirror": (1, 2), "Plunger": (1, 1), "ScrubBrush": (1, 1),
            "ShowerDoor": (0, 1), "Sink": (1, 2), "Window": (0, 1),
        },
    ),
}  # fmt: skip
