"""What `bench_grpo` compares: a model of 2.8M weights, TRL's trainer, and groups that are played.

The model is a Qwen2 with a vocabulary of 4096 and random weights: only sizes count here.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import tokenizers
import torch
import transformers

from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.models.hf import draw, generate
from agemem_eval.harness.models.hf.generate import Decoder
from agemem_eval.harness.models.hf.live import LiveModel
from agemem_eval.harness.models.hf.weights import Loaded
from agemem_eval.harness.models.inprocess.chat import Chat
from agemem_eval.harness.models.inprocess.decoding import Prompt
from agemem_eval.harness.types import Completion, EpisodeView, Model, ModelInfo, Request
from agemem_eval.policies.fresh import make_tokenizer
from agemem_eval.policies.learner import Learner
from agemem_eval.policies.mixture import Pick
from agemem_eval.policies.recipe import Fresh, GrpoRecipe, ModelRecipe, Recipe, make_recipe
from agemem_eval.policies.rollout import Player
from agemem_eval.policies.teacher import Teacher
from agemem_eval.policies.trajectory import Group, Reward, Step, Trajectory

VOCABULARY = 4096
PROMPTS, COMPLETIONS, LONG, NEW = 4, 8, 512, 64
BETA, RATE = 0.04, 1e-5
Ids = tuple[int, ...]


# --- the model ----------------------------------------------------------------------------------


def write_model(folder: Path, tokenizer: Any, stop: int) -> Path:
    """A checkpoint of 2.8M weights."""
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=192, intermediate_size=768, num_hidden_layers=4,
        num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=8192,
        tie_word_embeddings=True, bos_token_id=None, pad_token_id=0,
        eos_token_id=stop if stop < VOCABULARY else None,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain_tokenizer() -> Any:
    """A word a token, `t0` to `t4095`; its stop token is one that the model cannot draw."""
    words = {f"t{i}": i for i in range(VOCABULARY)} | {"<end>": VOCABULARY}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="t0"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="t0"
    )


def some_prompts(seed: int) -> list[Ids]:
    """Of one step, a prompt a task."""
    draws = random.Random(seed)
    return [tuple(draws.choices(range(1, VOCABULARY), k=LONG)) for _ in range(PROMPTS)]


def open_learner(folder: Path, dtype: str, device: str) -> Learner:
    """Ours, with its reference."""
    recipe = ModelRecipe.model_validate({"path": str(folder), "dtype": dtype, "device": device})
    learner = Learner.open(recipe, folder, 0)
    learner.hold_reference()
    return learner


def a_trajectory(
    task: str, rollout: int, steps: Sequence[Step], reward: float, like: Trajectory | None = None
) -> Trajectory:
    """A trajectory whose episode nobody asks for."""
    episode: Any = like.episode if like is not None else None
    return Trajectory(task, rollout, tuple(steps), episode, (), None, Reward(reward))


class OurStep:
    """Draws completions and learns from them, as training does."""

    def __init__(self, folder: Path, dtype: str, device: str, *, share: bool) -> None:
        self.learner = open_learner(folder, dtype, device)
        self.decoder = Decoder(
            self.learner.loaded.model, (), max_rows=PROMPTS * COMPLETIONS, max_tokens=2**20,
            prefill_tokens=4096, reuse=share,
        )  # fmt: skip
        self.grpo = GrpoRecipe(
            rollouts=COMPLETIONS, beta=BETA, clip=0.2, prefix_sharing=share, learning_rate=RATE
        )
        self.generated = 0.0  # seconds of the last step's generation
        self._step = 0

    def __call__(self) -> None:
        self._step += 1
        begun = time.perf_counter()
        prompts = [p for p in some_prompts(self._step) for _ in range(COMPLETIONS)]
        replies = self.decoder.generate(
            [Prompt(p, NEW, 1.0, 1.0, self._step * 100 + i) for i, p in enumerate(prompts)]
        )
        self.decoder.reset()  # the weights are about to change
        self.generated = time.perf_counter() - begun
        steps = [
            Step(prompt, reply.tokens, None, (True,) * len(reply.tokens), 3)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        rewards = random.Random(self._step)
        groups = []
        for at in range(0, len(steps), COMPLETIONS):
            made = [
                a_trajectory(f"{at}", i, [step], rewards.random())
                for i, step in enumerate(steps[at : at + COMPLETIONS])
            ]
            groups.append(Group(f"{at}", tuple(made)))
        self.learner.grpo_update(groups, self.grpo, RATE)


# --- TRL ----------------------------------------------------------------------------------------


class _Clock(transformers.TrainerCallback):  # type: ignore[misc]
    """Times each step of a trainer, which waits after it until it is told to go on."""

    def __init__(self, device: str) -> None:
        self._device, self._begun = device, 0.0
        self.done, self.go_on, self.took = threading.Semaphore(0), threading.Semaphore(0), 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        _settle(self._device)
        self.took = time.perf_counter() - self._begun
        self.done.release()
        self.go_on.acquire()


def trl_steps(folder: Path, scratch: Path, dtype: str, device: str, steps: int) -> Iterator[float]:
    """Seconds of each step of TRL's GRPOTrainer, as it goes on; a pause at a yield counts nothing.

    A thread trains, so that what is compared runs between two of its steps; never at once.
    """
    clock = _Clock(device)
    trainer = _trl_trainer(folder, scratch, dtype, device, steps, clock)

    def train() -> None:
        try:
            trainer.train()
        finally:
            clock.done.release()

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    for _ in range(steps):
        clock.done.acquire()
        if not thread.is_alive():
            raise RuntimeError("TRL's trainer ended before its last step")
        yield clock.took
        clock.go_on.release()
    thread.join()


def _trl_trainer(
    folder: Path, scratch: Path, dtype: str, device: str, steps: int, clock: _Clock
) -> Any:
    """TRL's trainer of the same steps.

    Its own generation; all 32 completions in one batch, nothing recomputed, no checkpointing of
    activations, no dropout, no logs: nothing that would cost it time.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    args = GRPOConfig(
        output_dir=str(scratch), use_cpu=device == "cpu", max_steps=steps, learning_rate=RATE,
        per_device_train_batch_size=PROMPTS * COMPLETIONS, num_generations=COMPLETIONS,
        max_completion_length=NEW, beta=BETA, temperature=1.0, bf16=dtype == "bfloat16",
        gradient_checkpointing=False, report_to="none", save_strategy="no", logging_steps=10_000,
        disable_tqdm=True, dataloader_pin_memory=device != "cpu", seed=0,
    )  # fmt: skip
    rows = [
        {"prompt": " ".join(f"t{i}" for i in ids)}
        for seed in range(steps + 1) for ids in some_prompts(seed)
    ]  # fmt: skip
    draws = random.Random(0)

    def reward(completions: list[str], **_: Any) -> list[float]:
        return [draws.random() for _ in completions]

    trainer = GRPOTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=reward, args=args, train_dataset=Dataset.from_list(rows),
        processing_class=plain_tokenizer(), callbacks=[clock],
    )  # fmt: skip
    trainer.generation_config.eos_token_id = VOCABULARY
    return trainer


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(device: str, what: Callable[[], Any]) -> float:
    """Seconds of the clock."""
    begun = time.perf_counter()
    what()
    _settle(device)
    return time.perf_counter() - begun


