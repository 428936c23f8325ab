"""All that is scored of a fit, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cdgm.estimator.reading import Sentence, read_tables
from cdgm.utils.files import write_csv

if TYPE_CHECKING:
    from cdgm.estimator.model import ComparativeVAE


@dataclass(frozen=True)
class Scores:
    """Tables of a fit; see the methods of ``ComparativeVAE`` for their columns."""

    elbo: pd.DataFrame
    leakage: pd.DataFrame
    stability: pd.DataFrame | None
    genes: pd.DataFrame | None

    @classmethod
    def of(cls, model: ComparativeVAE, split: str | None = None) -> Scores:
        """Score a trained model; ELBOs are on held-out rows unless ``split`` says otherwise."""
        several = len(model.fitted.members()) > 1
        design = model.model_spec.design
        private = any(len(driven) < len(design.sources) for driven in design.blocks.values())
        return cls(
            model.get_elbo(split or "held_out"),
            model.get_leakage(split=split),
            model.stability(split=split) if several else None,
            model.rank_genes() if private else None,
        )

    def sentences(self) -> list[Sentence]:
        """What they say."""
        return read_tables(self.elbo, self.leakage, self.stability)

    def write(self, folder: Path) -> None:
        """Write ``elbo.csv``, ``leakage.csv``, ``stability.csv`` and ``genes.csv``, those that there are."""
        for name in ("elbo", "leakage", "stability", "genes"):
            table = getattr(self, name)
            if table is not None:
                write_csv(folder / f"{name}.csv", table, digits=6)
