"""Record of a training with several starts of each member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from cdgm.utils.registry import Strict


class Starts(Strict):
    """ELBO of each start of each member on the validation rows, and the start that was kept.

    Attributes
    ----------
    elbo
        For each member a value a start: nats a row, mean over sources; None for one that diverged.
    kept
        The start of each member, the one with the highest ELBO; 0 is the fit without further starts.
    """

    elbo: tuple[tuple[float | None, ...], ...] = Field(min_length=1)
    kept: tuple[Annotated[int, Field(ge=0)], ...]

    @classmethod
    def of(cls, elbo: np.ndarray, kept: Sequence[int]) -> Starts:
        """Record of ELBOs (E, starts), not finite where a start diverged, and of the starts kept (E,)."""
        values = tuple(tuple(v if np.isfinite(v) else None for v in row) for row in elbo.tolist())
        return cls(elbo=values, kept=tuple(kept))

    def sentences(self, seeds: Sequence[int]) -> list[str]:
        """One sentence for each member."""
        found = []
        for e, (values, start) in enumerate(zip(self.elbo, self.kept, strict=True)):
            shown = ", ".join("diverged" if value is None else f"{value:.2f}" for value in values)
            found.append(
                f"member {e} (seed {seeds[e]}): of {len(values)} starts, number {start} has the highest "
                f"validation ELBO (from number 0: {shown})"
            )
        return found