# --- three-stage groups -------------------------------------------------------------------------


def three_stage(folder: Path, style: str) -> tuple[Recipe, Path]:
    """A recipe of generated three-stage HotpotQA, and a model with a tokenizer of its texts."""
    recipe = make_recipe({
        "name": "bench", "model": {"path": str(folder)}, "grpo": {"rollouts": COMPLETIONS},
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
    })  # fmt: skip

    async def listen() -> list[str]:
        player = Player(recipe, Teacher("reader"))
        try:
            tasks = await player.tasks(recipe.tasks.split, 100, 16)
            heard = [await player.listen(task, repeat=0) for task in tasks]
        finally:
            await player.close()
        return [
            text for one in heard for messages, reply in one.turns
            for text in (*(message.content for message in messages[-2:]), reply.text)
        ] + [messages[0].content for messages, _ in heard[0].turns[:1]]  # fmt: skip

    sizes = Fresh.model_validate({"vocabulary": VOCABULARY, "positions": 8192, "style": style})
    tokenizer = make_tokenizer(sizes, asyncio.run(listen()))
    return recipe, write_model(folder, tokenizer, tokenizer.eos_token_id)


class Voice(ModelBase):
    """A model that computes all it would, and then says what the teacher says.

    So a model of random weights plays whole episodes, with prompts and replies as those of one
    that was warm-started. A share of the teacher's calls is left out, differently each rollout.
    """

    def __init__(self, live: LiveModel, chat: Chat, tokenizer: Any, noise: float = 0.3) -> None:
        self.info, self.live, self.chat, self.tokenizer = live.info, live, chat, tokenizer
        self._teacher = Teacher("reader", noise)
        self.words: dict[tuple[Ids, int], Iterator[int]] = {}

    def count_tokens(self, text: str) -> int:
        return self.live.count_tokens(text)

    def bind(self, episode: EpisodeView) -> Model:
        return _Spoken(self, self._teacher.bind(episode))

    def draw(
        self, logits: Any, prompts: Sequence[Prompt], generators: Sequence[Any], barred: Any = None
    ) -> tuple[list[int], list[float]]:
        """In place of the decoder's draw."""
        _, logprobs = draw.draw(logits, prompts, generators, barred)
        return [next(self.words[prompt.tokens, prompt.seed]) for prompt in prompts], logprobs


