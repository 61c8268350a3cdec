"""Which facts the rules find, against the gold of the environments and against made-up talk."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from agemem_eval.baselines.heuristic.decisions import decide
from agemem_eval.baselines.heuristic.facts import extract_facts, resolved
from agemem_eval.baselines.heuristic.text import key, names, sentences
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.pddl.env import PddlEnvironment

WORD = re.compile(r"\w+")


def facts(text: str, role: str = "user") -> list[str]:
    return extract_facts([{"role": role, "content": text}])


def remembered(store: dict[str, str], text: str) -> dict[str, str]:
    """The memories after a message."""
    store = dict(store)
    shown = [{"id": id_, "text": memory} for id_, memory in store.items()]
    for decision in decide(facts(text), shown):
        if decision.event == "ADD":
            store[str(1 + max(map(int, store), default=0))] = decision.text
        elif decision.event == "UPDATE":
            assert decision.id is not None
            store[decision.id] = decision.text
        elif decision.event == "DELETE":
            assert decision.id is not None
            del store[decision.id]
    return store


def told(env: HotpotqaEnvironment, n: int, split: str) -> Iterator[tuple[object, list[str]]]:
    """Tasks of the three-stage form, with all that is said before the question."""
    for task in list(env.tasks(split))[:n]:
        said = [env.reset(task, 0).text]
        while (result := env.step("ok")).goal is None:
            said.append(result.observation)
        yield env.gold(task), [*said, result.observation]


def marked(text: str) -> set[str]:
    """The words of names, and numbers; those at the beginning left out, which may be any word."""
    return {*re.findall(r"(?<!^)(?<!: )\b[A-Z]\w*|\b\d[\d,]*\d\b", text)}


def numbered(text: str) -> set[str]:
    return {*re.findall(r"\d[\d,]*\d|\w+", text)}


def as_told(gold: str) -> str:
    """A gold fact with its paragraph's name in place of a pronoun."""
    title, _, sentence = gold.partition(": ")
    return resolved(sentence, title) if sentence else gold


def holds(fact: str, gold: str) -> bool:
    """Whether a fact has all names and numbers of the gold fact, and four fifths of its words."""
    # What stands for the title asks for no words of its own: the title's are asked for.
    gold = re.sub(r": (?:The \w+|Its?|He|She|His|Her) |(?<=designed) the building\b", " ", gold)
    has, need = ({*WORD.findall(text.casefold())} for text in (fact, gold))
    return marked(gold) <= numbered(fact) and len(need & has) >= 0.8 * len(need)


# --- HotpotQA --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["generated", "generated-train"])
def test_every_supporting_fact_is_found_and_no_small_talk(split: str) -> None:
    env = HotpotqaEnvironment(form="three-stage")
    for gold, said in told(env, 30, split):
        found = facts(said[0])
        for fact in gold.facts:
            assert any(holds(f, fact) for f in found), fact
        assert [facts(text) for text in said[1:]] == [[]] * len(said[1:])


@pytest.mark.parametrize("split", ["generated", "generated-train"])
def test_corrections_change_what_was_told_and_leave_no_second_copy(split: str) -> None:
    env = HotpotqaEnvironment(form="three-stage", changes="3")
    n_changed = n_stale = n_left = 0
    for gold, said in told(env, 30, split):
        first = store = remembered({}, said[0])
        assert len(first) == len(facts(said[0]))  # nothing true changes anything else that is
        for text in said[1:]:
            store = remembered(store, text)
        n_changed += sum(first[id_] != text for id_, text in store.items() if id_ in first)
        n_stale += len(gold.stale)
        n_left += sum(as_told(old) in store.values() for old in gold.stale)
        for fact in gold.facts:  # a correction may say it in other words, with the same names
            assert any(marked(fact) <= numbered(memory) for memory in store.values()), fact
    assert n_stale == 90
    assert n_changed >= 0.97 * n_stale
    assert n_left <= 0.03 * n_stale


def test_a_paragraph_s_title_takes_the_place_of_what_stands_for_it() -> None:
    text = (
        "A friend sent me some notes.\n\nThis is about “Silver Heron (ship)”:\n"
        "It was built in 1990.\nThe ship was launched in Oslo.\nIts captain was Ann Lee.\n"
        "Bob Hill painted it.\nSilver Heron (ship) has two funnels.\n"
        "A fair is held there in autumn.\n\nThen I read about “Ann Lee”:\n"
        "Lee was born in Bergen.\nShe studied law."
    )
    assert facts(text) == [
        "Silver Heron (ship) was built in 1990.",
        "Silver Heron (ship) was launched in Oslo.",
        "Silver Heron (ship)'s captain was Ann Lee.",
        "Bob Hill painted Silver Heron (ship).",
        "Silver Heron (ship) has two funnels.",
        "Silver Heron (ship): A fair is held there in autumn.",
        "Ann Lee was born in Bergen.",
        "Ann Lee studied law.",
    ]


def test_a_paragraph_that_was_opened_is_read_under_its_title() -> None:
    text = "No paragraph is titled “x”. The nearest is this one.\n\nAnn Lee\n[0] She is a poet."
    assert facts(text) == ["Ann Lee is a poet."]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (
            "I misread the page on “Vonda”. It was founded in 1824. I said 1842 before, which is "
            "wrong.",
            "Vonda was founded in 1824, not 1842.",
        ),
        (
            "Sorry, I was wrong about “The Keeper of Vonda”. Not House of Oslo, whatever I told "
            "you. It was published by Vonda & Sons.",
            "The Keeper of Vonda was published by Vonda & Sons, not House of Oslo.",
        ),
        (
            "About “Vonda Works” again, I mixed something up. The fishing nets of before was my "
            "error. The firm was long known for its soap.",
            "Vonda Works was long known for its soap, not fishing nets.",
        ),
    ],
)
def test_a_correction_says_what_is_true_and_what_is_not(text: str, fact: str) -> None:
    assert facts(text) == [fact]
    assert facts(f"{text}\nok") == [fact]


