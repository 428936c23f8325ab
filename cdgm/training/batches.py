"""Minibatches for a stack: each member draws its own rows, from its own replicate of the data."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

# Steps whose random numbers are drawn at once; it changes the speed, never the numbers.
CHUNK = 16


def shuffled_indices(generators: Sequence[np.random.Generator], n: int, batch_size: int) -> Iterator[Tensor]:
    """Endless index batches (E, batch_size): each member's own reshuffled epochs, end to end.

    Every row is seen once an epoch, also where ``batch_size`` does not divide ``n``.
    """
    rest = np.empty((len(generators), 0), dtype=np.int64)
    while True:
        while rest.shape[1] < batch_size:
            epoch = np.stack([rng.permutation(n) for rng in generators])
            rest = np.concatenate([rest, epoch], axis=1)
        yield torch.from_numpy(rest[:, :batch_size])
        rest = rest[:, batch_size:]


def standard_normals(
    generators: Mapping[str, Sequence[Sequence[np.random.Generator]]],
    dims: Mapping[str, int],
    rows: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, Tensor]]:
    """Endless noise for the blocks, block to (E, sources x rows, d).

    Parameters
    ----------
    generators
        For each block, for each source whose rows its encoder sees, one generator a member (E).
    dims
        Dimension d of each block.
    rows
        Rows of each source.
    dtype
        Type returned; the numbers are drawn as float32, so that both types see the same.
    device
        Where they go; they are drawn on the CPU, so that every device sees the same.
    """
    while True:
        chunks: dict[str, Tensor] = {}
        for block, of_sources in generators.items():
            shape = (CHUNK, rows, dims[block])
            drawn = [
                np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in members])
                for members in of_sources
            ]
            chunks[block] = torch.from_numpy(np.concatenate(drawn, axis=2)).to(device, dtype)
        for step in range(CHUNK):
            yield {block: chunk[:, step] for block, chunk in chunks.items()}