class _Spoken(ModelBase):
    """One episode of it."""

    def __init__(self, voice: Voice, lesson: Model) -> None:
        self.info, self._voice, self._lesson = voice.info, voice, lesson

    def count_tokens(self, text: str) -> int:
        return self._voice.count_tokens(text)

    async def generate(self, request: Request) -> Completion:
        from agemem_eval.harness.models.inprocess.live import prompt_of

        voice = self._voice
        text = (await self._lesson.generate(request)).text
        ids = voice.tokenizer.encode(text, add_special_tokens=False)
        prompt = prompt_of(voice.chat.encode(request), request)
        ids = [*ids[: request.sampling.max_tokens - 1], voice.tokenizer.eos_token_id]
        voice.words[prompt.tokens, prompt.seed] = iter(ids)
        return await voice.live.generate(request)


class Played:
    """Groups, and what their generation took."""

    def __init__(self, recipe: Recipe, loaded: Loaded, tasks: int, *, reuse: bool) -> None:
        chat = Chat(loaded.tokenizer, None, {}, "bench")
        live = LiveModel(
            loaded, ModelInfo("bench"), chat, max_batch=tasks * COMPLETIONS, prefix_reuse=reuse
        )
        voice = Voice(live, chat, loaded.tokenizer)
        self.seconds, decoder = 0.0, live.decoder
        self._clocked(decoder, "join")
        self._clocked(decoder, "step")
        with mock.patch.object(generate, "draw", voice.draw):
            self.groups = asyncio.run(self._play(recipe, voice, tasks))
        self.prefilled = decoder.prefilled
        self.steps = [s for g in self.groups for t in g.trajectories for s in t.steps]
        self.prompted = sum(len(step.prompt_ids) for step in self.steps)
        self.drawn = sum(len(step.completion_ids) for step in self.steps)

    def _clocked(self, decoder: Decoder, name: str) -> None:
        inner = getattr(decoder, name)

        def clocked(*given: Any) -> Any:
            begun = time.perf_counter()
            result = inner(*given)
            self.seconds += time.perf_counter() - begun
            return result

        setattr(decoder, name, clocked)

    async def _play(self, recipe: Recipe, voice: Voice, tasks: int) -> list[Group]:
        player = Player(recipe, voice)
        try:
            found = [Pick(task) for task in await player.tasks(recipe.tasks.split, 0, tasks)]
            batch = await player.groups(found, rollouts=COMPLETIONS, temperature=1.0, round_=0)
        finally:
            await player.close()
            await voice.live.close()
        return list(batch.groups)
