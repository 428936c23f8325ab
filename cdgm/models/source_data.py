"""The observations of one source in the form that a stack needs, and batches of rows of all sources."""

# Torch's own types are partial (split).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cdgm.models.comparative_vae import Batch, rows_of
from cdgm.models.likelihoods.base import Likelihood

# Rows that are held as floating point numbers at once before training; speed and memory only.
ROWS = 8_192


class SourceData:
    """The observations of one source, with what the likelihood needs of each row computed once.

    Observations keep the type that they come in, for counts of cells one or two bytes each, and are
    converted batch by batch: 310,000 cells x 2,000 genes take 1.2 GB and not 2.5.

    Parameters
    ----------
    x
        Observations (R, n, D), one slice a replicate.
    replicates
        Replicate of each member (E,).
    likelihood
        Gives the parameter-free part of the log-probability and the library size of each row.
    dtype
        Floating point type of the stack.
    device
        Where the stack is; the observations are moved there once.
    covariates
        Covariates of the rows (R, n, C); None without.
    """

    def __init__(
        self,
        x: np.ndarray,
        replicates: Sequence[int],
        likelihood: Likelihood,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        covariates: np.ndarray | None = None,
    ) -> None:
        self.dtype = dtype
        self.n, self.n_features = x.shape[1:]
        self.x = torch.as_tensor(np.ascontiguousarray(x), device=device).flatten(0, 1)
        facts: list[Tensor] = []
        for values in (part.to(dtype) for part in self.x.split(ROWS)):
            facts.append(torch.stack([likelihood.library_size(values), likelihood.constant(values)], dim=1))
        # Library size, constant and covariates of each row (R n, 2 + C): one look-up in each step.
        self.facts = torch.cat(facts)
        if covariates is not None:
            known = torch.as_tensor(np.ascontiguousarray(covariates), device=device).flatten(0, 1)
            self.facts = torch.cat([self.facts, known.to(dtype)], dim=1)
        self.n_covariates = self.facts.shape[1] - 2
        self.offset = torch.as_tensor(replicates, device=device).unsqueeze(1) * self.n

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Observations (E, B, D) as stored, and facts (E, B, 2 + C), of rows ``index`` (E, B)."""
        flat = (index.to(self.x.device) + self.offset).flatten()
        members, size = index.shape
        return (
            self.x.index_select(0, flat).view(members, size, self.n_features),
            self.facts.index_select(0, flat).view(members, size, self.facts.shape[-1]),
        )


def assemble(data: Mapping[str, SourceData], index: Mapping[str, Tensor]) -> Batch:
    """Batch of the rows ``index``, source to (E, B_k), all sources laid end to end."""
    rows = rows_of({source: index[source].shape[1] for source in data})
    parts = [source_data.take(index[source]) for source, source_data in data.items()]
    facts = torch.cat([part for _, part in parts], dim=1)
    members, total, columns = facts.shape
    # Conversion to floating point and laying end to end in one copy.
    x = facts.new_empty(members, total, parts[0][0].shape[2])
    for at, (observed, _) in zip(rows.values(), parts, strict=True):
        x[:, at] = observed
    covariates = facts[..., 2:] if columns > 2 else None
    return Batch(x, facts[..., :1], facts[..., 1], rows, covariates)
