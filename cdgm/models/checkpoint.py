"""Save and load a trained stack."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from cdgm.config.fit import FitSpec
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.utils.errors import UserError
from cdgm.utils.files import read_npz, write_npz


def save_stack(path: str | Path, model: ComparativeVAE, finite: np.ndarray) -> None:
    """Write a stack's parameters, (E, ...) each, and which members are finite (E,)."""
    arrays = {f"parameter/{name}": p.detach().numpy() for name, p in model.named_parameters()}
    write_npz(path, arrays | {"finite": np.asarray(finite, dtype=bool)})


def load_stack(path: str | Path, spec: FitSpec) -> tuple[ComparativeVAE, np.ndarray]:
    """Read what :func:`save_stack` wrote for a fit of ``spec``.

    Returns
    -------
    model
        The stack.
    finite
        Which members are finite (E,).

    Raises
    ------
    UserError
        If the file is damaged or belongs to another spec.
    """
    arrays = read_npz(path, required=("finite",))
    decoder = f"parameter/decoder.layers.{len(spec.model.decoder_hidden)}.bias"
    if decoder not in arrays or arrays[decoder].ndim != 3:
        raise UserError(f"{path}: holds no array {decoder!r}, so it is not a fit of this spec")
    members = len(spec.members)
    shape = arrays[decoder].shape[-1], members, _columns_of_covariates(arrays, spec)
    with torch.device("meta"):  # shapes alone: a spec may name any, and the file does not hold them
        expected = ComparativeVAE(spec.model, *shape)
    for name, parameter in expected.named_parameters():
        _check_array(path, f"parameter/{name}", arrays, "f", tuple(parameter.shape))
    _check_array(path, "finite", arrays, "b", (members,))
    model = ComparativeVAE(spec.model, *shape)
    model.to(getattr(torch, spec.training.precision))
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(arrays[f"parameter/{name}"]).to(parameter.dtype)
    return model, arrays["finite"]


def _columns_of_covariates(arrays: Mapping[str, np.ndarray], spec: FitSpec) -> int:
    """Number of columns of the covariates: what the decoder takes beside the latents, one at least."""
    if not spec.model.covariates:
        return 0
    weight = arrays.get("parameter/decoder.layers.0.weight", np.empty((0, 0, 0)))
    return max(1, weight.shape[1] - sum(spec.model.dims.values()) if weight.ndim == 3 else 1)


def _check_array(
    path: str | Path, name: str, arrays: Mapping[str, np.ndarray], kind: str, shape: tuple[int, ...]
) -> None:
    stored = arrays.get(name)
    if stored is None or stored.shape != shape or stored.dtype.kind != kind:
        found = "nothing" if stored is None else f"{stored.dtype} of shape {stored.shape}"
        raise UserError(f"{path}: {name}: got {found}, expected shape {shape}")
