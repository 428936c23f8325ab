"""A trained stack together with its specification, and what it says of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdgm.config.fit import FitSpec
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from cdgm.estimator.early_stopping import Stopping
    from cdgm.models.comparative_vae import ComparativeVAE as Stack


@dataclass(frozen=True)
class Fitted:
    """A trained stack.

    Attributes
    ----------
    spec
        All that decided it, beside the data.
    stack
        The members' parameters.
    finite
        Whether each member stayed finite (E,).
    history
        See :class:`cdgm.training.loop.TrainedStack`.
    stopping
        What early stopping did; None without it.
    """

    spec: FitSpec
    stack: Stack
    finite: np.ndarray
    history: dict[str, np.ndarray]
    stopping: Stopping | None = None

    @property
    def steps(self) -> np.ndarray:
        """Number of steps after which each member had the parameters that it holds (E,)."""
        if self.stopping is None:
            return np.full(len(self.finite), self.spec.training.steps)
        return self.stopping.kept

    def check_member(self, member: object) -> int:
        """Position of a member; refuses one that is not there or has diverged."""
        if (
            isinstance(member, bool)
            or not isinstance(member, (int, np.integer))
            or not 0 <= member < len(self.finite)
        ):
            raise bad_input(
                "member", "", member, f"a number from 0 to {len(self.finite) - 1}, or 'all' where offered"
            )
        if not self.finite[member]:
            raise UserError(
                f"member {member} (seed {self.spec.seeds[member]}) diverged, its latents mean nothing"
            )
        return int(member)

    def members(self, member: object = "all") -> list[int]:
        """Positions of the members that were asked for; ``"all"`` are those that are finite."""
        if member != "all":
            return [self.check_member(member)]
        found = [int(i) for i in np.flatnonzero(self.finite)]
        if not found:
            raise UserError("all members diverged: train with a smaller learning_rate")
        return found

    def means(self, x: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
        """Posterior means of every block for rows (1, n, D) of sources: (source, block) to (E, n, d)."""
        replicates = [0] * len(self.finite)
        return {
            (source, block): mean
            for source, rows in x.items()
            for block, mean in posterior_means(self.stack, rows, replicates, source).items()
        }

    def bounds(
        self, x: Mapping[str, np.ndarray], draws: int
    ) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
        """ELBO of each source and KL of each (source, active block), (E,), on rows (1, n, D)."""
        generators = [stream("own data", "bounds", seed, root=0) for seed in self.spec.seeds]
        return held_out_bounds(self.stack, x, [0] * len(self.finite), generators, draws)
