"""The posterior of a block with all correlations, within the block and with the blocks that it depends on.

Mean-field posteriors pay for every correlation of the true posterior, so their bound prefers decoders under
which latents are uncorrelated given a point. A Cholesky factor over all latents of a source takes that
preference away; a factor for each block would leave it between blocks, where leakage shows. The factor is
split by blocks: u_b = m_b + D_b (e_b + C_b e), with D_b diagonal, e_b the block's own noise and e that of
earlier latents. The chain rule of KL divergences then gives each block a term of its own in closed form,
E KL(q(u_b | earlier) || N(0, I)), and these terms add up to that of the source.
"""

# Torch's own types are partial (index_add).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from cdgm.config.design import Design
from cdgm.models.block_posterior import BlockPosterior, Pull


def earlier_blocks(design: Design, block: str) -> tuple[str, ...]:
    """Blocks whose latents the full posterior of ``block`` depends on.

    Those that are active wherever it is, and elsewhere too or earlier in the design. Where blocks are nested,
    as in designs of shared and private blocks, every two blocks of a source are so joined.
    """
    order, own = list(design.blocks), set(design.blocks[block])
    return tuple(
        other
        for other, sources in design.blocks.items()
        if own < set(sources) or (own == set(sources) and order.index(other) < order.index(block))
    )


def full_width(design: Design, dims: Mapping[str, int], block: str) -> int:
    """Number of outputs of a block's encoder: means, log-variances, and the entries of C."""
    d = dims[block]
    return 2 * d + d * (d - 1) // 2 + d * sum(dims[other] for other in earlier_blocks(design, block))


def joint_noise(
    design: Design,
    block: str,
    noise: Mapping[str, Tensor],
    seen: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
) -> Tensor:
    """Noise of the blocks that ``block`` depends on, then its own, for the rows that its encoder saw.

    Parameters
    ----------
    noise
        Of each block (E, rows, d), source after source.
    seen
        Sources whose rows each block's encoder saw, in the order of its noise.
    sizes
        Rows of each source.

    Returns
    -------
    Tensor
        (E, rows, sum of d).
    """
    parts: list[Tensor] = []
    for other in earlier_blocks(design, block):
        of_sources = noise[other].split([sizes[s] for s in seen[other]], dim=1)
        at = dict(zip(seen[other], of_sources, strict=True))
        parts.append(torch.cat([at[s] for s in seen[block]], dim=1))
    return torch.cat([*parts, noise[block]], dim=-1)


class FullPosterior(BlockPosterior):
    """Gaussian posteriors of one block given earlier latents, with a sample of each row.

    Parameters
    ----------
    output
        Output of the block's encoder (E, :func:`full_width`, B): means, log-variances given earlier latents,
        and the entries of C, row by row.
    noise
        Standard normal numbers (E, B, d + n): those of the n latents of earlier blocks, then the block's own.
    d
        Dimension of the block.

    Attributes
    ----------
    mean, log_variance, sample
        (E, d, B); log-variances are those given earlier latents.
    """

    def __init__(self, output: Tensor, noise: Tensor, d: int) -> None:
        own = noise[..., -d:]
        super().__init__(output[:, : 2 * d], own)
        row, column = _entries(d, noise.shape[-1] - d)
        self._row = torch.tensor(row, device=output.device)
        self._factor = output[:, 2 * d :]
        self._noise = noise.mT[:, column]
        sd = self.log_variance.mul(0.5).exp_()
        # What mean field has, with e_b + C_b e in place of e_b: gradients by log-variances then are the same.
        drive = own.mT.index_add(1, self._row, self._factor * self._noise)
        self._sd = sd
        self._spread = sd * drive
        self.sample = self.mean + self._spread
        # Marginal variance over the variance given earlier latents.
        ones = torch.ones_like(sd)
        self._inflation = ones.index_add_(1, self._row, self._factor.square())
        self._excess = sd.square() * self._inflation - 1.0

    def rows(self, rows: slice) -> tuple[Tensor, ...]:
        """Means, marginal log-variances, samples (E, B_k, d) of some rows, and their dependence (E, B_k)."""
        inflation = self._inflation[..., rows].log()
        marginal = self.log_variance[..., rows] + inflation
        return self.mean[..., rows].mT, marginal.mT, self.sample[..., rows].mT, inflation.sum(1) * 0.5

    def pull_bound(self, by_sample: Tensor, share: Tensor) -> Tensor:
        """See :meth:`BlockPosterior.pull_bound`."""
        gradient = super().pull_bound(by_sample, share)
        by_factor = self._factor_part(gradient)
        by_factor.add_((by_sample * self._sd)[:, self._row] * self._noise)
        by_factor.add_((self._sd.square() * share)[:, self._row] * self._factor)
        return gradient

    def pull(self, parts: Sequence[tuple[slice, Pull]]) -> Tensor:
        """See :meth:`BlockPosterior.pull`; log-variances are marginal here."""
        gradient = super().pull(parts)
        for rows, pull in parts:
            by_factor = self._factor_part(gradient)[..., rows]
            sd, factor = self._sd[..., rows], self._factor[..., rows]
            if pull.log_variance is not None:
                by_marginal = 2.0 * pull.log_variance.mT / self._inflation[..., rows]
                by_factor.add_(by_marginal[:, self._row] * factor)
            if pull.sample is not None:
                by_factor.add_((pull.sample.mT * sd)[:, self._row] * self._noise[..., rows])
            if pull.kl is not None:
                share = (pull.kl / (rows.stop - rows.start))[:, None, None]
                by_factor.add_((sd.square() * share)[:, self._row] * factor)
        return gradient

    def _like_output(self) -> Tensor:
        members, d, rows = self.mean.shape
        return self.mean.new_zeros(members, 2 * d + self._factor.shape[1], rows)

    def _factor_part(self, gradient: Tensor) -> Tensor:
        return gradient[:, 2 * self.mean.shape[1] :]


@cache
def _entries(d: int, earlier: int) -> tuple[list[int], list[int]]:
    """Row and column of each entry of C (d, earlier + d), which is zero from the diagonal on."""
    entries = [(row, column) for row in range(d) for column in range(earlier + row)]
    return [row for row, _ in entries], [column for _, column in entries]
