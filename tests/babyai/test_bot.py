"""Demonstrations by minigrid's bot, and the process it plays in, which may loop, grow or die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("minigrid", reason="needs the extra `babyai`")

from minigrid.utils.baby_ai_bot import BabyAIBot

from agemem_eval.envs.babyai import bot as bot_module
from agemem_eval.envs.babyai import levels
from agemem_eval.envs.babyai.bot import Bot, Demonstrator, demonstration, in_words
from agemem_eval.envs.babyai.commands import Primitive
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.envs.babyai.game import Game
from agemem_eval.envs.babyai.view import WALL
from agemem_eval.harness.errors import EpisodeTimeout, WorkerError
from agemem_eval.harness.types import Task
from agemem_eval.harness.workers.pool import WorkerPool

pytestmark = pytest.mark.babyai

LOOPS = ("UnlockToUnlock-v0", 1234)  # the bot never answers
RAISES = ("KeyInBox-v0", 1)  # and here it finds no key
EASY = ("GoToLocal-v0", 3)
WAIT_S = 30.0  # for the end of a process, on a busy machine


@pytest.fixture(scope="module")
def one_bot() -> Iterator[Bot]:
    bot = Bot()
    yield bot
    bot.close()


@pytest.fixture
def bot(one_bot: Bot) -> Bot:
    """A bot whose process runs, so that a limit of time is spent on the game alone."""
    one_bot.play(*EASY)
    return one_bot


def task_of(level: str, seed: int, split: str = "generated") -> Task:
    return Task(f"{level}/{seed}", split, data={"level": level, "seed": seed})


def pid_of(bot: Bot) -> int:
    assert bot._process is not None
    return bot._process.pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has ended too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def played_by_minigrid_s_bot(level: str, seed: int) -> Game:
    """The whole game as the bot plays it in this process, with its own native actions."""
    game = Game(levels.level_id(level), seed)
    bot, action = BabyAIBot(game.env), None
    while not game.over:
        action = bot.replan(action)
        game.act(Primitive(action))
    return game


# --- demonstrations ------------------------------------------------------------------------------


def test_a_demonstration_does_natively_what_the_bot_does() -> None:
    lengths = []
    for level in levels.GENERATED[::6]:
        actions = demonstration(level, 2)
        assert actions is not None, level
        game = Game(levels.level_id(level), 2)
        assert all(game.step(action).valid for action in actions)
        assert game.success
        witness = played_by_minigrid_s_bot(level, 2)
        assert game.primitives == witness.primitives, level
        assert game.env.hash() == witness.env.hash()
        lengths.append((len(actions), len(game.primitives)))
    assert len(lengths) == 15
    # Macros stand for several native actions each.
    assert sum(a for a, _ in lengths) < 0.6 * sum(n for _, n in lengths)


def test_a_game_that_the_bot_loses_has_no_demonstration() -> None:
    assert not played_by_minigrid_s_bot("OpenDoorsOrderN4Debug-v0", 1234).success
    assert demonstration("OpenDoorsOrderN4Debug-v0", 1234) is None


def test_any_native_actions_are_told_in_words_that_do_the_same() -> None:
    for level in ("GoToLocal-v0", "KeyCorridorS3R2-v0", "BossLevel-v0"):
        rng, game = random.Random(level), Game(levels.level_id(level), 5)
        for _ in range(25):
            if not game.over:
                game.step(rng.choice(game.possible()))
        trace = game.primitives
        for start in (0, len(trace) // 2):
            told = in_words(level, 5, trace, start)
            again = Game(levels.level_id(level), 5)
            for primitive in trace[:start]:
                again.act(primitive)
            for begin, action in told.items():
                assert len(again.primitives) == begin
                again.step(action)
            assert again.primitives == trace
            assert again.env.hash() == game.env.hash()
            assert len(told) <= 25


def test_the_telling_ends_before_what_has_no_words() -> None:
    # To stay in front of a wall is no action, and to walk into it is refused.
    game = Game("BabyAI-GoToLocal-v0", 3)
    while game.view.front_kind != WALL:
        game.act(Primitive.FORWARD if game.view.front_is_walkable else Primitive.LEFT)
    for nothing in (Primitive.DONE, Primitive.FORWARD):
        trace = [*game.primitives, nothing, Primitive.LEFT]
        told = in_words("GoToLocal-v0", 3, trace)
        assert told
        assert max(told) < len(game.primitives)


# --- the expert ----------------------------------------------------------------------------------


def test_the_expert_wins_with_the_demonstration() -> None:
    environment = BabyaiEnvironment()
    for level in levels.AGENTBOARD[::9]:
        environment.reset(task_of(level, 1235, "agentboard"), 0)
        given = []
        while (action := environment.expert_action("bot")) is not None:
            given.append(action)
            assert environment.expert_action("bot") == action
            environment.step(action)
        assert tuple(given) == demonstration(level, 1235)
        assert environment.step("turn left").success
    environment.close()


def test_the_expert_goes_on_after_anybody_else_s_actions() -> None:
    environment = BabyaiEnvironment()
    won = 0
    for level in levels.GENERATED[::8]:
        rng = random.Random(level)
        environment.reset(task_of(level, 3), 0)
        for number in range(100):
            # A box is not to be destroyed: it may be what the mission is about.
            harmless = [a for a in environment.valid_actions() if a != "toggle"]
            action = rng.choice(harmless) if number < 6 else environment.expert_action("bot")
            result = environment.step(action or "turn left")
            if result.terminated or result.truncated:
                won += bool(result.success)
                break
    environment.close()
    assert won >= 11  # of 12


def test_a_refused_action_does_not_disturb_the_bot(bot: Bot) -> None:
    game = Game(levels.level_id(EASY[0]), EASY[1])
    demonstrator = Demonstrator(bot, *EASY)
    action = demonstrator.next_action(game.primitives)
    bot.close()
    game.step("nonsense")
    assert demonstrator.next_action(game.primitives) == action
    assert bot._process is None  # nobody was asked


# --- limits --------------------------------------------------------------------------------------


def test_a_bot_that_loops_is_ended_and_the_next_game_is_played(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pid_of(bot)
    monkeypatch.setattr(bot_module, "SECONDS", 1.0)
    with pytest.raises(
        EpisodeTimeout, match=r"^minigrid's bot on UnlockToUnlock-v0 1234 took longer than 1 s$"
    ):
        bot.play(*LOOPS)
    assert is_gone(first)
    monkeypatch.undo()
    assert bot.play(*EASY)
    assert pid_of(bot) != first


def test_the_environment_can_be_played_on_after_its_bot_was_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = BabyaiEnvironment()
    environment.reset(task_of(*EASY), 0)
    environment.expert_action("bot")
    monkeypatch.setattr(bot_module, "SECONDS", 0.5)
    environment.reset(task_of(*LOOPS, "agentboard"), 0)
    for _ in range(2):  # as often as it is asked
        with pytest.raises(EpisodeTimeout):
            environment.expert_action("bot")
    while (action := environment.expert_action("oracle")) is not None:
        environment.step(action)
    assert environment.step("turn left").success
    environment.close()


def write_program(folder: Path, play: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot's process play otherwise."""
    (folder / "other_bot_worker.py").write_text(
        "import os, time\n"
        "from agemem_eval.envs.babyai import bot_worker\n"
        f"def play(level, seed, played):\n    {play}\n"
        "bot_worker.play = play\n"
        "bot_worker.main()\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(bot_module, "_PROGRAM", "other_bot_worker")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces it")
