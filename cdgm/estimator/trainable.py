"""Setting a model up and training it: what the public class of :mod:`cdgm.estimator.model` builds on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.design import Design
from cdgm.estimator import settings
from cdgm.estimator.early_stopping import EarlyStopping, Watcher
from cdgm.estimator.fitted import Fitted
from cdgm.estimator.observed import ALL, TRAIN, VALIDATION, Observed, Split, split_rows
from cdgm.estimator.scaling import Scaling
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cdgm.estimator.anndata_input import Registration

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
    adata, registration
        The AnnData object and what it was set up with; None for arrays.
    """

    observed: Observed
    split: Split
    scaling: Scaling
    adata: AnnData | None = None
    registration: Registration | None = None
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
        self.base = settings.base_for(kind, sum(map(len, self.split.train.values())))
        self.model_spec = settings.model_spec(self.base, design, dims, law, changes or {})
        try:
            self.variant.check_design(design)
        except ValueError as error:
            raise UserError(f"variant: {error}") from None
        self.scaling = Scaling.of(_rows(observed, self.split, TRAIN), law.support == "real" and standardise)
        self._fitted: Fitted | None = None

    def train(
        self,
        max_steps: int | None = None,
        max_epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        progress_bar: bool = True,
        early_stopping: bool = False,
        early_stopping_patience: int | None = None,
        early_stopping_min_delta: float | None = None,
        early_stopping_share: float | None = None,
    ) -> None:
        """Fit all members.

        The learning rate rises and falls once over the whole of the training (a one-cycle schedule), also
        with early stopping, which therefore guards against overfitting and saves no time where there is none:
        see ``docs/own_data.md``. Without it, compare the ELBOs of :meth:`get_elbo` on ``train`` and
        ``held_out`` rows.

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
        early_stopping
            Set training rows aside (a new split, ``validation``), end the training of a member when their
            ELBO no longer rises, and keep the parameters at which it was highest. Held-out rows stay unseen.
        early_stopping_patience
            Looks in a row without an improvement after which a member stops; a fifth of all looks by default.
            There is one at each record of :attr:`history`, every 25 steps or so.
        early_stopping_min_delta
            Nats a row by which it must rise to count as an improvement; 0 by default.
        early_stopping_share
            Share of each source's training rows to set aside, 500 rows at most; 0.1 by default.

        Raises
        ------
        UserError
            If an argument is wrong, or a source has too few rows to set some aside.
        """
        from cdgm.training.loop import train

        rule = EarlyStopping.asked(
            early_stopping,
            patience=early_stopping_patience,
            min_delta=early_stopping_min_delta,
            share=early_stopping_share,
        )
        split = self.split.set_aside(rule.share if rule else 0, self.seeds[0])
        sizes = [len(rows) for rows in split.train.values()]
        training = dict(self.base["training"])
        training |= {
            k: v for k, v in (("batch_size", batch_size), ("learning_rate", learning_rate)) if v is not None
        }
        # More rows than there are would only repeat some of them within a batch.
        if batch_size is None:
            training["batch_size"] = min(training["batch_size"], min(sizes))
        training["steps"] = settings.steps_of(
            max_steps, max_epochs, max(sizes), training["batch_size"], training["steps"]
        )
        training["log_every"] = max(1, min(training["log_every"], training["steps"] // 20))
        spec = settings.fit_spec(self.model_spec, self.variant, training, self.seeds)
        # Validation rows have no part in the scale either.
        rows = _rows(self.observed, split, TRAIN)
        scaling = Scaling.of(rows, self.scaling.centre is not None)
        watcher = stopping = None
        if rule is not None:
            rule = rule.for_looks(-(-training["steps"] // training["log_every"]))
            validation = _scaled(_rows(self.observed, split, VALIDATION), scaling)
            watcher = Watcher(rule, validation, self.seeds)
        with _bar(training["steps"], progress_bar) as advance:
            trained = train(spec, _scaled(rows, scaling), [0] * len(self.seeds), advance, watcher)
        if watcher is not None:
            trained, stopping = watcher.finish(trained)
        self.split, self.scaling = split, scaling
        self._fitted = Fitted(spec, trained.model, trained.finite, trained.history, stopping)
        for seed, finite in zip(self.seeds, trained.finite, strict=True):
            if not finite:
                logger.warning("member with seed %d diverged and is left out of all results", seed)
        for sentence in stopping.sentences(self.seeds) if stopping else ():
            logger.info("%s", sentence)

    def _stack(self, which: str) -> dict[str, np.ndarray]:
        """Rows of a split as the model sees them, (1, n, D) each."""
        return _scaled(_rows(self.observed, self.split, which), self.scaling)

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
        """What happened in training: member's seed, step, quantity, source, block, value.

        With early stopping there is the quantity ``elbo_validation``, a mean over sources; the values of a
        member after it stopped are NaN.
        """
        from cdgm.evaluation.study_tables import long_history

        # In the order of a file, so that a model that was saved says the same.
        history = {name: self.fitted.history[name] for name in sorted(self.fitted.history)}
        return long_history(history, self.fitted.spec.members).drop(columns="point")

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(x):,} {source}" for source, x in self.observed.x.items())
        dims = ", ".join(f"{block} {size}" for block, size in self.model_spec.dims.items())
        state = "not trained"
        if self._fitted is not None:
            steps = f"trained for {self._fitted.spec.training.steps:,} steps"
            state = steps if self._fitted.stopping is None else str(self._fitted.stopping)
        return (
            f"ComparativeVAE({sizes} rows; {len(self.observed.features):,} features; dimensions: {dims}; "
            f"{len(self.seeds)} member{'s' * (len(self.seeds) > 1)}; {state})"
        )


def _rows(observed: Observed, split: Split, which: str) -> dict[str, np.ndarray]:
    """Rows of a split, as they came."""
    if which == ALL:
        return dict(observed.x)
    return {source: observed.x[source][rows] for source, rows in split.positions(which).items()}


def _scaled(rows: Mapping[str, np.ndarray], scaling: Scaling) -> dict[str, np.ndarray]:
    """Rows of each source as a model sees them, (1, n, D) each."""
    return {source: scaling.apply(x)[None] for source, x in rows.items()}


class _bar:
    """A progress bar where someone can see it; a training that ends early fills it."""

    def __init__(self, total: int, wanted: bool) -> None:
        self.total = total
        self.shown = wanted and (sys.stderr.isatty() or "ipykernel" in sys.modules)

    def __enter__(self) -> Any:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, unit="steps", desc="training", disable=not self.shown)
        return self.bar.update

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            self.bar.total = self.bar.n
            self.bar.refresh()
        self.bar.close()
