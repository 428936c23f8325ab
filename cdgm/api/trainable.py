"""Setting a model up and training it: what the public class of :mod:`cdgm.api.model` builds on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.api import settings
from cdgm.api.fitted import Fitted
from cdgm.api.observed import ALL, Observed, Split, split_rows
from cdgm.api.scaling import Scaling
from cdgm.designs import Design
from cdgm.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


class Trainable:
    """Observations, a specification, and, after training, a stack.

    Attributes
    ----------
    observed
        The observations.
    split
        Which of them are trained on.
    variant, model_spec
        How to fit, and the architecture.
    seeds
        Seed of each member.
    scaling
        What is done to values before the model sees them.
    """

    observed: Observed
    split: Split
    scaling: Scaling
    _fitted: Fitted | None = None

    def _set_up(
        self,
        observed: Observed,
        design: Design,
        dims: Mapping[str, int],
        variant: str | Mapping[str, Any],
        law: Any,
        n_members: int,
        held_out: float,
        seed: int,
        changes: Mapping[str, Any] | None,
        standardise: bool,
    ) -> None:
        self.observed, self.variant = observed, settings.variant(variant)
        self.split: Split = split_rows(observed, held_out, seed)
        for name, value, least in (("n_members", n_members, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise bad_input(name, "", value, f"a whole number of at least {least}")
        self.seeds = tuple(range(int(seed), int(seed) + int(n_members)))
        kind = settings.CELLS if law.support == "counts" else settings.ARRAYS
        self._base = settings.base_for(kind, sum(map(len, self.split.train.values())))
        self.model_spec = settings.model_spec(self._base, design, dims, law, changes or {})
        try:
            self.variant.check_design(design)
        except ValueError as error:
            raise UserError(f"variant: {error}") from None
        self.scaling = Scaling.of(self._take("train"), law.support == "real" and standardise)
        self._fitted: Fitted | None = None

    def train(
        self,
        max_steps: int | None = None,
        max_epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        progress_bar: bool = True,
    ) -> None:
        """Fit all members.

        The learning rate rises and falls once over the whole of the training (a one-cycle schedule), so
        there is no stopping early: compare the ELBOs of :meth:`get_elbo` on ``train`` and ``held_out`` rows
        instead.

        Parameters
        ----------
        max_steps
            Optimiser steps; 3,000 by default.
        max_epochs
            The same in passes over the largest source.
        batch_size
            Rows of *each* source in a step.
        learning_rate
            Peak of the schedule.
        progress_bar
            Whether to show one on a terminal or in a notebook.
        """
        from cdgm.training import train

        training = dict(self._base["training"])
        training |= {
            k: v for k, v in (("batch_size", batch_size), ("learning_rate", learning_rate)) if v is not None
        }
        rows = max(map(len, self.split.train.values()))
        # More rows than there are would only repeat some of them within a batch.
        if batch_size is None:
            training["batch_size"] = min(training["batch_size"], min(map(len, self.split.train.values())))
        training["steps"] = settings.steps_of(
            max_steps, max_epochs, rows, training["batch_size"], training["steps"]
        )
        training["log_every"] = max(1, min(training["log_every"], training["steps"] // 20))
        spec = settings.fit_spec(self.model_spec, self.variant, training, self.seeds)
        with _bar(training["steps"], progress_bar) as advance:
            trained = train(spec, self._stack("train"), [0] * len(self.seeds), advance)
        self._fitted = Fitted(spec, trained.model, trained.finite, trained.history)
        for seed, finite in zip(self.seeds, trained.finite, strict=True):
            if not finite:
                logger.warning("member with seed %d diverged and is left out of all results", seed)

    def _take(self, which: str) -> dict[str, np.ndarray]:
        """Rows of a split, as they came."""
        if which == ALL:
            return dict(self.observed.x)
        return {source: self.observed.x[source][rows] for source, rows in self.split.positions(which).items()}

    def _stack(self, which: str) -> dict[str, np.ndarray]:
        """Rows of a split as the model sees them, (1, n, D) each."""
        return {source: self.scaling.apply(x)[None] for source, x in self._take(which).items()}

    @property
    def fitted(self) -> Fitted:
        """The trained stack.

        Raises
        ------
        UserError
            Before :meth:`train`.
        """
        if self._fitted is None:
            raise UserError("this model is not trained: call model.train() first")
        return self._fitted

    @property
    def history(self) -> pd.DataFrame:
        """What happened in training: member's seed, step, quantity, source, block, value."""
        from cdgm.tables import long_history

        # In the order of a file, so that a model that was saved says the same.
        history = {name: self.fitted.history[name] for name in sorted(self.fitted.history)}
        return long_history(history, self.fitted.spec.members).drop(columns="point")

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(x):,} {source}" for source, x in self.observed.x.items())
        dims = ", ".join(f"{block} {size}" for block, size in self.model_spec.dims.items())
        state = f"trained for {self._fitted.spec.training.steps:,} steps" if self._fitted else "not trained"
        return (
            f"ComparativeVAE({sizes} rows; {len(self.observed.features):,} features; dimensions: {dims}; "
            f"{len(self.seeds)} member{'s' * (len(self.seeds) > 1)}; {state})"
        )


class _bar:
    """A progress bar where someone can see it."""

    def __init__(self, total: int, wanted: bool) -> None:
        self.total = total
        self.shown = wanted and (sys.stderr.isatty() or "ipykernel" in sys.modules)

    def __enter__(self) -> Any:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, unit="steps", desc="training", disable=not self.shown)
        return self.bar.update

    def __exit__(self, *_: object) -> None:
        self.bar.close()
