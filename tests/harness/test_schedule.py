"""Which episode comes next: the table fills evenly, streams keep their order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.schedule import Schedule, Work
from agemem_eval.harness.types import Task

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def cells(sizes: list[int], repeats: int = 1, lifelong: bool = False) -> list[Cell]:
    found = []
    for number, size in enumerate(sizes):
        base = EpisodeKey(
            env=f"e{number}", env_version="1", data_hash="d", split="s", task="", memory="none",
            memory_hash="m", model="x", model_hash="h", protocol_hash="p", seed=0, repeat=0,
        )  # fmt: skip
        tasks = tuple(Task(f"t{i}", "s", "") for i in range(size))
        found.append(Cell("none", base, tasks, repeats, lifelong=lifelong))
    return found


def nothing(_: EpisodeKey) -> bool:
    return False


@given(SIZES)
def test_no_cell_is_ahead_of_another_by_more_than_an_episode(sizes: list[int]) -> None:
    schedule = Schedule(cells(sizes), nothing, lifelong=False)
    begun: Counter[str] = Counter()
    while (work := schedule.take()) is not None:
        begun[work.cell.base.env] += 1
        shares = [begun[f"e{n}"] / size for n, size in enumerate(sizes)]
        assert max(shares) - min(shares) <= 1 / min(sizes) + 1e-9
    assert begun == Counter({f"e{n}": size for n, size in enumerate(sizes)})
    assert schedule.owed == 0


@given(SIZES, st.data())
def test_what_is_scored_is_not_played_again_and_counts_as_done(
    sizes: list[int], data: st.DataObject
) -> None:
    plan = cells(sizes, repeats=2)
    keys = [key for cell in plan for key in cell.keys]
    done = set(data.draw(st.lists(st.sampled_from(keys), unique=True)))
    schedule = Schedule(plan, done.__contains__, lifelong=False)
    assert schedule.owed == len(keys) - len(done)
    taken = []
    while (work := schedule.take()) is not None:
        taken.append(work.job.key)
    assert Counter(taken) == Counter(set(keys) - done)


@given(SIZES, st.integers(1, 3), st.integers(1, 6), st.randoms(use_true_random=False))
def test_streams_keep_their_order_and_are_never_played_twice_at_once(
    sizes: list[int], repeats: int, players: int, rng: object
) -> None:
    schedule = Schedule(cells(sizes, repeats, lifelong=True), nothing, lifelong=True)
    playing: list[Work] = []
    seen: dict[str, list[int]] = {}
    while True:
        while len(playing) < players and (work := schedule.take()) is not None:
            assert work.stream is not None
            assert work.stream.name not in {w.stream.name for w in playing if w.stream}
            playing.append(work)
        if not playing:
            break
        work = playing.pop(rng.randrange(len(playing)))  # type: ignore[attr-defined]
        assert work.stream is not None
        seen.setdefault(work.stream.name, []).append(work.job.order)
        schedule.give_back(work)
    assert sorted(map(len, seen.values())) == sorted(sizes * repeats)
    assert all(orders == list(range(len(orders))) for orders in seen.values())


def test_a_stream_goes_on_after_its_last_episode_in_a_row() -> None:
    (cell,) = cells([5], lifelong=True)
    done = {cell.keys[n] for n in (0, 1, 3)}  # 3 without 2 cannot come about, and is played anew
    schedule = Schedule([cell], done.__contains__, lifelong=True)
    work = schedule.take()
    assert work is not None
    assert work.job.order == 2
