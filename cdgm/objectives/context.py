"""The context in which a part of the objective starts, before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.design import Design

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ObjectiveContext:
    """Setting of a part (combiner, penalty, constraint) in a stack of E members.

    Attributes
    ----------
    members
        The part as each member has it, sweeps resolved (E).
    design, dims
        Sources, blocks and fitted dimensions.
    sizes
        Training points of each source.
    batch_size
        Rows of each source in a step.
    dtype
        Floating point type of the stack.
    generators
        A stream a member (E), of this part's own.
    device
        Where the stack is.
    """

    members: Sequence[Any]
    design: Design
    dims: Mapping[str, int]
    sizes: Mapping[str, int]
    batch_size: int
    dtype: torch.dtype
    generators: Sequence[np.random.Generator]
    device: torch.device | str = "cpu"

    def numbers(self, field: str) -> torch.Tensor:
        """An option of each member (E,)."""
        import torch

        values = [getattr(member, field) for member in self.members]
        return torch.tensor(values, dtype=self.dtype, device=self.device)
