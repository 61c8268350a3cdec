"""Signs of collapse, step by step."""

from __future__ import annotations

import math

import pytest

from agemem_eval.policies.collapse import Watch
from agemem_eval.policies.recipe import Collapse

LIMITS = Collapse(patience=3, no_answer=0.9, kl=1.0)
FINE = {"loss": 0.1, "grad_norm": 1.0, "kl": 0.1}


def test_three_silent_steps_in_a_row_end_a_training_that_has_answered_before():
    watch = Watch(LIMITS)
    assert watch.look(0.5, FINE) is None
    assert watch.look(0.05, FINE) is None
    assert watch.look(0.1, FINE) is None  # 90% without an answer: at the limit, which counts
    reason = watch.look(0.0, FINE)
    assert reason is not None
    assert "collapse.no_answer" in reason
    assert "100%" in reason


def test_a_step_with_answers_begins_the_count_anew():
    watch = Watch(LIMITS)
    for answered in (1.0, 0.0, 0.0, 0.5, 0.0, 0.0):
        assert watch.look(answered, FINE) is None
    assert watch.look(0.0, FINE) is not None


def test_a_policy_that_never_answered_has_not_collapsed():
    watch = Watch(LIMITS)
    assert all(watch.look(0.0, FINE) is None for _ in range(50))


def test_answers_in_the_evaluation_before_the_first_step_count_as_having_answered():
    watch = Watch(LIMITS)
    watch.evaluated(0.8)
    assert [watch.look(0.0, FINE) is None for _ in range(3)] == [True, True, False]


def test_a_kl_above_the_limit_ends_it_only_if_it_lasts():
    watch = Watch(LIMITS)
    far = {**FINE, "kl": 1.01}
    assert watch.look(1.0, far) is None
    assert watch.look(1.0, far) is None
    assert watch.look(1.0, FINE) is None
    assert [watch.look(1.0, far) is None for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("name", ["loss", "grad_norm", "kl"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_ends_it_at_once(name, value):
    reason = Watch(LIMITS).look(1.0, {**FINE, name: value})
    assert reason is not None
    assert name in reason


def test_numbers_that_are_not_there_are_no_sign():
    assert Watch(LIMITS).look(1.0, {"loss": 0.0}) is None


def test_what_was_seen_survives_an_interruption():
    watch = Watch(LIMITS)
    watch.look(1.0, FINE)
    watch.look(0.0, FINE)
    watch.look(0.0, FINE)
    assert watch.streak == 2
    assert Watch(LIMITS, watch.state).look(0.0, FINE) is not None
