"""The interface of procedures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from cdgm.config.fit import FitSpec, Member
    from cdgm.config.model import ModelSpec
    from cdgm.training.loop import TrainedStack

#: Beginning of the names of arrays in a history that hold one number a member and none a record.
RECORD = "procedure/"


class Procedure(Plugin):
    """Several trainings in place of one; each member of the stack is what they ended in.

    It never looks at test points: what it decides by, it takes from the training points.
    """

    def check(self, model: ModelSpec) -> None:
        """Raise a ValueError for a model that the procedure cannot handle, as one with covariates."""
        if model.covariates:
            raise ValueError(f"procedure {self.kind} knows no covariates, got {list(model.covariates)}")

    @abstractmethod
    def trainings(self, members: Sequence[Member]) -> int:
        """Largest number of fits that it takes to get these members, to tell costs ahead."""

    @abstractmethod
    def fit(self, spec: FitSpec, x: Mapping[str, np.ndarray], replicates: Sequence[int]) -> TrainedStack:
        """Train and decide.

        Parameters
        ----------
        spec
            The fit, whose variant has this procedure.
        x
            Training observations of each source (R, n, D).
        replicates
            Replicate that each member of ``spec`` is fitted to (E,).

        Returns
        -------
        TrainedStack
            A stack of the members of ``spec``. Its history is that of the trainings that they come from, and
            has :data:`RECORD` arrays (E,) beside it: ``procedure/fits``, the trainings that a member took,
            and the procedure's own.
        """
