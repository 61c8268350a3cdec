"""Kinds of things in generated worlds: firms, schools, towns, museums and ships."""

from __future__ import annotations

from collections.abc import Mapping

from .schema import Kind, Property

_FOUNDED = Property(
    "year",
    ("{it} was founded in {v}.",),
    asks=("In what year was {x} founded?", "When was {x} founded?"),
    least=("Which was founded first, {x} or {y}?", "Which is older, {x} or {y}?"),
    most=("Which was founded more recently, {x} or {y}?", "Which is younger, {x} or {y}?"),
)


def _year(sentences: tuple[str, ...], asks: tuple[str, ...], noun: str, began: str) -> Property:
    """The year in which a thing of a kind began, by the kind's noun and a verb."""
    of_two = "{x} or {y}?"
    return Property(
        "year",
        sentences,
        asks=asks,
        least=(f"Which {noun} {began} first, {of_two}", f"Which is the older {noun}, {of_two}"),
        most=(
            f"Which {noun} {began} later, {of_two}",
            f"Which is the more recent {noun}, {of_two}",
        ),
    )


PLACES: Mapping[str, Kind] = {
    "company": Kind(
        names=("{w} & Sons", "{w} Works", "{w} Brothers", "House of {w}", "{w} Holdings"),
        it=("It", "The company", "The firm"),
        noun="the company ",
        openings=(
            "{name} is a company that was founded in {year}.",
            "{name} is a family firm founded in {year}.",
            "Founded in {year}, {name} is a company of middling size.",
            "{name} is a family firm.",
            "{name} is a company of middling size.",
        ),
        properties={
            "founder": Property(
                "person",
                ("{it} was founded by {v}.", "{v} founded it.", "Its founder was {v}."),
                refs=("the founder of {x}", "the person who founded {x}"),
                asks=("Who founded {x}?", "Who was the founder of {x}?"),
                same=("Were {x} and {y} founded by the same person?",),
            ),
            "town": Property(
                "town",
                ("{it} has its headquarters in {v}.", "{it} is based in {v}.",
                 "Its head office is in {v}."),
                refs=("the town where {x} is based", "the town that houses the head office of {x}"),
                asks=("In which town is {x} based?", "Where is the head office of {x}?"),
                same=("Are {x} and {y} based in the same town?",
                      "Do {x} and {y} have their headquarters in the same town?"),
            ),
            "product": Property(
                "product",
                ("{it} was long known for its {v}.", "{it} earned its first money with {v}."),
                asks=("For what product was {x} known?",),
            ),
            "year": _FOUNDED,
        },
        asides=(
            "It never sold shares to the public.",
            "A fire destroyed {its} archive.",
            "{its} staff own a third of it.",
        ),
        years=(1790, 2005),
    ),
    "university": Kind(
        names=("{w} College", "{w} Academy", "{w} Institute", "{w} University"),
        it=("It", "The school", "The institution"),
        noun="",
        openings=(
            "{name} is a place of learning that was founded in {year}.",
            "{name} is a school of higher learning, founded in {year}.",
            "Founded in {year}, {name} is a private school of higher learning.",
            "{name} is a private school of higher learning.",
            "{name} is a place of learning with few students.",
        ),
        properties={
            "town": Property(
                "town",
                ("{it} lies in {v}.", "{it} is located in {v}.", "Its buildings stand in {v}."),
                refs=("the town where {x} is located",),
                asks=("In which town is {x} located?", "Where is {x} located?"),
                same=("Are {x} and {y} located in the same town?",),
            ),
            "field": Property(
                "field",
                ("{it} is best known for {v}.", "{it} is strongest in {v}."),
                asks=("For what subject is {x} best known?",),
                same=("Are {x} and {y} best known for the same subject?",),
            ),
            "year": _FOUNDED,
        },
        asides=(
            "Its library is open at night.",
            "Students row against the staff each spring.",
        ),
        years=(1590, 1990),
    ),
    "town": Kind(
        names=("{w}",),
        it=("It", "The town", "The place"),
        noun="",
        openings=(
            "{name} is a town of {count} people.",
            "{name} is a market town with a population of {count}.",
            "With {count} inhabitants, {name} is one of the larger towns of its district.",
            "{name} is a market town.",
            "{name} is a town with a long main street.",
        ),
        properties={
            "river": Property(
                "river",
                ("{it} lies on the {v}.", "{it} was built where two roads meet the {v}.",
                 "The {v} flows through it."),
                asks=("On which river does {x} lie?", "Which river flows through {x}?"),
                same=("Do {x} and {y} lie on the same river?",),
            ),
            "product": Property(
                "product",
                ("{it} is known for the making of {v}.", "{it} has long lived on making {v}."),
                asks=("For the making of what is {x} known?", "For which product is {x} known?"),
                same=("Are {x} and {y} known for the same product?",),
            ),
            "count": Property(
                "count",
                ("{it} has {v} inhabitants.", "{it} has a population of {v}."),
                asks=("How many people live in {x}?", "What is the population of {x}?"),
                least=("Which town has fewer inhabitants, {x} or {y}?",
                       "Which town is smaller, {x} or {y}?"),
                most=("Which town has more inhabitants, {x} or {y}?",
                      "Which town is larger, {x} or {y}?"),
            ),
        },
        asides=(
            "Its old walls can still be walked.",
            "A horse fair is held there in autumn.",
        ),
    ),
    "museum": Kind(
        names=("{w} Museum", "{w} Gallery", "{w} Hall", "Museum of {w}"),
        it=("It", "The museum", "The building"),
        noun="",
        openings=(
            "{name} is a museum that opened in {year}.",
            "{name}, opened in {year}, is a museum with four wings.",
            "Opened to the public in {year}, {name} is a museum.",
            "{name} is a museum with four wings.",
            "{name} is a museum that children like.",
        ),
        properties={
            "architect": Property(
                "person",
                ("{it} was designed by {v}.", "{v} designed the building.",
                 "Its plans were drawn by {v}."),
                refs=("the designer of {x}", "the person who designed {x}"),
                asks=("Who designed {x}?",),
                same=("Were {x} and {y} designed by the same person?",),
            ),
            "town": Property(
                "town",
                ("{it} stands in {v}.", "{it} is located in {v}."),
                refs=("the town where {x} stands",),
                asks=("In which town does {x} stand?",),
                same=("Do {x} and {y} stand in the same town?",),
            ),
            "year": _year(
                ("{it} opened in {v}.", "{it} was opened in {v}."),
                ("In what year did {x} open?", "When did {x} open?"),
                "museum",
                "opened",
            ),
        },
        asides=(
            "Entrance is free on rainy days.",
            "{its} roof leaked for decades.",
        ),
        years=(1840, 2015),
    ),
    "ship": Kind(
        names=("MV {w}", "SS {w}", "The {w} Star"),
        it=("It", "The ship", "The vessel"),
        noun="the ship ",
        openings=(
            "{name} is a ship that was launched in {year}.",
            "{name} is a cargo ship, launched in {year}.",
            "Launched in {year}, {name} is a ship with two funnels.",
            "{name} is a cargo ship.",
            "{name} is a ship with two funnels.",
        ),
        properties={
            "builder": Property(
                "company",
                ("{it} was built by {v}.", "{v} built it.", "Its builder was {v}."),
                refs=("the builder of {x}", "the company that built {x}"),
                asks=("Which company built {x}?",),
                same=("Did the same company build {x} and {y}?",),
            ),
            "captain": Property(
                "person",
                ("{its} first captain was {v}.", "{v} was {its} first captain."),
                refs=("the first captain of {x}",),
                asks=("Who was the first captain of {x}?",),
            ),
            "year": _year(
                ("{it} was launched in {v}.",),
                ("In what year was {x} launched?", "When was {x} launched?"),
                "ship",
                "was launched",
            ),
        },
        asides=(
            "It was repainted every second year.",
            "{its} bell hangs in a church today.",
        ),
        years=(1870, 2010),
    ),
}  # fmt: skip
