"""Kinds of things in generated worlds: people, and what they write, play and film."""

from __future__ import annotations

from collections.abc import Mapping

from .schema import Kind, Property

WORKS: Mapping[str, Kind] = {
    "person": Kind(
        names=(),
        it=(),
        noun="",
        openings=(
            "{name} (born {year}) is a noted {craft}.",
            "{name} is a {craft} who was born in {year}.",
            "{name}, born in {year}, worked as a {craft} for many years.",
            "{name} is best remembered as a {craft}.",
            "{name} came from a large family and travelled much.",
            "Much has been written about {name}.",
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
                ("{it} worked as a {v}.", "By profession {it} was a {v}."),
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
            "{name} is a {genre} film.",
            "{name} is a film in two parts.",
            "{name} is a film that was shot within nine weeks.",
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
            "{name} is a {genre} novel.",
            "{name} is a novel in three parts.",
            "{name} is a novel that has never been out of print.",
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
    "band": Kind(
        names=("The {w} Lanterns", "The {w} Four", "Northern {w}", "{w} and the Foxes",
               "The {w} Choir Boys"),
        it=("It", "The band", "The group"),
        noun="the band ",
        openings=(
            "{name} is a band that was formed in {year}.",
            "{name} is a rock band, active since {year}.",
            "Formed in {year}, {name} is a band with many fans.",
            "{name} is a rock band.",
            "{name} is a band with a loyal following.",
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
}  # fmt: skip
