"""What an agent is told about HotpotQA: the situation, the action grammar, a worked example."""

from __future__ import annotations

from dataclasses import replace

from ...harness.types import Instructions
from ..staged.messages import GOAL, LISTENING

_MAY_CITE = "They are scored apart from the answer and may be left out."
_FINISH = """\
- finish[answer]: gives the answer and ends the episode
- finish[answer] facts[…]: also cites the supporting facts"""
_ANSWER = """\
- To answer, write the answer itself, or `finish[answer]`, or `finish[answer] facts[…]`."""
# What becomes of these where the supporting facts belong to the answer.
_CITING = {
    _MAY_CITE: "They belong to the answer: it is not complete without them.",
    _FINISH: "- finish[answer] facts[…]: gives the answer with its supporting facts and ends the "
    "episode",
    _ANSWER: "- To answer, write `finish[answer] facts[…]`.",
}
_FACTS = f"""\
Supporting facts are the sentences that the answer rests on. Cite each by the title of its \
paragraph and the number of the sentence, counted from 0: `finish[answer] facts[Title # 0 | Other \
title # 2]`. {_MAY_CITE}"""
_SHORT = """\
Give the answer alone and as short as it can be: a name, a date, a number, `yes` or `no`."""

_INTERACTIVE = f"""
You have a question, and a few paragraphs in which to find the answer. Usually two of them are \
needed: one leads to the other, or what they say is to be compared. The rest do not help. You see \
no paragraph until you open it.

Write an action exactly in one of these forms:
- search[title or words]: opens the paragraph with that title; if there is none, the one that the \
words fit best, and names titles that are similar
- lookup[words]: shows the next sentence of the open paragraph that holds all of these words
{_FINISH}

{_SHORT}

{_FACTS}
"""

_INTERACTIVE_EXAMPLE = """
Your goal: answer the question: In which harbour was the ship of the captain Odo Brask built?

There are 10 paragraphs to search.
<think>I do not know the ship. The captain's paragraph should name it.</think>\
<answer>search[Odo Brask]</answer>

Odo Brask
[0] Odo Brask (1802–1871) was a captain and a collector of shells.
[1] For most of his life he commanded the Silver Heron.
<think>The ship is the Silver Heron. Now I need where it was built.</think>\
<answer>search[Silver Heron ship]</answer>

No paragraph is titled “Silver Heron ship”. The nearest is this one.
Also similar: Silver Heron Inn | Odo Brask.

Silver Heron
[0] The Silver Heron was a brig with two masts.
[1] It was built in Port Tallow by a crew of forty.
<think>Port Tallow. It follows from these two sentences.</think>\
<answer>finish[Port Tallow] facts[Odo Brask # 1 | Silver Heron # 1]</answer>
"""

_THREE_STAGE = f"""
Somebody talks to you, {LISTENING} Once your goal is a question, \
your next answer is taken as the answer to it and ends the episode.

{_ANSWER}

{_SHORT}

{_FACTS} Every line under a title is one sentence.
"""

_THREE_STAGE_EXAMPLE = f"""
Your goal: {GOAL}

I have been looking through an old almanac.

There is something about “Odo Brask”:
Odo Brask was a captain and a collector of shells.
For most of his life he commanded the Silver Heron.

And here is “Silver Heron”:
The Silver Heron was a brig with two masts.
It was built in Port Tallow by a crew of forty.
<think>Odo Brask commanded the Silver Heron (Odo Brask, sentence 1); it was built in Port Tallow \
(Silver Heron, sentence 1). I should remember both.</think><answer>ok</answer>

My bread will not rise. Should I use warmer water?
<think>A word is enough to go on.</think><answer>ok</answer>

Your goal: answer the question: In which harbour was the ship of the captain Odo Brask built?

I have a question for you now, and it is your new goal: In which harbour was the ship of the \
captain Odo Brask built?
<think>His ship was the Silver Heron, and that came from Port Tallow.</think>\
<answer>finish[Port Tallow] facts[Odo Brask # 1 | Silver Heron # 1]</answer>
"""

INTERACTIVE = Instructions(
    version="1", text=_INTERACTIVE.strip(), example=_INTERACTIVE_EXAMPLE.strip()
)
THREE_STAGE = Instructions(
    version="1", text=_THREE_STAGE.strip(), example=_THREE_STAGE_EXAMPLE.strip()
)


def citing(instructions: Instructions) -> Instructions:
    """The same instructions where the supporting facts belong to the answer."""
    text = instructions.text
    for optional, required in _CITING.items():
        text = text.replace(optional, required)
    return replace(instructions, version=f"{instructions.version}-cite", text=text)
