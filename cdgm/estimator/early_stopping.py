"""Early stopping: the rule, its decisions on validation ELBOs, and the best parameters of each member."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.inference import held_out_bounds
from cdgm.training.loop import TrainedStack
from cdgm.utils.errors import bad_input
from cdgm.utils.random_streams import stream
from cdgm.utils.registry import Strict

#: Name of the criterion in the history.
QUANTITY = "elbo_validation"
#: Posterior samples of a validation row, the same ones at each check.
DRAWS = 4
#: Default patience, as a share of all checks of a training.
PATIENCE = 0.2

#: Training rows of the smallest source from which early stopping is the default: a tenth of fewer is noise.
ENOUGH_ROWS = 200

Step = Annotated[int, Field(ge=0)]
#: Attributes of a result that have a value a member.
PER_MEMBER = ("best_step", "last_step", "stopped_early", "best_elbo")


class EarlyStopping(Strict):
    """Rule that ends the training of a member.

    Attributes
    ----------
    patience
        Checks in a row without an improvement after which training ends; None for a fifth of all checks.
        Each record of the history is a check.
    min_delta
        Nats a row by which the validation ELBO must rise to count as an improvement.
    share
        Share of each source's training rows that is set aside for validation.
    """

    patience: int | None = Field(None, ge=1)
    min_delta: float = Field(0.0, ge=0)
    share: float = Field(0.1, gt=0, lt=1)

    @classmethod
    def requested(cls, early_stopping: bool | None, fewest: int, **values: Any) -> EarlyStopping | None:
        """Rule of the arguments of ``ComparativeModel.train``, None without one; a value None is the default.

        Parameters
        ----------
        early_stopping
            None where the size of the data decides: with :data:`ENOUGH_ROWS` training rows in each source
            some can be spared.
        fewest
            Training rows of the smallest source.
        values
            Attributes of the rule.

        Raises
        ------
        UserError
            If a value is wrong, or is given where there is no early stopping.
        """
        given = {name: value for name, value in values.items() if value is not None}
        if early_stopping is not None and not isinstance(early_stopping, (bool, np.bool_)):
            raise bad_input("train", "early_stopping", early_stopping, "True, False or None")
        if early_stopping is None:
            early_stopping = bool(given) or fewest >= ENOUGH_ROWS
        largest = sys.float_info.max
        checks = {
            "patience": (Integral, lambda value: value >= 1, "a whole number of at least 1"),
            "min_delta": (
                Real,
                lambda value: 0 <= value <= largest,
                "a number of at least 0, nats a row",
            ),
            "share": (Real, lambda value: 0 < value < 1, "a share between 0 and 1, for instance 0.1"),
        }
        for name, value in given.items():
            kind, allowed, expected = checks[name]
            if not early_stopping:
                expected = "no early_stopping=False beside it"
                raise bad_input("train", f"early_stopping_{name}", value, expected)
            if isinstance(value, bool) or not isinstance(value, kind) or not allowed(value):
                raise bad_input("train", f"early_stopping_{name}", value, expected)
            given[name] = int(value) if kind is Integral else float(value)
        return cls(**given) if early_stopping else None

    def for_checks(self, checks: int) -> EarlyStopping:
        """Same rule with a number for the patience, for a training with so many checks."""
        patience = max(1, math.ceil(PATIENCE * checks)) if self.patience is None else self.patience
        return self.model_copy(update={"patience": patience})


class Patience:
    """Decisions of the rule, for each member by itself.

    Attributes
    ----------
    best_elbo
        Highest validation ELBO so far (E,), -inf before the first.
    best_step
        Step of that value (E,), 0 before.
    ran_out
        Step at which a member ran out of patience (E,), 0 before.
    """

    def __init__(self, n_members: int, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_elbo = np.full(n_members, -np.inf)
        self.best_step, self.ran_out, self._waited = np.zeros((3, n_members), dtype=np.int64)
        # The best value at the last improvement: rises of less than min_delta add up to one.
        self._counted = self.best_elbo.copy()

    def continuing(self, alive: np.ndarray) -> np.ndarray:
        """Which members have neither diverged nor run out of patience (E,)."""
        return alive & (self.ran_out == 0)

    def check(self, step: int, values: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """Take in one check.

        Parameters
        ----------
        step
            Number of finished steps.
        values
            Validation ELBOs (E,). A value that is not finite is no improvement.
        alive
            Which members have not diverged (E,).

        Returns
        -------
        ndarray
            For which members this is the best check so far (E,); of equal ones the first.
        """
        checked = self.continuing(alive)
        values = np.where(checked & np.isfinite(values), values, -np.inf)
        better = values > self.best_elbo
        self.best_elbo[better], self.best_step[better] = values[better], step
        improved = values > self._counted + self.min_delta
        self._counted[improved] = values[improved]
        self._waited = np.where(improved, 0, self._waited + checked)
        self.ran_out[checked & (self._waited >= self.patience)] = step
        return better


class Stopping(Strict):
    """Result of early stopping, a value a member; 0, False or None for a member that diverged.

    Attributes
    ----------
    rule
        The rule.
    best_step
        Step of the parameters that a member holds.
    last_step
        Step at which its training ended.
    stopped_early
        Whether it ran out of patience.
    best_elbo
        Its validation ELBO at ``best_step``: nats a row, mean over sources.
    """

    rule: EarlyStopping
    best_step: tuple[Step, ...]
    last_step: tuple[Step, ...]
    stopped_early: tuple[bool, ...]
    best_elbo: tuple[float | None, ...]

    @classmethod
    def of_parts(cls, parts: Sequence[Stopping]) -> Stopping:
        """Result of a stack whose parts were trained apart, members in order."""
        values = {name: tuple(v for part in parts for v in getattr(part, name)) for name in PER_MEMBER}
        return cls(rule=parts[0].rule, **values)

    def of_members(self, members: Sequence[int]) -> Stopping:
        """Result of some members, in this order."""
        return self.model_copy(
            update={name: tuple(getattr(self, name)[e] for e in members) for name in PER_MEMBER}
        )

    def __str__(self) -> str:
        last, best = (
            ", ".join(f"{step:,}" if step else "none (diverged)" for step in steps)
            for steps in (self.last_step, self.best_step)
        )
        return f"trained until step {last}, best at step {best}"

    def sentences(self, seeds: Sequence[int]) -> list[str]:
        """One sentence for each member that did not diverge."""
        found = []
        for e in np.flatnonzero(self.best_step).tolist():
            end = "out of patience at step" if self.stopped_early[e] else "trained to the last step,"
            found.append(
                f"member {e} (seed {seeds[e]}): {end} {self.last_step[e]:,}; it holds the parameters of step "
                f"{self.best_step[e]:,}, validation ELBO {self.best_elbo[e]:.2f}"
            )
        return found


def validation_elbo(
    model: ComparativeVAE,
    x: Mapping[str, np.ndarray],
    seeds: Sequence[int],
    covariates: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Criterion of each member (E,): ELBO in nats a row, mean over sources, with the same noise each time.

    Parameters
    ----------
    model
        The stack.
    x
        Validation rows of each source (1, n, D), as the network takes them.
    seeds
        Seed of each member.
    covariates
        Covariates of the rows (1, n, C); None for a model without.
    """
    generators = [stream("own data", "early stopping", seed, root=0) for seed in seeds]
    elbo, _ = held_out_bounds(model, x, [0] * len(seeds), generators, DRAWS, covariates)
    return np.mean(list(elbo.values()), axis=0)


