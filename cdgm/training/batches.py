"""Minibatches for a stack: each member draws its own rows, from its own replicate of the data."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

# Steps whose random numbers are drawn at once; it changes the speed, never the numbers.
CHUNK = 16

Key = TypeVar("Key")


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

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    return _drawn(generators, dims, rows, draw, CHUNK, dtype, device)


def dropout_masks(
    generators: Mapping[tuple[str, int], Sequence[Sequence[np.random.Generator]]],
    widths: Mapping[tuple[str, int], int],
    rate: float,
    rows: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, list[Tensor]]]:
    """Endless masks for the hidden layers of networks: 0 for what is dropped, ``1 / (1 - rate)`` else.

    Parameters
    ----------
    generators
        For each (network, hidden layer), for each source whose rows the network sees, one generator a
        member (E).
    widths
        Width of each.
    rate
        Probability that a unit is dropped.
    rows, dtype, device
        As in :func:`standard_normals`.

    Yields
    ------
    dict
        Network to the masks (E, sources x rows, width) of its hidden layers, first to last.
    """
    kept = np.float32(1 / (1 - rate))

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return kept * (rng.random(shape, dtype=np.float32) >= rate)

    # Step by step: those of one step are many enough, and those of several would fill the memory.
    for masks in _drawn(generators, widths, rows, draw, 1, dtype, device):
        networks: dict[str, list[Tensor]] = {}
        for (network, _), mask in masks.items():
            networks.setdefault(network, []).append(mask)
        yield networks


def _drawn(
    generators: Mapping[Key, Sequence[Sequence[np.random.Generator]]],
    widths: Mapping[Key, int],
    rows: int,
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
    steps: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Iterator[dict[Key, Tensor]]:
    """Endless numbers, key to (E, sources x rows, width), drawn for so many ``steps`` at once."""
    while True:
        chunks: dict[Key, Tensor] = {}
        for key, of_sources in generators.items():
            shape = (steps, rows, widths[key])
            drawn = [np.stack([draw(rng, shape) for rng in members]) for members in of_sources]
            chunks[key] = torch.from_numpy(np.concatenate(drawn, axis=2)).to(device, dtype)
        for step in range(steps):
            yield {key: chunk[:, step] for key, chunk in chunks.items()}
