"""Checkpoints of the package: their names, what holds by default, and who plays `agemem-norl`."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaged_models import SETTINGS, put

from agemem_eval.harness.analysis import load_frames
from agemem_eval.harness.cli import main
from agemem_eval.harness.config import AgentConfig, Execution
from agemem_eval.harness.doctor import checks
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.models import make_model, packaged
from agemem_eval.harness.options import resolve
from agemem_eval.harness.report import notes
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.services import make_models
from agemem_eval.harness.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
COUNT = "agemem_fakes.envs:CountEnv"
NAMES = ("nano", "nano-sft", "nano-answer-only")
KEPT = {
    "README.md", "card.json", "chat_template.jinja", "config.json", "generation_config.json",
    "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    "training.json",
}  # fmt: skip


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where packaged checkpoints are looked for: nothing is there."""
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "packaged")
    return tmp_path / "packaged"


@pytest.fixture
def shipped(place: Path, tiny: Path) -> Path:
    """The same with all three."""
    return put(place, tiny, *NAMES)


def settings(**given: Any) -> Any:
    return resolve({"env": COUNT, "memory": "none", **given})[0]


def play(directory: Path, **given: Any) -> RunResult:
    given = {"env": COUNT, "episodes": 2, "workers": 0, "runs_dir": directory, **given}
    return asyncio.run(run(*resolve(given)))


def models(row: Any) -> tuple[str, str]:
    return row.memory, row.model


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_shown_by_its_name_and_known_by_its_weights(
    shipped: Path, name: str
) -> None:
    model = make_model(name, {"max_batch": "2"})
    assert model.info.name == name
    assert model.info.training == ("none" if name == "nano-sft" else "agemem")
    assert not model.info.writes
    by_folder = make_model(f"numpy:{shipped / name}").info.identity
    assert model.info.identity == by_folder
    assert len({make_model(other).info.identity["weights"] for other in NAMES}) == 3


def test_restricted_actions_are_a_name_of_their_own_also_of_the_untrained_one(
    shipped: Path,
) -> None:
    given = settings(memory="agemem,agemem-norl", option=["actions=restricted"])
    assert given.options == {"nano": {"actions": "restricted"}}
    made = make_models(given, Execution())
    names = [made.of(memory).agent.info.name for memory in given.memories]
    assert names == ["nano (restricted)", "nano-sft (restricted)"]


def test_what_is_not_shipped_is_told_in_a_line_before_anything_is_loaded(place: Path) -> None:
    for ask in (lambda: make_model("nano"), lambda: settings(model="nano")):
        with pytest.raises(DataError, match=r"no checkpoint nano .*use --model scripted") as told:
            ask()
        assert "\n" not in str(told.value)


def test_a_name_after_the_name_and_unknown_names_are_refused(shipped: Path) -> None:
    with pytest.raises(UsageError, match="takes no name"):
        make_model("nano:x")
    with pytest.raises(UsageError, match="did you mean 'nano-sft'"):
        make_model("nano-stf")
    with pytest.raises(UsageError, match="unknown option of nano"):
        settings(model="nano", option=["nano.card=x"])


def test_the_list_of_models_says_which_are_there(
    shipped: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        main(["list", "models", "--json"])
    assert "not in this installation" not in capsys.readouterr().out
    monkeypatch.setattr(packaged, "FOLDER", shipped / "elsewhere")
    with pytest.raises(SystemExit):
        main(["list", "models", "--json"])
    assert capsys.readouterr().out.count("(not in this installation)") == 3


def test_the_doctor_says_which_are_there_and_what_plays_without_a_name(
    place: Path, tiny: Path
) -> None:
    def told() -> tuple[bool, str]:
        (found,) = (check for check in checks(place.parent) if check.what == "checkpoints")
        return found.ok, found.detail

    assert told() == (False, "none in this version; run without --model plays scripted")
    put(place, tiny, "nano-sft", "nano")
    assert told() == (True, "nano, nano-sft; run without --model plays nano")


# --- what holds where nothing is given ----------------------------------------------------------


def test_a_run_without_a_model_plays_with_nano_where_it_is_shipped(place: Path, tiny: Path) -> None:
    assert settings().model == "scripted"
    assert settings().agent == AgentConfig()
    put(place, tiny, "nano")
    assert settings().model == "nano"
    assert settings().agent == AgentConfig(**SETTINGS)


def test_the_settings_of_the_training_hold_where_the_user_gives_none(
    shipped: Path, tmp_path: Path
) -> None:
    assert settings(model="nano-sft").agent == AgentConfig(**SETTINGS)
    assert settings(model="nano", shots=1, temperature=0.5).agent == AgentConfig(
        **{**SETTINGS, "shots": 1, "temperature": 0.5}
    )
    file = tmp_path / "c.yaml"
    file.write_text("model: nano\nmax_tokens: 7\nagent:\n  context_tokens: 512\n")
    of_file = settings(config=file).agent
    assert (of_file.max_tokens, of_file.context_tokens, of_file.shots) == (7, 512, 0)
    assert settings(config=file, max_tokens=9).agent.max_tokens == 9
    assert settings(model="scripted").agent == AgentConfig()


def test_the_settings_in_force_are_recorded_and_other_ones_are_no_resume(
    shipped: Path, tmp_path: Path
) -> None:
    play(tmp_path, memory="none", name="r")
    kept = RunStore.open(tmp_path / "r").config()
    assert (kept.model, kept.agent) == ("nano", AgentConfig(**SETTINGS))
    assert play(tmp_path, memory="none", name="r").resumed == 2
    with pytest.raises(UsageError, match="max_tokens"):
        play(tmp_path, memory="none", name="r", max_tokens=9)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"agent": {"shots": 5}}, "shots"),
        ({"agent": {"shotz": 0}}, "shotz"),
        ({"writes": "perhaps"}, "writes"),
    ],
)
def test_a_damaged_card_is_refused_by_name(
    place: Path, tiny: Path, card: dict[str, Any], said: str
) -> None:
    put(place, tiny, "nano", **card)
    with pytest.raises(DataError, match=rf"card\.json is damaged: .*{said}"):
        settings()


