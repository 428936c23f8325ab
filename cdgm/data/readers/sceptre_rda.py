"""Low-MOI CRISPR screens in the R data format of the sceptre package.

One R list with ``response_matrix`` (genes x cells, UMI counts), ``grna_matrix`` (guides x cells),
``grna_target_data_frame`` (guide, target) and ``extra_covariates`` (``bio_rep`` per cell).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from cdgm.data.count_matrix import Csr, tidy
from cdgm.data.h5ad_file import reading
from cdgm.data.read_cells import Cells, check_block, refuse_repeated
from cdgm.data.readers.base import Reader
from cdgm.utils.errors import UserError, bad_input


class SceptreRda(Reader):
    """Reads counts and gives each cell the target of its most abundant guide.

    ``obs`` gets the columns source, label, target, guide and replicate.

    Attributes
    ----------
    object
        Name of the R object in the file.
    min_guide_fraction
        A cell is kept if its top guide has *more* than this share of the cell's guide UMIs: cells with
        two guides or mostly ambient ones are left out. At 0.5 or more the top guide is unique.
    control
        Target of the non-targeting guides; their cells are the source ``"background"``, others ``"target"``.
    classes
        Label to the targets that it stands for. Cells of other targets have the label "".
    """

    kind: Literal["sceptre_rda"] = "sceptre_rda"
    object: str = Field(min_length=1)
    min_guide_fraction: float = Field(ge=0.5, lt=1)
    control: str = Field(min_length=1)
    classes: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field({})

    @field_validator("classes")
    @classmethod
    def _one_class_a_target(cls, classes: dict) -> dict:
        named = [target for targets in classes.values() for target in targets]
        if len(set(named)) < len(named):
            raise ValueError("a target may belong to one class only")
        return classes

    @property
    def told_sources(self) -> tuple[str, ...]:
        """See the base class."""
        return ("background", "target")

    def read(self, path: Path) -> Cells:
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
        counts, genes = _matrix(screen["response_matrix"], len(covariates), f"{path}: response_matrix")
        guides_by_cell, guides = _matrix(screen["grna_matrix"], len(covariates), f"{path}: grna_matrix")
        refuse_repeated(pd.Index(genes), f"{path}: response_matrix")
        target_of_guide = self._targets(screen["grna_target_data_frame"], guides, path)
        share, top = _top_guide(guides_by_cell)
        label_of_target = {target: label for label, targets in self.classes.items() for target in targets}
        target = target_of_guide[top]
        obs = pd.DataFrame(
            {
                "source": np.where(target == self.control, "background", "target").astype(object),
                "label": [label_of_target.get(each, "") for each in target],
                "target": target,
                "guide": guides[top],
                "replicate": covariates["bio_rep"].astype(str).to_numpy(),
            },
            index=pd.Index(covariates.index.astype(str), name="cell"),
        )
        return Cells(tidy(counts), genes, obs).take(share > self.min_guide_fraction)

    def _load(self, path: Path) -> dict:
        import rdata

        with reading(path, "R data (.rda)"):
            content = rdata.read_rda(path)
        if self.object not in content:
            raise bad_input(path, "R object", self.object, f"one of {sorted(content)}")
        screen = content[self.object]
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
        known = sorted(set(targets))
        for named in [self.control, *(each for group in self.classes.values() for each in group)]:
            if named not in known:
                raise bad_input(where, "grna_target", named, f"one of {known}")
        return np.array([target_of[guide] for guide in guides], dtype=object)


def _matrix(node: Any, cells: int, where: str) -> tuple[Csr, np.ndarray]:
    """Return an R sparse matrix (rows, cells) as integer CSR (cells, rows), and its row names.

    ``cells`` is their number in the table of cells: what a matrix declares is believed only where
    something as long stands beside it.
    """
    import scipy.sparse as sp

    kind = str(np.ravel(getattr(node, "class", type(node).__name__))[0])
    if kind not in ("dgTMatrix", "dgCMatrix"):
        raise bad_input(where, "class", kind, "dgTMatrix or dgCMatrix")
    try:
        shape, names = tuple(int(each) for each in node.Dim), node.Dimnames[0]
        if names is None:
            raise bad_input(where, "row names", None, "the name of each row")
        names = np.asarray(names).astype(str).astype(object)
        if shape != (len(names), cells):
            raise bad_input(
                where,
                "rows and cells",
                shape,
                f"{len(names)} rows, as it names, and the {cells} cells of extra_covariates",
            )
        if kind == "dgTMatrix":
            matrix = sp.coo_matrix((node.x, (node.i, node.j)), shape=shape).tocsc()
        else:
            matrix = sp.csc_matrix((node.x, node.i, node.p), shape=shape)
            matrix.check_format(full_check=True)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{where}: damaged sparse matrix: {' '.join(str(error).split())[:200]}") from error
    matrix = matrix.T.tocsr()
    positions = np.arange(1, cells + 1)
    check_block(matrix, 0, support="counts", where=where, cells=positions, genes=names)
    return matrix.astype(np.int32), names


def _top_guide(guides: Csr) -> tuple[np.ndarray, np.ndarray]:
    """Return the top guide's share of each cell's guide UMIs (0 without any) and its row."""
    total = np.asarray(guides.sum(axis=1)).ravel()
    highest = guides.max(axis=1).toarray().ravel()
    top = np.asarray(guides.argmax(axis=1)).ravel()
    return highest / np.maximum(total, 1), top
