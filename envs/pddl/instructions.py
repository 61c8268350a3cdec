"""What an agent is told about the planning problems: the four domains and their actions."""

from __future__ import annotations

from ...harness.types import Instructions

_TEXT = """
You solve a planning problem of one of four domains; the first observation says which, names all \
things there are and tells everything that is true. What is not said is false. After an action \
you read what has become true ("Now: …") and what has become false ("No longer: …"); everything \
else stays as it was. All parts of the goal must be true at the same time.

Write an action exactly in one of these forms, with names as you have read them. `look` tells \
the whole state again. "Nothing happens" comes with the reason; the state is then unchanged.

gripper: you carry balls between rooms, one in each gripper.
- move from <room> to <room>
- pick up <ball> in <room> with <gripper> gripper: you and the ball are there, the gripper is free
- drop <ball> in <room> from <gripper> gripper

blocksworld: your hand moves one block at a time; a block is clear when nothing is on it and it \
is not in your hand.
- pick up <block>: from the table; the block is clear and your hand empty
- unstack <block> from <block>: the upper one is clear and your hand empty
- put down <block>: on the table
- stack <block> on <block>: your hand holds the first, and the second is clear

barman: you fill shots, and mix cocktails of two ingredients in a shaker.
- grasp <shot or shaker> with <hand> hand: it is on the table, the hand is free
- put down <shot or shaker> from <hand> hand: on the table
- fill <shot> with <ingredient> from <dispenser>: you hold the shot, your other hand is free, and \
the shot is empty and clean
- refill <shot> with <ingredient> from <dispenser>: likewise, where the empty shot has traces of \
this very ingredient
- empty <shot or shaker>: you hold it; what is in a shaker must be shaken
- clean <shot or shaker>: you hold it, your other hand is free, and it is empty. A shot that held \
a cocktail can never be cleaned.
- pour <ingredient> from <shot> into <shaker>: you hold the shot; the shaker is empty and clean, \
or what is in it is unshaken. Its level rises by one and cannot pass the highest.
- shake <cocktail> in <shaker>: you hold the shaker, your other hand is free, and the shaker \
contains both parts of the cocktail, unshaken
- pour <drink> from <shaker> into <shot>: you hold the shaker, what is in it is shaken, and the \
shot is empty and clean. The level falls by one; at the lowest nothing can be poured.

tyreworld: you change wheels. You can have any number of things at once.
- open <container>, close <container>
- fetch <thing> from <container>, put away <thing> in <container>: the container is open
- loosen <nuts> on <hub>, tighten <nuts> on <hub>: you have the wrench, the hub is on the ground
- jack up <hub>: you have the jack and leave it under the hub
- jack down <hub>: you have the jack again
- undo <nuts> on <hub>: you have the wrench, the hub is jacked up, the nuts are loose
- do up <nuts> on <hub>: you have the wrench and the nuts, the hub is jacked up and unfastened
- remove <wheel> from <hub>: the hub is jacked up and unfastened
- put <wheel> on <hub>: you have the wheel, the hub is jacked up and unfastened and has no wheel
- inflate <wheel>: you have the pump, and the wheel is intact
"""

# Generated rooms are rooma to roomd, so this is no task of any split.
_EXAMPLE = """
Your goal: make all of this true at the same time: egg1 is in kitchen; egg2 is in hall.

This is gripper: a robot carries balls between rooms, and you are the robot. There are the balls \
egg1 and egg2; the gripper left; the rooms hall and kitchen. You are in kitchen. The left gripper \
is free. egg1 and egg2 are in hall.
<think>egg2 is where it belongs. egg1 must go from the hall to the kitchen, so I go and get it.\
</think><answer>move from kitchen to hall</answer>

Now: you are in hall. No longer: you are in kitchen.
<think>I am with egg1, and my gripper is free.</think>\
<answer>pick up egg1 in hall with left gripper</answer>

Now: the left gripper holds egg1. No longer: the left gripper is free; egg1 is in hall.
<think>Back to the kitchen with it.</think><answer>move from hall to kitchen</answer>

Now: you are in kitchen. No longer: you are in hall.
<think>Here it belongs.</think><answer>drop egg1 in kitchen from left gripper</answer>
"""

INSTRUCTIONS = Instructions(version="1", text=_TEXT.strip(), example=_EXAMPLE.strip())