def test_a_bot_that_grows_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path, "return [bytearray(1 << 22) for _ in iter(int, 1)]", monkeypatch)
    monkeypatch.setattr(bot_module, "MEMORY", 600 << 20)
    bot = Bot()
    with pytest.raises(WorkerError, match=r"^minigrid's bot on .* needs more than 600 MiB of mem"):
        bot.play(*EASY)
    assert bot._process is None
    monkeypatch.undo()
    assert bot.play(*EASY)
    bot.close()


def test_a_fresh_process_is_far_from_the_limit_of_memory(bot: Bot) -> None:
    status = Path(f"/proc/{pid_of(bot)}/status")
    if not status.exists():
        pytest.skip("only Linux tells")
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmPeak"))
    assert int(peak.split()[1]) << 10 < bot_module.MEMORY / 2


@pytest.mark.parametrize(
    ("play", "says"),
    [
        ("raise ValueError('no\\nplan')", "failed: ValueError: no plan"),
        ("os._exit(3)", r"died with 3 \(limits: 20 s, 2048 MiB\)"),
        ("return [99]", "gave no answer: ValueError"),
        ("return None", "gave no answer: TypeError"),
    ],
)
def test_a_bot_that_fails_says_so_in_one_line(
    play: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path, play, monkeypatch)
    bot = Bot()
    with pytest.raises(WorkerError, match=rf"^minigrid's bot on GoToLocal-v0 3 {says}") as caught:
        bot.play(*EASY)
    assert "\n" not in str(caught.value)
    assert bot._process is None


