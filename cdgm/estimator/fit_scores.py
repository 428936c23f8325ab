"""All that is scored of a fit, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cdgm.estimator.interpretation import Check, by_severity, check_training, interpret
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
    private: tuple[str, ...] = ()
    label: str = "the label"
    training: tuple[Check, ...] = ()

    @classmethod
    def of(cls, model: ComparativeVAE, split: str | None = None) -> Scores:
        """Score a trained model; ELBOs are on held-out rows unless ``split`` says otherwise."""
        several = len(model.fitted.members()) > 1
        design = model.model_spec.design
        private = tuple(b for b, driven in design.blocks.items() if len(driven) < len(design.sources))
        elbo, train = model.get_elbo(split or "held_out"), model.get_elbo("train", draws=1)
        elbo.insert(elbo.columns.get_loc("elbo") + 1, "elbo_train", train["elbo"])
        registration = model.registration
        label = registration.labels_key if registration and registration.labels_key else "the label"
        usual = model.base["training"]["steps"]
        return cls(
            elbo,
            model.get_leakage(split=split),
            model.stability(split=split) if several else None,
            model.rank_genes() if private else None,
            private,
            label,
            tuple(check_training(model.history, usual, model.fitted.stopping is not None)),
        )

    def checks(self) -> list[Check]:
        """Conclusions; see :mod:`cdgm.estimator.interpretation`."""
        return by_severity([*self.training, *interpret(self.elbo, self.leakage, self.stability, self.label)])

    def write(self, folder: Path) -> None:
        """Write ``elbo.csv``, ``leakage.csv``, ``stability.csv`` and ``genes.csv``, those that there are."""
        for name in ("elbo", "leakage", "stability", "genes"):
            table = getattr(self, name)
            if table is not None:
                write_csv(folder / f"{name}.csv", table, digits=6)
