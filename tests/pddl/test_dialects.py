"""Other people's dialects of the same games."""

from __future__ import annotations

import pytest

from agemem_eval.envs.pddl.dialects import read_foreign
from agemem_eval.envs.pddl.language import Literal
from agemem_eval.harness.errors import DataError

from .problems import barman, gripper, tyreworld


def test_pddlgyms_blocks_with_a_robot_and_a_list_of_actions() -> None:
    problem = read_foreign(
        """(define (problem blocks) (:domain blocks)
          (:objects D - block B - block robot - robot)
          (:init (clear D) (clear B) (ontable D) (ontable B) (handempty robot)
                 ; action literals
                 (PickUp D) (PutDown D) (Unstack D) (Stack D B) (pick-up B) (put-down B))
          (:goal (and (on D B))))""",
        "x",
        "blocksworld",
    )
    assert problem.objects == {"d": "block", "b": "block"}
    assert set(problem.init) == {("clear", "d"), ("clear", "b"), ("on-table", "d"),
                                 ("on-table", "b"), ("arm-empty",)}  # fmt: skip
    assert problem.goal == (Literal(("on", "d", "b")),)


def test_the_competitions_untyped_blocks() -> None:
    text = """(define (problem BLOCKS-4-0) (:domain BLOCKS) (:objects D B)
      (:init (CLEAR D) (ON D B) (ONTABLE B) (HANDEMPTY)) (:goal (AND (ONTABLE D))))"""
    problem = read_foreign(text, "x", "blocksworld")
    assert problem.goal == (Literal(("on-table", "d")),)


def test_gripper_with_types_is_the_same_as_with_facts() -> None:
    untyped = read_foreign(gripper(2), "x", "gripper")
    text = gripper(2).replace("left right)", "left right - gripper)", 1)
    text = text.replace("rooma roomb ball1", "rooma roomb - room ball1", 1)
    typed = read_foreign(text.replace("ball3 left", "ball3 - ball left", 1), "x", "gripper")
    assert typed == untyped
    assert typed.objects["ball3"] == "ball"
    assert ("ball", "ball3") not in typed.init


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(closed boot)", "(closed boot) (container r1)", "'r1' is a wheel and a container"),
        ("(closed boot)", "(closed boot) (hub wrench)", "'wrench' is a tool and a hub"),
        (":objects wrench jack pump - tool", ":objects", ""),
        ("(closed boot)", "(closed boot) (wheel r1) (tool wrench)", ""),
    ],
)
def test_a_type_stated_as_a_fact_must_be_the_declared_one(old: str, new: str, message: str) -> None:
    text = tyreworld(1).replace(old, new)
    if message:
        with pytest.raises(DataError, match=f"^x: {message}$"):
            read_foreign(text, "x", "tyreworld")
    else:
        assert read_foreign(text, "x", "tyreworld") == read_foreign(tyreworld(1), "x", "tyreworld")


def test_what_is_said_to_be_false_is_false_as_what_is_left_out_is() -> None:
    text = gripper(1).replace("(free left)", "(free left) (not (at ball1 roomb)) (not (ball left))")
    assert read_foreign(text, "x", "gripper") == read_foreign(gripper(1), "x", "gripper")


def test_tyreworlds_open_is_read_as_a_state() -> None:
    text = tyreworld(1).replace("(closed boot)", "(open boot)")
    problem = read_foreign(text, "x", "tyreworld")
    assert ("isopen", "boot") in problem.init
    assert "wrench" in problem.objects


def test_the_costs_of_a_later_competition_are_passed_over() -> None:
    text = barman(1).replace("(:init", "(:init (= (total-cost) 0)")
    text = text[:-1] + "(:metric minimize (total-cost)))"
    assert read_foreign(text, "x", "barman") == read_foreign(barman(1), "x", "barman")