def test_a_level_that_the_bot_cannot_do_is_a_failure(bot: Bot) -> None:
    with pytest.raises(WorkerError, match="minigrid's bot on KeyInBox-v0 1 failed: Assertion"):
        bot.play(*RAISES)
    assert bot.play(*EASY)


def test_a_process_that_nobody_ends_ends_itself() -> None:
    command = [sys.executable, "-m", bot_module._PROGRAM, str(bot_module.MEMORY), "1"]
    request = f'{{"level": "{LOOPS[0]}", "seed": {LOOPS[1]}, "actions": []}}\n'
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(request.encode())
        process.stdin.flush()
        assert process.wait(WAIT_S) == -signal.SIGALRM


# --- no process is left --------------------------------------------------------------------------


def test_a_process_that_was_killed_is_replaced(bot: Bot) -> None:
    first, actions = pid_of(bot), bot.play(*EASY)
    assert bot._process is not None
    os.kill(first, signal.SIGKILL)
    bot._process.wait(WAIT_S)  # a zombie whose threads still end cannot be waited for yet
    assert bot.play(*EASY) == actions
    assert pid_of(bot) != first


def test_a_process_that_is_killed_at_work_fails_its_call_only(bot: Bot) -> None:
    first = pid_of(bot)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 1; kill -9 {first}"])
    with pytest.raises(WorkerError, match="died with -9"):
        bot.play(*LOOPS)
    killer.wait()
    assert bot.play(*EASY)


def test_close_leaves_no_process() -> None:
    environment = BabyaiEnvironment()
    environment.close()  # none was started
    environment.reset(task_of(*EASY), 0)
    assert environment.expert_action("bot")
    pid = pid_of(environment._bot)
    assert os.getpgid(pid) == os.getpgrp()  # so that it dies with the group of its parent
    environment.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)  # not even one to be waited for
    environment.reset(task_of(*EASY), 0)
    assert environment.expert_action("bot")
    environment.close()


@pytest.mark.parametrize("game", [EASY, LOOPS])
def test_a_parent_that_is_killed_leaves_no_process(game: tuple[str, int]) -> None:
    script = (
        "from agemem_eval.envs.babyai.bot import Bot\n"
        "bot = Bot()\n"
        f"bot.play(*{EASY})\n"
        "print(bot._process.pid, flush=True)\n"
        f"bot.play(*{game})\n"
        "print('idle', flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent:
        child = int(parent.stdout.readline())
        if game == EASY:
            assert parent.stdout.readline() == b"idle\n"
        else:
            time.sleep(0.5)  # until it is at work
        assert not is_gone(child)
        parent.kill()
        parent.wait()
        wait_until_gone(child)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    bot = Bot()
    for seed in range(6):  # minigrid prints what it draws anew
        bot.play("PutNextLocal-v0", seed)
    bot.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_worker_of_the_harness_that_is_killed_takes_the_bot_with_it() -> None:
    pool = WorkerPool(workers=1)
    client = await pool.acquire("babyai", {})
    await client.reset(task_of(*EASY), 0)
    assert await client.expert_action("bot")
    assert client.worker._transport is not None
    worker = client.worker._transport.get_pid()
    members = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat")
               if group_of(stat) == worker]  # fmt: skip
    assert len(members) == 2
    os.kill(worker, signal.SIGKILL)
    for pid in members:
        await asyncio.to_thread(wait_until_gone, pid)
    await pool.close()


def group_of(stat: Path) -> int:
    """The process group of a process; 0 of one that has ended by now."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[2])
    except OSError:
        return 0
