"""What an agent is told about ALFWorld: the situation, the action grammar, a worked example."""

from __future__ import annotations

from ...harness.types import Instructions

_TEXT = """
You are in a room of a household and have a task to do there. Things lie in and on receptacles \
(cabinets, tables, the fridge and so on); every thing and receptacle has a name of a word and a \
number, such as `mug 2` or `drawer 1`. At first you only see which receptacles the room has. What \
a receptacle holds you see when you are at it and, if it can be closed, it is open.

Write an action exactly in one of these forms, with names as you have read them:
- go to <receptacle>
- open <receptacle>
- close <receptacle>
- take <thing> from <receptacle>
- move <thing> to <receptacle>: puts down, in or on it, the thing you hold
- use <thing>: switches on a lamp
- clean <thing> with <receptacle>: needs a sinkbasin
- heat <thing> with <receptacle>: needs a microwave
- cool <thing> with <receptacle>: needs a fridge
- slice <thing> with <knife>: you hold the knife
- examine <thing or receptacle>
- look
- inventory
- help

You hold one thing at a time. All actions but `go to`, `look`, `inventory` and `help` need you to \
be at the receptacle they name or that holds the thing; to take something out of a closed \
receptacle or move something into it, open it first. To clean, heat or cool a thing, hold it. To \
look at or examine a thing under or with a lamp, hold it and use the lamp. Any thing of the kind \
that the task names will do. "Nothing happens." means that the action was misspelt or is not \
possible now.
"""

# Cupboards and teapots do not occur in ALFWorld, so this is no task of any split.
_EXAMPLE = """
Your goal: clean some teapot and put it in cupboard.

You are in the middle of a room. Looking quickly around you, you see a cupboard 2, a cupboard 1, \
a countertop 1, a sinkbasin 1, and a stoveburner 1.
<think>A teapot may well be on the stove. I look there first.</think>\
<answer>go to stoveburner 1</answer>

You arrive at stoveburner 1. On the stoveburner 1, you see a pan 1.
<think>No teapot here. The countertop is the next likely place.</think>\
<answer>go to countertop 1</answer>

You arrive at countertop 1. On the countertop 1, you see a bread 1, a teapot 1, and a spoon 3.
<think>There it is.</think><answer>take teapot 1 from countertop 1</answer>

You pick up the teapot 1 from the countertop 1.
<think>It has to be clean, so I take it to the sink.</think><answer>go to sinkbasin 1</answer>

You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.
<think>I hold the teapot and stand at the sink.</think>\
<answer>clean teapot 1 with sinkbasin 1</answer>

You clean the teapot 1 using the sinkbasin 1.
<think>Now to a cupboard; either of them will do.</think><answer>go to cupboard 1</answer>

You arrive at cupboard 1. The cupboard 1 is closed.
<think>I have to open it before I can put something in.</think><answer>open cupboard 1</answer>

You open the cupboard 1. The cupboard 1 is open. In it, you see a plate 2.
<think>The last step: put the clean teapot in.</think>\
<answer>move teapot 1 to cupboard 1</answer>
"""

INSTRUCTIONS = Instructions(version="1", text=_TEXT.strip(), example=_EXAMPLE.strip())
