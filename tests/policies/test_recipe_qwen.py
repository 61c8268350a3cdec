"""The recipes of the paper's models, up to where weights are needed: random ones stand in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_model
import train_runs

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agemem_eval.harness.errors import DataError, UsageError  # noqa: E402
from agemem_eval.harness.models.hf import HfModel  # noqa: E402
from agemem_eval.policies.command import find_recipe  # noqa: E402
from agemem_eval.policies.preflight import TAGS, check_model  # noqa: E402
from agemem_eval.policies.recipe import read_recipe  # noqa: E402

ARCHITECTURES = {
    "qwen2.5-7b-instruct": ("Qwen2Config", "Qwen2ForCausalLM"),
    "qwen3-4b-instruct": ("Qwen3Config", "Qwen3ForCausalLM"),
}


def make_qwen(folder: Path, recipe: str) -> Path:
    """Random weights of a recipe's architecture, with a chat template as it has."""
    tiny_model.make_model(folder)  # for its tokenizer
    config, model = (getattr(transformers, name) for name in ARCHITECTURES[recipe])
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    torch.manual_seed(0)
    made = model(
        config(
            vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, eos_token_id=end,
            bos_token_id=None, max_position_embeddings=32768, tie_word_embeddings=True,
        )
    )  # fmt: skip
    made.save_pretrained(folder)
    return folder


def smaller(recipe: str, folder: Path, more=None):
    """A recipe as it is but for the weights, the data, and how much is played."""
    return read_recipe(find_recipe(recipe), {
        "model.path": str(folder), "model.threads": 1,
        "tasks.split": "generated-train", "tasks.episodes": 8,
        "tasks.options.hotpotqa.paragraphs": 2, "tasks.options.hotpotqa.distractors": 1,
        "agent.max_tokens": 6, "agent.max_turns_per_step": 1,
        "grpo.steps": 2, "grpo.tasks_per_step": 1, "grpo.rollouts": 2,
        "evaluation.split": "generated-train", "evaluation.first": 4000, "evaluation.episodes": 1,
        "checkpoints.every": 1, **(more or {}),
    })  # fmt: skip


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """The recipe of Qwen2.5, and what was trained by it."""
    folder = tmp_path_factory.mktemp("qwen")
    recipe = smaller("qwen2.5-7b-instruct", make_qwen(folder / "base", "qwen2.5-7b-instruct"))
    return recipe, train_runs.finish(train_runs.plan(recipe, folder / "run"))


def check_trained(trained, steps):
    lines = train_runs.lines(trained.directory / "metrics.jsonl")
    assert [line["step"] for line in lines] == steps
    assert all(line["kl"] is not None and not line["refused"] for line in lines)
    assert (trained.final / "adapter_model.safetensors").is_file()
    assert not (trained.final / "model.safetensors").exists()
    assert json.loads((trained.final / "card.json").read_text())["training"] == "agemem"


def test_the_whole_recipe_of_qwen2_5_runs_on_random_weights_of_the_architecture(qwen):
    recipe, trained = qwen
    check_trained(trained, [1, 2])
    played = HfModel(str(recipe.model.path), lora=str(trained.final))
    assert played.info.training == "agemem"


def test_the_whole_recipe_of_qwen3_runs_on_random_weights_of_the_architecture(tmp_path):
    base = make_qwen(tmp_path / "base", "qwen3-4b-instruct")
    recipe = smaller("qwen3-4b-instruct", base, {"grpo.steps": 1})
    check_trained(train_runs.finish(train_runs.plan(recipe, tmp_path / "run")), [1])


def test_an_adapter_goes_on_from_its_checkpoint_to_the_same_curve(qwen, tmp_path):
    (recipe, trained), half = qwen, tmp_path / "half"
    whole = trained.directory
    shutil.copytree(whole, half)
    shutil.rmtree(half / "final")
    shutil.rmtree(half / "checkpoints" / "step-000002")
    assert [path.name for path in (half / "checkpoints").iterdir()] == ["step-000001"]
    train_runs.finish(train_runs.plan(recipe, half))
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert train_runs.lines(half / name) == train_runs.lines(whole / name), name
    files = [d / "final" / "adapter_model.safetensors" for d in (half, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def bad(model, tmp_path):
    """A copy to be spoilt."""
    return shutil.copytree(model, tmp_path / "bad")


def refusal(recipe, folder):
    with pytest.raises((UsageError, DataError)) as caught:
        check_model(recipe, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def recipe_of(folder, **overrides):
    return train_runs.recipe(model__fresh=None, model__path=str(folder), **overrides)


def test_a_good_model_is_let_through(model):
    check_model(recipe_of(model), model)


def test_pickled_weights_are_refused(bad):
    (bad / "model.safetensors").rename(bad / "pytorch_model.bin")
    assert "only pickled weights (pytorch_model.bin)" in refusal(recipe_of(bad), bad)


def test_a_context_beyond_the_models_positions_is_refused_with_both_keys(bad):
    said = refusal(recipe_of(bad, agent__context_tokens=32_760), bad)
    assert "agent.context_tokens 32760 and agent.max_tokens 12 exceed the 32768 positions" in said


def test_a_tokenizer_that_cannot_write_a_tag_is_refused_with_the_tag(bad):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["[UNK]", "think", "answer", "a", ">", "/"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(bad / "tokenizer.json"))
    assert "cannot write <think>" in refusal(recipe_of(bad), bad)


def test_a_tag_that_is_a_special_token_is_refused_since_it_vanishes(bad):
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(bad / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<answer>", special=True)])
    tokenizer.save(str(bad / "tokenizer.json"))
    assert "<answer>" in TAGS
    assert "cannot write <answer>" in refusal(recipe_of(bad), bad)


def test_a_tokenizer_without_a_chat_template_is_refused(bad):
    path = bad / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))
    assert "no chat template" in refusal(recipe_of(bad), bad)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(bad, name):
    (bad / name).unlink()
    assert name.replace("model.safetensors", "weights") in refusal(recipe_of(bad), bad)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_file_is_named(bad, name):
    (bad / name).write_text("{")
    assert name in refusal(recipe_of(bad), bad)


def test_a_folder_that_is_not_there_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(UsageError, match="there is no model directory"):
        train_runs.plan(recipe_of(tmp_path / "none"), tmp_path / "run")


def test_code_of_a_models_own_is_not_run_unasked(bad, tmp_path):
    path = bad / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Own"}}
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match="needs code of its own"):
        train_runs.plan(recipe_of(bad), tmp_path / "run")
