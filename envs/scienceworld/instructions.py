"""What an agent is told about ScienceWorld: the situation, the action grammar, a worked example."""

from __future__ import annotations

from ...harness.types import Instructions

_TEXT = """
You are in a small world of ten places (a house with kitchen, bathroom, workshop and so on, a \
greenhouse, a foundry and the outside) and have a task from school science to do there. You see \
and reach what is in the same place as you, and what you carry. Things can be heated, cooled, \
mixed, planted, wired and measured, and the world changes as time passes.

Actions, with names as you have read them:
- look around: shows the place, what is in it and its doors
- look at <thing>, look in <container>
- inventory: shows what you carry
- read <thing>
- task: shows the task again
- go to <place>: through a door of this place; open it first if it is closed
- teleport to <place>: to any place at once
- open <thing>, close <thing>: doors, cupboards, jars and so on
- pick up <thing>, put down <thing>
- move <thing> to <container or device>: also things that you carry
- pour <thing> into <container>: for liquids, or everything that a container holds
- dunk <container> into <container with a liquid>
- mix <container>: combines what is in it
- activate <device>, deactivate <device>
- use <tool> on <thing>: a thermometer, a shovel, a lighter and so on
- connect <part> to <part>, disconnect <thing>: parts are as in `battery anode`, \
`red wire terminal 1` and `<thing> terminal 2`
- eat <thing>, flush <thing>
- wait: lets 10 units of time pass; wait1: only one
- focus on <thing>: says that this is the thing the task asks for
- reset task: forgets what you have focused on and scored so far

`teleport to`, `connect` and `disconnect` do not exist in every task. `focus on` is how you give \
an answer: use it only where the task tells you to, in the order it tells, and only on what it \
asks for. Focusing on a wrong thing ends the task at once as failed. If a name fits several \
things you are shown a numbered list: answer with the number alone, no other action is done then. \
A place can be added to a name to tell things apart, as in `glass cup in kitchen`. \
"No known action matches that input." means that the wording is wrong or that there is no such \
thing here.
"""

# No task of ScienceWorld is about weighing or has a cellar, so this is no task of any split.
_EXAMPLE = """
Your goal: Your task is to find out whether the pebble floats on water. First, focus on the \
pebble. If it floats, place it in the white box. If it does not float, place it in the brown box. \
The boxes are located around the cellar.

This room is called the cellar. In it, you see:
\tthe agent
\ta brown box (containing nothing)
\ta bucket (containing a substance called water)
\ta pebble
\ta shelf. On the shelf is: a pebble.
\ta white box (containing nothing)
You also see:
\tA door to the garage (that is open)
<think>The pebble is here. The task says to focus on it first.</think>\
<answer>focus on pebble</answer>

Ambiguous request: Please enter the number for the action you intended (or blank to cancel):
0:\tfocus on pebble (in cellar)
1:\tfocus on pebble (on shelf, in cellar)
<think>Either of them is a pebble; I take the one on the floor and answer with its number.</think>\
<answer>0</answer>

You focus on the pebble.
<think>Now the experiment: I put it into the water.</think>\
<answer>move pebble in cellar to bucket</answer>

You move the pebble to the bucket.
<think>What happened to it in the water?</think><answer>look in bucket</answer>

Inside the bucket is:
\ta substance called water
\ta pebble, which has sunk
<think>It does not float, so it belongs in the brown box.</think>\
<answer>move pebble in bucket to brown box</answer>
"""

INSTRUCTIONS = Instructions(version="1", text=_TEXT.strip(), example=_EXAMPLE.strip())
