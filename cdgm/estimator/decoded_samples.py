"""Posterior samples of what a trained model decodes, chunk by chunk of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from cdgm.estimator.gene_ranking import CHUNK, decoded
from cdgm.models.likelihoods._counts import CountLikelihood
from cdgm.models.posterior_samples import block_gaussians, sample_latents
from cdgm.utils.progress import progress
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from cdgm.estimator.queries import Queries

#: Counts of a feature, over all rows compared, that are added to each rate. The Poisson error of a log2 rate
#: that rests on c counts is then about log2(e) sqrt(c) / (c + 10), which is below .23 for any c.
ADDED_COUNTS = 10


@dataclass(frozen=True, eq=False)
class Sample:
    """One posterior sample of each of a chunk of rows, by the members that are finite (E).

    Attributes
    ----------
    source, rows
        The rows: positions in their source (B,).
    number
        Which of the samples of these rows.
    weight
        Weight of each row (E, B), exponentially distributed. Divided by their sum over all rows, weights are
        those of the Bayesian bootstrap (Rubin 1981): they carry the error of having seen these rows only.
    value, without
        Share of each feature in the total of a row (counts), or decoder output (other likelihoods), with all
        blocks and without one (E, B, D).
    """

    source: str
    rows: np.ndarray
    number: int
    weight: np.ndarray
    value: np.ndarray
    without: np.ndarray | None


@dataclass(frozen=True)
class Scale:
    """The scale on which effects are differences.

    Attributes
    ----------
    counts
        Whether observations are counts: effects are then log2 fold changes.
    pseudocount
        Added to each share; 0 for other likelihoods.
    """

    counts: bool
    pseudocount: float

    @classmethod
    def of(cls, model: Queries, rows: Mapping[str, np.ndarray]) -> Scale:
        """Scale for these rows, source to positions: :data:`ADDED_COUNTS` of all that they hold."""
        likelihood = model.model_spec.likelihood
        if not isinstance(likelihood, CountLikelihood):
            return cls(False, 0.0)
        library = [
            likelihood.library_size(torch.as_tensor(model.observations.x[source][own].astype(np.float32)))
            for source, own in rows.items()
        ]
        return cls(True, ADDED_COUNTS / float(torch.cat(library).double().sum()))

    def level(self, value: np.ndarray) -> np.ndarray:
        """Log2 of shares, with the pseudocount; other values as they are."""
        return np.log2(value + self.pseudocount) if self.counts else value


@torch.no_grad()
def decoded_samples(
    model: Queries, rows: Mapping[str, np.ndarray], per_member: int, seed: int, block: str | None = None
) -> Iterator[Sample]:
    """Yield all samples of a chunk of rows, then those of the next; a chunk is all that memory holds.

    Parameters
    ----------
    model
        A trained model.
    rows
        Source to positions of its rows.
    per_member
        Samples of each row by each member.
    seed
        Of the random numbers. Each member has its own, whatever other members there are.
    block
        Decode a second time with zeros in place of this block.
    """
    ensemble, observations = model.ensemble, model.observations
    stack, members = ensemble.stack, ensemble.members()
    dtype = next(stack.parameters()).dtype
    counts = isinstance(stack.likelihood, CountLikelihood)
    names = ("own data", "differential expression")
    generators = [stream(*names, own, seed, root=0) for own in ensemble.spec.seeds]

    def values(latents: dict[str, torch.Tensor], covariates: torch.Tensor | None) -> np.ndarray:
        found = decoded(stack, latents, covariates)[members]
        return (found.exp2() if counts else found).numpy()

    total = sum(map(len, rows.values()))
    with progress("differential expression", total, "rows") as advance:
        for source, positions in rows.items():
            for start in range(0, len(positions), CHUNK):
                part = positions[start : start + CHUNK]
                x = model.scaling.apply({source: observations.x[source][part]})[source]
                known = None
                if (columns := observations.encoded(model.covariates, {source: part})) is not None:
                    known = torch.as_tensor(columns[source]).to(dtype).expand(stack.n_members, -1, -1)
                rows_of_chunk = torch.as_tensor(np.ascontiguousarray(x)).to(dtype)
                gaussians = block_gaussians(stack, rows_of_chunk, source, known)
                for number in range(per_member):
                    noise = {
                        name: torch.from_numpy(
                            np.stack([rng.standard_normal(mean.shape[1:], np.float32) for rng in generators])
                        ).to(dtype)
                        for name, (mean, _) in gaussians.items()
                    }
                    weight = np.stack([rng.standard_exponential(len(part)) for rng in generators])[members]
                    latents = sample_latents(stack, gaussians, noise)
                    without = None
                    if block is not None:
                        without = values(latents | {block: torch.zeros_like(latents[block])}, known)
                    yield Sample(source, part, number, weight, values(latents, known), without)
                advance(len(part))
