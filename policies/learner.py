"""The model that is trained: its weights, its optimizer, and one update at a time.

The weights are the very ones that the sampler decodes with (`Learner.loaded`), so nothing is
copied between drawing and learning; but where they are split over processes, `loaded` is a whole
copy in each, for drawing and saving, which `refresh` brings up to date. Between updates the model
is in evaluation mode. No update may run while something is decoded; after one, what was cached is
stale (`LiveModel.forget`).
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.errors import UsageError
from ..harness.models.hf.weights import Loaded
from .adapters import Adapter
from .distributed import Engine, Tally, engine_of
from .forward import Packed, TokenScorer, pack
from .grpo import Objective
from .launched import Team
from .optimizer import Optimizer
from .recipe import GrpoRecipe, ModelRecipe
from .trajectory import Group, Step
from .weights import Whole, load_to_train

BATCH_TOKENS = 16_384  # of a forward, where nothing else is said

# What a forward is made into: the pack, log-probabilities [n] and entropies [n] in, a loss out.
_Loss = Callable[[Packed, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rates:
    """How far an update goes; see `Learner.sft_update` and `Optimizer.begin`."""

    learning: float
    decay: float
    max_norm: float
    muon: float = 0.0
    inner: bool = False


class Learner:
    """A policy, and how it is changed. Made by `open`.

    Attributes:
        loaded: Model, tokenizer and stop tokens, as `LiveModel` takes them; see `refresh`.
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
        self.recipe, self.engine = recipe, engine
        self._adapter, self._seed, self._model = adapter, seed, loaded.model
        self._whole = Whole(loaded, adapter, engine)  # before an engine splits the model
        self.loaded = self._whole.loaded
        self._device = engine.device or loaded.model.device
        self._frozen: Any = None  # a second model, the reference of one without an adapter
        if recipe.gradient_checkpointing:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
        self._optimizer = Optimizer(self._model, TokenScorer(self._model, recipe.dtype), engine)
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
        team: Team | None = None,
    ) -> Learner:
        """Load a model to train.

        Args:
            recipe: dtype, device, adapter and so on; not where the model lies.
            folder: Where it lies. With LoRA that is the base, also after a checkpoint.
            seed: Of a new adapter's weights, and of dropout.
            adapter: A saved adapter to go on with; None: a new one, which changes nothing yet.
            reference: A folder with what the KL term holds to: a whole model; with LoRA an adapter
                of this base, or the base itself. None: `hold_reference` says.
            team: The processes that train together; None: this one alone.

        Raises:
            DataError: for files that are missing, damaged or pickled.
            UsageError: for a device that is not there, or a model that cannot be trained here.
            MissingExtraError: without peft where LoRA is asked for.
        """
        engine, adapted = engine_of(team or Team()), None
        loaded = load_to_train(recipe, folder, engine)
        if recipe.lora is not None:
            adapted = Adapter(loaded.model, recipe.lora, adapter, seed)
            loaded = replace(loaded, model=adapted.model.eval())
        else:
            loaded.model.requires_grad_(True)
        if reference is not None and adapted is not None:
            adapted.hold_saved(reference)
        learner = cls(recipe, loaded, adapted, engine, seed)
        if reference is not None and adapted is None:
            learner._freeze(load_to_train(recipe, reference, engine).model)
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

        Raises:
            UsageError: with LoRA where weights are split, to which no second adapter can come.
        """
        if self._adapter is None:
            self.refresh()
            self._freeze(copy.deepcopy(self.loaded.model))
        elif self.engine.splits:
            raise UsageError("where weights are split, the reference is a folder: see open()")
        else:
            self._adapter.hold()

    def _freeze(self, model: Any) -> None:
        scorer = TokenScorer(model.eval().requires_grad_(False), self.recipe.dtype)
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
        found = torch.full((size,), math.nan, device=self._device)
        scorer, held = self._scorer, contextlib.nullcontext()
        if reference:
            scorer, held = self._reference()
        with held, torch.no_grad():
            for packed, _ in self._paced(packs):
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

    def _paced(self, packs: Sequence[Packed]) -> Iterator[tuple[Packed, bool]]:
        """The packs on the model's device, and which is the last.

        While other processes have more of them there are empty ones.
        """
        device = self._device
        most = int(self.engine.most(torch.tensor([len(packs)], device=device)))
        for i in range(most):
            packed = packs[i] if i < len(packs) else Packed.nothing()
            yield packed.to(device), i == most - 1

    # --- updates ------------------------------------------------------------------------------

    def sft_update(
        self,
        steps: Sequence[Step],
        learning_rate: float,
        max_grad_norm: float,
        *,
        weight_decay: float = 0.0,
        muon: float = 0.0,
        batch_tokens: int = BATCH_TOKENS,
        share: bool = False,
    ) -> dict[str, float]:
        """Make the trained tokens of some steps likelier: their mean cross-entropy smaller.

        Args:
            steps: Prompts, and what should have been said.
            learning_rate: Of this update.
            max_grad_norm: Longer gradients are scaled down to it.
            weight_decay: Of matrices.
            muon: Times the rate at which Muon changes the inner matrices; 0: AdamW does.
            batch_tokens: Most tokens of a forward.
            share: Whether common beginnings are computed once.

        Returns:
            `loss` in nats a token, `entropy`, `grad_norm`, `tokens` trained, `tokens_computed`,
            `learning_rate`, and `refused`: 1 where the gradient was no finite number, and so
            nothing was changed; else 0.

        Raises:
            UsageError: for Muon where matrices are split over processes.
        """
        if muon and self.engine.splits:
            raise UsageError(
                "sft.muon: needs whole matrices: launch with weights whole, or leave it out"
            )
        packs = self._packs(steps, batch_tokens, share)
        trained, tally = self.engine.sum(sum(sum(step.mask) for step in steps)), Tally()

        def loss(_: Packed, logprobs: Tensor, entropies: Tensor) -> Tensor:
            tally.add(entropy=entropies)
            return -logprobs.sum() / trained

        rates = Rates(learning_rate, weight_decay, max_grad_norm, muon)
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
        objective = Objective(groups, grpo, self.engine, self._device)
        packs = self._packs(objective.steps, grpo.batch_tokens, grpo.prefix_sharing)
        if grpo.beta:
            objective.reference = self._score(packs, objective.size, grpo.temperature, True)
        rates = Rates(learning_rate, grpo.weight_decay, grpo.max_grad_norm, inner=grpo.inner)
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
        self, packs: Sequence[Packed], loss_of: _Loss, temperature: float, rates: Rates,
        *, dropout: bool,
    ) -> dict[str, float]:  # fmt: skip
        """One update by the sum of the packs' losses.

        Without a single pack nothing is changed, also not by earlier gradients or decay.
        """
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        self._optimizer.begin(rates.learning, rates.decay, rates.muon, rates.inner)
        norm, some = 0.0, False
        with self._training(dropout):
            for packed, last in self._paced(packs):
                logprobs, entropies = self._scorer(packed, temperature, True)
                loss = loss_of(packed, logprobs, entropies)
                self.engine.backward(loss, last)
                total += loss.detach()
                some = True
            if some:
                norm = self._optimizer.step(rates.max_norm)
                self._whole.stale = True
        return {
            "loss": self.engine.sum(float(total)),
            "grad_norm": norm,
            "refused": float(not math.isfinite(norm)),
            "learning_rate": rates.learning,
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

    def refresh(self) -> None:
        """Bring `loaded` up to date, where it is a copy; called by all processes."""
        self._whole.refresh(self._model)

    def reset_optimizer(self) -> None:
        """Forget the moments of earlier updates, as between SFT and RL."""
        self._optimizer.reset()

    def state(self, keep: bool = True) -> dict[str, Tensor]:
        """What a resumed training needs beside the weights, for safetensors.

        Whole also where it is split over processes; all of them call this.

        Args:
            keep: False: it is only gathered for another process.
        """
        return self._optimizer.state(keep)

    def restore(self, path: Path) -> None:
        """Take up what `state` gave.

        Args:
            path: The file that it was written to.

        Raises:
            DataError: if it is of another model.
        """
        self._optimizer.restore(path)

    def save(self, folder: Path) -> None:
        """Write the model as transformers does, or the adapter as peft does, and the tokenizer.

        Where weights are split over processes, those of the newest `refresh`.

        Args:
            folder: Made if it is not there.
        """
        self._whole.save(folder, self.recipe.path or "")
