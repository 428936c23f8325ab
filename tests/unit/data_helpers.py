"""Small made-up data files, and the check of a one-line error."""

import hashlib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cdgm.utils.errors import UserError


def made_counts(cells: int, genes: int, seed: int = 0) -> np.ndarray:
    """Overdispersed counts with a count in every gene and cell, (cells, genes) int."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(0.0, 1.0, genes) * rng.lognormal(0.0, 0.5, (cells, 1))
    counts = rng.poisson(mean)
    counts[:, 0] += 1
    counts[np.arange(cells) % cells, np.arange(cells) % genes] += 1
    return counts


def write_h5ad(path: Path, x, obs: dict | None = None, genes=None, layers: dict | None = None) -> Path:
    """Write an AnnData file of ``x`` (dense or sparse) with named cells and genes."""
    cells, columns = x.shape
    table = pd.DataFrame(obs or {}, index=[f"c{i}" for i in range(cells)])
    names = genes if genes is not None else [f"g{j}" for j in range(columns)]
    anndata.AnnData(x, obs=table, var=pd.DataFrame(index=names), layers=layers or {}).write_h5ad(path)
    return path


def treated(cells: int) -> dict[str, list[str]]:
    """Columns of a small screen: every third cell is a control."""
    return {"treatment": ["control" if i % 3 == 0 else f"drug {i % 2}" for i in range(cells)]}


def sparse(values: np.ndarray) -> sp.csr_matrix:
    """CSR of single precision, as AnnData files usually hold."""
    return sp.csr_matrix(np.asarray(values, dtype=np.float32))


def sha256(content: bytes) -> str:
    """Checksum of some bytes."""
    return hashlib.sha256(content).hexdigest()


def refused(call, *parts: object) -> str:
    """Check that ``call`` raises a UserError of one line that holds all ``parts``; return it."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, f"{part!r} not in {message!r}"
    return message
