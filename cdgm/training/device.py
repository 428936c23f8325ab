"""Choose the device on which a stack is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import torch


def device_of(name: str) -> torch.device:
    """Device of a name: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.

    Random numbers are drawn on the CPU whatever the device, so a GPU sees the same ones.

    Raises
    ------
    UserError
        If ``cuda`` is named and torch finds no GPU.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise bad_input(
            "training", "device", name, "a GPU that torch can use; auto takes the CPU without one"
        )
    return torch.device(name)
