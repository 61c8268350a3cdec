"""A problem played in words: actions come as text, and what they change is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..common import readable
from .game import Game
from .games import domain
from .language import Literal, Operator, Problem, substitute
from .strips import Core, State

LOOK = "look"
UNREADABLE = "This is no action: it is empty, too long, or holds control characters."
WON = "The goal is reached."
OVER = "The goal is reached already; there is nothing left to do."
_MAX_REASONS = 3  # ways in which the same words can be meant that an answer goes into


class Engine:
    """One problem of a game, from its start.

    Attributes:
        core: the grounded problem.
        state: the present state.
        valid: whether the last action could be carried out.
        won: whether the goal was reached; then nothing changes any more.
        n_goals: how many literals the goal has.
        best: most literals of the goal that ever held at once.
        at_start: how many held at the start.
    """

    def __init__(self, game: Game, problem: Problem) -> None:
        """Ground a problem.

        Raises:
            DataError: it is too large.
        """
        self.game = game
        self.core = Core(domain(game.name), problem)
        operators = self.core.domain.operators
        self._texts = [
            game.words.action(operators[action.name], action.args) for action in self.core.actions
        ]
        self._numbers: dict[str, list[int]] = {}
        for number, text in enumerate(self._texts):
            self._numbers.setdefault(text, []).append(number)
        self.state: State = self.core.initial
        self.valid = True
        self.n_goals = len(problem.goal)
        self.at_start = self.best = self.satisfied()
        self.won = self.best == self.n_goals

    def satisfied(self) -> int:
        """How many literals of the goal hold now."""
        return sum(self.core.holds(self.state, literal) for literal in self.core.problem.goal)

    def goal(self) -> str:
        """The goal in words."""
        return self.game.words.goal(self.core.problem.goal)

    def introduction(self) -> str:
        """What a player reads first."""
        return f"{self.game.words.intro} {self.view()}"

    def view(self) -> str:
        """The whole state in words."""
        return self.game.words.state(self.core.true_facts(self.state), self.core.problem.objects)

    def admissible(self) -> list[str]:
        """The actions that are possible now, sorted; none where the goal is reached."""
        if self.won:
            return []
        return sorted({LOOK, *(self._texts[n] for n in self.core.applicable(self.state))})

    def step(self, action: str) -> str:
        """Carry out an action in words, and tell what it did or why it cannot be."""
        self.valid = False
        if self.won:
            return OVER
        plain = readable(action)
        if plain is None:
            return UNREADABLE
        plain = plain.lower().rstrip(" .")
        if plain == LOOK:
            self.valid = True
            return self.view()
        meant = self._numbers.get(plain, ())
        for number in meant:
            if self.core.can(self.state, number):
                return self._act(number)
        reason = self._lacking(meant) if meant else self._senseless(plain)
        return f"Nothing happens: {reason}."

    def _act(self, number: int) -> str:
        core, before = self.core, self.state
        after = self.state = core.apply(before, number)
        self.valid = True
        held = self.satisfied()
        self.best = max(self.best, held)
        self.won = held == self.n_goals
        changed = self.game.words.change(
            (core.facts[fact] for fact in after - before),
            (core.facts[fact] for fact in before - after),
        )
        return f"{changed} {WON}" if self.won else changed

    def _lacking(self, meant: list[int] | tuple[int, ...]) -> str:
        """What the nearest ways to take the words lack.

        That is a condition that fails in all of them, where there is one; else the first of each.
        """
        unmet = [self.core.unmet(self.state, number) for number in meant]
        fewest = min(map(len, unmet))
        nearest = [literals for literals in unmet if len(literals) == fewest]
        common = [c for c in nearest[0] if all(c in literals for literals in nearest)]
        said = list(
            dict.fromkeys(
                self.game.words.literal(literal)
                for literal in common[:1] or [literals[0] for literals in nearest]
            )
        )
        more = " or another of its kind" if len(said) > _MAX_REASONS else ""
        return f"it needs that {' or that '.join(said[:_MAX_REASONS])}{more}"

    def _senseless(self, action: str) -> str:
        """Why words that are no action of this problem are none."""
        objects, rules = self.core.problem.objects, self.core.domain
        kinds: dict[str, dict[str, None]] = {}  # what each wrong name had to be
        for operator, names in _read(self.game, action):
            wrong = [
                (name, kind)
                for variable, kind in operator.parameters
                if (name := names.get(variable)) is not None
                and not (name in objects and rules.is_a(objects[name], kind))
            ]
            if not wrong:
                return self._never(operator, names)
            name, kind = wrong[0]
            kinds.setdefault(name, {}).update(dict.fromkeys(rules.kinds(kind)))
        reasons = [
            f"{name} is no {_either(fit)}"
            if name in objects
            else f"there is no {_either(fit)} {name}"
            for name, fit in kinds.items()
        ]
        return " or ".join(reasons) or f"that is not written like an action of {rules.name}"

    def _never(self, operator: Operator, names: Mapping[str, str]) -> str:
        """Why an action that makes sense is never possible."""
        for condition in operator.conditions:
            fact = substitute(condition.fact, names)
            known = fact[0] in self.core.domain.static and not any("?" in arg for arg in fact)
            if known and (fact in self.core.static) is not condition.positive:
                return f"it needs that {self.game.words.literal(Literal(fact, condition.positive))}"
        return "that can never be done here"


def _either(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _read(game: Game, action: str) -> Iterator[tuple[Operator, dict[str, str]]]:
    """Each operator whose form an action fits, with the names in place of its variables."""
    for name, form in game.words.forms.items():
        found = re.fullmatch(_pattern(form), action)
        if found:
            names = {f"?{slot}": said for slot, said in found.groupdict().items()}
            yield domain(game.name).operators[name], names


def _pattern(form: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\S+)", re.escape(form))
