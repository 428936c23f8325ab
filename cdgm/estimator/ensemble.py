"""The trained members of a model: how they are trained, their latents and their bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cdgm.config.fit import FitSpec
from cdgm.estimator.early_stopping import EarlyStopping, Stopping, Watcher, validation_elbo
from cdgm.estimator.starts import Starts
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.procedures.restarts import best, starts_of
from cdgm.training.loop import TrainedStack
from cdgm.training.spread import joined, parts_of, selected, train_spread
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.random_streams import stream


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members of equal shape that differ in their seeds, trained together as a stack.

    Attributes
    ----------
    spec
        Everything that decided the result, apart from the data.
    stack
        The network, with the parameters of all members.
    finite
        Whether each member stayed finite (E,).
    history
        See :class:`cdgm.training.loop.TrainedStack`.
    stopping
        Result of early stopping; None without it.
    starts
        What chose each member from several starts; None for one start.
    """

    spec: FitSpec
    stack: ComparativeVAE
    finite: np.ndarray
    history: dict[str, np.ndarray]
    stopping: Stopping | None = None
    starts: Starts | None = None

    @classmethod
    def train(
        cls,
        spec: FitSpec,
        x: Mapping[str, np.ndarray],
        advance: Callable[[int], None],
        rule: EarlyStopping | None = None,
        validation: Mapping[str, np.ndarray] | None = None,
        starts: int = 1,
        covariates: Mapping[str, np.ndarray] | None = None,
        validation_covariates: Mapping[str, np.ndarray] | None = None,
    ) -> Ensemble:
        """Train all members.

        Parameters
        ----------
        spec
            The fit.
        x
            Training rows of each source, as the network takes them (1, n, D).
        advance
            Called with the number of steps of members that were finished since the last call.
        rule
            Early stopping; None without.
        validation
            Rows (1, n, D) for early stopping and for the choice of a start; None without either.
        starts
            Fits of each member, of which the one with the highest validation ELBO is kept.
        covariates, validation_covariates
            Covariates of the rows of both (1, n, C); None for a model without.
        """
        every, candidates = starts_of(spec.members, starts)
        started = spec.of(every)
        trained, stopping = _train(started, x, advance, rule, validation, covariates, validation_covariates)
        if starts == 1 or validation is None:
            return cls(spec, trained.model, trained.finite, trained.history, stopping)
        seeds = [member.seed for member in every]
        elbo = validation_elbo(trained.model, validation, seeds, validation_covariates)
        kept = best(elbo, trained.finite, candidates)
        of_starts = np.where(trained.finite, elbo, np.nan)[np.array(candidates)]
        found = selected(started, trained, kept)
        return cls(
            spec, found.model, found.finite, found.history,
            stopping and stopping.of_members(kept),
            Starts.of(of_starts, [every[i].start for i in kept]),
        )  # fmt: skip

    @property
    def steps(self) -> np.ndarray:
        """Number of steps of training behind each member's parameters (E,)."""
        if self.stopping is None:
            return np.full(len(self.finite), self.spec.training.steps)
        return np.array(self.stopping.best_step)

    def check_member(self, member: object) -> int:
        """Refuse a member that does not exist or has diverged."""
        if (
            not isinstance(member, (int, np.integer))
            or isinstance(member, bool)
            or not 0 <= member < len(self.finite)
        ):
            expected = f"a number from 0 to {len(self.finite) - 1}, or 'all' where offered"
            raise bad_input("member", "", member, expected)
        if not self.finite[member]:
            seed = self.spec.seeds[member]
            raise UserError(f"member {member} (seed {seed}) diverged, its latents mean nothing")
        return int(member)

    def members(self, member: object = "all") -> list[int]:
        """Positions of one member, or of all finite ones for ``"all"``."""
        if member != "all":
            return [self.check_member(member)]
        if not self.finite.any():
            raise UserError("all members diverged: train with a smaller learning_rate")
        return np.flatnonzero(self.finite).tolist()

    def means(
        self, x: Mapping[str, np.ndarray], covariates: Mapping[str, np.ndarray] | None = None
    ) -> dict[tuple[str, str], np.ndarray]:
        """Posterior means of every block for rows (1, n, D): (source, block) to (E, n, d).

        ``covariates`` (1, n, C) are needed where encoders see them.
        """
        first = [0] * len(self.finite)
        return {
            (source, block): mean
            for source, rows in x.items()
            for block, mean in posterior_means(
                self.stack, rows, first, source, (covariates or {}).get(source)
            ).items()
        }

    def bounds(
        self, x: Mapping[str, np.ndarray], draws: int, covariates: Mapping[str, np.ndarray] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
        """ELBO of each source and KL of each (source, active block) for rows (1, n, D), nats a row, (E,).

        ``covariates`` are those of the rows (1, n, C); None for a model without.
        """
        generators = [stream("own data", "bounds", seed, root=0) for seed in self.spec.seeds]
        return held_out_bounds(self.stack, x, [0] * len(self.finite), generators, draws, covariates)


def _train(
    spec: FitSpec,
    x: Mapping[str, np.ndarray],
    advance: Callable[[int], None],
    rule: EarlyStopping | None,
    validation: Mapping[str, np.ndarray] | None,
    covariates: Mapping[str, np.ndarray] | None,
    validation_covariates: Mapping[str, np.ndarray] | None,
) -> tuple[TrainedStack, Stopping | None]:
    """Train the members of ``spec`` side by side, with early stopping where there is a rule."""
    parts = parts_of(spec, next(iter(x.values())).shape[-1])
    if rule is None or validation is None:
        return joined(spec, train_spread(spec, x, advance, [None] * len(parts), covariates)), None
    checks = -(-spec.training.steps // spec.training.log_every)
    rule, settled = rule.for_checks(checks), spec.variant.settled_after
    seeds = [member.seed for member in spec.members]
    watchers = [Watcher(rule, validation, seeds[part], settled, validation_covariates) for part in parts]
    found = train_spread(spec, x, advance, watchers, covariates)
    ended = [watcher.finish(part) for watcher, part in zip(watchers, found, strict=True)]
    return joined(spec, [part for part, _ in ended]), Stopping.of_parts([stopping for _, stopping in ended])
