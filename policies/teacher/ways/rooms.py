"""Gripper: drop what is at its place, take what is not, go where what is held belongs."""

from __future__ import annotations

from collections.abc import Mapping

from ....envs.pddl.gripper import WORDS
from ....envs.pddl.world import World
from .step import Step


def way(world: World) -> Step | None:
    """The next step; None where the goal is of another kind."""
    here = next((room for _, room in world.find("at-robby")), None)
    targets = {ball: room for _, ball, room in world.wants("at")}
    if here is None or len(targets) != len(world.goal):
        return None
    held = {gripper: ball for _, ball, gripper in world.find("carry")}
    grippers = [name for name, kind in world.objects.items() if kind == "gripper"]
    rooms: dict[str, list[str]] = {}  # as the state tells them
    for _, ball, room in world.find("at"):
        rooms.setdefault(room, []).append(ball)
    left = [
        (ball, room)
        for room, balls in rooms.items()
        for ball in balls
        if targets.get(ball, room) != room
    ]
    hands = "; ".join(
        f"{gripper} {held[gripper]} to {targets.get(held[gripper], here)}"
        if gripper in held
        else f"{gripper} free"
        for gripper in grippers
    )
    places = "; ".join(
        f"{room}: {', '.join(_due(ball, room, targets) for ball in balls)}"
        for room, balls in rooms.items()
    )
    state = f"In {here}. {hands}. {places or 'no balls'}."

    for gripper, ball in held.items():
        if targets.get(ball, here) == here:
            action = WORDS.forms["drop"].format(b=ball, r=here, g=gripper)
            return Step(state, f"{ball} is there.", action)
    free = next((gripper for gripper in grippers if gripper not in held), None)
    near = next((ball for ball, room in left if room == here), None)
    if free is not None and near is not None:
        action = WORDS.forms["pick"].format(b=near, r=here, g=free)
        return Step(state, f"{near} is here.", action)
    if held:
        ball = held[min(held)]
        return _go(state, here, targets[ball], f"{ball} goes to {targets[ball]}.")
    if left:
        ball, room = left[0]
        return _go(state, here, room, f"{ball} is in {room}.")
    return None


def _due(ball: str, room: str, targets: Mapping[str, str]) -> str:
    """A ball, and where it belongs."""
    target = targets.get(ball, room)
    return f"{ball} stays" if target == room else f"{ball} to {target}"


def _go(state: str, here: str, room: str, why: str) -> Step:
    return Step(state, why, WORDS.forms["move"].format(**{"from": here, "to": room}))
