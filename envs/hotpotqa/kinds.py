"""The kinds of things in generated worlds; `schema` says how to read them."""

from __future__ import annotations

from collections.abc import Mapping

from .schema import Kind, Property

_FOUNDED = ("Which was founded first, {x} or {y}?", "Which is older, {x} or {y}?")
_FOUNDED_LAST = ("Which was founded more recently, {x} or {y}?", "Which is younger, {x} or {y}?")

KINDS: Mapping[str, Kind] = {
    "person": Kind(
        names=(),
        it=(),
        noun="",
        openings=(
            "{name} (born {year}) is a noted {craft}.",
            "{name} is a {craft} who was born in {year}.",
            "{name}, born in {year}, worked as a {craft} for many years.",
        ),
        properties={
            "town": Property(
                "town",
                ("{it} was born in {v}.", "{it} is a native of {v}.",
                 "{it} was born and raised in {v}."),
                asks=("In which town was {x} born?", "Where was {x} born?"),
                refs=("the birthplace of {x}", "the town where {x} was born"),
                same=("Were {x} and {y} born in the same town?",
                      "Do {x} and {y} share a birthplace?"),
            ),
            "university": Property(
                "university",
                ("{it} studied at {v}.", "{it} was educated at {v}.", "{it} took a degree at {v}."),
                asks=("At which institution did {x} study?", "Where was {x} educated?"),
                refs=("the institution where {x} studied", "the school that educated {x}"),
                same=("Did {x} and {y} study at the same institution?",),
            ),
            "year": Property(
                "year",
                ("{it} was born in {v}.",),
                asks=("In what year was {x} born?", "What is the birth year of {x}?"),
                least=("Who was born first, {x} or {y}?", "Who is older, {x} or {y}?"),
                most=("Who was born later, {x} or {y}?", "Who is younger, {x} or {y}?"),
            ),
            "craft": Property(
                "craft",
                ("{it} worked as a {v}.",),
                asks=("What is the profession of {x}?", "What profession did {x} follow?"),
                same=("Do {x} and {y} have the same profession?",),
            ),
        },
        asides=(
            "{it} rarely gave interviews.",
            "Little is known of {its} early years.",
            "{it} kept a large garden and many bees.",
            "A collection of {its} letters has been printed.",
        ),
        years=(1830, 1995),
    ),
    "film": Kind(
        names=("The {w} Letters", "Return to {w}", "The Last Train from {w}", "A Winter in {w}",
               "The {w} Affair", "Goodbye, {w}"),
        it=("It", "The film", "The picture"),
        noun="the film ",
        openings=(
            "{name} is a {year} {genre} film.",
            "{name} is a {genre} film released in {year}.",
            "Released in {year}, {name} is a {genre} film in two parts.",
        ),
        properties={
            "director": Property(
                "person",
                ("{it} was directed by {v}.", "{v} directed it.", "The director was {v}."),
                refs=("the director of {x}", "the person who directed {x}"),
                asks=("Who directed {x}?",),
                same=("Did the same person direct {x} and {y}?",),
            ),
            "star": Property(
                "person",
                ("{it} stars {v} in the leading role.", "The leading role is played by {v}.",
                 "{v} plays the lead."),
                refs=("the person who plays the lead in {x}", "the leading performer of {x}"),
                asks=("Who plays the lead in {x}?",),
            ),
            "year": Property(
                "year",
                ("{it} was released in {v}.",),
                asks=("In what year was {x} released?",),
                least=("Which film was released first, {x} or {y}?",
                       "Which film came out earlier, {x} or {y}?"),
                most=("Which film was released later, {x} or {y}?",
                      "Which is the more recent film, {x} or {y}?"),
            ),
            "genre": Property(
                "genre",
                ("{it} is a {v} film.",),
                same=("Do {x} and {y} belong to the same genre?",),
            ),
        },
        asides=(
            "Critics were divided when it opened.",
            "Most scenes were shot by candlelight.",
            "It did poorly at first and found its public later.",
        ),
        years=(1925, 2015),
    ),
    "novel": Kind(
        names=("The Keeper of {w}", "Rain over {w}", "The {w} Inheritance", "Seven Days in {w}",
               "The House at {w}", "Letters from {w}"),
        it=("It", "The novel", "The book"),
        noun="the novel ",
        openings=(
            "{name} is a {genre} novel of {year}.",
            "{name} is a {genre} novel, first published in {year}.",
            "First printed in {year}, {name} is a {genre} novel.",
        ),
        properties={
            "author": Property(
                "person",
                ("{it} was written by {v}.", "{v} wrote it.", "Its author is {v}."),
                refs=("the author of {x}", "the person who wrote {x}"),
                asks=("Who wrote {x}?",),
                same=("Were {x} and {y} written by the same person?",),
            ),
            "publisher": Property(
                "company",
                ("{it} was published by {v}.", "{it} first came out with {v}."),
                refs=("the publisher of {x}", "the company that published {x}"),
                asks=("Which company published {x}?",),
                same=("Did the same company publish {x} and {y}?",),
            ),
            "year": Property(
                "year",
                ("{it} came out in {v}.",),
                asks=("In what year was {x} published?",),
                least=("Which novel was published first, {x} or {y}?",
                       "Which novel is older, {x} or {y}?"),
                most=("Which novel was published later, {x} or {y}?",
                      "Which is the more recent novel, {x} or {y}?"),
            ),
            "genre": Property(
                "genre", ("{it} is a {v} novel.",), same=("Are {x} and {y} of the same genre?",)
            ),
        },
        asides=(
            "{its} ending was changed in later printings.",
            "The story is told by three sisters in turn.",
        ),
        years=(1870, 2015),
    ),
    "company": Kind(
        names=("{w} & Sons", "{w} Works", "{w} Brothers", "House of {w}", "{w} Holdings"),
        it=("It", "The company", "The firm"),
        noun="the company ",
        openings=(
            "{name} is a company that was founded in {year}.",
            "{name} is a family firm dating from {year}.",
            "Founded in {year}, {name} is a company of middling size.",
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
            "year": Property(
                "year",
                ("{it} was founded in {v}.",),
                asks=("In what year was {x} founded?", "When was {x} founded?"),
                least=_FOUNDED,
                most=_FOUNDED_LAST,
            ),
        },
        asides=(
            "It never sold shares to the public.",
            "A fire destroyed {its} archive.",
            "{its} staff own a third of it.",
        ),
        years=(1790, 2005),
    ),
    "band": Kind(
        names=("The {w} Lanterns", "The {w} Four", "Northern {w}", "{w} and the Foxes",
               "The {w} Choir Boys"),
        it=("It", "The band", "The group"),
        noun="the band ",
        openings=(
            "{name} is a band that was formed in {year}.",
            "{name} is a rock band, active since {year}.",
            "Formed in {year}, {name} is a band of five.",
        ),
        properties={
            "singer": Property(
                "person",
                ("{its} singer is {v}.", "{v} is {its} lead singer.", "{it} is fronted by {v}."),
                refs=("the singer of {x}", "the person who fronts {x}"),
                asks=("Who is the singer of {x}?",),
            ),
            "town": Property(
                "town",
                ("{it} comes from {v}.", "{it} was started in a cellar in {v}."),
                refs=("the home town of {x}", "the town that {x} comes from"),
                asks=("Which town does {x} come from?", "What is the home town of {x}?"),
                same=("Do {x} and {y} come from the same town?",),
            ),
            "label": Property(
                "company",
                ("{it} has a contract with {v}.", "{its} records are sold by {v}."),
                refs=("the company that sells the records of {x}",),
                asks=("Which company sells the records of {x}?",),
            ),
            "year": Property(
                "year",
                ("{it} was formed in {v}.",),
                asks=("In what year was {x} formed?", "When was {x} formed?"),
                least=("Which band was formed first, {x} or {y}?",
                       "Which band has been active longer, {x} or {y}?"),
                most=("Which band was formed later, {x} or {y}?",
                      "Which is the younger band, {x} or {y}?"),
            ),
        },
        asides=(
            "{its} drummer also repairs organs.",
            "Fans know {its} songs by their numbers.",
        ),
        years=(1955, 2015),
    ),
    "university": Kind(
        names=("{w} College", "{w} Academy", "{w} Institute", "{w} University"),
        it=("It", "The school", "The institution"),
        noun="",
        openings=(
            "{name} is a place of learning that was founded in {year}.",
            "{name} is a school of higher learning, opened in {year}.",
            "Opened in {year}, {name} is a private school of higher learning.",
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
            "year": Property(
                "year",
                ("{it} was founded in {v}.",),
                asks=("In what year was {x} founded?", "When was {x} founded?"),
                least=_FOUNDED,
                most=_FOUNDED_LAST,
            ),
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
                ("It has {v} inhabitants.",),
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
            "year": Property(
                "year",
                ("It opened in {v}.",),
                asks=("In what year did {x} open?", "When did {x} open?"),
                least=("Which museum opened first, {x} or {y}?",
                       "Which is the older museum, {x} or {y}?"),
                most=("Which museum opened later, {x} or {y}?",
                      "Which is the more recent museum, {x} or {y}?"),
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
            "Launched in {year}, {name} is a steamship with two funnels.",
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
            "year": Property(
                "year",
                ("{it} was launched in {v}.",),
                asks=("In what year was {x} launched?", "When was {x} launched?"),
                least=("Which ship was launched first, {x} or {y}?",
                       "Which is the older ship, {x} or {y}?"),
                most=("Which ship was launched later, {x} or {y}?",
                      "Which is the more recent ship, {x} or {y}?"),
            ),
        },
        asides=(
            "It was repainted every second year.",
            "{its} bell hangs in a church today.",
        ),
        years=(1870, 2010),
    ),
}  # fmt: skip
