"""What generated worlds are made of: kinds of things, their properties, and how both are said.

A sentence template holds `{it}` for the thing (its name, a pronoun or its kind) and `{v}` for the
value. An opening holds `{name}` and the properties it tells. In questions `{x}` stands for a
phrase that names or describes the thing, `{y}` for a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Property:
    """A property that each thing of a kind has, with exactly one value.

    Attributes:
        value: a kind of thing, or one of the plain values of `LITERALS`, `year` and `count`.
        sentences: how a paragraph says it.
        asks: how one asks for the value.
        refs: how the value is described by the thing `{x}`, where the value is a thing.
        least, most: how one asks which of two things has the smaller or larger value.
        same: how one asks whether two things share the value.
    """

    value: str
    sentences: tuple[str, ...]
    asks: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    least: tuple[str, ...] = ()
    most: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing.

    Attributes:
        names: patterns with `{w}` for an invented word; those of people are made elsewhere.
        it: what stands for the thing after the first sentence; empty for people.
        noun: said before the name in a question.
        openings: first sentences of a paragraph.
        properties: by name.
        asides: sentences without any fact.
        years: between which its `year` lies.
    """

    names: tuple[str, ...]
    it: tuple[str, ...]
    noun: str
    openings: tuple[str, ...]
    properties: Mapping[str, Property]
    asides: tuple[str, ...]
    years: tuple[int, int] = (1860, 2015)


LITERALS: Mapping[str, tuple[str, ...]] = {
    "craft": (
        "architect", "astronomer", "botanist", "carpenter", "cellist", "chemist", "choreographer",
        "dentist", "economist", "engraver", "explorer", "geologist", "historian", "illustrator",
        "journalist", "linguist", "mathematician", "pianist", "photographer", "physician",
        "playwright", "poet", "sculptor", "surgeon", "translator", "weaver", "zoologist",
    ),
    "genre": (
        "adventure", "comedy", "crime", "detective", "espionage", "family", "fantasy", "ghost",
        "gothic", "historical", "horror", "mystery", "political", "romance", "satirical",
        "science fiction", "thriller", "war",
    ),
    "product": (
        "barometers", "bicycles", "candles", "clocks", "cutlery", "fishing nets", "gloves",
        "harps", "ink", "lace", "lanterns", "mirrors", "mustard", "pianos", "porcelain", "rope",
        "saddles", "sailcloth", "soap", "spectacles", "telescopes", "tiles", "umbrellas", "violins",
    ),
    "field": (
        "agronomy", "archaeology", "astronomy", "bookbinding", "botany", "cartography", "dentistry",
        "forestry", "geology", "hydrology", "law", "linguistics", "medicine", "meteorology",
        "metallurgy", "mining", "music", "navigation", "optics", "philosophy", "surveying",
        "theology", "veterinary medicine", "zoology",
    ),
}  # fmt: skip
