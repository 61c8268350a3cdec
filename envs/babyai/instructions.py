"""What an agent is told about BabyAI: the situation, the action grammar, a worked example."""

from __future__ import annotations

from ...harness.types import Instructions

_TEXT = """
You are in a building of square rooms, on a grid of cells, and have a mission. Balls, boxes and \
keys of six colours lie about; doors of six colours lead from room to room. You stand on a cell, \
look in one of four directions, and see 7 cells far ahead (your own row is the first of them) and \
3 to either side, but nothing behind you and nothing behind walls and closed doors.

What you see is told from where you stand: `red ball 1, 3 steps ahead and 2 to the left` is \
reached by three steps forward and two to the left. Objects of the same name are numbered, the \
nearest is 1; numbers hold for the present view only and change when you move. `Walls` are the \
nearest ones straight ahead, to your left and to your right, as far as you see them.

Write an action in one of these forms:
- turn left
- turn right
- move forward: one step
- pick up: takes the object right in front of you; you carry one at a time
- drop: puts what you carry on the free cell in front of you
- toggle: opens or closes the door in front of you; a locked door opens only while you carry the \
key of its colour; a box in front of you is destroyed, and what was in it lies there
- go to <object> <number>: walks up to an object or door and faces it, e.g. `go to grey box 2`
- pick up <object> <number>: walks up to it and takes it
- go through <door> <number>: walks through an open door
- toggle and go through <door> <number>: walks up to a closed door, opens it and walks through

The last four take a way through cells that you see now, around objects; where there is none they \
are refused. You cannot walk over objects: pick up what is in the way and drop it elsewhere. An \
action that is refused changes nothing, but counts.

To go to something means to stand next to it and face it. To put a thing next to another means to \
drop it on a cell that has a side in common with the other's. `A, then B` is done in that order, \
`A after you B` the other way round, `A and B` in any order. Places such as `the ball on your \
left` are meant from where you start, in the room where you start. `a` means that any of them will \
do. What was done before its turn does not count: close the door and open it again, drop the thing \
and pick it up again. In some missions opening or taking the wrong thing is a failure. Every level \
allows a number of single movements, and a macro uses as many as it makes: waste none.
"""

# There are no lamps in BabyAI and none of these colours, so this is no mission of any level. A test
# plays it in minigrid, with a red ball for the lamp and so on.
_EXAMPLE = """
Your goal: put the white lamp next to the orange key

You see orange key 1, 2 steps ahead and 1 to the left; pink door 1 (closed), 5 steps ahead and 1 \
to the right. Walls: 5 steps ahead, 2 steps to the right. You carry nothing.
<think>The key is here. The lamp is not in view, it may be behind the door.</think>\
<answer>toggle and go through pink door 1</answer>

You move forward 4 times, turn right, move forward, turn left, toggle the pink door, move forward \
2 times. You see white lamp 1, 2 steps ahead and 1 to the left; black lamp 1, 3 steps ahead and 3 \
to the left. Walls: 5 steps ahead, 1 step to the right. You carry nothing.
<think>There is the white lamp.</think><answer>pick up white lamp 1</answer>

You move forward 2 times, turn left, pick up the white lamp. You see pink door 1 (open), 3 steps \
to the left; black lamp 1, 3 steps ahead and 1 to the right. Walls: 5 steps ahead, 3 steps to the \
right. You carry a white lamp.
<think>Now back to the key. The door is open, on my left.</think>\
<answer>go through pink door 1</answer>

You turn left, move forward 4 times. You see orange key 1, 2 steps ahead and 2 to the right. \
Walls: 5 steps ahead, 1 step to the left. You carry a white lamp.
<think>Two steps on, the key is straight to my right with one free cell between us. If I turn \
there and drop the lamp on that cell, it lies next to the key.</think><answer>move forward</answer>

You move forward. You see orange key 1, 1 step ahead and 2 to the right. Walls: 4 steps ahead, 1 \
step to the left. You carry a white lamp.
<think>One more.</think><answer>move forward</answer>

You move forward. You see orange key 1, 2 steps to the right. Walls: 3 steps ahead, 1 step to the \
left. You carry a white lamp.
<think>Now I turn to it.</think><answer>turn right</answer>

You turn right. You see orange key 1, 2 steps ahead; pink door 1 (open), 3 steps to the right. \
Walls: 5 steps ahead, 3 steps to the left. You carry a white lamp.
<think>The cell in front of me is free and has a side in common with the key's.</think>\
<answer>drop</answer>
"""

INSTRUCTIONS = Instructions(version="1", text=_TEXT.strip(), example=_EXAMPLE.strip())
