"""The explorer's plan for inclined planes: let a block slide down each and compare."""

from __future__ import annotations

import re

from .hands import HOUSE, Hands, Plan

_PERCENT = re.compile(r"approximately (\d+)% down the plane")
_BLOCKS = ("brick", "marble", "ball")
_LOOKS = 4  # on each plane


def compare(hands: Hands, goal: str) -> Plan[None]:
    """Slide a block down both planes, and focus on the one that is asked for."""
    asked = re.search(r"inclined planes \((.+?), (.+?)\) has the (\w+) (?:angle|friction)", goal)
    if asked is None:
        return
    slowest = asked[3] in ("shallowest", "most")
    found = yield from hands.search(
        lambda name: name.startswith("inclined plane"), ["workshop", *HOUSE], shut=False
    )
    if not found:
        return
    planes = [name for name in hands.notes.place.things if name.startswith("inclined plane")]
    wanted = [_called(planes, label) for label in asked.groups()[:2]]
    if "" in wanted:
        return
    if "stopwatch" in hands.notes.place.things:
        yield from hands.fetch("stopwatch")
    blocks = [name for name in hands.notes.place.things if name in _BLOCKS or "block" in name]
    speeds = []
    for plane in wanted:
        yield from hands.do(f"move {blocks[0] if blocks else 'block'} to {plane}")
        yield from hands.do("activate stopwatch")
        slid = 0
        for _ in range(_LOOKS):
            text = yield from hands.do(f"look at {plane}")
            down = _PERCENT.search(text)
            slid = int(down[1]) if down else (100 if "block" in text else slid)
        yield from hands.do("deactivate stopwatch")
        yield from hands.do("look at stopwatch")
        speeds.append(slid)
    order = sorted(range(2), key=lambda index: speeds[index])
    yield from hands.focus(wanted[order[0] if slowest else order[-1]])


def _called(planes: list[str], label: str) -> str:
    """The name here of the plane that the task calls by its letter or surface."""
    ends = (f"inclined plane {label}", f"inclined plane with a {label} surface",
            f"inclined plane with an {label} surface")  # fmt: skip
    low = [end.lower() for end in ends]
    return next((plane for plane in planes if plane.lower() in low), "")
