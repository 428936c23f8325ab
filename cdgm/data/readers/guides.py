"""What readers of CRISPR screens share: each cell gets the target of its most abundant guide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from cdgm.data.count_matrix import Csr, tidy
from cdgm.data.read_cells import Cells
from cdgm.data.readers.base import Reader
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import pandas as pd


class GuideReader(Reader):
    """Base of the readers of screens with one guide a cell.

    ``obs`` gets the columns source, label, target, guide, and those that a reader adds.

    Attributes
    ----------
    min_guide_fraction
        A cell is kept if its top guide has *more* than this share of the cell's guide UMIs: cells with
        two guides or mostly ambient ones are left out. At 0.5 or more the top guide is unique.
    min_guide_counts
        A cell is kept if its top guide has that many UMIs; 0 asks for none.
    control
        Target of the non-targeting guides; their cells are the source ``"background"``, others ``"target"``.
    classes
        Label to the targets that it stands for. Cells of other targets have the label "".
    classes_only
        Whether cells of targets without a label are left out; those of the control stay.
    """

    min_guide_fraction: float = Field(ge=0.5, lt=1)
    min_guide_counts: int = Field(0, ge=0)
    control: str = Field(min_length=1)
    classes: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field({})
    classes_only: bool = False

    @field_validator("classes")
    @classmethod
    def _one_class_a_target(cls, classes: dict) -> dict:
        named = [target for targets in classes.values() for target in targets]
        if len(set(named)) < len(named):
            raise ValueError("a target may belong to one class only")
        return classes

    @model_validator(mode="after")
    def _classes_are_there(self) -> GuideReader:
        if self.classes_only and not self.classes:
            raise ValueError("classes_only needs classes")
        return self

    @property
    def told_sources(self) -> tuple[str, ...]:
        """See the base class."""
        return ("background", "target")

    def refuse_unknown(self, targets: Iterable[str], where: str, column: str) -> None:
        """Raise a UserError if the control, or a target of a class, is not among those of the guides."""
        known = sorted(set(targets))
        for named in [self.control, *(each for group in self.classes.values() for each in group)]:
            if named not in known:
                raise bad_input(where, column, named, f"one of {known}")

    def assigned(
        self,
        counts: Csr,
        genes: np.ndarray,
        guide_counts: Csr,
        guides: np.ndarray,
        targets: np.ndarray,
        obs: pd.DataFrame,
    ) -> Cells:
        """Cells with one guide each, with their sources and labels.

        Parameters
        ----------
        counts
            (cells, genes).
        genes
            (genes,).
        guide_counts
            UMIs of each guide (cells, guides).
        guides, targets
            Name and target of each guide (guides,).
        obs
            What else is known of the cells, indexed by their names; its columns follow those of the guides.
        """
        import pandas as pd

        share, most, top = _top_guide(guide_counts)
        label_of_target = {target: label for label, named in self.classes.items() for target in named}
        target = targets[top]
        label = np.array([label_of_target.get(each, "") for each in target], dtype=object)
        is_control = target == self.control
        columns = {
            "source": np.where(is_control, "background", "target").astype(object),
            "label": label,
            "target": target,
            "guide": guides[top],
        }
        table = pd.DataFrame(columns | {name: obs[name].to_numpy() for name in obs}, index=obs.index)
        kept = (share > self.min_guide_fraction) & (most >= self.min_guide_counts)
        if self.classes_only:
            kept &= is_control | (label != "")
        return Cells(tidy(counts), genes, table).take(kept)


def _top_guide(guides: Csr) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the top guide's share of each cell's guide UMIs (0 without any), its UMIs, and its column."""
    total = np.asarray(guides.sum(axis=1)).ravel()
    highest = guides.max(axis=1).toarray().ravel()
    top = np.asarray(guides.argmax(axis=1)).ravel()
    return highest / np.maximum(total, 1), highest, top