class Watcher:
    """Watches a training (see :func:`cdgm.training.loop.train`) and keeps each member's best parameters.

    The stack is trained until every member has stopped. A member that ran out of patience is trained on with
    the others but no longer checked, so its result does not depend on them.

    Parameters
    ----------
    rule
        The rule, with a number for the patience.
    x, seeds
        As in :func:`validation_elbo`.
    settled_after
        Steps before which checks are recorded but decide nothing and keep nothing: a schedule still changes
        the objective.
    covariates
        As in :func:`validation_elbo`.
    """

    def __init__(
        self,
        rule: EarlyStopping,
        x: Mapping[str, np.ndarray],
        seeds: Sequence[int],
        settled_after: int = 0,
        covariates: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.rule, self.x, self.seeds, self.settled_after = rule, x, seeds, settled_after
        self.covariates = covariates
        if rule.patience is None:
            raise ValueError("the patience depends on the number of checks: see for_checks")
        self.patience = Patience(len(seeds), rule.patience, rule.min_delta)
        self._best: list[torch.Tensor] = []
        self._values: list[np.ndarray] = []

    def __call__(self, step: int, model: ComparativeVAE, alive: np.ndarray) -> bool:
        """Check the stack after so many steps; True ends training."""
        values = validation_elbo(model, self.x, self.seeds, self.covariates)
        self._values.append(np.where(self.patience.continuing(alive), values, np.nan))
        if not self._best:
            self._best = [p.detach().clone() for p in model.parameters()]
        if step < self.settled_after:
            return not alive.any()
        better = self.patience.check(step, values, alive)
        for best, parameter in zip(self._best, model.parameters(), strict=True):
            best[better] = parameter.detach()[better]
        return not self.patience.continuing(alive).any()

    @torch.no_grad()
    def finish(self, trained: TrainedStack) -> tuple[TrainedStack, Stopping]:
        """Restore each member's best parameters, and end its history where its training ended.

        The history gains the criterion; after a member stopped its values are NaN. A member that diverged
        stays as it is, and so does one whose validation ELBO was never finite, which counts as diverged.
        """
        patience, history = self.patience, dict(trained.history)
        early = patience.ran_out > 0
        # A member that ran out of patience was finite then; what it became later does not count.
        finite = (trained.finite | early) & np.isfinite(patience.best_elbo)
        early &= finite
        for best, parameter in zip(self._best, trained.model.parameters(), strict=True):
            chosen = torch.as_tensor(finite)
            parameter[chosen] = best[chosen].to(parameter)
        last = int(history["step"][-1])
        ends = np.where(early, patience.ran_out, last)
        for name, values in history.items():
            if values.ndim == 2 and early.any():
                steps = np.arange(1, last + 1) if name.startswith("each/") else history["step"]
                history[name] = np.where(steps[:, None] > ends, values.dtype.type(np.nan), values)
        history[QUANTITY] = np.where(finite, np.array(self._values), np.nan)
        best = [v if ok else None for v, ok in zip(patience.best_elbo.tolist(), finite, strict=True)]
        stopping = Stopping(
            rule=self.rule,
            best_step=tuple(np.where(finite, patience.best_step, 0).tolist()),
            last_step=tuple(np.where(finite, ends, 0).tolist()),
            stopped_early=tuple(early.tolist()),
            best_elbo=tuple(best),
        )
        return replace(trained, finite=finite, history=history), stopping
