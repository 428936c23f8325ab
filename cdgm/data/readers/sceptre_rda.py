"""Low-MOI CRISPR screens in the R data format of the sceptre package.

One R list with ``response_matrix`` (genes x cells, UMI counts), ``grna_matrix`` (guides x cells),
``grna_target_data_frame`` (guide, target) and ``extra_covariates`` (``bio_rep`` per cell).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.data.r_data import r_counts, read_r_object
from cdgm.data.read_cells import Cells, refuse_repeated
from cdgm.data.readers.guides import GuideReader
from cdgm.utils.errors import bad_input


class SceptreRda(GuideReader):
    """Reads counts and gives each cell the target of its most abundant guide.

    ``obs`` gets the columns source, label, target, guide and replicate.

    Attributes
    ----------
    object
        Name of the R object in the file.
    """

    kind: Literal["sceptre_rda"] = "sceptre_rda"
    object: str = Field(min_length=1)

    def read(self, path: Path, *more: Path) -> Cells:
        """Read the file; see the base class."""
        import pandas as pd

        screen = self._load(path)
        covariates = screen["extra_covariates"]
        for part in ("extra_covariates", "grna_target_data_frame"):
            if not isinstance(screen[part], pd.DataFrame):
                raise bad_input(f"{path}: {part}", "type", type(screen[part]).__name__, "a data frame")
        # A column is as long as its table; the number of rows alone could be any.
        if "bio_rep" not in covariates.columns:
            raise bad_input(
                f"{path}: extra_covariates", "column", "bio_rep", f"one of {list(covariates.columns)}"
            )
        beside = (len(covariates), "extra_covariates")
        parts = ("response_matrix", "grna_matrix")
        (counts, genes), (guide_counts, guides) = (
            r_counts(screen[part], beside[0], f"{path}: {part}", beside[1]) for part in parts
        )
        refuse_repeated(pd.Index(genes), f"{path}: response_matrix")
        targets = self._targets(screen["grna_target_data_frame"], guides, path)
        obs = pd.DataFrame(
            {"replicate": covariates["bio_rep"].astype(str).to_numpy()},
            index=pd.Index(covariates.index.astype(str), name="cell"),
        )
        return self.assigned(counts, genes, guide_counts, guides, targets, obs)

    def _load(self, path: Path) -> dict:
        screen = read_r_object(path, self.object)
        for part in ("response_matrix", "grna_matrix", "grna_target_data_frame", "extra_covariates"):
            if not isinstance(screen, dict) or part not in screen:
                found = sorted(screen) if isinstance(screen, dict) else type(screen).__name__
                raise bad_input(path, f"parts of {self.object}", found, f"a list with {part!r}")
        return screen

    def _targets(self, table, guides: np.ndarray, path: Path) -> np.ndarray:
        """Return the target of each row of the guide matrix, joined by the guide's id.

        The table is ordered otherwise than the matrix: by position, guides would get others' targets.
        """
        where = f"{path}: grna_target_data_frame"
        for needed in ("grna_id", "grna_target"):
            if needed not in table.columns:
                raise bad_input(where, "column", needed, f"one of {list(table.columns)}")
        ids = table["grna_id"].astype(str).to_numpy()
        targets = table["grna_target"].astype(str).to_numpy()
        if len(set(ids)) < len(ids):
            raise bad_input(where, "grna_id", len(ids) - len(set(ids)), "no repeated guide")
        target_of = dict(zip(ids, targets, strict=True))
        missing = sorted(set(guides) - set(target_of))
        if missing:
            raise bad_input(
                where, "grna_id", missing[:3], f"a target for each guide, {len(missing)} have none"
            )
        self.refuse_unknown(targets, where, "grna_target")
        return np.array([target_of[guide] for guide in guides], dtype=object)
