"""Minibatches for a stack: each member draws its own rows, from its own replicate of the data."""

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
    generators: Sequence[np.random.Generator],
    sizes: Mapping[str, tuple[int, int]],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, Tensor]]:
    """Endless noise for the blocks, block to (E, rows, d), each member from its own generator.

    Parameters
    ----------
    generators
        One a member.
    sizes
        Rows and dimension of each block.
    dtype
        Type returned; the numbers are drawn as float32, so that both types see the same.
    device
        Where they go; they are drawn on the CPU, so that every device sees the same.
    """
    total = sum(rows * d for rows, d in sizes.values())
    while True:
        chunk = np.stack([rng.standard_normal((CHUNK, total), dtype=np.float32) for rng in generators])
        numbers = torch.from_numpy(chunk).to(device, dtype)
        for step in range(CHUNK):
            parts = numbers[:, step].split([rows * d for rows, d in sizes.values()], dim=1)
            yield {
                block: part.view(len(generators), *size)
                for (block, size), part in zip(sizes.items(), parts, strict=True)
            }
