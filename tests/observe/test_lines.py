"""Progress where there is no terminal."""

from __future__ import annotations

import threading

from agemem_fakes.episodes import episode

from agemem_eval.harness.observe.lines import PlainLines

from .feed import Clock, completion, key_of, plan


def test_plain_lines_say_how_far_it_is_and_what_failed() -> None:
    said: list[str] = []
    clock = Clock()
    lines = PlainLines(said.append, every_s=3600, clock=clock)
    lines.planned(plan(planned=4, done=1))
    lines.event(key_of(), completion(1000, 100))
    clock.now += 10
    for n, fields in enumerate(({}, {"status": "infra_error", "fault": "timeout"})):
        ended = episode(f"t{n}", **fields)
        lines.ends(ended)
        lines.committed(ended)
    lines.close()
    assert said == [
        "a-run: 1 of 4 episodes",
        "a-run: 2 of 4 episodes, 100% of 1 solved; infra_error 1; failed tries: timeout 1; "
        "100 + 10 tokens/s",
    ]


def test_plain_lines_come_by_themselves_and_only_when_something_changed() -> None:
    changed = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            changed.set()

    clock = Clock()
    lines = PlainLines(say, every_s=0.001, clock=clock)
    lines.planned(plan(planned=4))
    lines.committed(episode())
    assert changed.wait(10)
    lines.close()
    assert len(said) == 2


def test_a_run_that_never_got_a_plan_prints_nothing() -> None:
    said: list[str] = []
    PlainLines(said.append).close()
    assert said == []
