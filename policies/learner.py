"""The model that is trained: its weights, its optimizer, and one update at a time.

The weights are the very ones that the sampler decodes with (`Learner.loaded`), so nothing is
copied between drawing and learning. Between updates the model is in evaluation mode. No update may
run while something is decoded; after one, what was cached is stale (`LiveModel.forget`).
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.errors import UsageError
from ..harness.models.hf.weights import Loaded, load
from .adapters import Adapter
from .distributed import Engine, Tally
from .forward import Packed, TokenScorer, check_understood, pack
from .grpo import Objective
from .optimizer import Optimizer
from .recipe import GrpoRecipe, ModelRecipe
from .trajectory import Group, Step

BATCH_TOKENS = 16_384  # of a forward, where nothing else is said

# What a forward is made into: the pack, log-probabilities [n] and entropies [n] in, a loss out.
_Loss = Callable[[Packed, Tensor, Tensor], Tensor]


class Learner:
    """A policy, and how it is changed. Made by `open`.

    Attributes:
        loaded: Model, tokenizer and stop tokens, as `LiveModel` takes them.
        engine: What several processes have in common.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        loaded: Loaded,
        adapter: Adapter | None,
        engine: Engine,
        seed: int,
    ) -> None:
        self.recipe, self.loaded, self.engine = recipe, loaded, engine
        self._adapter, self._seed, self._model = adapter, seed, loaded.model
        self._frozen: Any = None  # a second model, the reference of one without an adapter
        if recipe.gradient_checkpointing:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
        self._optimizer = Optimizer(self._model, TokenScorer(self._model), engine)
        self._scorer: Any = self._optimizer.scorer

    @classmethod
    def open(
        cls,
        recipe: ModelRecipe,
        folder: Path,
        seed: int,
        *,
        adapter: Path | None = None,
        reference: Path | None = None,
        accelerator: Any = None,
    ) -> Learner:
        """Load a model to train.

        Args:
            recipe: dtype, device, adapter and so on; not where the model lies.
            folder: Where it lies. With LoRA that is the base, also after a checkpoint.
            seed: Of a new adapter's weights, and of dropout.
            adapter: A saved adapter to go on with; None: a new one, which changes nothing yet.
            reference: A folder with what the KL term holds to: a whole model; with LoRA an adapter
                of this base, or the base itself. None: `hold_reference` says.
            accelerator: Of `accelerate`, where several processes train together.

        Raises:
            DataError: for files that are missing, damaged or pickled.
            UsageError: for a device that is not there, or a model that cannot be trained here.
            MissingExtraError: without peft where LoRA is asked for.
        """
        loaded, adapted = _load(recipe, folder), None
        if recipe.lora is not None:
            adapted = Adapter(loaded.model, recipe.lora, adapter, seed)
            loaded = replace(loaded, model=adapted.model.eval())
        else:
            loaded.model.requires_grad_(True)
        learner = cls(recipe, loaded, adapted, Engine(accelerator), seed)
        if reference is not None and adapted is not None:
            adapted.hold_saved(reference)
        elif reference is not None:
            learner._freeze(_load(recipe, reference).model)
        return learner

    @property
    def updates(self) -> int:
        """Updates made so far; they seed dropout."""
        return self._optimizer.updates

    @updates.setter
    def updates(self, updates: int) -> None:
        self._optimizer.updates = updates

    # --- the reference ------------------------------------------------------------------------

    def hold_reference(self) -> None:
        """Let the KL term hold to the policy as it is now.

        With LoRA that needs no second model: the adapter is copied, or switched off where it
        changes nothing yet.
        """
        if self._adapter is not None:
            self._adapter.hold()
        else:
            self._freeze(copy.deepcopy(self._model))

    def _freeze(self, model: Any) -> None:
        scorer = TokenScorer(model.eval().requires_grad_(False))
        self._frozen = self.engine.prepare_frozen(scorer)

    # --- what it computes ---------------------------------------------------------------------

    def logprobs(
        self,
        steps: Sequence[Step],
        *,
        temperature: float = 1.0,
        reference: bool = False,
        batch_tokens: int = BATCH_TOKENS,
        share: bool = False,
    ) -> Tensor:
        """Log-probabilities of all completion tokens, in canonical order [n]; no gradient.

        Args:
            steps: What was prompted and drawn.
            temperature: Of the policy.
            reference: Those of the reference instead.
            batch_tokens: Most tokens of a forward.
            share: Whether common beginnings are computed once.

        Returns:
            On the model's device; NaN for tokens that are not trained.
        """
        size = sum(len(step.completion_ids) for step in steps)
        packs = self._packs(steps, batch_tokens, share)
        return self._score(packs, size, temperature, reference)

    def _score(
        self, packs: Sequence[Packed], size: int, temperature: float, reference: bool
    ) -> Tensor:
        found = torch.full((size,), math.nan, device=self._model.device)
        scorer, held = self._scorer, contextlib.nullcontext()
        if reference:
            scorer, held = self._reference()
        with held, torch.no_grad():
            for packed in self._paced(packs):
                with self._precision():
                    found[packed.order] = scorer(packed, temperature)[0].float()
        return found

    def _reference(self) -> tuple[Any, Any]:
        """What scores as the reference, and the context in which it does."""
        if self._adapter is None and self._frozen is not None:
            return self._frozen, contextlib.nullcontext()
        if self._adapter is not None and self._adapter.holds:
            return self._scorer, self._adapter.as_reference()
        raise UsageError("no reference is held, which the KL term needs: see hold_reference()")

    def _packs(self, steps: Sequence[Step], batch_tokens: int, share: bool) -> list[Packed]:
        longest = max((step.length for step in steps), default=0)
        most = self.loaded.positions
        if most is not None and longest > most:
            raise UsageError(
                f"a step has {longest} tokens, and the model {most} positions: lower "
                "agent.context_tokens or agent.max_tokens"
            )
        return pack(steps, batch_tokens, share)

    def _paced(self, packs: Sequence[Packed]) -> Iterator[Packed]:
        """The packs on the model's device; and empty ones while other processes have more."""
        device = self._model.device
        most = int(self.engine.most(torch.tensor([len(packs)], device=device)))
        for i in range(most):
            yield (packs[i] if i < len(packs) else Packed.nothing()).to(device)

    def _precision(self) -> Any:
        """Forwards in bfloat16 where the recipe says so; sums and weights stay as they are."""
        half = self.recipe.dtype == "bfloat16"
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=half)

    # --- updates ------------------------------------------------------------------------------

    def sft_update(
        self,
        steps: Sequence[Step],
        learning_rate: float,
        max_grad_norm: float,
        *,
        weight_decay: float = 0.0,
        batch_tokens: int = BATCH_TOKENS,
        share: bool = False,
    ) -> dict[str, float]:
        """Make the trained tokens of some steps likelier: their mean cross-entropy smaller.

        Args:
            steps: Prompts, and what should have been said.
            learning_rate: Of this update.
            max_grad_norm: Longer gradients are scaled down to it.
            weight_decay: Of matrices.
            batch_tokens: Most tokens of a forward.
            share: Whether common beginnings are computed once.

        Returns:
            `loss` in nats a token, `entropy`, `grad_norm`, `tokens` trained, `tokens_computed`,
            `learning_rate`, and `refused`: 1 where the gradient was no finite number, and so
            nothing was changed; else 0.
        """
        packs = self._packs(steps, batch_tokens, share)
        trained, tally = self.engine.sum(sum(sum(step.mask) for step in steps)), Tally()

        def loss(_: Packed, logprobs: Tensor, entropies: Tensor) -> Tensor:
            tally.add(entropy=entropies)
            return -logprobs.sum() / trained

        rates = learning_rate, weight_decay, max_grad_norm
        done = self._descend(packs, loss, 1.0, rates, dropout=True)
        return {**done, **tally.result(self.engine), "tokens": trained}

    def grpo_update(
        self, groups: Sequence[Group], grpo: GrpoRecipe, learning_rate: float
    ) -> dict[str, float]:
        """Make equation (7) of `grpo` smaller: one update an epoch, all groups in each.

        The old log-probabilities are those of the first epoch's own forward, in which the weights
        are those that drew; or the sampler's, where the recipe says so.

        Returns:
            `loss`, and means over the trained tokens: `surrogate`, `kl` (the estimator's value),
            `ratio`, `clipped` (share of tokens), `entropy`; `ratio_max`; `mismatch` and
            `mismatch_max`, how far the sampler's log-probabilities are from these, where it tells
            them and the temperature is 1. `grad_norm` of the last epoch, `refused` and
            `learning_rate` as of `sft_update`. `tokens` trained, `tokens_computed` in forwards
            with gradient, `tokens_plain`: what these would be if nothing was shared. `groups`,
            and `flat_groups`: those whose rewards are all equal.

        Raises:
            UsageError: where a reference or the sampler's log-probabilities are wanted and are
                not there.
        """
        objective = Objective(groups, grpo, self.engine, self._model.device)
        packs = self._packs(objective.steps, grpo.batch_tokens, grpo.prefix_sharing)
        if grpo.beta:
            objective.reference = self._score(packs, objective.size, grpo.temperature, True)
        rates = learning_rate, grpo.weight_decay, grpo.max_grad_norm
        losses: list[float] = []
        for epoch in range(grpo.epochs):
            objective.epoch = epoch
            done = self._descend(packs, objective, grpo.temperature, rates, dropout=False)
            losses.append(done["loss"])
            if done["refused"]:
                break
        loss = math.fsum(losses) / len(losses)
        return {**done, **objective.metrics(), "loss": loss}

    def _descend(
        self, packs: Sequence[Packed], loss_of: _Loss, temperature: float,
        rates: tuple[float, float, float], *, dropout: bool,
    ) -> dict[str, float]:  # fmt: skip
        """One update by the sum of the packs' losses.

        `rates` are of learning and of weight decay, and the largest norm of the gradient. Without
        a single pack nothing is changed, also not by earlier gradients or decay.
        """
        total = torch.zeros((), dtype=torch.float64, device=self._model.device)
        learning_rate, weight_decay, max_norm = rates
        self._optimizer.begin(learning_rate, weight_decay)
        norm, some = 0.0, False
        with self._training(dropout):
            for packed in self._paced(packs):
                with self._precision():
                    logprobs, entropies = self._scorer(packed, temperature, True)
                loss = loss_of(packed, logprobs, entropies)
                self.engine.backward(loss)
                total += loss.detach()
                some = True
            if some:
                norm = self._optimizer.step(max_norm)
        return {
            "loss": self.engine.sum(float(total)),
            "grad_norm": norm,
            "refused": float(not math.isfinite(norm)),
            "learning_rate": learning_rate,
            "tokens_computed": self.engine.sum(sum(packed.computed for packed in packs)),
        }

    @contextlib.contextmanager
    def _training(self, dropout: bool) -> Iterator[None]:
        """Training mode, which checkpointing needs; with the adapter's dropout if it is wanted."""
        rate = self.recipe.lora.dropout if self.recipe.lora is not None and dropout else 0.0
        self._model.train()
        if not rate:
            for module in self._model.modules():
                if isinstance(module, nn.Dropout):
                    module.eval()
        try:
            with torch.random.fork_rng(enabled=rate > 0):
                if rate:
                    torch.manual_seed(self._seed * 1_000_003 + self._optimizer.updates)
                yield
        finally:
            self._model.eval()

    # --- what is kept -------------------------------------------------------------------------

    def reset_optimizer(self) -> None:
        """Forget the moments of earlier updates, as between SFT and RL."""
        self._optimizer.reset()

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs beside the weights, for safetensors."""
        return self._optimizer.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave.

        Raises:
            DataError: if it is of another model.
        """
        self._optimizer.restore(state)

    def save(self, folder: Path) -> None:
        """Write the model as transformers does, or the adapter as peft does, and the tokenizer.

        Args:
            folder: Made if it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self._adapter is not None:
            self._adapter.save(folder, self.recipe.path or "")
        else:
            self._model.save_pretrained(folder)
        self.loaded.tokenizer.save_pretrained(folder)


def _load(recipe: ModelRecipe, folder: Path) -> Loaded:
    """A model to train: float32, but for a frozen base in bfloat16 under an adapter."""
    dtype = recipe.dtype if recipe.lora is not None else "float32"
    loaded = load(
        folder, None, dtype, recipe.device, recipe.threads,
        trust_remote_code=recipe.trust_remote_code,
    )  # fmt: skip
    check_understood(loaded.model)
    _without_dropout(loaded.model)
    return loaded


def _without_dropout(model: Any) -> None:
    """Switch a model's own dropout off: what is trained must be what draws."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if name.endswith("dropout") and isinstance(value, float):
                setattr(module, name, 0.0)
