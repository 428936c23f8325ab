"""Early stopping: the rule, what it makes of validation ELBOs, and the best parameters of each member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from cdgm.models.comparative_vae import ComparativeVAE as Stack
from cdgm.models.inference import held_out_bounds
from cdgm.training.loop import TrainedStack
from cdgm.utils.errors import bad_input
from cdgm.utils.random_streams import stream

#: Name of the criterion in the history.
QUANTITY = "elbo_validation"
#: Posterior samples of a validation row, the same ones at each look.
DRAWS = 4
#: Share of the looks of a training that are waited for an improvement, unless a number is given.
PATIENCE = 0.2


@dataclass(frozen=True)
class EarlyStopping:
    """When the training of a member ends.

    Attributes
    ----------
    patience
        Looks in a row without an improvement after which it does; None for a fifth of all looks. There is
        a look at each record of the history.
    min_delta
        Nats a row by which the validation ELBO must rise to count as an improvement.
    share
        Share of each source's training rows that are for validation and not trained on.
    """

    patience: int | None = None
    min_delta: float = 0.0
    share: float = 0.1

    @classmethod
    def asked(cls, early_stopping: bool, **values: Any) -> EarlyStopping | None:
        """The rule that the arguments of ``ComparativeVAE.train`` ask for; a value None is the usual one.

        Raises
        ------
        UserError
            If a value makes no sense, or is given without ``early_stopping``.
        """
        given = {name: value for name, value in values.items() if value is not None}
        if not isinstance(early_stopping, (bool, np.bool_)):
            raise bad_input("train", "early_stopping", early_stopping, "True or False")
        checks = {
            "patience": (Integral, lambda value: value >= 1, "a whole number of at least 1"),
            "min_delta": (Real, lambda value: 0 <= value < math.inf, "a number of at least 0, nats a row"),
            "share": (Real, lambda value: 0 < value < 1, "a share between 0 and 1, for instance 0.1"),
        }
        for name, value in given.items():
            kind, fine, expected = checks[name]
            if not early_stopping:
                raise bad_input("train", f"early_stopping_{name}", value, "early_stopping=True beside it")
            if isinstance(value, bool) or not isinstance(value, kind) or not fine(value):
                raise bad_input("train", f"early_stopping_{name}", value, expected)
        return cls(**given) if early_stopping else None

    def for_looks(self, looks: int) -> EarlyStopping:
        """The same with a number for the patience, for a training of so many looks."""
        patience = max(1, math.ceil(PATIENCE * looks)) if self.patience is None else int(self.patience)
        return EarlyStopping(patience, float(self.min_delta), float(self.share))


class Patience:
    """What the rule makes of validation ELBOs, for each member by itself.

    Attributes
    ----------
    best
        Highest value so far (E,), -inf before there is one.
    kept
        Step of that value (E,), 0 before.
    until
        Step at which a member ran out of patience (E,), 0 before.
    """

    def __init__(self, n_members: int, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best = np.full(n_members, -np.inf)
        self.kept, self.until, self._waited = np.zeros((3, n_members), dtype=np.int64)
        # The best value at the last improvement: rises of less than min_delta add up to one.
        self._counted = self.best.copy()

    def goes_on(self, alive: np.ndarray) -> np.ndarray:
        """Which members have neither diverged nor run out of patience (E,)."""
        return alive & (self.until == 0)

    def look(self, step: int, values: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """Take the values of one look.

        Parameters
        ----------
        step
            Steps that are finished.
        values
            Validation ELBOs (E,). One that is not finite is no improvement.
        alive
            Which members have not diverged (E,).

        Returns
        -------
        ndarray
            For which members this is the best look so far (E,); of equal ones it is the first.
        """
        looked = self.goes_on(alive)
        values = np.where(looked & np.isfinite(values), values, -np.inf)
        better = values > self.best
        self.best[better], self.kept[better] = values[better], step
        improved = values > self._counted + self.min_delta
        self._counted[improved] = values[improved]
        self._waited = np.where(improved, 0, self._waited + looked)
        self.until[looked & (self._waited >= self.patience)] = step
        return better


@dataclass(frozen=True)
class Stopping:
    """What early stopping did. All of a member that diverged is 0, False or NaN.

    Attributes
    ----------
    rule
        The rule.
    kept
        Step whose parameters a member holds (E,).
    until
        Step at which its training ended (E,).
    early
        Whether that was because it ran out of patience (E,).
    best
        Its validation ELBO at ``kept`` (E,): nats a row, mean over sources.
    """

    rule: EarlyStopping
    kept: np.ndarray
    until: np.ndarray
    early: np.ndarray
    best: np.ndarray

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        best = [None if math.isnan(value) else value for value in self.best.tolist()]
        arrays = {name: getattr(self, name).tolist() for name in ("kept", "until", "early")}
        return {"rule": asdict(self.rule), "best": best} | arrays

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Stopping:
        """What :meth:`plain` gave."""
        arrays = (np.array(plain[name]) for name in ("kept", "until", "early"))
        return cls(EarlyStopping(**plain["rule"]), *arrays, np.array(plain["best"], dtype=np.float64))

    def __str__(self) -> str:
        fine = self.kept > 0
        until, kept = (_numbers(np.where(fine, steps, 0)) for steps in (self.until, self.kept))
        return f"trained until step {until}, best at step {kept}"

    def sentences(self, seeds: Sequence[int]) -> list[str]:
        """A sentence for each member that has not diverged."""
        found = []
        for e in np.flatnonzero(self.kept):
            end = "out of patience at step" if self.early[e] else "trained to the last step,"
            found.append(
                f"member {e} (seed {seeds[e]}): {end} {self.until[e]:,}; it holds the parameters of step "
                f"{self.kept[e]:,}, validation ELBO {self.best[e]:.2f}"
            )
        return found


def _numbers(steps: np.ndarray) -> str:
    return ", ".join(f"{step:,}" if step else "none (diverged)" for step in steps)


def validation_elbo(model: Stack, x: Mapping[str, np.ndarray], seeds: Sequence[int]) -> np.ndarray:
    """The criterion: ELBO of each member (E,), nats a row, mean over sources; with its own, equal noise.

    Parameters
    ----------
    model
        The stack.
    x
        Validation rows of each source (1, n, D), as the model sees them.
    seeds
        Seed of each member.
    """
    generators = [stream("own data", "early stopping", seed, root=0) for seed in seeds]
    elbo, _ = held_out_bounds(model, x, [0] * len(seeds), generators, DRAWS)
    return np.mean(list(elbo.values()), axis=0)


class Watcher:
    """Watches a training (see :func:`cdgm.training.loop.train`) and keeps the best parameters of each member.

    The stack is trained until no member goes on. A member that ran out of patience is trained on with it,
    but no longer looked at: what it ends with does not depend on its neighbours.

    Parameters
    ----------
    rule
        The rule, with a number for the patience.
    x, seeds
        As in :func:`validation_elbo`.
    """

    def __init__(self, rule: EarlyStopping, x: Mapping[str, np.ndarray], seeds: Sequence[int]) -> None:
        self.rule, self.x, self.seeds = rule, x, seeds
        self.patience = Patience(len(seeds), rule.patience, rule.min_delta)
        self._best: list[torch.Tensor] = []
        self._values: list[np.ndarray] = []

    def __call__(self, step: int, model: Stack, alive: np.ndarray) -> bool:
        """Look at the stack after so many steps; True where training may end."""
        values = validation_elbo(model, self.x, self.seeds)
        self._values.append(np.where(self.patience.goes_on(alive), values, np.nan))
        better = self.patience.look(step, values, alive)
        if not self._best:
            self._best = [p.detach().clone() for p in model.parameters()]
        for best, parameter in zip(self._best, model.parameters(), strict=True):
            best[better] = parameter.detach()[better]
        return not self.patience.goes_on(alive).any()

    @torch.no_grad()
    def finish(self, trained: TrainedStack) -> tuple[TrainedStack, Stopping]:
        """Put every member back to its best parameters.

        Its history ends where its training did (NaN beyond), and has the criterion beside the rest (NaN for a
        member that diverged). A member that diverged stays as it is; so does one whose validation ELBO was
        never finite, which counts as diverged.
        """
        patience, history = self.patience, dict(trained.history)
        early = patience.until > 0
        # It was finite when it ran out of patience, whatever it became while others went on.
        finite = (trained.finite | early) & np.isfinite(patience.best)
        early &= finite
        for best, parameter in zip(self._best, trained.model.parameters(), strict=True):
            parameter[finite] = best[finite].to(parameter)
        last = int(history["step"][-1])
        until = np.where(early, patience.until, last)
        for name, values in history.items():
            if values.ndim == 2 and early.any():
                steps = np.arange(1, last + 1) if name.startswith("each/") else history["step"]
                history[name] = np.where(steps[:, None] > until, values.dtype.type(np.nan), values)
        history[QUANTITY] = np.where(finite, np.array(self._values), np.nan)
        kept, until = (np.where(finite, steps, 0) for steps in (patience.kept, until))
        best = np.where(finite, patience.best, np.nan)
        return (
            replace(trained, finite=finite, history=history),
            Stopping(self.rule, kept, until, early, best),
        )
