"""The parser: what is read back as written, and what is refused with a reason."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.pddl import language
from agemem_eval.envs.pddl.games import GAMES, domain, domain_text
from agemem_eval.envs.pddl.language import (
    Literal,
    Problem,
    check,
    parse_domain,
    problem_text,
    read_problem,
)
from agemem_eval.harness.errors import DataError

PROBLEM = """(define (problem tower) (:domain blocksworld)  ; a comment
  (:objects a b - block)
  (:init (arm-empty) (on-table a) (ON-TABLE b) (clear a) (clear b))
  (:goal (and (on a b) (not (clear b)))))"""

DOMAIN = """(define (domain d) (:requirements :strips :typing :equality)
  (:types leaf - kind kind)
  (:constants it - leaf)
  (:predicates (p ?x ?y - kind) (q))
  (:action go :parameters (?x - kind ?y)
    :precondition (and (p ?x it) (not (q)) (not (= ?x ?y)))
    :effect (and (q) (not (p ?x it)))))"""

names = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=8).map(
    lambda tail: "n" + tail
)


def failure(work: Callable[[], object]) -> str | None:
    """What a DataError says; None where there was none. Any other error is a fault."""
    try:
        work()
    except DataError as error:
        return str(error)
    return None


# --- what is read ---------------------------------------------------------------------------


def test_a_problem_is_read_in_lower_case_with_its_negated_goal() -> None:
    problem = check(read_problem(PROBLEM, "x"), domain("blocksworld"))
    assert problem.objects == {"a": "block", "b": "block"}
    assert ("on-table", "b") in problem.init
    assert problem.goal == (Literal(("on", "a", "b")), Literal(("clear", "b"), positive=False))


def test_a_domain_is_read_with_types_constants_and_conditions() -> None:
    read = parse_domain(DOMAIN, "x")
    assert read.parents == {"leaf": "kind", "kind": "object"}
    assert read.is_a("leaf", "object")
    assert read.is_a("leaf", "kind")
    assert not read.is_a("kind", "leaf")
    go = read.operators["go"]
    assert go.parameters == (("?x", "kind"), ("?y", "object"))
    assert go.conditions == (
        Literal(("p", "?x", "it")),
        Literal(("q",), positive=False),
        Literal(("=", "?x", "?y"), positive=False),
    )
    assert go.ground(["a", "b"]).deletes == (("p", "a", "it"),)
    assert read.static == frozenset()


def test_costs_and_metrics_of_the_competition_are_passed_over() -> None:
    text = PROBLEM.replace("(arm-empty)", "(= (total-cost) 0) (arm-empty)")
    text = text[:-1] + "(:metric minimize (total-cost)))"
    assert read_problem(text, "x") == read_problem(PROBLEM, "x")


def test_what_a_goal_truly_says_of_equality_is_left_out() -> None:
    text = PROBLEM.replace("(on a b)", "(= b b) (on a b) (not (= a b))")
    rules = domain("blocksworld")
    assert check(read_problem(text, "x"), rules) == check(read_problem(PROBLEM, "x"), rules)


@pytest.mark.parametrize("name", GAMES)
def test_every_action_and_predicate_of_a_domain_has_its_words(name: str) -> None:
    words = GAMES[name].words
    assert words.forms.keys() == domain(name).operators.keys()
    assert words.phrases.keys() == domain(name).predicates.keys()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_written_problem_is_read_back_as_it_was(data: st.DataObject) -> None:
    blocks = data.draw(st.lists(names, min_size=1, max_size=6, unique=True))
    block = st.sampled_from(blocks)
    facts = st.one_of(
        st.just(("arm-empty",)),
        st.tuples(st.sampled_from(["clear", "on-table", "holding"]), block),
        st.tuples(st.just("on"), block, block),
    )
    init = data.draw(st.lists(facts, unique=True))
    literals = st.builds(Literal, facts, st.booleans())
    goal = data.draw(st.lists(literals, min_size=1, unique_by=lambda literal: literal.fact))
    objects = dict.fromkeys(blocks, "block")
    problem = Problem("some-name", "blocksworld", objects, tuple(init), tuple(goal), "x")
    assert check(read_problem(problem_text(problem), "x"), domain("blocksworld")) == problem


@settings(max_examples=150, deadline=None)
@given(st.text("()?;:- \nabdefinoprltv=", max_size=80) | st.text(max_size=40), st.integers(0, 400))
def test_whatever_is_read_is_a_problem_or_a_data_error(noise: str, place: int) -> None:
    place = min(place, len(PROBLEM))
    for text in (noise, PROBLEM[:place] + noise + PROBLEM[place:], PROBLEM[:place] + noise):
        says = failure(lambda text=text: check(read_problem(text, "x.pddl"), domain("blocksworld")))
        assert says is None or (says.startswith("x.pddl: ") and "\n" not in says)


@settings(max_examples=100, deadline=None)
@given(st.text("()?:- abdefinoprltv=", max_size=30), st.integers(0, 400))
def test_whatever_is_read_is_a_domain_or_a_data_error(noise: str, place: int) -> None:
    place = min(place, len(DOMAIN))
    says = failure(lambda: parse_domain(DOMAIN[:place] + noise + DOMAIN[place:], "x.pddl"))
    assert says is None or says.startswith("x.pddl: ")


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(define", "(defin", "does not begin with"),
        ("(problem tower)", "", "problem missing"),
        ("(:goal", "(:gaol", ":goal missing"),
        ("(:objects", "(:init (clear a)) (:objects", "':init' comes twice"),
        ("(on a b)", "(on a c)", "':goal': 'c' is not declared"),
        ("(on a b)", "(on a)", r"':goal': the domain has no fact \(on a\)"),
        ("(on a b)", "(under a b)", r"':goal': the domain has no fact \(under a b\)"),
        ("(on a b)", "(or (on a b))", r"':goal': \(or …\) is not read here: \(or \(on a b\)\)$"),
        ("(on a b)", "(or)", r"':goal': \(or …\) is not read here: \(or\)$"),
        (
            "(on a b)",
            "(forall (?x) (clear ?x))",
            r"\(forall …\) is not read here: \(forall \(\?x\)",
        ),
        ("(on a b)", "(exists (?x) (clear ?x))", r"':goal': \(exists …\) is not read here"),
        ("(on a b)", "(imply (clear a) (on a b))", r"':goal': \(imply …\) is not read here"),
        (
            "(on a b)",
            "(not (or (on a b)))",
            r"\(or …\) is not read here: \(not \(or \(on a b\)\)\)$",
        ),
        ("(on a b)", "(not (and (on a b)))", r"\(and …\) is not read here: \(not \(and "),
        ("(on a b)", "(not (not (on a b)))", r"\(not …\) is not read here: \(not \(not "),
        ("(on a b)", "(not)", r"\(not …\) is not read here: \(not\)$"),
        ("(on a b)", "(on a (b))", r"':goal' .* fact with parentheses in it: \(on a \(b\)\)$"),
        ("(on a b)", f"(on a ({'x ' * 99}))", rf"parentheses in it: \(on a \({'x ' * 36}x$"),
        ("(clear a)", "(clear z)", "':init': 'z' is not declared"),
        ("(clear a)", "clear", "':init' holds something that is no fact: clear$"),
        ("(clear a)", "()", r"':init' holds something that is no fact: \(\)$"),
        ("a b - block", "a b - brick", "':objects': 'a': there is no type 'brick'"),
        ("a b - block", "a b -", "':objects' names no type after '-': a b -$"),
        ("a b - block", "a (b) - block", r"':objects' holds parentheses: \(b\)$"),
        ("(clear a)", "(and (clear a))", r"':init': \(and …\) is not read here"),
        ("(clear a)", "(clear a) (not (clear z))", "':init': 'z' is not declared"),
        ("(clear a)", "(clear a) (not (clean a))", r"':init': .* no fact \(clean a\)"),
        ("(clear a)", "(clear a) (not (clear a))", r"':init' says \(clear a\) and its opposite"),
        ("(:objects", "(()) (:objects", r"a section has no name: \(\(\)\)$"),
        ("a b - block", "a b - block a - object", "'a' has two types"),
        ("a b - block", "a b - (either block brick)", "names no type"),
        ("a b - block", "a b - object", "'a' in .* is a object, not a block"),
        ("a b - block", "a b 7 - block", "'7' is not a name"),
        ("(and (on a b) (not (clear b)))", "(and)", "asks for nothing"),
        ("(and (on a b) (not (clear b)))", "", "0 conditions, not one"),
        ("(:objects", "(:constraints) (:objects", ":constraints is not read here"),
        ("(on a b)", "(= a b)", r"':goal': \(= a b\) is never true"),
        ("(on a b)", "(not (= a a))", r"':goal': \(not \(= a a\)\) is never true"),
        ("(on a b)", "(= a z)", "':goal': 'z' is not declared"),
        ("(on a b)", "(clear b)", r"':goal' asks for \(clear b\) and for its opposite"),
        ("(and (on a b) (not (clear b)))", "(= a a)", "asks for nothing"),
    ],
)
def test_a_wrong_problem_is_refused_with_the_reason(old: str, new: str, message: str) -> None:
    assert old in PROBLEM
    with pytest.raises(DataError, match=f"bad.pddl: .*{message}"):
        check(read_problem(PROBLEM.replace(old, new, 1), "bad.pddl"), domain("blocksworld"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(a\n; (\n (b)\n (c\n\n", r"ends before its parentheses are closed: '\(' \(line 4\)"),
        ("(a\n b))\n(c)", r"goes on after its last parenthesis: '\)' \(line 2\)"),
        ("(a\n b)\n\nwords", r"goes on after its last parenthesis: 'words' \(line 4\)"),
        ("\n;\n words (a)", r"begins without '\(': 'words' \(line 3\)"),
        ("(a\n ü)", r"characters outside ASCII \(line 2\)"),
        ("(\n" * 65, r"nested deeper than 64 levels: '\(' \(line 65\)"),
        ("; nothing", "ends before its parentheses are closed$"),
    ],
)
def test_wrong_parentheses_and_characters_are_told_with_their_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^bad.pddl: PDDL .*{message}"):
        read_problem(text, "bad.pddl")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":equality)", ":adl)", "requires :adl, which is not read here"),
        ("leaf - kind kind", "leaf - kind kind - leaf", "'leaf' is its own supertype"),
        ("leaf - kind kind", "leaf - kind leaf - object", "'leaf' has two supertypes"),
        ("it - leaf", "it - leaf it - leaf", "'it' is declared twice"),
        ("leaf - kind kind", "leaf -", "':types' names no type after '-': leaf -$"),
        ("it - leaf", "it - lead", "':constants': 'it': there is no type 'lead'"),
        ("it - leaf", "7 - leaf", "':constants': '7' is not a name"),
        ("?y - kind)", "?y - king)", "the predicate 'p': there is no type 'king'"),
        ("?y - kind)", "?y -)", r"the predicate 'p' names no type after '-': \?x \?y -$"),
        ("(?x - kind ?y)", "(?x - kink ?y)", "the action 'go': there is no type 'kink'"),
        ("(?x - kind ?y)", "(?x - (k))", r"'go': its list of parameters names no .*: \?x - \(k\)$"),
        ("(q)", "(q) (q)", "the predicate 'q' is declared twice"),
        ("(q)", "(q) it", "':predicates' holds no predicate: it$"),
        ("(not (q))", "(forall (?z) (q))", r"'go': \(forall …\) is not read here"),
        ("(not (q))", "(r)", "no fact"),
        ("(not (q))", "(p ?z it)", "'[?]z' is not declared"),
        ("(and (q)", "(and (when (q) (q))", r"'go': \(when …\) is not read here"),
        ("(and (q)", "(and (= ?x ?y)", "'=' as an effect"),
        (":effect", ":affect", "a wrong part ':affect'"),
        ("(?x - kind ?y)", "(x)", "wrong parameter 'x'"),
        ("(?x - kind ?y)", "(?x ?x)", "wrong parameter '[?]x'"),
        ("(:action go", "(:action go)(:action go", "declared twice"),
        ("(:action go", "(:derived (q) (q)) (:action go", ":derived is not read here"),
    ],
)
def test_a_wrong_domain_is_refused_with_the_reason(old: str, new: str, message: str) -> None:
    assert old in DOMAIN
    with pytest.raises(DataError, match=f"bad.pddl: .*{message}"):
        parse_domain(DOMAIN.replace(old, new, 1), "bad.pddl")


def test_a_huge_problem_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "MAX_OBJECTS", 1)
    with pytest.raises(DataError, match="more than 1 objects"):
        check(read_problem(PROBLEM, "x"), domain("blocksworld"))


@pytest.mark.parametrize("name", GAMES)
def test_our_domains_are_ascii_and_named_by_their_file(name: str) -> None:
    assert domain_text(name).isascii()
    assert domain(name).name == name
