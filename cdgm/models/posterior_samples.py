"""Samples of a trained stack's latents for rows of one source, as its decoder takes them."""

# Torch's own types are partial (chunk).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cdgm.models.block_posterior import LOG_VARIANCE_RANGE
from cdgm.models.comparative_vae import ComparativeVAE

BlockGaussians = Mapping[str, tuple[Tensor, Tensor]]
"""Block to mean and standard deviation (E, B, d) of its posterior, for the blocks active in a source."""


@torch.no_grad()
def block_gaussians(
    model: ComparativeVAE, x: Tensor, source: str, covariates: Tensor | None = None
) -> BlockGaussians:
    """Posterior of each block that is active in a source, of the underlying Gaussian where it is twisted.

    Parameters
    ----------
    model
        The stack.
    x
        Observations (E or 1, B, D) of one source, as the network takes them.
    source
        Which source.
    covariates
        Covariates of the rows (E, B, C), where encoders see them.
    """
    h = model.encoder_input(x, covariates).expand(model.n_members, -1, -1)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for block in model.design.active(source):
        mean, log_variance = model.encoders[block](h).chunk(2, dim=-1)
        found[block] = mean, log_variance.clamp(*LOG_VARIANCE_RANGE).mul(0.5).exp()
    return found


def sample_latents(
    model: ComparativeVAE, gaussians: BlockGaussians, noise: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """One sample a row of every block (E, B, d): zeros where a block is inactive.

    Parameters
    ----------
    model
        The stack.
    gaussians
        From :func:`block_gaussians`.
    noise
        Standard normal numbers for each active block (E, B, d).
    """
    like = next(iter(noise.values()))
    latents = {
        block: gaussians[block][0] + gaussians[block][1] * noise[block]
        if block in gaussians
        else like.new_zeros(*like.shape[:2], size)
        for block, size in model.spec.dims.items()
    }
    if model.spec.posterior == "twisted" and model.spec.twist is not None:
        return model.spec.twist.apply(latents, torch)
    return latents