# --- talk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ok",
        "Hello! How are you?",
        "Knitting is supposed to be relaxing. Should I begin again?",
        "I have a question for you now, and it is your new goal: Who founded Vonda Works?",
        "Nothing happens.",
        "You answered: Oslo",
        "There are 10 paragraphs to search.",
        "Thanks, Bob!",
        "",
    ],
)
def test_what_is_no_fact_is_dropped(text: str) -> None:
    assert facts(text) == []


@pytest.mark.parametrize("action", ["go to cabinet 2", "finish[Ann Lee] facts[Ann Lee # 1]", "ok"])
def test_actions_are_no_facts_wherever_they_stand(action: str) -> None:
    assert facts(action, "assistant") == []
    assert facts(f"Nothing happens.\n{action}") == []


def test_people_talk_about_themselves_and_of_others() -> None:
    text = "My name is Bob. I live in Oslo. Ann works at Acme Labs. She moved there in 1999."
    assert facts(text) == [
        "My name is Bob.",
        "I live in Oslo.",
        "Ann works at Acme Labs.",
        "Ann moved there in 1999.",
    ]


def test_facts_are_bounded_and_never_repeated() -> None:
    text = "“X Y”:\n" + "\n".join(f"It was built in {n} by Bob." for n in range(1000, 1999))
    found = facts(f"{text}\n\n{text}")
    assert len(found) == len(set(found)) == 200


# --- games -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "You arrive at shelf 1. On the shelf 1, you see a bowl 1, and a mug 2.",
            ["The bowl 1 is on the shelf 1.", "The mug 2 is on the shelf 1."],
        ),
        (
            "You open the drawer 3. The drawer 3 is open. In it, you see nothing.",
            ["The drawer 3 is open.", "The drawer 3 holds nothing."],
        ),
        ("You pick up the mug 2 from the shelf 1.", ["You carry the mug 2."]),
        ("You move the mug 2 to the cabinet 1.", ["The mug 2 is in the cabinet 1."]),
        ("You heat the egg 1 using the microwave 1.", ["The egg 1 is hot."]),
        (
            "Now: b4 is on b3; your hand is empty. No longer: your hand holds b4; b3 is clear.",
            ["b4 is on b3.", "Your hand is empty.", "No longer: b3 is clear."],
        ),
        (
            "This is gripper: a robot. The left and right grippers are free. ball1 and ball2 are "
            "in rooma. You are in roomb.",
            [
                "The left gripper is free.",
                "The right gripper is free.",
                "ball1 is in rooma.",
                "ball2 is in rooma.",
                "You are in roomb.",
            ],
        ),
        (
            "You turn left. You see grey door 1 (closed), 4 steps ahead; red ball 1, 1 step to the "
            "left. Walls: 1 step to the left. You carry a green key.",
            ["The grey door is closed.", "There is a red ball.", "You carry the green key."],
        ),
        (
            "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta substance called "
            "air\n\ta chair. On the chair is: nothing.\n\ta table. On the table is: an apple.\n"
            "You also see:\n\tA door to the hallway (that is open)",
            [
                "The table in the kitchen holds: an apple.",
                "The door from the kitchen to the hallway is open.",
                "The kitchen holds: chair, table.",
            ],
        ),
        ("You move the thermometer to the inventory.", ["The thermometer is in the inventory."]),
        ("That is not an action. You see no objects. Walls: none in a straight line.", []),
    ],
)
def test_observations_of_games_become_places_and_states(text: str, expected: list[str]) -> None:
    assert facts(text) == expected


def test_what_is_remembered_of_planning_games_is_the_state_that_a_look_shows() -> None:
    env = PddlEnvironment()
    draw = random.Random(1)
    kinds = set()
    for task in list(env.tasks(env.spec.default_split))[:24]:
        store = remembered({}, env.reset(task, 0).text)
        for _ in range(15):
            actions = [action for action in env.valid_actions() or [] if action != "look"]
            result = env.step(draw.choice(actions))
            store = remembered(store, result.observation)
            if result.terminated:
                break
        else:
            seen = facts(env.step("look").observation)
            assert sorted(map(key, store.values())) == sorted(map(key, seen)), task.id
            kinds.add(task.id.split("-")[0])
    assert len(kinds) == 4


# --- words -----------------------------------------------------------------------------------


def test_sentences_end_where_they_end() -> None:
    text = "Dr. Ann Lee met J. R. Hill in St. Louis. They left at 5 p.m. on Monday! "
    text += "Now b1 is inside. b2 is not."
    assert list(sentences(text)) == [
        "Dr. Ann Lee met J. R. Hill in St. Louis.",
        "They left at 5 p.m. on Monday!",
        "Now b1 is inside.",
        "b2 is not.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Founded in 1924, The Keeper of Vonda is a novel.", ["The Keeper of Vonda"]),
        ("The Lask River flows through Jark.", ["Lask River", "Jark"]),
        ("On the shelf 1, you see a mug 2.", ["shelf 1", "mug 2"]),
        ("Read “the red book” by Ann O'Neil's aunt.", ["the red book", "Ann O'Neil"]),
        ("You turned 3 times and went 2 steps.", []),
    ],
)
def test_names_are_found(text: str, expected: list[str]) -> None:
    assert [name for name in names(text) if name != "Read"] == expected
