# ruff: noqa: E501 - a line is a pair
"""Labelled pairs of a fact and a memory entry: does the entry say the fact?

Of our own making: household games and encyclopedic facts, invented names. `CALIBRATION` chooses a
matcher's threshold, `HELD_OUT` tells how good the choice is and is used for nothing else. Each
line is `kind | fact | entry`; the kinds of `SAME` are matches, all others are not.
"""

from __future__ import annotations

from dataclasses import dataclass

SAME = frozenset({"verbatim", "paraphrase", "pronoun", "merged", "partly long"})


@dataclass(frozen=True, slots=True)
class Pair:
    """A fact, an entry, and whether the entry says the fact."""

    fact: str
    entry: str
    same: bool
    kind: str


_CALIBRATION = """
verbatim | The mug 1 is on the shelf 2. | The mug 1 is on the shelf 2.
paraphrase | The mug 1 is on the shelf 2. | Found mug 1 sitting on shelf 2.
paraphrase | The mug 1 is on the shelf 2. | On shelf 2 there is a mug 1 and a book 3.
paraphrase | The desklamp 1 is on the desk 2. | desk 2: desklamp 1, pencil 3
paraphrase | Drawer 4 is empty. | There is nothing in drawer 4.
paraphrase | The fridge 1 holds an egg 2. | Inside the fridge 1 I saw egg 2.
paraphrase | The microwave 1 is closed. | Microwave 1 was found closed.
paraphrase | A potato must be heated before it is put on the table. | Heat the potato first, and only then place it on the table.
paraphrase | Cabinets have to be opened to see what is inside. | You need to open a cabinet in order to look into it.
paraphrase | You cooled the tomato 1 using the fridge 1. | Tomato 1 has been cooled with fridge 1.
paraphrase | The key opens the green door. | The green door can be unlocked with the key.
paraphrase | Water boils when it is heated on the stove. | Heating water on the stove makes it boil.
merged | The knife 1 is on countertop 3. | Kitchen so far: plate 2 and knife 1 on countertop 3, nothing on countertop 1.
merged | The pillow 1 is on the bed 1. | I went to bed 1, where pillow 1 and laptop 2 are lying.
partly long | The soapbar 2 is in the toilet 1. | You arrive at the bathroom. On the sinkbasin 1, you see a cloth 1. In the toilet 1 there is a soapbar 2. The towelholder 1 is empty.
number | The mug 1 is on the shelf 2. | The mug 1 is on the shelf 3.
number | The mug 1 is on the shelf 2. | The mug 2 is on the shelf 1.
number | Drawer 4 is empty. | Drawer 5 is empty.
number | The fridge 1 holds an egg 2. | The fridge 1 holds an egg 3.
other thing | The mug 1 is on the shelf 2. | The vase 1 is on the shelf 2.
other thing | The knife 1 is on countertop 3. | The spoon 1 is on countertop 3.
other thing | You cooled the tomato 1 using the fridge 1. | You cooled the lettuce 1 using the fridge 1.
negated | The microwave 1 is closed. | The microwave 1 is not closed.
negated | The fridge 1 holds an egg 2. | There is no egg 2 in the fridge 1.
opposite | The microwave 1 is closed. | The microwave 1 is open.
opposite | The key opens the green door. | The key opens the red door.
other fact | The desklamp 1 is on the desk 2. | The desklamp 1 is broken and gives no light on desk 1.
other fact | A potato must be heated before it is put on the table. | A potato was found in the garbage can.
other fact | Cabinets have to be opened to see what is inside. | The cabinets stand along the kitchen wall.
other fact | Water boils when it is heated on the stove. | The water in the glass is cold.
unrelated | The mug 1 is on the shelf 2. | My neighbour plays jazz on the piano every evening.
unrelated | A potato must be heated before it is put on the table. | The weather has been lovely all week.
unrelated | Drawer 4 is empty. | A holiday by train is slower, but you see much more.
unrelated | The key opens the green door. | Our football team lost again last night.
verbatim | Silver Heron: It was built in Port Tallow by a crew of forty. | Silver Heron: It was built in Port Tallow by a crew of forty.
pronoun | Silver Heron: It was built in Port Tallow by a crew of forty. | The Silver Heron was built in Port Tallow by forty people.
pronoun | Silver Heron: It was built in Port Tallow by a crew of forty. | A crew of 40 built the Silver Heron at Port Tallow.
pronoun | The Silver Heron was built in Port Tallow. | About “Silver Heron”:\\nIt was built in Port Tallow.
pronoun | Nora Vell: She was born in 1901. | Nora Vell's year of birth is 1901.
pronoun | Nora Vell: She studied at Kell College. | Nora Vell is a novelist. She went to Kell College as a student.
pronoun | The Baldor Star: Its first captain was Ilse Marrow. | The first person to captain the Baldor Star was Ilse Marrow.
pronoun | Emil Stroud: He died of fever at the age of 52. | Emil Stroud, aged 52, died from a fever.
paraphrase | Nora Vell directed the film The Glass Orchard. | The Glass Orchard is a film whose director is Nora Vell.
paraphrase | Emil Stroud was born in 1923 in Harrow Bay. | Harrow Bay is the birthplace of Emil Stroud (1923).
paraphrase | The bridge over the Anner was opened in 1887. | In 1887 the Anner bridge opened to traffic.
paraphrase | Tam Okoro is a German chemist. | Tam Okoro works as a chemist and comes from Germany.
paraphrase | The town of Lindmoor has 12,400 inhabitants. | Lindmoor's population is 12400.
paraphrase | Kestrel Records was founded by Ada Quill in 1964. | Ada Quill started the company Kestrel Records in 1964.
paraphrase | The novel Ash and Salt won the Marlin Prize. | Ash and Salt was awarded the Marlin Prize.
paraphrase | The Anner flows into Lake Corrin. | Lake Corrin is where the river Anner ends.
paraphrase | Mount Iskar is 2,310 metres high. | Mount Iskar rises to a height of 2310 m.
paraphrase | Jonas Adler "Jay" Finch (born March 3, 1970) is a singer. | Jay Finch, born on 3 March 1970, is a singer.
merged | Nora Vell directed the film The Glass Orchard. | Nora Vell, a Canadian born in 1901, directed The Glass Orchard and two plays.
merged | Kestrel Records: Its headquarters are in Lindmoor. | Kestrel Records was founded in 1964 and is based in Lindmoor, where Ada Quill lived.
partly long | The Anner flows into Lake Corrin. | I read about rivers. The Sedge is short and shallow. The Anner runs into Lake Corrin. Both freeze in winter.
number | Nora Vell: She was born in 1901. | Nora Vell was born in 1923.
number | Silver Heron: It was built in Port Tallow by a crew of forty. | The Silver Heron was built in Port Tallow by a crew of fifty.
number | Mount Iskar is 2,310 metres high. | Mount Iskar is 2,130 metres high.
number | The town of Lindmoor has 12,400 inhabitants. | The town of Lindmoor has 14,200 inhabitants.
number | Emil Stroud was born in 1923 in Harrow Bay. | Emil Stroud was born in 1932 in Harrow Bay.
name | Nora Vell directed the film The Glass Orchard. | Ada Quill directed the film The Glass Orchard.
name | Nora Vell directed the film The Glass Orchard. | Nora Vell directed the film The Stone Orchard.
name | Silver Heron: It was built in Port Tallow by a crew of forty. | The Golden Heron was built in Port Tallow by a crew of forty.
name | Silver Heron: It was built in Port Tallow by a crew of forty. | The Silver Heron was built in Port Mallow by a crew of forty.
name | The Anner flows into Lake Corrin. | The Sedge flows into Lake Corrin.
name | Tam Okoro is a German chemist. | Tam Okoro is a French chemist.
name | Nora Vell: She was born in 1901. | Emil Stroud was born in 1901. Nora Vell was born in 1923.
name | Kestrel Records was founded by Ada Quill in 1964. | Plover Records was founded by Ada Quill in 1964.
negated | The novel Ash and Salt won the Marlin Prize. | The novel Ash and Salt did not win the Marlin Prize.
opposite | Emil Stroud was born in Harrow Bay. | Emil Stroud died in Harrow Bay.
opposite | The Baldor Star: Its first captain was Ilse Marrow. | The last captain of the Baldor Star was Ilse Marrow.
other fact | Nora Vell directed the film The Glass Orchard. | Nora Vell disliked the film The Glass Orchard.
other fact | Nora Vell: She studied at Kell College. | Nora Vell gave her library to Kell College.
other fact | Tam Okoro is a German chemist. | Tam Okoro owns a German shepherd.
other fact | The Anner flows into Lake Corrin. | Boats from Lake Corrin are too wide for the Anner.
other fact | Kestrel Records: Its headquarters are in Lindmoor. | Kestrel Records sold many discs in Lindmoor.
other fact | The novel Ash and Salt won the Marlin Prize. | Ash and Salt was written by the founder of the Marlin Prize.
other fact | The bridge over the Anner was opened in 1887. | Fishing in the Anner was banned in 1887.
other noun | Lindmoor: The town has long lived on making lamps. | Lindmoor has long lived on making soap.
other noun | Nora Vell (born 1901) is a noted geologist. | Nora Vell (born 1901) is a noted dancer.
other noun | Ash and Salt is a crime novel. | Ash and Salt is a school novel.
other noun | The Silver Heron carried barrels of wine to Kell. | The Silver Heron carried barrels of oil to Kell.
paraphrase | Lindmoor: The town has long lived on making lamps. | Lindmoor lives on the lamps it makes.
paraphrase | The Silver Heron carried barrels of wine to Kell. | The Silver Heron transported barrels of wine to Kell.
unrelated | Nora Vell: She was born in 1901. | Quiet piano music helps me to work.
unrelated | The Anner flows into Lake Corrin. | Mount Iskar is 2,310 metres high.
unrelated | Kestrel Records was founded by Ada Quill in 1964. | The town of Lindmoor has 12,400 inhabitants.
unrelated | Mount Iskar is 2,310 metres high. | The mug 1 is on the shelf 2.
swapped | Nora Vell taught Emil Stroud. | Emil Stroud taught Nora Vell.
swapped | Kell lies north of Lindmoor. | Lindmoor lies north of Kell.
swapped | Mount Iskar is higher than Mount Bel. | Mount Bel is higher than Mount Iskar.
swapped | Ada Quill defeated Jonas Adler in 1961. | Ada Quill was defeated by Jonas Adler in 1961.
paraphrase | Nora Vell taught Emil Stroud. | Emil Stroud was taught by Nora Vell.
paraphrase | Mount Iskar is higher than Mount Bel. | Of the two mountains, Mount Iskar is higher than Mount Bel.
paraphrase | Ada Quill defeated Jonas Adler in 1961. | In 1961 Jonas Adler was defeated by Ada Quill.
paraphrase | The region of Kell has 1.2 million inhabitants. | 1,200,000 people live in the region of Kell as inhabitants.
paraphrase | The Baldor Star was sold on 4 May 1911. | Baldor Star: sold 1911-05-04
number | The region of Kell has 1.2 million inhabitants. | The region of Kell has 1.2 billion inhabitants.
number | Baldor 747: It first flew in 1969. | The Baldor 737 first flew in 1969.
hedge | Nora Vell: She was born in 1901. | Was Nora Vell born in 1901?
hedge | Nora Vell: She was born in 1901. | It is false that Nora Vell was born in 1901.
hedge | Nora Vell: She was born in 1901. | I was told that Nora Vell was born in 1901, but this turned out to be wrong.
hedge | Nora Vell: She was born in 1901. | The year of birth of Nora Vell is not 1901, but 1911.
relative | Nora Vell: She was born in 1901. | Nora Vell's son was born in 1901.
relative | Nora Vell directed the film The Glass Orchard. | The film The Glass Orchard was directed by Nora Vell's brother.
"""
_HELD_OUT = """
verbatim | The book 2 is in the drawer 6. | The book 2 is in the drawer 6.
paraphrase | The book 2 is in the drawer 6. | Drawer 6 contains book 2.
paraphrase | The safe 1 is closed. | Safe 1: closed when I arrived.
paraphrase | Cabinet 3 is empty. | I saw nothing in cabinet 3.
paraphrase | The apple 1 is in the garbagecan 1. | Looked into garbagecan 1; there was an apple 1.
paraphrase | Clean the plate at the sink before serving. | Before serving, the plate has to be washed in the sink.
paraphrase | A lamp must be turned on to examine an object. | To examine something, switch a lamp on first.
paraphrase | The blue box is in the room to the east. | The eastern room has a blue box in it.
paraphrase | You heated the egg 1 using the microwave 1. | The egg 1 is hot now, since I heated it with microwave 1.
merged | The pen 2 is on the sidetable 1. | Checked sidetable 1 (pen 2, keychain 1) and sofa 1 (nothing).
partly long | The statue 1 is on the dresser 1. | You are in the middle of a room. On the dresser 1, you see a statue 1 and a box 2. The armchair 1 is free.
number | The book 2 is in the drawer 6. | The book 2 is in the drawer 8.
number | The book 2 is in the drawer 6. | The book 6 is in the drawer 2.
number | Cabinet 3 is empty. | Cabinet 2 is empty.
other thing | The apple 1 is in the garbagecan 1. | The bread 1 is in the garbagecan 1.
other thing | The pen 2 is on the sidetable 1. | The watch 2 is on the sidetable 1.
negated | The safe 1 is closed. | The safe 1 isn't closed.
opposite | The safe 1 is closed. | The safe 1 is open.
opposite | The blue box is in the room to the east. | The blue box is in the room to the west.
other fact | Clean the plate at the sink before serving. | The plate was broken when it fell to the floor.
other fact | A lamp must be turned on to examine an object. | The lamp stands in the corner of the room.
other fact | The statue 1 is on the dresser 1. | The statue 1 was taken away from the dresser 1.
unrelated | The book 2 is in the drawer 6. | It has rained since Friday.
unrelated | Clean the plate at the sink before serving. | The train to the coast leaves early.
unrelated | The apple 1 is in the garbagecan 1. | The choir sings on Sundays.
verbatim | Wren House: It stands in Aldmere. | Notes on houses.\\nWren House: It stands in Aldmere.
pronoun | Wren House: It stands in Aldmere. | Wren House is located in Aldmere.
pronoun | Lena Brandt: She composed three operas. | Three operas were composed by Lena Brandt.
pronoun | Lena Brandt: Her teacher was Otto Falk. | Lena Brandt was taught by Otto Falk.
pronoun | Red Lantern: The film was released in 1958. | Red Lantern came out in 1958.
pronoun | Otto Falk: He moved to Aldmere in 1931. | In 1931 Otto Falk settled in Aldmere.
pronoun | The Sparrow: It was launched in 1976. | MV Sparrow, called The Sparrow, is a cargo ship.\\nIt was launched in 1976.
paraphrase | Lena Brandt was a Swedish composer. | Lena Brandt, composer, came from Sweden.
paraphrase | The Tarn Valley Railway closed in 1952. | The railway of the Tarn Valley was shut down in 1952.
paraphrase | The castle of Ostrow was designed by Piet Haan. | Piet Haan was the architect of the castle of Ostrow.
paraphrase | Aldmere is the capital of the island of Sund. | The capital city of Sund island is Aldmere.
paraphrase | The Harbour Song is a poem by Mira Tolan. | Mira Tolan wrote the poem The Harbour Song.
paraphrase | The stadium in Ostrow seats twenty-five thousand people. | Ostrow's stadium has room for 25,000 people.
paraphrase | Otto Falk married Mira Tolan in 1940. | Mira Tolan became the wife of Otto Falk in 1940.
paraphrase | The comet was discovered by Piet Haan. | Piet Haan was the first to see the comet.
merged | The castle of Ostrow was designed by Piet Haan. | Ostrow has a stadium, a market and a castle, designed by Piet Haan in 1790.
merged | Otto Falk: He moved to Aldmere in 1931. | Otto Falk (born 1899) taught music, moved to Aldmere in 1931 and died there in 1970.
partly long | Aldmere is the capital of the island of Sund. | The user told me about islands. Sund lies far to the north. Its capital is Aldmere. Few people live there.
number | Red Lantern: The film was released in 1958. | Red Lantern was released in 1985.
number | The Tarn Valley Railway closed in 1952. | The Tarn Valley Railway closed in 1925.
number | Lena Brandt: She composed three operas. | Lena Brandt composed four operas.
number | The stadium in Ostrow seats twenty-five thousand people. | The stadium in Ostrow seats 52,000 people.
name | Lena Brandt: Her teacher was Otto Falk. | Lena Brandt's teacher was Piet Haan.
name | The castle of Ostrow was designed by Piet Haan. | The castle of Aldmere was designed by Piet Haan.
name | Red Lantern: The film was released in 1958. | Red Dragon was released in 1958.
name | Lena Brandt was a Swedish composer. | Lena Brandt was a Danish composer.
name | Wren House: It stands in Aldmere. | Wren House is located in Ostrow.
name | Otto Falk: He moved to Aldmere in 1931. | Piet Haan moved to Aldmere in 1931. Otto Falk stayed in Ostrow.
negated | Otto Falk married Mira Tolan in 1940. | Otto Falk never married Mira Tolan in 1940.
opposite | Lena Brandt was born in Aldmere. | Lena Brandt died in Aldmere.
other fact | Lena Brandt: Her teacher was Otto Falk. | Lena Brandt quarrelled with Otto Falk.
other fact | The Harbour Song is a poem by Mira Tolan. | The Harbour Song was hated by Mira Tolan.
other fact | Aldmere is the capital of the island of Sund. | Ferries run from Aldmere to the island of Sund.
other fact | The comet was discovered by Piet Haan. | Piet Haan wrote a song about the comet.
other fact | The Tarn Valley Railway closed in 1952. | The Tarn Valley Railway bought new trains in 1952.
other noun | Aldmere: The place is known for the making of mirrors. | Aldmere is known for the making of gloves.
other noun | Otto Falk is best remembered as a linguist. | Otto Falk is best remembered as a zoologist.
other noun | The Harbour Song is a poem about fishing. | The Harbour Song is a poem about mining.
paraphrase | Aldmere: The place is known for the making of mirrors. | Mirrors are what Aldmere is known for making.
paraphrase | The Harbour Song is a poem about fishing. | The Harbour Song is a song about fishing.
unrelated | Wren House: It stands in Aldmere. | Gold is a metal that does not rust.
unrelated | Red Lantern: The film was released in 1958. | The stadium in Ostrow seats 25,000 people.
unrelated | The comet was discovered by Piet Haan. | Open the drawer before you look inside.
unrelated | Otto Falk married Mira Tolan in 1940. | Cabinet 3 is empty.
swapped | Mira Tolan succeeded Piet Haan as mayor of Ostrow. | Piet Haan succeeded Mira Tolan as mayor of Ostrow.
swapped | Ostrow is east of Aldmere. | Aldmere is east of Ostrow.
swapped | Otto Falk is the father of Lena Brandt. | Lena Brandt is the father of Otto Falk.
swapped | The Sparrow towed the Plover to Aldmere. | The Sparrow was towed by the Plover to Aldmere.
swapped | Lake Sund is deeper than Lake Tarn. | Lake Sund, unlike others, is less deep than Lake Tarn.
paraphrase | Mira Tolan succeeded Piet Haan as mayor of Ostrow. | Piet Haan was succeeded by Mira Tolan as mayor of Ostrow.
paraphrase | Otto Falk is the father of Lena Brandt. | Lena Brandt's father is Otto Falk.
paraphrase | The Sparrow towed the Plover to Aldmere. | The Plover was towed to Aldmere by the Sparrow.
paraphrase | The castle of Ostrow cost $3.5 million. | The cost of the castle of Ostrow was $3,500,000.
paraphrase | Wren House: It was built in 1908. | Wren House was built in nineteen hundred and eight.
number | The castle of Ostrow cost $3.5 million. | The castle of Ostrow cost $35 million.
number | Route 66: It crosses Ostrow. | Route 61 crosses Ostrow.
hedge | Red Lantern: The film was released in 1958. | When was Red Lantern released, in 1958?
hedge | The comet was discovered by Piet Haan. | The belief that the comet was discovered by Piet Haan is mistaken.
hedge | Otto Falk: He moved to Aldmere in 1931. | Otto Falk moved to Aldmere, though it was not in 1931.
hedge | Aldmere is the capital of the island of Sund. | Someone claimed that Aldmere is the capital of the island of Sund; that is untrue.
hedge | Lena Brandt: She composed three operas. | Lena Brandt perhaps thought of composing three operas.
relative | Otto Falk: He moved to Aldmere in 1931. | Otto Falk's sister moved to Aldmere in 1931.
relative | Lena Brandt was a Swedish composer. | Lena Brandt's husband was a Swedish composer.
"""


def _read(lines: str) -> tuple[Pair, ...]:
    pairs = []
    for line in lines.strip().splitlines():
        kind, fact, entry = line.split(" | ")
        pairs.append(Pair(fact, entry.replace("\\n", "\n"), kind in SAME, kind))
    return tuple(pairs)


CALIBRATION = _read(_CALIBRATION)
HELD_OUT = _read(_HELD_OUT)
