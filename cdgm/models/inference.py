"""Apply a trained stack to data: posterior means, posteriors, held-out ELBOs."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from cdgm.models.comparative_vae import ComparativeVAE, Posteriors
from cdgm.models.source_data import SourceData, assemble

# Rows a pass: enough for full speed, small beside the data in memory.
CHUNK = 2_048


@torch.no_grad()
def posterior_means(
    model: ComparativeVAE,
    x: np.ndarray,
    replicates: Sequence[int],
    source: str,
    covariates: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Posterior means of every block for all rows of a source.

    Parameters
    ----------
    model
        The stack.
    x
        Observations (R, n, D).
    replicates
        Replicate of each member (E,).
    source
        Which source the rows are of.
    covariates
        Covariates of the rows (R, n, C), where encoders see them.

    Returns
    -------
    dict
        Block to (E, n, d), float32.
    """
    dtype = next(model.parameters()).dtype
    parts: dict[str, list[np.ndarray]] = {block: [] for block in model.design.blocks}
    for start in range(0, x.shape[1], CHUNK):
        rows = _taken(x, replicates, start, dtype)
        known = None if covariates is None else _taken(covariates, replicates, start, dtype)
        for block, mean in model.block_means(rows, source, known).items():
            parts[block].append(mean.float().numpy())
    return {block: np.concatenate(values, axis=1) for block, values in parts.items()}


@torch.no_grad()
def held_out_bounds(
    model: ComparativeVAE,
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
    generators: Sequence[np.random.Generator],
    draws: int,
    covariates: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Mean ELBO of each source and mean KL of each (source, active block), nats a row.

    Parameters
    ----------
    model
        The stack.
    x
        Observations of each source (R, n, D).
    replicates
        Replicate of each member (E,).
    generators
        One a member, for the posterior samples.
    draws
        Posterior samples a row.
    covariates
        Covariates of each source's rows (R, n, C); None for a model without.

    Returns
    -------
    elbo, kl
        Source, or (source, block), to (E,).
    """
    dtype = next(model.parameters()).dtype
    members = model.n_members
    elbos: dict[str, np.ndarray] = {s: np.zeros(members) for s in model.design.sources}
    kls: dict[tuple[str, str], np.ndarray] = {
        (s, b): np.zeros(members) for s in model.design.sources for b in model.design.active(s)
    }
    data = _source_data(model, x, replicates, dtype, covariates)
    # Passes hold rows of every source, so chunk by share of each source, weighting by rows.
    passes = -(-max(d.n for d in data.values()) // CHUNK)
    for _ in range(draws):
        for part in range(passes):
            index = {
                s: torch.arange(d.n * part // passes, d.n * (part + 1) // passes).expand(members, -1)
                for s, d in data.items()
            }
            rows = {block: sum(index[s].shape[1] for s in ss) for block, ss in model.design.blocks.items()}
            result = model(assemble(data, index), _noise(model, rows, generators))
            for k, s in enumerate(model.design.sources):
                share = index[s].shape[1] / data[s].n / draws
                if share == 0:
                    continue
                elbos[s] += share * result.elbo[k].double().numpy()
                for b in model.design.active(s):
                    kls[s, b] += share * result.kl[s, b].double().numpy()
    return elbos, kls


@torch.no_grad()
def posteriors(
    model: ComparativeVAE,
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
    generators: Sequence[np.random.Generator],
    covariates: Mapping[str, np.ndarray] | None = None,
) -> Posteriors:
    """Posteriors of every (source, block), active or not, (E, n, d) each, in one pass over few rows.

    Parameters
    ----------
    model, x, replicates, generators, covariates
        As in :func:`held_out_bounds`.
    """
    dtype = next(model.parameters()).dtype
    data = _source_data(model, x, replicates, dtype, covariates)
    index = {s: torch.arange(d.n).expand(model.n_members, -1) for s, d in data.items()}
    rows = dict.fromkeys(model.design.blocks, sum(d.n for d in data.values()))
    result = model(assemble(data, index), _noise(model, rows, generators), inactive=True)
    return {**result.posteriors, **result.inactive}


def _taken(values: np.ndarray, replicates: Sequence[int], start: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values[replicates, start : start + CHUNK])).to(dtype)


def _source_data(
    model: ComparativeVAE,
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
    dtype: torch.dtype,
    covariates: Mapping[str, np.ndarray] | None,
) -> dict[str, SourceData]:
    return {
        s: SourceData(x[s], replicates, model.likelihood, dtype, covariates=(covariates or {}).get(s))
        for s in model.design.sources
    }


def _noise(
    model: ComparativeVAE, rows: Mapping[str, int], generators: Sequence[np.random.Generator]
) -> dict[str, torch.Tensor]:
    """Standard normal numbers (E, rows, d) for each block, each member's from its own generator."""
    dtype = next(model.parameters()).dtype
    return {
        block: torch.from_numpy(
            np.stack([rng.standard_normal((n, model.spec.dims[block]), np.float32) for rng in generators])
        ).to(dtype)
        for block, n in rows.items()
    }