def test_rules_write_for_a_memory_in_its_place_and_it_is_no_judge(shipped: Path) -> None:
    made = make_models(settings(memory="mem0"), Execution())
    assert made.memory.info.name.startswith("heuristic")
    for key, said in (("memory_model", "cannot write texts"), ("judge", "cannot judge")):
        with pytest.raises(UsageError, match=said):
            make_models(settings(memory="mem0", **{key: "nano"}), Execution())


def test_one_that_can_write_says_so_in_its_card(place: Path, tiny: Path) -> None:
    put(place, tiny, "nano", "nano-sft", writes=True)
    made = make_models(settings(memory="agemem,agemem-norl"), Execution())
    assert made.memory is made.agent
    own = made.of("agemem-norl")
    assert own.memory is own.agent
    assert own.agent.info.name == "nano-sft"


# --- agemem-norl --------------------------------------------------------------------------------


def test_agemem_norl_is_played_by_what_was_there_before_reinforcement_learning(
    shipped: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"memory": "none,agemem,agemem-norl,agemem-rag", "name": "r"}
    first = play(tmp_path, **given)
    assert first.complete
    assert [models(row) for row in first.rows] == [
        ("none", "nano"), ("agemem", "nano"), ("agemem-norl", "nano-sft"), ("agemem-rag", "nano"),
    ]  # fmt: skip
    assert [note for note in notes(first.rows) if note.startswith("nano: a checkpoint")]
    hashes = {frame.base.memory: frame.base.model_hash for frame in load_frames(first.directory)}
    assert hashes["none"] == hashes["agemem"] == hashes["agemem-rag"] != hashes["agemem-norl"]
    again = play(tmp_path, **given)
    assert again.resumed == again.planned == 8
    assert [models(row) for row in again.rows] == [models(row) for row in first.rows]


def test_its_cell_is_the_one_of_nano_sft_named_itself(shipped: Path, tmp_path: Path) -> None:
    frames = [
        load_frames(play(tmp_path, memory=memory, model=model).directory)[0]
        for memory, model in (("agemem-norl", "nano"), ("agemem", "nano-sft"))
    ]
    assert frames[0].base == frames[1].base
    column = "tokens.agent.completion"
    assert frames[0].values(column).tolist() == frames[1].values(column).tolist()


def test_the_other_checkpoint_is_only_needed_where_it_plays(place: Path, tiny: Path) -> None:
    put(place, tiny, "nano")
    assert make_models(settings(memory="agemem"), Execution()).untrained is None
    with pytest.raises(DataError, match="no checkpoint nano-sft"):
        make_models(settings(memory="agemem-norl"), Execution())


def test_a_trained_model_of_ones_own_is_refused_as_before(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is trained for AgeMem: use --memory agemem"):
        play(tmp_path, memory="agemem-norl", model=f"numpy:{shipped / 'nano'}")


def test_a_replay_gives_both_models_cells_again(shipped: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"memory": "agemem,agemem-norl", **SETTINGS}
    first = play(tmp_path, name="a", **given)
    replayed = play(tmp_path, name="b", model="replay:a", **given)
    assert replayed.complete
    assert [models(row) for row in replayed.rows] == [
        ("agemem", "replay of nano"), ("agemem-norl", "replay of nano-sft"),
    ]  # fmt: skip
    assert [row.tokens["agent"] for row in replayed.rows] == [
        row.tokens["agent"] for row in first.rows
    ]


# --- what is in the package ---------------------------------------------------------------------


def checkpoints() -> list[Path]:
    """The checkpoints in the checkout, if any."""
    folder = ROOT / "policies" / "nano"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def test_the_globs_of_the_package_take_a_checkpoint_s_files_along() -> None:
    globs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (pattern,) = globs["package-data"]["agemem_eval.policies"]
    assert all(Path(f"nano/{name}/{file}").match(pattern) for name in NAMES for file in KEPT)
    assert packaged.FOLDER.parts[-3:] == ("agemem_eval", "policies", "nano") or (
        packaged.FOLDER == ROOT / "policies" / "nano"
    )


def test_what_is_shipped_is_small_whole_and_asked_alike() -> None:
    found = checkpoints()
    if not found:
        pytest.skip("no checkpoint is in the package yet")
    assert {path.name for path in found} <= set(NAMES)
    files = [file for path in found for file in path.rglob("*") if file.is_file()]
    assert {file.name for file in files} <= KEPT
    assert sum(file.stat().st_size for file in files) <= 20 * 10**6
    installed = packaged.FOLDER
    for file in files:  # under tox this is the wheel
        assert (installed / file.relative_to(ROOT / "policies" / "nano")).is_file()
    made = {path.name: make_model(path.name) for path in found}
    assert all(model.info.name == name for name, model in made.items())
    assert all(
        (model.info.training == "none") == (name == "nano-sft") for name, model in made.items()
    )
    asked = [resolve({"env": COUNT, "memory": "none", "model": name})[0].agent for name in made]
    assert all(agent == asked[0] for agent in asked)
    for path in found:
        assert (path / "README.md").read_text().startswith("A model of ")
