"""Genes that vary more than counting noise explains (Lause, Berens and Kobak, Genome Biology 2021)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from cdgm.data.genes.base import GeneSelection, enough

if TYPE_CHECKING:
    import scipy.sparse as sp


class PearsonResiduals(GeneSelection):
    """Keeps the ``n`` genes with the most variable analytic Pearson residuals, most variable first.

    Attributes
    ----------
    n
        Number of genes.
    theta
        Inverse overdispersion of the negative binomial that residuals are taken against.
    """

    kind: Literal["pearson_residuals"] = "pearson_residuals"
    n: int = Field(ge=1)
    theta: float = Field(gt=0)

    def select(self, counts: sp.csr_matrix) -> np.ndarray:
        """Rank by residual variance; see the base class."""
        import anndata
        import scanpy as sc

        enough(self.n, counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ranked = sc.experimental.pp.highly_variable_genes(
                anndata.AnnData(counts.astype(np.float32)),
                n_top_genes=self.n,
                flavor="pearson_residuals",
                theta=self.theta,
                inplace=False,
            )
        variance = np.asarray(ranked["residual_variances"], dtype=np.float64)
        return np.argsort(-variance, kind="stable")[: self.n]
